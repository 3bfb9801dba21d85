/* Mailboxes that come back whole. */
#include <string.h>

#include "store/internal/branch_name.h"
#include "store/internal/restore_private.h"
#include "store/internal/text.h"

char *restore_trailer(const struct commit *commit, const char *name)
{
    struct text text = {commit->message, commit->message + commit->message_length};
    struct text line;

    while (text_line(&text, &line)) {
        if (text_word(&line, name)) {
            return g_strndup(line.at, (size_t)(line.end - line.at));
        }
    }
    return g_strdup("");
}

int restore_properties(struct properties *out, struct objects *objects,
                       const struct object_id *commit, struct store_error *error)
{
    GArray *directories = NULL;
    struct object_data data;
    struct commit decoded;
    int rc = objects_read(objects, commit, OBJECT_COMMIT, &data, error);

    memset(out, 0, sizeof(*out));
    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&decoded, data.data, data.length, error);
    if (rc == 0) {
        rc = root_load(out, &directories, objects, &decoded.tree, error);
        g_array_unref(directories);
    }
    object_data_release(&data);
    return rc;
}

/* --- where it is now --- */

void restore_place_clear(struct restore_place *place)
{
    g_clear_pointer(&place->name, g_free);
    g_clear_pointer(&place->grave, g_free);
}

/* What can't be read is not it. */
static bool has_id(struct objects *objects, const struct object_id *commit, const char *mailbox_id)
{
    struct properties properties;
    struct store_error ignored;
    bool has = restore_properties(&properties, objects, commit, &ignored) == 0 &&
               strcmp(properties.mailbox_id, mailbox_id) == 0;

    properties_release(&properties);
    return has;
}

static int locate_below(struct account *account, const char *prefix, const char *mailbox_id,
                        char **ref, struct object_id *tip, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    int rc = refs_list(account->refs, prefix, &refs, error);

    /* Of several graves of one mailbox (its branch was copied with git) the last one counts. */
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        struct object_id now = entry->id;
        struct store_error ignored;

        if (strcmp(prefix, HEADS_PREFIX) == 0 &&
            pending_tip(account, entry->name, &now, &ignored) < 0) {
            continue;
        }
        if (has_id(account->objects, &now, mailbox_id)) {
            g_free(*ref);
            *ref = g_strdup(entry->name);
            *tip = now;
        }
    }
    return rc;
}

static bool is_under(struct account *account, const char *name, const char *mailbox_id,
                     struct restore_place *out)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct store_error ignored;

    if (account_name(&canonical, &ref, name, &ignored) < 0 ||
        pending_tip(account, ref, &out->tip, &ignored) < 0 ||
        !has_id(account->objects, &out->tip, mailbox_id)) {
        return false;
    }
    out->name = g_steal_pointer(&canonical);
    return true;
}

int restore_locate(struct account *account, const char *mailbox_id, const char *likely,
                   struct restore_place *out, struct store_error *error)
{
    g_autofree char *branch = NULL;
    int rc;

    memset(out, 0, sizeof(*out));
    if (likely != NULL && is_under(account, likely, mailbox_id, out)) {
        return 0;
    }
    rc = locate_below(account, HEADS_PREFIX, mailbox_id, &branch, &out->tip, error);
    if (rc == 0 && branch != NULL) {
        rc = branch_name_decode(&out->name, branch + strlen(HEADS_PREFIX), error);
        if (rc == 0) {
            return 0;
        }
    }
    return rc < 0
               ? rc
               : locate_below(account, DELETED_PREFIX, mailbox_id, &out->grave, &out->tip, error);
}

/* --- a branch again --- */

struct branch_task {
    struct account *account;
    const char *name;
    const char *ref;
    const struct object_id *tip;
    const char *grave;
    const struct snapshot *then;
    const struct snapshot *last; /* at tip */
    const struct restore_options *options;
    struct restore_counts *counts;
};

/* Clients that saw a later mailbox of that name must not take this one for an earlier state. */
static int has_later_name(struct account *account, const struct branch_task *task, bool *later,
                          struct store_error *error)
{
    g_autofree char *prefix =
        g_strconcat(DELETED_PREFIX, task->ref + strlen(HEADS_PREFIX), "/", NULL);
    g_autoptr(GPtrArray) refs = NULL;
    int rc = refs_list(account->refs, prefix, &refs, error);

    *later = false;
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        uint64_t number = g_ascii_strtoull(entry->name + strlen(prefix), NULL, 10);

        *later = *later || number > task->last->uid_validity;
    }
    return rc;
}

/* The account's state after it, or NULL where that stays. */
static int choose_uid_validity(const struct branch_task *task, struct snapshot_builder *builder,
                               struct account_state **state, struct store_error *error)
{
    struct account *account = task->account;
    bool later;
    int rc = has_later_name(account, task, &later, error);

    *state = NULL;
    if (rc < 0 || (!later && builder->uid_validity <= account->state->uid_validity)) {
        return rc;
    }
    *state = account_state_copy(account->state);
    if (later) {
        rc = account_next_uid_validity(account, *state, &builder->uid_validity, error);
    } else {
        (*state)->uid_validity = builder->uid_validity;
    }
    return rc;
}

static int write_branch(struct transaction *transaction, const struct branch_task *task,
                        struct snapshot_builder *builder, struct account_state *state,
                        struct store_error *error)
{
    g_autoptr(GString) subject = g_string_new(NULL);
    struct snapshot *after;
    int rc;

    g_string_printf(subject, "RESTORE mailbox %s %s", task->name, task->options->what);
    restore_subject_counts(subject, task->counts);
    rc = transaction_write(transaction, builder, task->tip, subject->str, &after, error);
    if (rc < 0) {
        account_state_free(state);
        return rc;
    }
    transaction_move(transaction, task->ref, NULL, &after->commit);
    snapshot_unref(after);
    if (task->grave != NULL) {
        transaction_move(transaction, task->grave, task->tip, NULL);
    }
    return state == NULL ? 0 : transaction_set_state(transaction, state, subject->str, error);
}

static int commit_branch(const struct branch_task *task, struct snapshot_builder *builder,
                         struct store_error *error)
{
    struct account_state *state = NULL;
    struct transaction transaction;
    int rc = choose_uid_validity(task, builder, &state, error);

    if (rc < 0) {
        account_state_free(state);
        return rc;
    }
    rc = transaction_begin(&transaction, task->account, task->options->origin, error);
    if (rc == 0) {
        rc = write_branch(&transaction, task, builder, state, error);
    } else {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    if (rc == 0) {
        task->account->list_version++;
    }
    return rc;
}

static int check_free(const struct branch_task *task, struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    struct object_id tip;
    int rc = pending_tip(task->account, task->ref, &tip, error);

    if (rc != STORE_NOT_FOUND) {
        return rc < 0 ? rc : store_error_set(error, STORE_EXISTS, "%s exists", task->name);
    }
    rc = account_names(task->account, &names, error);
    if (rc == 0 && names->len >= ACCOUNT_MAILBOXES_MAX) {
        rc = store_error_set(error, STORE_LIMIT, "the account has %u mailboxes", names->len);
    }
    return rc;
}

static int branch_attempt(void *data, struct store_error *error)
{
    struct branch_task *task = data;
    struct snapshot_builder *builder;
    struct restore_plan plan;
    int rc = account_state_refresh(task->account, error);

    if (rc == 0) {
        rc = check_free(task, error);
    }
    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->last);
    restore_plan_init(&plan, task->then, task->last);
    restore_plan_make(&plan, task->options->keep_new);
    rc = restore_plan_apply(&plan, builder, task->account->objects, task->counts, error);
    restore_plan_release(&plan);
    if (rc == 0 && !task->options->dry_run) {
        rc = commit_branch(task, builder, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

int restore_branch(struct account *account, const char *name, const struct object_id *tip,
                   const char *grave, const struct snapshot *then,
                   const struct restore_options *options, struct restore_counts *counts,
                   struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct branch_task task = {.account = account,
                               .tip = tip,
                               .grave = grave,
                               .then = then,
                               .options = options,
                               .counts = counts};
    struct snapshot *last;
    bool moved;
    int rc = account_name(&canonical, &ref, name, error);

    if (rc == 0) {
        rc = snapshot_load(&last, &moved, account->objects, tip, NULL, error);
    }
    if (rc < 0) {
        return rc;
    }
    task.name = canonical;
    task.ref = ref;
    task.last = last;
    rc = transaction_retry(branch_attempt, &task, error);
    snapshot_unref(last);
    return rc;
}
