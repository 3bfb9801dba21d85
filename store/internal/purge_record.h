/* What purges have written down (refs/annal/purged): a file "purged" a commit,
 *
 *   format 1
 *   branch REF OLD NEW     a reference that moved, to the commit PURGE on its new history
 *   commit OLD NEW         a commit that a checkpoint names, and the one that stands for it
 *   blob ID                a message that was taken out
 */
#ifndef ANNAL_STORE_INTERNAL_PURGE_RECORD_H
#define ANNAL_STORE_INTERNAL_PURGE_RECORD_H

#include <glib.h>
#include <stdbool.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/reachable.h"
#include "store/internal/refs.h"

#define PURGED_REF "refs/annal/purged"

/* Each purge's table (struct object_id -> struct object_id: OLD to NEW of both kinds), oldest
 * first: a new array of GHashTable *, with a free function. STORE_CORRUPT, STORE_IO. */
int purge_records_read(GPtrArray **out, struct objects *objects, struct refs *refs,
                       struct store_error *error);
/* Adds what they have taken out. STORE_CORRUPT, STORE_IO. */
int purge_blobs_read(struct id_set *out, struct objects *objects, struct refs *refs,
                     struct store_error *error);
/* What they have put in an object's place, one after another; false: none has touched it. */
bool purge_records_follow(const GPtrArray *records, struct object_id *id);

#endif
