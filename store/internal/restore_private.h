/* What the files restore*.c share. */
#ifndef ANNAL_STORE_INTERNAL_RESTORE_PRIVATE_H
#define ANNAL_STORE_INTERNAL_RESTORE_PRIVATE_H

#include <glib.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/reachable.h"
#include "store/internal/snapshot_load.h"
#include "store/restore.h"

/* A message of then, and where it is now. */
struct restore_pair {
    struct message then;
    uint32_t uid;
    uint8_t flags;
    uint64_t keywords;
};

/* What leads from one state to the content of another. */
struct restore_plan {
    const struct snapshot *then;
    const struct snapshot *now;
    GArray *missing; /* struct message, of then */
    GArray *extra;   /* struct message, of now */
    GArray *kept;    /* struct restore_pair: those of which something may differ */
};

void restore_plan_init(struct restore_plan *plan, const struct snapshot *then,
                       const struct snapshot *now);
void restore_plan_release(struct restore_plan *plan);
void restore_plan_make(struct restore_plan *plan, bool keep_new);
/* builder: on top of now. STORE_LIMIT, STORE_CORRUPT. */
int restore_plan_apply(const struct restore_plan *plan, struct snapshot_builder *builder,
                       struct objects *objects, struct restore_counts *counts,
                       struct store_error *error);

bool restore_counts_any(const struct restore_counts *counts);
void restore_subject_counts(GString *subject, const struct restore_counts *counts);

/* STORE_CORRUPT if the message's octets are not there. */
int restore_check_blob(struct objects *objects, const struct message *message,
                       struct store_error *error);

/* The value of the commit's trailer that begins with "Name: "; "" if it has none. A new string. */
char *restore_trailer(const struct commit *commit, const char *name);

/* The properties of the mailbox at a commit; release them also after a failure. */
int restore_properties(struct properties *out, struct objects *objects,
                       const struct object_id *commit, struct store_error *error);

/* --- restore_purged.c --- */

struct rewrite;
/* Whether the database has one of these. */
bool restore_has_any(struct objects *objects, const struct id_set *blobs);
/* Moves a view's references to a history without these blobs, which is protected until *out is
 * freed (it may be set on failure, too). The view's boundary is known. observer (may be NULL) is
 * told of each change: STORE_CONFLICT when he gives up. */
int restore_leave_out_purged(struct rewrite **out, struct account *view, const struct id_set *blobs,
                             const struct observer *observer, struct store_error *error);

/* --- restore_bundle.c --- */

/* Below objects/, and a name that git's own gc knows for something temporary. */
#define RESTORE_UNPACKING_PREFIX "tmp_objdir-annal-"
/* What restores left of it in the repository at path which were killed. */
void restore_remove_leftovers(const char *path);

/* Commits that these tips (struct object_id) lead to and whose parents are not there become the
 * boundary of the history, beside those that are it already. A backup of an account that let old
 * history go says nothing of it: its pack is whole as far as it goes, and git has checked that.
 * observer (may be NULL) is told OBSERVER_CHANGES: STORE_CONFLICT when he gives up. */
int restore_extend_boundary(const char *path, struct objects *objects, const GArray *tips,
                            const struct observer *observer, struct store_error *error);

#endif
