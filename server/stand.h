/* Standing still, while somebody takes messages out of an account for good (annal purge).
 *
 * Whoever does that locks DATA/mail/USER.git/annal-lease (flock, exclusively) and asks for it at
 * the control socket. Then every worker lets go of what went through its journal
 * (store_stand()), and the one that has the account waits until the lock is free again: when the
 * other is done, or is no more. It waits for STAND_SECONDS at most, so the other must not take
 * longer.
 */
#ifndef ANNAL_SERVER_STAND_H
#define ANNAL_SERVER_STAND_H

#include <stdbool.h>

#include "store/store.h"

enum { STAND_SECONDS = 20, STAND_OTHER_SECONDS = 10 };

struct stand;

struct stand *stand_new(unsigned workers, const char *data);
void stand_free(struct stand *stand); /* accepts NULL */

/* [any thread] False: the name can be no user's, or another request is under way. The workers have
 * to be woken then; owner is the index of the one with the account. */
bool stand_ask(struct stand *stand, const char *user, unsigned owner);

enum stand_state {
    STAND_NONE,
    STAND_WAITING,  /* for the workers */
    STAND_STANDING, /* go ahead */
    STAND_FAILED,
};
/* [any thread] *problem is a new string for STAND_FAILED, else NULL. */
enum stand_state stand_state(struct stand *stand, char **problem);

/* [a worker, between two turns] Does what is asked of it, if anything. */
void stand_turn(struct stand *stand, unsigned worker, struct store *store);

#endif
