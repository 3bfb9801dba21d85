/* The record of structure_tree.h: written, and read without trust. */
#include <string.h>

#include "protocol/limits.h"
#include "protocol/structure_tree.h"

/* Far more than a message within limits.h needs. */
enum { RECORD_MAX = 64 * 1024 * 1024 };

static const uint8_t magic[5] = {'A', 'N', 'S', 'T', 1};

/* Members of a part that are plain strings, in the record's order; type stands before them. */
static const size_t part_strings[] = {
    G_STRUCT_OFFSET(struct structure_part, encoding),
    G_STRUCT_OFFSET(struct structure_part, id),
    G_STRUCT_OFFSET(struct structure_part, description),
    G_STRUCT_OFFSET(struct structure_part, md5),
    G_STRUCT_OFFSET(struct structure_part, disposition),
    G_STRUCT_OFFSET(struct structure_part, location),
};

static struct structure_text *part_string(struct structure_part *part, size_t i)
{
    return G_STRUCT_MEMBER_P(part, part_strings[i]);
}

static void put_number(GByteArray *out, uint64_t number)
{
    do {
        uint8_t octet = (uint8_t)(number & 0x7f);
        number >>= 7;
        octet |= number > 0 ? 0x80 : 0;
        g_byte_array_append(out, &octet, 1);
    } while (number > 0);
}

static void put_text(GByteArray *out, struct structure_text text)
{
    put_number(out, text.data == NULL ? 0 : (uint64_t)text.length + 1);
    if (text.data != NULL) {
        g_byte_array_append(out, (const guint8 *)text.data, (guint)text.length);
    }
}

static void put_parameters(GByteArray *out, const struct structure *structure,
                           struct structure_span span)
{
    put_number(out, span.count);
    for (uint32_t i = 0; i < span.count; i++) {
        const struct structure_parameter *parameter =
            &g_array_index(structure->parameters, struct structure_parameter, span.first + i);
        put_text(out, parameter->name);
        put_text(out, parameter->value);
    }
}

static void put_message(GByteArray *out, const struct structure *structure,
                        const struct structure_message *message)
{
    for (int field = 0; field < ENVELOPE_FIELD_COUNT; field++) {
        put_text(out, message->fields[field]);
    }
    for (int field = ENVELOPE_FROM; field <= ENVELOPE_BCC; field++) {
        struct structure_span span = message->addresses[field];
        put_number(out, span.count);
        for (uint32_t i = 0; i < span.count; i++) {
            const struct structure_address *address =
                &g_array_index(structure->addresses, struct structure_address, span.first + i);
            put_text(out, address->name);
            put_text(out, address->route);
            put_text(out, address->mailbox);
            put_text(out, address->host);
        }
    }
}

static void put_part(GByteArray *out, const struct structure *structure, uint32_t index,
                     const struct structure_message *message)
{
    struct structure_part *part = structure_part(structure, index);
    put_number(out, part->kind);
    put_number(out, part->parent);
    put_number(out, part->header.start);
    put_number(out, part->header.length);
    put_number(out, part->body.start);
    put_number(out, part->body.length);
    put_number(out, part->lines);
    put_text(out, (struct structure_text){part->type.data, part->type.length + 1});
    for (size_t i = 0; i < G_N_ELEMENTS(part_strings); i++) {
        put_text(out, *part_string(part, i));
    }
    put_parameters(out, structure, part->parameters);
    put_parameters(out, structure, part->disposition_parameters);
    put_number(out, part->languages.count);
    for (uint32_t i = 0; i < part->languages.count; i++) {
        put_text(out, g_array_index(structure->languages, struct structure_text,
                                    part->languages.first + i));
    }
    if (message != NULL) {
        put_message(out, structure, message);
    }
}

static GBytes *encode(const struct structure *structure, uint64_t message_length, bool envelope)
{
    static const struct structure_message empty;
    GByteArray *out = g_byte_array_new();
    g_byte_array_append(out, magic, sizeof magic);
    put_number(out, message_length);
    put_number(out, structure->parts->len);
    for (uint32_t i = 0; i < structure->parts->len; i++) {
        const struct structure_message *message = NULL;
        if (i == 0 && !envelope) {
            message = &empty;
        } else if (structure_is_message(structure, i)) {
            message = &g_array_index(structure->messages, struct structure_message,
                                     structure_part(structure, i)->message);
        }
        put_part(out, structure, i, message);
    }
    return g_byte_array_free_to_bytes(out);
}

GBytes *structure_encode(const struct structure *structure, uint64_t message_length)
{
    return encode(structure, message_length, true);
}

GBytes *structure_encode_parts(const struct structure *structure, uint64_t message_length)
{
    return encode(structure, message_length, false);
}

struct reader {
    const uint8_t *data;
    const uint8_t *end;
    bool failed; /* once set, all that is read is 0 or absent */
    uint64_t message_length;
    struct structure *structure;
};

static uint64_t get_number(struct reader *reader)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && reader->data < reader->end; shift += 7) {
        uint8_t octet = *reader->data++;
        if (shift == 63 && octet > 1) {
            break;
        }
        number |= (uint64_t)(octet & 0x7f) << shift;
        if (octet < 0x80) {
            return number;
        }
    }
    reader->failed = true;
    reader->data = reader->end;
    return 0;
}

static struct structure_text get_text(struct reader *reader)
{
    struct structure_text text = {0};
    uint64_t number = get_number(reader);
    if (number == 0) {
        return text;
    }
    if (number - 1 > (uint64_t)(reader->end - reader->data)) {
        reader->failed = true;
        reader->data = reader->end;
        return text;
    }
    text.data = (const char *)reader->data;
    text.length = (size_t)(number - 1);
    reader->data += text.length;
    return text;
}

/* The count of a list whose elements take at least so many octets each. */
static uint32_t get_count(struct reader *reader, uint64_t least)
{
    uint64_t count = get_number(reader);
    if (count > (uint64_t)(reader->end - reader->data) / least || count > G_MAXINT32) {
        reader->failed = true;
        reader->data = reader->end;
        return 0;
    }
    return (uint32_t)count;
}

static struct structure_span get_parameters(struct reader *reader)
{
    GArray *all = reader->structure->parameters;
    struct structure_span span = {all->len, get_count(reader, 2)};
    for (uint32_t i = 0; i < span.count; i++) {
        struct structure_parameter parameter = {.name = get_text(reader)};
        parameter.value = get_text(reader);
        g_array_append_val(all, parameter);
    }
    return span;
}

static struct structure_span get_languages(struct reader *reader)
{
    GArray *all = reader->structure->languages;
    struct structure_span span = {all->len, get_count(reader, 1)};
    for (uint32_t i = 0; i < span.count; i++) {
        struct structure_text language = get_text(reader);
        g_array_append_val(all, language);
    }
    return span;
}

static void get_message(struct reader *reader, struct structure_message *message)
{
    GArray *all = reader->structure->addresses;
    for (int field = 0; field < ENVELOPE_FIELD_COUNT; field++) {
        message->fields[field] = get_text(reader);
    }
    for (int field = ENVELOPE_FROM; field <= ENVELOPE_BCC; field++) {
        struct structure_span span = {all->len, get_count(reader, 4)};
        for (uint32_t i = 0; i < span.count; i++) {
            struct structure_address address = {.name = get_text(reader)};
            address.route = get_text(reader);
            address.mailbox = get_text(reader);
            address.host = get_text(reader);
            g_array_append_val(all, address);
        }
        message->addresses[field] = span;
    }
}

static struct octet_range get_range(struct reader *reader)
{
    struct octet_range range = {.start = get_number(reader)};
    range.length = get_number(reader);
    if (range.start > reader->message_length ||
        range.length > reader->message_length - range.start) {
        reader->failed = true;
    }
    return range;
}

/* "type/subtype", both not empty, and a NUL, the only one. */
static struct structure_text get_type(struct reader *reader)
{
    struct structure_text type = get_text(reader);
    if (type.length == 0 || memchr(type.data, '\0', type.length) != type.data + type.length - 1) {
        reader->failed = true;
        return (struct structure_text){0};
    }
    const char *slash = strchr(type.data, '/');
    if (slash == NULL || slash == type.data || slash[1] == '\0') {
        reader->failed = true;
        return (struct structure_text){0};
    }
    type.length--;
    return type;
}

static void get_part(struct reader *reader, uint32_t index)
{
    struct structure *structure = reader->structure;
    uint64_t kind = get_number(reader);
    uint64_t parent = get_number(reader);
    if (kind >= STRUCTURE_KIND_COUNT || (index == 0 ? parent != 0 : parent >= index)) {
        reader->failed = true;
        return;
    }
    const struct structure_part *above =
        index == 0 ? NULL : structure_part(structure, (uint32_t)parent);
    if (above != NULL && (above->kind == STRUCTURE_LEAF || above->depth >= LIMIT_MIME_DEPTH ||
                          (above->kind == STRUCTURE_MESSAGE && above->first_child != 0))) {
        reader->failed = true;
        return;
    }
    structure_add_part(structure, (uint32_t)parent, (enum structure_kind)kind);
    struct structure_part *part = structure_part(structure, index);
    part->header = get_range(reader);
    part->body = get_range(reader);
    part->lines = get_number(reader);
    part->type = get_type(reader);
    for (size_t i = 0; i < G_N_ELEMENTS(part_strings); i++) {
        *part_string(part, i) = get_text(reader);
    }
    part->parameters = get_parameters(reader);
    part->disposition_parameters = get_parameters(reader);
    part->languages = get_languages(reader);
    if (structure_is_message(structure, index)) {
        get_message(reader,
                    &g_array_index(structure->messages, struct structure_message, part->message));
    }
}

static bool get_all(struct reader *reader)
{
    if (reader->end - reader->data < (ptrdiff_t)sizeof magic ||
        memcmp(reader->data, magic, sizeof magic) != 0) {
        return false;
    }
    reader->data += sizeof magic;
    if (get_number(reader) != reader->message_length) {
        return false;
    }
    uint64_t count = get_number(reader);
    if (count == 0 || count > LIMIT_MIME_PARTS) {
        return false;
    }
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        get_part(reader, i);
    }
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        const struct structure_part *part = structure_part(reader->structure, i);
        reader->failed = part->kind != STRUCTURE_LEAF && part->first_child == 0;
    }
    return !reader->failed && reader->data == reader->end;
}

struct structure *structure_decode(GBytes *record, uint64_t message_length)
{
    size_t size;
    const uint8_t *data = g_bytes_get_data(record, &size);
    if (data == NULL || size > RECORD_MAX) {
        return NULL;
    }
    struct reader reader = {
        .data = data,
        .end = data + size,
        .message_length = message_length,
        .structure = structure_new(),
    };
    if (!get_all(&reader)) {
        structure_free(reader.structure);
        return NULL;
    }
    reader.structure->record = g_bytes_ref(record);
    return reader.structure;
}
