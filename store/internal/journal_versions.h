/* Versions of metadata in the journal: a record holds what has changed since the version before
 * (git's delta), where that is in the journal, too. The writer and the replay see the same objects
 * in the same order, so the replay has every version that the writer has built upon.
 */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_VERSIONS_H
#define ANNAL_STORE_INTERNAL_JOURNAL_VERSIONS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/internal/delta.h"
#include "store/internal/objects_private.h"

enum { JOURNAL_VERSIONS_MAX = 64 }; /* objects that a writer remembers */

struct journal_versions;

struct journal_versions *journal_versions_new(void);
void journal_versions_free(struct journal_versions *versions); /* accepts NULL */

/* The version before this object, if it stands in a frame after that one; NULL: none. Borrowed
 * until the next change. */
const struct pending *journal_versions_before(const struct journal_versions *versions,
                                              const struct pending *object, uint64_t after);

/* The object, which owns its content, is the newest version now, in this frame. Nothing is kept of
 * objects that have no versions. */
void journal_versions_note(struct journal_versions *versions, const struct pending *object,
                           uint64_t frame);

/* The newest version with this id; NULL: none. */
const struct pending *journal_versions_find(const struct journal_versions *versions,
                                            const struct object_id *id);

size_t journal_versions_count(const struct journal_versions *versions);

#endif
