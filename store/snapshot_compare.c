#include <string.h>

#include "store/internal/snapshot_private.h"

/* One leaf on either side (NULL: none), after's first message standing at start. */
static void walk_leaves(const struct leaf *before, const struct leaf *after, size_t start,
                        snapshot_walk visit, void *data)
{
    uint32_t before_count = before != NULL ? before->count : 0;
    uint32_t after_count = after != NULL ? after->count : 0;
    uint32_t i = 0, k = 0;

    while (i < before_count || k < after_count) {
        const struct message *a = i < before_count ? &before->messages[i] : NULL;
        const struct message *b = k < after_count ? &after->messages[k] : NULL;

        if (a != NULL && b != NULL && a->uid != b->uid) {
            *(a->uid < b->uid ? &b : &a) = NULL;
        }
        visit(a, b, start + k, data);
        i += a != NULL;
        k += b != NULL;
    }
}

void snapshot_walk_both(const struct snapshot *before, const struct snapshot *after,
                        snapshot_walk visit, void *data)
{
    size_t i = 0, k = 0;

    while (i < before->leaf_count || k < after->leaf_count) {
        const struct leaf *a = i < before->leaf_count ? before->leaves[i] : NULL;
        const struct leaf *b = k < after->leaf_count ? after->leaves[k] : NULL;
        size_t start = b != NULL ? after->starts[k] : after->count;

        if (a != NULL && b != NULL && a->number != b->number) {
            *(a->number < b->number ? &b : &a) = NULL;
        }
        if (a != b) {
            walk_leaves(a, b, start, visit, data);
        }
        i += a != NULL;
        k += b != NULL;
    }
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

static void add_merged(const struct message *a, const struct message *b, size_t after_index,
                       void *data)
{
    struct leaf *leaf = data;

    (void)after_index;
    leaf->messages[leaf->count++] = b != NULL ? *b : *a;
}

/* True if told has a message that newest has not. */
static bool has_expunged(const struct leaf *told, const struct leaf *newest)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < told->count; i++) {
        while (k < newest->count && newest->messages[k].uid < told->messages[i].uid) {
            k++;
        }
        if (k == newest->count || newest->messages[k].uid != told->messages[i].uid) {
            return true;
        }
    }
    return false;
}

/* An owned leaf with the messages of both, newest's copy where both have one. */
static struct leaf *merge_leaves(struct leaf *told, struct leaf *newest, bool *kept)
{
    struct leaf *merged;

    if (newest == NULL) {
        *kept = true;
        return leaf_ref(told);
    }
    if (told == NULL || told == newest || !has_expunged(told, newest)) {
        return leaf_ref(newest);
    }
    merged = leaf_new(newest->number, LEAF_MESSAGES);
    walk_leaves(told, newest, 0, add_merged, merged);
    leaf_count(merged);
    *kept = true;
    return merged;
}

struct snapshot *snapshot_keep_expunged(const struct snapshot *told, const struct snapshot *newest)
{
    size_t capacity = told->leaf_count + newest->leaf_count;
    struct leaf **leaves;
    struct snapshot *out;
    size_t i = 0, k = 0, count = 0;
    bool kept = false;

    if (told == newest) {
        return snapshot_ref(newest);
    }
    leaves = g_new(struct leaf *, capacity);
    while (i < told->leaf_count || k < newest->leaf_count) {
        struct leaf *a = i < told->leaf_count ? told->leaves[i] : NULL;
        struct leaf *b = k < newest->leaf_count ? newest->leaves[k] : NULL;

        if (a != NULL && b != NULL && a->number != b->number) {
            *(a->number < b->number ? &b : &a) = NULL;
        }
        leaves[count++] = merge_leaves(a, b, &kept);
        i += a != NULL;
        k += b != NULL;
    }
    out = snapshot_new(leaves, count);
    memcpy(out->mailbox_id, newest->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = newest->uid_validity;
    out->uid_next = newest->uid_next;
    out->highest_modseq = newest->highest_modseq;
    out->commit = newest->commit;
    out->keywords = g_ptr_array_ref(newest->keywords);
    if (!kept) {
        snapshot_unref(out);
        out = snapshot_ref(newest);
    }
    return out;
}
