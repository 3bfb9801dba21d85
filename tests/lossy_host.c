#include "tests/lossy_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lossy_version {
    uint64_t offset;
    uint8_t octets[LOSSY_BLOCK];
};

uint32_t lossy_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static bool is_known(const struct lossy_host *lossy, uint64_t offset)
{
    for (guint i = 0; i < lossy->versions->len; i++) {
        if (g_array_index(lossy->versions, struct lossy_version, i).offset == offset) {
            return true;
        }
    }
    return false;
}

static int write_block(struct lossy_host *lossy, int fd, const uint8_t *bytes, uint64_t offset)
{
    struct lossy_version version = {.offset = offset};

    if (!is_known(lossy, offset)) {
        alignas(LOSSY_BLOCK) uint8_t before[LOSSY_BLOCK]; /* past the cache it has to be */

        if (pread(fd, before, LOSSY_BLOCK, (off_t)offset) < 0) {
            return -errno;
        }
        memcpy(version.octets, before, LOSSY_BLOCK);
        g_array_append_val(lossy->versions, version);
    }
    memcpy(version.octets, bytes, LOSSY_BLOCK);
    g_array_append_val(lossy->versions, version);
    return host_system()->pwrite(NULL, fd, bytes, LOSSY_BLOCK, offset);
}

static int lossy_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    struct lossy_host *lossy = data;
    size_t end = length;
    int result = 0;

    if (length % LOSSY_BLOCK != 0 || offset % LOSSY_BLOCK != 0) {
        abort();
    }
    /* A file that is being made is not looked at before it has its name. */
    if (length > 64 * LOSSY_BLOCK) {
        return host_system()->pwrite(NULL, fd, bytes, length, offset);
    }
    if (lossy->fail_writes > 0) {
        end = length / 2 / LOSSY_BLOCK * LOSSY_BLOCK;
    }
    for (size_t at = 0; at < end && result == 0; at += LOSSY_BLOCK) {
        result = write_block(lossy, fd, (const uint8_t *)bytes + at, offset + at);
    }
    if (lossy->fail_writes > 0) {
        lossy->fail_writes--;
        return -EIO;
    }
    return result;
}

static int lossy_sync(void *data, int fd)
{
    struct lossy_host *lossy = data;

    (void)fd;
    if (lossy->fail_syncs > 0) {
        lossy->fail_syncs--;
        return -EIO;
    }
    g_array_set_size(lossy->versions, 0);
    return 0;
}

static int lossy_fsync_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

void lossy_host_init(struct lossy_host *lossy)
{
    *lossy = (struct lossy_host){
        .host = *host_system(),
        .versions = g_array_new(FALSE, FALSE, sizeof(struct lossy_version)),
    };
    lossy->host.data = lossy;
    lossy->host.pwrite = lossy_pwrite;
    lossy->host.fsync = lossy_sync;
    lossy->host.fdatasync = lossy_sync;
    lossy->host.fsync_directory = lossy_fsync_directory;
}

void lossy_host_release(struct lossy_host *lossy)
{
    g_array_free(lossy->versions, TRUE);
}

/* One of the versions of the block at that offset; there is one. */
static const uint8_t *choose(const struct lossy_host *lossy, uint64_t offset, uint32_t *random)
{
    const uint8_t *chosen = NULL;
    uint32_t count = 0;

    for (guint i = 0; i < lossy->versions->len; i++) {
        const struct lossy_version *version =
            &g_array_index(lossy->versions, struct lossy_version, i);

        if (version->offset == offset && lossy_random(random) % ++count == 0) {
            chosen = version->octets;
        }
    }
    return chosen;
}

void lossy_host_cut(struct lossy_host *lossy, const char *path, uint32_t *random)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        abort();
    }
    for (guint i = 0; i < lossy->versions->len; i++) {
        uint64_t offset = g_array_index(lossy->versions, struct lossy_version, i).offset;
        uint8_t block[LOSSY_BLOCK];
        size_t torn = lossy_random(random) % 4 > 0    ? LOSSY_BLOCK
                      : lossy_random(random) % 2 == 0 ? lossy_random(random) % 100
                                                      : lossy_random(random) % LOSSY_BLOCK;

        memcpy(block, choose(lossy, offset, random), sizeof(block));
        memcpy(block + torn, choose(lossy, offset, random) + torn, sizeof(block) - torn);
        if (pwrite(fd, block, sizeof(block), (off_t)offset) != LOSSY_BLOCK) {
            abort();
        }
    }
    close(fd);
    g_array_set_size(lossy->versions, 0);
}
