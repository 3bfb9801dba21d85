/* Message IDs of header fields (RFC 5322 3.6.4 and 4.5.4) in one form, so that those that mean the
 * same are equal (RFC 5256 3, REFERENCES), and what they make of a message's place in a thread.
 * Pure; linear.
 */
#ifndef ANNAL_PROTOCOL_MESSAGE_ID_H
#define ANNAL_PROTOCOL_MESSAGE_ID_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The raw value of a field while it is read. */
struct message_id_reader {
    const char *at;
    const char *end;
    bool bare; /* quotes and parentheses that are never closed: the rest is read without them */
};

/* Sets out to the next valid Message ID: what stands between "<" and ">", without quotes, comments
 * and white space, has a "@" and something before and behind it, and at most LIMIT_MESSAGE_ID
 * octets. Of what RFC 5322 has nowhere, as "a:b@c", each octet counts. What stands in comments and
 * quoted texts between the Message IDs is none. False: there is no more. */
bool message_id_next(struct message_id_reader *reader, GString *out);

/* Appends the record of a message with this header block: one text, each Message ID of it with a
 * NUL behind. The first is the message's own, empty if it has none. Then come those of References,
 * the last LIMIT_REFERENCES of them, or where there are none the first of In-Reply-To. Of each
 * field the first in the block counts. */
void message_id_record(GByteArray *out, const uint8_t *header, size_t length);

#endif
