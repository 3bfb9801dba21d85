/* Copies the objects of several packs into a new one, each object once and entry by entry, without
 * unpacking them: whole objects octet for octet, deltas with the way to their base written anew.
 *
 *   pack_copy_new -> pack_copy_add... -> pack_copy_begin -> pack_copy_step... -> pack_copy_free
 *
 * A delta's base is always written before it, so all deltas of the new pack are OFS_DELTA. Where an
 * object is in several packs the first one's entry is taken; no chain can become a circle by that,
 * for an entry's base is then of its own pack or an earlier one. Blocks on the disk.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_COPY_H
#define ANNAL_STORE_INTERNAL_PACK_COPY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/internal/objects.h"
#include "store/object_id.h"

enum {
    PACK_COPY_DEPTH_MAX = 250, /* deltas from an object to one that is whole */
    PACK_COPY_OBJECTS_MAX = 16 * 1024 * 1024,
    PACK_NAME_LENGTH = 5 + OBJECT_ID_HEX, /* "pack-" and 40 digits */
};

struct pack_copy;

/* All borrowed; directory is ".../objects/pack", scratch as for pack_writer_open(). */
struct pack_copy *pack_copy_new(const char *directory, const char *scratch,
                                const struct host *host);
void pack_copy_free(struct pack_copy *copy); /* accepts NULL; gives up what is not finished */

/* Only objects for which wanted() is true, and what their deltas need. */
typedef bool (*pack_copy_wanted)(const struct object_id *id, void *data);
void pack_copy_only(struct pack_copy *copy, pack_copy_wanted wanted, void *data);
/* Objects for which never() is true are not copied in any case: what is a delta of one of them is
 * written whole, as read() gives it (a new *content, which is unreferenced here). data is for both.
 * Before pack_copy_begin(). */
typedef int (*pack_copy_read)(const struct object_id *id, enum object_type *type, GBytes **content,
                              void *data, struct store_error *error);
void pack_copy_never(struct pack_copy *copy, pack_copy_wanted never, pack_copy_read read,
                     void *data);
/* Deflates what is stored (zlib, level 6) where that makes it smaller by a sixteenth. */
void pack_copy_compress(struct pack_copy *copy);

/* Adds the pack with this name ("pack-..." without suffix). STORE_CORRUPT when pack or index are
 * not there or not well-formed, STORE_LIMIT; the others may be copied without it. */
int pack_copy_add(struct pack_copy *copy, const char *name, struct store_error *error);

/* How many objects it will copy, now or after pack_copy_begin(). */
uint32_t pack_copy_objects(const struct pack_copy *copy);

/* After the last pack_copy_add(). On failure the copy is of no use any more, here and below.
 * STORE_CORRUPT, STORE_LIMIT: pack_copy_culprit() is the pack to leave out. STORE_NO_SPACE,
 * STORE_IO, STORE_NO_MEMORY. */
int pack_copy_begin(struct pack_copy *copy, struct store_error *error);

/* Copies about this many octets. 1: there is more to do. 0: the new pack is there, visible and
 * durable. An entry whose CRC is wrong is STORE_CORRUPT. */
int pack_copy_step(struct pack_copy *copy, size_t octets, struct store_error *error);

/* The new pack, "pack-...": only when pack_copy_step() has returned 0. Borrowed. */
const char *pack_copy_name(const struct pack_copy *copy);
/* Octets of the new pack so far. */
uint64_t pack_copy_written(const struct pack_copy *copy);

/* The pack that made it fail; NULL if none did. Borrowed. */
const char *pack_copy_culprit(const struct pack_copy *copy);

#endif
