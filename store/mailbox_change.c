#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"

/* Commits one mailbox's builder. */
static int commit_change(struct transaction *transaction, struct mailbox *mailbox,
                         struct snapshot_builder *builder, const char *subject,
                         struct store_error *error)
{
    int rc = transaction_change(transaction, mailbox, builder, subject, error);

    return rc < 0 ? rc : transaction_commit(transaction, error);
}

/* The same where nothing else has to be in the transaction. */
static int commit_alone(struct mailbox *mailbox, struct snapshot_builder *builder,
                        const struct origin *origin, const char *subject, bool relaxed,
                        struct store_error *error)
{
    struct transaction transaction;
    int rc = transaction_begin(&transaction, mailbox->account, origin, error);

    if (rc == 0) {
        transaction.relaxed = relaxed;
        rc = commit_change(&transaction, mailbox, builder, subject, error);
    }
    transaction_end(&transaction);
    return rc;
}

static int keyword_bits(struct snapshot_builder *builder, const char *const *keywords,
                        uint64_t *bits, struct store_error *error)
{
    *bits = 0;
    for (size_t i = 0; keywords != NULL && keywords[i] != NULL; i++) {
        size_t index;
        int rc = snapshot_builder_keyword(builder, keywords[i], &index, error);

        if (rc < 0) {
            return rc;
        }
        *bits |= UINT64_C(1) << index;
    }
    return 0;
}

/* --- append --- */

struct append_task {
    const struct intake *intakes;
    size_t count;
    const struct origin *origin;
    uint32_t *first_uid; /* of the first mailbox; may be NULL */
};

static int check_append(const struct append *append, struct store_error *error)
{
    uint64_t size = spool_size(append->spool);

    if (size > MESSAGE_SIZE_MAX) {
        return store_error_set(error, STORE_TOO_BIG, "a message of %" G_GUINT64_FORMAT " octets",
                               size);
    }
    if (!append->binary && spool_has_nul(append->spool)) {
        return store_error_set(error, STORE_BAD_MESSAGE, "a NUL octet in a message");
    }
    if (!index_date_valid(append->internal_date, append->zone)) {
        return store_error_set(error, STORE_BAD_MESSAGE, "an internal date out of range");
    }
    return 0;
}

/* The builder's next UID: the one asked for, or (0) whichever is next. */
static int choose_uid(struct snapshot_builder *builder, uint32_t uid, struct store_error *error)
{
    if (uid != 0 && uid < builder->uid_next) {
        return store_error_set(error, STORE_EXISTS,
                               "UID %" G_GUINT32_FORMAT " is below UIDNEXT %" G_GUINT32_FORMAT, uid,
                               builder->uid_next);
    }
    builder->uid_next = MAX(builder->uid_next, uid);
    return snapshot_builder_room(builder) > 0
               ? 0
               : store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
}

static int append_one(struct transaction *transaction, struct snapshot_builder *builder,
                      const struct append *append, uint32_t *uid, struct store_error *error)
{
    struct message message = {.internal_date = append->internal_date,
                              .zone = append->zone,
                              .flags = append->flags & MESSAGE_FLAGS_ALL};
    int rc = check_append(append, error);

    if (rc == 0) {
        rc = keyword_bits(builder, append->keywords, &message.keywords, error);
    }
    if (rc < 0) {
        return rc;
    }
    rc = choose_uid(builder, append->uid, error);
    if (rc < 0) {
        return rc;
    }
    message.blob = *spool_id(append->spool);
    message.size = (uint32_t)spool_size(append->spool);
    *uid = snapshot_builder_append(builder, &message);
    return object_batch_add_spool(transaction->batch, append->spool, error);
}

/* UIDs: of those appended. */
static void append_subject(GString *subject, const struct intake *intake,
                           const struct origin *origin, const uint32_t *uids)
{
    size_t length;

    if (intake->count == 0) {
        g_string_printf(subject, "IMPORT mailbox %s (UIDVALIDITY %u, UIDNEXT %u)",
                        intake->mailbox->name, intake->mailbox->snapshot->uid_validity,
                        intake->uid_next);
        return;
    }
    if (intake->count > 1) {
        g_string_assign(subject, "APPEND uid ");
        subject_append_uids(subject, uids, intake->count);
        if (!g_str_has_suffix(subject->str, ")")) {
            g_string_append_printf(subject, " (%zu messages)", intake->count);
        }
        return;
    }
    g_string_printf(subject, "%s uid %" G_GUINT32_FORMAT ": ",
                    origin->sender != NULL ? "DELIVER" : "APPEND", uids[0]);
    const uint8_t *data = spool_head(intake->messages[0].spool, &length);
    subject_append_from_message(subject, data, length);
    if (g_str_has_suffix(subject->str, ": ")) {
        g_string_truncate(subject, subject->len - 2);
    }
}

/* One mailbox's messages. *first_uid is set if there are any. */
static int take_in(struct transaction *transaction, const struct intake *intake,
                   uint32_t *first_uid, struct store_error *error)
{
    g_autoptr(GString) subject = g_string_new(NULL);
    g_autofree uint32_t *uids = g_new(uint32_t, intake->count + 1);
    struct snapshot_builder *builder;
    int rc = 0;

    if (intake->count == 0 && intake->uid_next <= intake->mailbox->snapshot->uid_next) {
        return 0;
    }
    builder = snapshot_builder_new(intake->mailbox->snapshot);
    if (snapshot_builder_room(builder) < intake->count) {
        rc = store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
    }
    for (size_t i = 0; rc == 0 && i < intake->count; i++) {
        rc = append_one(transaction, builder, &intake->messages[i], &uids[i], error);
    }
    builder->uid_next = MAX(builder->uid_next, intake->uid_next);
    if (rc == 0) {
        append_subject(subject, intake, transaction->origin, uids);
        rc = transaction_change(transaction, intake->mailbox, builder, subject->str, error);
    }
    if (rc == 0 && intake->count > 0) {
        *first_uid = uids[0];
    }
    snapshot_builder_free(builder);
    return rc;
}

static int append_attempt(void *data, struct store_error *error)
{
    struct append_task *task = data;
    struct transaction transaction;
    uint32_t first_uid = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < task->count; i++) {
        rc = mailbox_prepare(task->intakes[i].mailbox, error);
    }
    if (rc < 0) {
        return rc;
    }
    rc = transaction_begin(&transaction, task->intakes[0].mailbox->account, task->origin, error);
    for (size_t i = 0; rc == 0 && i < task->count; i++) {
        uint32_t uid = 0;

        rc = take_in(&transaction, &task->intakes[i], &uid, error);
        first_uid = i == 0 ? uid : first_uid;
    }
    if (rc == 0 && transaction.changes->len > 0) {
        rc = transaction_commit(&transaction, error);
    }
    if (rc == 0 && task->first_uid != NULL) {
        *task->first_uid = first_uid;
    }
    transaction_end(&transaction);
    return rc;
}

int mailbox_append(struct mailbox *mailbox, const struct append *messages, size_t count,
                   const struct origin *origin, uint32_t *first_uid, struct store_error *error)
{
    struct intake intake = {mailbox, messages, count, 0};
    struct append_task task = {&intake, 1, origin, first_uid};

    if (count == 0 || count > STORE_APPEND_MAX) {
        return store_error_set(error, STORE_LIMIT, "%zu messages in one append", count);
    }
    return transaction_retry(append_attempt, &task, error);
}

int mailbox_take_in(const struct intake *intakes, size_t count, const struct origin *origin,
                    struct store_error *error)
{
    struct append_task task = {intakes, count, origin, NULL};

    for (size_t i = 0; i < count; i++) {
        if (intakes[i].count > STORE_APPEND_MAX) {
            return store_error_set(error, STORE_LIMIT, "%zu messages in one append",
                                   intakes[i].count);
        }
    }
    return count > 0 ? transaction_retry(append_attempt, &task, error) : 0;
}

/* --- flags --- */

struct store_task {
    struct mailbox *mailbox;
    const uint32_t *uids;
    size_t count;
    const struct flag_change *change;
    const struct origin *origin;
    GArray *changed;   /* UIDs, of the last attempt */
    GArray *unchanged; /* the same */
};

static void wanted_flags(const struct flag_change *change, uint64_t bits,
                         const struct message *message, uint8_t *flags, uint64_t *keywords)
{
    uint8_t given = change->flags & MESSAGE_FLAGS_ALL;

    switch (change->mode) {
    case FLAG_MODE_REPLACE:
        *flags = given;
        *keywords = bits;
        break;
    case FLAG_MODE_ADD:
        *flags = message->flags | given;
        *keywords = message->keywords | bits;
        break;
    case FLAG_MODE_REMOVE:
        *flags = message->flags & (uint8_t)~given;
        *keywords = message->keywords & ~bits;
        break;
    }
}

/* Keywords that a mailbox does not know can't be taken away: they need no bit. */
static int change_bits(struct snapshot_builder *builder, const struct flag_change *change,
                       uint64_t *bits, struct store_error *error)
{
    size_t index;

    if (change->mode != FLAG_MODE_REMOVE) {
        return keyword_bits(builder, change->keywords, bits, error);
    }
    *bits = 0;
    for (size_t i = 0; change->keywords != NULL && change->keywords[i] != NULL; i++) {
        if (keywords_find(builder->keywords, change->keywords[i], strlen(change->keywords[i]),
                          &index)) {
            *bits |= UINT64_C(1) << index;
        }
    }
    return 0;
}

static void change_messages(struct store_task *task, struct snapshot_builder *builder,
                            uint64_t bits)
{
    g_array_set_size(task->changed, 0);
    g_array_set_size(task->unchanged, 0);
    for (size_t i = 0; i < task->count; i++) {
        struct message message;
        uint64_t keywords = 0;
        uint8_t flags = 0;

        if (!snapshot_builder_find(builder, task->uids[i], &message)) {
            continue;
        }
        if (message.modseq > task->change->unchanged_since) {
            g_array_append_val(task->unchanged, task->uids[i]);
            continue;
        }
        wanted_flags(task->change, bits, &message, &flags, &keywords);
        if (flags != message.flags || keywords != message.keywords) {
            snapshot_builder_set_flags(builder, task->uids[i], flags, keywords);
            g_array_append_val(task->changed, task->uids[i]);
        }
    }
}

static void store_subject(GString *subject, const struct store_task *task)
{
    const struct flag_change *change = task->change;
    const char *sign = change->mode == FLAG_MODE_ADD      ? "+"
                       : change->mode == FLAG_MODE_REMOVE ? "-"
                                                          : "=";
    bool first = true;

    g_string_append(subject, "STORE uid ");
    subject_append_uids(subject, (const uint32_t *)(void *)task->changed->data, task->changed->len);
    for (unsigned i = 0; i < 5; i++) {
        uint8_t bit;
        const char *name = message_flag_name(i, &bit);

        if ((change->flags & bit) != 0) {
            g_string_append_printf(subject, " %s%s", sign, name);
            first = false;
        }
    }
    for (size_t i = 0; change->keywords != NULL && change->keywords[i] != NULL; i++) {
        g_string_append_printf(subject, " %s%s", sign, change->keywords[i]);
        first = false;
    }
    if (first) {
        g_string_append_printf(subject, " %s", sign);
    }
}

static int store_attempt(void *data, struct store_error *error)
{
    struct store_task *task = data;
    struct snapshot_builder *builder;
    uint64_t bits;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->mailbox->snapshot);
    rc = change_bits(builder, task->change, &bits, error);
    if (rc == 0) {
        change_messages(task, builder, bits);
    }
    if (rc == 0 && task->changed->len > 0) {
        g_autoptr(GString) subject = g_string_new(NULL);

        store_subject(subject, task);
        rc = commit_alone(task->mailbox, builder, task->origin, subject->str, true, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

int mailbox_store_flags(struct mailbox *mailbox, const uint32_t *uids, size_t count,
                        const struct flag_change *change, const struct origin *origin,
                        GArray **unchanged, struct store_error *error)
{
    struct store_task task = {mailbox, uids, count, change, origin, NULL, NULL};
    int rc;

    task.changed = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    task.unchanged = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    rc = transaction_retry(store_attempt, &task, error);
    g_array_unref(task.changed);
    if (rc == 0 && unchanged != NULL) {
        *unchanged = task.unchanged;
    } else {
        g_array_unref(task.unchanged);
    }
    return rc;
}

/* --- expunge --- */

struct expunge_task {
    struct mailbox *mailbox;
    const uint32_t *uids;
    size_t count;
    bool only_deleted;
    const struct origin *origin;
};

static int expunge_attempt(void *data, struct store_error *error)
{
    struct expunge_task *task = data;
    g_autoptr(GArray) removed = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    struct snapshot_builder *builder;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->mailbox->snapshot);
    for (size_t i = 0; i < task->count; i++) {
        struct message message;

        if (snapshot_builder_find(builder, task->uids[i], &message) &&
            (!task->only_deleted || (message.flags & MESSAGE_DELETED) != 0)) {
            snapshot_builder_remove(builder, task->uids[i]);
            g_array_append_val(removed, task->uids[i]);
        }
    }
    if (removed->len > 0) {
        g_autoptr(GString) subject = g_string_new("EXPUNGE uid ");

        subject_append_uids(subject, (const uint32_t *)(void *)removed->data, removed->len);
        rc = commit_alone(task->mailbox, builder, task->origin, subject->str, false, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

int mailbox_expunge(struct mailbox *mailbox, const uint32_t *uids, size_t count, bool only_deleted,
                    const struct origin *origin, struct store_error *error)
{
    struct expunge_task task = {mailbox, uids, count, only_deleted, origin};

    return transaction_retry(expunge_attempt, &task, error);
}
