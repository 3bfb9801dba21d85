/* GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). An account has one quota root, "", if it has a quota
 * at all; limits are the admin's to set. */
#include "protocol/response.h"
#include "server/session_private.h"
#include "store/usage.h"

static struct quota_limits limits_of(const struct session *session)
{
    struct quota_limits limits;

    quota_limits_of(&session->host->quota, session->user, &limits);
    return limits;
}

/* quota-response = "QUOTA" SP quota-root-name SP quota-list; STORAGE is in units of 1024 octets. */
static int write_quota(struct session *session, const struct quota_limits *limits,
                       struct store_error *error)
{
    GString *out = session_out(session);
    struct account_usage usage;
    int code = account_usage(session->account, limits->count_history, &usage, error);

    if (code != 0)
        return code;
    g_string_append(out, "* QUOTA \"\" (");
    if (limits->octets > 0)
        g_string_append_printf(out, "STORAGE %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "%s",
                               (usage.octets + 1023) / 1024, limits->octets / 1024,
                               limits->messages > 0 ? " " : "");
    if (limits->messages > 0)
        g_string_append_printf(out, "MESSAGE %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                               usage.messages, limits->messages);
    g_string_append(out, ")\r\n");
    return 0;
}

enum run_status run_getquota(struct session *session, struct run *run)
{
    struct quota_limits limits = limits_of(session);
    struct store_error error = {STORE_OK, ""};

    if (*run->command->quota_root != '\0' || !quota_limits_any(&limits))
        return session_finish(session, run, "NO", "NONEXISTENT", "There is no such quota root");
    if (write_quota(session, &limits, &error) != 0)
        return session_fail(session, run, &error, false);
    return session_finish(session, run, "OK", NULL, "Done");
}

enum run_status run_getquotaroot(struct session *session, struct run *run)
{
    struct quota_limits limits = limits_of(session);
    struct store_error error = {STORE_OK, ""};
    const char *name = run->command->mailbox;

    /* One that isn't there may be named, too: it would belong to the root (RFC 9208 4.1.2). */
    g_string_append(session_out(session), "* QUOTAROOT ");
    response_mailbox(session_out(session), name, session->utf8);
    g_string_append(session_out(session), quota_limits_any(&limits) ? " \"\"\r\n" : "\r\n");
    if (quota_limits_any(&limits) && write_quota(session, &limits, &error) != 0)
        return session_fail(session, run, &error, false);
    return session_finish(session, run, "OK", NULL, "Done");
}

enum run_status run_setquota(struct session *session, struct run *run)
{
    return session_finish(session, run, "NO", "NOPERM", "Quotas are set by the administrator");
}

bool session_has_quota(const struct session *session)
{
    struct quota_limits limits = limits_of(session);

    return quota_limits_any(&limits);
}

bool session_is_over_quota(struct session *session, uint64_t messages, uint64_t octets)
{
    return !quota_admits(&session->host->quota, session->account, messages, octets);
}
