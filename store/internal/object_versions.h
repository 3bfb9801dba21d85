/* Which object of a batch is the version before of which: what a pack writer is told, so that
 * versions of metadata become deltas.
 *
 * It is read off the objects themselves, so that the same objects in the same order make the same
 * pack, wherever they come from: two of one type whose first 64 octets are the same. That joins the
 * versions of a leaf's tree and index (of which the first entries say which leaf), of a directory
 * and of a mailbox's properties; commits follow the commit before. Blobs that don't begin as our
 * metadata does are messages and stay whole.
 */
#ifndef ANNAL_STORE_INTERNAL_OBJECT_VERSIONS_H
#define ANNAL_STORE_INTERNAL_OBJECT_VERSIONS_H

#include "store/error.h"
#include "store/internal/objects_private.h"
#include "store/internal/pack.h"

struct object_versions;

/* For tables of struct pending: an object that may have versions, and those of one thing as one. */
bool object_has_versions(const struct pending *pending);
unsigned object_version_hash(const void *key);
int object_version_equal(const void *a, const void *b);

struct object_versions *object_versions_new(void);
void object_versions_free(struct object_versions *versions); /* accepts NULL */

/* Adds the object to the writer, as a delta of the version before where there is one, which is_old
 * from then on. pending is borrowed until the end of versions. */
int object_versions_add(struct object_versions *versions, struct pack_writer *writer,
                        struct pending *pending, struct store_error *error);

#endif
