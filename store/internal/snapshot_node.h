/* The parts of a snapshot: a tree of nodes just like the git tree that it was read from.
 *
 * The root (depth 0) has the directories of a UID's first pair of digits as its children, and so
 * on down to the leaves (LEAF_DEPTH). A node is immutable once two hold a reference to it; versions
 * of a mailbox share what did not change, so that a change costs its path from the root. Nodes of a
 * snapshot file stand in memory that belongs to the map: a reference to one is one to the map. Its
 * leaves are made when their directory is first looked into.
 */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_NODE_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/internal/packed_leaf.h"
#include "store/snapshot.h"

enum {
    LEAF_DEPTH = 4,
    NODE_CHILDREN_MAX = 100,
};

/* UIDs of a node at each depth: 2^32 rounded up, 10^8, 10^6, 10^4, 10^2. */
extern const uint64_t NODE_SPAN[LEAF_DEPTH + 1];

struct snapshot_map;

struct node {
    unsigned references;      /* where there is no map */
    uint32_t number;          /* UID / NODE_SPAN[depth] */
    struct snapshot_map *map; /* NULL: on the heap */
    uint64_t size;            /* octets, sum */
    uint64_t modseq_max;
    uint32_t count; /* messages */
    uint32_t unseen;
    uint32_t deleted;
    struct object_id tree; /* zero: never written, or not known */
    uint8_t depth;
};

/* At least one message. */
struct leaf {
    struct node node;
    bool checked; /* packed is known to be good; else the map's CRC has to say so */
    bool lost;    /* stands for messages that could not be read: never to be written */
    uint32_t crc; /* of packed */
    uint32_t length;
    const uint8_t *packed; /* read through leaf_packed() */
    uint8_t own[];
};

struct child {
    struct node *node;
    uint32_t number; /* its own */
    uint32_t start;  /* messages in the children before it */
};

struct inner {
    struct node node;
    uint32_t child_count;
    uint32_t capacity;
    struct child *children; /* numbers ascend; read through inner_children() */
    struct child own[];     /* where there is no map */
};

struct node *node_ref(struct node *node);
void node_unref(struct node *node); /* accepts NULL; recursion as deep as the tree */

static inline struct leaf *node_leaf(struct node *node)
{
    g_assert(node->depth == LEAF_DEPTH);
    return (struct leaf *)(void *)node;
}

static inline struct inner *node_inner(struct node *node)
{
    g_assert(node->depth < LEAF_DEPTH);
    return (struct inner *)(void *)node;
}

/* Sets the totals of a new node to those of the messages. */
void node_count_messages(struct node *node, const struct message *messages, size_t count);

/* Packs 1 to LEAF_MESSAGES messages; the tree is zero. */
struct leaf *leaf_new(uint32_t number, const struct message *messages, size_t count);
/* The checked octets; a leaf of a file that is damaged is read from git now. */
const uint8_t *leaf_packed(const struct leaf *leaf);
/* Returns the count. */
size_t leaf_messages(const struct leaf *leaf, struct message out[LEAF_MESSAGES]);

/* The children; those of a file's directory are made now. */
const struct child *inner_children(const struct inner *inner);

struct inner *inner_new(unsigned depth, uint32_t number, uint32_t capacity);
/* A copy of its own with room for capacity children, whose tree is zero. */
struct inner *inner_copy(const struct inner *inner, uint32_t capacity);
/* Appends; takes the reference. There must be room. */
void inner_add(struct inner *inner, struct node *child);
/* Gives back the room for more children; the node, which nobody else holds, may move. */
struct inner *inner_shrink(struct inner *inner);
/* Sets the starts and totals from the children. */
void inner_sum(struct inner *inner);
/* Position of the first child whose number is at least this. */
size_t inner_lower_bound(const struct inner *inner, uint64_t number);
/* NULL if there is none with this number. */
struct node *inner_child(const struct inner *inner, uint32_t number);

#endif
