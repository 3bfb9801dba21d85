#include <string.h>
#include <time.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/tree.h"
#include "store/internal/usage_table.h"

struct mailbox_change {
    struct mailbox *mailbox;
    struct snapshot *after;
};

static void mailbox_change_free(void *data)
{
    struct mailbox_change *change = data;

    mailbox_unref(change->mailbox);
    snapshot_unref(change->after);
    g_free(change);
}

int transaction_begin(struct transaction *transaction, struct account *account,
                      const struct origin *origin, struct store_error *error)
{
    *transaction = (struct transaction){
        .account = account,
        .origin = origin,
        .updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update)),
        .strings = g_ptr_array_new_with_free_func(g_free),
        .changes = g_ptr_array_new_with_free_func(mailbox_change_free),
    };
    return object_batch_new(&transaction->batch, account->objects, error);
}

int transaction_write(struct transaction *transaction, struct snapshot_builder *builder,
                      const struct object_id *parent, const char *subject, struct snapshot **out,
                      struct store_error *error)
{
    struct snapshot *after;
    struct object_id root;
    int rc;

    if (builder->modseq > MODSEQ_MAX) {
        return store_error_set(error, STORE_LIMIT, "no MODSEQ is left");
    }
    rc = snapshot_builder_write(builder, transaction->batch, &after, &root, error);
    if (rc < 0) {
        return rc;
    }
    rc =
        commit_add(transaction->batch, &root, parent, transaction->other,
                   transaction->account->user, transaction->origin, subject, &after->commit, error);
    if (rc < 0) {
        snapshot_unref(after);
        return rc;
    }
    *out = after;
    return 0;
}

int transaction_keep(struct transaction *transaction, const struct snapshot *before,
                     const struct snapshot_builder *builder, struct store_error *error)
{
    int rc = 0;

    for (uint64_t uid = before->uid_next; rc == 0 && uid < builder->uid_next; uid++) {
        struct message message;

        if (snapshot_builder_find(builder, (uint32_t)uid, &message)) {
            rc = object_batch_keep(transaction->batch, &message.blob, error);
        }
    }
    return rc;
}

void transaction_move(struct transaction *transaction, const char *ref,
                      const struct object_id *before, const struct object_id *after)
{
    struct ref_update update = {.name = g_strdup(ref)};

    g_ptr_array_add(transaction->strings, (char *)(uintptr_t)update.name);
    if (before != NULL) {
        update.before = *before;
    }
    if (after != NULL) {
        update.after = *after;
    }
    g_array_append_val(transaction->updates, update);
}

int transaction_change(struct transaction *transaction, struct mailbox *mailbox,
                       struct snapshot_builder *builder, const char *subject,
                       struct store_error *error)
{
    struct mailbox_change *change;
    struct snapshot *after;
    int rc =
        transaction_write(transaction, builder, &mailbox->snapshot->commit, subject, &after, error);

    if (rc < 0) {
        return rc;
    }
    transaction_move(transaction, mailbox->ref, &mailbox->snapshot->commit, &after->commit);
    change = g_new(struct mailbox_change, 1);
    change->mailbox = mailbox_ref(mailbox);
    change->after = after;
    g_ptr_array_add(transaction->changes, change);
    return 0;
}

static int add_state_file(struct transaction *transaction, GByteArray *tree, const char *name,
                          void (*encode)(GString *, const struct account_state *),
                          struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    struct object_id id;
    int rc;

    encode(text, transaction->state);
    rc = object_batch_add(transaction->batch, OBJECT_BLOB, text->str, text->len, &id, error);
    if (rc == 0) {
        tree_append(tree, name, false, &id);
    }
    return rc;
}

int transaction_set_state(struct transaction *transaction, struct account_state *state,
                          const char *subject, struct store_error *error)
{
    const struct account *account = transaction->account;
    const struct object_id *parent =
        object_id_is_zero(&account->state_commit) ? NULL : &account->state_commit;
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct object_id id;
    int rc;

    transaction->state = state;
    rc = add_state_file(transaction, tree, "account", account_file_encode, error);
    if (rc == 0) {
        rc = add_state_file(transaction, tree, "special-use", special_use_file_encode, error);
    }
    if (rc == 0) {
        rc = add_state_file(transaction, tree, "subscriptions", subscriptions_file_encode, error);
    }
    if (rc == 0) {
        rc = object_batch_add(transaction->batch, OBJECT_TREE, tree->data, tree->len, &id, error);
    }
    if (rc == 0) {
        rc = commit_add(transaction->batch, &id, parent, NULL, account->user, transaction->origin,
                        subject, &transaction->state_commit, error);
    }
    if (rc == 0) {
        transaction_move(transaction, ACCOUNT_REF, parent, &transaction->state_commit);
    }
    return rc;
}

static int commit_directly(struct transaction *transaction, const struct ref_update *updates,
                           size_t count, struct store_error *error)
{
    struct account *account = transaction->account;
    int rc = pending_yield(account, updates, count, error);

    if (rc == 0) {
        rc = object_batch_write(transaction->batch, true, error);
    }
    if (rc == 0) {
        rc = refs_commit(account->refs, updates, count, error);
    }
    if (rc == 0) {
        store_mark_changed(account->store, account);
    }
    return rc;
}

static bool changes_names(const struct ref_update *updates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (object_id_is_zero(&updates[i].before) || object_id_is_zero(&updates[i].after)) {
            return true;
        }
    }
    return false;
}

int transaction_commit(struct transaction *transaction, struct store_error *error)
{
    struct account *account = transaction->account;
    const struct ref_update *updates =
        (const struct ref_update *)(void *)transaction->updates->data;
    size_t count = transaction->updates->len;
    int rc = object_batch_publish_spools(transaction->batch, error);

    if (rc < 0) {
        return rc;
    }
    rc = pending_accepts(account, transaction->batch, updates, count)
             ? pending_add(account, transaction->batch, updates, count, transaction->relaxed, error)
             : commit_directly(transaction, updates, count, error);
    if (rc < 0) {
        return rc;
    }
    if (changes_names(updates, count)) {
        usage_note_names(account);
    }
    for (guint i = 0; i < transaction->changes->len; i++) {
        struct mailbox_change *change = g_ptr_array_index(transaction->changes, i);

        mailbox_adopt(change->mailbox, g_steal_pointer(&change->after));
    }
    if (transaction->state != NULL) {
        account_state_free(account->state);
        account->state = g_steal_pointer(&transaction->state);
        account->state_commit = transaction->state_commit;
        account->list_version++;
    }
    return 0;
}

void transaction_end(struct transaction *transaction)
{
    object_batch_free(transaction->batch);
    g_array_unref(transaction->updates);
    g_ptr_array_unref(transaction->strings);
    g_ptr_array_unref(transaction->changes);
    account_state_free(transaction->state);
}

static int64_t monotonic_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

int transaction_retry(transaction_attempt attempt, void *data, struct store_error *error)
{
    int64_t last = monotonic_seconds() + TRANSACTION_SECONDS;
    int rc = STORE_CONFLICT;

    for (int i = 0; i < TRANSACTION_TRIES && rc == STORE_CONFLICT; i++) {
        rc = attempt(data, error);
        if (monotonic_seconds() > last) {
            break;
        }
    }
    return rc;
}
