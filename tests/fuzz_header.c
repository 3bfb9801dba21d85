#include <stdint.h>
#include <stdlib.h>

#include "protocol/header.h"
#include "tests/fuzz.h"

/* The fields tile the block up to its empty line; decoding makes valid UTF-8 of anything. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"subject", "from"};
    size_t block = header_block_length(data, size);
    size_t position = 0;
    size_t end = 0;
    struct header_field field;
    GString *out = g_string_new(NULL);
    while (header_next(data, block, &position, &field)) {
        if (field.start != end || field.end <= end || field.end > block) {
            abort();
        }
        end = field.end;
        g_string_truncate(out, 0);
        header_decode(out, field.value, field.value_length);
        if (!g_utf8_validate(out->str, (gssize)out->len, NULL)) {
            abort();
        }
    }
    if (block - end > 2) {
        abort();
    }
    g_string_truncate(out, 0);
    header_fields_select(out, data, block, names, 2, false);
    header_fields_select(out, data, block, names, 2, true);
    if (out->len < 4 || out->len > size + 8) {
        abort();
    }
    g_string_free(out, TRUE);
    return 0;
}
