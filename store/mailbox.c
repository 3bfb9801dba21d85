#include "store/mailbox.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/message_stream_private.h"
#include "store/internal/snapshot_cache.h"
#include "store/internal/usage_table.h"

struct mailbox *mailbox_ref(struct mailbox *mailbox)
{
    mailbox->references++;
    return mailbox;
}

void mailbox_remember(const struct mailbox *mailbox)
{
    struct remembered *remembered;

    if (mailbox->snapshot == NULL || mailbox->deleted || mailbox->past) {
        return;
    }
    remembered = g_new(struct remembered, 1);
    remembered->commit = mailbox->snapshot->commit;
    remembered->recent_from = mailbox->recent_from;
    remembered->noted = mailbox->noted;
    g_hash_table_replace(mailbox->account->remembered, g_strdup(mailbox->name), remembered);
}

void mailbox_unref(struct mailbox *mailbox)
{
    if (mailbox == NULL || --mailbox->references > 0) {
        return;
    }
    mailbox_remember(mailbox);
    snapshot_cache_save(mailbox);
    mailbox_detach(mailbox);
    snapshot_unref(mailbox->snapshot);
    account_unref(mailbox->account);
    g_free(mailbox->name);
    g_free(mailbox->ref);
    g_free(mailbox);
}

const char *mailbox_name(const struct mailbox *mailbox)
{
    return mailbox->name;
}

bool mailbox_is_deleted(const struct mailbox *mailbox)
{
    return mailbox->deleted;
}

bool mailbox_is_past(const struct mailbox *mailbox)
{
    return mailbox->past;
}

const struct snapshot *mailbox_snapshot(const struct mailbox *mailbox)
{
    return mailbox->snapshot;
}

uint32_t mailbox_recent_from(const struct mailbox *mailbox)
{
    return mailbox->recent_from;
}

uint32_t mailbox_take_recent(struct mailbox *mailbox)
{
    uint32_t from = mailbox->recent_from;

    mailbox->recent_from = mailbox->snapshot->uid_next;
    return from;
}

void mailbox_adopt(struct mailbox *mailbox, struct snapshot *snapshot)
{
    snapshot_unref(mailbox->snapshot);
    mailbox->snapshot = snapshot;
    memset(&mailbox->bad_tip, 0, sizeof(mailbox->bad_tip));
    usage_note(mailbox);
}

void mailbox_detach(struct mailbox *mailbox)
{
    GHashTable *open = mailbox->account->mailboxes;

    if (g_hash_table_lookup(open, mailbox->name) == mailbox) {
        g_hash_table_remove(open, mailbox->name);
    }
    mailbox->deleted = true;
}

void mailbox_renamed(struct mailbox *mailbox, const char *name, const char *ref)
{
    GHashTable *open = mailbox->account->mailboxes;

    g_hash_table_remove(open, mailbox->name);
    g_free(mailbox->name);
    g_free(mailbox->ref);
    mailbox->name = g_strdup(name);
    mailbox->ref = g_strdup(ref);
    g_hash_table_replace(open, g_strdup(name), mailbox);
}

/* Remembers a tip that is no mailbox, so that it is not read again and again. */
static int refuse_tip(struct mailbox *mailbox, const struct object_id *tip, int rc,
                      const struct store_error *error)
{
    if (rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED) {
        mailbox->bad_tip = *tip;
        mailbox->bad_error = *error;
    }
    return rc;
}

static int refresh_once(void *data, struct store_error *error)
{
    struct mailbox *mailbox = data;
    struct object_id tip;
    int rc;

    if (mailbox->deleted || mailbox->past) {
        return 0;
    }
    rc = pending_tip(mailbox->account, mailbox->ref, &tip, error);
    /* What the snapshot says may be made up: who opens the mailbox next reads git. */
    if (rc == STORE_NOT_FOUND || mailbox->losses != account_losses(mailbox->account)) {
        mailbox_remember(mailbox);
        mailbox_detach(mailbox);
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    if (object_id_equal(&tip, &mailbox->snapshot->commit)) {
        memset(&mailbox->bad_tip, 0, sizeof(mailbox->bad_tip));
        return 0;
    }
    if (object_id_equal(&tip, &mailbox->bad_tip)) {
        *error = mailbox->bad_error;
        return error->code;
    }
    return refuse_tip(mailbox, &tip, mailbox_reconcile(mailbox, &tip, error), error);
}

int mailbox_refresh(struct mailbox *mailbox, struct store_error *error)
{
    return transaction_retry(refresh_once, mailbox, error);
}

int mailbox_prepare(struct mailbox *mailbox, struct store_error *error)
{
    int rc = mailbox_refresh(mailbox, error);

    if (rc == 0 && mailbox->deleted) {
        return store_error_set(error, STORE_NOT_FOUND, "the mailbox was deleted");
    }
    if (rc == 0 && mailbox->past) {
        return store_error_set(error, STORE_FORBIDDEN, "the past can't be changed");
    }
    return rc;
}

/* Another mailbox took the name of one that we know, with a UIDVALIDITY that is not above its:
 * clients would take its UIDs for those they have seen. It gets a new one. (A mailbox that took
 * over another server's UIDVALIDITY keeps it: nothing was ever known under that here.) */
static int renew_uid_validity(struct mailbox *mailbox, struct store_error *error)
{
    struct account *account = mailbox->account;
    struct origin origin = {.time = account->host->now(account->host->data)};
    struct snapshot_builder *builder = snapshot_builder_new(mailbox->snapshot);
    struct account_state *state;
    struct transaction transaction;
    int rc = account_state_refresh(account, error);

    if (rc < 0) {
        snapshot_builder_free(builder);
        return rc;
    }
    state = account_state_copy(account->state);
    rc = account_next_uid_validity(account, state, &builder->uid_validity, error);
    if (rc < 0) {
        account_state_free(state);
        snapshot_builder_free(builder);
        return rc;
    }
    rc = transaction_begin(&transaction, account, &origin, error);
    if (rc == 0) {
        rc = transaction_change(&transaction, mailbox, builder,
                                "RECONCILE new UIDVALIDITY after a change from outside", error);
    }
    if (rc == 0) {
        rc = transaction_set_state(&transaction, state, "RECONCILE new UIDVALIDITY", error);
    } else {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    snapshot_builder_free(builder);
    return rc;
}

static int load_commit(struct mailbox *mailbox, const struct object_id *commit,
                       struct store_error *error)
{
    int rc = snapshot_cache_load(&mailbox->snapshot, mailbox, commit, error);

    mailbox->losses = account_losses(mailbox->account);
    return rc;
}

/* Loads the branch as one never seen before. */
static int load_tip(struct mailbox *mailbox, struct store_error *error)
{
    struct account *account = mailbox->account;
    struct object_id tip;
    int rc = pending_tip(account, mailbox->ref, &tip, error);

    if (rc == 0) {
        rc = load_commit(mailbox, &tip, error);
    }
    if (rc == 0) {
        mailbox->recent_from = mailbox->snapshot->uid_next;
        mailbox->noted = mailbox->snapshot->highest_modseq;
    }
    return rc;
}

/* Goes on from the state in which the mailbox was last open, so that what happened outside since
 * then can't take back what clients were told. */
static int continue_from(struct mailbox *mailbox, const struct remembered *remembered,
                         struct store_error *error)
{
    struct snapshot *known;
    bool other;
    int rc = load_commit(mailbox, &remembered->commit, error);

    if (rc < 0) {
        return load_tip(mailbox, error);
    }
    mailbox->recent_from = remembered->recent_from;
    mailbox->noted = remembered->noted;
    rc = mailbox_refresh(mailbox, error);
    if (rc < 0 || !mailbox->deleted) {
        return rc;
    }
    known = g_steal_pointer(&mailbox->snapshot);
    mailbox->deleted = false;
    rc = load_tip(mailbox, error);
    if (rc == 0) {
        mailbox->recent_from = 1;
        other = strcmp(known->mailbox_id, mailbox->snapshot->mailbox_id) != 0;
        if (other && known->uid_next > 1 &&
            mailbox->snapshot->uid_validity <= known->uid_validity) {
            rc = renew_uid_validity(mailbox, error);
        }
    }
    snapshot_unref(known);
    return rc;
}

int mailbox_open(struct mailbox **out, struct account *account, const char *name, const char *ref,
                 struct store_error *error)
{
    const struct remembered *remembered = g_hash_table_lookup(account->remembered, name);
    struct mailbox *mailbox = g_new0(struct mailbox, 1);
    int rc;

    mailbox->references = 1;
    mailbox->account = account_ref(account);
    mailbox->name = g_strdup(name);
    mailbox->ref = g_strdup(ref);
    rc = remembered != NULL ? continue_from(mailbox, remembered, error) : load_tip(mailbox, error);
    if (rc < 0) {
        mailbox->deleted = true;
        mailbox_unref(mailbox);
        return rc;
    }
    g_hash_table_replace(account->mailboxes, g_strdup(name), mailbox);
    usage_note(mailbox);
    *out = mailbox;
    return 0;
}

int mailbox_read(struct mailbox *mailbox, const struct object_id *blob, struct message_bytes *out,
                 struct store_error *error)
{
    struct object_data *data = g_new0(struct object_data, 1);
    int rc = objects_read(mailbox->account->objects, blob, OBJECT_BLOB, data, error);

    if (rc < 0) {
        g_free(data);
        return rc;
    }
    out->data = data->data;
    out->length = data->length;
    out->owner = data;
    return 0;
}

void message_bytes_release(struct message_bytes *bytes)
{
    if (bytes->owner != NULL) {
        object_data_release(bytes->owner);
        g_free(bytes->owner);
    }
    memset(bytes, 0, sizeof(*bytes));
}

int mailbox_open_message(struct mailbox *mailbox, const struct object_id *blob,
                         struct message_stream **out, struct store_error *error)
{
    return message_stream_open(out, mailbox->account->objects, blob, error);
}
