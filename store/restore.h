/* Bringing back what was: messages, mailboxes, accounts. Always by new commits on top of what there
 * is, so that no client is told anything that IMAP forbids: messages that are still there keep
 * their UIDs, those that come back get fresh ones above UIDNEXT, MODSEQ rises, UIDVALIDITY stays.
 * A server may be running; what it does at the same time is merged.
 *
 * Flags, keywords and internal dates are those of then.
 */
#ifndef ANNAL_STORE_RESTORE_H
#define ANNAL_STORE_RESTORE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/account.h"
#include "store/bundle.h"
#include "store/error.h"
#include "store/mailbox.h"
#include "store/observer.h"
#include "store/past.h"
#include "store/store.h"

struct restore_options {
    const struct origin *origin;
    const char *what; /* for subjects, e.g. "to 2026-11-17T10:00:00Z" */
    bool keep_new;    /* what came since stays */
    bool dry_run;     /* only count */
    /* Is told of each mailbox that is restored, OBSERVER_MAILBOXES; may be NULL. Where he gives up
     * (STORE_CONFLICT) what is done stays, and the same again does the rest. */
    const struct observer *observer;
};

struct restore_counts {
    size_t returned; /* messages */
    size_t removed;
    size_t changed; /* that have other flags again */
};

/* --- restore.c: messages --- */

/* Makes the mailbox hold what then holds (and with keep_new, what came since, too). then is any
 * state of any mailbox of the account: where it is one of this mailbox, messages are told by their
 * UIDs, and by octets and date where they came back under another. No commit if nothing is to be
 * done. STORE_LIMIT, STORE_CORRUPT (a message of then is no longer in the repository). */
int restore_mailbox(struct mailbox *mailbox, const struct snapshot *then,
                    const struct restore_options *options, struct restore_counts *counts,
                    struct store_error *error);

/* A message that was expunged. */
struct lost_message {
    struct message message; /* as it was when it went; the bits of keywords mean nothing */
    GPtrArray *keywords;    /* char * */
    struct object_id commit;
    int64_t time;  /* of the expunge, seconds since the epoch */
    char *command; /* that expunged it, "" if that is not known */
};

struct lost_filter {
    int64_t since; /* expunged then or later; INT64_MIN: as far as the history goes */
    bool moved;    /* also what was moved to another mailbox */
    /* Is told of each change that was counted, OBSERVER_CHANGES, and then of each that was looked
     * at, OBSERVER_SEARCH; may be NULL. STORE_CONFLICT where he gives up. */
    const struct observer *observer;
};

/* What was expunged from the mailbox and did not come back (no message with the same octets came in
 * later): a new array of struct lost_message * with a free function, ascending by UID. Reads the
 * whole history since then: some ten microseconds a commit. */
int restore_find_lost(struct mailbox *mailbox, const struct lost_filter *filter, GPtrArray **out,
                      struct store_error *error);

/* Appends these (struct lost_message *, in their order), without \Deleted, in one commit.
 * *first_uid gets the first one's UID; the others follow on. */
int restore_lost(struct mailbox *mailbox, const GPtrArray *lost, const struct origin *origin,
                 uint32_t *first_uid, struct store_error *error);

/* --- restore_branch.c: mailboxes --- */

/* Where a mailbox is now, by its id. */
struct restore_place {
    char *name;           /* it exists under this one; or NULL */
    char *grave;          /* its reference below refs/deleted/; or NULL */
    struct object_id tip; /* of grave */
};
void restore_place_clear(struct restore_place *place);
/* Neither name nor grave: it is not in the account. likely: the name it probably has, which is
 * looked at first; or NULL. */
int restore_locate(struct account *account, const char *mailbox_id, const char *likely,
                   struct restore_place *out, struct store_error *error);

/* Makes a mailbox that does not exist (any more) exist again under a name that is free, on top of
 * the chain that ends at tip, with what then holds. grave: the reference that keeps the chain,
 * which goes; or NULL. Its id, UIDVALIDITY and UIDs stay, but that UIDVALIDITY is renewed where a
 * later mailbox of that name had a higher one. STORE_EXISTS, STORE_BAD_NAME. */
int restore_branch(struct account *account, const char *name, const struct object_id *tip,
                   const char *grave, const struct snapshot *then,
                   const struct restore_options *options, struct restore_counts *counts,
                   struct store_error *error);

/* --- restore_account.c: accounts --- */

/* What was done, a line each, for people. */
typedef void (*restore_report)(const char *line, void *data);

/* Makes one mailbox what it was at the moment, under the name that it had then; source is the
 * account whose history that is: account itself, or a view. A mailbox that was renamed gets its
 * name back, a deleted one comes back with its history. With as: a new mailbox of that name gets
 * the messages instead, and nothing else changes; one that was deleted comes back under that name.
 * STORE_NOT_FOUND: it did not exist then. STORE_EXISTS: another mailbox has the name. */
int restore_one(struct account *account, struct account *source, const char *name,
                const struct moment *moment, const char *as, const struct restore_options *options,
                restore_report report, void *data, struct store_error *error);

/* Brings the mailbox of that name back that was deleted last, as it was then, under its name or as.
 * STORE_NOT_FOUND: none is kept. STORE_EXISTS. */
int restore_deleted(struct account *account, const char *name, const char *as,
                    const struct restore_options *options, restore_report report, void *data,
                    struct store_error *error);

/* restore_one() for all mailboxes whose names are prefix or below it (NULL: all), superiors first;
 * another mailbox that has a name which is needed gets a new one. For all: mailboxes
 * that did not exist then are deleted (and kept below refs/deleted/, as always) unless keep_new,
 * and subscriptions and special uses are as they were. */
int restore_tree(struct account *account, struct account *source, const char *prefix,
                 const struct moment *moment, const struct restore_options *options,
                 restore_report report, void *data, struct store_error *error);

/* --- restore_bundle.c: accounts from bundles --- */

enum {
    RESTORE_UID_GAP = 100 * 1000, /* UIDs that the lost time may have used up, a mailbox */
};
#define RESTORE_MODSEQ_GAP (UINT64_C(1) << 32)

/* Whether the repository at path has all that the bundle builds on. */
int restore_has_prerequisites(const char *path, const struct bundle *bundle, bool *has,
                              struct store_error *error);

/* A directory that is being filled. */
struct restore_begun {
    char *path;
    int lock; /* tells others that somebody is at work on it */
};

/* Where objects are unpacked before they come into the object database of the repository at path,
 * below it. Those that restores left there which were killed are removed. */
int restore_begin_unpacking(const char *path, struct restore_begun *out, struct store_error *error);

/* An empty repository for the user's account, which must not exist. STORE_EXISTS, STORE_BAD_NAME.
 * The caller fills its object database, then: */
int restore_begin_account(struct store *store, const char *user, struct restore_begun *out,
                          struct store_error *error);
/* gives it the bundle's references, checks all of it and puts it in place; or removes it (also on
 * failure). begun is released in any case. exact: it becomes what the bundle says, to the last
 * octet. Otherwise a commit on each mailbox leaves room: the UIDs and MODSEQs that were given after
 * the backup was made are not given again, which clients that saw them would take for what they
 * know. finding (may be NULL) is told what is wrong with a bundle's content; observer (may be NULL)
 * of changes, mailboxes and objects: STORE_CONFLICT when he gives up. */
int restore_finish_account(struct store *store, const char *user, struct restore_begun *begun,
                           const struct bundle *bundle, bool exact, const struct origin *origin,
                           restore_report finding, void *data, const struct observer *observer,
                           struct store_error *error);
/* Removes the directory and releases begun: whoever began is done with it, or gives it up. */
void restore_abandon(struct restore_begun *begun);

/* An account to be read only: the bundle's references on the objects of an account that exists, to
 * which the bundle's objects were added. What was purged from the account since is in none of its
 * states: where the bundle has it, observer (may be NULL) is told of changes, and STORE_CONFLICT
 * is the answer when he gives up. */
struct restore_view;
int restore_open_view(struct account *account, const struct bundle *bundle,
                      const struct observer *observer, struct restore_view **out,
                      struct store_error *error);
struct account *restore_view_account(struct restore_view *view); /* borrowed */
void restore_close_view(struct restore_view *view);              /* before account; accepts NULL */

/* --- restore_purged.c: what was purged stays purged --- */

/* Before the objects of a bundle come into the repository at path: from now on a collection leaves
 * in no pack what its purges have taken out. STORE_CONFLICT: a gc is running. */
int restore_expect_purged(const char *path, const struct host *host, struct store_error *error);
/* Afterwards, when no .keep protects the bundle's packs any more: if they brought any of it, drops
 * it from the disk (collect_repository(), of which observer is told, who may be NULL).
 * STORE_CONFLICT: a gc is running, or the observer gives up, and another collection will do it. */
int restore_drop_purged(const char *path, const struct host *host, unsigned settle_seconds,
                        const struct observer *observer, struct store_error *error);

#endif
