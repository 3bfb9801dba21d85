#include "server/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST = 3, /* sd_listen_fds(3): SD_LISTEN_FDS_START */
    COUNT_MAX = 64,
};

struct inherited {
    unsigned count;
    bool taken[COUNT_MAX];
    char *names[COUNT_MAX];
};

/* A number from 1 to high; 0 if it is none. */
static unsigned read_number(const char *text, unsigned high)
{
    char *end;

    if (text == NULL || !g_ascii_isdigit(*text))
        return 0;
    guint64 value = g_ascii_strtoull(text, &end, 10);

    return *end == '\0' && value <= high ? (unsigned)value : 0;
}

static bool take_over(int fd)
{
    int is_listening = 0;
    int type = 0;
    socklen_t size = sizeof type;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return false;
    size = sizeof is_listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 &&
           type == SOCK_STREAM && is_listening != 0;
}

/* "imaps:imap"; the same name may come twice, and there may be none. */
static void read_names(struct inherited *inherited, const char *text)
{
    for (unsigned i = 0; i < inherited->count; i++) {
        size_t length = text != NULL ? strcspn(text, ":") : 0;

        inherited->names[i] = length > 0 ? g_strndup(text, length) : g_strdup("unknown");
        if (text != NULL)
            text = text[length] == ':' ? text + length + 1 : NULL;
    }
}

bool inherited_new(struct inherited **out, char **problem)
{
    unsigned pid = read_number(getenv("LISTEN_PID"), INT32_MAX);
    unsigned count = read_number(getenv("LISTEN_FDS"), COUNT_MAX);
    struct inherited *inherited = NULL;
    bool good = true;

    if (pid == (unsigned)getpid() && count > 0) {
        inherited = g_new0(struct inherited, 1);
        inherited->count = count;
        read_names(inherited, getenv("LISTEN_FDNAMES"));
    }
    for (unsigned i = 0; good && inherited != NULL && i < count; i++)
        good = take_over(FIRST + (int)i);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!good) {
        *problem = g_strdup("a descriptor that was handed over is no listening stream socket");
        g_clear_pointer(&inherited, inherited_free);
    }
    *out = inherited;
    return good;
}

void inherited_free(struct inherited *inherited)
{
    if (inherited == NULL)
        return;
    for (unsigned i = 0; i < inherited->count; i++) {
        if (!inherited->taken[i])
            close(FIRST + (int)i);
        g_free(inherited->names[i]);
    }
    g_free(inherited);
}

/* The next of this name that nobody has taken; count: there is none. */
static unsigned find(const struct inherited *inherited, const char *name)
{
    unsigned i = 0;

    while (i < inherited->count && (inherited->taken[i] || strcmp(inherited->names[i], name) != 0))
        i++;
    return i;
}

int inherited_take(struct inherited *inherited, const char *name)
{
    unsigned found = inherited != NULL ? find(inherited, name) : 0;

    if (inherited == NULL || found == inherited->count)
        return -1;
    inherited->taken[found] = true;
    return FIRST + (int)found;
}

bool inherited_has(const struct inherited *inherited, const char *name)
{
    return inherited != NULL && find(inherited, name) < inherited->count;
}

const char *inherited_left(const struct inherited *inherited)
{
    for (unsigned i = 0; inherited != NULL && i < inherited->count; i++) {
        if (!inherited->taken[i])
            return inherited->names[i];
    }
    return NULL;
}
