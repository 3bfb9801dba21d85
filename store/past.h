/* Mailboxes as they were at a moment.
 *
 * The state of a mailbox at a moment is the newest commit in its chain of first parents whose
 * committer's date is not after the moment: what `git rev-list -1 --first-parent --before=...`
 * tells. Dates need not rise (others commit, too); a commit that is dated back hides what came
 * before it until its own date, nothing else.
 *
 * A mailbox is found under the name that it had then: RENAME and DELETE stand in the chain of
 * commits. What was deleted since (refs/deleted/) is there until the moment of its DELETE. How a
 * branch was called before stock git renamed it is not known.
 *
 * Changes on their way in the journal of the account's own store are seen.
 *
 * Reading a long history takes about two microseconds a commit, once: what was learned is kept as
 * derived state (internal/timeline.h). With progress not NULL a call does no more than PAST_STEPS
 * commits' worth of work (plus what listing the names of all mailboxes takes). If that is not all,
 * *progress (NULL before the first call) keeps what is known so far: nothing else is filled, and
 * the call is to be repeated with the same arguments. Else *progress is NULL afterwards. With NULL
 * all is done at once.
 */
#ifndef ANNAL_STORE_PAST_H
#define ANNAL_STORE_PAST_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/account.h"
#include "store/error.h"
#include "store/mailbox.h"
#include "store/moment.h"
#include "store/object_id.h"

enum {
    PAST_STEPS = 4096,
    PAST_LOOK = 4, /* steps that it takes to look at one mailbox */
};

struct past_progress;
/* Gives up. Accepts NULL. */
void past_progress_free(struct past_progress *progress);

/* A mailbox at a moment. */
struct past_state {
    char *name; /* UTF-8: what it was called then */
    char *ref;  /* the reference in whose history it is now: refs/heads/..., refs/deleted/... */
    struct object_id commit;
    int64_t time; /* the commit's, seconds since the epoch */
};
/* Accepts one that was cleared or never filled (all zero). */
void past_state_clear(struct past_state *state);

/* The state of the mailbox of this name at the moment. The moment of a commit is its date; the
 * mailbox whose commit it is stands at that very commit. Name NULL, for a commit only: the mailbox
 * whose it is, whatever it is called (name and ref are NULL then).
 * STORE_NOT_FOUND: it did not exist then, the history does not reach back so far, or there is no
 * such commit or more than one that begins so (error's detail says which). STORE_BAD_NAME. */
int past_find(struct account *account, const char *name, const struct moment *moment,
              struct past_state *out, struct past_progress **progress, struct store_error *error);

/* The mailboxes at a moment: a new array of struct past_state *, with a free function, sorted like
 * account_list(). A name that several histories claim is there once, as past_find() has it. */
int past_list(struct account *account, const struct moment *moment, GPtrArray **out,
              struct past_progress **progress, struct store_error *error);

/* The days (since 1970-01-01, in UTC) on which a mailbox changed, as far as the history is there:
 * a new array of int32_t, ascending, each once. */
int past_days(struct account *account, GArray **out, struct past_progress **progress,
              struct store_error *error);

/* The mailbox as past_find() has it, to be read and copied from: mailbox_snapshot() stays as it is,
 * every change fails with STORE_FORBIDDEN. A state that is no mailbox of ours was never shown to
 * anybody: the last good one before it stands in. Opening is the work of opening a mailbox.
 * mailbox_name() says what and when, for people: "INBOX at 2026-11-17 (4757b1edd979)". */
int past_open(struct account *account, const char *name, const struct moment *moment,
              struct mailbox **out, struct past_progress **progress, struct store_error *error);

/* The state at a commit. To be released before the account. STORE_NOT_FOUND, STORE_CORRUPT,
 * STORE_UNSUPPORTED. */
int past_snapshot(struct account *account, const struct object_id *commit, struct snapshot **out,
                  struct store_error *error);

#endif
