/* Writing responses: the pieces of grammar, into a GString. A control character never reaches a
 * line: text is cleaned, strings become literals where they must. */
#ifndef ANNAL_PROTOCOL_RESPONSE_H
#define ANNAL_PROTOCOL_RESPONSE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* nstring: NIL for NULL, else quoted where possible (7-bit, or UTF-8 with utf8; short, no CR, LF,
 * NUL), else a literal. NUL, which no literal may hold (RFC 3501 9), becomes octet 80 hex. */
void response_nstring(GString *out, const char *data, size_t length, bool utf8);
void response_string(GString *out, const char *data, size_t length, bool utf8);
/* astring: an atom where it can stand as one and is not NIL, else as response_string(). */
void response_astring(GString *out, const char *data, size_t length, bool utf8);
/* A mailbox name, encoded for the wire. */
void response_mailbox(GString *out, const char *name, bool utf8);
/* resp-text: printable ASCII (UTF-8 with utf8), everything else replaced by "?", never empty. */
void response_text(GString *out, const char *text, bool utf8);

/* "{n}\r\n"; the n octets follow. */
void response_literal_header(GString *out, uint64_t length);
void response_number(GString *out, uint64_t number);

enum { RESPONSE_NUMBER_MAX = 20 }; /* digits */
/* Writes the digits, at most RESPONSE_NUMBER_MAX; returns where they end. */
char *response_digits(char *to, uint64_t number);

/* Flags in a parenthesised list: system flags by enum message_flag order of RFC 3501 names. */
extern const char *const response_system_flags[5]; /* \Answered \Flagged \Deleted \Seen \Draft */

#endif
