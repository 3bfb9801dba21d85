/* Text for SEARCH. gmime decodes (its filters are linear and keep little); it is given single
 * bodies, never a message to parse, and nothing of it that encodes or formats is called. */
#include <gmime/gmime.h>
#include <string.h>

#include "protocol/charset.h"
#include "protocol/header.h"
#include "protocol/mime.h"
#include "protocol/mime_fields.h"
#include "protocol/mime_parse.h"
#include "protocol/structure_tree.h"

enum { CHUNK = 32 * 1024 };

struct collector {
    const uint8_t *message;
    const struct structure *structure;
    GString *out;
    size_t max;
};

static bool is_full(const struct collector *collector)
{
    return collector->out->len >= collector->max;
}

static void collect_header(struct collector *collector, const struct structure_part *part)
{
    const uint8_t *block = collector->message + part->header.start;
    struct header_field field;
    size_t position = 0;
    while (!is_full(collector) && header_next(block, part->header.length, &position, &field)) {
        charset_append_valid(collector->out, field.name, field.name_length);
        g_string_append(collector->out, field.name_length > 0 ? ": " : "");
        header_decode(collector->out, field.value, field.value_length);
        g_string_append_c(collector->out, '\n');
    }
}

/* The part's transfer encoding undone, or NULL where there is none to undo. */
static GMimeFilter *new_encoding_filter(const struct structure_part *part)
{
    if (part->encoding.data == NULL) {
        return NULL;
    }
    switch (g_mime_content_encoding_from_string(part->encoding.data)) {
    case GMIME_CONTENT_ENCODING_BASE64:
        return g_mime_filter_basic_new(GMIME_CONTENT_ENCODING_BASE64, FALSE);
    case GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE:
        return g_mime_filter_basic_new(GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE, FALSE);
    case GMIME_CONTENT_ENCODING_UUENCODE:
        return g_mime_filter_basic_new(GMIME_CONTENT_ENCODING_UUENCODE, FALSE);
    case GMIME_CONTENT_ENCODING_DEFAULT:
    case GMIME_CONTENT_ENCODING_7BIT:
    case GMIME_CONTENT_ENCODING_8BIT:
    case GMIME_CONTENT_ENCODING_BINARY:
        return NULL;
    }
    return NULL;
}

/* From the part's charset to UTF-8; broken octets are dropped. Also from UTF-8 itself: so that a
 * character is never cut between two chunks. */
static GMimeFilter *new_charset_filter(const struct collector *collector,
                                       const struct structure_part *part)
{
    g_autoptr(GString) charset = g_string_new(NULL);
    char name[CHARSET_NAME_MAX];
    GMimeFilter *filter = NULL;
    mime_fields_parameter(charset, collector->structure, part->parameters, "charset");
    if (charset_name(name, charset->str, charset->len)) {
        filter = g_mime_filter_charset_new(name, "utf-8");
    }
    return filter != NULL ? filter : g_mime_filter_charset_new("utf-8", "utf-8");
}

struct piece {
    char *data;
    size_t length;
};

/* filter NULL: nothing to do. last: no more comes, what the filter has kept is wanted too. */
static struct piece run_filter(GMimeFilter *filter, struct piece in, bool last)
{
    struct piece out = in;
    size_t prespace;
    if (filter != NULL && last) {
        g_mime_filter_complete(filter, in.data, in.length, 0, &out.data, &out.length, &prespace);
    } else if (filter != NULL) {
        g_mime_filter_filter(filter, in.data, in.length, 0, &out.data, &out.length, &prespace);
    }
    return out;
}

static void collect_body(struct collector *collector, const struct structure_part *part)
{
    GMimeFilter *encoding = new_encoding_filter(part);
    GMimeFilter *charset = new_charset_filter(collector, part);
    size_t position = part->body.start;
    size_t end = position + part->body.length;
    bool last = false;
    while (!last && !is_full(collector)) {
        size_t length = MIN(CHUNK, end - position);
        struct piece piece = {(char *)(uintptr_t)(collector->message + position), length};
        position += length;
        last = position == end;
        piece = run_filter(encoding, piece, last);
        piece = run_filter(charset, piece, last);
        charset_append_valid(collector->out, piece.data, piece.length);
    }
    g_string_append_c(collector->out, '\n');
    g_clear_object(&encoding);
    g_clear_object(&charset);
}

static bool is_text(const struct structure_part *part)
{
    return part->kind == STRUCTURE_LEAF && g_ascii_strncasecmp(part->type.data, "text/", 5) == 0;
}

/* Cuts to max octets, at a character. */
static void cut(GString *text, size_t max)
{
    if (text->len > max) {
        while (max > 0 && ((unsigned char)text->str[max] & 0xc0) == 0x80) {
            max--;
        }
        g_string_truncate(text, max);
    }
}

GBytes *mime_text(const uint8_t *message, size_t length, bool header, bool body, size_t max)
{
    struct structure *structure = mime_parse(message, length, false, &mime_bounds_all);
    if (structure == NULL) {
        structure = structure_plain_tree(message, length);
    }
    struct collector collector = {message, structure, g_string_new(NULL), max};
    for (uint32_t i = 0; i < structure->parts->len && !is_full(&collector); i++) {
        const struct structure_part *part = structure_part(structure, i);
        bool attached = i > 0 && structure_is_message(structure, i);
        if (header || (body && attached)) {
            collect_header(&collector, part);
        }
        if (body && is_text(part)) {
            collect_body(&collector, part);
        }
    }
    cut(collector.out, max);
    structure_free(structure);
    return g_string_free_to_bytes(collector.out);
}
