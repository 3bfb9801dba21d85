/* Where a repository's history ends: git's file "shallow" lists commits whose parents count as not
 * there. Retention moves that boundary (retention.h); here it is read and replaced.
 *
 *   PATH/shallow         git's: an id of 40 digits a line; no file: the history is whole
 *   PATH/annal-retired   ours: what the boundary let go, "SECONDS ID" a line, until it is dropped
 *   PATH/annal-purge     ours: blobs that must be in no pack any more, an id a line, until it is so
 *
 * The first two are changed under git's own shallow.lock, all of them by whole files that are
 * durable before they get their names.
 */
#ifndef ANNAL_STORE_INTERNAL_SHALLOW_H
#define ANNAL_STORE_INTERNAL_SHALLOW_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/internal/reachable.h"
#include "store/object_id.h"

enum { SHALLOW_FILE_MAX = 64 * 1024 * 1024 }; /* octets of either file */

/* Adds the commits of the boundary to the set. STORE_CORRUPT for a file that git would refuse,
 * STORE_LIMIT, STORE_IO. */
int shallow_read(struct id_set *out, const char *path, struct store_error *error);

/* A commit that was let go at that time (seconds): the parent of one of the boundary, or the tip of
 * a removed reference. */
struct retired_root {
    int64_t since;
    struct object_id id;
};

/* Appends them (struct retired_root). STORE_CORRUPT, STORE_LIMIT, STORE_IO. */
int retired_read(GArray *out, const char *path, struct store_error *error);
/* Since when something waits to be dropped, in seconds; INT64_MAX: nothing does. */
int64_t retired_since(const char *path);

struct shallow_lock {
    const struct host *host;
    char *path; /* of the repository */
    char *lock;
    int fd;
};

/* STORE_CONFLICT when somebody else has it. After success to be ended by shallow_unlock(). */
int shallow_lock(struct shallow_lock *lock, const char *path, const struct host *host,
                 struct store_error *error);
/* Replaces the boundary by these (struct object_id); none: the history is whole. Once. Durable on
 * return; on failure it is as it was. */
int shallow_replace(struct shallow_lock *lock, const GArray *ids, struct store_error *error);
/* The same for what waits to be dropped. */
int retired_replace(const struct shallow_lock *lock, const GArray *roots,
                    struct store_error *error);
/* Blobs that a purge takes out. The one who holds gc.pid replaces them (none: the file goes). */
int purged_read(struct id_set *out, const char *path, struct store_error *error);
int purged_replace(const struct id_set *ids, const char *path, const struct host *host,
                   struct store_error *error);

void shallow_unlock(struct shallow_lock *lock);

#endif
