/* BINARY[section]<partial> and BINARY.SIZE[section] (RFC 3516, RFC 9051 6.4.5): a part's content
 * with its transfer encoding undone. A part of any size is decoded in pieces. */
#ifndef ANNAL_SERVER_FETCH_BINARY_H
#define ANNAL_SERVER_FETCH_BINARY_H

#include "server/session_message.h"

bool fetch_binary_is(const struct fetch_item *item);

/* Whether the item of that message can be answered: false if its part is encoded in a way nobody
 * here knows. The message is open and, where part numbers are asked for, has its structure. */
bool fetch_binary_can_decode(const struct session_message *message, const struct fetch_item *item);

/* Writes "NAME content" or "NAME number" of an item that can be decoded. Of a part that is not
 * there that is NIL and 0. If a large message turns out to be unreadable on the way, the session
 * breaks off (session_break()). */
void fetch_binary_write(struct session_message *message, const struct fetch_item *item);

#endif
