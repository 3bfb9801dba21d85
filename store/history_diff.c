/* The difference of two states of a mailbox, read from their trees: what they share is not read. */
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/history_private.h"
#include "store/internal/snapshot_load.h"

struct diff {
    struct history *history;
    const struct history_root *before; /* NULL: nothing was there */
    const struct history_root *after;
    const GArray *ranges;
    history_visit visit;
    void *data;
    bool moved; /* a keyword may have another place in after than in before */
    bool stopped;
    GString *flags_before;
    GString *flags_after;
};

/* --- roots --- */

void history_root_unref(struct history_root *root)
{
    if (root == NULL || --root->references > 0) {
        return;
    }
    properties_release(&root->properties);
    if (root->directories != NULL) {
        g_array_unref(root->directories);
    }
    g_free(root);
}

int history_root_load(struct history_root **out, struct history *history,
                      const struct object_id *tree, struct store_error *error)
{
    struct history_root *root;
    int rc;

    for (size_t i = 0; i < G_N_ELEMENTS(history->recent); i++) {
        if (history->recent[i] != NULL && object_id_equal(&history->recent[i]->tree, tree)) {
            history->recent[i]->references++;
            *out = history->recent[i];
            return 0;
        }
    }
    root = g_new0(struct history_root, 1);
    root->references = 1;
    root->tree = *tree;
    rc = root_load(&root->properties, &root->directories, history->objects, tree, error);
    if (rc < 0) {
        history_root_unref(root);
        return rc;
    }
    history_root_unref(history->recent[history->oldest]);
    root->references++;
    history->recent[history->oldest] = root;
    history->oldest = (history->oldest + 1) % G_N_ELEMENTS(history->recent);
    *out = root;
    return 0;
}

static int load_commit(struct history_root **out, struct history *history,
                       const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = history_read_commit(history, id, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    object_data_release(&data);
    return rc < 0 ? rc : history_root_load(out, history, &commit.tree, error);
}

int history_state(struct history *history, const struct object_id *commit,
                  struct history_state *out, struct store_error *error)
{
    struct history_root *root;
    int rc = load_commit(&root, history, commit, error);

    if (rc == 0) {
        *out = (struct history_state){
            .uid_validity = root->properties.uid_validity,
            .uid_next = root->properties.uid_next,
            .highest_modseq = root->properties.highest_modseq,
        };
        history_root_unref(root);
    }
    return rc;
}

/* --- messages --- */

static bool is_wanted(const GArray *ranges, uint64_t first, uint64_t last)
{
    guint low = 0;
    guint high = ranges != NULL ? ranges->len : 0;

    /* The first range that does not end before. */
    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(ranges, struct uid_range, middle).last < first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return ranges == NULL ||
           (low < ranges->len && g_array_index(ranges, struct uid_range, low).first <= last);
}

static void name_flags(GString *out, const struct message *message, const GPtrArray *keywords)
{
    g_string_truncate(out, 0);
    for (unsigned i = 0; i < 5; i++) {
        uint8_t bit;
        const char *name = message_flag_name(i, &bit);

        if ((message->flags & bit) != 0) {
            g_string_append_printf(out, "%s%s", out->len > 0 ? " " : "", name);
        }
    }
    for (guint i = 0; i < keywords->len && message->keywords >> i != 0; i++) {
        if ((message->keywords >> i & 1) != 0) {
            g_string_append_printf(out, "%s%s", out->len > 0 ? " " : "",
                                   (const char *)g_ptr_array_index(keywords, i));
        }
    }
}

/* At least one of them is there. */
static void tell(struct diff *diff, const struct message *before, const struct message *after)
{
    struct history_change change = {.before = before, .after = after};
    uint32_t uid = before != NULL ? before->uid : after->uid;

    if (diff->stopped || !is_wanted(diff->ranges, uid, uid)) {
        return;
    }
    g_string_truncate(diff->flags_before, 0);
    g_string_truncate(diff->flags_after, 0);
    if (before != NULL) {
        name_flags(diff->flags_before, before, diff->before->properties.keywords);
    }
    if (after != NULL) {
        name_flags(diff->flags_after, after, diff->after->properties.keywords);
    }
    change.flags_before = diff->flags_before->str;
    change.flags_after = diff->flags_after->str;
    diff->stopped = diff->visit(&change, diff->data) != 0;
}

/* One list begins with the other: what bits say is the same in both. */
static bool keywords_moved(const GPtrArray *a, const GPtrArray *b)
{
    for (guint i = 0; i < a->len && i < b->len; i++) {
        if (strcmp(g_ptr_array_index(a, i), g_ptr_array_index(b, i)) != 0) {
            return true;
        }
    }
    return false;
}

static bool has_same_keywords(struct diff *diff, const struct message *a, const struct message *b)
{
    if (!diff->moved) {
        return a->keywords == b->keywords;
    }
    name_flags(diff->flags_before, a, diff->before->properties.keywords);
    name_flags(diff->flags_after, b, diff->after->properties.keywords);
    return strcmp(diff->flags_before->str, diff->flags_after->str) == 0;
}

static bool is_same(struct diff *diff, const struct message *a, const struct message *b)
{
    return a->modseq == b->modseq && a->flags == b->flags && a->internal_date == b->internal_date &&
           a->zone == b->zone && object_id_equal(&a->blob, &b->blob) &&
           has_same_keywords(diff, a, b);
}

/* --- trees --- */

static int load_leaf(struct diff *diff, const struct history_root *root,
                     const struct directory *leaf, struct message messages[LEAF_MESSAGES],
                     size_t *count, struct store_error *error)
{
    *count = 0;
    return leaf == NULL ? 0
                        : leaf_load(messages, count, diff->history->objects, &leaf->tree,
                                    leaf->number, root->properties.keywords, error);
}

static int compare_leaves(struct diff *diff, const struct directory *before,
                          const struct directory *after, struct store_error *error)
{
    struct message a[LEAF_MESSAGES];
    struct message b[LEAF_MESSAGES];
    size_t a_count;
    size_t b_count;
    size_t i = 0;
    size_t j = 0;
    int rc = load_leaf(diff, diff->before, before, a, &a_count, error);

    if (rc == 0) {
        rc = load_leaf(diff, diff->after, after, b, &b_count, error);
    }
    while (rc == 0 && !diff->stopped && (i < a_count || j < b_count)) {
        if (j == b_count || (i < a_count && a[i].uid < b[j].uid)) {
            tell(diff, &a[i++], NULL);
        } else if (i == a_count || b[j].uid < a[i].uid) {
            tell(diff, NULL, &b[j++]);
        } else {
            if (!is_same(diff, &a[i], &b[j])) {
                tell(diff, &a[i], &b[j]);
            }
            i++;
            j++;
        }
    }
    return rc;
}

static int compare_lists(struct diff *diff, unsigned depth, const GArray *before,
                         const GArray *after, struct store_error *error);

static int compare_directories(struct diff *diff, unsigned depth, const struct directory *before,
                               const struct directory *after, struct store_error *error)
{
    uint64_t number = before != NULL ? before->number : after->number;
    uint64_t first = number * NODE_SPAN[depth];
    g_autoptr(GArray) a = NULL;
    g_autoptr(GArray) b = NULL;
    int rc = 0;

    if (!is_wanted(diff->ranges, first, first + NODE_SPAN[depth] - 1) ||
        (before != NULL && after != NULL && object_id_equal(&before->tree, &after->tree))) {
        return 0;
    }
    if (depth == LEAF_DEPTH) {
        return compare_leaves(diff, before, after, error);
    }
    a = g_array_new(FALSE, FALSE, sizeof(struct directory));
    b = g_array_new(FALSE, FALSE, sizeof(struct directory));
    if (before != NULL) {
        rc = directory_load(a, diff->history->objects, before, error);
    }
    if (rc == 0 && after != NULL) {
        rc = directory_load(b, diff->history->objects, after, error);
    }
    return rc < 0 ? rc : compare_lists(diff, depth + 1, a, b, error);
}

/* The recursion is as deep as the tree. */
static int compare_lists(struct diff *diff, unsigned depth, const GArray *before,
                         const GArray *after, struct store_error *error)
{
    guint i = 0;
    guint j = 0;
    int rc = 0;

    while (rc == 0 && !diff->stopped && (i < before->len || j < after->len)) {
        const struct directory *a =
            i < before->len ? &g_array_index(before, struct directory, i) : NULL;
        const struct directory *b =
            j < after->len ? &g_array_index(after, struct directory, j) : NULL;

        if (a != NULL && b != NULL && a->number != b->number) {
            if (a->number < b->number) {
                b = NULL;
            } else {
                a = NULL;
            }
        }
        i += a != NULL;
        j += b != NULL;
        rc = compare_directories(diff, depth, a, b, error);
    }
    return rc;
}

static int compare_roots(struct diff *diff, struct store_error *error)
{
    g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, sizeof(struct directory));
    int rc;

    diff->moved = diff->before != NULL && keywords_moved(diff->before->properties.keywords,
                                                         diff->after->properties.keywords);
    diff->flags_before = g_string_new(NULL);
    diff->flags_after = g_string_new(NULL);
    rc = compare_lists(diff, 1, diff->before != NULL ? diff->before->directories : nothing,
                       diff->after->directories, error);
    g_string_free(diff->flags_before, TRUE);
    g_string_free(diff->flags_after, TRUE);
    return rc;
}

int history_diff(struct history *history, const struct object_id *before,
                 const struct object_id *after, const GArray *ranges, history_visit visit,
                 void *data, struct store_error *error)
{
    struct diff diff = {.history = history, .ranges = ranges, .visit = visit, .data = data};
    struct history_root *from = NULL;
    struct history_root *to = NULL;
    int rc = load_commit(&to, history, after, error);

    if (rc == 0 && !object_id_is_zero(before)) {
        rc = load_commit(&from, history, before, error);
    }
    if (rc == 0) {
        diff.before = from;
        diff.after = to;
        rc = compare_roots(&diff, error);
    }
    history_root_unref(from);
    history_root_unref(to);
    return rc;
}
