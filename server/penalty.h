/* How long a login has to wait because others from the same address, or for the same user,
 * failed: a first delay, doubled with each failure up to a greatest, forgiven step by step with
 * time. Times are microseconds of any one clock. One thread at a time. */
#ifndef ANNAL_SERVER_PENALTY_H
#define ANNAL_SERVER_PENALTY_H

#include <stddef.h>
#include <stdint.h>

enum {
    PENALTY_FIRST = 100 * 1000,       /* after the first failure, unless set otherwise */
    PENALTY_MAX = 15 * 1000 * 1000,   /* never longer, unless set otherwise */
    PENALTY_DECAY = 30 * 1000 * 1000, /* one failure is forgiven after so long */
    PENALTY_ENTRIES_MAX = 20000,      /* remembered; beyond, the oldest is forgotten */
};

struct penalty;

struct penalty *penalty_new(void);
void penalty_free(struct penalty *penalty); /* accepts NULL */

/* first 0: nobody waits. */
void penalty_set_delays(struct penalty *penalty, int64_t first, int64_t max);

/* The earliest time at which a login of this user from this address may be tried; at most
 * the greatest delay after now. A user's own failures do not hold up an address from which that
 * user has logged in before: nobody else can lock them out. */
int64_t penalty_until(struct penalty *penalty, const char *address, const char *user, int64_t now);

void penalty_failure(struct penalty *penalty, const char *address, const char *user, int64_t now);
void penalty_success(struct penalty *penalty, const char *address, const char *user, int64_t now);
size_t penalty_entries(const struct penalty *penalty);

#endif
