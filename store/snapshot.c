#include "store/snapshot.h"

#include <string.h>

#include "store/internal/snapshot_private.h"

const uint32_t DIRECTORY_SPAN[DIRECTORY_LEVELS] = {100000000, 1000000, 10000};

struct leaf *leaf_new(uint32_t number, size_t capacity)
{
    struct leaf *leaf = g_malloc0(sizeof(*leaf) + capacity * sizeof(leaf->messages[0]));

    leaf->references = 1;
    leaf->number = number;
    return leaf;
}

struct leaf *leaf_ref(struct leaf *leaf)
{
    leaf->references++;
    return leaf;
}

void leaf_unref(struct leaf *leaf)
{
    if (leaf != NULL && --leaf->references == 0) {
        g_free(leaf);
    }
}

void leaf_count(struct leaf *leaf)
{
    leaf->unseen = 0;
    leaf->deleted = 0;
    leaf->size = 0;
    leaf->modseq_max = 0;
    for (uint32_t i = 0; i < leaf->count; i++) {
        const struct message *message = &leaf->messages[i];

        leaf->unseen += (message->flags & MESSAGE_SEEN) == 0;
        leaf->deleted += (message->flags & MESSAGE_DELETED) != 0;
        leaf->size += message->size;
        leaf->modseq_max = MAX(leaf->modseq_max, message->modseq);
    }
}

struct snapshot *snapshot_new(struct leaf **leaves, size_t leaf_count)
{
    struct snapshot *snapshot = g_new0(struct snapshot, 1);

    snapshot->references = 1;
    snapshot->leaves = leaves;
    snapshot->leaf_count = leaf_count;
    snapshot->starts = g_new(uint32_t, leaf_count);
    for (size_t i = 0; i < leaf_count; i++) {
        snapshot->starts[i] = (uint32_t)snapshot->count;
        snapshot->count += leaves[i]->count;
        snapshot->unseen += leaves[i]->unseen;
        snapshot->deleted += leaves[i]->deleted;
        snapshot->size += leaves[i]->size;
    }
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
    for (size_t i = 0; i < last->leaf_count; i++) {
        leaf_unref(last->leaves[i]);
    }
    for (int i = 0; i < DIRECTORY_LEVELS; i++) {
        g_clear_pointer(&last->directories[i], g_array_unref);
    }
    g_clear_pointer(&last->keywords, g_ptr_array_unref);
    g_free(last->leaves);
    g_free(last->starts);
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
    return snapshot->count;
}

struct message snapshot_message(const struct snapshot *snapshot, size_t index)
{
    size_t low = 0, high = snapshot->leaf_count;

    g_assert(index < snapshot->count);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (snapshot->starts[middle] <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return snapshot->leaves[low]->messages[index - snapshot->starts[low]];
}

size_t leaves_lower_bound(struct leaf *const *leaves, size_t count, uint32_t number)
{
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;

        if (leaves[middle]->number < number) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return low;
}

size_t snapshot_lower_bound(const struct snapshot *snapshot, uint32_t uid)
{
    size_t at = leaves_lower_bound(snapshot->leaves, snapshot->leaf_count, uid / LEAF_MESSAGES);
    const struct leaf *leaf;
    uint32_t i = 0;

    if (at == snapshot->leaf_count) {
        return snapshot->count;
    }
    leaf = snapshot->leaves[at];
    while (i < leaf->count && leaf->messages[i].uid < uid) {
        i++;
    }
    return snapshot->starts[at] + i;
}

bool snapshot_find(const struct snapshot *snapshot, uint32_t uid, size_t *index)
{
    *index = snapshot_lower_bound(snapshot, uid);
    return *index < snapshot->count && snapshot_message(snapshot, *index).uid == uid;
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
    return snapshot->unseen;
}

size_t snapshot_deleted(const struct snapshot *snapshot)
{
    return snapshot->deleted;
}

uint64_t snapshot_size(const struct snapshot *snapshot)
{
    return snapshot->size;
}

bool snapshot_first_unseen(const struct snapshot *snapshot, size_t *index)
{
    for (size_t i = 0; i < snapshot->leaf_count; i++) {
        const struct leaf *leaf = snapshot->leaves[i];

        for (uint32_t k = 0; leaf->unseen > 0 && k < leaf->count; k++) {
            if ((leaf->messages[k].flags & MESSAGE_SEEN) == 0) {
                *index = snapshot->starts[i] + k;
                return true;
            }
        }
    }
    return false;
}
