/* One data item of a FETCH response (RFC 3501 7.4.2). */
#ifndef ANNAL_SERVER_FETCH_ITEM_H
#define ANNAL_SERVER_FETCH_ITEM_H

#include "server/session_message.h"

/* What an item asks of the message, beyond what the snapshot knows. */
bool fetch_item_needs_octets(const struct fetch_item *item);
bool fetch_item_needs_summary(const struct fetch_item *item);
bool fetch_item_needs_structure(const struct fetch_item *item);
/* RFC 3501 6.4.5: fetching this sets \Seen. */
bool fetch_item_sets_seen(const struct fetch_item *item);

/* Items that can be written the short way, for a message without keywords: UID, FLAGS, RFC822.SIZE
 * and MODSEQ. */
bool fetch_item_is_short(const struct fetch_item *item);
enum { FETCH_SHORT_MAX = 80 }; /* octets of one such item */
/* Writes "NAME value" at to; returns where it ends. */
char *fetch_item_put(char *to, const struct session *session, const struct message *message,
                     enum fetch_item_kind kind);

/* Writes "NAME value" to the session's output; a large literal goes there by and by, before
 * anything else (session_out_stream()). What the item needs has been got before (asserted). */
void fetch_item_write(struct session_message *message, const struct fetch_item *item);

#endif
