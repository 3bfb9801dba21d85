/* A moment in the past of an account, as people write it. */
#ifndef ANNAL_STORE_MOMENT_H
#define ANNAL_STORE_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "store/object_id.h"

enum {
    MOMENT_COMMIT_MIN = 7, /* digits of an abbreviated commit id */
    MOMENT_DAY_LENGTH = 10,
};

struct moment {
    int64_t first;                  /* seconds since the epoch: where it begins */
    int64_t last;                   /* the last second that belongs to it */
    char commit[OBJECT_ID_HEX + 1]; /* digits of a commit id, lower case; "": a time */
};

/* Exactly one of
 *
 *   2026-11-17                  the end of that day, in UTC: the same for everybody who looks
 *   2026-11-17T10:00:00Z        the end of that second; the zone is a must: Z, +0100 or +01:00
 *   4757b1e                     the moment of a commit: 7 to 40 hexadecimal digits of its id
 *
 * in the years 1970 to 9999. False for anything else. */
bool moment_parse(struct moment *out, const char *text);

/* Days are counted from 1970-01-01. "2026-11-17"; day is in the years 1970 to 9999. */
void moment_format_day(char out[MOMENT_DAY_LENGTH + 1], int32_t day);
/* That day's end. */
struct moment moment_of_day(int32_t day);

#endif
