/* A header: what THREAD reads of it is as it says, and reading it again finds the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/header.h"
#include "protocol/limits.h"
#include "protocol/message_id.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GByteArray *record = g_byte_array_new();
    size_t count = 0;

    message_id_record(record, data, header_block_length(data, size));
    for (guint start = 0; start < record->len; count++) {
        const char *id = (const char *)record->data + start;
        const uint8_t *nul = memchr(id, '\0', record->len - start);

        if (nul == NULL || strlen(id) > LIMIT_MESSAGE_ID || (start > 0 && strchr(id, '@') == NULL))
            abort();
        start += (guint)strlen(id) + 1;
    }
    if (count == 0 || count > LIMIT_REFERENCES + 1)
        abort();
    g_byte_array_unref(record);
    return 0;
}
