/* The snapshot files of an account's mailboxes, in `snapshots` in its directory of derived state:
 * when they are read, written and removed.
 *
 * A mailbox of at least SNAPSHOT_CACHE_MESSAGES has one. It is written anew when a part of
 * 1 / SNAPSHOT_CACHE_SHARE of its leaves has changed (and more than SNAPSHOT_CACHE_LEAVES), or
 * anything at all and it is SNAPSHOT_CACHE_SECONDS old and one more for each SNAPSHOT_CACHE_RATE
 * octets of it: so the work is bounded by the changes and by time, and what is left to read from
 * git is little.
 */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_CACHE_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_CACHE_H

#include "store/internal/account_private.h"

enum {
    SNAPSHOT_CACHE_MESSAGES = 500,
    SNAPSHOT_CACHE_SHARE = 8,
    SNAPSHOT_CACHE_LEAVES = 8,
    SNAPSHOT_CACHE_SECONDS = 5,
    SNAPSHOT_CACHE_RATE = 256 * 1024, /* octets a second */
    SNAPSHOT_CACHE_UNMAPPED_MAX = 64, /* files open */
};

/* snapshot_load() without a known state for a commit of the mailbox's branch, with the same result.
 * If most of it had to be read from git, the file is written, and the snapshot is the file's. */
int snapshot_cache_load(struct snapshot **out, const struct mailbox *mailbox,
                        const struct object_id *commit, struct store_error *error);

/* The same for a commit of the past: the file of the branch (full name; NULL or any other: none)
 * only helps, and stays as it is. */
int snapshot_cache_load_past(struct snapshot **out, struct account *account, const char *ref,
                             const struct object_id *commit, struct store_error *error);

/* Maps the files that mailboxes were opened from since the last call: an answer to who opened one
 * need not wait for that. No more than SNAPSHOT_CACHE_UNMAPPED_MAX wait for it. */
void snapshot_cache_settle(struct store *store);

/* Writes the mailbox's file if it is time to. No system call if nothing has changed. A first file
 * makes the files of branches that are gone be removed. */
void snapshot_cache_save(const struct mailbox *mailbox);

/* The same for each mailbox of the account that is open. */
void snapshot_cache_save_open(const struct account *account);

#endif
