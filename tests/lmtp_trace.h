/* What the LMTP parser makes of bytes, as text: for tests that compare. */
#ifndef ANNAL_TESTS_LMTP_TRACE_H
#define ANNAL_TESTS_LMTP_TRACE_H

#include <glib.h>
#include <stddef.h>

/* Feeds the input in pieces of chunk octets (0: whole; the first piece has split octets) and writes
 * a line for each command, and one for each message's octets (a line end and what is not printable
 * escaped) when it ends. A good DATA and BDAT are followed by their octets, whatever came before. A
 * new string. */
char *lmtp_trace(const void *input, size_t length, size_t split, size_t chunk);

#endif
