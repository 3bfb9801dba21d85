#include <stdint.h>
#include <stdlib.h>

#include "protocol/mime_parse.h"
#include "protocol/summary.h"
#include "tests/fuzz.h"

static uint64_t sum_of(struct summary_text text)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < text.length; i++) {
        sum += (unsigned char)text.data[i];
    }
    return sum;
}

/* Any octets are read within their bounds, or refused; and any small message has a record. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile uint64_t sink;
    struct summary summary;
    uint64_t claimed = 0;

    for (size_t i = 8; i < 16 && i < size; i++) {
        claimed = claimed << 8 | data[i];
    }
    if (summary_read(&summary, data, size, claimed)) {
        sink += sum_of(summary.envelope) + sum_of(summary.bodystructure);
        for (int i = 0; i < ENVELOPE_FIELD_COUNT; i++) {
            sink += sum_of(summary.fields[i]);
        }
        (void)sink;
        GBytes *bytes = g_bytes_new(summary.structure.data, summary.structure.length);
        structure_free(structure_decode(bytes, claimed));
        g_bytes_unref(bytes);
    }
    struct structure *structure = mime_parse(data, size, false, &mime_bounds_small);
    if (structure != NULL) {
        GByteArray *record = g_byte_array_new();
        summary_write(record, structure, size);
        if (!summary_read(&summary, record->data, record->len, size)) {
            abort();
        }
        g_byte_array_unref(record);
        structure_free(structure);
    }
    return 0;
}
