#include "protocol/mime_fields.h"

#include <string.h>

struct cursor {
    const char *data;
    const char *end;
};

static char peek(const struct cursor *cursor)
{
    return cursor->data < cursor->end ? *cursor->data : '\0';
}

static void skip_comment(struct cursor *cursor)
{
    size_t depth = 0;
    for (; cursor->data < cursor->end; cursor->data++) {
        if (*cursor->data == '\\' && cursor->end - cursor->data > 1) {
            cursor->data++;
        } else if (*cursor->data == '(') {
            depth++;
        } else if (*cursor->data == ')' && --depth == 0) {
            cursor->data++;
            return;
        }
    }
}

static void skip_cfws(struct cursor *cursor)
{
    while (cursor->data < cursor->end) {
        if (*cursor->data == '(') {
            skip_comment(cursor);
        } else if (g_ascii_isspace(*cursor->data)) {
            cursor->data++;
        } else {
            return;
        }
    }
}

/* token = 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials> */
static bool is_token_octet(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* The token at the cursor, after white space; empty if there is none. */
static struct cursor read_token(struct cursor *cursor)
{
    skip_cfws(cursor);
    struct cursor token = {cursor->data, cursor->data};
    while (cursor->data < cursor->end && is_token_octet(*cursor->data)) {
        cursor->data++;
    }
    token.end = cursor->data;
    return token;
}

static void read_quoted(struct cursor *cursor, GString *out)
{
    for (cursor->data++; cursor->data < cursor->end; cursor->data++) {
        char c = *cursor->data;
        if (c == '"') {
            cursor->data++;
            return;
        }
        if (c == '\\' && cursor->end - cursor->data > 1) {
            c = *++cursor->data;
        }
        g_string_append_c(out, c);
    }
}

/* value = token / quoted-string. What is not quoted goes on to white space or ';', for senders
 * leave boundaries such as =_part/1 unquoted. */
static void read_value(struct cursor *cursor, GString *out)
{
    skip_cfws(cursor);
    if (peek(cursor) == '"') {
        read_quoted(cursor, out);
        return;
    }
    while (cursor->data < cursor->end && *cursor->data != ';' && *cursor->data != '"' &&
           *cursor->data != '(' && !g_ascii_isspace(*cursor->data)) {
        g_string_append_c(out, *cursor->data++);
    }
}

/* To just after the next ';', leaving out those in quoted strings and comments. */
static void skip_to_parameter(struct cursor *cursor, GString *scratch)
{
    while (cursor->data < cursor->end) {
        skip_cfws(cursor);
        if (peek(cursor) == '"') {
            g_string_truncate(scratch, 0);
            read_quoted(cursor, scratch);
        } else if (cursor->data < cursor->end && *cursor->data++ == ';') {
            return;
        }
    }
}

static struct structure_text keep(struct structure *structure, struct cursor text)
{
    return structure_keep(structure, text.data, (size_t)(text.end - text.data));
}

/* *(";" attribute "=" value) */
static struct structure_span read_parameters(struct structure *structure, struct cursor *cursor)
{
    struct structure_span span = {.first = structure->parameters->len};
    g_autoptr(GString) value = g_string_new(NULL);
    for (;;) {
        skip_to_parameter(cursor, value);
        if (cursor->data == cursor->end) {
            break;
        }
        struct cursor name = read_token(cursor);
        skip_cfws(cursor);
        if (name.data == name.end || peek(cursor) != '=') {
            continue;
        }
        cursor->data++;
        g_string_truncate(value, 0);
        read_value(cursor, value);
        struct structure_parameter parameter = {.name = keep(structure, name)};
        parameter.value = structure_keep(structure, value->str, value->len);
        g_array_append_val(structure->parameters, parameter);
    }
    span.count = structure->parameters->len - span.first;
    return span;
}

/* content := "Content-Type" ":" type "/" subtype *(";" parameter) */
bool mime_fields_type(struct structure *structure, struct structure_part *part, const char *value,
                      size_t length)
{
    struct cursor cursor = {value, value + length};
    struct cursor type = read_token(&cursor);
    skip_cfws(&cursor);
    if (type.data == type.end || peek(&cursor) != '/') {
        return false;
    }
    cursor.data++;
    struct cursor subtype = read_token(&cursor);
    if (subtype.data == subtype.end) {
        return false;
    }
    g_autoptr(GString) full = g_string_new_len(type.data, type.end - type.data);
    g_string_append_c(full, '/');
    g_string_append_len(full, subtype.data, subtype.end - subtype.data);
    part->type = structure_keep(structure, full->str, full->len);
    part->parameters = read_parameters(structure, &cursor);
    return true;
}

void mime_fields_disposition(struct structure *structure, struct structure_part *part,
                             const char *value, size_t length)
{
    struct cursor cursor = {value, value + length};
    struct cursor disposition = read_token(&cursor);
    if (disposition.data < disposition.end) {
        part->disposition = keep(structure, disposition);
        part->disposition_parameters = read_parameters(structure, &cursor);
    }
}

/* Content-Language = "Content-Language:" [CFWS] Language-tag *("," Language-tag) */
void mime_fields_language(struct structure *structure, struct structure_part *part,
                          const char *value, size_t length)
{
    struct cursor cursor = {value, value + length};
    part->languages.first = structure->languages->len;
    while (cursor.data < cursor.end) {
        struct cursor tag = read_token(&cursor);
        if (tag.data < tag.end) {
            struct structure_text language = keep(structure, tag);
            g_array_append_val(structure->languages, language);
        } else if (cursor.data < cursor.end) {
            cursor.data++;
        }
    }
    part->languages.count = structure->languages->len - part->languages.first;
}

void mime_fields_encoding(struct structure *structure, struct structure_part *part,
                          const char *value, size_t length)
{
    struct cursor cursor = {value, value + length};
    struct cursor encoding = read_token(&cursor);
    if (encoding.data < encoding.end) {
        part->encoding = keep(structure, encoding);
    }
}

static bool equals(struct structure_text text, const char *name)
{
    return text.length == strlen(name) && g_ascii_strncasecmp(text.data, name, text.length) == 0;
}

/* extended-value: [charset "'" [language "'"]] and octets, some as %XX. */
static void append_extended(GString *out, struct structure_text value, bool first)
{
    const char *data = value.data;
    const char *end = value.data + value.length;
    for (int quotes = 0; first && quotes < 2; quotes++) {
        const char *quote = memchr(data, '\'', (size_t)(end - data));
        data = quote == NULL ? data : quote + 1;
    }
    for (; data < end; data++) {
        if (*data == '%' && end - data > 2 && g_ascii_isxdigit(data[1]) &&
            g_ascii_isxdigit(data[2])) {
            g_string_append_c(
                out, (char)(g_ascii_xdigit_value(data[1]) * 16 + g_ascii_xdigit_value(data[2])));
            data += 2;
        } else {
            g_string_append_c(out, *data);
        }
    }
}

static const struct structure_text *find(const struct structure *structure,
                                         struct structure_span span, const char *name)
{
    for (uint32_t i = 0; i < span.count; i++) {
        const struct structure_parameter *parameter =
            &g_array_index(structure->parameters, struct structure_parameter, span.first + i);
        if (equals(parameter->name, name)) {
            return &parameter->value;
        }
    }
    return NULL;
}

/* Ample for a boundary or a charset, and it keeps the search for pieces from being quadratic. */
enum { PIECES_MAX = 10 };

bool mime_fields_parameter(GString *out, const struct structure *structure,
                           struct structure_span span, const char *name)
{
    const struct structure_text *value = find(structure, span, name);
    if (value != NULL) {
        g_string_append_len(out, value->data, (gssize)value->length);
        return true;
    }
    g_autoptr(GString) piece = g_string_new(NULL);
    g_string_printf(piece, "%s*", name);
    value = find(structure, span, piece->str);
    if (value != NULL) {
        append_extended(out, *value, true);
        return true;
    }
    int count = 0;
    for (; count < PIECES_MAX; count++) {
        g_string_printf(piece, "%s*%d", name, count);
        value = find(structure, span, piece->str);
        if (value != NULL) {
            g_string_append_len(out, value->data, (gssize)value->length);
            continue;
        }
        g_string_append_c(piece, '*');
        value = find(structure, span, piece->str);
        if (value == NULL) {
            break;
        }
        append_extended(out, *value, count == 0);
    }
    return count > 0;
}
