/* Creating, deleting and renaming mailboxes. */
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/snapshot_load.h"

static int random_mailbox_id(const struct account *account, char out[MAILBOX_ID_MAX + 1],
                             struct store_error *error)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    int rc = account->host->random(account->host->data, bytes, sizeof(bytes));

    if (rc < 0) {
        return store_error_set(error, STORE_IO, "no random octets: %s", g_strerror(-rc));
    }
    out[0] = 'M';
    for (size_t i = 0; i < sizeof(bytes); i++) {
        out[1 + 2 * i] = digits[bytes[i] >> 4];
        out[2 + 2 * i] = digits[bytes[i] & 15];
    }
    out[1 + 2 * sizeof(bytes)] = '\0';
    return 0;
}

int account_new_identity(const struct account *account, struct account_state *state,
                         struct snapshot_builder *builder, struct store_error *error)
{
    int rc = random_mailbox_id(account, builder->mailbox_id, error);

    return rc < 0 ? rc : account_next_uid_validity(account, state, &builder->uid_validity, error);
}

/* Forgets special uses of mailboxes that are no more. */
static void set_use(struct account_state *state, enum special_use use, const char *name)
{
    if (use != SPECIAL_USE_NONE) {
        g_free(state->special_use[use]);
        state->special_use[use] = g_strdup(name);
    }
}

/* A retried operation on one or two names. */
struct name_task {
    struct account *account;
    const struct origin *origin;
    const char *name;
    const char *ref;
    const char *to;
    const char *to_ref;
    enum special_use use;
};

/* --- create --- */

static int check_create(const struct name_task *task, struct store_error *error)
{
    struct account *account = task->account;
    g_autoptr(GPtrArray) names = NULL;
    const char *holder = account->state->special_use[task->use];
    struct object_id tip;
    int rc = refs_read(account->refs, task->ref, &tip, error);

    if (rc != STORE_NOT_FOUND) {
        return rc < 0 ? rc : store_error_set(error, STORE_EXISTS, "the mailbox exists");
    }
    if (holder != NULL && strcmp(holder, task->name) != 0 &&
        account_mailbox_exists(account, holder)) {
        return store_error_set(error, STORE_FORBIDDEN, "another mailbox has the special use");
    }
    rc = account_names(account, &names, error);
    if (rc == 0 && names->len >= ACCOUNT_MAILBOXES_MAX) {
        rc = store_error_set(error, STORE_LIMIT, "the account has %u mailboxes", names->len);
    }
    return rc;
}

static int write_new(struct transaction *transaction, const struct name_task *task,
                     struct account_state *state, struct store_error *error)
{
    struct snapshot_builder *builder = snapshot_builder_new(NULL);
    g_autofree char *subject = g_strconcat("CREATE mailbox ", task->name, NULL);
    struct snapshot *snapshot;
    int rc = account_new_identity(task->account, state, builder, error);

    if (rc == 0) {
        rc = transaction_write(transaction, builder, NULL, subject, &snapshot, error);
    }
    if (rc == 0) {
        transaction_move(transaction, task->ref, NULL, &snapshot->commit);
        snapshot_unref(snapshot);
    }
    snapshot_builder_free(builder);
    return rc;
}

static int create_attempt(void *data, struct store_error *error)
{
    struct name_task *task = data;
    struct transaction transaction;
    struct account_state *state;
    g_autofree char *subject = g_strconcat("CREATE mailbox ", task->name, NULL);
    int rc = account_state_refresh(task->account, error);

    if (rc == 0) {
        rc = check_create(task, error);
    }
    if (rc < 0) {
        return rc;
    }
    state = account_state_copy(task->account->state);
    set_use(state, task->use, task->name);
    rc = transaction_begin(&transaction, task->account, task->origin, error);
    if (rc == 0) {
        rc = write_new(&transaction, task, state, error);
    }
    if (rc == 0) {
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

int account_create_mailbox(struct account *account, const char *name, enum special_use use,
                           const struct origin *origin, struct store_error *error)
{
    g_autofree char *wanted = g_strdup(name);
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct name_task task = {.account = account, .origin = origin, .use = use};
    size_t length = strlen(wanted);
    int rc;

    if (length > 1 && wanted[length - 1] == '/') {
        wanted[length - 1] = '\0';
    }
    rc = account_name(&canonical, &ref, wanted, error);
    if (rc < 0) {
        return rc;
    }
    task.name = canonical;
    task.ref = ref;
    return transaction_retry(create_attempt, &task, error);
}

static int write_first(struct transaction *transaction, struct account_state *state,
                       struct store_error *error)
{
    int rc = 0;

    for (int i = SPECIAL_USE_NONE; rc == 0 && i < SPECIAL_USE_COUNT; i++) {
        const char *name =
            i == SPECIAL_USE_NONE ? "INBOX" : special_use_name((enum special_use)i) + 1;
        g_autofree char *canonical = NULL;
        g_autofree char *ref = NULL;
        struct name_task task = {.account = transaction->account};

        rc = account_name(&canonical, &ref, name, error);
        task.name = canonical;
        task.ref = ref;
        if (rc == 0) {
            rc = write_new(transaction, &task, state, error);
        }
        set_use(state, (enum special_use)i, canonical);
    }
    return rc;
}

int account_initialize(struct account *account, const struct origin *origin,
                       struct store_error *error)
{
    struct transaction transaction;
    struct account_state *state;
    int rc = account_state_refresh(account, error);

    if (rc < 0) {
        return rc;
    }
    state = account_state_copy(account->state);
    rc = transaction_begin(&transaction, account, origin, error);
    if (rc == 0) {
        rc = write_first(&transaction, state, error);
    }
    if (rc == 0) {
        rc = transaction_set_state(&transaction, state, "CREATE account", error);
    } else {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

/* --- delete --- */

static bool is_child(const char *name, const char *parent)
{
    size_t length = strlen(parent);

    return strncmp(name, parent, length) == 0 && name[length] == '/';
}

static bool has_children(struct account *account, const char *name)
{
    g_autoptr(GPtrArray) names = NULL;
    struct store_error ignored;

    if (account_names(account, &names, &ignored) < 0) {
        return false;
    }
    for (guint i = 0; i < names->len; i++) {
        if (is_child(names->pdata[i], name)) {
            return true;
        }
    }
    return false;
}

/* Where a deleted mailbox's history is kept. UIDVALIDITYs are unique in an account, unless a branch
 * was copied with stock git. */
char *account_grave(struct account *account, const char *ref, uint32_t uid_validity,
                    const struct object_id *own)
{
    const char *branch = ref + strlen(HEADS_PREFIX);
    g_autofree char *name =
        g_strdup_printf("%s%s/%" G_GUINT32_FORMAT, DELETED_PREFIX, branch, uid_validity);
    struct store_error ignored;
    struct object_id tip;

    for (unsigned i = 2;
         refs_read(account->refs, name, &tip, &ignored) == 0 && !object_id_equal(&tip, own); i++) {
        g_free(name);
        name = g_strdup_printf("%s%s/%" G_GUINT32_FORMAT "-%u", DELETED_PREFIX, branch,
                               uid_validity, i);
    }
    return g_steal_pointer(&name);
}

/* Adds a commit that changes no message to a mailbox's chain. */
static int add_event(struct transaction *transaction, struct mailbox *mailbox, const char *subject,
                     struct object_id *commit, struct store_error *error)
{
    struct snapshot_builder *builder = snapshot_builder_new(mailbox->snapshot);
    struct snapshot *after;
    int rc =
        transaction_write(transaction, builder, &mailbox->snapshot->commit, subject, &after, error);

    if (rc == 0) {
        *commit = after->commit;
        snapshot_unref(after);
    }
    snapshot_builder_free(builder);
    return rc;
}

static int write_delete(struct transaction *transaction, struct mailbox *mailbox,
                        struct store_error *error)
{
    struct account *account = transaction->account;
    enum special_use use = account_state_use_of(account->state, mailbox->name);
    g_autofree char *subject = g_strconcat("DELETE mailbox ", mailbox->name, NULL);
    g_autofree char *kept = account_grave(account, mailbox->ref, mailbox->snapshot->uid_validity,
                                          &(struct object_id){{0}});
    struct object_id commit;
    int rc = add_event(transaction, mailbox, subject, &commit, error);

    if (rc < 0) {
        return rc;
    }
    transaction_move(transaction, kept, NULL, &commit);
    transaction_move(transaction, mailbox->ref, &mailbox->snapshot->commit, NULL);
    if (use != SPECIAL_USE_NONE) {
        struct account_state *state = account_state_copy(account->state);

        for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
            if (g_strcmp0(state->special_use[i], mailbox->name) == 0) {
                g_clear_pointer(&state->special_use[i], g_free);
            }
        }
        rc = transaction_set_state(transaction, state, subject, error);
    }
    return rc;
}

static int delete_attempt(void *data, struct store_error *error)
{
    struct name_task *task = data;
    struct account *account = task->account;
    struct transaction transaction;
    struct mailbox *mailbox;
    int rc = account_state_refresh(account, error);

    if (rc == 0) {
        rc = account_open_mailbox(account, task->name, &mailbox, error);
    }
    if (rc == STORE_NOT_FOUND && has_children(account, task->name)) {
        return store_error_set(error, STORE_HAS_CHILDREN, "the name only has children");
    }
    if (rc < 0) {
        return rc;
    }
    rc = transaction_begin(&transaction, account, task->origin, error);
    if (rc == 0) {
        rc = write_delete(&transaction, mailbox, error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    if (rc == 0) {
        mailbox_detach(mailbox);
        account->list_version++;
    }
    transaction_end(&transaction);
    mailbox_unref(mailbox);
    return rc;
}

int account_delete_mailbox(struct account *account, const char *name, const struct origin *origin,
                           struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct name_task task = {.account = account, .origin = origin};
    int rc = account_name(&canonical, &ref, name, error);

    if (rc < 0) {
        return rc;
    }
    if (strcmp(canonical, "INBOX") == 0) {
        return store_error_set(error, STORE_FORBIDDEN, "INBOX can't be deleted");
    }
    task.name = canonical;
    task.ref = ref;
    return transaction_retry(delete_attempt, &task, error);
}

/* --- rename --- */

/* INBOX: its messages and its history go to a new mailbox, INBOX itself goes on empty. */
static int write_inbox_rename(struct transaction *transaction, const struct name_task *task,
                              struct mailbox *inbox, struct account_state *state,
                              struct store_error *error)
{
    const struct snapshot *before = inbox->snapshot;
    g_autofree char *subject = g_strdup_printf("RENAME mailbox INBOX to %s", task->to);
    struct snapshot_builder *moved = snapshot_builder_new(before);
    struct snapshot_builder *emptied = snapshot_builder_new(before);
    struct snapshot *after = NULL;
    int rc = account_new_identity(task->account, state, moved, error);

    if (rc == 0) {
        rc = transaction_write(transaction, moved, &before->commit, subject, &after, error);
    }
    if (rc == 0) {
        transaction_move(transaction, task->to_ref, NULL, &after->commit);
        for (size_t i = 0; i < snapshot_count(before); i++) {
            snapshot_builder_remove(emptied, snapshot_message(before, i).uid);
        }
        rc = transaction_change(transaction, inbox, emptied, subject, error);
    }
    snapshot_unref(after);
    snapshot_builder_free(moved);
    snapshot_builder_free(emptied);
    return rc == 0 ? transaction_set_state(transaction, state, subject, error) : rc;
}

static int rename_inbox(const struct name_task *task, struct store_error *error)
{
    struct transaction transaction;
    struct account_state *state = account_state_copy(task->account->state);
    struct mailbox *inbox;
    int rc = account_open_mailbox(task->account, "INBOX", &inbox, error);

    if (rc < 0) {
        account_state_free(state);
        return rc;
    }
    rc = transaction_begin(&transaction, task->account, task->origin, error);
    if (rc == 0) {
        rc = write_inbox_rename(&transaction, task, inbox, state, error);
    }
    if (transaction.state != state && rc < 0) {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    mailbox_unref(inbox);
    return rc;
}

/* One mailbox of those renamed. */
struct renaming {
    struct mailbox *mailbox;
    char *name;
    char *ref;
};

static void renaming_free(void *data)
{
    struct renaming *renaming = data;

    mailbox_unref(renaming->mailbox);
    g_free(renaming->name);
    g_free(renaming->ref);
    g_free(renaming);
}

static int add_renaming(GPtrArray *renamings, const struct name_task *task, const char *name,
                        struct store_error *error)
{
    g_autofree char *target = g_strconcat(task->to, name + strlen(task->name), NULL);
    struct renaming *renaming = g_new0(struct renaming, 1);
    struct object_id tip;
    int rc;

    g_ptr_array_add(renamings, renaming);
    rc = account_name(&renaming->name, &renaming->ref, target, error);
    if (rc == 0) {
        rc = pending_tip(task->account, renaming->ref, &tip, error);
        if (rc == 0) {
            return store_error_set(error, STORE_EXISTS, "%s exists", renaming->name);
        }
        if (rc == STORE_NOT_FOUND) {
            rc = account_open_mailbox(task->account, name, &renaming->mailbox, error);
        }
    }
    return rc;
}

/* The mailbox and its children, whichever exist. */
static int find_renamings(GPtrArray *renamings, const struct name_task *task,
                          struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    int rc = account_names(task->account, &names, error);

    for (guint i = 0; rc == 0 && i < names->len; i++) {
        const char *name = names->pdata[i];

        if (strcmp(name, task->name) == 0 || is_child(name, task->name)) {
            rc = add_renaming(renamings, task, name, error);
        }
    }
    if (rc == 0 && renamings->len == 0) {
        rc = store_error_set(error, STORE_NOT_FOUND, "no such mailbox");
    }
    return rc;
}

static int write_renaming(struct transaction *transaction, const struct renaming *renaming,
                          struct account_state *state, struct store_error *error)
{
    struct mailbox *mailbox = renaming->mailbox;
    g_autofree char *subject =
        g_strdup_printf("RENAME mailbox %s to %s", mailbox->name, renaming->name);
    struct object_id commit;
    int rc = add_event(transaction, mailbox, subject, &commit, error);

    if (rc < 0) {
        return rc;
    }
    transaction_move(transaction, mailbox->ref, &mailbox->snapshot->commit, NULL);
    transaction_move(transaction, renaming->ref, NULL, &commit);
    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        if (g_strcmp0(state->special_use[i], mailbox->name) == 0) {
            set_use(state, (enum special_use)i, renaming->name);
        }
    }
    return 0;
}

static bool states_equal(const struct account_state *a, const struct account_state *b)
{
    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        if (g_strcmp0(a->special_use[i], b->special_use[i]) != 0) {
            return false;
        }
    }
    return true;
}

static int write_renamings(struct transaction *transaction, const GPtrArray *renamings,
                           const struct name_task *task, struct store_error *error)
{
    struct account_state *state = account_state_copy(task->account->state);
    g_autofree char *subject = g_strdup_printf("RENAME mailbox %s to %s", task->name, task->to);
    int rc = 0;

    for (guint i = 0; rc == 0 && i < renamings->len; i++) {
        rc = write_renaming(transaction, g_ptr_array_index(renamings, i), state, error);
    }
    if (rc < 0 || states_equal(state, task->account->state)) {
        account_state_free(state);
        return rc;
    }
    return transaction_set_state(transaction, state, subject, error);
}

static int rename_all(const GPtrArray *renamings, const struct name_task *task,
                      struct store_error *error)
{
    struct transaction transaction;
    struct store_error ignored;
    int rc = transaction_begin(&transaction, task->account, task->origin, error);

    if (rc == 0) {
        rc = write_renamings(&transaction, renamings, task, error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    for (guint i = 0; rc == 0 && i < renamings->len; i++) {
        const struct renaming *renaming = g_ptr_array_index(renamings, i);

        mailbox_renamed(renaming->mailbox, renaming->name, renaming->ref);
        mailbox_refresh(renaming->mailbox, &ignored);
    }
    if (rc == 0) {
        task->account->list_version++;
    }
    return rc;
}

static int rename_attempt(void *data, struct store_error *error)
{
    struct name_task *task = data;
    g_autoptr(GPtrArray) renamings = g_ptr_array_new_with_free_func(renaming_free);
    struct object_id tip;
    int rc = account_state_refresh(task->account, error);

    if (rc == 0) {
        rc = pending_tip(task->account, task->to_ref, &tip, error);
        if (rc == 0) {
            return store_error_set(error, STORE_EXISTS, "the new name exists");
        }
    }
    if (rc != STORE_NOT_FOUND) {
        return rc;
    }
    if (strcmp(task->name, "INBOX") == 0) {
        return rename_inbox(task, error);
    }
    rc = find_renamings(renamings, task, error);
    return rc < 0 ? rc : rename_all(renamings, task, error);
}

int account_rename_mailbox(struct account *account, const char *from, const char *to,
                           const struct origin *origin, struct store_error *error)
{
    g_autofree char *name = NULL;
    g_autofree char *ref = NULL;
    g_autofree char *to_name = NULL;
    g_autofree char *to_ref = NULL;
    struct name_task task = {.account = account, .origin = origin};
    int rc = account_name(&name, &ref, from, error);

    if (rc == 0) {
        rc = account_name(&to_name, &to_ref, to, error);
    }
    if (rc < 0) {
        return rc;
    }
    if (strcmp(name, "INBOX") != 0 && is_child(to_name, name)) {
        return store_error_set(error, STORE_FORBIDDEN, "a mailbox can't go below itself");
    }
    task.name = name;
    task.ref = ref;
    task.to = to_name;
    task.to_ref = to_ref;
    return transaction_retry(rename_attempt, &task, error);
}
