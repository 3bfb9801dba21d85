/* An account's history read for people: who changed what, and what that did to which messages.
 *
 * A struct history is one thread's view of a repository, which a server may be writing to. A change
 * is a commit; what it did is the difference to its first parent. All texts are printable UTF-8
 * without control characters or invisible ones that alter the text around them.
 */
#ifndef ANNAL_STORE_HISTORY_H
#define ANNAL_STORE_HISTORY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/mailbox.h"
#include "store/message_stream.h"
#include "store/object_id.h"
#include "store/observer.h"

struct history;

/* path: of the repository. STORE_NOT_FOUND, STORE_UNSUPPORTED. The caller owns *out. */
int history_open(struct history **out, const char *path, struct store_error *error);
void history_close(struct history *history); /* accepts NULL; walks are ended before */

/* --- what has a history --- */

enum history_place {
    HISTORY_MAILBOX,
    HISTORY_DELETED, /* a mailbox that is no more */
    HISTORY_ACCOUNT, /* subscriptions, special uses; holds; records of purges */
};

struct history_branch {
    enum history_place place;
    char *name;            /* the mailbox's in UTF-8; "" for the account's */
    uint32_t uid_validity; /* of a deleted mailbox; else 0 */
    struct object_id tip;
};

/* All of the account: the mailboxes by name with INBOX first, the deleted ones, what is the
 * account's own (none to three). A new array of struct history_branch *, with a free function set.
 */
int history_branches(struct history *history, GPtrArray **out, struct store_error *error);

/* The mailbox of that name, if it exists, and the deleted ones of that name, the one with the
 * highest UIDVALIDITY first. STORE_NOT_FOUND if there is neither; STORE_BAD_NAME. */
int history_find(struct history *history, const char *mailbox, GPtrArray **out,
                 struct store_error *error);

/* --- changes --- */

struct history_entry {
    const struct history_branch *branch; /* NULL from history_entry_read() */
    struct object_id commit;
    const struct object_id *parents; /* those that the repository still has */
    size_t parent_count;
    bool cut;            /* what was before is not kept any more */
    int64_t time;        /* seconds since the epoch */
    int zone;            /* minutes east of UTC */
    const char *subject; /* one line */
    const char *action;  /* one of history_actions() */
    const char *author;
    const char *client;  /* trailer, or "" */
    const char *command; /* trailer, or "" */
    const char *session; /* trailer, or "" */
};

/* The first words of subjects that our own commits have, and "OTHER" for what others write;
 * NULL-terminated. */
const char *const *history_actions(void);

/* Texts are borrowed until the next call that fills an entry. STORE_NOT_FOUND, STORE_CORRUPT. */
int history_entry_read(struct history *history, const struct object_id *commit,
                       struct history_entry *out, struct store_error *error);

/* All changes that lead to some branches, the newest first, each once; where histories were merged,
 * those of all parents. Of the account's own branches only what changed no mailbox. */
struct history_walk;

struct history_walk *history_walk_new(struct history *history);
void history_walk_free(struct history_walk *walk); /* accepts NULL */
/* branch is borrowed as long as the walk. with_past: else only its newest change. */
int history_walk_add(struct history_walk *walk, const struct history_branch *branch, bool with_past,
                     struct store_error *error);
/* *more false: there are no more. STORE_CORRUPT if a commit is missing: the walk ends there. */
int history_next(struct history_walk *walk, struct history_entry *out, bool *more,
                 struct store_error *error);

/* --- what changed --- */

/* A mailbox as a commit has it. */
struct history_state {
    uint32_t uid_validity;
    uint32_t uid_next;
    uint64_t highest_modseq;
};
int history_state(struct history *history, const struct object_id *commit,
                  struct history_state *out, struct store_error *error);

/* One message; of before and after at least one is there. */
struct history_change {
    const struct message *before; /* NULL: it arrived */
    const struct message *after;  /* NULL: it went */
    const char *flags_before;     /* names with a space between them; "" */
    const char *flags_after;
};

/* Returns non-zero to stop. What it is given is valid during the call only. */
typedef int (*history_visit)(const struct history_change *change, void *data);

/* The messages that are not the same in two commits, UIDs ascending. before zero: all of after.
 * ranges: struct uid_range, ascending and disjoint, to which it is confined; NULL: all. Costs what
 * differs. STORE_CORRUPT if one of them is no mailbox. */
int history_diff(struct history *history, const struct object_id *before,
                 const struct object_id *after, const GArray *ranges, history_visit visit,
                 void *data, struct store_error *error);

/* Where a message of a state comes from. */
struct history_blame {
    const struct message *message;
    const char *flags;
    struct object_id changed; /* the commit that last touched it, itself or its flags */
    struct object_id arrived; /* the commit that brought it */
    /* That was before the oldest change kept, which is named instead. */
    bool changed_before;
    bool arrived_before; /* or with it */
};
typedef int (*history_blame_visit)(const struct history_blame *blame, void *data);

/* Every message of a commit's state within ranges, UIDs ascending. Follows first parents, as MODSEQ
 * and UIDNEXT rise along them: what was merged came with the merge. Reads each commit once, and
 * tells observer (may be NULL) of each, OBSERVER_CHANGES: STORE_CONFLICT when he gives up. */
int history_blame(struct history *history, const struct object_id *commit, const GArray *ranges,
                  history_blame_visit visit, void *data, const struct observer *observer,
                  struct store_error *error);

/* A message's octets, also of one that is gone. */
int history_open_message(struct history *history, const struct object_id *blob,
                         struct message_stream **out, struct store_error *error);

#endif
