#include "protocol/structure.h"

#include "protocol/structure_tree.h"

static bool find_child(const struct structure *structure, uint32_t *at, uint32_t number)
{
    uint32_t child = structure_part(structure, *at)->first_child;
    for (; child != 0 && number > 1; number--) {
        child = structure_part(structure, child)->next_sibling;
    }
    *at = child;
    return child != 0 && number == 1;
}

/* Follows part numbers from the message. A message's own content is its part 1 unless it is a
 * multipart, whose parts are the message's then; so is an attached message's. */
static bool find_part(const struct structure *structure, const uint32_t *numbers, size_t count,
                      uint32_t *out)
{
    uint32_t at = 0;
    bool whole = true; /* at is a message of which nothing is chosen yet */
    for (size_t i = 0; i < count; i++) {
        enum structure_kind kind = structure_part(structure, at)->kind;
        if (!whole && kind == STRUCTURE_LEAF) {
            return false;
        }
        if (!whole && kind == STRUCTURE_MESSAGE) {
            at = structure_part(structure, at)->first_child;
            kind = structure_part(structure, at)->kind;
        }
        if (kind == STRUCTURE_MULTIPART ? !find_child(structure, &at, numbers[i])
                                        : numbers[i] != 1) {
            return false;
        }
        whole = false;
    }
    *out = at;
    return true;
}

/* HEADER and TEXT: of the message that is meant, the whole one or the one in the part. */
static bool find_message(const struct structure *structure, size_t count, uint32_t *at)
{
    if (count > 0) {
        const struct structure_part *part = structure_part(structure, *at);
        *at = part->first_child;
        return part->kind == STRUCTURE_MESSAGE;
    }
    return true;
}

bool structure_section(const struct structure *structure, const uint32_t *parts, size_t count,
                       enum section_text text, struct octet_range *out)
{
    uint32_t at;
    if (!find_part(structure, parts, count, &at)) {
        return false;
    }
    const struct structure_part *part = structure_part(structure, at);
    switch (text) {
    case SECTION_TEXT_NONE:
        *out = part->body;
        if (count == 0) {
            *out = (struct octet_range){0, part->body.start + part->body.length};
        }
        return true;
    case SECTION_TEXT_MIME:
        *out = part->header;
        return count > 0;
    case SECTION_TEXT_HEADER:
    case SECTION_TEXT_TEXT:
        if (!find_message(structure, count, &at)) {
            return false;
        }
        part = structure_part(structure, at);
        *out = text == SECTION_TEXT_HEADER ? part->header : part->body;
        return true;
    }
    return false;
}

bool structure_content(const struct structure *structure, const uint32_t *parts, size_t count,
                       struct structure_content *out)
{
    uint32_t at;

    *out = (struct structure_content){.encoding = TRANSFER_IDENTITY};
    if (!structure_section(structure, parts, count, SECTION_TEXT_NONE, &out->range) ||
        !find_part(structure, parts, count, &at))
        return false;
    const struct structure_part *part = structure_part(structure, at);
    if (count > 0 && part->kind == STRUCTURE_LEAF) {
        out->encoding = transfer_encoding_parse(part->encoding.data, part->encoding.length);
        out->lines =
            part->type.length >= 5 && g_ascii_strncasecmp(part->type.data, "text/", 5) == 0;
    }
    return true;
}

const char *structure_field(const struct structure *structure, enum envelope_field field,
                            size_t *length)
{
    const struct structure_message *message =
        &g_array_index(structure->messages, struct structure_message, 0);
    *length = message->fields[field].length;
    return message->fields[field].data;
}
