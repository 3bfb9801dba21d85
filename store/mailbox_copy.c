#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"

void uid_pairs_release(struct uid_pairs *pairs)
{
    g_clear_pointer(&pairs->from, g_array_unref);
    g_clear_pointer(&pairs->to, g_array_unref);
}

struct copy_task {
    struct mailbox *from;
    struct mailbox *to;
    const uint32_t *uids;
    size_t count;
    bool move;
    const struct origin *origin;
    struct uid_pairs *pairs;
};

/* A message's keywords as bits of the destination's list. */
static int map_keywords(const struct snapshot *source, uint64_t bits,
                        struct snapshot_builder *builder, uint64_t *out, struct store_error *error)
{
    *out = 0;
    for (guint i = 0; bits != 0; i++, bits >>= 1) {
        size_t index;
        int rc;

        if ((bits & 1) == 0) {
            continue;
        }
        rc = snapshot_builder_keyword(builder, g_ptr_array_index(source->keywords, i), &index,
                                      error);
        if (rc < 0) {
            return rc;
        }
        *out |= UINT64_C(1) << index;
    }
    return 0;
}

/* Appends copies of the wanted messages that source has, and lists the pairs. */
static int add_copies(struct copy_task *task, const struct snapshot *source,
                      struct snapshot_builder *builder, struct store_error *error)
{
    g_array_set_size(task->pairs->from, 0);
    g_array_set_size(task->pairs->to, 0);
    for (size_t i = 0; i < task->count; i++) {
        struct message copy;
        size_t index;
        uint32_t uid;
        int rc;

        if (!snapshot_find(source, task->uids[i], &index)) {
            continue;
        }
        if (snapshot_builder_room(builder) == 0) {
            return store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
        }
        copy = snapshot_message(source, index);
        rc = map_keywords(source, copy.keywords, builder, &copy.keywords, error);
        if (rc < 0) {
            return rc;
        }
        uid = snapshot_builder_append(builder, &copy);
        g_array_append_val(task->pairs->from, task->uids[i]);
        g_array_append_val(task->pairs->to, uid);
    }
    return 0;
}

static void remove_moved(const struct copy_task *task, struct snapshot_builder *builder)
{
    for (guint i = 0; i < task->pairs->from->len; i++) {
        snapshot_builder_remove(builder, g_array_index(task->pairs->from, uint32_t, i));
    }
}

static void append_pair_side(GString *subject, const GArray *uids)
{
    subject_append_uids(subject, (const uint32_t *)(void *)uids->data, uids->len);
}

/* What the destination's history says. */
static void destination_subject(GString *subject, const struct copy_task *task)
{
    if (task->move && task->from != task->to) {
        g_string_append(subject, "MOVE uid ");
        append_pair_side(subject, task->pairs->to);
        g_string_append_printf(subject, " from %s", task->from->name);
        return;
    }
    g_string_append(subject, task->move ? "MOVE uid " : "COPY uid ");
    append_pair_side(subject, task->pairs->from);
    g_string_append_printf(subject, " from %s as uid ", task->from->name);
    append_pair_side(subject, task->pairs->to);
}

static int remove_from_source(struct copy_task *task, struct transaction *transaction,
                              struct store_error *error)
{
    struct snapshot_builder *builder = snapshot_builder_new(task->from->snapshot);
    g_autoptr(GString) subject = g_string_new("MOVE uid ");
    int rc;

    remove_moved(task, builder);
    append_pair_side(subject, task->pairs->from);
    g_string_append_printf(subject, " to %s", task->to->name);
    rc = transaction_change(transaction, task->from, builder, subject->str, error);
    snapshot_builder_free(builder);
    return rc;
}

static int commit_copies(struct copy_task *task, struct snapshot_builder *builder,
                         struct store_error *error)
{
    g_autoptr(GString) subject = g_string_new(NULL);
    struct transaction transaction;
    int rc = transaction_begin(&transaction, task->to->account, task->origin, error);

    destination_subject(subject, task);
    if (rc == 0 && task->move && task->from == task->to) {
        remove_moved(task, builder);
    } else if (rc == 0 && task->from->past) {
        rc = transaction_keep(&transaction, task->to->snapshot, builder, error);
    } else if (rc == 0 && task->move) {
        rc = remove_from_source(task, &transaction, error);
    }
    if (rc == 0) {
        rc = transaction_change(&transaction, task->to, builder, subject->str, error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

static int copy_attempt(void *data, struct store_error *error)
{
    struct copy_task *task = data;
    struct snapshot_builder *builder;
    int rc = task->from->past && !task->move ? 0 : mailbox_prepare(task->from, error);

    if (rc == 0) {
        rc = mailbox_prepare(task->to, error);
    }
    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->to->snapshot);
    rc = add_copies(task, task->from->snapshot, builder, error);
    if (rc == 0 && task->pairs->from->len > 0) {
        rc = commit_copies(task, builder, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

static int run(struct copy_task *task, struct store_error *error)
{
    int rc;

    g_assert(task->from->account == task->to->account);
    task->pairs->from = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    task->pairs->to = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    rc = transaction_retry(copy_attempt, task, error);
    if (rc < 0) {
        g_array_set_size(task->pairs->from, 0);
        g_array_set_size(task->pairs->to, 0);
    }
    return rc;
}

int mailbox_copy(struct mailbox *from, const uint32_t *uids, size_t count, struct mailbox *to,
                 const struct origin *origin, struct uid_pairs *pairs, struct store_error *error)
{
    struct copy_task task = {from, to, uids, count, false, origin, pairs};

    return run(&task, error);
}

int mailbox_move(struct mailbox *from, const uint32_t *uids, size_t count, struct mailbox *to,
                 const struct origin *origin, struct uid_pairs *pairs, struct store_error *error)
{
    struct copy_task task = {from, to, uids, count, true, origin, pairs};

    return run(&task, error);
}
