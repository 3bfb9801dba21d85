/* A pack and its index, as somebody left them: whatever is in them, reading ends with content or an
 * error. The input is the index's length (two octets, the lower one first), the index and the pack;
 * what binds the two together is put right, so that reading comes to the objects. */
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/pack_file.h"
#include "tests/fuzz.h"

enum {
    INDEX_COUNT_AT = 8 + 255 * 4,
    INDEX_TABLES = 8 + 256 * 4,
    SUM = OBJECT_ID_SIZE,
    PACK_COUNT_AT = 8,
    PACK_MIN = 12 + SUM,
    READ_MAX = 64, /* objects */
};

static char directory[] = "/tmp/annal-fuzz-pack-XXXXXX";
static char *path;

static void clean_up(void)
{
    char name[sizeof(directory) + 16];

    snprintf(name, sizeof(name), "%s/p.idx", directory);
    unlink(name);
    snprintf(name, sizeof(name), "%s/p.pack", directory);
    unlink(name);
    rmdir(directory);
    g_free(path);
}

static void make_directory(void)
{
    if (mkdtemp(directory) == NULL) {
        abort();
    }
    path = g_strdup_printf("%s/p", directory);
    atexit(clean_up);
}

static void write_file(const char *suffix, const uint8_t *bytes, size_t length)
{
    char name[sizeof(directory) + 16];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length) {
        abort();
    }
    close(fd);
}

/* Every octet is looked at, so that a sanitizer sees those that aren't there. */
static void look_at(GBytes *bytes)
{
    size_t length;
    const uint8_t *data = g_bytes_get_data(bytes, &length);
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < length; i++) {
        sum ^= data[i];
    }
    (void)sum;
    g_bytes_unref(bytes);
}

static void read_slices(struct pack_file *pack, uint32_t position)
{
    struct pack_slices slices;
    struct store_error error;
    uint64_t offset = 0;
    GBytes *slice;

    if (!pack_slices_open(&slices, pack, position)) {
        return;
    }
    while (offset < slices.length &&
           pack_slices_next(&slices, offset, 1 + offset * 7, &slice, &error) == 0) {
        offset += g_bytes_get_size(slice);
        look_at(slice);
    }
    pack_slices_release(&slices);
}

static void read_all(void)
{
    struct pack_file *pack;
    struct store_error error;

    if (pack_file_open(&pack, path, &error) < 0) {
        return;
    }
    for (uint32_t i = 0; i < MIN(pack_file_count(pack), (uint32_t)READ_MAX); i++) {
        struct object_id id = {{(uint8_t)i, 1}};
        enum object_type type;
        uint32_t position;
        GBytes *content;

        if (pack_file_read(pack, i, &type, &content, &error) == 0) {
            look_at(content);
        }
        read_slices(pack, i);
        if (pack_file_find(pack, &id, &position) && position >= pack_file_count(pack)) {
            abort();
        }
    }
    pack_file_unref(pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t index_length = size < 2 ? 0 : data[0] | (size_t)data[1] << 8;

    if (path == NULL) {
        make_directory();
    }
    if (size < 2 || index_length > size - 2) {
        return 0;
    }
    size_t pack_length = size - 2 - index_length;
    uint8_t *index = g_memdup2(data + 2, index_length);
    uint8_t *pack = g_memdup2(data + 2 + index_length, pack_length);
    if (index_length >= INDEX_TABLES + 2 * SUM && pack_length >= PACK_MIN) {
        memcpy(pack + PACK_COUNT_AT, index + INDEX_COUNT_AT, 4);
        memcpy(index + index_length - 2 * SUM, pack + pack_length - SUM, SUM);
    }
    write_file(".idx", index, index_length);
    write_file(".pack", pack, pack_length);
    g_free(index);
    g_free(pack);
    read_all();
    return 0;
}
