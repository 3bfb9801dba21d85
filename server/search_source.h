/* What SEARCH looks at in the message at hand: header fields and text, decoded. Each is got at the
 * first need and at most once a message.
 *
 * Blocking: the store is read and the host is asked for structure and text.
 */
#ifndef ANNAL_SERVER_SEARCH_SOURCE_H
#define ANNAL_SERVER_SEARCH_SOURCE_H

#include "server/session_message.h"

enum search_text { SEARCH_TEXT_BODY_ONLY, SEARCH_TEXT_HEADER_ONLY, SEARCH_TEXT_ALL, SEARCH_TEXTS };

struct search_source {
    struct session_message message;
    const struct message *at; /* borrowed */
    GArray *fields;           /* struct search_field: those that some key looks at */
    GHashTable *places;       /* lower-case name to its place in fields, plus one */
    size_t longest;           /* octets of such a name */
    GString *scratch;

    bool message_set;
    bool kept_loaded; /* the summary, or from the block what it should have */
    bool from_summary;
    bool block_loaded; /* the other fields */
    bool failed;
    GBytes *texts[SEARCH_TEXTS];
};

/* session is borrowed. */
void search_source_init(struct search_source *source, struct session *session);
void search_source_release(struct search_source *source);

/* True if this header field is in the message's summary, so that the message need not be read. */
bool search_source_keeps(const char *header);

/* Says, before any message, that a header field will be looked at; its place for the call below. */
size_t search_source_use(struct search_source *source, const char *header);

/* Turns to a message of the view (borrowed until the next one). NULL: to none. */
void search_source_set(struct search_source *source, const struct message *message);

/* A field's value as text_fold() makes it, a line for each of that name; addresses follow once more
 * in their bare form. data NULL if the message has no such field. Borrowed until the next message.
 */
struct summary_text search_source_field(struct search_source *source, size_t place);

/* The day of the Date field, which is to be used (above); false if there is none that can be
 * understood. */
bool search_source_sent(struct search_source *source, size_t place, int32_t *day);

/* The searchable text; the plain octets where it can't be had; NULL when unreadable. Borrowed. */
GBytes *search_source_text(struct search_source *source, enum search_text which);

/* True if the message could not be read. */
bool search_source_failed(const struct search_source *source);

#endif
