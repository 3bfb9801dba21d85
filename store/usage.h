/* How much an account holds, from what its mailboxes' snapshots count anyway. */
#ifndef ANNAL_STORE_USAGE_H
#define ANNAL_STORE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/account.h"

struct account_usage {
    uint64_t messages; /* in all mailboxes */
    uint64_t octets;   /* their sizes; a message in two mailboxes counts twice */
};

/* The sums are kept for each mailbox under the commit that they belong to, also while the account
 * is closed, so this costs a look at each branch; a mailbox that has changed while it was not open
 * is loaded once. Mailboxes made by others may count a second late. What can't be read counts
 * nothing. With history, octets is the size of the repository's packs instead, as of the last
 * second: what is not in git yet is not in it. */
int account_usage(struct account *account, bool history, struct account_usage *out,
                  struct store_error *error);

/* A mailbox's messages with \Deleted (RFC 9208 4.1.4: DELETED-STORAGE). */
uint64_t snapshot_deleted_size(const struct snapshot *snapshot);

#endif
