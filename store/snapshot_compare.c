#include <string.h>

#include "store/internal/snapshot_private.h"

struct walk {
    snapshot_walk visit;
    void *data;
    size_t after_index; /* of what comes next in after */
};

/* Two leaves with the same UIDs: only what differs is decoded. False: they can't be compared so. */
static bool walk_alike(struct walk *walk, const struct leaf *before, const struct leaf *after)
{
    const uint8_t *old = leaf_packed(before);
    const uint8_t *new = leaf_packed(after);
    bool differs[LEAF_MESSAGES];

    if (!packed_leaf_compare(old, new, differs)) {
        return false;
    }
    for (uint32_t i = 0; i < after->node.count; i++) {
        struct message a, b;

        if (differs[i]) {
            packed_leaf_message(&a, old, before->node.number, i);
            packed_leaf_message(&b, new, after->node.number, i);
            walk->visit(&a, &b, walk->after_index + i, walk->data);
        }
    }
    walk->after_index += after->node.count;
    return true;
}

/* One leaf on either side; NULL: none. */
static void walk_leaves(struct walk *walk, const struct leaf *before, const struct leaf *after)
{
    struct message old[LEAF_MESSAGES], new[LEAF_MESSAGES];
    size_t before_count = before != NULL ? leaf_messages(before, old) : 0;
    size_t after_count = after != NULL ? leaf_messages(after, new) : 0;
    size_t i = 0, k = 0;

    while (i < before_count || k < after_count) {
        const struct message *a = i < before_count ? &old[i] : NULL;
        const struct message *b = k < after_count ? &new[k] : NULL;

        if (a != NULL && b != NULL && a->uid != b->uid) {
            *(a->uid < b->uid ? &b : &a) = NULL;
        }
        walk->visit(a, b, walk->after_index, walk->data);
        i += a != NULL;
        k += b != NULL;
        walk->after_index += b != NULL;
    }
}

/* Takes the children of both side by side: a pair of those with the same number, or one of them
 * and NULL. False at the end. */
static bool next_pair(const struct inner *before, const struct inner *after, uint32_t *i,
                      uint32_t *k, struct node **a, struct node **b)
{
    *a = before != NULL && *i < before->child_count ? inner_children(before)[*i].node : NULL;
    *b = after != NULL && *k < after->child_count ? inner_children(after)[*k].node : NULL;
    if (*a != *b && *a != NULL && *b != NULL && (*a)->number != (*b)->number) {
        *((*a)->number < (*b)->number ? b : a) = NULL;
    }
    *i += *a != NULL;
    *k += *b != NULL;
    return *a != NULL || *b != NULL;
}

/* Recursion is as deep as the tree. */
static void walk_nodes(struct walk *walk, struct node *before, struct node *after)
{
    unsigned depth = before != NULL ? before->depth : after->depth;
    struct node *a, *b;
    uint32_t i = 0, k = 0;

    if (before == after) {
        walk->after_index += after->count;
    } else if (depth == LEAF_DEPTH && before != NULL && after != NULL &&
               walk_alike(walk, node_leaf(before), node_leaf(after))) {
        return;
    } else if (depth == LEAF_DEPTH) {
        walk_leaves(walk, before != NULL ? node_leaf(before) : NULL,
                    after != NULL ? node_leaf(after) : NULL);
    } else {
        while (next_pair(before != NULL ? node_inner(before) : NULL,
                         after != NULL ? node_inner(after) : NULL, &i, &k, &a, &b)) {
            walk_nodes(walk, a, b);
        }
    }
}

void snapshot_walk_both(const struct snapshot *before, const struct snapshot *after,
                        snapshot_walk visit, void *data)
{
    struct walk walk = {visit, data, 0};

    walk_nodes(&walk, &before->root->node, &after->root->node);
}

static void compare_message(const struct message *a, const struct message *b, size_t after_index,
                            void *data)
{
    struct snapshot_changes *out = data;

    if (b == NULL) {
        g_array_append_val(out->expunged, a->uid);
    } else if (a == NULL) {
        out->added++;
    } else if (a->modseq != b->modseq || a->flags != b->flags || a->keywords != b->keywords) {
        g_array_append_val(out->changed, after_index);
    }
}

void snapshot_compare(struct snapshot_changes *out, const struct snapshot *before,
                      const struct snapshot *after)
{
    out->expunged = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    out->changed = g_array_new(FALSE, FALSE, sizeof(size_t));
    out->added = 0;
    snapshot_walk_both(before, after, compare_message, out);
}

void snapshot_changes_release(struct snapshot_changes *changes)
{
    g_clear_pointer(&changes->expunged, g_array_unref);
    g_clear_pointer(&changes->changed, g_array_unref);
    changes->added = 0;
}

struct merged {
    struct message messages[LEAF_MESSAGES];
    size_t count;
    bool kept; /* one that only told has */
};

static void add_merged(const struct message *a, const struct message *b, size_t after_index,
                       void *data)
{
    struct merged *merged = data;

    (void)after_index;
    merged->messages[merged->count++] = b != NULL ? *b : *a;
    merged->kept = merged->kept || b == NULL;
}

static void merge_leaves(struct merged *merged, struct node *told, struct node *newest)
{
    struct walk walk = {add_merged, merged, 0};

    merged->count = 0;
    merged->kept = false;
    walk_leaves(&walk, node_leaf(told), node_leaf(newest));
}

/* Whether told has a message that newest has not. */
static bool keeps(struct node *told, struct node *newest)
{
    struct merged merged;
    struct node *a, *b;
    uint32_t i = 0, k = 0;
    bool kept = false;

    if (told == newest || told == NULL || newest == NULL) {
        return newest == NULL;
    }
    if (newest->depth == LEAF_DEPTH) {
        if (packed_leaf_same_uids(leaf_packed(node_leaf(told)), leaf_packed(node_leaf(newest)))) {
            return false;
        }
        merge_leaves(&merged, told, newest);
        return merged.kept;
    }
    while (!kept && next_pair(node_inner(told), node_inner(newest), &i, &k, &a, &b)) {
        kept = keeps(a, b);
    }
    return kept;
}

/* An owned node with the messages of both, newest's copy where both have one; newest itself if
 * told has no more. */
static struct node *merge_nodes(struct node *told, struct node *newest)
{
    struct merged merged;
    struct inner *out;
    struct node *a, *b;
    uint32_t i = 0, k = 0;

    if (!keeps(told, newest)) {
        return node_ref(newest);
    }
    if (newest == NULL) {
        return node_ref(told);
    }
    if (newest->depth == LEAF_DEPTH) {
        merge_leaves(&merged, told, newest);
        return &leaf_new(newest->number, merged.messages, merged.count)->node;
    }
    out = inner_new(newest->depth, newest->number, NODE_CHILDREN_MAX);
    while (next_pair(node_inner(told), node_inner(newest), &i, &k, &a, &b)) {
        inner_add(out, merge_nodes(a, b));
    }
    inner_sum(out);
    return &out->node;
}

struct snapshot *snapshot_keep_expunged(const struct snapshot *told, const struct snapshot *newest)
{
    struct node *root = merge_nodes(&told->root->node, &newest->root->node);
    struct snapshot *out;

    if (root == &newest->root->node) {
        node_unref(root);
        return snapshot_ref(newest);
    }
    out = snapshot_new(node_inner(root));
    memcpy(out->mailbox_id, newest->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = newest->uid_validity;
    out->uid_next = newest->uid_next;
    out->highest_modseq = newest->highest_modseq;
    out->commit = newest->commit;
    out->keywords = g_ptr_array_ref(newest->keywords);
    return out;
}
