#include "server/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/control.h"

enum { BACKLOG = CONTROL_CLIENTS_MAX, PIECE = 64 * 1024 };

/* A socket's name is short: the directory goes by its descriptor, to be closed. -1 with errno. */
static int make_address(const char *path, struct sockaddr_un *out)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash != NULL ? g_strndup(path, (size_t)(slash - path) + 1) : g_strdup("./");
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

    g_free(directory);
    if (fd < 0)
        return -1;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = g_snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", fd,
                            slash != NULL ? slash + 1 : path);

    if (length < (int)sizeof out->sun_path)
        return fd;
    close(fd);
    errno = ENAMETOOLONG;
    return -1;
}

/* -1 with errno. */
static int open_socket(int kind)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | kind, 0);
}

int control_connect(const char *path)
{
    const struct timeval limit = {.tv_sec = CONTROL_SECONDS};
    struct sockaddr_un address;
    int directory = make_address(path, &address);
    int fd = directory >= 0 ? open_socket(0) : -1;

    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
                    connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)) {
        int problem = errno;

        close(fd);
        fd = -1;
        errno = problem;
    }
    int problem = errno;

    if (directory >= 0)
        close(directory);
    errno = problem;
    return fd;
}

/* A name that nobody listens at any more. False if somebody does. */
static bool clear_name(const char *path)
{
    struct stat status;
    int fd = control_connect(path);

    if (fd >= 0) {
        close(fd);
        return false;
    }
    if (errno == ECONNREFUSED && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode))
        unlink(path);
    return true;
}

int control_listen(const char *path, char **problem)
{
    struct sockaddr_un address;

    if (!clear_name(path)) {
        *problem = g_strdup_printf("%s: another server listens there", path);
        return -1;
    }
    int directory = make_address(path, &address);
    int fd = directory >= 0 ? open_socket(SOCK_NONBLOCK) : -1;

    /* The name gets the mode that the socket has: nobody else can connect at any time. */
    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0) {
        *problem = g_strdup_printf("%s: %s", path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (directory >= 0)
        close(directory);
    return fd;
}

/* --- lines --- */

void control_escape(GString *out, const char *field)
{
    for (; *field != '\0'; field++) {
        if (*field == '\t')
            g_string_append(out, "\\t");
        else if (*field == '\n')
            g_string_append(out, "\\n");
        else if (*field == '\\')
            g_string_append(out, "\\\\");
        else
            g_string_append_c(out, *field);
    }
}

char *control_request(const char *const *words)
{
    GString *line = g_string_new(NULL);

    for (size_t i = 0; words[i] != NULL; i++) {
        g_string_append(line, i > 0 ? "\t" : "");
        control_escape(line, words[i]);
    }
    return g_string_free(line, FALSE);
}

/* In place. */
static void unescape(char *field)
{
    char *out = field;

    for (const char *in = field; *in != '\0'; in++) {
        if (*in == '\\' && in[1] != '\0') {
            in++;
            *out++ = *in == 't' ? '\t' : *in == 'n' ? '\n' : *in;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

char **control_fields(const char *line)
{
    char **fields = g_strsplit(line, "\t", -1);

    for (size_t i = 0; fields[i] != NULL; i++)
        unescape(fields[i]);
    return fields;
}

/* --- the admin's side --- */

static bool send_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, GString *answer)
{
    char *piece = g_malloc(PIECE);
    ssize_t got;

    while ((got = recv(fd, piece, PIECE, 0)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got > 0 && answer->len > CONTROL_ANSWER_MAX)
            errno = EFBIG;
        if (got < 0 || answer->len > CONTROL_ANSWER_MAX)
            break;
        g_string_append_len(answer, piece, got);
    }
    g_free(piece);
    return got == 0;
}

/* The answer's lines without the first and the last. */
static enum control_result split(char *answer, GPtrArray **lines, char **problem)
{
    char **all = g_strsplit(answer, "\n", -1);
    guint count = g_strv_length(all);
    enum control_result result = CONTROL_FAILED;

    if (count < 3 || strcmp(all[count - 2], "end") != 0) {
        *problem = g_strdup("the server's answer is cut off");
    } else if (strcmp(all[0], "ok") != 0) {
        char **fields = control_fields(all[0]);

        *problem = g_strdup(fields[0] != NULL && fields[1] != NULL ? fields[1] : "no answer");
        g_strfreev(fields);
    } else {
        *lines = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 1; i < count - 2; i++)
            g_ptr_array_add(*lines, g_strdup(all[i]));
        result = CONTROL_DONE;
    }
    g_strfreev(all);
    return result;
}

enum control_result control_ask(const char *path, const char *request, GPtrArray **lines,
                                char **problem)
{
    int fd = control_connect(path);

    if (fd < 0) {
        bool absent = errno == ENOENT || errno == ECONNREFUSED;

        *problem = absent ? g_strdup_printf("%s: no server listens there", path)
                          : g_strdup_printf("%s: %s", path, g_strerror(errno));
        return absent ? CONTROL_ABSENT : CONTROL_FAILED;
    }
    char *line = g_strconcat(request, "\n", NULL);
    GString *answer = g_string_new(NULL);
    enum control_result result = CONTROL_FAILED;

    if (send_all(fd, line, strlen(line)) && receive_all(fd, answer)) {
        result = split(answer->str, lines, problem);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        *problem = g_strdup_printf("%s: the server does not answer within %d seconds", path,
                                   CONTROL_SECONDS);
        result = CONTROL_SILENT;
    } else {
        *problem = g_strdup_printf("%s: %s", path, g_strerror(errno));
    }
    close(fd);
    g_free(line);
    g_string_free(answer, TRUE);
    return result;
}
