/* IDLE (RFC 2177): the client listens until it says DONE; session_notify() tells it the news. */
#include "server/session_private.h"

enum { DONE_LINE_MAX = 64 };

enum run_status run_idle(struct session *session, struct run *run)
{
    if (run->state == NULL) {
        run->state = session; /* the continuation is out; nothing to free */
        session->idling = true;
        g_string_append(session_out(session), "+ idling\r\n");
    }
    const char *line = NULL;
    bool too_long = false;
    if (!session_read_line(session, DONE_LINE_MAX, &line, &too_long)) {
        session_sync(session, SYNC_FULL);
        return RUN_WAIT;
    }
    session->idling = false;
    if (too_long || g_ascii_strcasecmp(line, "DONE") != 0)
        return session_finish(session, run, "BAD", NULL, "IDLE ends with DONE");
    return session_finish(session, run, "OK", NULL, "No longer idling");
}
