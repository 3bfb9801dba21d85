/* The data items of FETCH that carry a message's octets (RFC 3501 7.4.2): BODY[section]<partial>
 * and RFC822, RFC822.HEADER, RFC822.TEXT. */
#ifndef ANNAL_SERVER_FETCH_BODY_H
#define ANNAL_SERVER_FETCH_BODY_H

#include "server/session_message.h"

/* Writes "NAME literal" to the session's output. The message is open and, where part numbers are
 * asked for, has its structure. If a large message turns out to be unreadable on the way, the
 * session breaks off (session_break()). */
void fetch_body_write(struct session_message *message, const struct fetch_item *item);

/* Writes start ("BODY["), section-spec and the names of HEADER.FIELDS as they were asked for, "]"
 * and the partial's offset. */
void fetch_body_write_section(GString *out, const char *start, const struct fetch_item *item,
                              bool utf8);

#endif
