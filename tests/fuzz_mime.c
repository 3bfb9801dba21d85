#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mime.h"
#include "protocol/mime_parse.h"
#include "protocol/plain_text.h"
#include "protocol/structure.h"
#include "tests/fuzz.h"

/* What is decoded without the library is what the library makes of it. */
static void check_plain_text(const uint8_t *data, size_t size)
{
    struct structure *structure = mime_parse(data, size, false, &mime_bounds_small);
    GString *here = g_string_new(NULL);

    if (structure != NULL && plain_text(here, data, size, structure, true, true)) {
        GBytes *there = mime_text(data, size, true, true, 16 * 1024 * 1024);
        gsize length;
        const void *expected = g_bytes_get_data(there, &length);
        if (length != here->len || (length > 0 && memcmp(expected, here->str, length) != 0)) {
            abort();
        }
        g_bytes_unref(there);
    }
    g_string_free(here, TRUE);
    structure_free(structure);
}

/* Any message gets a record that decodes, and text that is UTF-8. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        mime_init();
        ready = true;
    }
    GBytes *record = mime_structure(data, size);
    struct structure *structure = structure_decode(record, size);
    GBytes *text = mime_text(data, size, true, true, 4096);
    GString *out = g_string_new(NULL);
    struct octet_range range;
    if (structure == NULL || !structure_section(structure, NULL, 0, SECTION_TEXT_NONE, &range) ||
        range.start != 0 || range.length != size ||
        !g_utf8_validate_len(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL)) {
        abort();
    }
    check_plain_text(data, size);
    structure_body(structure, out, false, true);
    structure_envelope(structure, out, false);
    g_string_free(out, TRUE);
    g_bytes_unref(text);
    structure_free(structure);
    g_bytes_unref(record);
    return 0;
}
