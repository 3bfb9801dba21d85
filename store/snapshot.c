#include "store/snapshot.h"

#include <string.h>

#include "store/internal/snapshot_file.h"
#include "store/internal/snapshot_private.h"

struct snapshot *snapshot_new(struct inner *root)
{
    struct snapshot *snapshot = g_new0(struct snapshot, 1);

    snapshot->references = 1;
    snapshot->root = root;
    return snapshot;
}

/* References are counted behind a const pointer: what is const is the state of the mailbox. */
static struct snapshot *counted(const struct snapshot *snapshot)
{
    return (struct snapshot *)(uintptr_t)snapshot;
}

struct snapshot *snapshot_ref(const struct snapshot *snapshot)
{
    counted(snapshot)->references++;
    return counted(snapshot);
}

void snapshot_unref(const struct snapshot *snapshot)
{
    struct snapshot *last;

    if (snapshot == NULL || --counted(snapshot)->references > 0) {
        return;
    }
    last = counted(snapshot);
    node_unref(&last->root->node);
    g_clear_pointer(&last->keywords, g_ptr_array_unref);
    g_free(last);
}

uint32_t snapshot_uid_validity(const struct snapshot *snapshot)
{
    return snapshot->uid_validity;
}

uint32_t snapshot_uid_next(const struct snapshot *snapshot)
{
    return snapshot->uid_next;
}

uint64_t snapshot_highest_modseq(const struct snapshot *snapshot)
{
    return snapshot->highest_modseq;
}

const char *snapshot_mailbox_id(const struct snapshot *snapshot)
{
    return snapshot->mailbox_id;
}

const struct object_id *snapshot_commit(const struct snapshot *snapshot)
{
    return &snapshot->commit;
}

size_t snapshot_count(const struct snapshot *snapshot)
{
    return snapshot->root->node.count;
}

/* Goes down to the leaf that has the message at this index. */
static void approach(struct snapshot *snapshot, size_t index)
{
    struct node *node = &snapshot->root->node;
    size_t start = 0;

    while (node->depth < LEAF_DEPTH) {
        const struct inner *inner = node_inner(node);
        const struct child *children = inner_children(inner);
        size_t low = 0, high = inner->child_count;

        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;

            if (start + children[middle].start <= index) {
                low = middle;
            } else {
                high = middle;
            }
        }
        start += children[low].start;
        node = children[low].node;
    }
    snapshot->near = node_leaf(node);
    snapshot->near_start = start;
}

static void stay_near(const struct snapshot *snapshot, size_t index)
{
    g_assert(index < snapshot_count(snapshot));
    if (snapshot->near == NULL || index < snapshot->near_start ||
        index - snapshot->near_start >= snapshot->near->node.count) {
        approach(counted(snapshot), index);
    }
}

struct message snapshot_message(const struct snapshot *snapshot, size_t index)
{
    struct message out;

    stay_near(snapshot, index);
    packed_leaf_message(&out, leaf_packed(snapshot->near), snapshot->near->node.number,
                        index - snapshot->near_start);
    return out;
}

const uint8_t *snapshot_flags(const struct snapshot *snapshot, size_t index, size_t *count)
{
    stay_near(snapshot, index);
    size_t at = index - snapshot->near_start;

    *count = snapshot->near->node.count - at;
    return packed_leaf_flags(leaf_packed(snapshot->near)) + at;
}

size_t snapshot_lower_bound(const struct snapshot *snapshot, uint32_t uid)
{
    struct node *node = &snapshot->root->node;
    size_t start = 0;

    while (node->depth < LEAF_DEPTH) {
        const struct inner *inner = node_inner(node);
        uint64_t wanted = uid / NODE_SPAN[node->depth + 1];
        size_t at = inner_lower_bound(inner, wanted);

        if (at == inner->child_count) {
            return start + node->count;
        }
        start += inner->children[at].start;
        if (inner->children[at].number > wanted) {
            return start;
        }
        node = inner->children[at].node;
    }
    return start + packed_leaf_lower_bound(leaf_packed(node_leaf(node)), uid % LEAF_MESSAGES);
}

/* In the leaf where something was looked for last. */
static bool find_near(const struct snapshot *snapshot, uint32_t uid, size_t *index)
{
    const struct leaf *near = snapshot->near;
    size_t at;

    if (near == NULL || near->node.number != uid / LEAF_MESSAGES) {
        return false;
    }
    at = packed_leaf_lower_bound(leaf_packed(near), uid % LEAF_MESSAGES);
    *index = snapshot->near_start + at;
    return at < near->node.count && packed_leaf_pair(leaf_packed(near), at) == uid % LEAF_MESSAGES;
}

bool snapshot_find(const struct snapshot *snapshot, uint32_t uid, size_t *index)
{
    if (find_near(snapshot, uid, index)) {
        return true;
    }
    *index = snapshot_lower_bound(snapshot, uid);
    if (*index == snapshot_count(snapshot)) {
        return false;
    }
    stay_near(snapshot, *index);
    return find_near(snapshot, uid, index);
}

size_t snapshot_keyword_count(const struct snapshot *snapshot)
{
    return snapshot->keywords->len;
}

const char *snapshot_keyword(const struct snapshot *snapshot, size_t index)
{
    g_assert(index < snapshot->keywords->len);
    return g_ptr_array_index(snapshot->keywords, index);
}

bool snapshot_keyword_find(const struct snapshot *snapshot, const char *keyword, size_t *index)
{
    return keywords_find(snapshot->keywords, keyword, strlen(keyword), index);
}

size_t snapshot_unseen(const struct snapshot *snapshot)
{
    return snapshot->root->node.unseen;
}

size_t snapshot_deleted(const struct snapshot *snapshot)
{
    return snapshot->root->node.deleted;
}

uint64_t snapshot_size(const struct snapshot *snapshot)
{
    return snapshot->root->node.size;
}

bool snapshot_first_unseen(const struct snapshot *snapshot, size_t *index)
{
    struct node *node = &snapshot->root->node;

    if (node->unseen == 0) {
        return false;
    }
    *index = 0;
    while (node->depth < LEAF_DEPTH) {
        const struct child *child = node_inner(node)->children;

        if (child == NULL) {
            *index += snapshot_map_first_unseen(node_inner(node));
            return true;
        }
        while (child->node->unseen == 0) {
            child++;
        }
        *index += child->start;
        node = child->node;
    }
    *index += packed_leaf_first_unseen(leaf_packed(node_leaf(node)));
    return true;
}
