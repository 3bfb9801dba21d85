#include "protocol/message_id.h"

#include <string.h>

#include "protocol/header.h"
#include "protocol/limits.h"

/* The end of what is opened here, a comment with all in it or a quoted text; NULL: it is not
 * closed. */
static const char *closed_at(const char *at, const char *end)
{
    bool comment = *at == '(';
    size_t depth = 1;

    for (at++; at < end; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        else if (comment && *at == '(')
            depth++;
        else if (*at == (comment ? ')' : '"') && --depth == 0)
            return at + 1;
    }
    return NULL;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

/* Reads on behind a "<". False: it is no Message ID; reader->at is where to look for the next. */
static bool read_id(struct message_id_reader *reader, GString *out)
{
    const char *start = reader->at;
    size_t sign = 0;
    bool quoted = false;

    g_string_truncate(out, 0);
    for (; reader->at < reader->end; reader->at++) {
        char c = *reader->at;

        if (c == '(' && !quoted && !reader->bare) {
            const char *end = closed_at(reader->at, reader->end);

            if (end == NULL)
                break;
            reader->at = end - 1;
            continue;
        }
        if (c == '"') {
            quoted = !quoted && !reader->bare;
            continue;
        }
        if (!quoted && c == '<')
            return false;
        if (!quoted && c == '>') {
            reader->at++;
            return sign > 0 && out->len > sign + 1 && out->len <= LIMIT_MESSAGE_ID;
        }
        if (c == '\\' && reader->at + 1 < reader->end)
            c = *++reader->at;
        if (is_blank(c) && (!quoted || (c != ' ' && c != '\t')))
            continue;
        if (c == '@' && !quoted)
            sign = out->len;
        if (out->len <= LIMIT_MESSAGE_ID)
            g_string_append_c(out, c);
    }
    if (!reader->bare)
        reader->at = start - 1; /* once more, from the "<" on */
    reader->bare = true;
    return false;
}

bool message_id_next(struct message_id_reader *reader, GString *out)
{
    while (reader->at < reader->end) {
        char c = *reader->at;

        if ((c == '(' || c == '"') && !reader->bare) {
            const char *end = closed_at(reader->at, reader->end);

            reader->bare = end == NULL;
            reader->at = end != NULL ? end : reader->at + 1;
            continue;
        }
        reader->at++;
        if (c == '<' && read_id(reader, out))
            return true;
    }
    return false;
}

/* --- records --- */

static struct message_id_reader reader_of(const struct header_field *field)
{
    const char *end = field->value != NULL ? field->value + field->value_length : NULL;

    return (struct message_id_reader){field->value, end, false};
}

static void append_id(GByteArray *out, const GString *id)
{
    g_byte_array_append(out, (const guint8 *)id->str, (guint)id->len + 1);
}

static size_t count_ids(const struct header_field *field, GString *id)
{
    struct message_id_reader reader = reader_of(field);
    size_t count = 0;

    while (message_id_next(&reader, id))
        count++;
    return count;
}

/* The first of the field; none: nothing, or with empty an empty one. */
static void append_first(GByteArray *out, const struct header_field *field, GString *id, bool empty)
{
    struct message_id_reader reader = reader_of(field);

    if (!message_id_next(&reader, id)) {
        if (!empty)
            return;
        g_string_truncate(id, 0);
    }
    append_id(out, id);
}

static void append_last(GByteArray *out, const struct header_field *field, size_t count,
                        GString *id)
{
    struct message_id_reader reader = reader_of(field);

    for (size_t i = 0; i < count && message_id_next(&reader, id); i++) {
        if (count - i <= LIMIT_REFERENCES)
            append_id(out, id);
    }
}

void message_id_record(GByteArray *out, const uint8_t *header, size_t length)
{
    static const char *const names[] = {"Message-ID", "References", "In-Reply-To"};
    struct header_field fields[3] = {{0}}, field, *own = fields, *references = fields + 1,
                        *parent = fields + 2;
    GString *id = g_string_new(NULL);
    size_t position = 0, count;

    while (header_next(header, length, &position, &field)) {
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
            if (fields[i].value == NULL && field.name_length == strlen(names[i]) &&
                g_ascii_strncasecmp(field.name, names[i], field.name_length) == 0)
                fields[i] = field;
        }
    }
    append_first(out, own, id, true);
    count = count_ids(references, id);
    if (count == 0)
        append_first(out, parent, id, false);
    else
        append_last(out, references, count, id);
    g_string_free(id, TRUE);
}
