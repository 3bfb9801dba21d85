#include "tests/faulty_host.h"

#include <errno.h>
#include <stdatomic.h>

/* 0, or the negative errno with which this call fails. */
static int fault(void *data)
{
    struct faulty_host *faulty = data;

    unsigned call = atomic_fetch_add(&faulty->calls, 1) + 1;

    if (faulty->fail_at == 0 || call < faulty->fail_at ||
        (call > faulty->fail_at && !faulty->stop)) {
        return 0;
    }
    faulty->failed = true;
    return -faulty->number;
}

static int faulty_open(void *data, const char *path, int flags, mode_t mode)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->open(NULL, path, flags, mode);
}

/* A write that fails has written a part. */
static int faulty_write(void *data, int fd, const void *bytes, size_t length)
{
    int result = fault(data);

    if (result < 0) {
        host_system()->write(NULL, fd, bytes, length / 2);
        return result;
    }
    return host_system()->write(NULL, fd, bytes, length);
}

static int faulty_fsync(void *data, int fd)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->fsync(NULL, fd);
}

static int faulty_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    int result = fault(data);

    if (result < 0) {
        host_system()->pwrite(NULL, fd, bytes, length / 2, offset);
        return result;
    }
    return host_system()->pwrite(NULL, fd, bytes, length, offset);
}

static int faulty_fdatasync(void *data, int fd)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->fdatasync(NULL, fd);
}

/* Everything else that goes on would make the test wait; what fails is what counts. */
static int faulty_syncfs(void *data, int fd)
{
    (void)fd;
    return fault(data);
}

static int faulty_fsync_directory(void *data, const char *path)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->fsync_directory(NULL, path);
}

static int faulty_close(void *data, int fd)
{
    int result = fault(data);
    int closed = host_system()->close(NULL, fd);

    return result < 0 ? result : closed;
}

static int faulty_rename(void *data, const char *from, const char *to)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->rename(NULL, from, to);
}

static int faulty_unlink(void *data, const char *path)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->unlink(NULL, path);
}

static int faulty_mkdir(void *data, const char *path, mode_t mode)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->mkdir(NULL, path, mode);
}

static int64_t faulty_now(void *data)
{
    const struct faulty_host *faulty = data;

    return host_system()->now(NULL) + faulty->time_offset;
}

static int faulty_random(void *data, void *bytes, size_t length)
{
    int result = fault(data);

    return result < 0 ? result : host_system()->random(NULL, bytes, length);
}

void faulty_host_init(struct faulty_host *faulty)
{
    *faulty = (struct faulty_host){
        .host =
            {
                .data = faulty,
                .open = faulty_open,
                .write = faulty_write,
                .fsync = faulty_fsync,
                .pwrite = faulty_pwrite,
                .fdatasync = faulty_fdatasync,
                .syncfs = faulty_syncfs,
                .fsync_directory = faulty_fsync_directory,
                .close = faulty_close,
                .rename = faulty_rename,
                .unlink = faulty_unlink,
                .mkdir = faulty_mkdir,
                .now = faulty_now,
                .random = faulty_random,
            },
        .number = EIO,
    };
}

void faulty_host_arm(struct faulty_host *faulty, unsigned fail_at, bool stop, int number)
{
    faulty->calls = 0;
    faulty->fail_at = fail_at;
    faulty->stop = stop;
    faulty->number = number;
    faulty->failed = false;
}
