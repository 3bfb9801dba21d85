/* Reading an mbox file (mboxrd and mboxo; RFC 4155): messages after "From " lines. */
#ifndef ANNAL_SERVER_IMPORT_MBOX_H
#define ANNAL_SERVER_IMPORT_MBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "server/import.h"

/* Hands every message to the sink, in order. One ">" is taken from lines of the form ">From ",
 * ">>From " and so on; the empty line before the next "From " line is not part of a message. The
 * date is the From_ line's (UTC unless it says otherwise), else the Date field's, else fallback.
 * Flags come from Status (R: \Seen) and X-Status (A, F, T or D: \Answered, \Flagged, \Draft,
 * \Deleted), keywords from X-Keywords; these fields stay in the message. False: no mbox (it does
 * not begin with "From "), or the sink stopped; then *problem is a new string, or NULL if the sink
 * stopped. An empty file is an empty mailbox. */
bool import_mbox(const char *data, size_t length, int64_t fallback, const struct import_sink *sink,
                 char **problem);

/* A From_ line: "From joe@example.org Thu Feb  4 05:06:07 2021", also with a zone
 * ("+0100", "UTC") before or after the year. False if there is no date. */
bool import_mbox_date(int64_t *seconds, int16_t *zone, const char *line, size_t length);

#endif
