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
 * is closed, and follow every change that this store makes or comes upon, so this costs the same
 * whatever the account holds. Once a second all branches are looked at, for what others did: it may
 * count a second late; a mailbox that they changed is loaded once. What can't be read counts
 * nothing. With history, octets is the size of the repository's packs instead, as of the last
 * second: what is not in git yet is not in it. */
int account_usage(struct account *account, bool history, struct account_usage *out,
                  struct store_error *error);

/* A mailbox's messages with \Deleted (RFC 9208 4.1.4: DELETED-STORAGE). */
uint64_t snapshot_deleted_size(const struct snapshot *snapshot);

#endif
