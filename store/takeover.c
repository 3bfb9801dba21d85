/* A mailbox takes over the UIDVALIDITY under which another server showed it to clients, so that
 * they need not download again what is imported under its old UIDs. */
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

/* STORE_EXISTS where a mailbox of this name, now deleted, or another one had it: a deletion and a
 * renaming later two mailboxes would be one to a client. */
static int check_unique(struct takeover_task *task, struct store_error *error)
{
    struct account *account = task->mailbox->account;
    g_autofree char *grave =
        g_strdup_printf("%s%s/%" G_GUINT32_FORMAT, DELETED_PREFIX,
                        task->mailbox->ref + strlen(HEADS_PREFIX), task->uid_validity);
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

static int check_takeover(struct takeover_task *task, struct store_error *error)
{
    const struct snapshot *now = task->mailbox->snapshot;

    if (task->uid_validity == 0 || task->uid_validity > UINT32_MAX - UID_VALIDITIES_LEFT) {
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

static int write_mailbox(struct transaction *transaction, const struct takeover_task *task,
                         const char *subject, struct store_error *error)
{
    const struct host *host = task->mailbox->account->host;
    const struct snapshot *now = task->mailbox->snapshot;
    struct snapshot_builder *builder = snapshot_builder_new(now);
    int64_t seconds = host->now(host->data) / 1000000;
    int rc;

    builder->uid_next = MAX(now->uid_next, task->uid_next);
    if (task->uid_validity != now->uid_validity) {
        builder->uid_validity = task->uid_validity;
        /* Above whatever MODSEQ a client may know from there: the other server counts changes. */
        builder->modseq = MAX(now->highest_modseq + 2, (uint64_t)MAX(seconds, 0));
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
