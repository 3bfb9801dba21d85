/* How long a login has to wait because others from the same address, or for the same user,
 * failed: 0.1 s, doubled with each failure up to 15 s, forgiven step by step with time. Times are
 * microseconds of any one clock. One thread at a time. */
#ifndef ANNAL_SERVER_PENALTY_H
#define ANNAL_SERVER_PENALTY_H

#include <stddef.h>
#include <stdint.h>

enum {
    PENALTY_FIRST = 100 * 1000,       /* after the first failure */
    PENALTY_MAX = 15 * 1000 * 1000,   /* never longer */
    PENALTY_DECAY = 30 * 1000 * 1000, /* one failure is forgiven after so long */
    PENALTY_ENTRIES_MAX = 20000,      /* remembered; beyond, the oldest is forgotten */
};

struct penalty;

struct penalty *penalty_new(void);
void penalty_free(struct penalty *penalty); /* accepts NULL */

/* The earliest time at which a login of this user from this address may be tried; at most
 * PENALTY_MAX after now. A user's own failures do not hold up an address from which that user
 * has logged in before: nobody else can lock them out. */
int64_t penalty_until(struct penalty *penalty, const char *address, const char *user, int64_t now);

void penalty_failure(struct penalty *penalty, const char *address, const char *user, int64_t now);
void penalty_success(struct penalty *penalty, const char *address, const char *user, int64_t now);
size_t penalty_entries(const struct penalty *penalty);

#endif
