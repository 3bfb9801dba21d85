/* COPY, MOVE and their UID forms (RFC 3501 6.4.7, RFC 6851, COPYUID of RFC 4315). */
#include <inttypes.h>

#include "server/past_name.h"
#include "server/session_message.h"

/* "COPYUID validity from to" */
static void copyuid_code(GString *out, const struct mailbox *to, const struct uid_pairs *pairs)
{
    g_string_append_printf(out, "COPYUID %" PRIu32 " ",
                           snapshot_uid_validity(mailbox_snapshot(to)));
    sequence_set_format(out, (const uint32_t *)(void *)pairs->from->data, pairs->from->len);
    g_string_append_c(out, ' ');
    sequence_set_format(out, (const uint32_t *)(void *)pairs->to->data, pairs->to->len);
}

static enum run_status copy_finish(struct session *session, struct run *run,
                                   const struct mailbox *to, const struct uid_pairs *pairs)
{
    bool move = run->command->kind == COMMAND_MOVE;
    GString *code = g_string_new(NULL);
    enum run_status status;

    if (pairs->from == NULL || pairs->from->len == 0) {
        status = session_finish(session, run, "OK", NULL,
                                move ? "No messages to move" : "No messages to copy");
    } else if (move) {
        /* RFC 6851 4.3: before the EXPUNGEs, which come as the command ends. */
        copyuid_code(code, to, pairs);
        g_string_append_printf(session_out(session), "* OK [%s] Moved\r\n", code->str);
        status = session_finish(session, run, "OK", NULL, "Move completed");
    } else {
        copyuid_code(code, to, pairs);
        status = session_finish(session, run, "OK", code->str, "Copy completed");
    }
    g_string_free(code, TRUE);
    return status;
}

/* A copy takes the room of another message. */
static bool is_over_quota(struct session *session, const GArray *uids)
{
    const struct snapshot *snapshot = mailbox_snapshot(session->mailbox);
    uint64_t octets = 0;
    uint64_t messages = 0;

    if (!session_has_quota(session)) {
        return false;
    }
    for (guint i = 0; i < uids->len; i++) {
        size_t index;

        if (!snapshot_find(snapshot, g_array_index(uids, uint32_t, i), &index)) {
            continue;
        }
        octets += snapshot_message(snapshot, index).size;
        messages++;
    }
    return messages > 0 && session_is_over_quota(session, messages, octets);
}

static enum run_status copy_uids(struct session *session, struct run *run, const GArray *uids)
{
    struct command *command = run->command;
    struct uid_pairs pairs = {NULL, NULL};
    struct mailbox *to = NULL;
    struct store_error error;
    struct origin origin;
    enum run_status status;
    int result = account_open_mailbox(session->account, command->copy.mailbox, &to, &error);

    if (result == 0 && !command->uid && session_messages_gone(session, uids)) {
        /* RFC 2180 4.4: all or nothing, and a message that a client still numbers is missing. */
        mailbox_unref(to);
        return session_finish(session, run, "NO", "EXPUNGEISSUED",
                              "Some of the messages have been deleted");
    }
    if (result == 0 && command->kind == COMMAND_COPY && is_over_quota(session, uids)) {
        mailbox_unref(to);
        return session_finish(session, run, "NO", "OVERQUOTA", "The account is full");
    }
    if (result == 0 && uids->len > 0) {
        session_origin(session, run, &origin);
        result = (command->kind == COMMAND_MOVE ? mailbox_move : mailbox_copy)(
            session->mailbox, (const uint32_t *)(void *)uids->data, uids->len, to, &origin, &pairs,
            &error);
    }
    status = result == 0 ? copy_finish(session, run, to, &pairs)
                         : session_fail(session, run, &error, true);
    if (uids->len > 0 && to != NULL) {
        uid_pairs_release(&pairs);
    }
    mailbox_unref(to);
    return status;
}

enum run_status run_copy(struct session *session, struct run *run)
{
    if (past_name_is_past(session, run->command->copy.mailbox)) {
        return past_name_refuse(session, run, run->command->copy.mailbox);
    }
    GArray *indexes = session_resolve(session, &run->command->copy.set, run->command->uid);
    if (indexes == NULL) {
        return session_finish_bad_set(session, run);
    }
    GArray *uids = session_message_uids(session, indexes);
    enum run_status status = copy_uids(session, run, uids);
    g_array_unref(indexes);
    g_array_unref(uids);
    return status;
}
