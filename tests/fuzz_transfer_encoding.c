/* Transfer encodings: pieces of any size decode to what the whole does, within the promised size.
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/transfer_encoding.h"
#include "tests/fuzz.h"

static GByteArray *decode(enum transfer_encoding encoding, bool lines, const uint8_t *data,
                          size_t size, size_t step)
{
    GByteArray *out = g_byte_array_new();
    struct transfer_decoder decoder;

    transfer_decoder_init(&decoder, encoding, lines);
    for (size_t at = 0; at < size; at += MIN(step, size - at)) {
        guint before = out->len;
        size_t piece = MIN(step, size - at);

        transfer_decode(&decoder, out, data + at, piece);
        if (out->len - before > 2 * piece + TRANSFER_PENDING_MAX)
            abort();
    }
    transfer_decode_end(&decoder, out);
    return out;
}

static void check_lines(const GByteArray *out)
{
    for (guint i = 0; i < out->len; i++) {
        if (out->data[i] == '\n' && (i == 0 || out->data[i - 1] != '\r'))
            abort();
    }
}

/* The first octet says how large the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum transfer_encoding encodings[] = {TRANSFER_IDENTITY, TRANSFER_QUOTED_PRINTABLE,
                                                       TRANSFER_BASE64};
    size_t step = size > 0 ? (size_t)data[0] % 16 + 1 : 1;

    for (size_t i = 0; i < G_N_ELEMENTS(encodings); i++) {
        for (int lines = 0; lines < 2; lines++) {
            GByteArray *whole = decode(encodings[i], lines, data, size, size + 1);
            GByteArray *pieces = decode(encodings[i], lines, data, size, step);

            if (whole->len != pieces->len ||
                (whole->len > 0 && memcmp(whole->data, pieces->data, whole->len) != 0))
                abort();
            if (lines && encodings[i] != TRANSFER_BASE64)
                check_lines(whole);
            g_byte_array_unref(whole);
            g_byte_array_unref(pieces);
        }
    }
    return 0;
}
