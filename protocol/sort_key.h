/* What SORT compares of a message (RFC 5256, RFC 5957), from its summary. Pure. */
#ifndef ANNAL_PROTOCOL_SORT_KEY_H
#define ANNAL_PROTOCOL_SORT_KEY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/summary.h"

enum { SORT_KEY_MAX = 1024 }; /* octets of a text that are looked at, about */

/* Appends the base subject (RFC 5256 2.1) of a decoded subject; in any case of letters, so that
 * folded text may be given. Of several lines, the first. */
void sort_key_subject(GString *out, const char *subject, size_t length);
/* The same; true if it is that of a reply or a forwarded message (RFC 5256 3, REFERENCES). */
bool sort_key_subject_replies(GString *out, const char *subject, size_t length);

/* Appends the mailbox of the first address of a list (ENVELOPE_FROM to ENVELOPE_BCC) in the answer
 * to ENVELOPE; with display its name, decoded, or else the address. Folded. Nothing if the list is
 * empty. */
void sort_key_address(GString *out, struct summary_text envelope, enum envelope_field list,
                      bool display);

/* When it was sent, seconds since the epoch, by the answer to ENVELOPE. False if that is not known.
 */
bool sort_key_date(int64_t *seconds, struct summary_text envelope);

#endif
