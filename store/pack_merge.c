#include "store/internal/pack_merge.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "store/internal/objects_private.h"
#include "store/internal/pack.h"

enum {
    PACKS_AT_ONCE = 256,
    INDEX_HEADER = 8,
    INDEX_FANOUT = 256 * 4,
    PACK_HEADER = 12,
    MIDX_HEADER = 12,
    MIDX_CHUNK = 12,
    TRAILER = OBJECT_ID_SIZE,
    NAME_LENGTH = 5 + OBJECT_ID_HEX, /* "pack-" and 40 digits */
    GC_PID_SECONDS = 12 * 3600,      /* git, too, takes an older gc.pid for a crash's */
    MICROSECONDS = 1000000,
};

/* A file of the pack directory: where and how old. */
struct candidate {
    char *name; /* "pack-..." without suffix */
    uint64_t size;
};

struct map {
    const uint8_t *data;
    size_t length;
};

struct source {
    struct map pack;
    struct map index;
};

struct extent {
    struct object_id id;
    const uint8_t *data;
    size_t length;
    uint32_t crc;
};

void pack_merge_init(struct pack_merge *merge)
{
    merge->retired = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    merge->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void pack_merge_release(struct pack_merge *merge)
{
    g_hash_table_destroy(merge->retired);
    g_hash_table_destroy(merge->foreign);
}

static void candidate_free(void *data)
{
    struct candidate *candidate = data;

    g_free(candidate->name);
    g_free(candidate);
}

static int64_t now_seconds(const struct objects *objects)
{
    return objects->host->now(objects->host->data) / MICROSECONDS;
}

static char *file_path(const struct objects *objects, const char *name, const char *suffix)
{
    return g_strdup_printf("%s/%s%s", objects->pack_directory, name, suffix);
}

static bool stat_file(const struct objects *objects, const char *name, const char *suffix,
                      struct stat *status)
{
    char *path = file_path(objects, name, suffix);
    bool exists = stat(path, status) == 0;

    g_free(path);
    return exists;
}

static void unlink_file(const struct objects *objects, const char *name, const char *suffix)
{
    char *path = file_path(objects, name, suffix);

    objects->host->unlink(objects->host->data, path);
    g_free(path);
}

/* Somebody else is rewriting packs, or has written down in a newer way which there are. */
static bool must_stand_back(const struct objects *objects)
{
    struct stat status;
    char *path = g_strdup_printf("%s/gc.pid", objects->path);
    bool busy = stat(path, &status) == 0 && now_seconds(objects) - status.st_mtime < GC_PID_SECONDS;

    g_free(path);
    return busy || stat_file(objects, "multi-pack-index.d", "", &status);
}

static bool keep_is_ours(const struct objects *objects, const char *name)
{
    char text[sizeof(PACK_KEEP_TEXT)] = "";
    char *path = file_path(objects, name, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = -1;

    g_free(path);
    if (fd >= 0) {
        length = read(fd, text, sizeof(text));
        close(fd);
    }
    return length == (ssize_t)strlen(PACK_KEEP_TEXT) &&
           memcmp(text, PACK_KEEP_TEXT, (size_t)length) == 0;
}

static bool keep_is_in_use(const struct objects *objects, const char *name)
{
    for (guint i = 0; i < objects->kept->len; i++) {
        if (strncmp(name + strlen("pack-"), objects->kept->pdata[i], OBJECT_ID_HEX) == 0) {
            return true;
        }
    }
    for (guint i = 0; i < objects->batches->len; i++) {
        const struct object_batch *batch = objects->batches->pdata[i];

        if (batch->name != NULL &&
            strncmp(name + strlen("pack-"), batch->name, OBJECT_ID_HEX) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_pack_file(const char *name, const char *suffix)
{
    return strlen(name) == NAME_LENGTH + strlen(suffix) && g_str_has_prefix(name, "pack-") &&
           g_str_has_suffix(name, suffix);
}

static bool map_file(const struct objects *objects, const char *name, const char *suffix,
                     struct map *out)
{
    struct stat status;
    char *path = file_path(objects, name, suffix);
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
    *out = (struct map){data, (size_t)status.st_size};
    return true;
}

static void unmap(const struct map *map)
{
    if (map->data != NULL) {
        munmap((void *)(uintptr_t)map->data, map->length);
    }
}

static uint32_t get_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint64_t get_be64(const uint8_t *bytes)
{
    return (uint64_t)get_be32(bytes) << 32 | get_be32(bytes + 4);
}

/* Adds NUL-terminated "pack-NAME.idx" without their suffixes. */
static void add_listed(GHashTable *listed, const uint8_t *names, size_t length)
{
    while (length > 0) {
        const uint8_t *end = memchr(names, '\0', length);
        size_t used = end != NULL ? (size_t)(end - names) + 1 : length;

        if (end != NULL && is_pack_file((const char *)names, ".idx")) {
            g_hash_table_add(listed, g_strndup((const char *)names, NAME_LENGTH));
        }
        names += used;
        length -= used;
    }
}

/* gitformat-pack(5), multi-pack-index: a table of chunks, PNAM has the names of packs. */
static bool read_listed(GHashTable *listed, const struct map *map)
{
    size_t chunks = map->length >= MIDX_HEADER ? map->data[6] : 0;

    if (chunks == 0 || memcmp(map->data, "MIDX\1", 5) != 0 ||
        map->length < MIDX_HEADER + (chunks + 1) * MIDX_CHUNK) {
        return false;
    }
    for (size_t i = 0; i < chunks; i++) {
        const uint8_t *chunk = map->data + MIDX_HEADER + i * MIDX_CHUNK;
        uint64_t begin = get_be64(chunk + 4);
        uint64_t end = get_be64(chunk + MIDX_CHUNK + 4);

        if (memcmp(chunk, "PNAM", 4) == 0 && begin <= end && end <= map->length) {
            add_listed(listed, map->data + begin, (size_t)(end - begin));
            return true;
        }
    }
    return false;
}

static bool any_gone(const struct objects *objects, GHashTable *listed)
{
    GHashTableIter iterator;
    struct stat status;
    void *name;

    g_hash_table_iter_init(&iterator, listed);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (!stat_file(objects, name, ".idx", &status) ||
            !stat_file(objects, name, ".pack", &status)) {
            return true;
        }
    }
    return false;
}

/* The packs that git's multi-pack-index relies on: a new set; NULL if there is no telling. Git does
 * not look into other packs for an object that a listed one should have: a list made while one of
 * them went away is removed, git does without. */
static GHashTable *listed_packs(const struct objects *objects)
{
    GHashTable *listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct stat status;
    struct map map;

    if (!stat_file(objects, "multi-pack-index", "", &status)) {
        return listed;
    }
    bool known = map_file(objects, "multi-pack-index", "", &map);
    if (known) {
        known = read_listed(listed, &map);
        unmap(&map);
    }
    if (known && any_gone(objects, listed)) {
        unlink_file(objects, "multi-pack-index", "");
        g_hash_table_remove_all(listed);
    }
    if (!known) {
        g_clear_pointer(&listed, g_hash_table_destroy);
    }
    return listed;
}

/* A merged pack whose index is gone, and nobody remembers when: the server was started anew. */
static bool is_hidden_pack(const struct objects *objects, const char *file)
{
    struct stat status;
    bool hidden = false;

    if (!is_pack_file(file, ".pack")) {
        return false;
    }
    char *name = g_strndup(file, NAME_LENGTH);
    if (!g_hash_table_contains(objects->merge.retired, name)) {
        hidden = !stat_file(objects, name, ".idx", &status) &&
                 !stat_file(objects, name, ".keep", &status);
    }
    g_free(name);
    return hidden;
}

/* What a crash left: half-written files, and protection that nobody will lift. */
static void remove_leftover(const struct objects *objects, const char *name)
{
    struct stat status;
    bool temporary =
        g_str_has_prefix(name, PACK_TEMP_PREFIX) && g_str_has_suffix(name, PACK_TEMP_SUFFIX);
    bool hidden = is_hidden_pack(objects, name);

    if (!temporary && !hidden && !is_pack_file(name, ".keep")) {
        return;
    }
    if (!stat_file(objects, name, "", &status) ||
        now_seconds(objects) - status.st_mtime < PACK_LEFTOVER_SECONDS) {
        return;
    }
    if (temporary || hidden) {
        unlink_file(objects, name, "");
    } else if (!keep_is_in_use(objects, name) && keep_is_ours(objects, name)) {
        char *pack = g_strndup(name, NAME_LENGTH);

        if (!stat_file(objects, pack, ".idx", &status)) {
            unlink_file(objects, pack, ".pack");
        }
        unlink_file(objects, name, "");
        g_free(pack);
    }
}

static void consider(const struct objects *objects, const char *file, GHashTable *listed,
                     GPtrArray *candidates)
{
    struct stat status;

    if (!is_pack_file(file, ".idx")) {
        return;
    }
    char *name = g_strndup(file, NAME_LENGTH);
    if (!g_hash_table_contains(objects->merge.retired, name) &&
        !g_hash_table_contains(objects->merge.foreign, name) &&
        !g_hash_table_contains(listed, name) && !stat_file(objects, name, ".keep", &status) &&
        stat_file(objects, name, ".pack", &status) && status.st_size <= PACK_MERGE_BYTES_MAX / 2) {
        struct candidate *candidate = g_new0(struct candidate, 1);

        candidate->name = g_steal_pointer(&name);
        candidate->size = (uint64_t)status.st_size;
        g_ptr_array_add(candidates, candidate);
    }
    g_free(name);
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = *(const struct candidate *const *)a;
    const struct candidate *right = *(const struct candidate *const *)b;

    return left->size < right->size   ? -1
           : left->size > right->size ? 1
                                      : strcmp(left->name, right->name);
}

/* Cleans up, and finds the packs small enough to merge, smallest first. */
static GPtrArray *scan(const struct objects *objects, GHashTable *listed)
{
    GPtrArray *candidates = g_ptr_array_new_with_free_func(candidate_free);
    DIR *directory = opendir(objects->pack_directory);
    struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        remove_leftover(objects, entry->d_name);
        consider(objects, entry->d_name, listed, candidates);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    g_ptr_array_sort(candidates, compare_candidates);
    return candidates;
}

/* The longest run of smallest packs that breaks the geometric progression (each more than twice
 * all smaller ones together): every octet is copied O(log n) times in its life. */
static guint choose(const GPtrArray *candidates)
{
    uint64_t sum = 0;
    guint chosen = 0;

    for (guint i = 0; i < candidates->len && i < PACKS_AT_ONCE; i++) {
        const struct candidate *candidate = candidates->pdata[i];

        if (sum + candidate->size > PACK_MERGE_BYTES_MAX) {
            break;
        }
        if (i > 0 && candidate->size <= 2 * sum) {
            chosen = i + 1;
        }
        sum += candidate->size;
    }
    return chosen;
}

static int compare_extents(const void *a, const void *b)
{
    const struct extent *left = a;
    const struct extent *right = b;

    return left->data < right->data ? -1 : left->data > right->data;
}

/* gitformat-pack(5): the index's table of objects; false unless it has exactly our form. */
static bool read_index(const struct source *source, GArray *extents)
{
    static const uint8_t magic[INDEX_HEADER] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    const struct map *index = &source->index;

    if (index->length < INDEX_HEADER + INDEX_FANOUT + 2 * TRAILER ||
        source->pack.length < PACK_HEADER + TRAILER || memcmp(index->data, magic, sizeof(magic)) ||
        memcmp(source->pack.data, "PACK\0\0\0\2", 8) != 0) {
        return false;
    }
    size_t count = get_be32(index->data + INDEX_HEADER + INDEX_FANOUT - 4);
    const uint8_t *ids = index->data + INDEX_HEADER + INDEX_FANOUT;
    if (count != get_be32(source->pack.data + 8) ||
        index->length != INDEX_HEADER + INDEX_FANOUT + count * (OBJECT_ID_SIZE + 8) + 2 * TRAILER) {
        return false;
    }
    const uint8_t *crcs = ids + count * OBJECT_ID_SIZE;
    const uint8_t *offsets = crcs + count * 4;
    for (size_t i = 0; i < count; i++) {
        size_t offset = get_be32(offsets + i * 4);
        struct extent extent = {.crc = get_be32(crcs + i * 4)};

        if (offset < PACK_HEADER || offset >= source->pack.length - TRAILER) {
            return false;
        }
        memcpy(extent.id.bytes, ids + i * OBJECT_ID_SIZE, OBJECT_ID_SIZE);
        extent.data = source->pack.data + offset;
        g_array_append_val(extents, extent);
    }
    return true;
}

/* Lengths, from one entry to the next; only whole objects with the right CRC can be copied. */
static bool check_extents(const struct source *source, GArray *extents)
{
    const uint8_t *end = source->pack.data + source->pack.length - TRAILER;

    g_array_sort(extents, compare_extents);
    for (guint i = extents->len; i-- > 0;) {
        struct extent *extent = &g_array_index(extents, struct extent, i);
        unsigned type = extent->data[0] >> 4 & 7;

        extent->length = (size_t)(end - extent->data);
        if (type < 1 || type > 4 || extent->length == 0 ||
            crc32_z(0, extent->data, extent->length) != extent->crc) {
            return false;
        }
        end = extent->data;
    }
    return end == source->pack.data + PACK_HEADER;
}

static bool source_open(const struct objects *objects, const char *name, struct source *out,
                        GArray *extents)
{
    return map_file(objects, name, ".pack", &out->pack) &&
           map_file(objects, name, ".idx", &out->index) && read_index(out, extents) &&
           check_extents(out, extents);
}

static void source_close(void *data)
{
    struct source *source = data;

    unmap(&source->pack);
    unmap(&source->index);
}

/* Each object once, in the order of the packs. */
static void add_new(GArray *all, GHashTable *seen, const GArray *extents)
{
    for (guint i = 0; i < extents->len; i++) {
        struct extent *extent = &g_array_index(extents, struct extent, i);

        if (g_hash_table_add(seen, g_memdup2(&extent->id, sizeof(extent->id)))) {
            g_array_append_vals(all, extent, 1);
        }
    }
}

static int write_merged(struct objects *objects, const GArray *all, char name[NAME_LENGTH + 1])
{
    struct store_error error;
    struct pack_writer *writer = NULL;
    int result =
        pack_writer_open(&writer, objects->pack_directory, objects->host, all->len, &error);

    for (guint i = 0; i < all->len && result == 0; i++) {
        const struct extent *extent = &g_array_index(all, struct extent, i);

        result = pack_writer_add_raw(writer, &extent->id, extent->data, extent->length, extent->crc,
                                     &error);
    }
    if (result == 0) {
        result = pack_writer_finish(writer, PACK_DURABLE, &error);
    }
    if (result == 0) {
        snprintf(name, NAME_LENGTH + 1, "pack-%s", pack_writer_name(writer));
    }
    pack_writer_free(writer);
    return result;
}

static void retire(struct objects *objects, const char *name)
{
    struct retired retired = {.since = now_seconds(objects)};

    g_hash_table_insert(objects->merge.retired, g_strdup(name),
                        g_memdup2(&retired, sizeof(retired)));
}

static void merge(struct objects *objects, const GPtrArray *candidates, guint count)
{
    GArray *sources = g_array_new(FALSE, TRUE, sizeof(struct source));
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct extent));
    GHashTable *seen = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
    char name[NAME_LENGTH + 1] = "";
    bool usable = true;

    g_array_set_clear_func(sources, source_close);
    for (guint i = 0; i < count && usable; i++) {
        const struct candidate *candidate = candidates->pdata[i];
        struct source source = {{NULL, 0}, {NULL, 0}};
        GArray *extents = g_array_new(FALSE, FALSE, sizeof(struct extent));

        usable = source_open(objects, candidate->name, &source, extents);
        if (usable) {
            add_new(all, seen, extents);
        } else {
            g_hash_table_add(objects->merge.foreign, g_strdup(candidate->name));
        }
        g_array_append_val(sources, source);
        g_array_free(extents, TRUE);
    }
    if (usable && write_merged(objects, all, name) == 0) {
        for (guint i = 0; i < count; i++) {
            const struct candidate *candidate = candidates->pdata[i];

            if (strcmp(candidate->name, name) != 0) {
                retire(objects, candidate->name);
            }
        }
    }
    g_hash_table_destroy(seen);
    g_array_free(all, TRUE);
    g_array_free(sources, TRUE);
}

static void hide(const struct objects *objects, const char *name, struct retired *retired)
{
    static const char *const suffixes[] = {".idx", ".rev", ".bitmap"};

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        unlink_file(objects, name, suffixes[i]);
    }
    retired->hidden = true;
}

static void unlink_retired(struct objects *objects, GHashTable *listed)
{
    int64_t grace = g_hash_table_size(objects->merge.retired) > PACK_RETIRED_MAX
                        ? PACK_RETIRE_SECONDS_SHORT
                        : PACK_RETIRE_SECONDS;
    int64_t now = now_seconds(objects);
    struct store_error error;
    GHashTableIter iterator;
    void *name;
    void *value;
    bool gone = false;

    g_hash_table_iter_init(&iterator, objects->merge.retired);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        struct retired *retired = value;

        if (!retired->hidden && g_hash_table_contains(listed, name)) {
            g_hash_table_iter_remove(&iterator);
            continue;
        }
        if (!retired->hidden && now - retired->since >= PACK_HIDE_SECONDS) {
            hide(objects, name, retired);
            gone = true;
        }
        if (retired->hidden && now - retired->since >= grace) {
            unlink_file(objects, name, ".pack");
            g_hash_table_iter_remove(&iterator);
        }
    }
    if (gone) {
        /* On failure the library keeps the old list, and each read that misses looks anew. */
        objects_reopen(objects, &error);
    }
}

void pack_merge_close(struct objects *objects)
{
    GHashTableIter iterator;
    void *name;
    void *value;

    if (objects->merge.written > 0) {
        objects_maintain(objects);
    }
    GHashTable *listed = g_hash_table_size(objects->merge.retired) > 0 && !must_stand_back(objects)
                             ? listed_packs(objects)
                             : NULL;
    if (listed == NULL) {
        return;
    }
    g_hash_table_iter_init(&iterator, objects->merge.retired);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        struct retired *retired = value;

        if (!retired->hidden && !g_hash_table_contains(listed, name)) {
            hide(objects, name, retired);
        }
    }
    g_hash_table_destroy(listed);
}

void pack_merge_count(struct objects *objects)
{
    if (++objects->merge.written >= PACK_MERGE_EVERY) {
        objects_maintain(objects);
    }
}

void objects_maintain(struct objects *objects)
{
    objects->merge.written = 0;
    GHashTable *listed = must_stand_back(objects) ? NULL : listed_packs(objects);
    if (listed == NULL) {
        return;
    }
    unlink_retired(objects, listed);
    GPtrArray *candidates = scan(objects, listed);
    if (candidates->len > PACK_MERGE_COUNT) {
        guint count = choose(candidates);

        if (count > 1) {
            merge(objects, candidates, count);
        }
    }
    g_ptr_array_free(candidates, TRUE);
    g_hash_table_destroy(listed);
}
