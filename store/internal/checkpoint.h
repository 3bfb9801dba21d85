/* The tags of signed checkpoints (signing.h), taken apart. */
#ifndef ANNAL_STORE_INTERNAL_CHECKPOINT_H
#define ANNAL_STORE_INTERNAL_CHECKPOINT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/refs.h"
#include "store/object_id.h"

#define CHECKPOINTS_PREFIX "refs/annal/checkpoints/"

struct checkpoint_head {
    char *ref;
    struct object_id id;
};

struct checkpoint {
    uint64_t number;           /* as the reference says */
    struct object_id id;       /* of the tag */
    struct object_id previous; /* zero: none */
    uint64_t from;             /* the oldest one that was kept then */
    int64_t time;              /* of the tagger, seconds */
    char *text;                /* the whole tag */
    size_t length;
    size_t signed_length; /* of it, what is signed; the signature follows */
    GArray *heads;        /* struct checkpoint_head */
};

/* All checkpoints by number, or only the last one: a new array of struct checkpoint *, with a free
 * function. One that can't be read is STORE_CORRUPT. */
int checkpoints_list(GPtrArray **out, const char *path, struct refs *refs, bool last,
                     struct store_error *error);

/* Writes a tag as a pack of its own, durable and protected by a .keep: *keep is its path, a new
 * string, to be unlinked when the tag is referred to. blob: what it tags, written along; NULL: it
 * is there already. */
struct host;
int tag_write(const char *path, const struct host *host, const char *text, size_t length,
              const GString *blob, struct object_id *out, char **keep, struct store_error *error);

/* git's name of a tag. */
void tag_hash(const char *text, size_t length, struct object_id *out);

#endif
