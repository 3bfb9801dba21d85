#include <stdint.h>
#include <stdlib.h>

#include "protocol/structure.h"
#include "tests/fuzz.h"

enum { MESSAGE_LENGTH = 1000 }; /* of the message that the seeds are about */

/* Whatever the decoder lets pass can be written, and its ranges are inside the message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GBytes *record = g_bytes_new(data, size);
    struct structure *structure = structure_decode(record, MESSAGE_LENGTH);
    g_bytes_unref(record);
    if (structure == NULL) {
        return 0;
    }
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, true);
    structure_envelope(structure, out, true);
    for (uint32_t i = 0; i < 64; i++) {
        const uint32_t parts[] = {i / 16 + 1, i / 4 % 4 + 1, 1};
        struct octet_range range = {0, 0};
        if (structure_section(structure, parts, i % 4, (enum section_text)(i / 16), &range) &&
            (range.start > MESSAGE_LENGTH || range.length > MESSAGE_LENGTH - range.start)) {
            abort();
        }
    }
    g_string_free(out, TRUE);
    structure_free(structure);
    return 0;
}
