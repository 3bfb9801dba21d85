#include "server/member.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "server/log.h"
#include "server/metrics.h"

int64_t member_now(void *data)
{
    struct timespec now;

    (void)data;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* --- what a session asks for --- */

static void authenticate(void *data, struct session *session, const char *user,
                         const char *password)
{
    struct member *member = data;

    member->checking = authenticator_submit(member->worker->all->settings.authenticator,
                                            member->link, user, password);
    if (!member->checking) {
        log_line(LOG_LEVEL_WARNING, link_id(member->link), "event=too-many-logins");
        session_authentication_failed(session, "UNAVAILABLE");
    }
}

static GBytes *make_structure(void *data, const uint8_t *message, size_t length, bool *final)
{
    const struct member *member = data;

    return mime_pool_structure(member->worker->all->settings.mime, message, length, final);
}

static GBytes *make_text(void *data, const uint8_t *message, size_t length, bool header, bool body)
{
    const struct member *member = data;

    return mime_pool_text(member->worker->all->settings.mime, message, length, header, body);
}

static void write_log(void *data, enum session_log_level level, const char *session_id,
                      const char *message)
{
    static const enum log_level levels[] = {
        [SESSION_LOG_DEBUG] = LOG_LEVEL_DEBUG,
        [SESSION_LOG_INFO] = LOG_LEVEL_INFO,
        [SESSION_LOG_WARNING] = LOG_LEVEL_WARNING,
        [SESSION_LOG_ERROR] = LOG_LEVEL_ERROR,
    };

    (void)data;
    log_line(levels[level], session_id, "%s", message);
}

static const char *tls_version(void *data)
{
    const struct member *member = data;

    return card_tls(link_card(member->link));
}

static void command_done(void *data, enum command_kind kind, const char *status,
                         int64_t microseconds)
{
    enum metric_result result = METRIC_RESULT_BAD;

    (void)data;
    if (strcmp(status, "OK") == 0)
        result = METRIC_RESULT_OK;
    else if (strcmp(status, "NO") == 0)
        result = METRIC_RESULT_NO;
    metrics_command(kind, result, microseconds);
}

static void login_done(void *data, enum session_login how)
{
    static const enum metric metrics[] = {
        [SESSION_LOGIN_OK] = METRIC_LOGIN_OK,
        [SESSION_LOGIN_PASSWORD] = METRIC_LOGIN_PASSWORD,
        [SESSION_LOGIN_CLEARTEXT] = METRIC_LOGIN_CLEARTEXT,
        [SESSION_LOGIN_LIMIT] = METRIC_LOGIN_LIMIT,
        [SESSION_LOGIN_UNAVAILABLE] = METRIC_LOGIN_UNAVAILABLE,
    };

    (void)data;
    metrics_count(metrics[how], 1);
}

/* --- members --- */

void member_show(struct member *member)
{
    struct session_summary summary;

    session_summarize(member->session, &summary);
    card_show(link_card(member->link), &summary);
}

void member_make_runnable(struct member *member)
{
    if (member->is_runnable)
        return;
    member->is_runnable = true;
    g_ptr_array_add(member->worker->runnable, member);
}

void member_touch(struct member *member)
{
    if (member->is_touched)
        return;
    member->is_touched = true;
    g_ptr_array_add(member->worker->touched, member);
}

void member_enter(struct worker *worker, struct member *member)
{
    member->worker = worker;
    member->index = worker->members->len;
    g_ptr_array_add(worker->members, member);
}

static void leave(struct member *member)
{
    struct worker *worker = member->worker;

    if (member->is_runnable)
        g_ptr_array_remove_fast(worker->runnable, member);
    if (member->is_touched)
        g_ptr_array_remove_fast(worker->touched, member);
    if (member->is_storing)
        g_ptr_array_remove_fast(worker->storing, member);
    member->is_runnable = false;
    member->is_touched = false;
    member->is_storing = false;
    assert(g_ptr_array_index(worker->members, member->index) == member);
    g_ptr_array_remove_index_fast(worker->members, member->index);
    if (member->index < worker->members->len) {
        struct member *moved = g_ptr_array_index(worker->members, member->index);

        moved->index = member->index;
    }
}

static size_t settings_index(bool starttls, bool cleartext_login)
{
    return (starttls ? 1 : 0) + (cleartext_login ? 2 : 0);
}

struct member *member_new(struct worker *worker, struct link *link)
{
    struct member *member = g_new0(struct member, 1);
    size_t settings = settings_index(link_offers_starttls(link), link_allows_cleartext_login(link));

    member->link = link_ref(link);
    member->host = (struct session_host){
        .data = member,
        .now = member_now,
        .authenticate = authenticate,
        .structure = make_structure,
        .text = make_text,
        .quota = worker->all->settings.quota,
        .log = write_log,
        .tls_version = tls_version,
        .command_done = command_done,
        .login_done = login_done,
    };
    member_enter(worker, member);
    member->session = session_new(&worker->all->rules->settings[settings], &member->host,
                                  link_id(link), link_peer(link), link_is_tls(link));
    link_set_member(link, member);
    member_show(member);
    return member;
}

static guint user_sessions(const struct worker *worker, const char *user)
{
    const GPtrArray *members = g_hash_table_lookup(worker->users, user);

    return members != NULL ? members->len : 0;
}

static void enter_user(struct member *member, const char *user)
{
    struct worker *worker = member->worker;
    GPtrArray *members = g_hash_table_lookup(worker->users, user);

    if (members == NULL) {
        members = g_ptr_array_new();
        g_hash_table_insert(worker->users, g_strdup(user), members);
    }
    g_ptr_array_add(members, member);
    member->user = g_strdup(user);
}

static void leave_user(struct member *member)
{
    struct worker *worker = member->worker;

    if (member->user == NULL)
        return;
    GPtrArray *members = g_hash_table_lookup(worker->users, member->user);

    g_ptr_array_remove_fast(members, member);
    if (members->len == 0)
        g_hash_table_remove(worker->users, member->user);
    g_free(member->user);
    member->user = NULL;
}

void member_free(struct member *member)
{
    leave(member);
    leave_user(member);
    session_free(member->session);
    link_set_over(member->link);
    link_unref(member->link);
    g_free(member);
}

/* --- login --- */

struct worker *member_worker_of(struct workers *all, const char *user)
{
    return &all->workers[g_str_hash(user) % all->settings.count];
}

/* On the worker of the user. */
static void log_in(struct member *member, const char *user)
{
    struct worker *worker = member->worker;

    if (!link_is_trusted(member->link) &&
        user_sessions(worker, user) >= worker->all->rules->connections_per_user) {
        log_line(LOG_LEVEL_WARNING, link_id(member->link), "event=too-many-sessions");
        session_authentication_failed(member->session, "LIMIT");
    } else {
        enter_user(member, user);
        session_authenticated(member->session, worker->store, user);
        link_want_loan(member->link, true);
    }
}

/* Gives the session to the user's worker; the link's news travel with it. */
static void move_to_user(struct member *member, struct worker *to, const struct link_news *news)
{
    leave(member);
    member->worker = NULL;
    link_post_login(member->link, news->login, news->user);
    if (news->shut_down)
        link_send_shut_down(member->link);
    if (news->kicked)
        link_send_kicked(member->link);
    link_assign(member->link, to->queue);
}

bool member_take_login(struct member *member, const struct link_news *news)
{
    if (news->login == LINK_LOGIN_OK) {
        struct worker *to = member_worker_of(member->worker->all, news->user);

        if (to != member->worker) {
            move_to_user(member, to, news);
            return false;
        }
        member->checking = false;
        log_in(member, news->user);
    } else if (news->login == LINK_LOGIN_FAILED) {
        member->checking = false;
        session_authentication_failed(member->session, NULL);
    }
    return true;
}
