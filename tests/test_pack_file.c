#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/internal/pack.h"
#include "store/internal/pack_file.h"
#include "store/internal/pack_set.h"
#include "store/internal/tree.h"
#include "tests/store_fixture.h"

enum { RANDOM_OBJECTS = 300, BLOCK_MAX = 65535 };

static char *directory;
static char *repository;
static char *packs;
static GRand *source;
static struct store_error error;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    packs = fixture_path(repository, "objects/pack");
    source = g_rand_new_with_seed(4711);
}

static void teardown(void)
{
    g_rand_free(source);
    free(packs);
    free(repository);
    fixture_remove(directory);
}

/* --- making packs --- */

struct object {
    struct object_id id;
    enum object_type type;
    GBytes *content;
};

static void object_clear(void *data)
{
    g_bytes_unref(((struct object *)data)->content);
}

static GArray *objects_new(void)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct object));

    g_array_set_clear_func(all, object_clear);
    return all;
}

static const struct object *at(const GArray *all, guint index)
{
    return &g_array_index(all, struct object, index);
}

static void add(GArray *all, enum object_type type, const void *data, size_t length)
{
    struct object object = {.type = type, .content = g_bytes_new(data, length)};

    objects_hash(type, data, length, &object.id);
    for (guint i = 0; i < all->len; i++) {
        if (object_id_equal(&at(all, i)->id, &object.id)) {
            g_bytes_unref(object.content);
            return;
        }
    }
    g_array_append_val(all, object);
}

/* Octets that compress somewhat. */
static uint8_t *random_octets(size_t length)
{
    uint8_t *out = g_malloc(length + 1);
    gint32 alphabet = g_rand_int_range(source, 2, 257);

    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t)g_rand_int_range(source, 0, alphabet);
    }
    return out;
}

/* Blobs of all sorts of sizes, many of them like the one before, the first of them empty. */
static GArray *make_blobs(void)
{
    static const size_t sizes[] = {0,     1,     2,      15,     16,     2047,   2048,  65534,
                                   65535, 65536, 131069, 131070, 131071, 200000, 500000};
    GArray *all = objects_new();

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint8_t *octets = random_octets(sizes[i]);

        add(all, OBJECT_BLOB, octets, sizes[i]);
        g_free(octets);
    }
    while (all->len < RANDOM_OBJECTS) {
        size_t length;
        const uint8_t *before = g_bytes_get_data(at(all, all->len - 1)->content, &length);
        bool alike = g_rand_int_range(source, 0, 8) > 0 && length > 10 && length < 30000;
        size_t more = (size_t)g_rand_int_range(source, 0, alike ? 40 : 6000);
        uint8_t *octets = random_octets(length + more);

        if (alike) {
            memcpy(octets, before, length);
            octets[g_rand_int_range(source, 0, (gint32)length)] ^= 1;
        }
        add(all, OBJECT_BLOB, octets, alike ? length + more : more);
        g_free(octets);
    }
    return all;
}

/* A tree of the blobs so far, and a commit of it. */
static struct object_id add_commit(GArray *all, guint blobs)
{
    GByteArray *tree = g_byte_array_new();
    struct object_id tree_id;
    char name[16], hex[OBJECT_ID_HEX + 1];

    for (guint i = 0; i < blobs; i++) {
        snprintf(name, sizeof(name), "%05u", i);
        tree_append(tree, name, false, &at(all, i)->id);
    }
    objects_hash(OBJECT_TREE, tree->data, tree->len, &tree_id);
    add(all, OBJECT_TREE, tree->data, tree->len);
    g_byte_array_free(tree, TRUE);
    object_id_format(&tree_id, hex);
    char *text = g_strdup_printf("tree %s\nauthor A <a@x> 1700000000 +0000\n"
                                 "committer A <a@x> 1700000000 +0000\n\nsubject\n",
                                 hex);
    struct object_id id;
    objects_hash(OBJECT_COMMIT, text, strlen(text), &id);
    add(all, OBJECT_COMMIT, text, strlen(text));
    g_free(text);
    return id;
}

/* Writes all with our writer, each that can be as a delta of the one before; ".../pack-NAME". */
static char *write_pack(const GArray *all)
{
    struct pack_writer *writer;

    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), all->len, &error),
                     0);
    for (guint i = 0; i < all->len; i++) {
        const struct object *object = at(all, i);
        const struct object *before = at(all, i > 0 ? i - 1 : 0);
        size_t length, base_length;
        const void *data = g_bytes_get_data(object->content, &length);
        const void *base = g_bytes_get_data(before->content, &base_length);

        ck_assert_int_eq(pack_writer_add_version(writer,
                                                 &(struct pack_version){.id = object->id,
                                                                        .type = object->type,
                                                                        .data = data,
                                                                        .length = length,
                                                                        .base_id = before->id,
                                                                        .base_data = base,
                                                                        .base_length = base_length},
                                                 &error),
                         0);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *path = g_strdup_printf("%s/pack-%s", packs, pack_writer_name(writer));
    pack_writer_free(writer);
    return path;
}

/* --- reading them --- */

static struct pack_file *open_pack(const char *path)
{
    struct pack_file *pack;

    ck_assert_msg(pack_file_open(&pack, path, &error) == 0, "%s", error.detail);
    return pack;
}

static void check_slices(struct pack_file *pack, uint32_t position, GBytes *expected)
{
    struct pack_slices slices;
    size_t length;
    const uint8_t *octets = g_bytes_get_data(expected, &length);

    if (!pack_slices_open(&slices, pack, position)) {
        return;
    }
    ck_assert_uint_eq(slices.length, length);
    for (int round = 0; round < 3; round++) {
        uint64_t offset = round < 2 || length == 0 ? 0 : g_rand_int(source) % length;

        while (offset < length) {
            size_t max = round == 0 ? SIZE_MAX : 1 + g_rand_int(source) % 100000;
            GBytes *slice;
            gsize got;

            ck_assert_int_eq(pack_slices_next(&slices, offset, max, &slice, &error), 0);
            const void *data = g_bytes_get_data(slice, &got);
            ck_assert_uint_ge(got, 1);
            ck_assert_uint_le(got, MIN(max, length - offset));
            ck_assert_int_eq(memcmp(data, octets + offset, got), 0);
            offset += got;
            g_bytes_unref(slice);
        }
    }
    pack_slices_release(&slices);
}

static void check_all(const char *path, const GArray *all)
{
    struct pack_file *pack = open_pack(path);

    ck_assert_uint_eq(pack_file_count(pack), all->len);
    for (guint i = 0; i < all->len; i++) {
        const struct object *object = at(all, i);
        enum object_type type;
        uint32_t position;
        GBytes *content;

        ck_assert(pack_file_find(pack, &object->id, &position));
        ck_assert_msg(pack_file_read(pack, position, &type, &content, &error) == 0, "%s",
                      error.detail);
        ck_assert_int_eq(type, object->type);
        ck_assert(g_bytes_equal(content, object->content));
        check_slices(pack, position, object->content);
        g_bytes_unref(content);
    }
    pack_file_unref(pack);
}

static bool has_deltas(const char *path)
{
    char *index = g_strconcat(path, ".idx", NULL);
    char *list = GIT_OUTPUT(repository, "verify-pack", "-v", index);
    ck_assert_ptr_nonnull(list);
    bool has = strstr(list, "chain length = 1:") != NULL;

    free(list);
    g_free(index);
    return has;
}

START_TEST(test_pack_file__reads_what_our_writer_writes)
{
    GArray *all = make_blobs();

    add_commit(all, all->len);
    char *path = write_pack(all);
    check_all(path, all);
    ck_assert(has_deltas(path));
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    g_free(path);
    g_array_free(all, TRUE);
}
END_TEST

/* The one pack that is there. */
static char *only_pack(void)
{
    GDir *dir = g_dir_open(packs, 0, NULL);
    const char *name;
    char *path = NULL;

    while ((name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(name, ".pack")) {
            ck_assert_ptr_null(path);
            path = g_strdup_printf("%s/%.*s", packs, (int)strlen(name) - 5, name);
        }
    }
    g_dir_close(dir);
    ck_assert_ptr_nonnull(path);
    return path;
}

START_TEST(test_pack_file__reads_what_git_writes)
{
    static const struct {
        const char *compression;
        const char *depth;
        const char *offsets; /* OFS_DELTA or REF_DELTA */
    } cases[] = {
        {"pack.compression=0", "--depth=0", "true"},
        {"pack.compression=0", "--depth=50", "true"},
        {"pack.compression=0", "--depth=9", "false"},
        {"pack.compression=1", "--depth=50", "true"},
        {"pack.compression=6", "--depth=0", "true"},
        {"pack.compression=9", "--depth=250", "true"},
        {"pack.compression=9", "--depth=50", "false"},
    };
    GArray *all = make_blobs();
    struct object_id id = add_commit(all, all->len);
    char *path = write_pack(all);
    char hex[OBJECT_ID_HEX + 1];

    g_free(path);
    object_id_format(&id, hex);
    ck_assert(GIT(repository, "update-ref", "refs/heads/all", hex));
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ck_assert(GIT(repository, "config", "repack.useDeltaBaseOffset", cases[i].offsets));
        ck_assert(GIT(repository, "-c", cases[i].compression, "repack", "-q", "-a", "-d", "-F",
                      "--window=20", cases[i].depth));
        path = only_pack();
        check_all(path, all);
        ck_assert_int_eq(has_deltas(path), strcmp(cases[i].depth, "--depth=0") != 0);
        g_free(path);
    }
    g_array_free(all, TRUE);
}
END_TEST

/* --- what is damaged, or not for us --- */

static void write_file(const char *path, const char *suffix, const void *bytes, size_t length)
{
    char *name = g_strconcat(path, suffix, NULL);

    g_unlink(name);
    ck_assert(g_file_set_contents(name, bytes, (gssize)length, NULL));
    g_free(name);
}

/* Reads all that can be read: nothing but the right octets, by whichever way. */
static unsigned read_if_possible(const char *path, const GArray *all)
{
    struct pack_file *pack;
    unsigned read = 0;

    if (pack_file_open(&pack, path, &error) < 0) {
        return 0;
    }
    for (guint i = 0; i < all->len; i++) {
        const struct object *object = at(all, i);
        struct pack_slices slices;
        enum object_type type;
        uint32_t position;
        GBytes *content;

        if (!pack_file_find(pack, &object->id, &position)) {
            continue;
        }
        if (pack_file_read(pack, position, &type, &content, &error) == 0) {
            ck_assert(type == object->type && g_bytes_equal(content, object->content));
            g_bytes_unref(content);
            read++;
        }
        if (pack_slices_open(&slices, pack, position)) {
            GByteArray *sum = g_byte_array_new();
            int result = 0;

            while (result == 0 && sum->len < slices.length) {
                result = pack_slices_next(&slices, sum->len, 40, &content, &error);
                if (result == 0) {
                    g_byte_array_append(sum, g_bytes_get_data(content, NULL),
                                        (guint)g_bytes_get_size(content));
                    g_bytes_unref(content);
                }
            }
            content = g_byte_array_free_to_bytes(sum);
            ck_assert(result < 0 || slices.length == 0 || g_bytes_equal(content, object->content));
            g_bytes_unref(content);
            pack_slices_release(&slices);
        }
    }
    pack_file_unref(pack);
    return read;
}

/* A pack of a few hundred octets: whole, deltas, empty. */
static GArray *make_few(void)
{
    GArray *all = objects_new();
    char text[120];

    for (int i = 0; i < 3; i++) {
        memset(text, 'a', sizeof(text));
        text[60] = (char)('0' + i);
        add(all, OBJECT_BLOB, text, sizeof(text));
    }
    add(all, OBJECT_BLOB, "", 0);
    add(all, OBJECT_BLOB, "some text", 9);
    add_commit(all, all->len);
    return all;
}

/* As git compresses it, or as we write it. */
static char *write_few(const GArray *all, bool compressed)
{
    char *path = write_pack(all);
    char hex[OBJECT_ID_HEX + 1];

    if (compressed) {
        g_free(path);
        object_id_format(&at(all, all->len - 1)->id, hex);
        ck_assert(GIT(repository, "update-ref", "refs/heads/all", hex));
        ck_assert(GIT(repository, "repack", "-q", "-a", "-d", "-F"));
        path = only_pack();
    }
    return path;
}

static void damage(const char *path, const char *suffix, const GArray *all, uint8_t *bytes,
                   size_t length)
{
    static const uint8_t flips[] = {0x01, 0x10, 0x40, 0x80, 0xff};

    for (size_t i = 0; i < length; i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(flips); j++) {
            bytes[i] ^= flips[j];
            write_file(path, suffix, bytes, length);
            read_if_possible(path, all);
            bytes[i] ^= flips[j];
        }
    }
    for (size_t i = 0; i < length; i++) {
        write_file(path, suffix, bytes, i);
        ck_assert_uint_eq(read_if_possible(path, all), 0);
    }
    write_file(path, suffix, bytes, length);
    ck_assert_uint_eq(read_if_possible(path, all), all->len);
}

START_TEST(test_pack_file__that_is_damaged_gives_no_wrong_octets)
{
    static const char *const suffixes[] = {".pack", ".idx"};
    GArray *all = make_few();
    char *path = write_few(all, _i / 2 == 1);
    char *name = g_strconcat(path, suffixes[_i % 2], NULL);
    char *bytes;
    size_t length;

    ck_assert_uint_eq(read_if_possible(path, all), all->len);
    ck_assert(g_file_get_contents(name, &bytes, &length, NULL));
    damage(path, suffixes[_i % 2], all, (uint8_t *)bytes, length);
    g_free(bytes);
    g_free(name);
    g_free(path);
    g_array_free(all, TRUE);
}
END_TEST

START_TEST(test_pack_file__large_and_damaged_never_comes_whole)
{
    GArray *all = objects_new();
    size_t size = 4 * BLOCK_MAX + 100;
    uint8_t *octets = random_octets(size);
    char *bytes;
    size_t length;

    add(all, OBJECT_BLOB, octets, size);
    char *path = write_pack(all);
    char *name = g_strconcat(path, ".pack", NULL);
    ck_assert(g_file_get_contents(name, &bytes, &length, NULL));
    for (size_t i = 12; i < length - OBJECT_ID_SIZE; i += i < 40 ? 1 : 7919) {
        bytes[i] ^= 4;
        write_file(path, ".pack", bytes, length);
        ck_assert_uint_eq(read_if_possible(path, all), 0);
        bytes[i] ^= 4;
    }
    g_free(bytes);
    g_free(name);
    g_free(path);
    g_free(octets);
    g_array_free(all, TRUE);
}
END_TEST

START_TEST(test_pack_file__leaves_an_old_index_to_the_library)
{
    GArray *all = make_few();
    char *path = write_pack(all);
    char *pack_name = g_strconcat(path, ".pack", NULL);
    char *index_name = g_strconcat(path, ".idx", NULL);
    struct pack_file *pack;

    g_unlink(index_name);
    ck_assert(GIT(repository, "index-pack", "--index-version=1", pack_name));
    ck_assert_int_eq(pack_file_open(&pack, path, &error), STORE_UNSUPPORTED);
    g_unlink(index_name);
    ck_assert_int_eq(pack_file_open(&pack, path, &error), STORE_NOT_FOUND);
    g_free(pack_name);
    g_free(index_name);
    g_free(path);
    g_array_free(all, TRUE);
}
END_TEST

/* A zlib stream of one stored block. */
static size_t stored_stream(uint8_t *out, const uint8_t *bytes, uint16_t length)
{
    uint32_t check = (uint32_t)adler32(adler32(0, NULL, 0), bytes, length);
    uint8_t head[7] = {0x78,
                       0x01,
                       1,
                       (uint8_t)length,
                       (uint8_t)(length >> 8),
                       (uint8_t)~length,
                       (uint8_t)(~length >> 8)};

    memcpy(out, head, sizeof(head));
    memcpy(out + 7, bytes, length);
    for (int i = 0; i < 4; i++) {
        out[7 + length + i] = (uint8_t)(check >> (24 - 8 * i));
    }
    return (size_t)length + 11;
}

static const uint8_t ring_text[16] = "sixteen octets..";

static void add_entry(struct pack_writer *writer, const struct object_id *id, const uint8_t *entry,
                      size_t length)
{
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), entry, length);

    ck_assert_int_eq(pack_writer_add_raw(writer, id, entry, length, crc, &error), 0);
}

/* The pack with that many deltas one on another, each of which changes the first octets. */
static char *write_chain(unsigned deltas, struct object_id *last, uint8_t text[16])
{
    struct pack_writer *writer;

    ck_assert_int_eq(
        pack_writer_open(&writer, packs, repository, host_system(), deltas + 1, &error), 0);
    memcpy(text, ring_text, 16);
    objects_hash(OBJECT_BLOB, text, 16, last);
    uint8_t entry[64] = {0xb0, 1}; /* a blob of 16 octets */
    size_t length = 2 + stored_stream(entry + 2, text, 16);
    add_entry(writer, last, entry, length);
    for (unsigned i = 0; i < deltas; i++) {
        uint8_t delta[] = {16, 16, 4, 0, 0, (uint8_t)(i >> 8), (uint8_t)i, 0x91, 4, 12};

        memcpy(text, delta + 3, 4);
        objects_hash(OBJECT_BLOB, text, 16, last);
        entry[0] = 6 << 4 | sizeof(delta); /* against what is so far away: the one before */
        entry[1] = (uint8_t)length;
        length = 2 + stored_stream(entry + 2, delta, sizeof(delta));
        add_entry(writer, last, entry, length);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *path = g_strdup_printf("%s/pack-%s", packs, pack_writer_name(writer));
    pack_writer_free(writer);
    return path;
}

START_TEST(test_pack_file__follows_a_chain_up_to_its_limit)
{
    for (unsigned i = 0; i < 2; i++) {
        struct object_id last;
        uint8_t text[16];
        char *path = write_chain(PACK_CHAIN_MAX + i, &last, text);
        struct pack_file *pack = open_pack(path);
        enum object_type type;
        uint32_t position;
        GBytes *content;

        ck_assert(pack_file_find(pack, &last, &position));
        int result = pack_file_read(pack, position, &type, &content, &error);
        ck_assert_int_eq(result, i == 0 ? 0 : STORE_UNSUPPORTED);
        if (result == 0) {
            ck_assert_int_eq(memcmp(g_bytes_get_data(content, NULL), text, 16), 0);
            g_bytes_unref(content);
        }
        pack_file_unref(pack);
        g_free(path);
    }
}
END_TEST

/* An entry of a delta against an object by its id. */
static void add_by_name(struct pack_writer *writer, const struct object_id *id,
                        const struct object_id *base)
{
    uint8_t entry[64] = {0x70 | 5};
    static const uint8_t delta[] = {16, 16, 0x90, 16, 0};

    memcpy(entry + 1, base->bytes, OBJECT_ID_SIZE);
    size_t length = 1 + OBJECT_ID_SIZE + stored_stream(entry + 1 + OBJECT_ID_SIZE, delta, 5);
    add_entry(writer, id, entry, length);
}

START_TEST(test_pack_file__leaves_rings_and_bases_elsewhere_to_the_library)
{
    struct object_id ids[4] = {{{1}}, {{2}}, {{3}}, {{4}}};
    struct pack_writer *writer;
    enum object_type type;
    uint32_t position;
    GBytes *content;

    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), 3, &error), 0);
    add_by_name(writer, &ids[0], &ids[1]);
    add_by_name(writer, &ids[1], &ids[0]);
    add_by_name(writer, &ids[2], &ids[3]);
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *path = g_strdup_printf("%s/pack-%s", packs, pack_writer_name(writer));
    pack_writer_free(writer);
    struct pack_file *pack = open_pack(path);
    for (int i = 0; i < 3; i++) {
        ck_assert(pack_file_find(pack, &ids[i], &position));
        ck_assert_int_eq(pack_file_read(pack, position, &type, &content, &error),
                         STORE_UNSUPPORTED);
    }
    pack_file_unref(pack);
    g_free(path);
}
END_TEST

/* The i-th id of a pack, in one of several patterns, all of them uneven. */
static struct object_id uneven_id(int pattern, unsigned i)
{
    struct object_id id = {{7}};
    unsigned at = pattern == 0 ? 16 : 1;

    if (pattern == 2) {
        id.bytes[1 + i / 8 % 19] = (uint8_t)(1u << i % 8);
        id.bytes[19] ^= (uint8_t)(i >> 7);
    } else {
        id.bytes[at] = (uint8_t)(i >> 8);
        id.bytes[at + 1] = (uint8_t)i;
        id.bytes[0] = pattern == 1 && i % 2 == 0 ? 0xff : 7;
    }
    return id;
}

START_TEST(test_pack_file__finds_ids_however_they_are_spread)
{
    enum { COUNT = 150 };
    struct pack_writer *writer;
    struct object_id none = {{7, 0, 0, 0, 0, 3}};
    uint32_t position;
    bool seen[COUNT] = {false};

    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), COUNT, &error), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        struct object_id id = uneven_id(_i, i);

        ck_assert_int_eq(pack_writer_add(writer, &id, OBJECT_BLOB, &i, sizeof(i), &error), 0);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *path = g_strdup_printf("%s/pack-%s", packs, pack_writer_name(writer));
    pack_writer_free(writer);
    struct pack_file *pack = open_pack(path);
    for (unsigned i = 0; i < COUNT; i++) {
        struct object_id id = uneven_id(_i, i);

        ck_assert(pack_file_find(pack, &id, &position));
        ck_assert(!seen[position]);
        seen[position] = true;
        id.bytes[10] ^= 0x55;
        ck_assert(!pack_file_find(pack, &id, &position));
    }
    ck_assert(!pack_file_find(pack, &none, &position));
    pack_file_unref(pack);
    g_free(path);
}
END_TEST

START_TEST(test_pack_file__content_outlives_file_and_pack)
{
    GArray *all = make_blobs();
    char *path = write_pack(all);
    char *names[2] = {g_strconcat(path, ".pack", NULL), g_strconcat(path, ".idx", NULL)};
    struct pack_file *pack = open_pack(path);
    enum object_type type;
    uint32_t position;
    GBytes *content;

    ck_assert(pack_file_find(pack, &at(all, 7)->id, &position));
    ck_assert_int_eq(pack_file_read(pack, position, &type, &content, &error), 0);
    g_unlink(names[0]);
    g_unlink(names[1]);
    pack_file_unref(pack);
    ck_assert(g_bytes_equal(content, at(all, 7)->content));
    g_bytes_unref(content);
    g_free(names[0]);
    g_free(names[1]);
    g_free(path);
    g_array_free(all, TRUE);
}
END_TEST

/* --- many packs --- */

static char *write_blob(const char *text, struct object_id *id)
{
    GArray *all = objects_new();

    add(all, OBJECT_BLOB, text, strlen(text));
    *id = at(all, 0)->id;
    char *path = write_pack(all);
    g_array_free(all, TRUE);
    return path;
}

static void check_text(struct pack_set *set, const struct object_id *id, const char *text)
{
    enum object_type type;
    GBytes *content;

    ck_assert(pack_set_has(set, id));
    ck_assert_int_eq(pack_set_read(set, id, &type, &content, &error), 0);
    ck_assert_uint_eq(g_bytes_get_size(content), strlen(text));
    ck_assert_int_eq(memcmp(g_bytes_get_data(content, NULL), text, strlen(text)), 0);
    g_bytes_unref(content);
}

START_TEST(test_pack_set__sees_packs_come_and_go)
{
    struct pack_set *set = pack_set_new(packs);
    struct object_id ids[50];
    enum object_type type;
    GBytes *content;
    char text[40];
    char *path = NULL;

    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "text %d", i);
        objects_hash(OBJECT_BLOB, text, strlen(text), &ids[i]);
        ck_assert(!pack_set_has(set, &ids[i]));
        g_free(path);
        path = write_blob(text, &ids[i]);
        check_text(set, &ids[i], text);
    }
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "text %d", i);
        check_text(set, &ids[i], text);
        if (i % 10 == 0) {
            pack_set_rest(set);
        }
    }
    char *index = g_strconcat(path, ".idx", NULL);
    g_unlink(index);
    check_text(set, &ids[49], "text 49");
    pack_set_rest(set);
    ck_assert_int_eq(pack_set_read(set, &ids[49], &type, &content, &error), STORE_NOT_FOUND);
    g_free(index);
    g_free(path);
    pack_set_free(set);
}
END_TEST

static bool is_mapped(const char *path)
{
    char *maps;

    ck_assert(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    bool mapped = strstr(maps, path) != NULL;
    g_free(maps);
    return mapped;
}

START_TEST(test_pack_set__lets_go_of_what_is_unused_or_gone)
{
    struct pack_set *set = pack_set_new(packs);
    struct object_id ids[2];
    char *paths[2] = {write_blob("first", &ids[0]), write_blob("second", &ids[1])};

    ck_assert(!is_mapped(packs));
    check_text(set, &ids[0], "first");
    check_text(set, &ids[1], "second");
    pack_set_rest(set);
    ck_assert(is_mapped(paths[0]) && is_mapped(paths[1]));
    check_text(set, &ids[1], "second");
    pack_set_rest(set);
    ck_assert(!is_mapped(paths[0]) && is_mapped(paths[1]));
    check_text(set, &ids[1], "second");
    char *index = g_strconcat(paths[1], ".idx", NULL);
    g_unlink(index);
    pack_set_rest(set);
    ck_assert(!is_mapped(packs));
    ck_assert(!pack_set_has(set, &ids[1]));
    check_text(set, &ids[0], "first");
    pack_set_rest(set);
    pack_set_rest(set);
    ck_assert(!is_mapped(packs));
    check_text(set, &ids[0], "first");
    g_free(index);
    g_free(paths[0]);
    g_free(paths[1]);
    pack_set_free(set);
    ck_assert(!is_mapped(packs));
}
END_TEST

START_TEST(test_pack_set__does_not_map_one_object_to_look_for_another)
{
    struct pack_set *set = pack_set_new(packs);
    struct object_id ids[3];
    struct object_id none = {{0}};
    char *paths[3] = {write_blob("first", &ids[0]), write_blob("second", &ids[1]), NULL};

    /* What is in a pack that was found in the directory is known once it was mapped. */
    ck_assert(!pack_set_has(set, &none));
    ck_assert(is_mapped(paths[0]) && is_mapped(paths[1]));
    check_text(set, &ids[0], "first");
    pack_set_rest(set);
    ck_assert(is_mapped(paths[0]) && !is_mapped(paths[1]));
    paths[2] = write_blob("third", &ids[2]);
    pack_set_note(set, strrchr(paths[2], '-') + 1, &ids[2]);
    /* Known from the beginning. */
    ck_assert(!pack_set_stands(set, &none));
    ck_assert(is_mapped(paths[0]) && !is_mapped(paths[1]) && !is_mapped(paths[2]));
    ck_assert(pack_set_stands(set, &ids[2]));
    check_text(set, &ids[2], "third");
    check_text(set, &ids[1], "second");
    for (int i = 0; i < 3; i++) {
        g_free(paths[i]);
    }
    pack_set_free(set);
}
END_TEST

START_TEST(test_pack_set__takes_the_copy_that_is_whole)
{
    GArray *all = make_few();
    struct pack_set *set = pack_set_new(packs);
    struct object_id id;
    char *second = write_blob("some text", &id);
    char *first = write_pack(all);
    char *bytes;
    size_t length;

    for (int i = 0; i < 2; i++) {
        char *path = i == 0 ? first : second;
        char *name = g_strconcat(path, ".pack", NULL);

        ck_assert(g_file_get_contents(name, &bytes, &length, NULL));
        char *text = memmem(bytes, length, "some text", 9);
        ck_assert_ptr_nonnull(text);
        text[5] = 'T';
        write_file(path, ".pack", bytes, length);
        pack_set_free(set);
        set = pack_set_new(packs);
        check_text(set, &id, "some text");
        text[5] = 't';
        write_file(path, ".pack", bytes, length);
        g_free(bytes);
        g_free(name);
    }
    g_free(first);
    g_free(second);
    pack_set_free(set);
    g_array_free(all, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pack_file");
    TCase *tests = tcase_create("pack_file");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 180);
    tcase_add_test(tests, test_pack_file__reads_what_our_writer_writes);
    tcase_add_test(tests, test_pack_file__reads_what_git_writes);
    tcase_add_loop_test(tests, test_pack_file__that_is_damaged_gives_no_wrong_octets, 0, 4);
    tcase_add_test(tests, test_pack_file__large_and_damaged_never_comes_whole);
    tcase_add_test(tests, test_pack_file__leaves_an_old_index_to_the_library);
    tcase_add_test(tests, test_pack_file__follows_a_chain_up_to_its_limit);
    tcase_add_test(tests, test_pack_file__leaves_rings_and_bases_elsewhere_to_the_library);
    tcase_add_loop_test(tests, test_pack_file__finds_ids_however_they_are_spread, 0, 3);
    tcase_add_test(tests, test_pack_file__content_outlives_file_and_pack);
    tcase_add_test(tests, test_pack_set__sees_packs_come_and_go);
    tcase_add_test(tests, test_pack_set__lets_go_of_what_is_unused_or_gone);
    tcase_add_test(tests, test_pack_set__does_not_map_one_object_to_look_for_another);
    tcase_add_test(tests, test_pack_set__takes_the_copy_that_is_whole);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
