#include "store/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/internal/sha1.h"

struct spool {
    uint8_t *memory; /* up to SPOOL_MEMORY_MAX; else NULL */
    uint8_t *map;    /* of the whole file, once asked for */
    struct sha1 sha1;
    uint64_t size;
    uint64_t written;
    struct object_id id; /* valid when identified */
    int fd;              /* -1: in memory */
    bool has_nul;
    bool identified;
};

static int set_errno(struct store_error *error, const char *what, int number)
{
    enum store_code code = number == ENOSPC || number == EDQUOT ? STORE_NO_SPACE : STORE_IO;

    return store_error_set(error, code, "spool: %s: %s", what, g_strerror(number));
}

static int open_unlinked(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd;
    }
    char *path = g_strdup_printf("%s/spool-XXXXXX", directory);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        unlink(path);
    }
    g_free(path);
    return fd;
}

static void hash_header(struct sha1 *sha1, uint64_t size)
{
    char header[32];
    int length = snprintf(header, sizeof(header), "blob %" PRIu64, size);

    sha1_update(sha1, header, (size_t)length + 1);
}

int spool_new(struct spool **out, const char *directory, uint64_t size, struct store_error *error)
{
    struct spool *spool = calloc(1, sizeof(*spool));

    if (spool == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "spool");
    }
    spool->fd = -1;
    spool->size = size;
    if (size > SPOOL_MEMORY_MAX) {
        spool->fd = open_unlinked(directory);
        if (spool->fd < 0) {
            int number = errno;

            spool_free(spool);
            return set_errno(error, "temporary file", number);
        }
    } else {
        spool->memory = malloc(size > 0 ? (size_t)size : 1);
        if (spool->memory == NULL) {
            spool_free(spool);
            return store_error_set(error, STORE_NO_MEMORY, "spool of %" PRIu64 " octets", size);
        }
    }
    sha1_init(&spool->sha1);
    hash_header(&spool->sha1, size);
    *out = spool;
    return 0;
}

void spool_free(struct spool *spool)
{
    if (spool == NULL) {
        return;
    }
    if (spool->map != NULL) {
        munmap(spool->map, (size_t)spool->size);
    }
    if (spool->fd >= 0) {
        close(spool->fd);
    }
    free(spool->memory);
    free(spool);
}

static int write_file(struct spool *spool, const uint8_t *bytes, size_t length,
                      struct store_error *error)
{
    uint64_t at = spool->written;

    /* At a fixed offset: a call repeated after a failure writes no octet twice. */
    while (length > 0) {
        ssize_t written = pwrite(spool->fd, bytes, length, (off_t)at);

        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return set_errno(error, "write", errno);
        }
        at += (uint64_t)written;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

int spool_write(struct spool *spool, const void *bytes, size_t length, struct store_error *error)
{
    assert(length <= spool->size - spool->written);
    if (length == 0) {
        return 0;
    }
    if (spool->memory != NULL) {
        memcpy(spool->memory + spool->written, bytes, length);
    } else {
        int result = write_file(spool, bytes, length, error);

        if (result < 0) {
            return result;
        }
    }
    spool->written += length;
    spool->has_nul = spool->has_nul || memchr(bytes, '\0', length) != NULL;
    sha1_update(&spool->sha1, bytes, length);
    return 0;
}

bool spool_complete(const struct spool *spool)
{
    return spool->written == spool->size;
}

bool spool_has_nul(const struct spool *spool)
{
    return spool->has_nul;
}

int spool_data(struct spool *spool, const uint8_t **data, size_t *length, struct store_error *error)
{
    assert(spool_complete(spool));
    if (spool->memory == NULL && spool->map == NULL) {
        void *map = mmap(NULL, (size_t)spool->size, PROT_READ, MAP_SHARED, spool->fd, 0);

        if (map == MAP_FAILED) {
            return store_error_set(error, errno == ENOMEM ? STORE_NO_MEMORY : STORE_IO,
                                   "spool: map: %s", g_strerror(errno));
        }
        spool->map = map;
    }
    *data = spool->memory != NULL ? spool->memory : spool->map;
    *length = (size_t)spool->size;
    return 0;
}

const struct object_id *spool_id(struct spool *spool)
{
    assert(spool_complete(spool));
    if (!spool->identified) {
        sha1_sum(&spool->sha1, spool->id.bytes);
        spool->identified = true;
    }
    return &spool->id;
}
