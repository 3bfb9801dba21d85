/* The searchable text of a message (as mime_text() in protocol/mime.h) where no library is needed
 * to decode it: bodies that are not encoded, in quoted-printable or base64 without a fault, in
 * UTF-8, or in ASCII whatever they say. Pure and linear; for messages within mime_bounds_small.
 */
#ifndef ANNAL_PROTOCOL_PLAIN_TEXT_H
#define ANNAL_PROTOCOL_PLAIN_TEXT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/structure.h"

/* Appends to out; false if the message has a part that can't be decoded here (out then holds some
 * of it). structure: of the message, whose ranges are within length. */
bool plain_text(GString *out, const uint8_t *message, size_t length,
                const struct structure *structure, bool header, bool body);

#endif
