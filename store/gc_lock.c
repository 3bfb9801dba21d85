#include "store/internal/gc_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"

#define GC_PID "gc.pid"

enum {
    GC_PID_SECONDS = 12 * 3600, /* git, too, takes an older one for a crash's */
    MICROSECONDS = 1000000,
    HOST_NAME_MAX_OCTETS = 256,
};

static bool is_held(const struct host *host, const char *path)
{
    char here[HOST_NAME_MAX_OCTETS] = "";
    char there[HOST_NAME_MAX_OCTETS] = "";
    struct stat status;
    long pid = 0;
    FILE *file = stat(path, &status) == 0 ? fopen(path, "re") : NULL;

    if (file == NULL) {
        return false;
    }
    int fields = fscanf(file, "%ld %255s", &pid, there);
    fclose(file);
    if (host->now(host->data) / MICROSECONDS - status.st_mtime > GC_PID_SECONDS || fields != 2) {
        return false;
    }
    gethostname(here, sizeof(here) - 1);
    return strcmp(here, there) != 0 || kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

/* Into the lock file, which then gets its name. */
static int write_pid(const struct host *host, int fd, const char *lock, const char *path)
{
    char name[HOST_NAME_MAX_OCTETS] = "";

    gethostname(name, sizeof(name) - 1);
    char *text = g_strdup_printf("%ld %s", (long)getpid(), name);
    int written = host->write(host->data, fd, text, strlen(text));
    int closed = host->close(host->data, fd);

    g_free(text);
    written = written < 0 ? written : closed;
    written = written < 0 ? written : host->rename(host->data, lock, path);
    if (written < 0) {
        host->unlink(host->data, lock);
    }
    return written;
}

int gc_lock(const char *path, const struct host *host, struct store_error *error)
{
    char *name = g_strdup_printf("%s/" GC_PID, path);
    char *lock = g_strdup_printf("%s.lock", name);
    int result;
    int fd = host->open(host->data, lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);

    if (fd < 0 || is_held(host, name)) {
        result = fd < 0 && fd != -EEXIST
                     ? host_fail(error, fd, GC_PID)
                     : store_error_set(error, STORE_CONFLICT, "a gc is running here already");
        if (fd >= 0) {
            host->close(host->data, fd);
            host->unlink(host->data, lock);
        }
    } else {
        int written = write_pid(host, fd, lock, name);

        result = written < 0 ? host_fail(error, written, GC_PID) : 0;
    }
    g_free(lock);
    g_free(name);
    return result;
}

void gc_unlock(const char *path, const struct host *host)
{
    char *name = g_strdup_printf("%s/" GC_PID, path);

    host->unlink(host->data, name);
    g_free(name);
}
