/* The header block of a message or part as octets: finding fields without changing them. */
#ifndef ANNAL_PROTOCOL_HEADER_H
#define ANNAL_PROTOCOL_HEADER_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Octets of the header block at the start of data, its closing empty line included when there is
 * one. Understands CRLF and bare LF. */
size_t header_block_length(const uint8_t *data, size_t length);

/* Iterates the fields of a block: *position starts at 0. A field runs over its folded lines.
 * Lines that are no field ("garbage", "From " lines) are returned as nameless fields. */
struct header_field {
    const char *name; /* not NUL-terminated */
    size_t name_length;
    const char *value; /* after the colon; raw, with folding and final line end */
    size_t value_length;
    size_t start; /* offsets in data of the whole field, line ends included */
    size_t end;
};
bool header_next(const uint8_t *data, size_t block_length, size_t *position,
                 struct header_field *out);

/* Appends to out the fields whose names are in the list (or are not, with invert; ASCII case
 * disregarded), exact octets, in message order, followed by the empty line: what
 * BODY[HEADER.FIELDS ...] returns (RFC 3501 6.4.5). The empty line is CRLF; a last field without a
 * line end gets one; with invert, nameless lines are among the fields. */
void header_fields_select(GString *out, const uint8_t *data, size_t block_length,
                          const char *const *names, size_t count, bool invert);

/* A raw value unfolded: line ends removed, leading and trailing white space dropped. Octets are
 * otherwise as they were, NUL and bare CR included. Appends to out, as the next does. */
void header_unfold(GString *out, const char *value, size_t length);

/* An unstructured value for people and SEARCH: unfolded, encoded-words (RFC 2047) decoded, valid
 * UTF-8 always. Adjacent encoded-words join, split characters included. */
void header_decode(GString *out, const char *value, size_t length);

#endif
