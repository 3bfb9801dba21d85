/* Inside the store: what store.c, store_stand.c, journaling.c and recovery.c share. */
#ifndef ANNAL_STORE_INTERNAL_STORE_PRIVATE_H
#define ANNAL_STORE_INTERNAL_STORE_PRIVATE_H

#include <glib.h>

#include "store/cache_budget.h"
#include "store/internal/journal.h"
#include "store/internal/journaling.h"
#include "store/store.h"

struct store {
    const struct host *host;
    char *mail;
    char *cache;
    char *journal;
    char *program;                   /* for hooks; NULL: repositories get none */
    GHashTable *accounts;            /* user -> struct account *, not referenced */
    GPtrArray *changed;              /* struct account *, referenced: not yet durable */
    struct journaling *journaling;   /* NULL: changes go to git at once */
    struct maintenance *maintenance; /* NULL: none */
    struct cache_budget *budget;     /* NULL: none */
    GHashTable *usage;               /* usage_table.h */
    uint64_t turn;                   /* of those that store_turn() told apart */
    int64_t turn_begun;              /* monotonic microseconds */
    GPtrArray *unmapped;             /* struct snapshot_map, referenced: snapshot_cache_settle() */
};

/* --- cache_trim.c --- */

/* The account's caches count from now on. */
void store_share_budget(struct store *store, struct account *account);

/* A round of what cache_budget.h says. */
void store_trim_caches(struct store *store);

/* --- store.c --- */

/* Of the user's repository; a new string. */
char *store_repository_path(const struct store *store, const char *user);
/* For one that is being made; what a crash leaves there is removed later. A new string, or NULL. */
char *store_temporary_path(const struct store *store, struct store_error *error);
/* Locks the temporary repository: for as long as the descriptor is open nobody takes it for what a
 * crash left, however old it gets. */
int store_hold_temporary(const char *path, int *out, struct store_error *error);
/* The same of any directory. */
int store_hold(const char *directory, int *out, struct store_error *error);
/* Whether the directory is older than so many seconds, and nobody holds it. */
bool store_is_leftover(const char *directory, unsigned age);
/* Gives a repository that was made its name. STORE_EXISTS, STORE_IO. */
int store_put_in_place(const struct store *store, const char *from, const char *to,
                       struct store_error *error);

/* Makes the references durable that moved past the journal. */
int store_sync_references(struct store *store, struct store_error *error);

/* --- store_stand.c --- */

/* DATA/journal/lock (flock): shared while somebody opens journals, or replays what is left of one;
 * exclusive while somebody who purges has the accounts to himself. Waits for whoever has it
 * otherwise, JOURNALS_WAIT_SECONDS at most: then STORE_CONFLICT. To be closed. */
enum { JOURNALS_WAIT_SECONDS = 60 };
int store_lock_journals(const struct store *store, bool exclusive, int *out,
                        struct store_error *error);
void store_unlock_journals(const struct store *store, int lock);

/* --- recovery.c --- */

/* Replays every journal in the directory that nobody else has. */
int store_recover(struct store *store, struct store_error *error);

/* Replays one that was just opened, and lets it forget what it held. */
int store_replay(struct store *store, struct journal *journal, struct store_error *error);

#endif
