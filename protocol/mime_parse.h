/* The scanner that cuts a message into parts.
 *
 * It is our own, not gmime's, because ranges must be those of the original octets whatever they
 * are: gmime gives none for headers with a bare delimiter after them, for parts cut off by an
 * outer boundary and for empty ones, and it recurses. One pass over the lines, no recursion,
 * bounded by limits.h; gmime is left what it is good at, decoding (mime_text.c).
 */
#ifndef ANNAL_PROTOCOL_MIME_PARSE_H
#define ANNAL_PROTOCOL_MIME_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/structure_tree.h"

/* A new structure. flat: the parts are not looked for, the message is its header and one part.
 * NULL: a limit of limits.h is passed. */
struct structure *mime_parse(const uint8_t *message, size_t length, bool flat);

#endif
