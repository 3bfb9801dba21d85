#include "server/notify.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SEND_SECONDS = 3 };

struct notify {
    struct sockaddr_un address;
    socklen_t length;
    int64_t watchdog;
};

/* A path, or '@' and the name of an abstract socket. */
static bool read_address(struct notify *notify, const char *text)
{
    size_t length = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || length < 2 ||
        length >= sizeof notify->address.sun_path)
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, text, length);
    if (text[0] == '@')
        notify->address.sun_path[0] = '\0';
    else
        length++;
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

/* A positive number; 0 if the variable is missing or says something else. */
static int64_t read_number(const char *name)
{
    const char *text = getenv(name);
    char *end;

    if (text == NULL || !g_ascii_isdigit(*text))
        return 0;
    guint64 value = g_ascii_strtoull(text, &end, 10);

    return *end == '\0' && value <= INT64_MAX ? (int64_t)value : 0;
}

static int64_t read_watchdog(void)
{
    if (getenv("WATCHDOG_PID") != NULL && read_number("WATCHDOG_PID") != getpid())
        return 0;
    return read_number("WATCHDOG_USEC");
}

struct notify *notify_new(void)
{
    const char *text = getenv("NOTIFY_SOCKET");
    struct notify *notify = g_new0(struct notify, 1);

    if (text != NULL && read_address(notify, text))
        notify->watchdog = read_watchdog();
    else
        g_clear_pointer(&notify, notify_free);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return notify;
}

void notify_free(struct notify *notify)
{
    g_free(notify);
}

/* The socket is a new one each time: the manager may have been replaced in between. */
void notify_tell(const struct notify *notify, const char *lines)
{
    const struct timeval limit = {.tv_sec = SEND_SECONDS};

    if (notify == NULL)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
           notify->length);
    close(fd);
}

void notify_tell_reloading(const struct notify *notify)
{
    struct timespec now;
    char lines[64];

    clock_gettime(CLOCK_MONOTONIC, &now);
    g_snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)(now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000));
    notify_tell(notify, lines);
}

int64_t notify_watchdog(const struct notify *notify)
{
    return notify != NULL ? notify->watchdog : 0;
}
