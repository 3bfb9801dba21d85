#include "store/internal/pack_index.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER = 8,
    FANOUT = 256 * 4,
    TRAILER = 2 * OBJECT_ID_SIZE,
    LARGE = 8,
};

uint32_t get_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t get_be64(const uint8_t *bytes)
{
    return (uint64_t)get_be32(bytes) << 32 | get_be32(bytes + 4);
}

void set_be32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

bool file_map_open(struct file_map *out, const char *directory, const char *name,
                   const char *suffix)
{
    struct stat status;
    char *path = g_strdup_printf("%s/%s%s", directory, name, suffix);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = MAP_FAILED;

    g_free(path);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0) {
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (data == MAP_FAILED) {
        return false;
    }
    *out = (struct file_map){data, (size_t)status.st_size};
    return true;
}

void file_map_close(struct file_map *map)
{
    if (map->data != NULL) {
        munmap((void *)(uintptr_t)map->data, map->length);
    }
    *map = (struct file_map){NULL, 0};
}

static bool fanout_rises(const uint8_t *fanout)
{
    for (unsigned i = 1; i < FANOUT / 4; i++) {
        if (get_be32(fanout + (size_t)i * 4) < get_be32(fanout + (size_t)(i - 1) * 4)) {
            return false;
        }
    }
    return true;
}

static bool read_tables(struct pack_index *index)
{
    static const uint8_t magic[HEADER] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    const struct file_map *map = &index->map;

    if (map->length < HEADER + FANOUT + TRAILER || memcmp(map->data, magic, HEADER) != 0 ||
        !fanout_rises(map->data + HEADER)) {
        return false;
    }
    uint64_t count = get_be32(map->data + HEADER + FANOUT - 4);
    uint64_t fixed = HEADER + FANOUT + TRAILER + count * (OBJECT_ID_SIZE + 8);
    if (map->length < fixed || (map->length - fixed) % LARGE != 0 ||
        (map->length - fixed) / LARGE > count) {
        return false;
    }
    index->count = (uint32_t)count;
    index->large_count = (uint32_t)((map->length - fixed) / LARGE);
    index->ids = map->data + HEADER + FANOUT;
    index->crcs = index->ids + count * OBJECT_ID_SIZE;
    index->offsets = index->crcs + count * 4;
    index->large = index->offsets + count * 4;
    return true;
}

bool pack_index_open(struct pack_index *out, const char *directory, const char *name)
{
    *out = (struct pack_index){.count = 0};
    if (!file_map_open(&out->map, directory, name, ".idx")) {
        return false;
    }
    if (!read_tables(out)) {
        pack_index_close(out);
        return false;
    }
    return true;
}

void pack_index_close(struct pack_index *index)
{
    file_map_close(&index->map);
    index->count = 0;
}

const struct object_id *pack_index_id(const struct pack_index *index, uint32_t position)
{
    return (const struct object_id *)(const void *)(index->ids + (size_t)position * OBJECT_ID_SIZE);
}

uint32_t pack_index_crc(const struct pack_index *index, uint32_t position)
{
    return get_be32(index->crcs + (size_t)position * 4);
}

uint64_t pack_index_offset(const struct pack_index *index, uint32_t position)
{
    uint32_t offset = get_be32(index->offsets + (size_t)position * 4);

    if ((offset & 0x80000000) == 0) {
        return offset;
    }
    offset &= 0x7fffffff;
    return offset < index->large_count ? get_be64(index->large + (size_t)offset * LARGE)
                                       : UINT64_MAX;
}
