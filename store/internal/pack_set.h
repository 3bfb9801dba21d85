/* The packs of one repository, as our own reader sees them.
 *
 * Nothing is opened before it is looked for. The directory is listed at first need and again when
 * an object isn't found and the directory has changed since. Packs are mapped when they are
 * searched, the one that had the last hit first, unless they are known to have one object only: a
 * large message's pack is not mapped to see that it holds no other. What had no hit between two
 * calls of pack_set_rest() is closed.
 *
 * There is no use for git's multi-pack-index here: it has no CRCs, so that the pack's own index
 * would be needed all the same, and finding an object in forty packs takes 0.5 us (of 250 objects
 * each) to 3 us (of 10,000), next to the last one found 0.02 us.
 *
 * For one thread.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_SET_H
#define ANNAL_STORE_INTERNAL_PACK_SET_H

#include <glib.h>
#include <stdbool.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/pack_file.h"

enum { PACK_SET_MAX = 1024 }; /* packs; libgit2 finds what is in others */

struct pack_set;

struct pack_set *pack_set_new(const char *directory); /* ".../objects/pack" */
void pack_set_free(struct pack_set *set);             /* accepts NULL */

/* As pack_file_read(), from the first pack that gives the object undamaged. STORE_NOT_FOUND: in no
 * pack that can be read here. */
int pack_set_read(struct pack_set *set, const struct object_id *id, enum object_type *type,
                  GBytes **content, struct store_error *error);
bool pack_set_has(struct pack_set *set, const struct object_id *id);
/* Whether a pack that is known here has it, whose files are still in the directory now: somebody
 * may have taken away what is mapped. One that others have made since the directory was listed last
 * does not count: who writes many objects can't have it listed for each of them. */
bool pack_set_stands(struct pack_set *set, const struct object_id *id);
/* There is a new pack of this name (40 digits). only: its one object; NULL: it has several. */
void pack_set_note(struct pack_set *set, const char *name, const struct object_id *only);

/* As pack_slices_open(). */
bool pack_set_slices(struct pack_set *set, const struct object_id *id, struct pack_slices *out);

/* As pack_inflate_open(). */
struct pack_inflate;
struct pack_inflate *pack_set_inflate(struct pack_set *set, const struct object_id *id);

/* Packs that were listed last. */
unsigned pack_set_count(const struct pack_set *set);

/* Closes what wasn't used since the last call, and what is gone from the directory. */
void pack_set_rest(struct pack_set *set);

#endif
