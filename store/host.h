/* The store's calls to the operating system whose failure or order matters for durability: one
 * small table, so that a test can make the k-th call fail or stop the world there.
 *
 * Every function that can fail returns 0 (or a descriptor) or a negative errno. host_system() is
 * the real one.
 */
#ifndef ANNAL_STORE_HOST_H
#define ANNAL_STORE_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct host {
    void *data;
    /* open(2) with O_CLOEXEC added. */
    int (*open)(void *data, const char *path, int flags, mode_t mode);
    /* Writes all of it (no short writes), or fails. */
    int (*write)(void *data, int fd, const void *bytes, size_t length);
    /* The same at an offset, which does not move the descriptor's own. */
    int (*pwrite)(void *data, int fd, const void *bytes, size_t length, uint64_t offset);
    /* The disk may begin with these octets, which are written: a hint, no promise. May be NULL. */
    void (*write_behind)(void *data, int fd, uint64_t offset, size_t length);
    /* What the disk has of this file need not stay in memory: a hint. May be NULL. */
    void (*forget)(void *data, const char *path);
    int (*fsync)(void *data, int fd);
    /* The octets and what is needed to read them again; not times. */
    int (*fdatasync)(void *data, int fd);
    /* Everything written so far to the file system that fd is on. */
    int (*syncfs)(void *data, int fd);
    /* Opens the directory, fsyncs it, closes it. */
    int (*fsync_directory)(void *data, const char *path);
    int (*close)(void *data, int fd);
    int (*rename)(void *data, const char *from, const char *to);
    int (*unlink)(void *data, const char *path);
    int (*mkdir)(void *data, const char *path, mode_t mode);
    /* Microseconds since the Unix epoch. */
    int64_t (*now)(void *data);
    int (*random)(void *data, void *bytes, size_t length);
};

const struct host *host_system(void);

#endif
