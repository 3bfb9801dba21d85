/* Dates of IMAP and of message headers; no clock. */
#ifndef ANNAL_PROTOCOL_DATETIME_H
#define ANNAL_PROTOCOL_DATETIME_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATETIME_LENGTH = 26 }; /* octets of dd-Mon-yyyy hh:mm:ss +zzzz */

/* date-time without its quotes (RFC 3501 9): " 3-Feb-2021 04:05:06 +0100", also with one digit
 * and no space. seconds: since the epoch; zone: minutes east. False for impossible dates. */
bool datetime_parse(int64_t *seconds, int16_t *zone, const char *text, size_t length);
void datetime_format(GString *out, int64_t seconds, int16_t zone);

/* A calendar day, as days since 1970-01-01; date of RFC 3501: 1-Feb-1994, quotes removed. */
bool date_parse(int32_t *day, const char *text, size_t length);
/* The day that a clock in that zone shows (SEARCH disregards time and zone). */
int32_t date_of(int64_t seconds, int16_t zone);

/* The Date field of RFC 5322 3.3 and its obsolete forms (4.3), comments, two-digit years, named
 * zones. False if no date can be made out. */
bool datetime_parse_rfc5322(int64_t *seconds, int16_t *zone, const char *text, size_t length);

#endif
