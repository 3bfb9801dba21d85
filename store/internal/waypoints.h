/* From MODSEQs to commits: some of a mailbox's history at hand, so that nobody walks all of it.
 *
 * A waypoint is a commit that every way down from the newest one leads through (lineage.h). The
 * table holds one for each WAYPOINTS_EVERY MODSEQs, further apart where there would be more than
 * WAYPOINTS_MAX; each is an ancestor of the next, so whoever came upon one by walking may go on
 * from any below it.
 *
 * Derived state, one small file a mailbox: deletable at any time, never synced. A file that is not
 * whole or not of this mailbox is no file.
 */
#ifndef ANNAL_STORE_INTERNAL_WAYPOINTS_H
#define ANNAL_STORE_INTERNAL_WAYPOINTS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"
#include "store/snapshot.h"

enum {
    WAYPOINTS_EVERY = 64,
    WAYPOINTS_MAX = 16 * 1024,
    WAYPOINTS_DAYS = 100, /* without being written, after which a file may be removed */
};

struct waypoint {
    uint64_t modseq;
    struct object_id commit;
    uint32_t unused; /* 0 */
};

struct waypoints {
    GArray *list; /* struct waypoint, MODSEQs ascending */
    bool ends;    /* nothing is known of what was before the first */
};

/* path: of a file named after the mailbox's id. Always fills *out (release it); empty without a
 * good file. */
void waypoints_load(struct waypoints *out, const char *path, const struct snapshot *snapshot);
void waypoints_release(struct waypoints *waypoints);

/* Replaces the file. A first one in its directory, which exists, makes old ones be removed.
 * Nothing is lost but time if that fails. */
void waypoints_save(const struct waypoints *waypoints, const char *path,
                    const struct snapshot *snapshot);

/* The index of the first waypoint with a MODSEQ above this; the list's length if there is none. */
guint waypoints_above(const struct waypoints *waypoints, uint64_t modseq);
/* Whether this commit is a waypoint, and which. */
bool waypoints_find(const struct waypoints *waypoints, const struct object_id *commit,
                    uint64_t modseq, guint *index);

#endif
