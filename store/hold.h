/* A hold: nothing of the account's past goes, neither by retention nor by a purge, until it is
 * released. Two references say so, moved as one:
 *
 *   refs/annal/hold    there as long as the account is on hold
 *   refs/annal/holds   all holds and releases, a commit each: when, by whom, why
 */
#ifndef ANNAL_STORE_HOLD_H
#define ANNAL_STORE_HOLD_H

#include <stdbool.h>

#include "store/error.h"
#include "store/host.h"
#include "store/mailbox.h"

enum { HOLD_REASON_MAX = 200 }; /* octets; longer ones are cut */

struct refs;

/* Whether the repository is on hold. What can't be read counts as a hold. */
bool hold_is_set(struct refs *refs);
/* The same for the repository at path. STORE_NOT_FOUND, STORE_CORRUPT, STORE_IO. */
int hold_read(bool *held, const char *path, const struct host *host, struct store_error *error);

/* Puts the account on hold, or releases it; reason may be NULL. Durable on return. STORE_EXISTS: it
 * is so already; STORE_CONFLICT: somebody else did something at the same moment. */
int hold_change(const char *path, const struct host *host, bool held, const char *user,
                const struct origin *origin, const char *reason, struct store_error *error);

#endif
