/* Which blobs a mailbox's UIDs have named, in any state of it that the repository has. */
#ifndef ANNAL_STORE_INTERNAL_PURGE_FIND_H
#define ANNAL_STORE_INTERNAL_PURGE_FIND_H

#include <glib.h>
#include <stddef.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/reachable.h"
#include "store/internal/refs.h"
#include "store/mailbox.h"
#include "store/observer.h"

/* The commits that the references reach, as far as the boundary. *out: their number. STORE_CORRUPT,
 * STORE_IO. */
int purge_count_commits(uint64_t *out, const char *path, struct objects *objects, struct refs *refs,
                        struct store_error *error);

/* Adds to words (char *) what commits may quote of these blobs: their subjects. One that is not
 * there has none. */
int purge_words(GPtrArray *words, struct objects *objects, const struct id_set *blobs,
                struct store_error *error);

/* Adds the blobs, and to words (char *) what commits quote of them: their subjects. The mailbox may
 * exist, or have been deleted: then all of that name are meant. uids: ascending and disjoint.
 * STORE_NOT_FOUND: none of them has ever been there; STORE_BAD_NAME, STORE_CORRUPT, STORE_IO. The
 * observer (NULL: none) is told of each commit, OBSERVER_SEARCH, of so many at most; STORE_CONFLICT
 * when he gives up. */
int purge_find(struct id_set *blobs, GPtrArray *words, const char *path, struct objects *objects,
               struct refs *refs, const char *mailbox, const struct uid_range *uids, size_t count,
               const struct observer *observer, uint64_t total, struct store_error *error);

#endif
