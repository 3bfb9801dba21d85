#include "server/fetch_item.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "protocol/datetime.h"
#include "protocol/header.h"
#include "protocol/response.h"

/* Literals up to this many octets are copied into the line; larger ones become pieces. */
enum { FETCH_COPY_MAX = 4096 };

bool fetch_item_needs_octets(const struct fetch_item *item)
{
    switch (item->kind) {
    case FETCH_SECTION:
    case FETCH_RFC822:
    case FETCH_RFC822_HEADER:
    case FETCH_RFC822_TEXT:
        return true;
    case FETCH_UID:
    case FETCH_FLAGS:
    case FETCH_INTERNALDATE:
    case FETCH_RFC822_SIZE:
    case FETCH_ENVELOPE:
    case FETCH_BODY:
    case FETCH_BODYSTRUCTURE:
    case FETCH_MODSEQ:
    case FETCH_ITEM_COUNT:
        return false;
    }
    return false;
}

bool fetch_item_needs_structure(const struct fetch_item *item)
{
    return item->kind == FETCH_ENVELOPE || item->kind == FETCH_BODY ||
           item->kind == FETCH_BODYSTRUCTURE ||
           (item->kind == FETCH_SECTION && item->part_count > 0);
}

bool fetch_item_sets_seen(const struct fetch_item *item)
{
    return item->kind == FETCH_RFC822 || item->kind == FETCH_RFC822_TEXT ||
           (item->kind == FETCH_SECTION && !item->peek);
}

/* section-spec and the names of HEADER.FIELDS, as they were asked for. */
static void write_section(GString *out, const struct fetch_item *item, bool utf8)
{
    g_string_append(out, "BODY[");
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

/* The octets that a section without part numbers names. */
static struct octet_range top_range(const uint8_t *data, size_t length, enum section_text text)
{
    struct octet_range range = {0, length};

    if (text == SECTION_TEXT_HEADER || text == SECTION_TEXT_MIME) {
        range.length = header_block_length(data, length);
    } else if (text == SECTION_TEXT_TEXT) {
        range.start = header_block_length(data, length);
        range.length = length - range.start;
    }
    return range;
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

/* HEADER.FIELDS and HEADER.FIELDS.NOT: octets picked from a header. */
static void write_fields(struct session *session, const uint8_t *header, size_t length,
                         const struct fetch_item *item)
{
    GString *fields = g_string_new(NULL);

    header_fields_select(fields, header, length, (const char *const *)item->names->pdata,
                         item->names->len, item->fields == SECTION_FIELDS_NOT);
    struct octet_range range = {0, fields->len};
    if (item->partial) {
        range = clip(range, item->offset, item->length);
    }
    GBytes *octets = g_string_free_to_bytes(fields);
    write_octets(session, octets, range);
    g_bytes_unref(octets);
}

static void write_body_section(struct session_message *message, const struct fetch_item *item)
{
    struct session *session = message->session;
    struct octet_range range;
    size_t length;

    assert(message->octets != NULL);
    const uint8_t *data = g_bytes_get_data(message->octets, &length);
    write_section(session_out(session), item, session->utf8);
    g_string_append_c(session_out(session), ' ');
    if (item->part_count == 0) {
        range = top_range(data, length, item->text);
    } else if (!structure_section(message->structure, item->parts, item->part_count, item->text,
                                  &range)) {
        g_string_append(session_out(session), "NIL");
        return;
    }
    /* The structure may rest on a size in the index that the blob belies. */
    range = clip((struct octet_range){0, length}, range.start, range.length);
    if (item->fields != SECTION_FIELDS_ALL) {
        write_fields(session, data + range.start, range.length, item);
        return;
    }
    if (item->partial) {
        range = clip(range, item->offset, item->length);
    }
    write_octets(session, message->octets, range);
}

static void write_rfc822(struct session_message *message, const char *name, enum section_text text)
{
    size_t length;

    assert(message->octets != NULL);
    const uint8_t *data = g_bytes_get_data(message->octets, &length);
    g_string_append(session_out(message->session), name);
    write_octets(message->session, message->octets, top_range(data, length, text));
}

static void write_internal_date(GString *out, const struct message *message)
{
    g_string_append(out, "INTERNALDATE \"");
    datetime_format(out, message->internal_date, message->zone);
    g_string_append_c(out, '"');
}

static void write_structure(struct session_message *message, enum fetch_item_kind kind)
{
    GString *out = session_out(message->session);
    bool utf8 = message->session->utf8;

    assert(message->structure != NULL);
    if (kind == FETCH_ENVELOPE) {
        g_string_append(out, "ENVELOPE ");
        structure_envelope(message->structure, out, utf8);
    } else {
        g_string_append(out, kind == FETCH_BODY ? "BODY " : "BODYSTRUCTURE ");
        structure_body(message->structure, out, utf8, kind == FETCH_BODYSTRUCTURE);
    }
}

void fetch_item_write(struct session_message *message, const struct fetch_item *item)
{
    struct session *session = message->session;
    GString *out = session_out(session);

    switch (item->kind) {
    case FETCH_UID:
        g_string_append_printf(out, "UID %" PRIu32, message->message.uid);
        break;
    case FETCH_FLAGS:
        g_string_append(out, "FLAGS ");
        session_write_flags(session, out, session->view, &message->message);
        break;
    case FETCH_INTERNALDATE:
        write_internal_date(out, &message->message);
        break;
    case FETCH_RFC822_SIZE:
        g_string_append_printf(out, "RFC822.SIZE %" PRIu32, message->message.size);
        break;
    case FETCH_MODSEQ:
        g_string_append_printf(out, "MODSEQ (%" PRIu64 ")", message->message.modseq);
        break;
    case FETCH_ENVELOPE:
    case FETCH_BODY:
    case FETCH_BODYSTRUCTURE:
        write_structure(message, item->kind);
        break;
    case FETCH_SECTION:
        write_body_section(message, item);
        break;
    case FETCH_RFC822:
        write_rfc822(message, "RFC822 ", SECTION_TEXT_NONE);
        break;
    case FETCH_RFC822_HEADER:
        write_rfc822(message, "RFC822.HEADER ", SECTION_TEXT_HEADER);
        break;
    case FETCH_RFC822_TEXT:
        write_rfc822(message, "RFC822.TEXT ", SECTION_TEXT_TEXT);
        break;
    case FETCH_ITEM_COUNT:
        break;
    }
}
