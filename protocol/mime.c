#include "protocol/mime.h"

#include <gmime/gmime.h>

#include "protocol/mime_parse.h"
#include "protocol/structure_tree.h"

void mime_init(void)
{
    g_mime_init();
}

GBytes *mime_structure(const uint8_t *message, size_t length)
{
    struct structure *structure = mime_parse(message, length, false, &mime_bounds_all);
    if (structure == NULL) {
        structure = mime_parse(message, length, true, &mime_bounds_all);
    }
    if (structure == NULL) {
        return structure_plain(message, length);
    }
    GBytes *record = structure_encode(structure, length);
    structure_free(structure);
    return record;
}
