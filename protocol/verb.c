#include "protocol/verb.h"

#include <assert.h>
#include <string.h>

enum command_kind verb_kind(const char *text, size_t length, bool uid)
{
    static const struct {
        const char *name;
        bool with_uid;
    } verbs[] = {
        [COMMAND_CAPABILITY] = {"CAPABILITY", false},
        [COMMAND_NOOP] = {"NOOP", false},
        [COMMAND_LOGOUT] = {"LOGOUT", false},
        [COMMAND_ID] = {"ID", false},
        [COMMAND_STARTTLS] = {"STARTTLS", false},
        [COMMAND_AUTHENTICATE] = {"AUTHENTICATE", false},
        [COMMAND_LOGIN] = {"LOGIN", false},
        [COMMAND_ENABLE] = {"ENABLE", false},
        [COMMAND_COMPRESS] = {"COMPRESS", false},
        [COMMAND_NAMESPACE] = {"NAMESPACE", false},
        [COMMAND_SELECT] = {"SELECT", false},
        [COMMAND_EXAMINE] = {"EXAMINE", false},
        [COMMAND_CREATE] = {"CREATE", false},
        [COMMAND_DELETE] = {"DELETE", false},
        [COMMAND_RENAME] = {"RENAME", false},
        [COMMAND_SUBSCRIBE] = {"SUBSCRIBE", false},
        [COMMAND_UNSUBSCRIBE] = {"UNSUBSCRIBE", false},
        [COMMAND_LIST] = {"LIST", false},
        [COMMAND_LSUB] = {"LSUB", false},
        [COMMAND_STATUS] = {"STATUS", false},
        [COMMAND_APPEND] = {"APPEND", false},
        [COMMAND_IDLE] = {"IDLE", false},
        [COMMAND_CHECK] = {"CHECK", false},
        [COMMAND_CLOSE] = {"CLOSE", false},
        [COMMAND_UNSELECT] = {"UNSELECT", false},
        [COMMAND_EXPUNGE] = {"EXPUNGE", true},
        [COMMAND_SEARCH] = {"SEARCH", true},
        [COMMAND_SORT] = {"SORT", true},
        [COMMAND_THREAD] = {"THREAD", true},
        [COMMAND_FETCH] = {"FETCH", true},
        [COMMAND_STORE] = {"STORE", true},
        [COMMAND_COPY] = {"COPY", true},
        [COMMAND_MOVE] = {"MOVE", true},
        [COMMAND_GETQUOTA] = {"GETQUOTA", false},
        [COMMAND_GETQUOTAROOT] = {"GETQUOTAROOT", false},
        [COMMAND_SETQUOTA] = {"SETQUOTA", false},
    };
    static_assert(G_N_ELEMENTS(verbs) == COMMAND_COUNT, "a verb for each command");

    for (size_t i = COMMAND_UNKNOWN + 1; i < COMMAND_COUNT; i++) {
        if (strlen(verbs[i].name) == length && (!uid || verbs[i].with_uid) &&
            g_ascii_strncasecmp(text, verbs[i].name, length) == 0)
            return (enum command_kind)i;
    }
    return COMMAND_UNKNOWN;
}
