#include "protocol/transfer_encoding.h"

#include <string.h>

#include "protocol/base64.h"

enum transfer_encoding transfer_encoding_parse(const char *name, size_t length)
{
    static const struct {
        const char *name;
        enum transfer_encoding encoding;
    } encodings[] = {
        {"7bit", TRANSFER_IDENTITY},   {"8bit", TRANSFER_IDENTITY},
        {"binary", TRANSFER_IDENTITY}, {"quoted-printable", TRANSFER_QUOTED_PRINTABLE},
        {"base64", TRANSFER_BASE64},
    };

    if (name == NULL)
        return TRANSFER_IDENTITY;
    for (size_t i = 0; i < G_N_ELEMENTS(encodings); i++) {
        if (length == strlen(encodings[i].name) &&
            g_ascii_strncasecmp(name, encodings[i].name, length) == 0)
            return encodings[i].encoding;
    }
    return TRANSFER_UNKNOWN;
}

void transfer_decoder_init(struct transfer_decoder *decoder, enum transfer_encoding encoding,
                           bool lines)
{
    decoder->encoding = encoding;
    decoder->lines = lines && encoding != TRANSFER_BASE64;
    decoder->after_cr = false;
    decoder->ended = false;
    decoder->bits = 0;
    decoder->bit_count = 0;
    decoder->pending_length = 0;
}

static void put(struct transfer_decoder *decoder, GByteArray *out, const void *octets,
                size_t length)
{
    const uint8_t *data = octets;

    while (decoder->lines && length > 0) {
        const uint8_t *newline = memchr(data, '\n', length);

        if (newline == NULL)
            break;
        bool complete = newline > data ? newline[-1] == '\r' : decoder->after_cr;
        size_t before = (size_t)(newline - data);

        g_byte_array_append(out, data, (guint)before);
        g_byte_array_append(out, (const guint8 *)"\r\n" + complete, complete ? 1 : 2);
        data += before + 1;
        length -= before + 1;
        decoder->after_cr = false;
    }
    if (length > 0) {
        g_byte_array_append(out, data, (guint)length);
        decoder->after_cr = data[length - 1] == '\r';
    }
}

/* --- base64 --- */

static void decode_base64(struct transfer_decoder *decoder, GByteArray *out, const uint8_t *data,
                          size_t length)
{
    uint8_t octets[3 * 256];
    size_t filled = 0;

    for (size_t i = 0; i < length && !decoder->ended; i++) {
        int value = base64_value((char)data[i]);

        decoder->ended = data[i] == '=';
        if (value < 0)
            continue;
        decoder->bits = decoder->bits << 6 | (uint32_t)value;
        decoder->bit_count += 6;
        if (decoder->bit_count < 8)
            continue;
        decoder->bit_count -= 8;
        octets[filled++] = (uint8_t)(decoder->bits >> decoder->bit_count);
        if (filled == sizeof octets) {
            g_byte_array_append(out, octets, (guint)filled);
            filled = 0;
        }
    }
    g_byte_array_append(out, octets, (guint)filled);
}

/* --- quoted-printable --- */

static void put_pending(struct transfer_decoder *decoder, GByteArray *out)
{
    put(decoder, out, decoder->pending, decoder->pending_length);
    decoder->pending_length = 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A LF has come: what waits ends a line, or with "=" first joins two. */
static void end_line(struct transfer_decoder *decoder, GByteArray *out)
{
    bool soft = decoder->pending_length > 0 && decoder->pending[0] == '=';
    bool cr = decoder->pending_length > 0 && decoder->pending[decoder->pending_length - 1] == '\r';

    decoder->pending_length = 0;
    if (!soft)
        put(decoder, out, cr ? "\r\n" : "\n", cr ? 2 : 1);
}

/* Whether c may follow what waits: ["="] blanks [CR], or "=" and a digit. */
static bool may_wait(const struct transfer_decoder *decoder, char c)
{
    if (decoder->pending_length == 0)
        return c == '=' || c == '\r' || is_blank(c);
    char last = decoder->pending[decoder->pending_length - 1];

    if (decoder->pending_length == sizeof decoder->pending)
        return false;
    if (last == '=')
        return c == '\r' || is_blank(c) || g_ascii_isxdigit(c);
    return is_blank(last) && (c == '\r' || is_blank(c));
}

static void decode_octet(struct transfer_decoder *decoder, GByteArray *out, char c)
{
    if (c == '\n') {
        /* "=A" and the like are no soft line break. */
        if (decoder->pending_length == 2 && g_ascii_isxdigit(decoder->pending[1]))
            put_pending(decoder, out);
        end_line(decoder, out);
        return;
    }
    if (decoder->pending_length == 2 && g_ascii_isxdigit(decoder->pending[1]) &&
        g_ascii_isxdigit(c)) {
        uint8_t octet =
            (uint8_t)(g_ascii_xdigit_value(decoder->pending[1]) * 16 + g_ascii_xdigit_value(c));

        decoder->pending_length = 0;
        put(decoder, out, &octet, 1);
        return;
    }
    if (!may_wait(decoder, c))
        put_pending(decoder, out);
    if (may_wait(decoder, c))
        decoder->pending[decoder->pending_length++] = c;
    else
        put(decoder, out, &c, 1);
}

static bool stands_for_itself(uint8_t octet)
{
    return octet > ' '
               ? octet != '='
               : octet < '\t' || (octet > '\n' && octet < '\r') || (octet > '\r' && octet < ' ');
}

static void decode_quoted_printable(struct transfer_decoder *decoder, GByteArray *out,
                                    const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t end = i;

        while (decoder->pending_length == 0 && end < length && stands_for_itself(data[end]))
            end++;
        if (end > i) {
            put(decoder, out, data + i, end - i);
            i = end;
        } else {
            decode_octet(decoder, out, (char)data[i++]);
        }
    }
}

void transfer_decode(struct transfer_decoder *decoder, GByteArray *out, const uint8_t *data,
                     size_t length)
{
    switch (decoder->encoding) {
    case TRANSFER_IDENTITY:
    case TRANSFER_UNKNOWN:
        put(decoder, out, data, length);
        break;
    case TRANSFER_QUOTED_PRINTABLE:
        decode_quoted_printable(decoder, out, data, length);
        break;
    case TRANSFER_BASE64:
        decode_base64(decoder, out, data, length);
        break;
    }
}

void transfer_decode_end(struct transfer_decoder *decoder, GByteArray *out)
{
    size_t length = decoder->pending_length;

    if (length == 0)
        return;
    bool digit = length == 2 && g_ascii_isxdigit(decoder->pending[1]);
    bool cr = decoder->pending[length - 1] == '\r' && decoder->pending[0] != '=';

    if (digit)
        put_pending(decoder, out);
    else if (cr)
        put(decoder, out, "\r", 1);
    decoder->pending_length = 0;
}
