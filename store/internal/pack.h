/* Writes a git pack and its index: version 2 of both, every object stored (zlib level 0), so that a
 * message stands in the file as it is; versions of metadata as deltas against one another.
 *
 * The same calls make the same octets, always: a journal that is replayed makes the same packs.
 *
 *   pack_writer_open -> pack_writer_add... -> pack_writer_finish -> pack_writer_free
 *
 * Until pack_writer_finish() the pack is a file of another directory: a `git clone` of a path links
 * or copies whatever there is under objects/, and fails when a file grows or goes meanwhile. Then
 * the pack is renamed and the index last, so that nobody sees one without the other.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_H
#define ANNAL_STORE_INTERNAL_PACK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/internal/objects.h"
#include "store/object_id.h"

struct pack_writer;

/* For exactly count objects in directory (".../objects/pack"). scratch: the repository, where the
 * files stand until they are complete. All borrowed until free. */
int pack_writer_open(struct pack_writer **out, const char *directory, const char *scratch,
                     const struct host *host, uint32_t count, struct store_error *error);

int pack_writer_add(struct pack_writer *writer, const struct object_id *id, enum object_type type,
                    const void *data, size_t length, struct store_error *error);

/* The same for an object whose octets (at least one) come piece by piece: begin, append until all
 * of length are there, end, which tells its id: it is summed up together with the pack. Nothing
 * else is added meanwhile. */
int pack_writer_begin(struct pack_writer *writer, enum object_type type, size_t length,
                      struct store_error *error);
int pack_writer_append(struct pack_writer *writer, const void *data, size_t length,
                       struct store_error *error);
int pack_writer_end(struct pack_writer *writer, struct object_id *id, struct store_error *error);

/* From now on octets are summed up and written in that thread, of a pack whose objects come piece
 * by piece: the caller has other work at the same time. A failure there is told by a later call.
 * NULL: not so. Borrowed until free. */
struct errands;
void pack_writer_use(struct pack_writer *writer, struct errands *errands);

/* Between two entries: what waits in memory is written, and the memory is given back until it is
 * needed again. */
int pack_writer_rest(struct pack_writer *writer, struct store_error *error);

enum {
    PACK_DELTA_DEPTH = 30, /* deltas on deltas */
    PACK_DELTA_MIN = 64,   /* octets; smaller objects are always whole */
};

/* A version of something, and the one before, of the same type. */
struct pack_version {
    struct object_id id;
    enum object_type type;
    const void *data;
    size_t length;
    struct object_id base_id;
    const void *base_data;
    size_t base_length;
    const GByteArray *delta; /* what delta_encode() makes of the two; NULL: not made yet */
};

/* The same, but as a delta (OFS_DELTA) where that takes at most two thirds of the object and the
 * version before was added to this writer earlier. Made for trees and index files of which a little
 * changed. Whole, as by pack_writer_add(), where the base isn't in this pack, is PACK_DELTA_DEPTH
 * deltas deep already, or too different: so each version may simply be added against the one
 * before. Never for messages, which are handed out of the file as they stand there. */
int pack_writer_add_version(struct pack_writer *writer, const struct pack_version *version,
                            struct store_error *error);

/* Octets so far: where the next entry will begin. */
uint64_t pack_writer_offset(const struct pack_writer *writer);

/* Takes over an entry of another pack octet for octet: one that is no delta. crc is its CRC-32;
 * STORE_CORRUPT if it isn't. */
int pack_writer_add_raw(struct pack_writer *writer, const struct object_id *id, const void *entry,
                        size_t length, uint32_t crc, struct store_error *error);

enum {
    PACK_KEEP = 1 << 0,    /* also pack-NAME.keep, before the pack */
    PACK_DURABLE = 1 << 1, /* pack, index and their names survive power loss on return */
};

/* All of pack_writer_finish() but for what makes the pack visible: for a thread that waits for the
 * disk while the writer's own has other work, and leaves the writer alone. */
int pack_writer_complete(struct pack_writer *writer, unsigned flags, struct store_error *error);
/* Makes the pack visible as pack-NAME.{pack,idx}; completes it first where nobody has, with the
 * same flags. On failure nothing is left behind that git would see. */
int pack_writer_finish(struct pack_writer *writer, unsigned flags, struct store_error *error);

/* NAME: 40 digits, the pack's checksum. Only after pack_writer_finish(); borrowed. */
const char *pack_writer_name(const struct pack_writer *writer);

/* Accepts NULL; takes the temporary file of an unfinished pack away. */
void pack_writer_free(struct pack_writer *writer);

/* A new name in the directory scratch; *result is 0 or a negative errno. */
char *pack_temporary_path(const char *scratch, const struct host *host, int *result);

/* What our .keep files hold; and the beginning and end of our temporary names. */
#define PACK_KEEP_TEXT   "annal\n"
#define PACK_TEMP_PREFIX "annal-"
#define PACK_TEMP_SUFFIX ".tmp"

/* STORE_NO_SPACE or STORE_IO from a negative errno of the host table. */
int host_fail(struct store_error *error, int result, const char *what);

#endif
