/* What a snapshot file looks like (snapshot_file.h); numbers are in the byte order of the machine
 * that wrote it:
 *
 *   struct layout_head
 *   the mailbox's properties, as in git
 *   struct layout_group for each directory of leaves, numbers ascending
 *   struct layout_inner for each directory above these, those of depth 1 first, numbers ascending
 *   struct layout_leaf for each leaf, numbers ascending
 *   the packed leaves one after the other, in the order of their entries
 *
 * A CRC in the head vouches for all before the leaves, one in each group for the entries of its
 * leaves, one in each of these for the packed leaf. So a mailbox opens from some 100 octets for
 * each 10,000 messages; all else is looked at when it is needed.
 */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_LAYOUT_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_LAYOUT_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "store/internal/snapshot_node.h"

enum {
    LAYOUT_VERSION = 2, /* a file of any other is none */
    LAYOUT_BYTE_ORDER = 0x01020304,
    GROUP_DEPTH = LEAF_DEPTH - 1,
};

#define LAYOUT_MAGIC "annalsnp"

struct layout_head {
    char magic[8];
    uint32_t version;
    uint32_t order; /* LAYOUT_BYTE_ORDER */
    uint32_t crc;   /* of all that follows, up to the entries of the leaves */
    uint32_t properties_length;
    uint64_t length;             /* of the file */
    uint32_t counts[LEAF_DEPTH]; /* nodes of depth 1 to LEAF_DEPTH */
    struct object_id commit;
    uint8_t unused[4];
};
G_STATIC_ASSERT(sizeof(struct layout_head) == 72);

enum { LAYOUT_CRC_FROM = offsetof(struct layout_head, properties_length) };

/* Sums over its leaves. */
struct layout_group {
    uint64_t size;
    uint64_t modseq_max;
    uint64_t length; /* of the packed leaves together */
    uint32_t number;
    uint32_t crc; /* of the entries of its leaves */
    uint32_t leaves;
    uint32_t count;
    uint32_t unseen;
    uint32_t deleted;
    uint32_t first_unseen; /* index in the group; 0 where none is */
    struct object_id tree;
};
G_STATIC_ASSERT(sizeof(struct layout_group) == 72);

struct layout_inner {
    uint32_t number;
    struct object_id tree;
};
G_STATIC_ASSERT(sizeof(struct layout_inner) == 24);

struct layout_leaf {
    uint64_t size;
    uint64_t modseq_max;
    uint32_t number;
    uint32_t crc; /* of the packed leaf */
    uint32_t length;
    uint8_t count;
    uint8_t unseen;
    uint8_t deleted;
    uint8_t unused;
    struct object_id tree;
    uint8_t unused_too[4];
};
G_STATIC_ASSERT(sizeof(struct layout_leaf) == 56);

#endif
