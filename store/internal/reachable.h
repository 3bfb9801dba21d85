/* Which objects of a repository anything refers to. */
#ifndef ANNAL_STORE_INTERNAL_REACHABLE_H
#define ANNAL_STORE_INTERNAL_REACHABLE_H

#include <glib.h>
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

/* Called now and then with how many objects have been seen; false gives up (STORE_CONFLICT). */
typedef bool (*reachable_progress)(uint64_t seen, void *data);

/* Adds all that references of any kind, HEAD and reflogs of the repository at path reach; what is
 * behind the shallow boundary (shallow.h) is not reached. *missing is how many objects other than
 * blobs could not be found, and references that can't be read; progress may be NULL.
 * STORE_NO_MEMORY, STORE_CORRUPT, STORE_LIMIT, STORE_IO. */
int reachable_add(struct id_set *set, const char *path, struct refs *refs, size_t *missing,
                  reachable_progress progress, void *data, struct store_error *error);

/* Adds all that these objects (struct object_id) reach, whatever the boundary says, but for what is
 * in except (may be NULL) and what is only reached through that. What is missing is passed over. */
int reachable_add_from(struct id_set *set, const struct id_set *except, const char *path,
                       const GArray *roots, reachable_progress progress, void *data,
                       struct store_error *error);

#endif
