/* One pack with its index (both version 2), mapped into memory: look-up and reading.
 *
 * An object that is stored whole, as our own writer does, is a piece of the mapping and is handed
 * out without a copy; compressed ones and deltas within the pack (OFS_DELTA and REF_DELTA) are
 * taken apart here. What is left to libgit2 is told by STORE_UNSUPPORTED: an index of version 1, a
 * delta against an object of another pack, a longer chain or larger object than the limits here, a
 * tag.
 *
 * Nothing in the files is believed. Offsets and sizes are checked before use. The entry of an
 * object that is whole has to have the CRC-32 which the index, itself bound to its pack by the
 * pack's checksum, has for it; what is made of deltas has to hash to its name. So damage gives
 * STORE_CORRUPT, never other octets. The CRC is most of what reading a stored message of 4 kB
 * costs, 0.7 us of 0.9 (SHA-1 would take 2.1, zlib's own Adler-32 1.1, and libgit2 takes 1.8 in
 * all); an answer that sends it takes ten times as much.
 *
 * A pack that is mapped may be unlinked or replaced by a rename, by us or by git, and is read on.
 * Neither we nor git ever shorten a pack, so reading the mapping can't fault; a disk that fails to
 * deliver a page ends the process, as it does for any mapped file.
 *
 * A pack is immutable once open and may be used from many threads.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_FILE_H
#define ANNAL_STORE_INTERNAL_PACK_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/object_id.h"

enum {
    PACK_CHAIN_MAX = 4096,                     /* deltas on deltas that are followed */
    PACK_DELTA_OBJECT_MAX = 128 * 1024 * 1024, /* octets that are made of deltas */
    PACK_MAPPED_MAX = 16384,                   /* packs in the whole process, two mappings each */
};

struct pack_file;

/* path: ".../pack-NAME", without a suffix. STORE_NOT_FOUND, STORE_UNSUPPORTED, STORE_CORRUPT,
 * STORE_LIMIT (PACK_MAPPED_MAX), STORE_NO_MEMORY, STORE_IO. The caller owns *out. */
int pack_file_open(struct pack_file **out, const char *path, struct store_error *error);
struct pack_file *pack_file_ref(struct pack_file *pack);
void pack_file_unref(struct pack_file *pack); /* accepts NULL */

uint32_t pack_file_count(const struct pack_file *pack);

/* The id at a position in the index; borrowed from the pack. */
const struct object_id *pack_file_id(const struct pack_file *pack, uint32_t position);

/* The object's position in the index. */
bool pack_file_find(const struct pack_file *pack, const struct object_id *id, uint32_t *position);

/* The whole object, for g_bytes_unref(); it keeps the mapping alive where it is a piece of it.
 * STORE_UNSUPPORTED: libgit2 may know better. STORE_CORRUPT, STORE_NO_MEMORY. */
int pack_file_read(struct pack_file *pack, uint32_t position, enum object_type *type,
                   GBytes **content, struct store_error *error);

/* An object of any size that is stored whole, in blocks as our writer makes them, read piece by
 * piece without a copy.
 *
 *   pack_slices_open -> pack_slices_next... -> pack_slices_release
 */
struct pack_slices {
    uint64_t length; /* of the object */
    enum object_type type;
    /* private */
    struct pack_file *pack;
    size_t entry;    /* offset in the pack */
    size_t first;    /* ... of the first block */
    uint64_t next;   /* what was read without a gap from 0 ends there in the object, ... */
    size_t crc_next; /* ... and there in the pack */
    uint32_t crc;    /* of the pack from entry to crc_next */
    uint32_t expected;
};

/* False if the object isn't stored like that: pack_file_read() then tells. Looks at a few octets
 * only, whatever the length. */
bool pack_slices_open(struct pack_slices *out, struct pack_file *pack, uint32_t position);
void pack_slices_release(struct pack_slices *slices);

/* The octets at that offset (below length), at least one and at most max (at least one) of them,
 * for g_bytes_unref(): a piece of the mapping, which stays as long as the piece does. Who reads
 * upwards from 0 without a gap gets STORE_CORRUPT in place of the last piece if any octet of the
 * object is damaged; who doesn't isn't told. STORE_CORRUPT. */
int pack_slices_next(struct pack_slices *slices, uint64_t offset, size_t max, GBytes **out,
                     struct store_error *error);

#endif
