/* Changes of one account that are in the journal and not yet in git: the next layer above objects
 * and references, and what the account sees in place of git's own references.
 */
#ifndef ANNAL_STORE_INTERNAL_PENDING_H
#define ANNAL_STORE_INTERNAL_PENDING_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/refs.h"

enum {
    PENDING_SIZE_MAX = 8 * 1024 * 1024
}; /* octets of objects; then they become a pack at once */

struct account;
struct errands;
struct packing;

struct pending_changes {
    GHashTable *refs;           /* char *name -> struct pending_ref; NULL: none yet */
    struct object_batch *batch; /* objects that are in no pack; NULL: none */
    GPtrArray *packed;          /* struct object_batch *: in a pack, their references not moved */
    struct packing *packing;    /* objects that another thread makes a pack of; NULL: none */
    uint64_t size;              /* octets of batch */
    int64_t since;              /* host.now() of the first of them */
    uint64_t oldest;            /* the journal's frame of the first change that git lacks */
    int64_t behind;             /* host.now() since which git has not all of the account */
    int64_t not_before;         /* host.now() of the next attempt, when one has failed; else 0 */
    struct journal_versions *versions; /* of metadata, in the journal; NULL: none */
    const struct ref_update *merging;  /* what is being merged: the journal must not forget it */
};

void pending_init(struct pending_changes *pending);
/* What later changes are compared with in the journal is known no more. */
void pending_forget_versions(struct pending_changes *pending);
/* Drops what there is: only when it is in git or stays in the journal. */
void pending_release(struct pending_changes *pending);
bool pending_any(const struct account *account);

/* The branch's newest commit: git's, or ours on top of it. A branch that somebody moved while ours
 * was on its way is merged first. STORE_NOT_FOUND, STORE_CORRUPT as refs_read() has them. */
int pending_tip(struct account *account, const char *ref, struct object_id *tip,
                struct store_error *error);

/* Whether a change goes through the journal: there is one, only mailboxes that exist are changed,
 * and it is not too big. */
bool pending_accepts(const struct account *account, const struct object_batch *batch,
                     const struct ref_update *updates, size_t count);
/* Appends the change to the journal, takes the batch's objects and moves the references in memory.
 * STORE_CONFLICT when a reference is not at its before value. On failure nothing has changed. */
int pending_add(struct account *account, struct object_batch *batch,
                const struct ref_update *updates, size_t count, bool relaxed,
                struct store_error *error);

/* Before references move past the journal: if these depend on what is in it, makes all of the
 * account's changes durable in git and says so in the journal. What a merge follows becomes a pack.
 */
int pending_yield(struct account *account, const struct ref_update *updates, size_t count,
                  struct store_error *error);

/* Writes the objects as a pack, moves the references: durable only when the file system is synced.
 * What can't be moved now (STORE_CONFLICT) stays pending. The journal has been synced before. */
int pending_materialize(struct account *account, struct store_error *error);

/* The same in two steps, for what there is so far: the pack is written by errands, while changes go
 * on. Only where pending_can_begin(): there is something to write, and no pack on its way. */
bool pending_can_begin(const struct account *account);
int pending_begin(struct account *account, struct errands *errands, struct store_error *error);
/* Whether errands has one in hand, and whether it is done with it. */
bool pending_is_packing(const struct account *account);
bool pending_is_packed(const struct account *account);
/* Waits for the pack and moves the references to the commits that are in it. STORE_CONFLICT where
 * pending_materialize() has to merge first. A pack that could not be written is tried again by
 * that, before anything that came later. */
int pending_finish(struct account *account, struct store_error *error);
/* Objects that are in no pack. */
bool pending_has_objects(const struct account *account);

/* The references that have yet to move or to be merged, as struct ref_update with borrowed names.
 */
void pending_updates(const struct account *account, GArray *out);

/* For the replay: ours is what the branch has to become; base is git's value it followed. */
void pending_restore(struct account *account, const char *ref, const struct object_id *base,
                     const struct object_id *ours);

#endif
