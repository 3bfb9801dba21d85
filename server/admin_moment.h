/* Moments as people write them on a command line: store/moment.h, and shorter ways. */
#ifndef ANNAL_SERVER_ADMIN_MOMENT_H
#define ANNAL_SERVER_ADMIN_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "store/moment.h"

/* Of the usage texts. */
#define ADMIN_MOMENT_FORMS                                                                       \
    "Times: 2026-11-17 (a day, in UTC), \"2026-11-17 10:00\" or 2026-11-17T10:00:00Z (with a "   \
    "zone\n"                                                                                     \
    "as Z or +0100; else UTC), now, today, yesterday, \"2 days ago\" (seconds, minutes, hours, " \
    "days,\n"                                                                                    \
    "weeks, months of 30 days, years of 365).\n"

/* What moment_parse() takes; the same with a space for the 'T', without seconds, without a zone
 * (UTC); "now", "today", "yesterday"; "N UNIT ago". now: seconds since the epoch. False for
 * anything else, and for what was before 1970. */
bool admin_moment_parse(struct moment *out, const char *text, int64_t now);

/* The same with the clock's time; tells of what it does not understand. A commit is taken only
 * where commit_too. */
bool admin_moment_argument(struct moment *out, const char *option, const char *text,
                           bool commit_too);

#endif
