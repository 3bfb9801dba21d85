#include "server/fetch_item.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "protocol/datetime.h"
#include "server/fetch_body.h"

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
    case FETCH_RFC822:
    case FETCH_RFC822_HEADER:
    case FETCH_RFC822_TEXT:
        fetch_body_write(message, item);
        break;
    case FETCH_ITEM_COUNT:
        break;
    }
}
