/* The scanner that cuts a message into parts.
 *
 * It is our own, not gmime's, because ranges must be those of the original octets whatever they
 * are: gmime gives none for headers with a bare delimiter after them, for parts cut off by an
 * outer boundary and for empty ones, and it recurses. One pass over the lines, no recursion,
 * bounded; gmime is left what it is good at, decoding (mime_text.c).
 *
 * Strangers' mail is parsed by the confined process because memory that runs out ends a process
 * (GLib aborts). Below mime_bounds_small that can't be: the pass is linear, reads octets and
 * nothing else, calls no other library than GLib's containers, and keeps at most some hundred
 * octets for each part and header field and some dozen for each octet of the headers, a few MiB in
 * all. So such messages, nearly all, are parsed where they are wanted.
 */
#ifndef ANNAL_PROTOCOL_MIME_PARSE_H
#define ANNAL_PROTOCOL_MIME_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/structure_tree.h"

/* What a message may have at most to be parsed. */
struct mime_bounds {
    size_t size;          /* octets */
    size_t header_size;   /* octets of all header blocks */
    size_t header_fields; /* of the whole message */
    uint32_t parts;
};

extern const struct mime_bounds mime_bounds_all;   /* the limits of limits.h */
extern const struct mime_bounds mime_bounds_small; /* what is safe in any process */

/* A new structure. flat: the parts are not looked for, the message is its header and one part.
 * NULL: one of the bounds is passed. */
struct structure *mime_parse(const uint8_t *message, size_t length, bool flat,
                             const struct mime_bounds *bounds);

#endif
