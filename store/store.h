/* A data directory's mail: opens accounts.
 *
 * DATA/mail/USER.git   the user's bare repository
 * DATA/cache/USER/     derived state, deletable at any time
 * DATA/journal/N       changes on their way into the repositories (store_open_journal())
 * DATA/journal/lock    locked while somebody opens journals, or purges (store_wipe_journals())
 *
 * A struct store belongs to one thread; several threads (and processes) may each open one on the
 * same directory, but only one of them may have a given account open at a time within a process.
 * Across processes, changes meet at git's own reference locks.
 */
#ifndef ANNAL_STORE_STORE_H
#define ANNAL_STORE_STORE_H

#include <stdbool.h>

#include "store/account.h"
#include "store/error.h"
#include "store/host.h"

enum { USER_NAME_MAX = 128 }; /* octets */

struct store;

/* Opens (and makes, with mode 0700) the directory. Journals that nobody uses, left by a crash, are
 * replayed first: what they hold is in the repositories, durable, on return. host: host_system()
 * or a test's; borrowed. */
int store_open(struct store **out, const char *directory, const struct host *host,
               struct store_error *error);
void store_close(struct store *store); /* accepts NULL; accounts must be closed before */

struct store_journal {
    uint64_t size; /* octets; at least JOURNAL_SIZE_MIN; 0: the default */
    int64_t
        relaxed; /* microseconds that a change of flags alone may wait for store_sync(); 0: none */
    bool background; /* packs are made, checkpoints synced, and large messages written, each in a
                        thread of their own, which use the host, too */
};

enum { STORE_JOURNAL_SIZE_MIN = 256 * 1024, STORE_JOURNAL_SIZE_MAX = 1024 * 1024 * 1024 };

/* From now on changes to mailboxes go into a journal first: store_sync() makes them durable with
 * one synced write for all, and store_work() turns them into packs, commits and references a
 * little later. To be called once, before an account is opened. Each store (thread) has a journal
 * of its own. Without one every change is in git and durable before its call returns, but for what
 * store_sync() has left to do. */
int store_open_journal(struct store *store, const struct store_journal *settings,
                       struct store_error *error);

/* Removes the journals that nobody has: of threads that there are no more, replayed when the store
 * was opened. May wait as store_wipe_journals() does. To be called once all have theirs, before an
 * account is opened here. */
int store_remove_journals(struct store *store, struct store_error *error);

/* Does what is due: turns changes into git (15 ms after the first one where idle says that there
 * is nothing else to do, else after 150 ms, or 500 ms if many accounts change or one much; then the
 * packs are made beside it, if there is a thread for that, and a later call goes on), makes
 * checkpoints.
 * Returns the time, from host.now, at which to call it again at the latest; INT64_MAX: never.
 * Failures are tried again. Blocks on the disk, not on its sync. */
int64_t store_work(struct store *store, bool idle);
/* Why store_work() could not do all of it lately; NULL: it could. Borrowed until the next call. */
const struct store_error *store_trouble(const struct store *store);
/* The same at once for that user's account, whatever is due: on return git has every change to it
 * that was made before, so that other processes see it. Takes a few milliseconds; nothing where
 * nothing is on its way. STORE_CONFLICT when somebody else holds a reference; it is tried again. */
int store_settle(struct store *store, const char *user, struct store_error *error);
/* The same for all accounts, and durable in git on return: nothing is left in the journal. */
int store_flush(struct store *store, struct store_error *error);

/* A user name that can be a directory's: 1 to USER_NAME_MAX octets of UTF-8 without '/', NUL,
 * control characters or invisible direction and format characters, not beginning with '.' or
 * '-'. */
bool store_user_name_valid(const char *user);

/* Opens the account, once for each user: later calls share the object. STORE_NOT_FOUND if it has
 * no repository; STORE_UNSUPPORTED for a SHA-256 repository or a newer format; STORE_CORRUPT. */
int store_open_account(struct store *store, const char *user, struct account **out,
                       struct store_error *error);

/* Makes the repository with INBOX and one each of Archive, Drafts, Junk, Sent and Trash.
 * STORE_EXISTS, STORE_BAD_NAME. All or nothing: a half-made one is never seen. */
int store_create_account(struct store *store, const char *user, const struct origin *origin,
                         struct store_error *error);

/* From now on the repositories of accounts that are made or opened get hooks that run this program
 * when somebody pushes into them (receive.h). */
void store_set_program(struct store *store, const char *program);

/* [any thread calls wake] Something that was not ready (spool_is_ready()) may be: for whoever has
 * other work meanwhile. Of a store with a journal and threads; otherwise all is ready at once. Set
 * before the first spool; data must outlive all of them. */
void store_set_wake(struct store *store, void (*wake)(void *data), void *data);
/* From now on the packs of accounts that are opened are the thread's business; it must outlive the
 * store. NULL: none. */
struct maintenance;
void store_set_maintenance(struct store *store, struct maintenance *maintenance);
/* What the caches of accounts opened from now on share with other stores; borrowed. */
struct cache_budget;
void store_set_cache_budget(struct store *store, struct cache_budget *budget);

/* How things stand; cheap. Times are host.now's. */
struct store_figures {
    uint64_t journal_size; /* octets; 0: no journal */
    uint64_t journal_used; /* until the next checkpoint */
    unsigned waiting;      /* accounts with changes on their way into git */
    int64_t waiting_since; /* the oldest of them; 0: none */
    int64_t checkpoint;    /* the last one */
    int trouble;           /* enum store_code of store_trouble(); STORE_OK: none */
    unsigned accounts;     /* open */
};
void store_figures(const struct store *store, struct store_figures *out);
/* Rises whenever something was written to the journal; 0 without one. */
uint64_t store_written(const struct store *store);
/* Packs of the open accounts, as far as they have been looked for. */
unsigned store_packs(const struct store *store);

enum { STORE_TURN_MIN = 2000 }; /* microseconds */
/* For whoever works in turns: that somebody else has moved a mailbox's branch since it was looked
 * at need not be noticed until the next call, nor before STORE_TURN_MIN have passed, unless moved
 * says that somebody may have. Who never calls it sees that at once. */
void store_turn(struct store *store, bool moved);

/* Makes every change so far durable. On failure nothing since the last success may be
 * acknowledged. Cheap when nothing changed. */
int store_sync(struct store *store, struct store_error *error);

/* Whether store_sync() has anything to write. */
bool store_is_sync_due(const struct store *store);

/* For whoever takes messages out of the account of that user for good (purge.h), from now until the
 * thread's next call: everything is in git and durable, nothing that went through the journal is
 * in its file any more, none of the account's packs is protected, its caches are closed (and may be
 * removed), and what was taken off the disk before can't be read any more. On failure nothing may
 * be taken for granted. */
int store_stand(struct store *store, const char *user, struct store_error *error);

/* The journals that no other process has, overwritten. *out, which is set even on failure (NULL:
 * nothing is locked), keeps them to itself until store_release_journals(), and lets nobody open
 * another: a server that starts, or anybody else who opens a store, waits meanwhile (a minute at
 * most, so it must not take longer). STORE_CONFLICT when somebody (a server) has one, or is just
 * opening one. */
struct store_journals;
int store_wipe_journals(struct store *store, struct store_journals **out,
                        struct store_error *error);
void store_release_journals(struct store_journals *journals); /* accepts NULL */

/* Housekeeping that is due (merging packs, unlinking old ones) beside what writing does by itself:
 * call now and then when idle. Without a maintenance thread it blocks on the disk; for each open
 * account at most 32 MiB are merged in a call. */
void store_maintain(struct store *store);

#endif
