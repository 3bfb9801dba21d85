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
};

/* The UIDVALIDITY of a branch that need not be open; 0 where it is no readable mailbox. */
static int branch_uid_validity(struct account *account, const char *ref, uint32_t *out,
                               struct store_error *error)
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
    *out = 0;
    if (rc < 0) {
        return rc == STORE_NOT_FOUND ? 0 : rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    object_data_release(&data);
    if (rc == 0) {
        rc = root_load(&properties, &directories, account->objects, &commit.tree, error);
        if (rc == 0) {
            *out = properties.uid_validity;
            g_array_unref(directories);
        }
        properties_release(&properties);
    }
    return rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED || rc == STORE_NOT_FOUND ? 0 : rc;
}

/* STORE_EXISTS where a mailbox of this name, now deleted, or another one had it: a deletion and a
 * renaming later two mailboxes would be one to a client. */
static int check_unique(const struct takeover_task *task, struct store_error *error)
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
        g_autofree char *canonical = NULL;
        g_autofree char *ref = NULL;
        uint32_t other = 0;

        if (strcmp(name, task->mailbox->name) == 0) {
            continue;
        }
        rc = account_name(&canonical, &ref, name, error);
        if (rc == 0) {
            rc = branch_uid_validity(account, ref, &other, error);
        }
        if (rc == 0 && other == task->uid_validity) {
            rc = store_error_set(error, STORE_EXISTS, "%s has UIDVALIDITY %u", name, other);
        }
    }
    return rc;
}

static int check_takeover(const struct takeover_task *task, struct store_error *error)
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

static int write_takeover(struct transaction *transaction, const struct takeover_task *task,
                          struct store_error *error)
{
    struct account *account = task->mailbox->account;
    const struct snapshot *now = task->mailbox->snapshot;
    struct snapshot_builder *builder = snapshot_builder_new(now);
    g_autofree char *subject =
        g_strdup_printf("IMPORT mailbox %s (UIDVALIDITY %u, UIDNEXT %u)", task->mailbox->name,
                        task->uid_validity, MAX(now->uid_next, task->uid_next));
    int64_t seconds = account->host->now(account->host->data) / 1000000;
    int rc;

    builder->uid_next = MAX(now->uid_next, task->uid_next);
    if (task->uid_validity != now->uid_validity) {
        builder->uid_validity = task->uid_validity;
        /* Above whatever MODSEQ a client may know from there: the other server counts changes. */
        builder->modseq = MAX(now->highest_modseq + 2, (uint64_t)MAX(seconds, 0));
    }
    rc = transaction_change(transaction, task->mailbox, builder, subject, error);
    snapshot_builder_free(builder);
    if (rc == 0 && task->uid_validity > account->state->uid_validity) {
        struct account_state *state = account_state_copy(account->state);

        state->uid_validity = task->uid_validity;
        rc = transaction_set_state(transaction, state, subject, error);
    }
    return rc;
}

static int takeover_attempt(void *data, struct store_error *error)
{
    const struct takeover_task *task = data;
    struct transaction transaction;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc == 0) {
        rc = account_state_refresh(task->mailbox->account, error);
    }
    if (rc == 0) {
        rc = check_takeover(task, error);
    }
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

int mailbox_take_over(struct mailbox *mailbox, uint32_t uid_validity, uint32_t uid_next,
                      const struct origin *origin, struct store_error *error)
{
    struct takeover_task task = {mailbox, uid_validity, uid_next, origin};

    return transaction_retry(takeover_attempt, &task, error);
}
