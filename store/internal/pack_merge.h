/* Keeps the packs of an open database few: by upkeep in the same thread, a bounded amount at a
 * time, or by telling the maintenance thread of the process where there is one. */
#ifndef ANNAL_STORE_INTERNAL_PACK_MERGE_H
#define ANNAL_STORE_INTERNAL_PACK_MERGE_H

#include <glib.h>

#include "store/internal/upkeep.h"

struct maintenance;
struct objects;

enum { PACK_MERGE_EVERY = 32 }; /* packs written between two looks */

struct pack_merge {
    struct upkeep *upkeep;           /* NULL: not needed so far */
    struct maintenance *maintenance; /* NULL: none; borrowed */
    guint written;                   /* packs since the last look */
};

/* Counts a pack that was written; looks after all of them now and then. */
void pack_merge_count(struct objects *objects);

/* Before the database is closed: looks after the packs once more if any was written, and hides at
 * once those merged away. So short visits, however many, leave few packs behind. */
void pack_merge_close(struct objects *objects);

/* From now on the thread looks after the packs; it must outlive the database. NULL: none. */
void objects_set_maintenance(struct objects *objects, struct maintenance *maintenance);

void pack_merge_init(struct pack_merge *merge);
void pack_merge_release(struct pack_merge *merge);

#endif
