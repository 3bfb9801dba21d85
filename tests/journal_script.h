/* Histories for tests of a store with a journal: a machine with two users, steps that one can list
 * or take at random, what each left, and the check of a directory after a power cut.
 */
#ifndef ANNAL_TESTS_JOURNAL_SCRIPT_H
#define ANNAL_TESTS_JOURNAL_SCRIPT_H

#include <glib.h>
#include <stdbool.h>

#include "store/store.h"
#include "tests/power_host.h"

enum { MACHINE_USERS = 2, MACHINE_MAILBOXES = 5 };

struct machine {
    char *home;      /* of all the test's directories */
    char *directory; /* the data directory */
    struct power_host *power;
    struct store_journal settings;
    struct store *store;
    struct account *accounts[MACHINE_USERS];
    GPtrArray *states;  /* GHashTable *: char *name -> char *value, after each step; first before */
    guint acknowledged; /* the index of the newest state that is */
    bool relaxed;       /* changes of flags alone are told apart: nothing else is acknowledged */
    uint32_t random;
    unsigned messages; /* made so far */
    int64_t time;      /* of the next change */
    unsigned copies;   /* directories made after cuts */
};

/* With accounts of "alice" and "bob" that have some messages, all of it durable. */
void machine_init(struct machine *machine, const struct store_journal *settings, uint32_t seed);
void machine_release(struct machine *machine);
/* The store with its journal, and the accounts; must succeed. */
void machine_open(struct machine *machine);
void machine_close(struct machine *machine);

enum step_kind {
    STEP_APPEND, /* n: octets */
    STEP_FLAG,
    STEP_EXPUNGE,
    STEP_COPY,
    STEP_MOVE,
    STEP_CREATE,
    STEP_RENAME,
    STEP_DELETE,
    STEP_SUBSCRIBE,
    STEP_SYNC,
    STEP_WORK, /* n: milliseconds that have passed; idle */
    STEP_FLUSH,
    STEP_LOGIN,  /* the account is closed and opened */
    STEP_REOPEN, /* the store */
    STEP_KINDS,
};

struct step {
    enum step_kind kind;
    unsigned user;
    unsigned from; /* mailbox: INBOX is 0 */
    unsigned to;
    unsigned n;
};

struct step machine_random_step(struct machine *machine);
/* Takes the step and notes its state. What can't be done as things are does nothing. */
void machine_step(struct machine *machine, const struct step *step);

extern const char *const machine_users[MACHINE_USERS];
extern const char *const machine_mailboxes[MACHINE_MAILBOXES];

/* What every mailbox and list of the users is now: names to commits. Free with
 * g_hash_table_unref(). */
GHashTable *machine_state(struct account *const *accounts);
void machine_check_equal(GHashTable *expected, GHashTable *found, const char *what);

/* A directory that does not exist yet, in home; for g_free(). */
char *machine_copy_name(struct machine *machine);

/* A host for what comes after a cut: later, and without waiting for any disk. */
const struct host *machine_later(void);
/* Opens the store there, which replays its journals, and says what it then holds. */
GHashTable *machine_recover(const char *directory, const struct host *host);

/* state must have each change up to the state number acknowledged, and any later one wholly or not
 * at all. */
void machine_check_state(const struct machine *machine, GHashTable *state, guint acknowledged,
                         const char *what);
/* Packs that the machine once wrote are in directory as they were; verify finds nothing; nor does
 * git fsck, if asked. */
void machine_check_directory(const struct machine *machine, const char *directory, bool fsck);

#endif
