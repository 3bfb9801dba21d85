/* What clients were told is done reaches git a moment later. Whoever reads or changes an account's
 * repository beside a server, or after a crash, has it brought there first. */
#ifndef ANNAL_SERVER_ADMIN_SETTLE_H
#define ANNAL_SERVER_ADMIN_SETTLE_H

#include <stdbool.h>

#include "server/config.h"
#include "store/error.h"

enum { ADMIN_SETTLE_SECONDS = 10 }; /* usual patience with a server that does not answer */

/* Returns when the user's repository has all that a server has acknowledged before the call:
 * asks the one that runs (a few milliseconds); where none answers to the point, waits for so many
 * seconds for what is in journals, and replays what a crash has left in them. Costs next to nothing
 * where there is nothing, makes nothing where there is no data directory. With flags_sync =
 * relaxed, changes of flags that a server which can't be asked has not written as yet are unknown
 * to everybody else. Errors as follow_journal() and store_open() have them. */
int admin_settle_within(const struct config *config, const char *user, unsigned seconds,
                        struct store_error *error);

/* The same for a command that goes on in any case: then a warning tells that something may be
 * missing, and why; false. */
bool admin_settle(const struct config *config, const char *user);

#endif
