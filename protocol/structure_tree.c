#include "protocol/structure_tree.h"

#include <string.h>

#include "protocol/header.h"

struct structure *structure_new(void)
{
    struct structure *structure = g_new0(struct structure, 1);
    structure->parts = g_array_new(FALSE, TRUE, sizeof(struct structure_part));
    structure->parameters = g_array_new(FALSE, TRUE, sizeof(struct structure_parameter));
    structure->languages = g_array_new(FALSE, TRUE, sizeof(struct structure_text));
    structure->messages = g_array_new(FALSE, TRUE, sizeof(struct structure_message));
    structure->addresses = g_array_new(FALSE, TRUE, sizeof(struct structure_address));
    return structure;
}

void structure_free(struct structure *structure)
{
    if (structure == NULL) {
        return;
    }
    g_array_free(structure->parts, TRUE);
    g_array_free(structure->parameters, TRUE);
    g_array_free(structure->languages, TRUE);
    g_array_free(structure->messages, TRUE);
    g_array_free(structure->addresses, TRUE);
    g_clear_pointer(&structure->record, g_bytes_unref);
    g_clear_pointer(&structure->strings, g_string_chunk_free);
    g_free(structure);
}

struct structure_text structure_keep(struct structure *structure, const char *text, size_t length)
{
    if (structure->strings == NULL) {
        structure->strings = g_string_chunk_new(1024);
    }
    const char *kept = g_string_chunk_insert_len(structure->strings, text, (gssize)length);
    return (struct structure_text){.data = kept, .length = length};
}

struct structure_part *structure_part(const struct structure *structure, uint32_t index)
{
    return &g_array_index(structure->parts, struct structure_part, index);
}

bool structure_is_message(const struct structure *structure, uint32_t index)
{
    uint32_t parent = structure_part(structure, index)->parent;
    return index == 0 || structure_part(structure, parent)->kind == STRUCTURE_MESSAGE;
}

uint32_t structure_add_part(struct structure *structure, uint32_t parent, enum structure_kind kind)
{
    uint32_t index = structure->parts->len;
    struct structure_part part = {.kind = kind, .parent = parent};
    if (index > 0) {
        struct structure_part *above = structure_part(structure, parent);
        part.depth = above->depth + 1;
        if (above->last_child == 0) {
            above->first_child = index;
        } else {
            structure_part(structure, above->last_child)->next_sibling = index;
        }
        above->last_child = index;
    }
    g_array_append_val(structure->parts, part);
    if (structure_is_message(structure, index)) {
        structure_part(structure, index)->message = structure->messages->len;
        g_array_set_size(structure->messages, structure->messages->len + 1);
    }
    return index;
}

static uint64_t count_lines(const uint8_t *data, size_t length)
{
    const uint8_t *end = data + length;
    uint64_t lines = 0;
    while (data < end && (data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        lines++;
        data++;
    }
    return lines;
}

struct structure *structure_plain_tree(const uint8_t *message, size_t length)
{
    struct structure *structure = structure_new();
    struct structure_part *part =
        structure_part(structure, structure_add_part(structure, 0, STRUCTURE_LEAF));
    struct header_field field;
    size_t position = 0;
    size_t header = header_block_length(message, length);
    const char *type = "text/plain";
    if (header_next(message, header, &position, &field) && field.name_length == 0) {
        header = 0; /* it begins with no field: all of it is body */
        type = "application/octet-stream";
    }
    part->type = structure_keep(structure, type, strlen(type));
    part->header.length = header;
    part->body = (struct octet_range){header, length - header};
    part->lines = count_lines(message + header, length - header);
    return structure;
}

GBytes *structure_plain(const uint8_t *message, size_t length)
{
    struct structure *structure = structure_plain_tree(message, length);
    GBytes *record = structure_encode(structure, length);
    structure_free(structure);
    return record;
}
