/* A mailbox takes over the UIDVALIDITY under which another server showed it to clients, so that
 * they need not download again what is imported under its old UIDs; and mailboxes that are made for
 * that, many in one step. */
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/commit.h"
#include "store/internal/snapshot_load.h"

/* What must be left above a UIDVALIDITY for mailboxes to come. */
enum { UID_VALIDITIES_LEFT = 1000 * 1000 };

struct takeover_task {
    struct mailbox *mailbox;
    uint32_t uid_validity;
    uint32_t uid_next;
    const struct origin *origin;
    struct mailbox *rival; /* has the UIDVALIDITY, but never had a message; owned, or NULL */
};

/* The UIDVALIDITY and UIDNEXT of a branch that need not be open; 0 where it is no readable mailbox.
 */
static int branch_uids(struct account *account, const char *ref, uint32_t *uid_validity,
                       uint32_t *uid_next, struct store_error *error)
{
    struct properties properties = {0};
    GArray *directories = NULL;
    struct object_data data;
    struct commit commit;
    struct object_id tip;
    int rc = pending_tip(account, ref, &tip, error);

    if (rc == 0) {
        rc = objects_read(account->objects, &tip, OBJECT_COMMIT, &data, error);
    }
    *uid_validity = *uid_next = 0;
    if (rc < 0) {
        return rc == STORE_NOT_FOUND ? 0 : rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    object_data_release(&data);
    if (rc == 0) {
        rc = root_load(&properties, &directories, account->objects, &commit.tree, error);
        if (rc == 0) {
            *uid_validity = properties.uid_validity;
            *uid_next = properties.uid_next;
            g_array_unref(directories);
        }
        properties_release(&properties);
    }
    return rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED || rc == STORE_NOT_FOUND ? 0 : rc;
}

/* Looks at another mailbox of the account. */
static int check_other(struct takeover_task *task, const char *name, struct store_error *error)
{
    struct account *account = task->mailbox->account;
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    uint32_t uid_validity = 0;
    uint32_t uid_next = 0;
    int rc = account_name(&canonical, &ref, name, error);

    if (rc == 0) {
        rc = branch_uids(account, ref, &uid_validity, &uid_next, error);
    }
    if (rc < 0 || uid_validity != task->uid_validity) {
        return rc;
    }
    if (uid_next > 1 || task->rival != NULL) {
        return store_error_set(error, STORE_EXISTS, "%s has UIDVALIDITY %u", name, uid_validity);
    }
    rc = account_open_mailbox(account, name, &task->rival, error);
    return rc < 0 ? rc : mailbox_prepare(task->rival, error);
}

/* Where a deleted mailbox of the branch is that had the UIDVALIDITY; a new string. */
static char *grave_of(const char *ref, uint32_t uid_validity)
{
    return g_strdup_printf("%s%s/%" G_GUINT32_FORMAT, DELETED_PREFIX, ref + strlen(HEADS_PREFIX),
                           uid_validity);
}

/* STORE_EXISTS where a mailbox of this name, now deleted, or another one had it: a deletion and a
 * renaming later two mailboxes would be one to a client. */
static int check_unique(struct takeover_task *task, struct store_error *error)
{
    struct account *account = task->mailbox->account;
    g_autofree char *grave = grave_of(task->mailbox->ref, task->uid_validity);
    g_autoptr(GPtrArray) names = NULL;
    struct object_id tip;
    int rc = refs_read(account->refs, grave, &tip, error);

    if (rc == 0) {
        return store_error_set(error, STORE_EXISTS, "a deleted mailbox had UIDVALIDITY %u",
                               task->uid_validity);
    }
    rc = rc == STORE_NOT_FOUND ? account_names(account, &names, error) : rc;
    for (guint i = 0; rc == 0 && i < names->len; i++) {
        const char *name = names->pdata[i];

        if (strcmp(name, task->mailbox->name) != 0) {
            rc = check_other(task, name, error);
        }
    }
    return rc;
}

static bool is_possible(uint32_t uid_validity)
{
    return uid_validity > 0 && uid_validity <= UINT32_MAX - UID_VALIDITIES_LEFT;
}

static int check_takeover(struct takeover_task *task, struct store_error *error)
{
    const struct snapshot *now = task->mailbox->snapshot;

    if (!is_possible(task->uid_validity)) {
        return store_error_set(error, STORE_LIMIT, "UIDVALIDITY %u", task->uid_validity);
    }
    if (task->uid_validity == now->uid_validity) {
        return 0;
    }
    if (snapshot_count(now) > 0) {
        return store_error_set(error, STORE_FORBIDDEN, "the mailbox has messages");
    }
    if (now->uid_next > 1 && task->uid_validity < now->uid_validity) {
        return store_error_set(error, STORE_FORBIDDEN,
                               "the mailbox had messages, its UIDVALIDITY can't fall");
    }
    return check_unique(task, error);
}

/* The rival makes way: no client knows a UID of it. */
static int write_rival(struct transaction *transaction, const struct takeover_task *task,
                       struct account_state *state, const char *subject, struct store_error *error)
{
    struct snapshot_builder *builder;
    int rc;

    if (task->rival == NULL) {
        return 0;
    }
    builder = snapshot_builder_new(task->rival->snapshot);
    rc = account_next_uid_validity(task->mailbox->account, state, &builder->uid_validity, error);
    if (rc == 0) {
        rc = transaction_change(transaction, task->rival, builder, subject, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

/* Above whatever MODSEQ a client may know from there: the other server counts changes. */
static uint64_t first_modseq(const struct account *account, uint64_t least)
{
    int64_t seconds = account->host->now(account->host->data) / 1000000;

    return MAX(least, (uint64_t)MAX(seconds, 0));
}

static int write_mailbox(struct transaction *transaction, const struct takeover_task *task,
                         const char *subject, struct store_error *error)
{
    const struct account *account = task->mailbox->account;
    const struct snapshot *now = task->mailbox->snapshot;
    struct snapshot_builder *builder = snapshot_builder_new(now);
    int rc;

    builder->uid_next = MAX(now->uid_next, task->uid_next);
    if (task->uid_validity != now->uid_validity) {
        builder->uid_validity = task->uid_validity;
        builder->modseq = first_modseq(account, now->highest_modseq + 2);
    }
    rc = transaction_change(transaction, task->mailbox, builder, subject, error);
    snapshot_builder_free(builder);
    return rc;
}

static int write_takeover(struct transaction *transaction, const struct takeover_task *task,
                          struct store_error *error)
{
    const struct account_state *before = task->mailbox->account->state;
    struct account_state *state = account_state_copy(before);
    g_autofree char *subject =
        g_strdup_printf("IMPORT mailbox %s (UIDVALIDITY %u, UIDNEXT %u)", task->mailbox->name,
                        task->uid_validity, MAX(task->mailbox->snapshot->uid_next, task->uid_next));
    int rc;

    state->uid_validity = MAX(state->uid_validity, task->uid_validity);
    rc = write_rival(transaction, task, state, subject, error);
    if (rc == 0) {
        rc = write_mailbox(transaction, task, subject, error);
    }
    if (rc < 0 || state->uid_validity == before->uid_validity) {
        account_state_free(state);
        return rc;
    }
    return transaction_set_state(transaction, state, subject, error);
}

static int take_over(struct takeover_task *task, struct store_error *error)
{
    struct transaction transaction;
    int rc = check_takeover(task, error);

    if (rc < 0 || (task->uid_validity == task->mailbox->snapshot->uid_validity &&
                   task->uid_next <= task->mailbox->snapshot->uid_next)) {
        return rc;
    }
    rc = transaction_begin(&transaction, task->mailbox->account, task->origin, error);
    if (rc == 0) {
        rc = write_takeover(&transaction, task, error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

static int takeover_attempt(void *data, struct store_error *error)
{
    struct takeover_task *task = data;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc == 0) {
        rc = account_state_refresh(task->mailbox->account, error);
    }
    if (rc == 0) {
        rc = take_over(task, error);
    }
    g_clear_pointer(&task->rival, mailbox_unref);
    return rc;
}

int mailbox_take_over(struct mailbox *mailbox, uint32_t uid_validity, uint32_t uid_next,
                      const struct origin *origin, struct store_error *error)
{
    struct takeover_task task = {mailbox, uid_validity, uid_next, origin, NULL};

    return transaction_retry(takeover_attempt, &task, error);
}

/* --- many new ones --- */

struct create_task {
    struct account *account;
    struct new_mailbox *mailboxes;
    size_t count;
    const struct origin *origin;
    GHashTable *taken; /* UIDVALIDITYs of the account's mailboxes, by GUINT_TO_POINTER() */
};

/* The names of all that there are, and in task->taken their UIDVALIDITYs. */
static int look_around(const struct create_task *task, GHashTable *refs, struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    int rc = account_names(task->account, &names, error);

    if (rc == 0 && names->len + task->count > ACCOUNT_MAILBOXES_MAX) {
        return store_error_set(error, STORE_LIMIT, "the account has %u mailboxes", names->len);
    }
    g_hash_table_remove_all(task->taken);
    for (guint i = 0; rc == 0 && i < names->len; i++) {
        g_autofree char *canonical = NULL;
        g_autofree char *ref = NULL;
        uint32_t uid_validity = 0;
        uint32_t uid_next = 0;

        rc = account_name(&canonical, &ref, names->pdata[i], error);
        if (rc == 0) {
            rc = branch_uids(task->account, ref, &uid_validity, &uid_next, error);
            g_hash_table_add(task->taken, GUINT_TO_POINTER(uid_validity));
            g_hash_table_add(refs, g_steal_pointer(&ref));
        }
    }
    return rc;
}

/* Whether the new mailbox can have the UIDVALIDITY that is wanted for it. */
static bool may_take_over(const struct create_task *task, const char *ref,
                          const struct new_mailbox *wanted)
{
    g_autofree char *grave = grave_of(ref, wanted->uid_validity);
    struct store_error ignored;
    struct object_id tip;

    return is_possible(wanted->uid_validity) &&
           !g_hash_table_contains(task->taken, GUINT_TO_POINTER(wanted->uid_validity)) &&
           refs_read(task->account->refs, grave, &tip, &ignored) == STORE_NOT_FOUND;
}

static int write_new(struct transaction *transaction, const struct create_task *task,
                     struct account_state *state, const char *name, const char *ref,
                     struct new_mailbox *wanted, struct store_error *error)
{
    struct snapshot_builder *builder = snapshot_builder_new(NULL);
    g_autofree char *subject = NULL;
    struct snapshot *snapshot;
    int rc = account_new_identity(task->account, state, builder, error);

    wanted->taken_over = may_take_over(task, ref, wanted);
    if (wanted->taken_over) {
        builder->uid_validity = wanted->uid_validity;
        builder->modseq = first_modseq(task->account, builder->modseq);
        state->uid_validity = MAX(state->uid_validity, wanted->uid_validity);
        subject = g_strdup_printf("IMPORT mailbox %s (UIDVALIDITY %u, UIDNEXT 1)", name,
                                  wanted->uid_validity);
    } else {
        subject = g_strconcat("CREATE mailbox ", name, NULL);
    }
    g_hash_table_add(task->taken, GUINT_TO_POINTER(builder->uid_validity));
    if (rc == 0) {
        rc = transaction_write(transaction, builder, NULL, subject, &snapshot, error);
    }
    if (rc == 0) {
        transaction_move(transaction, ref, NULL, &snapshot->commit);
        snapshot_unref(snapshot);
    }
    snapshot_builder_free(builder);
    return rc;
}

static int write_all_new(struct transaction *transaction, const struct create_task *task,
                         struct account_state *state, struct store_error *error)
{
    g_autoptr(GHashTable) refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    int rc = look_around(task, refs, error);

    for (size_t i = 0; rc == 0 && i < task->count; i++) {
        g_autofree char *canonical = NULL;
        g_autofree char *ref = NULL;

        rc = account_name(&canonical, &ref, task->mailboxes[i].name, error);
        if (rc == 0 && g_hash_table_contains(refs, ref)) {
            rc = store_error_set(error, STORE_EXISTS, "%s exists", canonical);
        }
        if (rc == 0) {
            rc = write_new(transaction, task, state, canonical, ref, &task->mailboxes[i], error);
            g_hash_table_add(refs, g_steal_pointer(&ref));
        }
    }
    return rc;
}

static int create_attempt(void *data, struct store_error *error)
{
    const struct create_task *task = data;
    g_autofree char *subject = NULL;
    struct transaction transaction;
    struct account_state *state;
    int rc = account_state_refresh(task->account, error);

    if (rc < 0) {
        return rc;
    }
    state = account_state_copy(task->account->state);
    rc = transaction_begin(&transaction, task->account, task->origin, error);
    if (rc == 0) {
        rc = write_all_new(&transaction, task, state, error);
    }
    if (rc == 0) {
        subject = task->count == 1 ? g_strconcat("CREATE mailbox ", task->mailboxes[0].name, NULL)
                                   : g_strdup_printf("CREATE mailbox %s and %zu others",
                                                     task->mailboxes[0].name, task->count - 1);
        rc = transaction_set_state(&transaction, state, subject, error);
    } else {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

int account_create_mailboxes(struct account *account, struct new_mailbox *mailboxes, size_t count,
                             const struct origin *origin, struct store_error *error)
{
    g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);
    struct create_task task = {account, mailboxes, count, origin, taken};

    return count > 0 ? transaction_retry(create_attempt, &task, error) : 0;
}
