/* The history of a mailbox, walked from a commit down in the order of MODSEQs.
 *
 * A commit goes by the rules here if it is of the same mailbox as the one the walk began with (id
 * and UIDVALIDITY) and its MODSEQ is by one higher than the highest of its parents'. As long as
 * that is so, every state that clients may have been told of stands in the walk at its own MODSEQ:
 * in branches that others merged, too, which is why all parents are followed. What breaks the rule
 * (a branch set back, commits that did not raise it, another mailbox, a shallow clone's boundary)
 * ends what is known.
 */
#ifndef ANNAL_STORE_INTERNAL_LINEAGE_H
#define ANNAL_STORE_INTERNAL_LINEAGE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/properties.h"
#include "store/object_id.h"
#include "store/snapshot.h"

enum {
    LINEAGE_PARENTS_MAX = 4,
    LINEAGE_ABREAST_MAX = 16, /* commits side by side */
};

struct ancestor {
    struct object_id commit;
    uint64_t modseq;
    uint32_t parent_count;
    struct object_id parents[LINEAGE_PARENTS_MAX];
};

struct lineage {
    struct objects *objects;
    char mailbox_id[MAILBOX_ID_MAX + 1];
    uint32_t uid_validity;
    GArray *abreast; /* struct ancestor: where the walk stands; at least one */
    bool gap;        /* lineage_step() has failed as MODSEQs are not without a gap */
};

/* Begins at the snapshot's commit. STORE_NOT_FOUND if that is not the snapshot's. Release also
 * after a failure. */
int lineage_begin(struct lineage *lineage, struct objects *objects, const struct snapshot *snapshot,
                  struct store_error *error);
void lineage_release(struct lineage *lineage);

/* Goes on from this commit, which must be of the mailbox and have this MODSEQ: STORE_NOT_FOUND
 * otherwise, and the walk stands where it stood. */
int lineage_jump(struct lineage *lineage, const struct object_id *commit, uint64_t modseq,
                 struct store_error *error);

/* Of those abreast the one with the highest MODSEQ; borrowed until the next step. */
const struct ancestor *lineage_top(const struct lineage *lineage);
/* Every way down leads through lineage_top(). */
bool lineage_is_alone(const struct lineage *lineage);
/* Replaces lineage_top() by its parents. STORE_NOT_FOUND: what is known ends there. Any other
 * failure is one to read. */
int lineage_step(struct lineage *lineage, struct store_error *error);

/* Whether later came from earlier by the rules, in at most limit commits; or, just as good, what is
 * known of later ends above earlier's MODSEQ, at a gap between two states of the mailbox: then
 * nobody takes what is below for what earlier was. */
bool lineage_leads(struct objects *objects, const struct snapshot *later,
                   const struct snapshot *earlier, size_t limit);

#endif
