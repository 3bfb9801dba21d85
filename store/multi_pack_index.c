#include "store/internal/multi_pack_index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal/pack.h"
#include "store/internal/pack_copy.h"
#include "store/internal/pack_index.h"
#include "store/internal/sha1.h"

#define LOCK_SUFFIX ".lock"

enum {
    HEADER = 12,
    CHUNK_ENTRY = 12,
    CHUNKS_MAX = 5,
    FANOUT = 256,
    BUFFER_SIZE = 64 * 1024,
    OFFSET_LARGE = 0x7fffffff,
    MICROSECONDS = 1000000,
};

/* ---- reading ---- */

static bool is_index_name(const char *name)
{
    return strlen(name) == PACK_NAME_LENGTH + 4 && g_str_has_prefix(name, "pack-") &&
           g_str_has_suffix(name, ".idx");
}

/* Adds NUL-terminated "pack-NAME.idx" without their suffixes. */
static void add_names(GHashTable *out, const uint8_t *names, size_t length)
{
    while (length > 0) {
        const uint8_t *end = memchr(names, '\0', length);
        size_t used = end != NULL ? (size_t)(end - names) + 1 : length;

        if (end != NULL && is_index_name((const char *)names)) {
            g_hash_table_add(out, g_strndup((const char *)names, PACK_NAME_LENGTH));
        }
        names += used;
        length -= used;
    }
}

/* A table of chunks; PNAM has the names. */
static bool read_names(GHashTable *out, const struct file_map *map)
{
    size_t chunks = map->length >= HEADER ? map->data[6] : 0;

    if (chunks == 0 || memcmp(map->data, "MIDX\1", 5) != 0 ||
        map->length < HEADER + (chunks + 1) * CHUNK_ENTRY) {
        return false;
    }
    for (size_t i = 0; i < chunks; i++) {
        const uint8_t *chunk = map->data + HEADER + i * CHUNK_ENTRY;
        uint64_t begin = get_be64(chunk + 4);
        uint64_t end = get_be64(chunk + CHUNK_ENTRY + 4);

        if (memcmp(chunk, "PNAM", 4) == 0 && begin <= end && end <= map->length) {
            add_names(out, map->data + begin, (size_t)(end - begin));
            return true;
        }
    }
    return false;
}

GHashTable *multi_pack_index_names(const char *directory)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    char *path = g_strdup_printf("%s/" MULTI_PACK_INDEX, directory);
    struct file_map map;
    struct stat status;
    bool known = lstat(path, &status) < 0 && errno == ENOENT;

    g_free(path);
    if (!known && file_map_open(&map, directory, MULTI_PACK_INDEX, "")) {
        known = read_names(names, &map);
        file_map_close(&map);
    }
    if (!known) {
        g_clear_pointer(&names, g_hash_table_destroy);
    }
    return names;
}

/* ---- writing ---- */

/* An object: where to find it. */
struct place {
    uint32_t pack;
    uint32_t position;
};

struct table {
    const GPtrArray *names;     /* char *, ascending */
    struct pack_index *indexes; /* of each */
    struct place *places;       /* ascending ids, each once */
    uint32_t count;
    uint32_t large; /* how many offsets do not fit into 31 bits */
};

struct output {
    const struct host *host;
    int fd;
    int result;
    struct sha1 sha1;
    size_t used;
    uint8_t buffer[BUFFER_SIZE];
};

static void table_release(struct table *table)
{
    for (guint i = 0; i < table->names->len && table->indexes != NULL; i++) {
        pack_index_close(&table->indexes[i]);
    }
    g_free(table->indexes);
    free(table->places);
}

static const struct object_id *place_id(const struct table *table, const struct place *place)
{
    return pack_index_id(&table->indexes[place->pack], place->position);
}

static uint64_t place_offset(const struct table *table, const struct place *place)
{
    return pack_index_offset(&table->indexes[place->pack], place->position);
}

static int compare_places(const void *a, const void *b, void *data)
{
    const struct place *left = a;
    const struct place *right = b;
    int order = memcmp(place_id(data, left), place_id(data, right), OBJECT_ID_SIZE);

    return order != 0 ? order : (left->pack > right->pack) - (left->pack < right->pack);
}

/* An object in several packs is listed with the first. */
static void sort_places(struct table *table, uint32_t total)
{
    uint32_t kept = 0;

    qsort_r(table->places, total, sizeof(*table->places), compare_places, table);
    for (uint32_t i = 0; i < total; i++) {
        if (kept == 0 || !object_id_equal(place_id(table, &table->places[kept - 1]),
                                          place_id(table, &table->places[i]))) {
            table->places[kept++] = table->places[i];
        }
    }
    table->count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        table->large += place_offset(table, &table->places[i]) > OFFSET_LARGE;
    }
}

static int table_init(struct table *table, const char *directory, const GPtrArray *names,
                      struct store_error *error)
{
    uint64_t total = 0;
    uint32_t next = 0;

    *table = (struct table){.names = names};
    table->indexes = g_new0(struct pack_index, names->len);
    for (guint i = 0; i < names->len; i++) {
        char *pack = g_strdup_printf("%s/%s.pack", directory, (char *)names->pdata[i]);
        struct stat status;
        bool there = stat(pack, &status) == 0 &&
                     pack_index_open(&table->indexes[i], directory, names->pdata[i]);

        g_free(pack);
        if (!there) {
            return store_error_set(error, STORE_CORRUPT, "%s: no index", (char *)names->pdata[i]);
        }
        total += table->indexes[i].count;
    }
    if (total > MULTI_PACK_INDEX_OBJECTS_MAX) {
        return store_error_set(error, STORE_LIMIT, "too many objects for one index");
    }
    table->places = malloc((total + 1) * sizeof(*table->places));
    if (table->places == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "multi-pack-index");
    }
    for (uint32_t i = 0; i < names->len; i++) {
        for (uint32_t position = 0; position < table->indexes[i].count; position++) {
            table->places[next++] = (struct place){i, position};
        }
    }
    sort_places(table, next);
    return 0;
}

static void flush(struct output *output)
{
    if (output->result == 0) {
        output->result =
            output->host->write(output->host->data, output->fd, output->buffer, output->used);
    }
    output->used = 0;
}

static void put(struct output *output, const void *bytes, size_t length)
{
    const uint8_t *next = bytes;

    sha1_update(&output->sha1, bytes, length);
    while (length > 0) {
        size_t part = MIN(length, BUFFER_SIZE - output->used);

        memcpy(output->buffer + output->used, next, part);
        output->used += part;
        next += part;
        length -= part;
        if (output->used == BUFFER_SIZE) {
            flush(output);
        }
    }
}

static void put_be32(struct output *output, uint32_t value)
{
    uint8_t bytes[4];

    set_be32(bytes, value);
    put(output, bytes, sizeof(bytes));
}

static void put_be64(struct output *output, uint64_t value)
{
    put_be32(output, (uint32_t)(value >> 32));
    put_be32(output, (uint32_t)value);
}

/* Octets of the names with their ends, padded to a multiple of four. */
static size_t names_length(const GPtrArray *names)
{
    return (names->len * (PACK_NAME_LENGTH + strlen(".idx") + 1) + 3) & ~(size_t)3;
}

static void put_header(struct output *output, const struct table *table)
{
    struct {
        char id[5];
        uint64_t length;
    } chunks[CHUNKS_MAX] = {
        {"PNAM", names_length(table->names)},
        {"OIDF", FANOUT * 4},
        {"OIDL", (uint64_t)table->count * OBJECT_ID_SIZE},
        {"OOFF", (uint64_t)table->count * 8},
        {"LOFF", (uint64_t)table->large * 8},
    };
    uint8_t count = table->large > 0 ? CHUNKS_MAX : CHUNKS_MAX - 1;
    const uint8_t header[8] = {'M', 'I', 'D', 'X', 1, 1, count, 0};
    uint64_t offset = HEADER + (count + 1) * (uint64_t)CHUNK_ENTRY;

    put(output, header, sizeof(header));
    put_be32(output, table->names->len);
    for (unsigned i = 0; i < count; i++) {
        put(output, chunks[i].id, 4);
        put_be64(output, offset);
        offset += chunks[i].length;
    }
    put_be32(output, 0);
    put_be64(output, offset);
}

static void put_names(struct output *output, const GPtrArray *names)
{
    static const uint8_t padding[3] = {0, 0, 0};
    size_t length = 0;

    for (guint i = 0; i < names->len; i++) {
        char name[PACK_NAME_LENGTH + sizeof(".idx")];

        snprintf(name, sizeof(name), "%s.idx", (char *)names->pdata[i]);
        put(output, name, strlen(name) + 1);
        length += strlen(name) + 1;
    }
    put(output, padding, names_length(names) - length);
}

static void put_fanout(struct output *output, const struct table *table)
{
    uint32_t at = 0;

    for (unsigned first = 0; first < FANOUT; first++) {
        while (at < table->count && place_id(table, &table->places[at])->bytes[0] <= first) {
            at++;
        }
        put_be32(output, at);
    }
}

/* The highest bit of an offset means a place in LOFF wherever there is that chunk. */
static void put_offsets(struct output *output, const struct table *table)
{
    uint32_t large = 0;

    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t offset = place_offset(table, &table->places[i]);

        put_be32(output, table->places[i].pack);
        put_be32(output, offset > OFFSET_LARGE ? 0x80000000 | large++ : (uint32_t)offset);
    }
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t offset = place_offset(table, &table->places[i]);

        if (offset > OFFSET_LARGE) {
            put_be64(output, offset);
        }
    }
}

static int put_all(const struct host *host, int fd, const struct table *table)
{
    struct output *output = g_new0(struct output, 1);
    uint8_t sum[OBJECT_ID_SIZE];

    output->host = host;
    output->fd = fd;
    sha1_init(&output->sha1);
    put_header(output, table);
    put_names(output, table->names);
    put_fanout(output, table);
    for (uint32_t i = 0; i < table->count; i++) {
        put(output, place_id(table, &table->places[i]), OBJECT_ID_SIZE);
    }
    put_offsets(output, table);
    sha1_sum(&output->sha1, sum);
    put(output, sum, sizeof(sum));
    flush(output);
    int result = output->result;
    g_free(output);
    return result;
}

/* A crash's lock is taken away. 0, or a negative errno. */
static int take_lock(const struct host *host, const char *lock)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    int fd = host->open(host->data, lock, flags, 0444);
    struct stat status;

    if (fd == -EEXIST && lstat(lock, &status) == 0 &&
        host->now(host->data) / MICROSECONDS - status.st_mtime > MULTI_PACK_INDEX_LOCK_SECONDS) {
        host->unlink(host->data, lock);
        fd = host->open(host->data, lock, flags, 0444);
    }
    if (fd < 0) {
        return fd;
    }
    int result = host->close(host->data, fd);
    if (result < 0) {
        host->unlink(host->data, lock);
    }
    return result;
}

static int write_file(const char *path, const struct host *host, const struct table *table)
{
    int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_EXCL, 0444);

    if (fd < 0) {
        return fd;
    }
    int result = put_all(host, fd, table);
    if (result == 0) {
        result = host->fsync(host->data, fd);
    }
    int closed = host->close(host->data, fd);
    return result < 0 ? result : closed;
}

/* Bitmaps and the like are named after the checksum of the file that they belong to. */
static void remove_companions(const char *directory, const struct host *host)
{
    DIR *handle = opendir(directory);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        if (g_str_has_prefix(entry->d_name, MULTI_PACK_INDEX "-")) {
            char *path = g_strdup_printf("%s/%s", directory, entry->d_name);

            host->unlink(host->data, path);
            g_free(path);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

/* git writes into the lock file and renames that. Ours stays empty, and the file is written where a
 * `git clone` of a path does not meet it while it grows. */
static int write_under_lock(const char *directory, const char *scratch, const struct host *host,
                            const struct table *table)
{
    char *path = g_strdup_printf("%s/" MULTI_PACK_INDEX, directory);
    char *lock = g_strconcat(path, LOCK_SUFFIX, NULL);
    int result;
    char *temporary = pack_temporary_path(scratch, host, &result);

    if (result == 0) {
        result = take_lock(host, lock);
    }
    if (result == 0) {
        result = write_file(temporary, host, table);
        if (result == 0) {
            result = host->rename(host->data, temporary, path);
        }
        if (result < 0) {
            host->unlink(host->data, temporary);
        } else {
            remove_companions(directory, host);
            result = host->fsync_directory(host->data, directory);
        }
        int unlocked = host->unlink(host->data, lock);
        result = result < 0 ? result : unlocked;
    }
    g_free(temporary);
    g_free(lock);
    g_free(path);
    return result;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int multi_pack_index_write(const char *directory, const char *scratch, const struct host *host,
                           const GPtrArray *names, struct store_error *error)
{
    GPtrArray *sorted = g_ptr_array_copy((GPtrArray *)(uintptr_t)names, NULL, NULL);
    struct table table;

    g_ptr_array_set_free_func(sorted, NULL);
    g_ptr_array_sort(sorted, compare_names);
    int result = table_init(&table, directory, sorted, error);
    if (result == 0) {
        result = write_under_lock(directory, scratch, host, &table);
        if (result == -EEXIST) {
            result = store_error_set(error, STORE_CONFLICT, "somebody writes " MULTI_PACK_INDEX);
        } else if (result < 0) {
            result = host_fail(error, result, MULTI_PACK_INDEX);
        }
    }
    table_release(&table);
    g_ptr_array_free(sorted, TRUE);
    return result;
}

int multi_pack_index_remove(const char *directory, const struct host *host,
                            struct store_error *error)
{
    char *path = g_strdup_printf("%s/" MULTI_PACK_INDEX, directory);
    int result = host->unlink(host->data, path);

    g_free(path);
    if (result == -ENOENT) {
        return 0;
    }
    remove_companions(directory, host);
    if (result == 0) {
        result = host->fsync_directory(host->data, directory);
    }
    return result < 0 ? host_fail(error, result, MULTI_PACK_INDEX) : 0;
}
