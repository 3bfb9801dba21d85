/* Which command may run when, and what it does to sequence numbers: the rules of RFC 3501 3, 5.5
 * and 7.4.1 as one table. */
#include <assert.h>
#include <string.h>

#include "server/session_private.h"

enum {
    BEFORE = SESSION_STATE_NOT_AUTHENTICATED,
    LOGGED_IN = SESSION_STATE_AUTHENTICATED | SESSION_STATE_SELECTED,
    SELECTED = SESSION_STATE_SELECTED,
    ANY = BEFORE | LOGGED_IN,
};

static enum run_status run_unknown(struct session *session, struct run *run)
{
    const char *hint = command_unknown_hint(run->command->verb);
    if (hint != NULL)
        return session_finish(session, run, "BAD", NULL, hint);
    char *text = g_strdup_printf("Unknown command %s", run->command->verb);
    enum run_status status = session_finish(session, run, "BAD", NULL, text);
    g_free(text);
    return status;
}

static const struct command_spec specs[] = {
    [COMMAND_UNKNOWN] = {"unknown", ANY, SYNC_NONE, SYNC_NONE, false, run_unknown},
    [COMMAND_CAPABILITY] = {"CAPABILITY", ANY, SYNC_FULL, SYNC_FULL, false, run_capability},
    [COMMAND_NOOP] = {"NOOP", ANY, SYNC_FULL, SYNC_FULL, false, run_noop},
    [COMMAND_LOGOUT] = {"LOGOUT", ANY, SYNC_NONE, SYNC_NONE, false, run_logout},
    [COMMAND_ID] = {"ID", ANY, SYNC_FULL, SYNC_FULL, false, run_id},
    [COMMAND_STARTTLS] = {"STARTTLS", BEFORE, SYNC_NONE, SYNC_NONE, false, run_starttls},
    [COMMAND_AUTHENTICATE] = {"AUTHENTICATE", BEFORE, SYNC_NONE, SYNC_NONE, false,
                              run_authenticate},
    [COMMAND_LOGIN] = {"LOGIN", BEFORE, SYNC_NONE, SYNC_NONE, false, run_login},
    [COMMAND_ENABLE] = {"ENABLE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_enable},
    [COMMAND_COMPRESS] = {"COMPRESS", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_compress},
    [COMMAND_NAMESPACE] = {"NAMESPACE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_namespace},
    [COMMAND_SELECT] = {"SELECT", LOGGED_IN, SYNC_NONE, SYNC_NONE, false, run_select},
    [COMMAND_EXAMINE] = {"EXAMINE", LOGGED_IN, SYNC_NONE, SYNC_NONE, false, run_select},
    [COMMAND_CREATE] = {"CREATE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_create},
    [COMMAND_DELETE] = {"DELETE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_delete},
    [COMMAND_RENAME] = {"RENAME", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_rename},
    [COMMAND_SUBSCRIBE] = {"SUBSCRIBE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_subscribe},
    [COMMAND_UNSUBSCRIBE] = {"UNSUBSCRIBE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_subscribe},
    [COMMAND_LIST] = {"LIST", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_list},
    [COMMAND_LSUB] = {"LSUB", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_list},
    [COMMAND_STATUS] = {"STATUS", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_status},
    [COMMAND_APPEND] = {"APPEND", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_append},
    [COMMAND_IDLE] = {"IDLE", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_idle},
    [COMMAND_CHECK] = {"CHECK", SELECTED, SYNC_FULL, SYNC_FULL, false, run_noop},
    [COMMAND_CLOSE] = {"CLOSE", SELECTED, SYNC_NONE, SYNC_NONE, false, run_close},
    [COMMAND_UNSELECT] = {"UNSELECT", SELECTED, SYNC_NONE, SYNC_NONE, false, run_close},
    [COMMAND_EXPUNGE] = {"EXPUNGE", SELECTED, SYNC_FULL, SYNC_FULL, true, run_expunge},
    [COMMAND_SEARCH] = {"SEARCH", SELECTED, SYNC_NO_EXPUNGE, SYNC_FULL, false, run_search},
    [COMMAND_SORT] = {"SORT", SELECTED, SYNC_NO_EXPUNGE, SYNC_FULL, false, run_sort},
    [COMMAND_THREAD] = {"THREAD", SELECTED, SYNC_NO_EXPUNGE, SYNC_FULL, false, run_thread},
    [COMMAND_FETCH] = {"FETCH", SELECTED, SYNC_NO_EXPUNGE, SYNC_FULL, false, run_fetch},
    [COMMAND_STORE] = {"STORE", SELECTED, SYNC_NO_EXPUNGE, SYNC_FULL, true, run_store},
    [COMMAND_COPY] = {"COPY", SELECTED, SYNC_FULL, SYNC_FULL, false, run_copy},
    [COMMAND_MOVE] = {"MOVE", SELECTED, SYNC_FULL, SYNC_FULL, true, run_copy},
    [COMMAND_GETQUOTA] = {"GETQUOTA", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_getquota},
    [COMMAND_GETQUOTAROOT] = {"GETQUOTAROOT", LOGGED_IN, SYNC_FULL, SYNC_FULL, false,
                              run_getquotaroot},
    [COMMAND_SETQUOTA] = {"SETQUOTA", LOGGED_IN, SYNC_FULL, SYNC_FULL, false, run_setquota},
};
static_assert(G_N_ELEMENTS(specs) == COMMAND_COUNT, "a row for each command");

const struct command_spec *command_spec(enum command_kind kind)
{
    assert(kind < COMMAND_COUNT);
    return &specs[kind];
}

const char *session_command_name(enum command_kind kind)
{
    return command_spec(kind)->name;
}

static const struct {
    const char *verb;
    const char *text;
} hints[] = {
    {"XLIST", "XLIST is not offered; use LIST, which tells of special uses"},
    {"GETACL", "Access control lists are not offered"},
    {"SETACL", "Access control lists are not offered"},
    {"DELETEACL", "Access control lists are not offered"},
    {"LISTRIGHTS", "Access control lists are not offered"},
    {"MYRIGHTS", "Access control lists are not offered"},
    {"GETMETADATA", "Metadata are not offered"},
    {"SETMETADATA", "Metadata are not offered"},
    {"GETANNOTATION", "Annotations are not offered"},
    {"SETANNOTATION", "Annotations are not offered"},
    {"NOTIFY", "NOTIFY is not offered; use IDLE"},
    {"REPLACE", "REPLACE is not offered; use APPEND and UID EXPUNGE"},
};

const char *command_unknown_hint(const char *verb)
{
    if (g_ascii_strncasecmp(verb, "UID ", 4) == 0)
        verb += 4;
    for (size_t i = 0; i < G_N_ELEMENTS(hints); i++) {
        if (g_ascii_strcasecmp(verb, hints[i].verb) == 0)
            return hints[i].text;
    }
    return NULL;
}
