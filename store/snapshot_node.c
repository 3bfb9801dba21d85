#include "store/internal/snapshot_node.h"

#include <string.h>

#include "store/internal/snapshot_file.h"

const uint64_t NODE_SPAN[LEAF_DEPTH + 1] = {UINT64_C(10000000000), 100000000, 1000000, 10000, 100};

struct node *node_ref(struct node *node)
{
    if (node->map != NULL) {
        snapshot_map_ref(node->map);
    } else {
        node->references++;
    }
    return node;
}

void node_unref(struct node *node)
{
    if (node == NULL) {
        return;
    }
    if (node->map != NULL) {
        snapshot_map_unref(node->map);
        return;
    }
    if (--node->references > 0) {
        return;
    }
    if (node->depth < LEAF_DEPTH) {
        struct inner *inner = node_inner(node);

        for (uint32_t i = 0; i < inner->child_count; i++) {
            node_unref(inner->own[i].node);
        }
    }
    g_free(node);
}

void node_count_messages(struct node *node, const struct message *messages, size_t count)
{
    node->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        node->unseen += (messages[i].flags & MESSAGE_SEEN) == 0;
        node->deleted += (messages[i].flags & MESSAGE_DELETED) != 0;
        node->size += messages[i].size;
        node->modseq_max = MAX(node->modseq_max, messages[i].modseq);
    }
}

struct leaf *leaf_new(uint32_t number, const struct message *messages, size_t count)
{
    uint8_t packed[PACKED_LEAF_MAX];
    size_t length = packed_leaf_encode(packed, messages, count);
    struct leaf *leaf = g_malloc(sizeof(*leaf) + length);

    *leaf = (struct leaf){
        .node = {.references = 1, .number = number, .depth = LEAF_DEPTH},
        .checked = true,
        .length = (uint32_t)length,
        .packed = leaf->own,
    };
    memcpy(leaf->own, packed, length);
    node_count_messages(&leaf->node, messages, count);
    return leaf;
}

const uint8_t *leaf_packed(const struct leaf *leaf)
{
    if (!leaf->checked) {
        snapshot_map_check(leaf);
    }
    return leaf->packed;
}

size_t leaf_messages(const struct leaf *leaf, struct message out[LEAF_MESSAGES])
{
    return packed_leaf_decode(out, leaf_packed(leaf), leaf->node.number);
}

const struct child *inner_children(const struct inner *inner)
{
    if (inner->children == NULL) {
        snapshot_map_fill(inner);
    }
    return inner->children;
}

struct inner *inner_new(unsigned depth, uint32_t number, uint32_t capacity)
{
    struct inner *inner = g_malloc0(sizeof(*inner) + capacity * sizeof(inner->own[0]));

    inner->node.references = 1;
    inner->node.depth = (uint8_t)depth;
    inner->node.number = number;
    inner->capacity = capacity;
    inner->children = inner->own;
    return inner;
}

struct inner *inner_copy(const struct inner *inner, uint32_t capacity)
{
    struct inner *copy = inner_new(inner->node.depth, inner->node.number, capacity);
    const struct child *children = inner_children(inner);

    for (uint32_t i = 0; i < inner->child_count; i++) {
        inner_add(copy, node_ref(children[i].node));
    }
    return copy;
}

void inner_add(struct inner *inner, struct node *child)
{
    g_assert(inner->child_count < inner->capacity);
    inner->children[inner->child_count++] = (struct child){.node = child, .number = child->number};
}

struct inner *inner_shrink(struct inner *inner)
{
    g_assert(inner->node.map == NULL && inner->node.references == 1);
    inner->capacity = inner->child_count;
    inner = g_realloc(inner, sizeof(*inner) + inner->capacity * sizeof(inner->own[0]));
    inner->children = inner->own;
    return inner;
}

void inner_sum(struct inner *inner)
{
    struct node *node = &inner->node;

    node->count = node->unseen = node->deleted = 0;
    node->size = node->modseq_max = 0;
    for (uint32_t i = 0; i < inner->child_count; i++) {
        const struct node *child = inner->children[i].node;

        inner->children[i].start = node->count;
        node->count += child->count;
        node->unseen += child->unseen;
        node->deleted += child->deleted;
        node->size += child->size;
        node->modseq_max = MAX(node->modseq_max, child->modseq_max);
    }
}

size_t inner_lower_bound(const struct inner *inner, uint64_t number)
{
    const struct child *children = inner_children(inner);
    size_t low = 0, high = inner->child_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (children[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct node *inner_child(const struct inner *inner, uint32_t number)
{
    size_t at = inner_lower_bound(inner, number);

    return at < inner->child_count && inner->children[at].number == number
               ? inner->children[at].node
               : NULL;
}
