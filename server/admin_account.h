/* One account, opened for a subcommand that runs beside a server. */
#ifndef ANNAL_SERVER_ADMIN_ACCOUNT_H
#define ANNAL_SERVER_ADMIN_ACCOUNT_H

#include <stdbool.h>

#include "server/config.h"
#include "store/store.h"

struct admin_account {
    struct config config;
    struct store *store;
    struct account *account;
};

/* Reads the configuration, opens the store (with user NULL: makes it where it is missing) and,
 * unless user is NULL, the user's account; waits until git has what a server had acknowledged
 * (admin_settle.h). False when the problem has been told; to be closed then, too. */
bool admin_account_open(struct admin_account *opened, const char *config, const char *data,
                        const char *user);
/* The second half of that. */
bool admin_account_follow(struct admin_account *opened, const char *user);
/* Makes what was changed durable; false when the problem has been told. */
bool admin_account_sync(struct admin_account *opened);
void admin_account_close(struct admin_account *opened);

#endif
