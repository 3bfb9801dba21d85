#include "protocol/header.h"

#include <string.h>

#include "protocol/charset.h"
#include "protocol/encoded_word.h"

enum { NAMES_FEW = 16 };

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* Offset just past the line that begins at position. */
static size_t line_end(const uint8_t *data, size_t length, size_t position)
{
    const uint8_t *newline = memchr(data + position, '\n', length - position);
    return newline == NULL ? length : (size_t)(newline - data) + 1;
}

static bool is_empty_line(const uint8_t *data, size_t start, size_t end)
{
    return (end - start == 1 && data[start] == '\n') ||
           (end - start == 2 && data[start] == '\r' && data[start + 1] == '\n');
}

size_t header_block_length(const uint8_t *data, size_t length)
{
    size_t position = 0;
    while (position < length) {
        size_t end = line_end(data, length, position);
        if (is_empty_line(data, position, end)) {
            return end;
        }
        position = end;
    }
    return length;
}

/* field-name = 1*ftext; ftext = %d33-57 / %d59-126; white space before the colon is obsolete but
 * seen (RFC 5322 4.5). Octets above 126 are let pass (RFC 6532 has none, but some senders do). */
static bool split_field(const uint8_t *data, struct header_field *out)
{
    const char *line = (const char *)data + out->start;
    size_t length = out->end - out->start;
    const char *colon = memchr(line, ':', length);
    if (colon == NULL) {
        return false;
    }
    size_t name_length = (size_t)(colon - line);
    while (name_length > 0 && is_wsp(line[name_length - 1])) {
        name_length--;
    }
    for (size_t i = 0; i < name_length; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c <= ' ' || c == 0x7f) {
            return false;
        }
    }
    out->name = line;
    out->name_length = name_length;
    out->value = colon + 1;
    out->value_length = length - (size_t)(colon + 1 - line);
    return name_length > 0;
}

bool header_next(const uint8_t *data, size_t block_length, size_t *position,
                 struct header_field *out)
{
    if (*position >= block_length) {
        return false;
    }
    size_t end = line_end(data, block_length, *position);
    if (is_empty_line(data, *position, end)) {
        return false;
    }
    *out = (struct header_field){.start = *position};
    while (end < block_length && is_wsp((char)data[end])) {
        end = line_end(data, block_length, end);
    }
    out->end = end;
    *position = end;
    if (!split_field(data, out)) {
        out->name = (const char *)data + out->start;
        out->name_length = 0;
        out->value = out->name;
        out->value_length = end - out->start;
    }
    return true;
}

/* Names to look for: compared one after the other while they are few, else by hash. */
struct names {
    const char *const *names;
    size_t count;
    size_t longest;
    size_t lengths[NAMES_FEW];
    GHashTable *set; /* of many names, in lower case; NULL: few */
};

static void names_init(struct names *names, const char *const *list, size_t count)
{
    *names = (struct names){.names = list, .count = count};
    if (count > NAMES_FEW) {
        names->set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(list[i]);
        names->longest = MAX(names->longest, length);
        if (names->set != NULL) {
            g_hash_table_add(names->set, g_ascii_strdown(list[i], -1));
        } else {
            names->lengths[i] = length;
        }
    }
}

static bool names_have(const struct names *names, const struct header_field *field)
{
    if (field->name_length == 0 || field->name_length > names->longest) {
        return false;
    }
    if (names->set != NULL) {
        g_autofree char *name = g_ascii_strdown(field->name, (gssize)field->name_length);
        return g_hash_table_contains(names->set, name);
    }
    for (size_t i = 0; i < names->count; i++) {
        if (names->lengths[i] == field->name_length &&
            g_ascii_strncasecmp(names->names[i], field->name, field->name_length) == 0) {
            return true;
        }
    }
    return false;
}

void header_fields_select(GString *out, const uint8_t *data, size_t block_length,
                          const char *const *names, size_t count, bool invert)
{
    struct names wanted;
    size_t position = 0;
    struct header_field field = {0};
    names_init(&wanted, names, count);
    while (header_next(data, block_length, &position, &field)) {
        if (names_have(&wanted, &field) != invert) {
            g_string_append_len(out, (const char *)data + field.start,
                                (gssize)(field.end - field.start));
            if (data[field.end - 1] != '\n') {
                g_string_append(out, "\r\n");
            }
        }
    }
    g_string_append(out, "\r\n");
    g_clear_pointer(&wanted.set, g_hash_table_unref);
}

void header_unfold(GString *out, const char *value, size_t length)
{
    while (length > 0 && (g_ascii_isspace(value[length - 1]))) {
        length--;
    }
    size_t i = 0;
    while (i < length && g_ascii_isspace(value[i])) {
        i++;
    }
    while (i < length) {
        const char *newline = memchr(value + i, '\n', length - i);
        size_t end = newline == NULL ? length : (size_t)(newline - value);
        size_t kept = end;
        if (newline != NULL && kept > i && value[kept - 1] == '\r') {
            kept--;
        }
        g_string_append_len(out, value + i, (gssize)(kept - i));
        i = end + 1;
    }
}

void header_decode(GString *out, const char *value, size_t length)
{
    g_autoptr(GString) unfolded = g_string_new(NULL);
    header_unfold(unfolded, value, length);
    encoded_words_decode(out, unfolded->str, unfolded->len);
}
