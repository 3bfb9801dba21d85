#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack_file_private.h"

enum {
    INDEX_HEADER = 8,
    FANOUT = 256,
    INDEX_TABLES = INDEX_HEADER + FANOUT * 4,
    PER_OBJECT = OBJECT_ID_SIZE + 4 + 4, /* id, CRC, offset */
    GUESSES = 8,
};

static gint mapped; /* packs, in the whole process: the kernel has a limit, too */

static int map(const char *path, const char *suffix, const uint8_t **data, size_t *length,
               struct store_error *error)
{
    struct stat status;
    char *name = g_strconcat(path, suffix, NULL);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    int result = 0;
    void *bytes = MAP_FAILED;

    g_free(name);
    if (fd < 0 || fstat(fd, &status) < 0) {
        result = store_error_set(error, errno == ENOENT ? STORE_NOT_FOUND : STORE_IO, "pack: %s",
                                 g_strerror(errno));
    } else if (!S_ISREG(status.st_mode) || status.st_size <= 0 ||
               (uint64_t)status.st_size > SIZE_MAX / 2) {
        result = store_error_set(error, STORE_CORRUPT, "pack: no file with octets");
    } else {
        bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (result == 0 && bytes == MAP_FAILED) {
        result = store_error_set(error, errno == ENOMEM ? STORE_NO_MEMORY : STORE_IO,
                                 "pack: map: %s", g_strerror(errno));
    }
    if (result == 0) {
        *data = bytes;
        *length = (size_t)status.st_size;
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

static bool fanout_rises(const uint8_t *fanout)
{
    for (unsigned i = 1; i < FANOUT; i++) {
        if (pack_be32(fanout + 4 * i) < pack_be32(fanout + 4 * i - 4)) {
            return false;
        }
    }
    return true;
}

/* gitformat-pack(5), "Version 2 pack-*.idx files". */
static int check_index(struct pack_file *pack, struct store_error *error)
{
    const uint8_t *index = pack->index;
    size_t room = pack->index_length;

    if (room < INDEX_TABLES + 2 * PACK_TRAILER) {
        return store_error_set(error, STORE_CORRUPT, "pack: the index is cut");
    }
    if (memcmp(index, "\377tOc", 4) != 0 || pack_be32(index + 4) != 2) {
        return store_error_set(error, STORE_UNSUPPORTED, "pack: an index of another version");
    }
    room -= INDEX_TABLES + 2 * PACK_TRAILER;
    pack->fanout = index + INDEX_HEADER;
    pack->count = pack_be32(pack->fanout + 4 * (FANOUT - 1));
    if (!fanout_rises(pack->fanout) || room / PER_OBJECT < pack->count) {
        return store_error_set(error, STORE_CORRUPT, "pack: the index's tables");
    }
    room -= (size_t)pack->count * PER_OBJECT;
    pack->ids = index + INDEX_TABLES;
    pack->crcs = pack->ids + (size_t)pack->count * OBJECT_ID_SIZE;
    pack->offsets = pack->crcs + (size_t)pack->count * 4;
    pack->large = pack->offsets + (size_t)pack->count * 4;
    pack->large_count = room / 8;
    return room % 8 == 0 ? 0 : store_error_set(error, STORE_CORRUPT, "pack: the index's end");
}

static int check_pack(struct pack_file *pack, struct store_error *error)
{
    if (pack->pack_length < PACK_HEADER + PACK_TRAILER || memcmp(pack->pack, "PACK", 4) != 0) {
        return store_error_set(error, STORE_CORRUPT, "pack: no pack");
    }
    if (pack_be32(pack->pack + 4) != 2) {
        return store_error_set(error, STORE_UNSUPPORTED, "pack: another version");
    }
    pack->end = pack->pack_length - PACK_TRAILER;
    if (pack_be32(pack->pack + 8) != pack->count ||
        memcmp(pack->pack + pack->end, pack->index + pack->index_length - 2 * PACK_TRAILER,
               PACK_TRAILER) != 0) {
        return store_error_set(error, STORE_CORRUPT, "pack: index and pack don't belong together");
    }
    return 0;
}

int pack_file_open(struct pack_file **out, const char *path, struct store_error *error)
{
    struct pack_file *pack = g_new0(struct pack_file, 1);

    pack->references = 1;
    if (g_atomic_int_add(&mapped, 1) >= PACK_MAPPED_MAX) {
        pack_file_unref(pack);
        return store_error_set(error, STORE_LIMIT, "pack: too many are open");
    }
    int result = map(path, ".idx", &pack->index, &pack->index_length, error);
    if (result == 0) {
        result = map(path, ".pack", &pack->pack, &pack->pack_length, error);
    }
    if (result == 0) {
        result = check_index(pack, error);
    }
    if (result == 0) {
        result = check_pack(pack, error);
    }
    if (result < 0) {
        pack_file_unref(pack);
        return result;
    }
    *out = pack;
    return 0;
}

struct pack_file *pack_file_ref(struct pack_file *pack)
{
    g_atomic_int_inc(&pack->references);
    return pack;
}

static void unmap(const uint8_t *data, size_t length)
{
    if (data != NULL) {
        munmap((void *)(uintptr_t)data, length);
    }
}

void pack_file_unref(struct pack_file *pack)
{
    if (pack != NULL && g_atomic_int_dec_and_test(&pack->references)) {
        unmap(pack->pack, pack->pack_length);
        unmap(pack->index, pack->index_length);
        g_atomic_int_add(&mapped, -1);
        g_free(pack);
    }
}

uint32_t pack_file_count(const struct pack_file *pack)
{
    return pack->count;
}

const struct object_id *pack_file_id(const struct pack_file *pack, uint32_t position)
{
    return (const struct object_id *)(const void *)(pack->ids + (size_t)position * OBJECT_ID_SIZE);
}

uint32_t pack_file_crc(const struct pack_file *pack, uint32_t position)
{
    return pack_be32(pack->crcs + (size_t)position * 4);
}

bool pack_file_offset(const struct pack_file *pack, uint32_t position, size_t *offset)
{
    uint64_t value = pack_be32(pack->offsets + (size_t)position * 4);

    if ((value & 0x80000000) != 0) {
        const uint8_t *large = pack->large + (value & 0x7fffffff) * 8;

        if ((value & 0x7fffffff) >= pack->large_count) {
            return false;
        }
        value = (uint64_t)pack_be32(large) << 32 | pack_be32(large + 4);
    }
    *offset = (size_t)value;
    return value >= PACK_HEADER && value < pack->end;
}

/* The four octets after the first, of which the fanout knows. */
static uint64_t key_of(const struct object_id *id)
{
    return pack_be32(id->bytes + 1);
}

/* Ids are evenly spread: a few guesses by proportion come close, in tables of any size; should they
 * not be, halving finishes it. */
bool pack_file_find(const struct pack_file *pack, const struct object_id *id, uint32_t *position)
{
    unsigned first = id->bytes[0];
    uint32_t low = first == 0 ? 0 : pack_be32(pack->fanout + 4 * first - 4);
    uint32_t high = pack_be32(pack->fanout + 4 * first);
    uint64_t key = key_of(id);
    uint64_t key_low = 0;
    uint64_t key_high = (uint64_t)UINT32_MAX + 1;

    for (unsigned tries = 0; low < high; tries++) {
        uint64_t part = tries < GUESSES && key >= key_low && key < key_high
                            ? (high - low) * (key - key_low) / (key_high - key_low)
                            : (high - low) / 2;
        uint32_t middle = low + (uint32_t)part;
        const struct object_id *there = pack_file_id(pack, middle);
        int order = memcmp(id->bytes, there->bytes, OBJECT_ID_SIZE);

        if (order == 0) {
            *position = middle;
            return true;
        }
        if (order < 0) {
            high = middle;
            key_high = key_of(there) + 1;
        } else {
            low = middle + 1;
            key_low = key_of(there);
        }
    }
    return false;
}
