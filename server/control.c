#include "server/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/control_socket.h"
#include "server/health.h"
#include "server/log.h"
#include "server/worker.h"

struct control {
    struct event_base *base;
    struct connections *connections;
    const struct report_sources *sources;
    char *path;
    struct evconnlistener *listener;
    ino_t inode; /* of the socket's name */
    GQueue clients;
};

struct client {
    struct control *control;
    struct bufferevent *stream;
    GList node;
    bool answered;
    struct settle *settle; /* what it waits for; NULL: nothing */
    struct event *settled;
};

/* --- answers --- */

static void add_field(GString *out, const char *value)
{
    if (out->len > 0 && out->str[out->len - 1] != '\n')
        g_string_append_c(out, '\t');
    control_escape(out, value != NULL ? value : "");
}

/* What the client calls itself, without the address that the session adds. */
static char *client_name(const struct connection_info *info)
{
    char *suffix = g_strdup_printf(" (%s)", info->address);
    char *name = NULL;

    if (info->client != NULL && g_str_has_suffix(info->client, suffix))
        name = g_strndup(info->client, strlen(info->client) - strlen(suffix));
    g_free(suffix);
    return name;
}

static void add_session(const struct connection_info *info, void *data)
{
    static const char *const states[] = {
        [SESSION_LOGGING_IN] = "login",  [SESSION_LOGGED_IN] = "authenticated",
        [SESSION_SELECTED] = "selected", [SESSION_IDLING] = "idle",
        [SESSION_ENDING] = "ending",     [SESSION_DELIVERING] = "delivery",
    };
    GString *out = data;
    char *client = client_name(info);

    control_escape(out, info->id);
    add_field(out, info->user);
    add_field(out, info->address);
    add_field(out, client);
    add_field(out, info->tls);
    add_field(out, info->compressed ? "yes" : "no");
    add_field(out, info->mailbox);
    add_field(out, states[info->activity]);
    g_string_append_printf(out, "\t%" G_GINT64_FORMAT "\t%" G_GINT64_FORMAT "\n", info->since,
                           MAX(time(NULL) - info->active, 0));
    g_free(client);
}

static void answer_health(const struct control *control, GString *out)
{
    GPtrArray *problems = health_problems(control->sources);

    for (guint i = 0; i < problems->len; i++) {
        control_escape(out, g_ptr_array_index(problems, i));
        g_string_append_c(out, '\n');
    }
    g_ptr_array_unref(problems);
}

static bool answer_kick(const struct control *control, char **words, GString *out)
{
    const char *what = words[1];
    const char *name = what != NULL ? words[2] : NULL;

    if (name == NULL || words[3] != NULL ||
        (strcmp(what, "session") != 0 && strcmp(what, "user") != 0))
        return false;
    bool by_user = strcmp(what, "user") == 0;
    unsigned kicked =
        connections_kick(control->connections, by_user ? NULL : name, by_user ? name : NULL);

    g_string_append_printf(out, "%u\n", kicked);
    return true;
}

/* While somebody purges: stand.h. */
static bool answer_stand(const struct control *control, char **words, GString *out)
{
    static const char *const states[] = {[STAND_NONE] = "none",
                                         [STAND_WAITING] = "waiting",
                                         [STAND_STANDING] = "standing",
                                         [STAND_FAILED] = "failed"};
    struct workers *workers = control->sources->workers;
    char *problem = NULL;

    if (words[1] != NULL && words[2] == NULL) {
        g_string_append(out, workers_stand(workers, words[1]) ? "waiting\n" : "busy\n");
        return true;
    }
    if (words[1] != NULL)
        return false;
    g_string_append(out, states[stand_state(workers_standing(workers), &problem)]);
    if (problem != NULL)
        add_field(out, problem);
    g_string_append_c(out, '\n');
    g_free(problem);
    return true;
}

static void answer_error(GString *out, const char *reason)
{
    g_string_assign(out, "error");
    add_field(out, reason);
    g_string_append(out, "\nend\n");
}

static void answer_request(const struct control *control, const char *line, char **words,
                           GString *out)
{
    bool known = true;

    g_string_append(out, "ok\n");
    if (strcmp(line, "who") == 0)
        connections_visit(control->connections, add_session, out);
    else if (strcmp(line, "stats") == 0)
        report_write(control->sources, out);
    else if (strcmp(line, "health") == 0)
        answer_health(control, out);
    else if (words[0] != NULL && strcmp(words[0], "stand") == 0)
        known = answer_stand(control, words, out);
    else
        known =
            words[0] != NULL && strcmp(words[0], "kick") == 0 && answer_kick(control, words, out);
    if (known)
        g_string_append(out, "end\n");
    else
        answer_error(out, "no such request");
}

/* --- clients --- */

static void client_free(struct client *client)
{
    g_queue_unlink(&client->control->clients, &client->node);
    bufferevent_free(client->stream);
    if (client->settled != NULL)
        event_free(client->settled);
    settle_unref(client->settle);
    g_free(client);
}

static void send_answer(struct client *client, GString *answer)
{
    client->answered = true;
    bufferevent_write(client->stream, answer->str, answer->len);
    g_string_free(answer, TRUE);
}

static void on_settled(evutil_socket_t fd, short events, void *data)
{
    struct client *client = data;
    GString *answer = g_string_new("ok\nend\n");
    const char *problem;

    (void)fd;
    (void)events;
    if (!settle_done(client->settle, &problem))
        problem = "the server is too busy";
    if (problem != NULL)
        answer_error(answer, problem);
    send_answer(client, answer);
}

/* The answer comes when the worker has done it. False if that can't be. */
static bool begin_to_settle(struct client *client, const char *user)
{
    const struct timeval limit = {.tv_sec = CONTROL_SETTLE_SECONDS};
    struct control *control = client->control;

    client->settle = workers_settle(control->sources->workers, user);
    if (client->settle != NULL)
        client->settled =
            event_new(control->base, settle_fd(client->settle), EV_READ, on_settled, client);
    return client->settled != NULL && event_add(client->settled, &limit) == 0;
}

static bool is_settle(char **words)
{
    return words[0] != NULL && strcmp(words[0], "settle") == 0 && words[1] != NULL &&
           words[2] == NULL;
}

static void on_request(struct client *client, const char *line)
{
    char **words = control_fields(line);
    GString *answer = g_string_new(NULL);
    bool later = is_settle(words) && begin_to_settle(client, words[1]);

    if (is_settle(words) && !later)
        answer_error(answer, "out of descriptors");
    else if (!later)
        answer_request(client->control, line, words, answer);
    if (later)
        g_string_free(answer, TRUE);
    else
        send_answer(client, answer);
    g_strfreev(words);
}

static void on_input(struct bufferevent *stream, void *data)
{
    struct client *client = data;
    struct evbuffer *input = bufferevent_get_input(stream);
    char *line = evbuffer_readln(input, NULL, EVBUFFER_EOL_LF);

    if (line == NULL && evbuffer_get_length(input) >= CONTROL_REQUEST_MAX) {
        client_free(client);
        return;
    }
    if (line == NULL)
        return;
    bufferevent_disable(stream, EV_READ);
    on_request(client, line);
    free(line);
}

static void on_sent(struct bufferevent *stream, void *data)
{
    struct client *client = data;

    (void)stream;
    if (client->answered)
        client_free(client);
}

static void on_end(struct bufferevent *stream, short events, void *data)
{
    (void)stream;
    (void)events;
    client_free(data);
}

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void on_client(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int length, void *data)
{
    const struct timeval limit = {.tv_sec = CONTROL_SECONDS};
    struct control *control = data;
    struct bufferevent *stream = NULL;

    (void)listener;
    (void)peer;
    (void)length;
    if (!is_allowed(fd))
        log_line(LOG_LEVEL_WARNING, NULL, "event=control-refused");
    else if (control->clients.length < CONTROL_CLIENTS_MAX)
        stream = bufferevent_socket_new(control->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    struct client *client = g_new0(struct client, 1);

    client->control = control;
    client->stream = stream;
    client->node.data = client;
    g_queue_push_tail_link(&control->clients, &client->node);
    bufferevent_setcb(stream, on_input, on_sent, on_end, client);
    bufferevent_setwatermark(stream, EV_READ, 0, CONTROL_REQUEST_MAX);
    bufferevent_set_timeouts(stream, &limit, &limit);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

/* --- */

struct control *control_new(struct event_base *base, const char *path,
                            struct connections *connections, const struct report_sources *sources,
                            char **problem)
{
    struct stat status = {0};
    int fd = control_listen(path, problem);

    if (fd < 0)
        return NULL;
    struct control *control = g_new0(struct control, 1);

    control->base = base;
    control->connections = connections;
    control->sources = sources;
    control->path = g_strdup(path);
    if (lstat(path, &status) == 0)
        control->inode = status.st_ino;
    g_queue_init(&control->clients);
    control->listener = evconnlistener_new(base, on_client, control,
                                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (control->listener == NULL) {
        close(fd);
        *problem = g_strdup("out of memory");
        control_free(control);
        return NULL;
    }
    return control;
}

void control_free(struct control *control)
{
    struct stat status;

    if (control == NULL)
        return;
    while (control->clients.length > 0)
        client_free(control->clients.head->data);
    if (control->listener != NULL)
        evconnlistener_free(control->listener);
    if (lstat(control->path, &status) == 0 && status.st_ino == control->inode)
        unlink(control->path);
    g_free(control->path);
    g_free(control);
}
