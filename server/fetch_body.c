#include "server/fetch_body.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "protocol/header.h"
#include "protocol/response.h"

/* Literals up to this many octets are copied into the line; larger ones become pieces. */
enum { FETCH_COPY_MAX = 4096 };

void fetch_body_write_section(GString *out, const char *start, const struct fetch_item *item,
                              bool utf8)
{
    g_string_append(out, start);
    for (size_t i = 0; i < item->part_count; i++) {
        g_string_append_printf(out, "%s%" PRIu32, i > 0 ? "." : "", item->parts[i]);
    }
    if (item->part_count > 0 && item->text != SECTION_TEXT_NONE) {
        g_string_append_c(out, '.');
    }
    switch (item->text) {
    case SECTION_TEXT_NONE:
        break;
    case SECTION_TEXT_HEADER:
        g_string_append(out, "HEADER");
        break;
    case SECTION_TEXT_TEXT:
        g_string_append(out, "TEXT");
        break;
    case SECTION_TEXT_MIME:
        g_string_append(out, "MIME");
        break;
    }
    if (item->fields != SECTION_FIELDS_ALL) {
        g_string_append(out, item->fields == SECTION_FIELDS_NOT ? ".FIELDS.NOT (" : ".FIELDS (");
        for (size_t i = 0; i < item->names->len; i++) {
            const char *name = g_ptr_array_index(item->names, i);

            if (i > 0) {
                g_string_append_c(out, ' ');
            }
            response_astring(out, name, strlen(name), utf8);
        }
        g_string_append_c(out, ')');
    }
    g_string_append_c(out, ']');
    if (item->partial) {
        g_string_append_printf(out, "<%" PRIu64 ">", item->offset);
    }
}

static void break_off(struct session_message *message, const struct store_error *error)
{
    session_break(message->session, message->message.uid, error);
}

/* --- where the header ends --- */

enum line_start { LINE_EMPTY, LINE_ONLY_CR, LINE_HAS_TEXT };

/* The octets of a piece up to and with the header's empty line, or all of them. *line: what the
 * line at the piece's start, and then at its end, consists of. */
static size_t find_header_end(const uint8_t *data, size_t length, enum line_start *line,
                              bool *found)
{
    size_t at = 0;

    *found = false;
    while (at < length && !*found) {
        uint8_t octet = data[at];

        if (octet == '\n') {
            *found = *line != LINE_HAS_TEXT;
            *line = LINE_EMPTY;
            at++;
        } else if (octet == '\r' && *line == LINE_EMPTY) {
            *line = LINE_ONLY_CR;
            at++;
        } else {
            const uint8_t *newline = memchr(data + at, '\n', length - at);

            *line = LINE_HAS_TEXT;
            at = newline != NULL ? (size_t)(newline - data) : length;
        }
    }
    return at;
}

/* header_block_length() of a stream. */
static int stream_header_length(struct message_stream *stream, uint64_t *out,
                                struct store_error *error)
{
    uint64_t length = message_stream_length(stream);
    enum line_start line = LINE_EMPTY;
    bool found = false;
    uint64_t at = 0;

    while (at < length && !found) {
        gsize size;
        GBytes *piece;
        int result = message_stream_read(stream, at, length - at, &piece, error);

        if (result != 0) {
            return result;
        }
        const uint8_t *data = g_bytes_get_data(piece, &size);
        at += find_header_end(data, size, &line, &found);
        g_bytes_unref(piece);
    }
    *out = at;
    return 0;
}

static int header_length(struct session_message *message, uint64_t *out, struct store_error *error)
{
    if (message->stream != NULL) {
        return stream_header_length(message->stream, out, error);
    }
    gsize length;
    const uint8_t *data = g_bytes_get_data(message->octets, &length);

    *out = header_block_length(data, length);
    return 0;
}

/* --- sections --- */

/* The octets that a section without part numbers names. */
static int top_range(struct session_message *message, enum section_text text,
                     struct octet_range *range, struct store_error *error)
{
    uint64_t header = 0;

    *range = (struct octet_range){0, session_message_length(message)};
    if (text == SECTION_TEXT_NONE) {
        return 0;
    }
    int result = header_length(message, &header, error);

    if (text == SECTION_TEXT_TEXT) {
        range->start = header;
        range->length -= header;
    } else {
        range->length = header;
    }
    return result;
}

static struct octet_range clip(struct octet_range range, uint64_t offset, uint64_t length)
{
    uint64_t skipped = MIN(offset, range.length);

    range.start += skipped;
    range.length = MIN(length, range.length - skipped);
    return range;
}

static void write_octets(struct session *session, GBytes *octets, struct octet_range range)
{
    GString *out = session_out(session);

    if (range.length == 0) {
        g_string_append(out, "\"\"");
        return;
    }
    response_literal_header(out, range.length);
    if (range.length <= FETCH_COPY_MAX) {
        const char *data = g_bytes_get_data(octets, NULL);

        g_string_append_len(out, data + range.start, (gssize)range.length);
    } else {
        session_out_take(session, g_bytes_new_from_bytes(octets, range.start, range.length));
    }
}

static void write_range(struct session_message *message, struct octet_range range)
{
    struct session *session = message->session;

    if (message->stream == NULL || range.length == 0) {
        write_octets(session, message->octets, range);
        return;
    }
    response_literal_header(session_out(session), range.length);
    session_out_stream(session, message->stream, message->message.uid, range.start, range.length);
}

/* HEADER.FIELDS and HEADER.FIELDS.NOT: octets picked from the header that stands at the range. */
static int write_fields(struct session_message *message, struct octet_range range,
                        const struct fetch_item *item, struct store_error *error)
{
    GBytes *header = NULL;
    gsize length;
    int result = 0;

    if (message->stream != NULL) {
        result = message_stream_gather(message->stream, range.start, range.length, &header, error);
    } else {
        header = g_bytes_new_from_bytes(message->octets, range.start, range.length);
    }
    if (result != 0) {
        return result;
    }
    GString *fields = g_string_new(NULL);
    const uint8_t *data = g_bytes_get_data(header, &length);

    header_fields_select(fields, data, length, (const char *const *)item->names->pdata,
                         item->names->len, item->fields == SECTION_FIELDS_NOT);
    g_bytes_unref(header);
    range = (struct octet_range){0, fields->len};
    if (item->partial) {
        range = clip(range, item->offset, item->length);
    }
    GBytes *octets = g_string_free_to_bytes(fields);
    write_octets(message->session, octets, range);
    g_bytes_unref(octets);
    return 0;
}

static int write_body_section(struct session_message *message, const struct fetch_item *item,
                              struct store_error *error)
{
    GString *out = session_out(message->session);
    struct octet_range range;
    int result = 0;

    fetch_body_write_section(out, "BODY[", item, message->session->utf8);
    g_string_append_c(out, ' ');
    if (item->part_count == 0) {
        result = top_range(message, item->text, &range, error);
    } else if (!structure_section(message->structure, item->parts, item->part_count, item->text,
                                  &range)) {
        g_string_append(out, "NIL");
        return 0;
    }
    if (result != 0) {
        return result;
    }
    /* The structure may rest on a size in the index that the blob belies. */
    range =
        clip((struct octet_range){0, session_message_length(message)}, range.start, range.length);
    if (item->fields != SECTION_FIELDS_ALL) {
        return write_fields(message, range, item, error);
    }
    if (item->partial) {
        range = clip(range, item->offset, item->length);
    }
    write_range(message, range);
    return 0;
}

static int write_rfc822(struct session_message *message, const char *name, enum section_text text,
                        struct store_error *error)
{
    struct octet_range range;
    int result = top_range(message, text, &range, error);

    if (result == 0) {
        g_string_append(session_out(message->session), name);
        write_range(message, range);
    }
    return result;
}

void fetch_body_write(struct session_message *message, const struct fetch_item *item)
{
    struct store_error error;
    int result;

    assert(message->octets != NULL || message->stream != NULL);
    if (item->kind == FETCH_RFC822) {
        result = write_rfc822(message, "RFC822 ", SECTION_TEXT_NONE, &error);
    } else if (item->kind == FETCH_RFC822_HEADER) {
        result = write_rfc822(message, "RFC822.HEADER ", SECTION_TEXT_HEADER, &error);
    } else if (item->kind == FETCH_RFC822_TEXT) {
        result = write_rfc822(message, "RFC822.TEXT ", SECTION_TEXT_TEXT, &error);
    } else {
        assert(item->kind == FETCH_SECTION);
        result = write_body_section(message, item, &error);
    }
    if (result != 0) {
        break_off(message, &error);
    }
}
