#include "server/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/log.h"

enum {
    BACKLOG = 1024,
    PAUSE_MILLISECONDS = 200, /* after accept() failed: descriptors may be used up */
};

struct listener {
    struct connections *connections;
    struct evconnlistener *socket;
    struct event *resume;
    bool tls;
    bool cleartext_login;
    bool lmtp;
    char *address; /* of an adopted socket */
    char *path;    /* of a Unix socket that is ours; NULL: none */
};

static void on_connection(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *peer,
                          int length, void *data)
{
    const struct listener *listener = data;

    (void)socket;
    (void)length;
    if (listener->lmtp) {
        connections_open_lmtp(listener->connections, fd, peer);
        return;
    }
    connections_open(listener->connections, fd, peer, listener->tls, listener->cleartext_login);
}

static void on_resume(evutil_socket_t fd, short events, void *data)
{
    const struct listener *listener = data;

    (void)fd;
    (void)events;
    evconnlistener_enable(listener->socket);
}

static void on_error(struct evconnlistener *socket, void *data)
{
    const struct listener *listener = data;
    const struct timeval pause = {.tv_usec = PAUSE_MILLISECONDS * 1000};

    log_line(LOG_LEVEL_ERROR, NULL, "event=accept-failed reason=\"%s\"", g_strerror(errno));
    evconnlistener_disable(socket);
    event_add(listener->resume, &pause);
}

static int bind_socket(const struct addrinfo *address)
{
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (address->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int problem = errno;

    close(fd);
    errno = problem;
    return -1;
}

static void read_port(int fd, struct config_listen *listen)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char port[8];

    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        getnameinfo((struct sockaddr *)&address, length, NULL, 0, port, sizeof port,
                    NI_NUMERICSERV) == 0)
        listen->port = (uint16_t)g_ascii_strtoull(port, NULL, 10);
}

/* A socket that the server before left behind; one that answers is somebody's. */
static bool clear_path(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat status;
    bool taken = lstat(address->sun_path, &status) == 0 &&
                 (!S_ISSOCK(status.st_mode) ||
                  connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);

    if (fd >= 0)
        close(fd);
    if (taken)
        errno = EADDRINUSE;
    else
        unlink(address->sun_path);
    return !taken && fd >= 0;
}

static int open_unix_socket(const char *path, char **problem)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (clear_path(&address))
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        chmod(path, 0600) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    *problem = g_strdup_printf("%s: %s", path, g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int open_socket(struct config_listen *listen, char **problem)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char port[8];

    g_snprintf(port, sizeof port, "%u", (unsigned)listen->port);
    int result = getaddrinfo(listen->address, port, &hints, &found);

    if (result != 0) {
        *problem = g_strdup_printf("%s: %s", listen->address, gai_strerror(result));
        return -1;
    }
    int fd = bind_socket(found);

    freeaddrinfo(found);
    if (fd < 0)
        *problem = g_strdup_printf("%s port %s: %s", listen->address, port, g_strerror(errno));
    else
        read_port(fd, listen);
    return fd;
}

static struct listener *listener_over(struct event_base *base, struct connections *connections,
                                      int fd, bool tls, bool cleartext_login, char **problem)
{
    struct listener *listener = g_new0(struct listener, 1);

    listener->connections = connections;
    listener->tls = tls;
    listener->cleartext_login = cleartext_login;
    listener->resume = evtimer_new(base, on_resume, listener);
    listener->socket = evconnlistener_new(base, on_connection, listener,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (listener->resume == NULL || listener->socket == NULL) {
        *problem = g_strdup("out of memory");
        if (listener->socket == NULL)
            close(fd);
        listener_free(listener);
        return NULL;
    }
    evconnlistener_set_error_cb(listener->socket, on_error);
    return listener;
}

struct listener *listener_new(struct event_base *base, struct connections *connections,
                              struct config_listen *listen, bool tls, bool cleartext_login,
                              char **problem)
{
    bool is_path = listen->address[0] == '/';
    int fd = is_path ? open_unix_socket(listen->address, problem) : open_socket(listen, problem);

    if (fd < 0)
        return NULL;
    struct listener *listener = listener_over(base, connections, fd, tls, cleartext_login, problem);

    if (listener != NULL && is_path)
        listener->path = g_strdup(listen->address);
    return listener;
}

void listener_set_lmtp(struct listener *listener)
{
    listener->lmtp = true;
}

static char *address_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[NI_MAXHOST];

    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        address.ss_family != AF_UNIX &&
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, NULL, 0,
                    NI_NUMERICHOST) == 0)
        return g_strdup(host);
    return g_strdup("local");
}

struct listener *listener_adopt(struct event_base *base, struct connections *connections, int fd,
                                struct config_listen *listen, bool tls, bool cleartext_login,
                                char **problem)
{
    struct listener *listener = listener_over(base, connections, fd, tls, cleartext_login, problem);

    if (listener == NULL)
        return NULL;
    listener->address = address_of(fd);
    *listen = (struct config_listen){.address = listener->address};
    read_port(fd, listen);
    return listener;
}

void listener_set_cleartext_login(struct listener *listener, bool cleartext_login)
{
    listener->cleartext_login = cleartext_login;
}

void listener_free(struct listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->resume != NULL)
        event_free(listener->resume);
    if (listener->socket != NULL)
        evconnlistener_free(listener->socket);
    if (listener->path != NULL)
        unlink(listener->path);
    g_free(listener->path);
    g_free(listener->address);
    g_free(listener);
}
