/* All changes that lead to some branches, the newest first: a queue of commits by time. */
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/history_private.h"

struct queued {
    int64_t time;
    uint64_t number; /* in the order of arrival */
    const struct history_branch *branch;
    bool with_past;
    struct object_id commit;
    struct object_data data;
};

struct history_walk {
    struct history *history;
    GPtrArray *heap;   /* struct queued *: each is newer than 2i + 1 and 2i + 2 */
    GHashTable *seen;  /* struct object_id: commits that are or were in the heap */
    struct queued *at; /* what was told last; its parents are not in the heap yet */
    uint64_t count;
};

static void queued_free(void *data)
{
    struct queued *queued = data;

    object_data_release(&queued->data);
    g_free(queued);
}

struct history_walk *history_walk_new(struct history *history)
{
    struct history_walk *walk = g_new0(struct history_walk, 1);

    walk->history = history;
    walk->heap = g_ptr_array_new_with_free_func(queued_free);
    walk->seen = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
    return walk;
}

void history_walk_free(struct history_walk *walk)
{
    if (walk == NULL) {
        return;
    }
    if (walk->at != NULL) {
        queued_free(walk->at);
    }
    g_ptr_array_unref(walk->heap);
    g_hash_table_destroy(walk->seen);
    g_free(walk);
}

/* --- the heap --- */

static bool comes_before(const struct history_walk *walk, guint a, guint b)
{
    const struct queued *x = g_ptr_array_index(walk->heap, a);
    const struct queued *y = g_ptr_array_index(walk->heap, b);

    return x->time != y->time ? x->time > y->time : x->number < y->number;
}

static void swap(struct history_walk *walk, guint a, guint b)
{
    gpointer kept = walk->heap->pdata[a];

    walk->heap->pdata[a] = walk->heap->pdata[b];
    walk->heap->pdata[b] = kept;
}

static void push(struct history_walk *walk, struct queued *queued)
{
    guint at = walk->heap->len;

    g_ptr_array_add(walk->heap, queued);
    while (at > 0 && comes_before(walk, at, (at - 1) / 2)) {
        swap(walk, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/* There is one. */
static struct queued *pop(struct history_walk *walk)
{
    guint last = walk->heap->len - 1;
    struct queued *top;
    guint at = 0;

    swap(walk, 0, last);
    top = g_ptr_array_steal_index(walk->heap, last);
    for (;;) {
        guint first = at;

        for (guint child = 2 * at + 1; child <= 2 * at + 2 && child < last; child++) {
            first = comes_before(walk, child, first) ? child : first;
        }
        if (first == at) {
            return top;
        }
        swap(walk, at, first);
        at = first;
    }
}

/* --- the walk --- */

static int enqueue(struct history_walk *walk, const struct history_branch *branch, bool with_past,
                   const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    struct queued *queued;
    int rc;

    if (g_hash_table_contains(walk->seen, id)) {
        return 0;
    }
    rc = history_read_commit(walk->history, id, &data, error);
    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc < 0) {
        object_data_release(&data);
        return rc;
    }
    queued = g_new0(struct queued, 1);
    queued->time = commit.time;
    queued->number = walk->count++;
    queued->branch = branch;
    queued->with_past = with_past;
    queued->commit = *id;
    queued->data = data;
    g_hash_table_add(walk->seen, g_memdup2(id, sizeof(*id)));
    push(walk, queued);
    return 0;
}

int history_walk_add(struct history_walk *walk, const struct history_branch *branch, bool with_past,
                     struct store_error *error)
{
    return enqueue(walk, branch, with_past, &branch->tip, error);
}

static int go_on(struct history_walk *walk, struct store_error *error)
{
    struct queued *at = walk->at;
    g_autoptr(GArray) parents = NULL;
    bool cut;
    int rc = 0;

    if (at == NULL) {
        return 0;
    }
    parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    if (at->with_past) {
        rc = history_read_parents(walk->history, &at->commit, &at->data, parents, &cut, error);
    }
    for (guint i = 0; rc == 0 && i < parents->len; i++) {
        rc = enqueue(walk, at->branch, true, &g_array_index(parents, struct object_id, i), error);
    }
    walk->at = NULL;
    queued_free(at);
    return rc;
}

/* A change to a mailbox has a commit there, too. */
static bool is_told_elsewhere(const struct history_entry *entry)
{
    return entry->branch->place == HISTORY_ACCOUNT &&
           (strcmp(entry->action, "CREATE") == 0 || strcmp(entry->action, "DELETE") == 0 ||
            strcmp(entry->action, "RENAME") == 0);
}

int history_next(struct history_walk *walk, struct history_entry *out, bool *more,
                 struct store_error *error)
{
    int rc;

    *more = false;
    do {
        rc = go_on(walk, error);
        if (rc < 0 || walk->heap->len == 0) {
            return rc;
        }
        walk->at = pop(walk);
        rc = history_read_words(walk->history, &walk->at->commit, &walk->at->data, out, error);
        if (rc < 0) {
            return rc;
        }
        out->branch = walk->at->branch;
    } while (is_told_elsewhere(out));
    *more = true;
    return 0;
}
