/* Settling: somebody wants to see an account in its repository as clients see it (an admin's
 * command, at the control socket). What they were told is done reaches git a moment later by
 * itself; the worker with the account does it at once when it is asked to.
 *
 *     settling_ask() -- any thread --> settling_turn(), the worker's --> settle_fd() readable
 */
#ifndef ANNAL_SERVER_SETTLE_H
#define ANNAL_SERVER_SETTLE_H

#include <glib.h>
#include <stdbool.h>

#include "store/store.h"

/* The requests for all workers. */
struct settling;
/* One of them, shared by who asks and the worker. */
struct settle;

struct settling *settling_new(unsigned workers);
/* Accepts NULL. Requests that nobody has seen to are never done. */
void settling_free(struct settling *settling);

/* [any thread] Asks the worker that has the account of that user, and has to be woken then. The
 * caller owns the request. NULL if there are no descriptors. */
struct settle *settling_ask(struct settling *settling, const char *user, unsigned worker);
/* [any thread] Gives it up; accepts NULL. */
void settle_unref(struct settle *settle);

/* Readable once it is done, and from then on. */
int settle_fd(const struct settle *settle);
/* [any thread] False: it is not done. With true *problem is NULL if git has all that was
 * acknowledged before the request, else the reason, which is the request's. */
bool settle_done(const struct settle *settle, const char **problem);

/* [a worker, between two turns] Does what is asked of it. */
void settling_turn(struct settling *settling, unsigned worker, struct store *store);

#endif
