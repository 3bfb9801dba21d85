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
    GHashTable *seen;  /* struct object_id -> struct queued *: in the heap, told, or told_alone */
    struct queued *at; /* what was told last; its parents are not in the heap yet */
    uint64_t count;
};

/* What stands in the table for commits that have left the heap: with their past, or without. */
static const struct queued told = {.with_past = true};
static const struct queued told_alone = {.with_past = false};

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
                   const struct object_id *id, struct store_error *error);

static int enqueue_parents(struct history_walk *walk, const struct history_branch *branch,
                           const struct object_id *id, const struct object_data *data,
                           struct store_error *error)
{
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    bool cut;
    int rc = history_read_parents(walk->history, id, data, parents, &cut, error);

    for (guint i = 0; rc == 0 && i < parents->len; i++) {
        rc = enqueue(walk, branch, true, &g_array_index(parents, struct object_id, i), error);
    }
    return rc;
}

static void mark(struct history_walk *walk, const struct object_id *id, const struct queued *state)
{
    g_hash_table_insert(walk->seen, g_memdup2(id, sizeof(*id)), (gpointer)state);
}

/* It was, or will be told as the newest of a branch; now its past is wanted, too. */
static int add_past(struct history_walk *walk, const struct history_branch *branch,
                    struct queued *state, const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    int rc;

    if (state != &told_alone) {
        state->with_past = true;
        state->branch = branch;
        return 0;
    }
    mark(walk, id, &told);
    rc = history_read_commit(walk->history, id, &data, error);
    if (rc == 0) {
        rc = enqueue_parents(walk, branch, id, &data, error);
        object_data_release(&data);
    }
    return rc;
}

static int enqueue_new(struct history_walk *walk, const struct history_branch *branch,
                       bool with_past, const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    struct queued *queued;
    int rc = history_read_commit(walk->history, id, &data, error);

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
    mark(walk, id, queued);
    push(walk, queued);
    return 0;
}

static int enqueue(struct history_walk *walk, const struct history_branch *branch, bool with_past,
                   const struct object_id *id, struct store_error *error)
{
    struct queued *state = g_hash_table_lookup(walk->seen, id);

    if (state == NULL) {
        return enqueue_new(walk, branch, with_past, id, error);
    }
    return with_past && !state->with_past ? add_past(walk, branch, state, id, error) : 0;
}

int history_walk_add(struct history_walk *walk, const struct history_branch *branch, bool with_past,
                     struct store_error *error)
{
    return enqueue(walk, branch, with_past, &branch->tip, error);
}

static int go_on(struct history_walk *walk, struct store_error *error)
{
    struct queued *at = walk->at;
    int rc = 0;

    if (at != NULL && at->with_past) {
        rc = enqueue_parents(walk, at->branch, &at->commit, &at->data, error);
    }
    walk->at = NULL;
    if (at != NULL) {
        queued_free(at);
    }
    return rc;
}

/* A change to a mailbox ("RENAME mailbox ...") has a commit there, too. */
static bool is_told_elsewhere(const struct history_entry *entry)
{
    return entry->branch->place == HISTORY_ACCOUNT &&
           g_str_has_prefix(entry->subject + strcspn(entry->subject, " "), " mailbox ");
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
        mark(walk, &walk->at->commit, walk->at->with_past ? &told : &told_alone);
        rc = history_read_words(walk->history, &walk->at->commit, &walk->at->data, out, error);
        if (rc < 0) {
            return rc;
        }
        out->branch = walk->at->branch;
    } while (is_told_elsewhere(out));
    *more = true;
    return 0;
}
