/* Commands on mailboxes: SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE NAMESPACE
 * STATUS CLOSE UNSELECT. */
#include <string.h>

#include "protocol/response.h"
#include "server/past_name.h"
#include "server/resync.h"
#include "store/usage.h"

/* --- SELECT and EXAMINE --- */

static void write_unseen(struct session *session)
{
    size_t index = 0;
    if (snapshot_first_unseen(session->view, &index))
        g_string_append_printf(session_out(session), "* OK [UNSEEN %zu] First unseen\r\n",
                               index + 1);
}

static void describe_mailbox(struct session *session, const char *name)
{
    const struct snapshot *view = session->view;
    session_write_mailbox_flags(session, view);
    session_write_exists(session);
    if (session->rev2)
        session_write_list_of(session, name, !mailbox_is_past(session->mailbox));
    else
        write_unseen(session);
    g_string_append_printf(session_out(session),
                           "* OK [UIDVALIDITY %" G_GUINT32_FORMAT "] UIDs valid\r\n"
                           "* OK [UIDNEXT %" G_GUINT32_FORMAT "] Predicted next UID\r\n"
                           "* OK [HIGHESTMODSEQ %" G_GUINT64_FORMAT "] Highest\r\n",
                           snapshot_uid_validity(view), snapshot_uid_next(view),
                           snapshot_highest_modseq(view));
    g_string_append(session_out(session), "* OK [MAILBOXID (");
    past_name_write_id(session_out(session), name, session->mailbox);
    g_string_append(session_out(session), ")] Its id\r\n");
}

static void close_selected(struct session *session)
{
    if (session->mailbox != NULL)
        g_string_append(session_out(session), "* OK [CLOSED] The mailbox before is closed\r\n");
    session_unselect(session);
}

/* What SELECT keeps between slices: first the way into the past, then what is to be told. */
struct opening {
    struct past_progress *progress;
    struct resync *resync;
};

static void opening_free(void *data)
{
    struct opening *opening = data;
    past_progress_free(opening->progress);
    resync_free(opening->resync);
    g_free(opening);
}

/* RFC 7162 3.2.5: with another UIDVALIDITY the client's knowledge is of no use. */
static int begin_resync(struct session *session, struct run *run, struct store_error *error)
{
    const struct qresync_arguments *qresync = &run->command->select.qresync;
    struct opening *opening = run->state;
    if (!run->command->select.has_qresync ||
        qresync->uid_validity != snapshot_uid_validity(session->view))
        return STORE_OK;
    uint32_t match = 0;
    if (qresync->match_uids.ranges != NULL)
        match = resync_match(session, &qresync->match_numbers, &qresync->match_uids);
    return resync_begin(&opening->resync, session,
                        qresync->known.ranges != NULL ? &qresync->known : NULL, match,
                        qresync->modseq, error);
}

static int select_mailbox(struct session *session, struct run *run, struct store_error *error)
{
    const struct select_arguments *arguments = &run->command->select;
    struct opening *opening = run->state;
    struct mailbox *mailbox = NULL;
    int code = past_name_open(session, arguments->mailbox, &mailbox, &opening->progress, error);
    if (code != STORE_OK || mailbox == NULL)
        return code;
    session->mailbox = mailbox;
    session->view = snapshot_ref(mailbox_snapshot(mailbox));
    session->told_modseq = snapshot_highest_modseq(session->view);
    session->read_only = run->command->kind == COMMAND_EXAMINE || mailbox_is_past(mailbox);
    if (arguments->condstore)
        session->condstore = true;
    uint32_t recent =
        session->read_only ? mailbox_recent_from(mailbox) : mailbox_take_recent(mailbox);
    session_add_recent(session, recent, snapshot_uid_next(session->view));
    session_set_state(session, SESSION_STATE_SELECTED);
    describe_mailbox(session, arguments->mailbox);
    code = begin_resync(session, run, error);
    if (code != STORE_OK)
        session_unselect(session);
    return code;
}

/* A SELECT that fails leaves no mailbox selected (RFC 3501 6.3.1). */
enum run_status run_select(struct session *session, struct run *run)
{
    struct store_error error = {STORE_OK, ""};
    if (run->command->select.has_qresync && !session->qresync)
        return session_finish(session, run, "BAD", NULL, "QRESYNC needs ENABLE QRESYNC");
    if (run->state == NULL) {
        close_selected(session);
        run->state = g_new0(struct opening, 1);
        run->state_free = opening_free;
    }
    if (session->mailbox == NULL && select_mailbox(session, run, &error) != 0)
        return past_name_not_found(session, run, run->command->select.mailbox, &error);
    if (session->mailbox == NULL)
        return RUN_AGAIN;
    struct resync *resync = ((struct opening *)run->state)->resync;
    if (resync != NULL && (!resync_tell_vanished(resync, run) || !resync_tell_flags(resync, run)))
        return RUN_AGAIN;
    return session_finish(session, run, "OK", session->read_only ? "READ-ONLY" : "READ-WRITE",
                          session->read_only ? "Mailbox open for reading" : "Mailbox open");
}

static GArray *deleted_uids(const struct snapshot *snapshot)
{
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    if (snapshot_deleted(snapshot) == 0)
        return uids;
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        if ((message.flags & MESSAGE_DELETED) != 0)
            g_array_append_val(uids, message.uid);
    }
    return uids;
}

static int expunge_silently(struct session *session, const struct run *run,
                            struct store_error *error)
{
    GArray *uids = deleted_uids(mailbox_snapshot(session->mailbox));
    int code = STORE_OK;
    if (uids->len > 0) {
        struct origin origin;
        session_origin(session, run, &origin);
        code = mailbox_expunge(session->mailbox, (const uint32_t *)(void *)uids->data, uids->len,
                               true, &origin, error);
    }
    g_array_unref(uids);
    return code;
}

enum run_status run_close(struct session *session, struct run *run)
{
    struct store_error error = {STORE_OK, ""};
    int code = STORE_OK;
    if (run->command->kind == COMMAND_CLOSE && !session->read_only &&
        !mailbox_is_deleted(session->mailbox))
        code = expunge_silently(session, run, &error);
    session_unselect(session);
    if (code != STORE_OK)
        return session_fail(session, run, &error, false);
    return session_finish(session, run, "OK", NULL, "Mailbox closed");
}

/* --- changing the set of mailboxes --- */

static enum run_status finish_change(struct session *session, struct run *run, int code,
                                     const struct store_error *error, const char *text)
{
    if (code != STORE_OK)
        return session_fail(session, run, error, false);
    return session_finish(session, run, "OK", NULL, text);
}

/* RFC 8474 4.1. Whoever made it may have lost it again. */
static enum run_status finish_create(struct session *session, struct run *run)
{
    const char *name = run->command->create.mailbox;
    struct mailbox *mailbox = NULL;
    struct store_error ignored;
    g_autoptr(GString) code = g_string_new("MAILBOXID (");
    if (past_name_open(session, name, &mailbox, NULL, &ignored) != STORE_OK)
        return session_finish(session, run, "OK", NULL, "Mailbox created");
    past_name_write_id(code, name, mailbox);
    g_string_append_c(code, ')');
    mailbox_unref(mailbox);
    return session_finish(session, run, "OK", code->str, "Mailbox created");
}

/* RFC 9051 6.3.4, RFC 6855 3: who sends names in UTF-8 makes none that is not Net-Unicode. */
static bool is_net_unicode(const struct session *session, const char *name)
{
    if (!session->utf8)
        return true;
    g_autofree char *normal = g_utf8_normalize(name, -1, G_NORMALIZE_NFC);
    return normal != NULL && strcmp(normal, name) == 0;
}

static enum run_status refuse_name(struct session *session, struct run *run)
{
    return session_finish(session, run, "NO", "CANNOT",
                          "The name is not in Unicode's normal form C");
}

enum run_status run_create(struct session *session, struct run *run)
{
    const char *special_use = run->command->create.special_use;
    enum special_use use = SPECIAL_USE_NONE;
    if (past_name_is_past(session, run->command->create.mailbox))
        return past_name_refuse(session, run, run->command->create.mailbox);
    if (!is_net_unicode(session, run->command->create.mailbox))
        return refuse_name(session, run);
    if (run->command->create.many_uses)
        return session_finish(session, run, "NO", "USEATTR", "A mailbox has one special use");
    if (special_use != NULL && !special_use_parse(&use, special_use))
        return session_finish(session, run, "NO", "USEATTR", "That special use is not known");
    struct origin origin;
    session_origin(session, run, &origin);
    struct store_error error = {STORE_OK, ""};
    int code = account_create_mailbox(session->account, run->command->create.mailbox, use, &origin,
                                      &error);
    if (code == STORE_FORBIDDEN && use != SPECIAL_USE_NONE)
        return session_finish(session, run, "NO", "USEATTR",
                              "Another mailbox has that special use");
    if (code != STORE_OK)
        return session_fail(session, run, &error, false);
    return finish_create(session, run);
}

enum run_status run_delete(struct session *session, struct run *run)
{
    struct origin origin;
    session_origin(session, run, &origin);
    struct store_error error = {STORE_OK, ""};
    int code = account_delete_mailbox(session->account, run->command->mailbox, &origin, &error);
    if (code == STORE_NOT_FOUND && past_name_is_past(session, run->command->mailbox))
        return past_name_refuse(session, run, run->command->mailbox);
    return finish_change(session, run, code, &error, "Mailbox deleted");
}

enum run_status run_rename(struct session *session, struct run *run)
{
    struct origin origin;
    if (past_name_is_past(session, run->command->rename.to))
        return past_name_refuse(session, run, run->command->rename.to);
    if (!is_net_unicode(session, run->command->rename.to))
        return refuse_name(session, run);
    session_origin(session, run, &origin);
    struct store_error error = {STORE_OK, ""};
    int code = account_rename_mailbox(session->account, run->command->rename.from,
                                      run->command->rename.to, &origin, &error);
    if (code == STORE_NOT_FOUND && past_name_is_past(session, run->command->rename.from))
        return past_name_refuse(session, run, run->command->rename.from);
    return finish_change(session, run, code, &error, "Mailbox renamed");
}

enum run_status run_subscribe(struct session *session, struct run *run)
{
    bool subscribed = run->command->kind == COMMAND_SUBSCRIBE;
    struct origin origin;
    if (subscribed && past_name_is_past(session, run->command->mailbox))
        return past_name_refuse(session, run, run->command->mailbox);
    session_origin(session, run, &origin);
    struct store_error error = {STORE_OK, ""};
    int code =
        account_subscribe(session->account, run->command->mailbox, subscribed, &origin, &error);
    return finish_change(session, run, code, &error, subscribed ? "Subscribed" : "Unsubscribed");
}

enum run_status run_namespace(struct session *session, struct run *run)
{
    /* Of the kinds of RFC 2342 the shared one: clients that fetch all of somebody's mail fetch what
     * is personal. */
    g_string_append(session_out(session),
                    "* NAMESPACE ((\"\" \"/\")) NIL ((\"" PAST_ROOT "/\" \"/\"))\r\n");
    return session_finish(session, run, "OK", NULL, "The present, and the past");
}

/* --- STATUS --- */

static uint64_t status_value(const struct session *session, const struct mailbox *mailbox,
                             enum status_item item)
{
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    switch (item) {
    case STATUS_MESSAGES:
        return snapshot_count(snapshot);
    case STATUS_RECENT:
        return snapshot_count(snapshot) -
               snapshot_lower_bound(snapshot, mailbox_recent_from(mailbox));
    case STATUS_UIDNEXT:
        return snapshot_uid_next(snapshot);
    case STATUS_UIDVALIDITY:
        return snapshot_uid_validity(snapshot);
    case STATUS_UNSEEN:
        return snapshot_unseen(snapshot);
    case STATUS_DELETED:
        return snapshot_deleted(snapshot);
    case STATUS_SIZE:
        return snapshot_size(snapshot);
    case STATUS_HIGHESTMODSEQ:
        return snapshot_highest_modseq(snapshot);
    case STATUS_APPENDLIMIT:
        return session->settings->append_limit;
    case STATUS_DELETED_STORAGE:
        return snapshot_deleted_size(snapshot);
    case STATUS_MAILBOXID:
        break;
    }
    return 0;
}

static const struct {
    enum status_item item;
    const char *name;
} status_names[] = {
    {STATUS_MESSAGES, "MESSAGES"},
    {STATUS_RECENT, "RECENT"},
    {STATUS_UIDNEXT, "UIDNEXT"},
    {STATUS_UIDVALIDITY, "UIDVALIDITY"},
    {STATUS_UNSEEN, "UNSEEN"},
    {STATUS_DELETED, "DELETED"},
    {STATUS_SIZE, "SIZE"},
    {STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ"},
    {STATUS_APPENDLIMIT, "APPENDLIMIT"},
    {STATUS_MAILBOXID, "MAILBOXID"},
    {STATUS_DELETED_STORAGE, "DELETED-STORAGE"},
};

void session_write_status_of(struct session *session, const char *name, struct mailbox *mailbox,
                             uint32_t items)
{
    if ((items & STATUS_HIGHESTMODSEQ) != 0)
        session_enable_condstore(session);
    GString *out = session_out(session);
    g_string_append(out, "* STATUS ");
    response_mailbox(out, name, session->utf8);
    const char *separator = " (";
    for (size_t i = 0; i < G_N_ELEMENTS(status_names); i++) {
        if ((items & status_names[i].item) == 0)
            continue;
        g_string_append_printf(out, "%s%s ", separator, status_names[i].name);
        separator = " ";
        if (status_names[i].item != STATUS_MAILBOXID) {
            response_number(out, status_value(session, mailbox, status_names[i].item));
            continue;
        }
        g_string_append_c(out, '(');
        past_name_write_id(out, name, mailbox);
        g_string_append_c(out, ')');
    }
    g_string_append(out, items == 0 ? " ()\r\n" : ")\r\n");
}

int session_write_status(struct session *session, const char *name, uint32_t items,
                         struct past_progress **progress, struct store_error *error)
{
    struct mailbox *mailbox = NULL;
    int code = past_name_open(session, name, &mailbox, progress, error);
    if (code != STORE_OK || mailbox == NULL)
        return code;
    session_write_status_of(session, name, mailbox, items);
    mailbox_unref(mailbox);
    return STORE_OK;
}

static void give_up(void *progress)
{
    past_progress_free(progress);
}

enum run_status run_status(struct session *session, struct run *run)
{
    struct store_error error = {STORE_OK, ""};
    struct past_progress *progress = g_steal_pointer(&run->state);
    if (session_write_status(session, run->command->status.mailbox, run->command->status.items,
                             &progress, &error) != 0)
        return past_name_not_found(session, run, run->command->status.mailbox, &error);
    run->state = progress;
    run->state_free = give_up;
    if (progress != NULL)
        return RUN_AGAIN;
    return session_finish(session, run, "OK", NULL, "Status told");
}
