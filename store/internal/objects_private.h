/* What the files of the object database share: objects.c reads, object_batch.c writes,
 * pack_merge.c tidies up. */
#ifndef ANNAL_STORE_INTERNAL_OBJECTS_PRIVATE_H
#define ANNAL_STORE_INTERNAL_OBJECTS_PRIVATE_H

#include <glib.h>
#include <stdbool.h>

#include "store/internal/git.h"
#include "store/internal/objects.h"
#include "store/internal/pack_merge.h"

struct object_cache;
struct pack_set;

struct objects {
    const struct host *host;
    char *path;           /* the repository */
    char *directory;      /* PATH/objects */
    char *pack_directory; /* PATH/objects/pack */
    git_odb *odb;         /* NULL: not needed so far */
    struct pack_set *packs;
    int64_t rested; /* when packs were closed last */
    struct object_cache *cache;
    GPtrArray *batches; /* struct object_batch: not freed yet */
    GPtrArray *kept;    /* names of packs whose .keep is still there, oldest first */
    struct pack_merge merge;
    unsigned losses;
};

/* An object of a batch. */
struct pending {
    struct object_id id;
    enum object_type type;
    const uint8_t *data;
    size_t length;
    GBytes *owned;     /* NULL: data is the caller's */
    bool is_old;       /* the batch has a newer version of it: known once it is packed */
    GByteArray *delta; /* against delta_base, as delta_encode() makes it; NULL: not made yet */
    struct object_id delta_base;
};

struct object_batch {
    struct objects *objects;
    GPtrArray *order;     /* struct pending, owned */
    GHashTable *by_id;    /* struct object_id -> struct pending */
    GPtrArray *spools;    /* struct spool *, borrowed: not published yet */
    GPtrArray *published; /* char *: names of packs that were spools */
    char *name;           /* of the pack, once written; NULL: none */
    bool written;
    bool repeat; /* object_batch_repeat() */
};

/* The object is in the batch, or, if it is large, stands on the disk. */
bool object_batch_is_needless(struct object_batch *batch, const struct object_id *id,
                              size_t length);

/* Takes .keep files away until no more than this many are left. */
void objects_release_kept(struct objects *objects, guint left);

#endif
