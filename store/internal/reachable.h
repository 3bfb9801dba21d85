/* Which objects of a repository anything refers to. */
#ifndef ANNAL_STORE_INTERNAL_REACHABLE_H
#define ANNAL_STORE_INTERNAL_REACHABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/refs.h"
#include "store/object_id.h"

/* A set of object ids (never of the zero id). */
struct id_set {
    struct object_id *slots; /* zero: empty */
    size_t mask;
    size_t count;
};
void id_set_init(struct id_set *set);
void id_set_release(struct id_set *set);
/* True if it was not in it. */
bool id_set_add(struct id_set *set, const struct object_id *id);
bool id_set_has(const struct id_set *set, const struct object_id *id);

/* Adds all that references of any kind, HEAD and reflogs of the repository at path reach. *missing
 * is how many objects other than blobs could not be found; progress (may be NULL) is told how many
 * have been seen. STORE_NO_MEMORY, STORE_CORRUPT, STORE_IO. */
int reachable_add(struct id_set *set, const char *path, struct refs *refs, size_t *missing,
                  void (*progress)(uint64_t seen, void *data), void *data,
                  struct store_error *error);

#endif
