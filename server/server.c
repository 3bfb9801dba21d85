/* Puts the parts together, in the order in which they depend on each other:
 *
 *     MIME processes (before any thread), users, authenticator, workers, connections, listeners
 */
#include "server/server.h"

#include <errno.h>
#include <event2/event.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/authenticator.h"
#include "server/connection.h"
#include "server/control.h"
#include "server/inherited.h"
#include "server/limits.h"
#include "server/listener.h"
#include "server/lmtp_service.h"
#include "server/log.h"
#include "server/mime_pool.h"
#include "server/notify.h"
#include "server/quota_users.h"
#include "server/reload.h"
#include "server/service.h"
#include "server/tls.h"
#include "server/users.h"
#include "server/watch.h"
#include "server/worker.h"
#include "store/retention.h"
#include "store/signing.h"

enum {
    LMTP_IDLE = 300,       /* seconds; RFC 5321 4.5.3.2.7 */
    SHUT_DOWN_SECONDS = 4, /* for running commands and for clients to take what is theirs */
    WORKERS_MIN = 2,       /* one waits for the disk while another works */
    WORKERS_MAX = 16,
    RELAXED_FLAGS = 1000 * 1000, /* microseconds within which flags are durable all the same */
};

struct server {
    struct config *config;
    const struct server_hooks *hooks;
    struct notify *notify;
    struct inherited *inherited;
    struct service *service;
    struct event_base *base;
    struct event *signals[3];
    struct event *limit; /* of a shut-down */
    struct mime_pool *mime;
    struct users *users;
    struct quota_users quotas;
    struct authenticator *authenticator;
    struct tls *tls;
    struct maintenance *maintenance;
    struct retention_policy *retention;
    struct signing_key *signing_key; /* NULL: nothing is signed */
    char *mail;                      /* DATA/mail */
    struct cache_budget *budget;
    struct workers *workers;
    struct limits *limits;
    struct limits *lmtp_limits;
    struct lmtp_service *lmtp_service; /* NULL: nothing listens for it */
    char *hostname;
    struct connections *connections;
    struct report_sources sources;
    struct watch *watch;
    struct control *control;
    GPtrArray *listeners;
    GArray *imaps; /* struct config_listen, with the real ports; the strings are the config's */
    GArray *imap;
    GArray *lmtp;
    bool stopping;
    bool all_inherited; /* it listens on nothing but sockets that were handed over */
};

/* --- signals --- */

static void on_empty(void *data)
{
    const struct server *server = data;

    event_base_loopexit(server->base, NULL);
}

static void on_limit(evutil_socket_t fd, short events, void *data)
{
    const struct server *server = data;

    (void)fd;
    (void)events;
    log_line(LOG_LEVEL_WARNING, NULL, "event=stop reason=\"sessions are cut off\"");
    event_base_loopexit(server->base, NULL);
}

static void begin_stop(struct server *server)
{
    const struct timeval time = {.tv_sec = SHUT_DOWN_SECONDS};

    if (server->stopping)
        return;
    server->stopping = true;
    service_stopping(server->service);
    g_ptr_array_set_size(server->listeners, 0);
    event_add(server->limit, &time);
    connections_shut_down(server->connections);
}

static void on_stop(evutil_socket_t number, short events, void *data)
{
    (void)events;
    log_line(LOG_LEVEL_INFO, NULL, "event=stopping signal=%d", (int)number);
    begin_stop(data);
}

/* Whoever connects from here on waits in the socket's queue, which the service manager has open,
 * too, and is served by the next process. */
static void on_idle(void *data)
{
    log_line(LOG_LEVEL_INFO, NULL, "event=stopping reason=idle");
    begin_stop(data);
}

static bool load_certificate(struct server *server, const struct config *config, char **problem)
{
    return server->tls == NULL ||
           tls_reload(server->tls, config->certificate, config->private_key, problem);
}

static struct workers_limits limits_of(const struct config *config)
{
    return (struct workers_limits){
        .append_limit = config->append_limit,
        .idle_timeout = config->idle_minutes * INT64_C(60000000),
        .login_timeout = config->login_seconds * INT64_C(1000000),
        .connections_per_user = config->connections_per_user,
    };
}

static void set_login_delays(struct server *server)
{
    authenticator_set_delays(server->authenticator, server->config->login_delay * INT64_C(1000),
                             server->config->login_delay_max * INT64_C(1000000));
}

static void apply(struct server *server)
{
    const struct config *config = server->config;
    const struct workers_limits limits = limits_of(config);

    config_open_log(config);
    limits_set(server->limits, config->connections, config->connections_per_address);
    workers_set_limits(server->workers, &limits);
    set_login_delays(server);
    connections_set_trusted(server->connections, config->trusted, config->trusted_cleartext_login);
    for (guint i = 0; i < server->listeners->len; i++)
        listener_set_cleartext_login(g_ptr_array_index(server->listeners, i),
                                     config->cleartext_login);
    if (server->all_inherited)
        service_set_idle_exit(server->service, config->idle_exit);
}

/* All of it or nothing. */
static bool reload(struct server *server, char **problem)
{
    struct config fresh = {0};
    bool done;

    if (server->hooks->reread == NULL)
        return load_certificate(server, server->config, problem);
    done = server->hooks->reread(&fresh, problem, server->hooks->data) &&
           load_certificate(server, &fresh, problem);
    if (done) {
        reload_take(server->config, &fresh);
        apply(server);
    }
    config_release(&fresh);
    return done;
}

static void tell_of_failed_reload(const char *problem)
{
    char *quoted = log_quote(problem);

    log_line(LOG_LEVEL_ERROR, NULL,
             "event=reload-failed configuration=kept certificate=kept reason=%s", quoted);
    g_free(quoted);
}

static void on_reload(evutil_socket_t number, short events, void *data)
{
    struct server *server = data;
    char *problem = NULL;

    (void)number;
    (void)events;
    if (server->stopping)
        return;
    service_reloading(server->service);
    if (reload(server, &problem))
        log_line(LOG_LEVEL_INFO, NULL, "event=reloaded certificate=%s",
                 server->tls != NULL ? "new" : "none");
    else
        tell_of_failed_reload(problem);
    g_free(problem);
    service_reloaded(server->service);
}

static bool watch_signals(struct server *server)
{
    static const struct {
        int number;
        event_callback_fn run;
    } watched[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}};

    for (size_t i = 0; i < G_N_ELEMENTS(watched); i++) {
        server->signals[i] = evsignal_new(server->base, watched[i].number, watched[i].run, server);
        if (server->signals[i] == NULL || event_add(server->signals[i], NULL) != 0)
            return false;
    }
    server->limit = evtimer_new(server->base, on_limit, server);
    return server->limit != NULL;
}

/* --- the parts --- */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line(LOG_LEVEL_WARNING, NULL, "event=limit name=descriptors reason=\"%s\"",
                 g_strerror(errno));
}

static bool start_mime(struct server *server, char **problem)
{
    const struct config *config = server->config;

    server->mime = mime_pool_new(
        &(struct mime_pool_settings){
            .program = "/proc/self/exe",
            .argument = "mime-worker",
            .processes = config->mime_workers > 0 ? config->mime_workers : g_get_num_processors(),
            .request_timeout = MIME_POOL_REQUEST_TIMEOUT,
            .wait_timeout = MIME_POOL_WAIT_TIMEOUT,
        },
        problem);
    return server->mime != NULL;
}

/* Without TLS listeners and without files there is just no STARTTLS. */
static bool start_tls(struct server *server, char **problem)
{
    const struct config *config = server->config;

    if (config->imaps->len == 0 && access(config->certificate, F_OK) != 0)
        return true;
    server->tls = tls_new(config->certificate, config->private_key, problem);
    return server->tls != NULL;
}

static bool load_signing_key(struct server *server, char **problem)
{
    const char *path = server->config->signing_key;
    struct store_error error;

    if (path == NULL || signing_key_load(&server->signing_key, path, &error) == STORE_OK)
        return true;
    *problem = g_strdup_printf("signing_key: %s", error.detail);
    return false;
}

/* Once for all accounts, and not again before the next attempt. */
static void on_unsigned(unsigned count, const char *user, const struct store_error *error,
                        void *data)
{
    char *name = log_quote(user);
    char *detail = log_quote(error->detail);

    (void)data;
    log_line(LOG_LEVEL_ERROR, NULL,
             "event=checkpoint result=failed accounts=%u last=%s code=\"%s\" reason=%s", count,
             name, store_code_name(error->code), detail);
    g_free(name);
    g_free(detail);
}

static bool start_workers(struct server *server, char **problem)
{
    const struct config *config = server->config;
    unsigned count = config->workers;

    if (count == 0)
        count = CLAMP(g_get_num_processors(), WORKERS_MIN, WORKERS_MAX);
    server->mail = g_strdup_printf("%s/mail", config->data);
    server->retention = config_retention(config);
    if (!load_signing_key(server, problem))
        return false;
    server->maintenance = maintenance_new(&(struct maintenance_settings){
        .host = host_system(),
        .compress_after = config->compress_days * INT64_C(86400),
        .retention = server->retention,
        .mail = server->mail,
        .retain_after = MAINTENANCE_RETAIN_AFTER,
        .signing_key = server->signing_key,
        .sign_every = config->signing_hours * INT64_C(3600),
        .unsigned_accounts = on_unsigned,
    });
    server->budget = cache_budget_new(config->cache_budget);
    server->workers = workers_new(
        &(struct workers_settings){
            .count = count,
            .bound = count == g_get_num_processors(),
            .data = config->data,
            .journal =
                {
                    .size = config->journal_size,
                    .relaxed = config->relaxed_flags ? RELAXED_FLAGS : 0,
                    .background = true,
                },
            .authenticator = server->authenticator,
            .mime = server->mime,
            .maintenance = server->maintenance,
            .budget = server->budget,
            .delivery = {.detail = (enum delivery_detail)config->lmtp_detail,
                         .quota = server->quotas.source},
            .quota = server->quotas.source,
            .limits = limits_of(config),
        },
        problem);
    return server->workers != NULL;
}

static bool start_connections(struct server *server, char **problem)
{
    server->limits =
        limits_new(server->config->connections, server->config->connections_per_address);
    server->lmtp_limits =
        limits_new(server->config->lmtp_connections, server->config->lmtp_connections);
    server->connections = connections_new(
        &(struct connections_settings){
            .base = server->base,
            .tls = server->tls,
            .workers = server->workers,
            .limits = server->limits,
            .trusted = server->config->trusted,
            .trusted_cleartext_login = server->config->trusted_cleartext_login,
            .lmtp = server->lmtp_service,
            .lmtp_limits = server->lmtp_limits,
            .empty = on_empty,
            .data = server,
        },
        problem);
    return server->connections != NULL;
}

static char *find_hostname(const struct config *config)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (config->hostname != NULL)
        return g_strdup(config->hostname);
    if (gethostname(name, sizeof name - 1) != 0 || !config_hostname_valid(name))
        return g_strdup("localhost");
    return g_strdup(name);
}

static bool start_lmtp(struct server *server, char **problem)
{
    const struct config *config = server->config;

    if (config->lmtp->len == 0 && !inherited_has(server->inherited, "lmtp"))
        return true;
    server->hostname = find_hostname(config);
    server->lmtp_service = lmtp_service_new(
        &(struct lmtp_service_settings){
            .session =
                {
                    .hostname = server->hostname,
                    .directory = config->data,
                    .message_limit = config->append_limit,
                    .idle_timeout = LMTP_IDLE * INT64_C(1000000),
                    .delimiter = (char)config->lmtp_delimiter,
                    .over_quota_is_final = config->quota_final,
                },
            .workers = server->workers,
            .users = server->users,
            .quota = server->quotas.source,
        },
        problem);
    return server->lmtp_service != NULL;
}

/* What admins look at. A server without its control socket still serves mail. */
static bool start_watch(struct server *server, char **problem)
{
    char *reason = NULL;

    server->sources = (struct report_sources){
        .config = server->config,
        .tls = server->tls,
        .connections = server->connections,
        .workers = server->workers,
        .maintenance = server->maintenance,
        .budget = server->budget,
    };
    server->watch = watch_new(server->base, &server->sources, problem);
    if (server->watch == NULL)
        return false;
    server->control = control_new(server->base, server->config->control, server->connections,
                                  &server->sources, &reason);
    if (server->control == NULL) {
        char *quoted = log_quote(reason);

        log_line(LOG_LEVEL_WARNING, NULL, "event=no-control reason=%s", quoted);
        g_free(quoted);
        g_free(reason);
    }
    return true;
}

static void drop_listener(void *listener)
{
    listener_free(listener);
}

static bool listen_all(struct server *server, const GArray *from, GArray *to, bool tls,
                       char **problem)
{
    for (guint i = 0; i < from->len; i++) {
        struct config_listen listen = g_array_index(from, struct config_listen, i);
        struct listener *listener = listener_new(server->base, server->connections, &listen, tls,
                                                 server->config->cleartext_login, problem);

        if (listener == NULL)
            return false;
        g_ptr_array_add(server->listeners, listener);
        g_array_append_val(to, listen);
        log_line(LOG_LEVEL_INFO, NULL, "event=listen address=%s port=%u tls=%s", listen.address,
                 (unsigned)listen.port, tls ? "yes" : "no");
    }
    return true;
}

/* Whom a Unix socket belongs to and who may connect to it. */
static bool give_socket(const struct config *config, const char *path, char **problem)
{
    const struct group *group = NULL;

    if (config->lmtp_group != NULL) {
        group = getgrnam(config->lmtp_group);
        if (group == NULL) {
            *problem = g_strdup_printf("lmtp_group: there is no group %s", config->lmtp_group);
            return false;
        }
    }
    if ((group == NULL || chown(path, (uid_t)-1, group->gr_gid) == 0) &&
        chmod(path, (mode_t)config->lmtp_mode) == 0)
        return true;
    *problem = g_strdup_printf("%s: %s", path, g_strerror(errno));
    return false;
}

static bool listen_lmtp(struct server *server, char **problem)
{
    const struct config *config = server->config;

    server->all_inherited = server->all_inherited && config->lmtp->len == 0;
    for (guint i = 0; i < config->lmtp->len; i++) {
        struct config_listen listen = g_array_index(config->lmtp, struct config_listen, i);
        struct listener *listener =
            listener_new(server->base, server->connections, &listen, false, false, problem);

        if (listener == NULL)
            return false;
        listener_set_lmtp(listener);
        g_ptr_array_add(server->listeners, listener);
        if (listen.address[0] == '/' && !give_socket(config, listen.address, problem))
            return false;
        g_array_append_val(server->lmtp, listen);
        log_line(LOG_LEVEL_INFO, NULL, "event=listen address=\"%s\" port=%u lmtp=yes",
                 listen.address, (unsigned)listen.port);
    }
    return true;
}

/* False if a socket can't be used. */
static bool adopt_all(struct server *server, const char *name, GArray *to, bool tls, bool lmtp,
                      char **problem)
{
    struct config_listen listen;
    int fd;

    while ((fd = inherited_take(server->inherited, name)) >= 0) {
        struct listener *listener = listener_adopt(server->base, server->connections, fd, &listen,
                                                   tls, server->config->cleartext_login, problem);

        if (listener == NULL)
            return false;
        if (lmtp)
            listener_set_lmtp(listener);
        g_ptr_array_add(server->listeners, listener);
        g_array_append_val(to, listen);
        log_line(LOG_LEVEL_INFO, NULL, "event=listen address=%s port=%u tls=%s%s socket=inherited",
                 listen.address, (unsigned)listen.port, tls ? "yes" : "no",
                 lmtp ? " lmtp=yes" : "");
    }
    return true;
}

static bool start_listeners(struct server *server, char **problem)
{
    bool imap =
        inherited_has(server->inherited, "imaps") || inherited_has(server->inherited, "imap");
    bool lmtp = inherited_has(server->inherited, "lmtp");

    server->all_inherited = imap && server->config->metrics->len == 0;
    if (!adopt_all(server, "imaps", server->imaps, true, false, problem) ||
        !adopt_all(server, "imap", server->imap, false, false, problem) ||
        !adopt_all(server, "lmtp", server->lmtp, false, true, problem))
        return false;
    if (inherited_left(server->inherited) != NULL) {
        *problem = g_strdup_printf("a socket that was handed over is called %s, not imaps, imap or "
                                   "lmtp: set FileDescriptorName=",
                                   inherited_left(server->inherited));
        return false;
    }
    if (!lmtp && !listen_lmtp(server, problem))
        return false;
    if (imap)
        return true;
    return listen_all(server, server->config->imaps, server->imaps, true, problem) &&
           listen_all(server, server->config->imap, server->imap, false, problem);
}

/* Threads leave signals to the main thread. */
static bool start_threads(struct server *server, char **problem)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    quota_users_init(&server->quotas, server->users, server->config);
    server->quotas.source.board = quota_board_new(NULL);
    server->authenticator = authenticator_new(server->users, problem);
    if (server->authenticator != NULL)
        set_login_delays(server);
    bool started = server->authenticator != NULL && start_workers(server, problem) &&
                   start_lmtp(server, problem);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* Before descriptors are opened and threads are started. */
static bool take_over(struct server *server, char **problem)
{
    server->notify = notify_new();
    return inherited_new(&server->inherited, problem);
}

static bool start_service(struct server *server, char **problem)
{
    unsigned idle_exit = server->config->idle_exit;

    server->service = service_new(&(struct service_settings){
        .base = server->base,
        .notify = server->notify,
        .workers = server->workers,
        .connections = server->connections,
        .idle = on_idle,
        .data = server,
    });
    if (server->service == NULL) {
        *problem = g_strdup("event loop: out of memory");
        return false;
    }
    if (server->all_inherited)
        service_set_idle_exit(server->service, idle_exit);
    else if (idle_exit > 0)
        log_line(LOG_LEVEL_WARNING, NULL,
                 "event=idle-exit-unused reason=\"nobody would start the server again: not all of "
                 "its sockets were handed over\"");
    return true;
}

static bool start(struct server *server, char **problem)
{
    if (!take_over(server, problem))
        return false;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    server->base = event_base_new();
    if (server->base == NULL || !watch_signals(server)) {
        *problem = g_strdup("event loop: out of memory");
        return false;
    }
    if (!start_mime(server, problem) || !start_tls(server, problem))
        return false;
    server->users = users_open(server->config->users, problem);
    return server->users != NULL && start_threads(server, problem) &&
           start_connections(server, problem) && start_watch(server, problem) &&
           start_listeners(server, problem) && start_service(server, problem);
}

static void stop(struct server *server)
{
    service_free(server->service);
    g_ptr_array_unref(server->listeners);
    watch_free(server->watch);
    control_free(server->control);
    connections_close(server->connections);
    /* What a worker may be waiting for ends before the worker, and is there until it has ended. */
    if (server->mime != NULL)
        mime_pool_stop(server->mime);
    if (server->authenticator != NULL)
        authenticator_stop(server->authenticator);
    lmtp_service_stop(server->lmtp_service);
    workers_free(server->workers);
    lmtp_service_free(server->lmtp_service);
    quota_board_free(server->quotas.source.board);
    maintenance_free(server->maintenance);
    retention_policy_free(server->retention);
    signing_key_free(server->signing_key);
    g_free(server->mail);
    cache_budget_free(server->budget);
    connections_free(server->connections);
    authenticator_free(server->authenticator);
    limits_free(server->limits);
    limits_free(server->lmtp_limits);
    g_free(server->hostname);
    tls_free(server->tls);
    users_free(server->users);
    mime_pool_free(server->mime);
    g_array_unref(server->imaps);
    g_array_unref(server->imap);
    g_array_unref(server->lmtp);
    for (size_t i = 0; i < G_N_ELEMENTS(server->signals); i++) {
        if (server->signals[i] != NULL)
            event_free(server->signals[i]);
    }
    if (server->limit != NULL)
        event_free(server->limit);
    if (server->base != NULL)
        event_base_free(server->base);
    inherited_free(server->inherited);
    notify_free(server->notify);
}

int server_run(struct config *config, const struct server_hooks *hooks)
{
    struct server server = {.config = config, .hooks = hooks};
    char *problem = NULL;

    server.listeners = g_ptr_array_new_with_free_func(drop_listener);
    server.imaps = g_array_new(FALSE, FALSE, sizeof(struct config_listen));
    server.imap = g_array_new(FALSE, FALSE, sizeof(struct config_listen));
    server.lmtp = g_array_new(FALSE, FALSE, sizeof(struct config_listen));
    bool started = start(&server, &problem);

    if (started) {
        const struct server_ready real = {
            .imaps = server.imaps,
            .imap = server.imap,
            .lmtp = server.lmtp,
            .metrics = watch_port(server.watch),
        };

        log_line(LOG_LEVEL_INFO, NULL, "event=ready");
        if (hooks->ready != NULL)
            hooks->ready(&real, hooks->data);
        event_base_dispatch(server.base);
    } else {
        char *quoted = log_quote(problem);

        log_line(LOG_LEVEL_ERROR, NULL, "event=start-failed reason=%s", quoted);
        g_free(quoted);
        g_free(problem);
    }
    stop(&server);
    if (started)
        log_line(LOG_LEVEL_INFO, NULL, "event=stopped");
    return started ? 0 : 1;
}
