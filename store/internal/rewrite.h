/* A repository's history without certain blobs: for each commit, tree or tag the one that stands
 * for it once they were never there.
 *
 *   rewrite_new -> (rewrite_object... -> rewrite_flush)... -> rewrite_free
 *
 * In a mailbox's leaf a message goes with its line of the index; directories that become empty go,
 * all else stays as it was: UIDs, MODSEQs, dates and authors of commits. What reaches none of the
 * blobs stays the very same object. A commit that brought one of them in loses the words that came
 * from the message: its subject where it was quoted, and all trailers but User, Client, Session and
 * Command. Signatures of what changes are left out. New objects are in packs with a .keep (as
 * object_batch_write() has it) and durable after rewrite_flush().
 */
#ifndef ANNAL_STORE_INTERNAL_REWRITE_H
#define ANNAL_STORE_INTERNAL_REWRITE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/reachable.h"
#include "store/observer.h"

enum {
    REWRITE_DEPTH_MAX = 128, /* trees one in another */
    REWRITE_BATCH = 512,     /* commits that become one pack */
};

struct rewrite;

/* path: of the repository, whose boundary (shallow.h) is read here. objects, blobs (what has to go)
 * and words (char *: texts quoted from messages) are borrowed. dry: only to look what would come of
 * it, nothing is written. STORE_CORRUPT, STORE_IO. */
int rewrite_new(struct rewrite **out, const char *path, struct objects *objects,
                const struct id_set *blobs, const GPtrArray *words, bool dry,
                struct store_error *error);
void rewrite_free(struct rewrite *rewrite); /* accepts NULL */

/* From now on each commit is told: OBSERVER_REWRITE, of so many. observer is borrowed; NULL: to
 * nobody. */
void rewrite_observe(struct rewrite *rewrite, const struct observer *observer, uint64_t total);

/* *out: what takes the object's place; the same id: it stays; zero: nothing is left of it. The
 * second call for an object (or for one above it) costs only what is new. STORE_CORRUPT when
 * something is missing, STORE_LIMIT for trees too deep; STORE_CONFLICT when the observer gives up;
 * STORE_NO_SPACE, STORE_IO. */
int rewrite_object(struct rewrite *rewrite, const struct object_id *id, struct object_id *out,
                   struct store_error *error);

/* What rewrite_object() has found for a commit so far; false: it has not come upon it. */
bool rewrite_find(const struct rewrite *rewrite, const struct object_id *commit,
                  struct object_id *out);

/* The batch that is being filled: for objects that belong to the same change. Borrowed until the
 * next call of rewrite_object() or rewrite_flush(). */
struct object_batch *rewrite_batch(struct rewrite *rewrite);
/* Everything so far into packs, durable. */
int rewrite_flush(struct rewrite *rewrite, struct store_error *error);

/* Commits that have another id now. */
size_t rewrite_count(const struct rewrite *rewrite);
/* Of the boundary, those that changed: the new ids (struct object_id), borrowed. */
const GArray *rewrite_boundary(const struct rewrite *rewrite);

#endif
