#include "server/fetch_item.h"

#include <assert.h>
#include <string.h>

#include "protocol/datetime.h"
#include "protocol/response.h"
#include "server/fetch_binary.h"
#include "server/fetch_body.h"

bool fetch_item_needs_octets(const struct fetch_item *item)
{
    switch (item->kind) {
    case FETCH_SECTION:
    case FETCH_RFC822:
    case FETCH_RFC822_HEADER:
    case FETCH_RFC822_TEXT:
    case FETCH_BINARY:
    case FETCH_BINARY_SIZE:
        return true;
    case FETCH_UID:
    case FETCH_FLAGS:
    case FETCH_INTERNALDATE:
    case FETCH_RFC822_SIZE:
    case FETCH_ENVELOPE:
    case FETCH_BODY:
    case FETCH_BODYSTRUCTURE:
    case FETCH_MODSEQ:
    case FETCH_EMAILID:
    case FETCH_THREADID:
    case FETCH_ITEM_COUNT:
        return false;
    }
    return false;
}

bool fetch_item_needs_summary(const struct fetch_item *item)
{
    return item->kind == FETCH_ENVELOPE || item->kind == FETCH_BODYSTRUCTURE;
}

bool fetch_item_needs_structure(const struct fetch_item *item)
{
    return item->kind == FETCH_BODY || item->part_count > 0;
}

bool fetch_item_sets_seen(const struct fetch_item *item)
{
    return item->kind == FETCH_RFC822 || item->kind == FETCH_RFC822_TEXT ||
           ((item->kind == FETCH_SECTION || item->kind == FETCH_BINARY) && !item->peek);
}

static void write_internal_date(GString *out, const struct message *message)
{
    g_string_append(out, "INTERNALDATE \"");
    datetime_format(out, message->internal_date, message->zone);
    g_string_append_c(out, '"');
}

static void write_text(GString *out, const char *name, struct summary_text text)
{
    g_string_append(out, name);
    g_string_append_len(out, text.data, (gssize)text.length);
}

/* From the summary, or where that is not what this client takes, anew. */
static void write_structure(struct session_message *message, enum fetch_item_kind kind)
{
    GString *out = session_out(message->session);
    bool utf8 = message->session->utf8;
    const struct structure *structure = message->structure;
    struct store_error error;

    if (kind != FETCH_BODY) {
        assert(message->has_summary);
        if (!utf8 || message->summary.for_utf8) {
            write_text(out, kind == FETCH_ENVELOPE ? "ENVELOPE " : "BODYSTRUCTURE ",
                       kind == FETCH_ENVELOPE ? message->summary.envelope
                                              : message->summary.bodystructure);
            return;
        }
        if (session_message_structure(message, &structure, &error) != 0) {
            session_break(message->session, message->message.uid, &error);
            return;
        }
    }
    assert(structure != NULL);
    g_string_append(out, kind == FETCH_ENVELOPE ? "ENVELOPE "
                         : kind == FETCH_BODY   ? "BODY "
                                                : "BODYSTRUCTURE ");
    if (kind == FETCH_ENVELOPE) {
        structure_envelope(structure, out, utf8);
    } else {
        structure_body(structure, out, utf8, kind == FETCH_BODYSTRUCTURE);
    }
}

static void write_number(GString *out, const char *name, uint64_t number)
{
    g_string_append(out, name);
    response_number(out, number);
}

bool fetch_item_is_short(const struct fetch_item *item)
{
    return item->kind == FETCH_UID || item->kind == FETCH_FLAGS ||
           item->kind == FETCH_RFC822_SIZE || item->kind == FETCH_MODSEQ;
}

static char *put_text(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

#define PUT(TO, TEXT) put_text(TO, TEXT, sizeof(TEXT) - 1)

static char *put_flags(char *to, const struct session *session, const struct message *message)
{
    char *start = PUT(to, "FLAGS ");

    to = start;
    to = (message->flags & MESSAGE_ANSWERED) != 0 ? PUT(to, " \\Answered") : to;
    to = (message->flags & MESSAGE_FLAGGED) != 0 ? PUT(to, " \\Flagged") : to;
    to = (message->flags & MESSAGE_DELETED) != 0 ? PUT(to, " \\Deleted") : to;
    to = (message->flags & MESSAGE_SEEN) != 0 ? PUT(to, " \\Seen") : to;
    to = (message->flags & MESSAGE_DRAFT) != 0 ? PUT(to, " \\Draft") : to;
    to = !session->rev2 && session_is_recent(session, message) ? PUT(to, " \\Recent") : to;
    to += to == start;
    *start = '(';
    return PUT(to, ")");
}

char *fetch_item_put(char *to, const struct session *session, const struct message *message,
                     enum fetch_item_kind kind)
{
    if (kind == FETCH_UID) {
        return response_digits(PUT(to, "UID "), message->uid);
    }
    if (kind == FETCH_RFC822_SIZE) {
        return response_digits(PUT(to, "RFC822.SIZE "), message->size);
    }
    if (kind == FETCH_MODSEQ) {
        return PUT(response_digits(PUT(to, "MODSEQ ("), message->modseq), ")");
    }
    assert(kind == FETCH_FLAGS && message->keywords == 0);
    return put_flags(to, session, message);
}

void fetch_item_write(struct session_message *message, const struct fetch_item *item)
{
    struct session *session = message->session;
    GString *out = session_out(session);

    switch (item->kind) {
    case FETCH_UID:
        write_number(out, "UID ", message->message.uid);
        break;
    case FETCH_FLAGS:
        g_string_append(out, "FLAGS ");
        session_write_flags(session, out, session->view, &message->message);
        break;
    case FETCH_INTERNALDATE:
        write_internal_date(out, &message->message);
        break;
    case FETCH_RFC822_SIZE:
        write_number(out, "RFC822.SIZE ", message->message.size);
        break;
    case FETCH_MODSEQ:
        write_number(out, "MODSEQ (", message->message.modseq);
        g_string_append_c(out, ')');
        break;
    case FETCH_EMAILID:
        g_string_append(out, "EMAILID (");
        session_write_email_id(out, &message->message);
        g_string_append_c(out, ')');
        break;
    case FETCH_THREADID:
        g_string_append(out, "THREADID NIL");
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
    case FETCH_BINARY:
    case FETCH_BINARY_SIZE:
        fetch_binary_write(message, item);
        break;
    case FETCH_ITEM_COUNT:
        break;
    }
}
