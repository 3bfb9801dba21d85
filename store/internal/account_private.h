/* Inside the account and its mailboxes: what the files account*.c, mailbox*.c, transaction.c and
 * store.c share.
 */
#ifndef ANNAL_STORE_INTERNAL_ACCOUNT_PRIVATE_H
#define ANNAL_STORE_INTERNAL_ACCOUNT_PRIVATE_H

#include <glib.h>

#include "store/account.h"
#include "store/host.h"
#include "store/internal/account_file.h"
#include "store/internal/derived.h"
#include "store/internal/objects.h"
#include "store/internal/pending.h"
#include "store/internal/refs.h"
#include "store/internal/snapshot_private.h"
#include "store/store.h"

#define ACCOUNT_REF    "refs/annal/account"
#define HEADS_PREFIX   "refs/heads/"
#define DELETED_PREFIX "refs/deleted/"

struct account {
    unsigned references;
    struct store *store; /* which knows the account for as long as it lives */
    const struct host *host;
    char *user;
    char *path;
    char *cache; /* directory of derived state */
    struct objects *objects;
    struct refs *refs;
    struct derived *derived; /* NULL until first needed */
    GHashTable *mailboxes;   /* name -> struct mailbox *, not referenced: those now open */
    GQueue kept;             /* struct mailbox *, referenced: used lately, the last one first */
    bool kept_used;          /* since account_rest() */
    GHashTable *remembered;  /* name -> struct remembered *: those that were open before */
    uint64_t list_version;
    GPtrArray *names;            /* char *, ascending, as last seen; NULL: never looked */
    struct account_state *state; /* NULL until first needed */
    struct object_id state_commit;
    struct pending_changes pending;
};

enum { ACCOUNT_KEPT_MAX = 4 }; /* mailboxes that stay open though nobody has them */

/* What outlives a mailbox's last reference, or its branch, so that it is continued when opened
 * again. */
struct remembered {
    struct object_id commit;
    uint32_t recent_from;
    uint64_t noted;
};

struct mailbox {
    unsigned references;
    struct account *account;
    char *name;
    char *ref; /* full name of its branch */
    struct snapshot *snapshot;
    uint32_t recent_from;
    uint64_t noted; /* the MODSEQ up to which its timeline was brought, or at which it was opened */
    unsigned losses; /* account_losses() when the snapshot was read */
    bool deleted;
    bool past;                /* what it was at a commit: never changes (past.h) */
    struct object_id bad_tip; /* zero, or the tip that could not be read as a mailbox */
    struct store_error bad_error;
};

/* --- account.c --- */

/* Opens the repository at path. The caller owns *out and enters it with the store. */
int account_open(struct account **out, struct store *store, const struct host *host,
                 const char *user, const char *path, const char *cache, struct store_error *error);

/* Lets go of mailboxes that were kept open for the next use, if there was none since the last call:
 * to be called every few seconds. */
void account_rest(struct account *account);

/* The name's one form and its branch's full reference name; both new strings. STORE_BAD_NAME. */
int account_name(char **canonical, char **ref, const char *name, struct store_error *error);

/* The decoded names of all branches, ascending by octets: a new array of char *. */
int account_names(struct account *account, GPtrArray **out, struct store_error *error);

/* The order of account_list(): '/' before all other octets, INBOX with its children before all
 * other names. */
int account_compare_names(const char *x, const char *y);

/* --- account_state.c --- */

/* Reads the state at a commit; the caller owns *out. STORE_CORRUPT, STORE_UNSUPPORTED,
 * STORE_NOT_FOUND for a missing object. */
int account_state_load(struct account_state **out, struct objects *objects,
                       const struct object_id *commit, struct store_error *error);

/* Brings account->state up to date; a missing reference is an empty state. */
int account_state_refresh(struct account *account, struct store_error *error);
/* A UIDVALIDITY above all given before; state->uid_validity becomes it. STORE_LIMIT. */
int account_next_uid_validity(const struct account *account, struct account_state *state,
                              uint32_t *out, struct store_error *error);

/* --- account_change.c --- */

/* Gives a builder the identity of a new mailbox: id and UIDVALIDITY. */
int account_new_identity(const struct account *account, struct account_state *state,
                         struct snapshot_builder *builder, struct store_error *error);

/* A new account's first mailboxes, in one step: INBOX and one for each special use. */
int account_initialize(struct account *account, const struct origin *origin,
                       struct store_error *error);

/* --- account_change.c --- */

/* The name under which a deleted mailbox's last commit is kept: a free one, or one that has this
 * commit already. A new string. */
char *account_grave(struct account *account, const char *ref, uint32_t uid_validity,
                    const struct object_id *tip);

/* --- mailbox.c --- */

int mailbox_open(struct mailbox **out, struct account *account, const char *name, const char *ref,
                 struct store_error *error);
/* Refreshes before a change. STORE_NOT_FOUND if it is deleted, STORE_FORBIDDEN if it is past,
 * STORE_CORRUPT. */
int mailbox_prepare(struct mailbox *mailbox, struct store_error *error);
/* Takes the reference. */
void mailbox_adopt(struct mailbox *mailbox, struct snapshot *snapshot);
/* Whatever mailbox is opened under the name next must not go back behind this state. */
void mailbox_remember(const struct mailbox *mailbox);
/* The branch is gone or is now another mailbox. */
void mailbox_detach(struct mailbox *mailbox);
/* Follows a rename of its branch. */
void mailbox_renamed(struct mailbox *mailbox, const char *name, const char *ref);

/* --- past.c --- */

enum { PAST_KEEP_UP = 1024 }; /* commits */

/* Brings the timelines of open mailboxes up to date that are so many commits behind, a bounded part
 * a call: so what a server has committed need not be read at once when somebody looks back. */
void past_keep_up(struct account *account);

/* --- reconcile.c --- */

/* The branch stands at tip, which is not the commit we know: serves it, if need be mended by a
 * commit on top. STORE_CONFLICT if the branch has moved on meanwhile. */
int mailbox_reconcile(struct mailbox *mailbox, const struct object_id *tip,
                      struct store_error *error);

/* Takes what somebody did to a branch between base and outside over into ours, which git has not
 * got: a commit on ours and outside, to which the branch moves. *other: outside is not this mailbox
 * (any more), and nothing has changed. */
int mailbox_merge(struct account *account, const char *ref, const struct object_id *base,
                  const struct object_id *ours, const struct object_id *outside, bool *other,
                  struct store_error *error);

/* --- store.c --- */

void store_forget_account(struct store *store, struct account *account);
/* References of the account have moved: store_sync() has to make that durable. */
void store_mark_changed(struct store *store, struct account *account);

/* --- transaction.c --- */

enum {
    TRANSACTION_TRIES = 100,
    TRANSACTION_SECONDS = 5, /* after which a held lock is taken for one that stays */
};

/* One step over any number of references of an account. Call order: begin, add..., commit (at
 * most once), end always. */
struct transaction {
    struct account *account;
    const struct origin *origin;
    struct object_batch *batch;
    GArray *updates;             /* struct ref_update, with names in strings */
    GPtrArray *strings;          /* char * */
    GPtrArray *changes;          /* struct mailbox_change * */
    struct account_state *state; /* the account's next, or NULL */
    struct object_id state_commit;
    const struct object_id *other; /* second parent of what transaction_write() writes, or NULL */
    bool relaxed;                  /* may become durable a little later (struct store_journal) */
};

int transaction_begin(struct transaction *transaction, struct account *account,
                      const struct origin *origin, struct store_error *error);

/* Writes what the builder holds as a commit on parent (NULL: none). *out: a new reference, with
 * its commit. STORE_LIMIT when MODSEQs are used up. */
int transaction_write(struct transaction *transaction, struct snapshot_builder *builder,
                      const struct object_id *parent, const char *subject, struct snapshot **out,
                      struct store_error *error);

/* What the builder has above before's UIDs may come out of the past: object_batch_keep() for all of
 * it. */
int transaction_keep(struct transaction *transaction, const struct snapshot *before,
                     const struct snapshot_builder *builder, struct store_error *error);

/* NULL for before or after: the reference does not exist then. Names are copied. */
void transaction_move(struct transaction *transaction, const char *ref,
                      const struct object_id *before, const struct object_id *after);

/* transaction_write() and transaction_move() for an open mailbox on top of its newest snapshot,
 * which it adopts when the transaction is committed. */
int transaction_change(struct transaction *transaction, struct mailbox *mailbox,
                       struct snapshot_builder *builder, const char *subject,
                       struct store_error *error);

/* The account's next state; takes it, also on failure. account_state_refresh() came before. */
int transaction_set_state(struct transaction *transaction, struct account_state *state,
                          const char *subject, struct store_error *error);

/* Objects durable, then all references moved or none. STORE_CONFLICT. */
int transaction_commit(struct transaction *transaction, struct store_error *error);
void transaction_end(struct transaction *transaction);

/* Repeats attempt while it loses against others (STORE_CONFLICT): TRANSACTION_TRIES times and for
 * TRANSACTION_SECONDS at most. */
typedef int (*transaction_attempt)(void *data, struct store_error *error);
int transaction_retry(transaction_attempt attempt, void *data, struct store_error *error);

#endif
