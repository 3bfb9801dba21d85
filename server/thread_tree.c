#include "server/thread_tree.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { STEP_VISITS = 16 * 1024, STEP_MOVES = 64 * 1024 };

/* A message or a dummy. All that remains of dummies once they are pruned is at the top. */
struct container {
    uint32_t message;  /* THREAD_NONE: a dummy */
    uint32_t parent;   /* THREAD_NONE: at the top */
    uint32_t children; /* while pruning: not visited yet */
    uint32_t heirs;    /* while pruning: what its children leave */
    uint32_t merged;   /* dummies: into which one; THREAD_NONE: into none */
    uint32_t first;    /* of its children */
    uint32_t last;
    uint32_t next; /* after it, of its parent's */
    bool kept;
    bool listed; /* a dummy: it is among the roots */
};

struct root {
    uint32_t container;
    uint32_t message; /* itself, or the first child of a dummy */
};

struct thread_pass {
    uint32_t (*count)(const struct thread_tree *tree);       /* NULL: the last has been done */
    void (*visit)(struct thread_tree *tree, uint32_t index); /* NULL: sorting */
};

static struct container *container(const struct thread_tree *tree, uint32_t index)
{
    return &g_array_index(tree->containers, struct container, index);
}

static const struct thread_message *message(const struct thread_tree *tree, uint32_t index)
{
    return &g_array_index(tree->messages, struct thread_message, index);
}

static struct root *root(const struct thread_tree *tree, uint32_t index)
{
    return &g_array_index(tree->roots, struct root, index);
}

static uint32_t *entry(const struct thread_tree *tree, uint32_t subject)
{
    return &g_array_index(tree->table, uint32_t, subject);
}

static uint32_t own(const struct thread_tree *tree, uint32_t index)
{
    return g_array_index(tree->own, uint32_t, index);
}

static bool is_dummy(const struct thread_tree *tree, uint32_t index)
{
    return container(tree, index)->message == THREAD_NONE;
}

static uint32_t new_container(struct thread_tree *tree)
{
    struct container made = {
        .message = THREAD_NONE,
        .parent = THREAD_NONE,
        .merged = THREAD_NONE,
        .first = THREAD_NONE,
        .last = THREAD_NONE,
        .next = THREAD_NONE,
    };

    g_array_append_val(tree->containers, made);
    return tree->containers->len - 1;
}

/* --- step 1: links --- */

static uint32_t linked_container(struct thread_tree *tree)
{
    uint32_t made = new_container(tree);
    uint32_t node = thread_forest_add(&tree->forest);

    assert(made == node);
    return node;
}

static uint32_t container_of(struct thread_tree *tree, const char *id)
{
    uint32_t place = text_places_add(&tree->ids, id);

    if (place == tree->by_id->len) {
        uint32_t made = linked_container(tree);

        g_array_append_val(tree->by_id, made);
    }
    return g_array_index(tree->by_id, uint32_t, place);
}

/* Of messages that have the same ID the first has it. */
static uint32_t container_for_message(struct thread_tree *tree, const char *id)
{
    if (*id != '\0') {
        uint32_t found = container_of(tree, id);

        if (is_dummy(tree, found))
            return found;
    }
    return linked_container(tree);
}

static uint32_t link_message(struct thread_tree *tree, const char *record, size_t length)
{
    const char *end = record + length;
    uint32_t itself = container_for_message(tree, record);
    uint32_t last = THREAD_NONE;

    for (const char *id = record + strlen(record) + 1; id < end; id += strlen(id) + 1) {
        uint32_t reference = container_of(tree, id);

        if (last != THREAD_NONE && thread_forest_parent(&tree->forest, reference) == THREAD_NONE)
            thread_forest_link(&tree->forest, reference, last);
        last = reference;
    }
    if (thread_forest_parent(&tree->forest, itself) != THREAD_NONE)
        thread_forest_cut(&tree->forest, itself);
    if (last != THREAD_NONE)
        thread_forest_link(&tree->forest, itself, last);
    return itself;
}

/* --- steps 2 and 3: dummies are pruned --- */

static uint32_t count_containers(const struct thread_tree *tree)
{
    return tree->containers->len;
}

static uint32_t count_queue(const struct thread_tree *tree)
{
    return tree->queue->len;
}

static void count_child(struct thread_tree *tree, uint32_t index)
{
    uint32_t parent = thread_forest_parent(&tree->forest, index);

    container(tree, index)->parent = parent;
    if (parent != THREAD_NONE)
        container(tree, parent)->children++;
}

static void queue_childless(struct thread_tree *tree, uint32_t index)
{
    if (container(tree, index)->children == 0)
        g_array_append_val(tree->queue, index);
}

/* Decides on the next of the queue, whose children have been decided on. */
static void prune(struct thread_tree *tree, uint32_t at)
{
    uint32_t index = g_array_index(tree->queue, uint32_t, at);
    struct container *this = container(tree, index);
    uint32_t parent = this->parent;

    this->kept = !is_dummy(tree, index) || (parent == THREAD_NONE && this->heirs > 1);
    if (parent == THREAD_NONE)
        return;
    container(tree, parent)->heirs += this->kept ? 1 : this->heirs;
    if (--container(tree, parent)->children == 0)
        g_array_append_val(tree->queue, parent);
}

/* Parents before children. */
static void promote(struct thread_tree *tree, uint32_t at)
{
    uint32_t index = g_array_index(tree->queue, uint32_t, tree->queue->len - 1 - at);
    struct container *this = container(tree, index);

    if (this->parent != THREAD_NONE && !container(tree, this->parent)->kept)
        this->parent = container(tree, this->parent)->parent;
}

/* --- step 4: the top --- */

static uint32_t count_messages(const struct thread_tree *tree)
{
    return tree->messages->len;
}

static uint32_t count_roots(const struct thread_tree *tree)
{
    return tree->roots->len;
}

static int compare_dates(const void *data, uint32_t a, uint32_t b)
{
    int64_t x = message(data, a)->sent, y = message(data, b)->sent;

    return x < y ? -1 : x > y;
}

/* Of equal dates the lower number comes first, which the stable sort sees to. */
static bool sort_by_date(struct thread_tree *tree)
{
    if (tree->order == NULL) {
        tree->order = g_new(uint32_t, tree->messages->len + 1);
        for (uint32_t i = 0; i < tree->messages->len; i++)
            tree->order[i] = i;
        merge_sort_init(&tree->sort, tree->order, tree->messages->len, compare_dates, tree);
    }
    return merge_sort_step(&tree->sort, STEP_MOVES);
}

static void add_root(struct thread_tree *tree, uint32_t index, uint32_t first)
{
    struct root made = {index, first};

    container(tree, index)->listed = true;
    g_array_append_val(tree->roots, made);
}

static void list_root(struct thread_tree *tree, uint32_t at)
{
    uint32_t index = own(tree, tree->order[at]);
    uint32_t parent = container(tree, index)->parent;

    if (parent == THREAD_NONE)
        add_root(tree, index, tree->order[at]);
    else if (is_dummy(tree, parent) && !container(tree, parent)->listed)
        add_root(tree, parent, tree->order[at]);
}

/* --- step 5: subjects --- */

static bool is_reply(const struct thread_tree *tree, const struct root *of)
{
    return message(tree, of->message)->replies;
}

static void make_entry(struct thread_tree *tree, uint32_t at)
{
    const struct root *this = root(tree, at);
    uint32_t subject = message(tree, this->message)->subject;
    const struct root *other;

    if (subject == 0)
        return;
    if (*entry(tree, subject) == THREAD_NONE) {
        *entry(tree, subject) = at;
        return;
    }
    other = root(tree, *entry(tree, subject));
    if (!is_dummy(tree, other->container) &&
        (is_dummy(tree, this->container) || (is_reply(tree, other) && !is_reply(tree, this))))
        *entry(tree, subject) = at;
}

static void gather_below_dummy(struct thread_tree *tree, struct root this, struct root other,
                               uint32_t subject)
{
    uint32_t dummy = new_container(tree);

    container(tree, this.container)->parent = dummy;
    container(tree, other.container)->parent = dummy;
    *entry(tree, subject) = tree->roots->len;
    add_root(tree, dummy, other.message);
}

static void merge_root(struct thread_tree *tree, uint32_t at)
{
    struct root this = *root(tree, at), other;
    uint32_t subject = message(tree, this.message)->subject;

    if (subject == 0 || *entry(tree, subject) == at ||
        container(tree, this.container)->parent != THREAD_NONE)
        return;
    other = *root(tree, *entry(tree, subject));
    if (is_dummy(tree, this.container) && is_dummy(tree, other.container))
        container(tree, this.container)->merged = other.container;
    else if (is_dummy(tree, other.container) || (is_reply(tree, &this) && !is_reply(tree, &other)))
        container(tree, this.container)->parent = other.container;
    else
        gather_below_dummy(tree, this, other, subject);
}

/* ORDEREDSUBJECT: the first of a subject has all others below it. */
static void gather_below_first(struct thread_tree *tree, uint32_t at)
{
    uint32_t index = own(tree, tree->order[at]);
    uint32_t *first = entry(tree, message(tree, tree->order[at])->subject);

    if (*first == THREAD_NONE)
        *first = index;
    else
        container(tree, index)->parent = *first;
}

/* --- step 6: siblings by date --- */

static void append_sibling(struct thread_tree *tree, uint32_t *first, uint32_t *last,
                           uint32_t index)
{
    if (*first == THREAD_NONE)
        *first = index;
    else
        container(tree, *last)->next = index;
    *last = index;
}

static void hang(struct thread_tree *tree, uint32_t at)
{
    uint32_t index = own(tree, tree->order[at]);
    struct container *this = container(tree, index), *parent;

    if (this->parent != THREAD_NONE && container(tree, this->parent)->merged != THREAD_NONE)
        this->parent = container(tree, this->parent)->merged;
    if (this->parent == THREAD_NONE) {
        append_sibling(tree, &tree->first, &tree->last, index);
        return;
    }
    parent = container(tree, this->parent);
    if (is_dummy(tree, this->parent) && parent->first == THREAD_NONE)
        append_sibling(tree, &tree->first, &tree->last, this->parent);
    append_sibling(tree, &parent->first, &parent->last, index);
}

/* --- the whole --- */

static const struct thread_pass by_references_passes[] = {
    {count_containers, count_child},
    {count_containers, queue_childless},
    {count_queue, prune},
    {count_queue, promote},
    {count_messages, NULL},
    {count_messages, list_root},
    {count_roots, make_entry},
    {count_roots, merge_root},
    {count_messages, hang},
    {NULL, NULL},
};

static const struct thread_pass by_subject_passes[] = {
    {count_messages, NULL},
    {count_messages, gather_below_first},
    {count_messages, hang},
    {NULL, NULL},
};

void thread_tree_init(struct thread_tree *tree, bool by_references)
{
    *tree = (struct thread_tree){
        .passes = by_references ? by_references_passes : by_subject_passes,
        .messages = g_array_new(FALSE, FALSE, sizeof(struct thread_message)),
        .containers = g_array_new(FALSE, FALSE, sizeof(struct container)),
        .by_id = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .own = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .queue = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .roots = g_array_new(FALSE, FALSE, sizeof(struct root)),
        .table = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .first = THREAD_NONE,
        .last = THREAD_NONE,
        .next = THREAD_NONE,
    };
    text_places_init(&tree->ids);
    thread_forest_init(&tree->forest);
}

void thread_tree_release(struct thread_tree *tree)
{
    g_array_unref(tree->messages);
    g_array_unref(tree->containers);
    g_array_unref(tree->by_id);
    g_array_unref(tree->own);
    g_array_unref(tree->queue);
    g_array_unref(tree->roots);
    g_array_unref(tree->table);
    text_places_release(&tree->ids);
    thread_forest_release(&tree->forest);
    merge_sort_release(&tree->sort);
    g_free(tree->order);
}

void thread_tree_add(struct thread_tree *tree, const struct thread_message *added,
                     const char *record, size_t length)
{
    static const uint32_t none = THREAD_NONE;
    bool linked = tree->passes == by_references_passes;
    uint32_t index = linked ? link_message(tree, record, length) : new_container(tree);

    container(tree, index)->message = tree->messages->len;
    g_array_append_val(tree->messages, *added);
    g_array_append_val(tree->own, index);
    while (tree->table->len <= added->subject)
        g_array_append_val(tree->table, none);
}

size_t thread_tree_octets(const struct thread_tree *tree)
{
    return tree->ids.octets;
}

size_t thread_tree_containers(const struct thread_tree *tree)
{
    return tree->containers->len;
}

bool thread_tree_step(struct thread_tree *tree)
{
    for (int visits = 0; visits < STEP_VISITS; visits++) {
        const struct thread_pass *pass = &tree->passes[tree->pass];

        if (pass->count == NULL) {
            tree->next = tree->first;
            return true;
        }
        if (pass->visit == NULL && !sort_by_date(tree))
            return false;
        if (pass->visit != NULL && tree->at < pass->count(tree)) {
            pass->visit(tree, tree->at++);
        } else {
            tree->pass++;
            tree->at = 0;
        }
    }
    return false;
}

/* --- the answer --- */

/* Whether it begins a parenthesis: it has siblings, or none above it. */
static bool is_opened(const struct thread_tree *tree, uint32_t index)
{
    uint32_t parent = container(tree, index)->parent;

    return parent == THREAD_NONE || container(tree, parent)->first != container(tree, parent)->last;
}

/* The one that is written after this one, which has no children; closes what ends here. */
static uint32_t climb(const struct thread_tree *tree, GString *out, uint32_t index)
{
    while (index != THREAD_NONE) {
        const struct container *this = container(tree, index);

        if (is_opened(tree, index))
            g_string_append_c(out, ')');
        if (this->next != THREAD_NONE)
            return this->next;
        index = this->parent;
    }
    return THREAD_NONE;
}

bool thread_tree_write(struct thread_tree *tree, GString *out, size_t max,
                       uint32_t (*number)(const void *data, uint32_t message), const void *data)
{
    for (size_t written = 0; tree->next != THREAD_NONE && written < max; written++) {
        const struct container *this = container(tree, tree->next);

        if (is_opened(tree, tree->next))
            g_string_append_c(out, '(');
        if (this->message != THREAD_NONE)
            g_string_append_printf(out, "%" PRIu32, number(data, this->message));
        if (this->message != THREAD_NONE && this->first != THREAD_NONE)
            g_string_append_c(out, ' ');
        tree->next = this->first != THREAD_NONE ? this->first : climb(tree, out, tree->next);
    }
    return tree->next == THREAD_NONE;
}
