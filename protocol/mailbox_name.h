/* Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3) or UTF-8 (RFC 6855), and the
 * wildcards of LIST. Inside, names are UTF-8 with INBOX in upper case. */
#ifndef ANNAL_PROTOCOL_MAILBOX_NAME_H
#define ANNAL_PROTOCOL_MAILBOX_NAME_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Decodes a name from the wire. utf8: the client has enabled UTF8=ACCEPT or IMAP4rev2, and the
 * octets are UTF-8; otherwise they are modified UTF-7, though valid raw UTF-8 is understood too
 * (odd clients). False: malformed, non-canonical (RFC 3501 5.1.3 "superfluous shifts"), NUL or
 * control octets. *out: new string, for g_free(); "inbox" (any case), alone or as first level, is
 * INBOX. */
bool mailbox_name_decode(char **out, const char *wire, size_t length, bool utf8);

/* The name as it goes on the wire, without quoting. Appends to out. */
void mailbox_name_encode(GString *out, const char *name, bool utf8);

/* LIST patterns, already decoded to UTF-8: '*' matches anything, '%' anything but '/'. Linear in
 * pattern length times name length at worst, never exponential. INBOX matches in any case. */
bool mailbox_pattern_match(const char *pattern, const char *name);
/* Decodes a pattern's modified UTF-7 but leaves wildcards alone. */
bool mailbox_pattern_decode(char **out, const char *wire, size_t length, bool utf8);

#endif
