#include "store/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int system_open(void *data, const char *path, int flags, mode_t mode)
{
    (void)data;
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int system_write(void *data, int fd, const void *bytes, size_t length)
{
    (void)data;
    const char *next = bytes;

    while (length > 0) {
        ssize_t written = write(fd, next, length);

        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        next += written;
        length -= (size_t)written;
    }
    return 0;
}

static int system_fsync(void *data, int fd)
{
    (void)data;
    int result;

    do {
        result = fsync(fd);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static int system_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    (void)data;
    const char *next = bytes;

    while (length > 0) {
        ssize_t written = pwrite(fd, next, length, (off_t)offset);

        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        next += written;
        offset += (uint64_t)written;
        length -= (size_t)written;
    }
    return 0;
}

static void system_write_behind(void *data, int fd, uint64_t offset, size_t length)
{
    (void)data;
    /* What could not be begun now is written with the next sync, which tells of failures. */
    (void)!sync_file_range(fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
}

static void system_forget(void *data, const char *path)
{
    int fd = system_open(data, path, O_RDONLY, 0);

    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static int system_fdatasync(void *data, int fd)
{
    (void)data;
    int result;

    do {
        result = fdatasync(fd);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static int system_syncfs(void *data, int fd)
{
    (void)data;
    return syncfs(fd) < 0 ? -errno : 0;
}

static int system_close(void *data, int fd)
{
    (void)data;
    /* The descriptor is gone even after EINTR: closing again could hit somebody else's. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static int system_fsync_directory(void *data, const char *path)
{
    int fd = system_open(data, path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0) {
        return fd;
    }
    int result = system_fsync(data, fd);
    int closed = system_close(data, fd);
    return result < 0 ? result : closed;
}

static int system_rename(void *data, const char *from, const char *to)
{
    (void)data;
    return rename(from, to) < 0 ? -errno : 0;
}

static int system_unlink(void *data, const char *path)
{
    (void)data;
    return unlink(path) < 0 ? -errno : 0;
}

static int system_mkdir(void *data, const char *path, mode_t mode)
{
    (void)data;
    return mkdir(path, mode) < 0 ? -errno : 0;
}

static int64_t system_now(void *data)
{
    (void)data;
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int system_random(void *data, void *bytes, size_t length)
{
    (void)data;
    char *next = bytes;

    while (length > 0) {
        ssize_t got = getrandom(next, length, 0);

        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        next += got;
        length -= (size_t)got;
    }
    return 0;
}

const struct host *host_system(void)
{
    static const struct host host = {
        .open = system_open,
        .write = system_write,
        .pwrite = system_pwrite,
        .write_behind = system_write_behind,
        .forget = system_forget,
        .fsync = system_fsync,
        .fdatasync = system_fdatasync,
        .syncfs = system_syncfs,
        .fsync_directory = system_fsync_directory,
        .close = system_close,
        .rename = system_rename,
        .unlink = system_unlink,
        .mkdir = system_mkdir,
        .now = system_now,
        .random = system_random,
    };
    return &host;
}
