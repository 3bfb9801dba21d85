/* What ENVELOPE, BODY, BODYSTRUCTURE and BODY[section] need to know of a message: parsed once, kept
 * as a record of bytes within the message's summary (summary.h).
 *
 * Ranges are octets of the original message. The record's decoder trusts nothing.
 */
#ifndef ANNAL_PROTOCOL_STRUCTURE_H
#define ANNAL_PROTOCOL_STRUCTURE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/transfer_encoding.h"

struct structure; /* a decoded record: immutable */

/* Decodes a record (protocol/mime.h makes them). message_length: of the message it is about;
 * every range is checked against it. NULL if it is malformed. The bytes are kept by reference. */
struct structure *structure_decode(GBytes *record, uint64_t message_length);
void structure_free(struct structure *structure); /* accepts NULL */

/* A record that says only: one part, text/plain (or application/octet-stream if the header can't
 * be told apart), header and body ranges: for messages that can't be parsed. Never fails, cheap. */
GBytes *structure_plain(const uint8_t *message, size_t length);

/* Append what follows the item's name in a FETCH response. utf8: the client accepts it raw. */
void structure_envelope(const struct structure *structure, GString *out, bool utf8);
void structure_body(const struct structure *structure, GString *out, bool utf8, bool extended);

struct octet_range {
    uint64_t start;
    uint64_t length;
};

enum section_text {
    SECTION_TEXT_NONE,   /* BODY[], BODY[1.2] */
    SECTION_TEXT_HEADER, /* also HEADER.FIELDS and HEADER.FIELDS.NOT: the header to choose from */
    SECTION_TEXT_TEXT,
    SECTION_TEXT_MIME,
};

/* Finds BODY[part.part.text] (RFC 3501 6.4.5), as octets of the message:
 *
 *     no numbers   NONE: all; HEADER (with its empty line), TEXT: of the message; MIME: none
 *     1            of a message that is no multipart: its body, as TEXT
 *     n.n NONE     the part's body, transfer encoding and all
 *     n.n MIME     the part's header block with its empty line; for part 1 of a message that is no
 *                  multipart, that message's header
 *     n.n HEADER, n.n TEXT   of the message in a message/rfc822 (or global) part, none elsewhere
 *     n.n of a message/rfc822 part goes on with the parts of the message in it
 *
 * False if there is no such part: the answer is NIL. */
bool structure_section(const struct structure *structure, const uint32_t *parts, size_t count,
                       enum section_text text, struct octet_range *out);

/* What BINARY[part.part] (RFC 3516) decodes: the octets, as structure_section() finds them, their
 * encoding, and whether they are lines of text. Multiparts and messages are not encoded, and
 * without numbers it is all of the message as it is. */
struct structure_content {
    struct octet_range range;
    enum transfer_encoding encoding;
    bool lines;
};
bool structure_content(const struct structure *structure, const uint32_t *parts, size_t count,
                       struct structure_content *out);

/* Envelope fields for SEARCH and logs: raw (undecoded, unfolded) values, or NULL; not
 * NUL-terminated. Address fields that are repeated are joined by ", ". */
enum envelope_field {
    ENVELOPE_DATE,
    ENVELOPE_SUBJECT,
    ENVELOPE_FROM,
    ENVELOPE_SENDER,
    ENVELOPE_REPLY_TO,
    ENVELOPE_TO,
    ENVELOPE_CC,
    ENVELOPE_BCC,
    ENVELOPE_IN_REPLY_TO,
    ENVELOPE_MESSAGE_ID,
    ENVELOPE_FIELD_COUNT,
};
const char *structure_field(const struct structure *structure, enum envelope_field field,
                            size_t *length);

#endif
