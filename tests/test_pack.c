#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/delta.h"
#include "store/internal/objects.h"
#include "store/internal/pack.h"
#include "tests/store_fixture.h"

enum { VERSIONS = 100, LINES = 80 };

static char *directory;
static char *repository;
static char *packs;
static struct store_error error;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    packs = fixture_path(repository, "objects/pack");
}

static void teardown(void)
{
    free(packs);
    free(repository);
    fixture_remove(directory);
}

static GBytes *index_version(unsigned version)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < LINES; i++) {
        g_string_append_printf(text, "%u %u %u %u%s\n", i + 1, i % 7 == version % 7 ? version : 1,
                               1700000000 + i, i * 977, i < version ? " \\Seen" : "");
    }
    return g_string_free_to_bytes(text);
}

static GBytes *tree_version(const struct object_id *blob)
{
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < LINES; i++) {
        char name[16];
        struct object_id id;
        int length = snprintf(name, sizeof(name), "100644 %02u", i);

        if (i == 40) {
            id = *blob;
        } else {
            objects_hash(OBJECT_BLOB, "", 0, &id);
        }
        g_byte_array_append(out, (const uint8_t *)name, (guint)length + 1);
        g_byte_array_append(out, id.bytes, OBJECT_ID_SIZE);
    }
    return g_byte_array_free_to_bytes(out);
}

struct version {
    struct object_id id;
    GBytes *content;
};

static void version_clear(void *data)
{
    g_bytes_unref(((struct version *)data)->content);
}

static void add_version(GArray *versions, enum object_type type, GBytes *content)
{
    struct version version = {.content = content};
    size_t length;
    const void *data = g_bytes_get_data(content, &length);

    objects_hash(type, data, length, &version.id);
    g_array_append_val(versions, version);
}

/* VERSIONS index files, then as many trees. */
static GArray *make_versions(void)
{
    GArray *versions = g_array_new(FALSE, FALSE, sizeof(struct version));

    g_array_set_clear_func(versions, version_clear);
    for (unsigned i = 0; i < VERSIONS; i++) {
        add_version(versions, OBJECT_BLOB, index_version(i));
    }
    for (unsigned i = 0; i < VERSIONS; i++) {
        add_version(versions, OBJECT_TREE,
                    tree_version(&g_array_index(versions, struct version, i).id));
    }
    return versions;
}

/* encoded: the deltas were made before, as for a journal. */
static void add_as_delta(struct pack_writer *writer, const GArray *versions, guint at, bool encoded)
{
    const struct version *version = &g_array_index(versions, struct version, at);
    const struct version *before = at % VERSIONS == 0 ? version : version - 1;
    enum object_type type = at < VERSIONS ? OBJECT_BLOB : OBJECT_TREE;
    size_t length, base_length;
    const void *data = g_bytes_get_data(version->content, &length);
    const void *base = g_bytes_get_data(before->content, &base_length);
    struct delta_encoder encoder = {NULL, 0};
    g_autoptr(GByteArray) delta = g_byte_array_new();
    bool ready =
        encoded && delta_encode(&encoder, base, base_length, data, length, length / 2, delta);

    delta_encoder_release(&encoder);
    ck_assert_int_eq(pack_writer_add_version(writer,
                                             &(struct pack_version){.id = version->id,
                                                                    .type = type,
                                                                    .data = data,
                                                                    .length = length,
                                                                    .base_id = before->id,
                                                                    .base_data = base,
                                                                    .base_length = base_length,
                                                                    .delta = ready ? delta : NULL},
                                             &error),
                     0);
}

/* Writes a pack of them; its name, for g_free(). */
static char *write_versions(const GArray *versions, const char *where, bool encoded)
{
    struct pack_writer *writer;
    size_t empty = 0;

    ck_assert_int_eq(
        pack_writer_open(&writer, where, where, host_system(), versions->len + 1, &error), 0);
    struct object_id id;
    objects_hash(OBJECT_BLOB, "", 0, &id);
    ck_assert_int_eq(pack_writer_add(writer, &id, OBJECT_BLOB, &empty, 0, &error), 0);
    for (guint i = 0; i < versions->len; i++) {
        add_as_delta(writer, versions, i, encoded);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *name = g_strdup(pack_writer_name(writer));
    pack_writer_free(writer);
    return name;
}

static char *pack_path(const char *name, const char *suffix)
{
    return g_strdup_printf("%s/pack-%s%s", packs, name, suffix);
}

START_TEST(test_pack__of_deltas_is_right_for_git)
{
    GArray *versions = make_versions();
    char *name = write_versions(versions, packs, false);
    char *path = pack_path(name, ".pack");
    char *index = pack_path(name, ".idx");

    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    ck_assert(GIT(repository, "index-pack", "--verify", path));
    char *list = GIT_OUTPUT(repository, "verify-pack", "-v", index);
    ck_assert_ptr_nonnull(list);
    ck_assert_ptr_nonnull(strstr(list, "chain length = 30:"));
    ck_assert_ptr_null(strstr(list, "chain length = 31:"));
    free(list);
    list = GIT_OUTPUT(repository, "count-objects", "-v");
    ck_assert_ptr_nonnull(strstr(list, "in-pack: 201\n"));
    free(list);
    g_free(path);
    g_free(index);
    g_free(name);
    g_array_free(versions, TRUE);
}
END_TEST

START_TEST(test_pack__of_deltas_is_small)
{
    GArray *versions = make_versions();
    char *name = write_versions(versions, packs, false);
    char *path = pack_path(name, ".pack");
    char *octets = NULL;
    size_t packed;
    size_t whole = 0;

    for (guint i = 0; i < versions->len; i++) {
        whole += g_bytes_get_size(g_array_index(versions, struct version, i).content);
    }
    ck_assert(g_file_get_contents(path, &octets, &packed, NULL));
    ck_assert_uint_le(packed, whole / 6);
    g_free(octets);
    g_free(path);
    g_free(name);
    g_array_free(versions, TRUE);
}
END_TEST

START_TEST(test_pack__made_again_is_the_same)
{
    GArray *versions = make_versions();
    char *first = write_versions(versions, packs, false);
    char *second = write_versions(versions, directory, true);

    ck_assert_str_eq(first, second);
    g_free(first);
    g_free(second);
    g_array_free(versions, TRUE);
}
END_TEST

static void add_text_after(struct pack_writer *writer, enum object_type type, const char *text,
                           enum object_type base_type, const char *base, struct object_id *id)
{
    struct object_id base_id;

    objects_hash(type, text, strlen(text), id);
    objects_hash(base_type, base, strlen(base), &base_id);
    ck_assert_int_eq(pack_writer_add_version(writer,
                                             &(struct pack_version){.id = *id,
                                                                    .type = type,
                                                                    .data = text,
                                                                    .length = strlen(text),
                                                                    .base_id = base_id,
                                                                    .base_data = base,
                                                                    .base_length = strlen(base)},
                                             &error),
                     0);
}

static void add_text(struct pack_writer *writer, enum object_type type, const char *text,
                     const char *base, struct object_id *id)
{
    add_text_after(writer, type, text, type, base, id);
}

START_TEST(test_pack__writes_whole_what_makes_no_delta)
{
    static const char same[] =
        "one and the same line of seventy octets, once and again and again..\n";
    char first[400], second[400], other[400];
    struct pack_writer *writer;
    struct object_id id;

    snprintf(first, sizeof(first), "%s%s%s1", same, same, same);
    snprintf(second, sizeof(second), "%s%s%s2", same, same, same);
    for (size_t i = 0; i < sizeof(other) - 1; i++) {
        other[i] = (char)(' ' + i * i * 7 % 93);
    }
    other[sizeof(other) - 1] = '\0';
    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), 6, &error), 0);
    add_text(writer, OBJECT_BLOB, second, first, &id); /* its base isn't there */
    add_text(writer, OBJECT_BLOB, first, first, &id);  /* nor one's own self */
    add_text(writer, OBJECT_BLOB, other, first, &id);  /* nothing in common */
    add_text(writer, OBJECT_BLOB, "short 1", "short 2", &id);
    add_text(writer, OBJECT_BLOB, "", first, &id);
    add_text_after(writer, OBJECT_COMMIT, same, OBJECT_BLOB, first, &id); /* another type */
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *index = pack_path(pack_writer_name(writer), ".idx");
    char *list = GIT_OUTPUT(repository, "verify-pack", "-v", index);
    ck_assert_ptr_nonnull(strstr(list, "non delta: 6 objects\n"));
    free(list);
    g_free(index);
    pack_writer_free(writer);
}
END_TEST

/* The name of a pack of two objects, the second one written in pieces of step octets (0: whole). */
static char *write_in_pieces(const uint8_t *data, size_t length, size_t step)
{
    struct pack_writer *writer;
    struct object_id id;

    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), 2, &error), 0);
    add_text(writer, OBJECT_BLOB, "before", "none", &id);
    objects_hash(OBJECT_BLOB, data, length, &id);
    if (step == 0) {
        ck_assert_int_eq(pack_writer_add(writer, &id, OBJECT_BLOB, data, length, &error), 0);
    } else {
        ck_assert_int_eq(pack_writer_rest(writer, &error), 0);
        ck_assert_int_eq(pack_writer_begin(writer, OBJECT_BLOB, length, &error), 0);
        for (size_t at = 0; at < length; at += step) {
            ck_assert_int_eq(pack_writer_append(writer, data + at, MIN(step, length - at), &error),
                             0);
        }
        struct object_id told;

        ck_assert_int_eq(pack_writer_end(writer, &told, &error), 0);
        ck_assert(object_id_equal(&told, &id));
        ck_assert_int_eq(pack_writer_rest(writer, &error), 0);
        ck_assert_int_eq(pack_writer_rest(writer, &error), 0);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    char *name = g_strdup(pack_writer_name(writer));
    pack_writer_free(writer);
    return name;
}

START_TEST(test_pack__in_pieces_is_the_same)
{
    static const size_t lengths[] = {1, 65534, 65535, 65536, 131070, 131071, 400000};
    static const size_t steps[] = {1, 4096, 65535, 65536, 1000000};
    uint8_t *data = malloc(400000);

    for (size_t i = 0; i < 400000; i++) {
        data[i] = (uint8_t)(i * 31 + i / 251);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        char *whole = write_in_pieces(data, lengths[i], 0);

        for (size_t k = lengths[i] > 70000 ? 1 : 0; k < G_N_ELEMENTS(steps); k++) {
            char *pieces = write_in_pieces(data, lengths[i], steps[k]);

            ck_assert_str_eq(pieces, whole);
            g_free(pieces);
        }
        g_free(whole);
    }
    ck_assert(GIT(repository, "fsck", "--strict"));
    free(data);
}
END_TEST

START_TEST(test_pack__refuses_what_it_is_told_wrongly)
{
    static const uint8_t entry[] = {0x30, 0x78, 0x01, 0x01, 0, 0, 0xff, 0xff, 0, 0, 0, 1};
    struct pack_writer *writer;
    struct object_id id = {{1}};

    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, host_system(), 2, &error), 0);
    ck_assert_int_eq(pack_writer_add_raw(writer, &id, entry, sizeof(entry), 0x12345678, &error),
                     STORE_CORRUPT);
    pack_writer_free(writer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pack");
    TCase *tests = tcase_create("pack");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_pack__of_deltas_is_right_for_git);
    tcase_add_test(tests, test_pack__of_deltas_is_small);
    tcase_add_test(tests, test_pack__made_again_is_the_same);
    tcase_add_test(tests, test_pack__writes_whole_what_makes_no_delta);
    tcase_add_test(tests, test_pack__in_pieces_is_the_same);
    tcase_add_test(tests, test_pack__refuses_what_it_is_told_wrongly);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
