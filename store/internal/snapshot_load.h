/* Reading a mailbox's state from a commit. */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_LOAD_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_LOAD_H

#include <stdbool.h>

#include "store/internal/objects.h"
#include "store/internal/snapshot_private.h"

/* Reads trees and index files, never messages. known (may be NULL) is an earlier state: what it
 * shares is neither read again nor held twice, and its keywords keep their places. *keywords_moved
 * is set when the commit's own keyword list does not begin with known's. STORE_CORRUPT for whatever
 * FORMAT.md does not allow, also for a missing object; STORE_UNSUPPORTED. */
int snapshot_load(struct snapshot **out, bool *keywords_moved, struct objects *objects,
                  const struct object_id *commit, const struct snapshot *known,
                  struct store_error *error);

/* Those of the mailbox at a commit; to be released also after a failure. STORE_CORRUPT for whatever
 * is no mailbox, STORE_UNSUPPORTED. */
int properties_load(struct properties *out, struct objects *objects, const struct object_id *commit,
                    struct store_error *error);

/* An entry of a tree: at level i below the root, number is UID / NODE_SPAN[i + 1]. */
struct directory {
    uint32_t number;
    struct object_id tree;
};

enum { DIRECTORY_LEVELS = 3 }; /* above the leaves */

/* Decodes one leaf from its tree: messages with their blob ids. messages has room for
 * LEAF_MESSAGES. */
int leaf_load(struct message messages[LEAF_MESSAGES], size_t *count, struct objects *objects,
              const struct object_id *tree, uint32_t number, const GPtrArray *keywords,
              struct store_error *error);

/* Decodes a root tree: properties (release also after a failure) and the top directories, a new
 * array of struct directory. */
int root_load(struct properties *properties, GArray **directories, struct objects *objects,
              const struct object_id *tree, struct store_error *error);

/* Appends the sub-directories of a directory that is no leaf, as struct directory. */
int directory_load(GArray *out, struct objects *objects, const struct directory *directory,
                   struct store_error *error);

#endif
