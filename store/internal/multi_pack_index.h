/* git's objects/pack/multi-pack-index (gitformat-pack(5), version 1): one table of the objects of
 * several packs, for those who would have to look into each. Ours covers packs that rarely change.
 *
 * Git trusts it: one that names a pack which is gone makes it complain. So a pack leaves the table
 * first, durably, and the disk later.
 */
#ifndef ANNAL_STORE_INTERNAL_MULTI_PACK_INDEX_H
#define ANNAL_STORE_INTERNAL_MULTI_PACK_INDEX_H

#include <glib.h>
#include <stdbool.h>

#include "store/error.h"
#include "store/host.h"

#define MULTI_PACK_INDEX "multi-pack-index"

enum {
    MULTI_PACK_INDEX_OBJECTS_MAX = 32 * 1024 * 1024,
    MULTI_PACK_INDEX_LOCK_SECONDS = 600, /* nobody writes for so long: a crash's */
};

/* The names ("pack-...") that the file in the directory relies on: a new set, empty without a file.
 * NULL if there is no telling. */
GHashTable *multi_pack_index_names(const char *directory);

/* Replaces the file by one of these packs (char *, any order, each once), under git's own lock;
 * durable on return. STORE_CONFLICT when somebody else is writing it; STORE_CORRUPT for a pack
 * that has gone or has no index that can be read; STORE_LIMIT; STORE_NO_SPACE, STORE_IO. Blocks. */
int multi_pack_index_write(const char *directory, const char *scratch, const struct host *host,
                           const GPtrArray *names, struct store_error *error);

/* Takes the file away, with the bitmaps that git may have made for it. Durable; blocks. */
int multi_pack_index_remove(const char *directory, const struct host *host,
                            struct store_error *error);

#endif
