#include "store/internal/gentle_host.h"

static const struct host *below(void *data)
{
    return ((const struct gentle_host *)data)->below;
}

static int count(struct gentle_host *gentle, int fd, size_t length)
{
    gentle->written += length;
    gentle->unsynced += length;
    if (gentle->unsynced < GENTLE_SYNC_EVERY) {
        return 0;
    }
    gentle->unsynced = 0;
    return gentle->below->fdatasync(gentle->below->data, fd);
}

static int gentle_open(void *data, const char *path, int flags, mode_t mode)
{
    return below(data)->open(below(data)->data, path, flags, mode);
}

static int gentle_write(void *data, int fd, const void *bytes, size_t length)
{
    int result = below(data)->write(below(data)->data, fd, bytes, length);

    return result == 0 ? count(data, fd, length) : result;
}

static int gentle_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    int result = below(data)->pwrite(below(data)->data, fd, bytes, length, offset);

    return result == 0 ? count(data, fd, length) : result;
}

static int gentle_fsync(void *data, int fd)
{
    return below(data)->fsync(below(data)->data, fd);
}

static int gentle_fdatasync(void *data, int fd)
{
    return below(data)->fdatasync(below(data)->data, fd);
}

static int gentle_syncfs(void *data, int fd)
{
    return below(data)->syncfs(below(data)->data, fd);
}

static int gentle_fsync_directory(void *data, const char *path)
{
    return below(data)->fsync_directory(below(data)->data, path);
}

static int gentle_close(void *data, int fd)
{
    return below(data)->close(below(data)->data, fd);
}

static int gentle_rename(void *data, const char *from, const char *to)
{
    return below(data)->rename(below(data)->data, from, to);
}

static int gentle_unlink(void *data, const char *path)
{
    return below(data)->unlink(below(data)->data, path);
}

static int gentle_mkdir(void *data, const char *path, mode_t mode)
{
    return below(data)->mkdir(below(data)->data, path, mode);
}

static int64_t gentle_now(void *data)
{
    return below(data)->now(below(data)->data);
}

static int gentle_random(void *data, void *bytes, size_t length)
{
    return below(data)->random(below(data)->data, bytes, length);
}

void gentle_host_init(struct gentle_host *gentle, const struct host *host)
{
    *gentle = (struct gentle_host){
        .host =
            {
                .data = gentle,
                .open = gentle_open,
                .write = gentle_write,
                .pwrite = gentle_pwrite,
                .fsync = gentle_fsync,
                .fdatasync = gentle_fdatasync,
                .syncfs = gentle_syncfs,
                .fsync_directory = gentle_fsync_directory,
                .close = gentle_close,
                .rename = gentle_rename,
                .unlink = gentle_unlink,
                .mkdir = gentle_mkdir,
                .now = gentle_now,
                .random = gentle_random,
            },
        .below = host,
    };
}
