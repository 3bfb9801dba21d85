#include "store/internal/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/checksum.h"
#include "store/internal/journal.h"

enum {
    ZEROS_SIZE = 1024 * 1024, /* octets written at once */

    HEADER_VERSION = 8, /* offsets in a header */
    HEADER_CRC = 12,
    HEADER_CHECKED = 16,
    HEADER_ID = 24,
    HEADER_SIZE = 40,
    HEADER_GENERATION = 48,
    HEADER_SEQUENCE = 56,
    HEADER_TAIL = 64,
    HEADER_PREVIOUS = 68,

    FRAME_VERSION = 4, /* offsets in a frame */
    FRAME_KIND = 6,
    FRAME_SEQUENCE = 8,
    FRAME_RUN = 16,
    FRAME_LENGTH = 24,
    FRAME_RECORDS = 28,
    FRAME_PREVIOUS = 32,
    FRAME_PAYLOAD_CRC = 36,
    FRAME_CRC = 40,
};

static const char header_magic[8] = {'a', 'n', 'n', 'a', 'l', 'j', 'n', 'l'};
static const char frame_magic[4] = {'a', 'J', 'F', 'r'};

static void put_le(uint8_t *out, uint64_t value, size_t octets)
{
    for (size_t i = 0; i < octets; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_le(const uint8_t *bytes, size_t octets)
{
    uint64_t value = 0;

    for (size_t i = octets; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

uint32_t journal_crc(uint32_t crc, const void *bytes, size_t length)
{
    return crc32_more(crc, bytes, length);
}

uint32_t journal_seed(const struct journal_header *header)
{
    return journal_crc(0, header->id, sizeof(header->id));
}

uint32_t journal_ring_blocks(uint64_t size)
{
    return (uint32_t)(size / JOURNAL_BLOCK) - JOURNAL_HEADERS;
}

static uint32_t header_crc(const uint8_t *block)
{
    return journal_crc(0, block + HEADER_CHECKED, JOURNAL_BLOCK - HEADER_CHECKED);
}

void journal_header_put(const struct journal_header *header, uint8_t *block)
{
    memset(block, 0, JOURNAL_BLOCK);
    memcpy(block, header_magic, sizeof(header_magic));
    put_le(block + HEADER_VERSION, JOURNAL_VERSION, 4);
    memcpy(block + HEADER_ID, header->id, sizeof(header->id));
    put_le(block + HEADER_SIZE, header->size, 8);
    put_le(block + HEADER_GENERATION, header->generation, 8);
    put_le(block + HEADER_SEQUENCE, header->sequence, 8);
    put_le(block + HEADER_TAIL, header->tail, 4);
    put_le(block + HEADER_PREVIOUS, header->previous, 4);
    put_le(block + HEADER_CRC, header_crc(block), 4);
}

enum journal_octets journal_header_get(struct journal_header *header, const uint8_t *block)
{
    if (memcmp(block, header_magic, sizeof(header_magic)) != 0 ||
        get_le(block + HEADER_CRC, 4) != header_crc(block)) {
        return JOURNAL_OCTETS_BROKEN;
    }
    if (get_le(block + HEADER_VERSION, 4) != JOURNAL_VERSION) {
        return JOURNAL_OCTETS_NEWER;
    }
    memcpy(header->id, block + HEADER_ID, sizeof(header->id));
    header->size = get_le(block + HEADER_SIZE, 8);
    header->generation = get_le(block + HEADER_GENERATION, 8);
    header->sequence = get_le(block + HEADER_SEQUENCE, 8);
    header->tail = (uint32_t)get_le(block + HEADER_TAIL, 4);
    header->previous = (uint32_t)get_le(block + HEADER_PREVIOUS, 4);
    if (header->size < JOURNAL_SIZE_MIN || header->size > JOURNAL_SIZE_MAX ||
        header->size % JOURNAL_BLOCK != 0 || header->sequence == 0 ||
        header->sequence > INT64_MAX || header->tail >= journal_ring_blocks(header->size)) {
        return JOURNAL_OCTETS_BROKEN;
    }
    return JOURNAL_OCTETS_INTACT;
}

void journal_frame_put(struct journal_frame *frame, uint32_t seed, uint8_t *bytes)
{
    memcpy(bytes, frame_magic, sizeof(frame_magic));
    put_le(bytes + FRAME_VERSION, JOURNAL_VERSION, 2);
    put_le(bytes + FRAME_KIND, frame->kind, 2);
    put_le(bytes + FRAME_SEQUENCE, frame->sequence, 8);
    put_le(bytes + FRAME_RUN, frame->run, 8);
    put_le(bytes + FRAME_LENGTH, frame->length, 4);
    put_le(bytes + FRAME_RECORDS, frame->records, 4);
    put_le(bytes + FRAME_PREVIOUS, frame->previous, 4);
    put_le(bytes + FRAME_PAYLOAD_CRC, frame->payload_crc, 4);
    frame->crc = journal_crc(seed, bytes, FRAME_CRC);
    put_le(bytes + FRAME_CRC, frame->crc, 4);
}

enum journal_octets journal_frame_get(struct journal_frame *frame, uint32_t seed,
                                      const uint8_t *bytes)
{
    frame->crc = (uint32_t)get_le(bytes + FRAME_CRC, 4);
    if (memcmp(bytes, frame_magic, sizeof(frame_magic)) != 0 ||
        frame->crc != journal_crc(seed, bytes, FRAME_CRC)) {
        return JOURNAL_OCTETS_BROKEN;
    }
    frame->sequence = get_le(bytes + FRAME_SEQUENCE, 8);
    frame->run = get_le(bytes + FRAME_RUN, 8);
    frame->length = (uint32_t)get_le(bytes + FRAME_LENGTH, 4);
    frame->records = (uint32_t)get_le(bytes + FRAME_RECORDS, 4);
    frame->previous = (uint32_t)get_le(bytes + FRAME_PREVIOUS, 4);
    frame->payload_crc = (uint32_t)get_le(bytes + FRAME_PAYLOAD_CRC, 4);

    uint64_t kind = get_le(bytes + FRAME_KIND, 2);

    if (get_le(bytes + FRAME_VERSION, 2) != JOURNAL_VERSION || kind > JOURNAL_FRAME_SKIP) {
        return JOURNAL_OCTETS_NEWER;
    }
    frame->kind = (enum journal_frame_kind)kind;
    return JOURNAL_OCTETS_INTACT;
}

int journal_file_fail(struct store_error *error, int result, const char *path, const char *what)
{
    enum store_code code = result == -ENOSPC || result == -EDQUOT ? STORE_NO_SPACE
                           : result == -ENOMEM                    ? STORE_NO_MEMORY
                                                                  : STORE_IO;

    return store_error_set(error, code, "journal %s: %s: %s", path, what, g_strerror(-result));
}

static int sync_name(const char *path, const struct host *host, struct store_error *error)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? g_strdup(".") : g_strndup(path, (gsize)(slash - path + 1));
    int result = host->fsync_directory(host->data, directory);

    g_free(directory);
    return result < 0 ? journal_file_fail(error, result, path, "directory: sync") : 0;
}

/* Locks the file, and makes sure that it is still the one of that name. */
static int lock(int fd, const char *name, struct store_error *error)
{
    struct stat own, named;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return errno == EWOULDBLOCK
                   ? store_error_set(error, STORE_CONFLICT, "journal %s: is in use", name)
                   : journal_file_fail(error, -errno, name, "lock");
    }
    if (fstat(fd, &own) < 0) {
        return journal_file_fail(error, -errno, name, "stat");
    }
    if (stat(name, &named) < 0 || own.st_dev != named.st_dev || own.st_ino != named.st_ino) {
        return store_error_set(error, STORE_CONFLICT, "journal %s: was just replaced", name);
    }
    return 0;
}

int journal_file_open(int *out, const char *path, const struct host *host,
                      struct store_error *error)
{
    int fd = host->open(host->data, path, O_RDWR, 0);

    if (fd == -ENOENT) {
        return store_error_set(error, STORE_NOT_FOUND, "journal %s: not found", path);
    }
    if (fd < 0) {
        return journal_file_fail(error, fd, path, "open");
    }
    int result = lock(fd, path, error);
    if (result == 0) {
        /* Whoever made it may have died before this. */
        result = sync_name(path, host, error);
    }
    if (result < 0) {
        host->close(host->data, fd);
        return result;
    }
    *out = fd;
    return 0;
}

/* The headers last: they make it a journal. */
static int write_all(int fd, const char *path, const struct journal_header *header,
                     const struct host *host, struct store_error *error)
{
    uint8_t *octets = calloc(1, ZEROS_SIZE);
    int result = 0;

    if (octets == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s", path);
    }
    if (ftruncate(fd, 0) < 0) {
        result = -errno;
    }
    for (uint64_t at = 0; at < header->size && result == 0; at += ZEROS_SIZE) {
        uint64_t left = header->size - at;

        result = host->pwrite(host->data, fd, octets,
                              left < ZEROS_SIZE ? (size_t)left : (size_t)ZEROS_SIZE, at);
    }
    for (size_t i = 0; i < JOURNAL_HEADERS && result == 0; i++) {
        journal_header_put(header, octets);
        result = host->pwrite(host->data, fd, octets, JOURNAL_BLOCK, i * JOURNAL_BLOCK);
    }
    if (result == 0) {
        result = host->fsync(host->data, fd);
    }
    free(octets);
    return result < 0 ? journal_file_fail(error, result, path, "make") : 0;
}

static int fill_and_rename(int fd, const char *temporary, const char *path, bool replace,
                           const struct journal_header *header, const struct host *host,
                           struct store_error *error)
{
    struct stat unused;
    int result = lock(fd, temporary, error);

    if (result < 0) {
        return result;
    }
    if (!replace && stat(path, &unused) == 0) {
        result = store_error_set(error, STORE_CONFLICT, "journal %s: was just made", path);
    }
    if (result == 0) {
        result = write_all(fd, temporary, header, host, error);
    }
    if (result == 0) {
        int renamed = host->rename(host->data, temporary, path);

        result = renamed < 0 ? journal_file_fail(error, renamed, path, "rename") : 0;
    }
    if (result < 0) {
        /* It is ours: we have it locked. */
        host->unlink(host->data, temporary);
        return result;
    }
    return sync_name(path, host, error);
}

int journal_file_make(int *out, const char *path, bool replace, struct journal_header *header,
                      const struct host *host, struct store_error *error)
{
    int result = host->random(host->data, header->id, sizeof(header->id));

    if (result < 0) {
        return journal_file_fail(error, result, path, "random octets");
    }
    header->generation = 1;
    header->tail = 0;
    header->previous = 0;

    char *temporary = g_strconcat(path, ".new", NULL);
    int fd = host->open(host->data, temporary, O_RDWR | O_CREAT, 0600);

    if (fd < 0) {
        result = journal_file_fail(error, fd, temporary, "open");
    } else {
        result = fill_and_rename(fd, temporary, path, replace, header, host, error);
    }
    if (result < 0 && fd >= 0) {
        host->close(host->data, fd);
    }
    if (result == 0) {
        *out = fd;
    }
    g_free(temporary);
    return result;
}
