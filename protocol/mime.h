/* Parsing any message's MIME structure (our own scanner, mime_parse.h) and decoding any text (over
 * gmime). Only the worker process that is confined for it (and tests) calls this: a message of a
 * stranger may cost memory and time. Bounds of limits.h hold before gmime sees anything. Small
 * messages and plain texts don't need it: mime_parse.h, plain_text.h.
 */
#ifndef ANNAL_PROTOCOL_MIME_H
#define ANNAL_PROTOCOL_MIME_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once a process, before the first parse. */
void mime_init(void);

/* The record of structure.h. Never NULL: beyond a limit the message is one part, with its
 * envelope where the header is within limits, else it is structure_plain()'s record. */
GBytes *mime_structure(const uint8_t *message, size_t length);

/* The text that SEARCH looks at, as valid UTF-8: with header, every header field of the message
 * and its parts, decoded; with body, every text part (and headers and text of attached
 * messages), transfer encoding and charset decoded. Broken octets are dropped or replaced. HTML is
 * left as it is. At most max octets. */
GBytes *mime_text(const uint8_t *message, size_t length, bool header, bool body, size_t max);

#endif
