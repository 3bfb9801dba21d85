/* Reading mbox files (RFC 4155; mboxrd and mboxo): messages after "From " lines. */
#ifndef ANNAL_SERVER_IMPORT_MBOX_H
#define ANNAL_SERVER_IMPORT_MBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "server/import.h"
#include "server/import_labels.h"

enum import_mbox_quoting {
    IMPORT_MBOX_RD,       /* one '>' is taken from ">From ", ">>From ", ...: the default */
    IMPORT_MBOX_O,        /* only from ">From " */
    IMPORT_MBOX_UNQUOTED, /* from none */
};

struct import_mbox_options {
    enum import_mbox_quoting quoting;
    bool keep_bytes; /* fields that belong to the mbox stay in the message */
    bool labels;     /* the mailboxes are Gmail's labels */
    struct import_label_map map;
};

/* Hands every message to the sink, in order. A path is an mbox file, or a directory of them (each
 * is the mailbox of its name, in modified UTF-7 or UTF-8, without ".mbox"; in directories, ".sbd"
 * dropped, those of lower levels; what begins with a dot or is no mbox is passed over), with a
 * .subscriptions file perhaps.
 *
 * A message begins with "From " after an empty line where the line has a date, or one word at
 * most, or where a header field follows. The empty line before it is not part of a message. Where a
 * Content-Length leads exactly to the next "From " line it says where the message ends, and nothing
 * is unquoted. The date is the From_ line's (UTC unless it says otherwise), else the Date field's,
 * else that of the file. Flags come from Status (R: \Seen) and X-Status (A, F, T or D: \Answered,
 * \Flagged, \Draft, \Deleted), keywords from X-Keywords, UIDs from X-UID where the first message
 * has an X-IMAPbase (or X-IMAP, which is not a message then); these fields and Content-Length are
 * not part of a message, as Dovecot has it. Thunderbird's X-Mozilla-Status and X-Mozilla-Keys are
 * understood, too, and messages that are expunged there left out.
 *
 * False: no mbox (it does not begin with "From "), unreadable or locked, or the sink stopped; then
 * *problem is a new string, or NULL if the sink stopped. An empty file is an empty mailbox. */
bool import_mbox(const char *path, const struct import_mbox_options *options,
                 const struct import_sink *sink, char **problem);

/* The same for one file's octets, which are the mailbox of that name. fallback: the date where
 * there is none; before: octets of what was read before, for sink->progress(). */
bool import_mbox_part(const char *mailbox, const char *data, size_t length, int64_t fallback,
                      uint64_t before, const struct import_mbox_options *options,
                      const struct import_sink *sink, char **problem);

/* A From_ line: "From joe@example.org Thu Feb  4 05:06:07 2021", also with a zone
 * ("+0100", "UTC") before or after the year. False if there is no date. */
bool import_mbox_date(int64_t *seconds, int16_t *zone, const char *line, size_t length);

#endif
