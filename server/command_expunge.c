/* EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1). What went is told as the command ends.
 */
#include "server/session_message.h"

/* Every message with \Deleted, also those that this client has not been told of yet. */
static GArray *expunge_all_deleted(const struct session *session)
{
    const struct snapshot *newest = mailbox_snapshot(session->mailbox);
    size_t count = snapshot_deleted(newest) > 0 ? snapshot_count(newest) : 0;
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (size_t i = 0; i < count; i++) {
        struct message message = snapshot_message(newest, i);

        if ((message.flags & MESSAGE_DELETED) != 0) {
            g_array_append_val(uids, message.uid);
        }
    }
    return uids;
}

enum run_status run_expunge(struct session *session, struct run *run)
{
    struct store_error error;
    struct origin origin;
    GArray *uids;
    int result = 0;

    if (run->command->uid) {
        GArray *indexes = session_resolve(session, &run->command->expunge.set, true);

        uids = session_message_uids(session, indexes);
        g_array_unref(indexes);
    } else {
        uids = expunge_all_deleted(session);
    }
    if (uids->len > 0) {
        session_origin(session, run, &origin);
        result = mailbox_expunge(session->mailbox, (const uint32_t *)(void *)uids->data, uids->len,
                                 true, &origin, &error);
        session->modseq_due = result == 0;
    }
    g_array_unref(uids);
    if (result != 0) {
        return session_fail(session, run, &error, false);
    }
    return session_finish(session, run, "OK", NULL, "Expunge completed");
}
