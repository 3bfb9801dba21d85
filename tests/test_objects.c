#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/objects.h"
#include "store/internal/pack_file.h"
#include "store/internal/pack_merge.h"
#include "tests/faulty_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 200 };

static char *directory;
static char *repository;
static struct objects *objects;
static struct faulty_host faulty;
static struct store_error error;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    faulty_host_init(&faulty);
    ck_assert_int_eq(objects_open(&objects, repository, &faulty.host, &error), 0);
}

static void teardown(void)
{
    objects_close(objects);
    free(repository);
    fixture_remove(directory);
}

static void reopen(void)
{
    objects_close(objects);
    ck_assert_int_eq(objects_open(&objects, repository, &faulty.host, &error), 0);
}

/* Files of a directory of the repository with that suffix. */
static int count_in(const char *where, const char *suffix)
{
    char *path = fixture_path(repository, where);
    DIR *handle = opendir(path);
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(handle)) != NULL) {
        count += entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, suffix);
    }
    closedir(handle);
    free(path);
    return count;
}

static int count_files(const char *suffix)
{
    return count_in("objects/pack", suffix);
}

static struct object_id add_text(struct object_batch *batch, const char *text)
{
    struct object_id id;

    ck_assert_int_eq(object_batch_add(batch, OBJECT_BLOB, text, strlen(text), &id, &error), 0);
    return id;
}

static struct object_id write_text(const char *text)
{
    struct object_batch *batch;

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    struct object_id id = add_text(batch, text);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    return id;
}

static void check_content(const struct object_id *id, const void *data, size_t length)
{
    struct object_data out;

    ck_assert_msg(objects_read(objects, id, OBJECT_BLOB, &out, &error) == 0, "%s", error.detail);
    ck_assert_uint_eq(out.length, length);
    ck_assert_int_eq(memcmp(out.data, data, length), 0);
    object_data_release(&out);
}

static void check_text(const struct object_id *id, const char *text)
{
    check_content(id, text, strlen(text));
}

/* What stock git says about the blob. */
static void check_git_sees(const struct object_id *id, const char *text)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(id, hex);
    char *output = GIT_OUTPUT(repository, "cat-file", "blob", hex);
    ck_assert_ptr_nonnull(output);
    ck_assert_str_eq(output, text);
    free(output);
}

START_TEST(test_objects__hash_like_git)
{
    struct object_id id;
    char hex[OBJECT_ID_HEX + 1];

    objects_hash(OBJECT_BLOB, "", 0, &id);
    object_id_format(&id, hex);
    ck_assert_str_eq(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    objects_hash(OBJECT_TREE, NULL, 0, &id);
    object_id_format(&id, hex);
    ck_assert_str_eq(hex, "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
}
END_TEST

START_TEST(test_objects__of_any_size_are_read_back_by_us_and_by_git)
{
    static const size_t sizes[] = {0,     1,     15,    16,     2047,   2048,   65534,
                                   65535, 65536, 65537, 131070, 131071, 131073, 5000000};
    struct object_batch *batch;
    struct object_id ids[G_N_ELEMENTS(sizes)];
    uint8_t *data = malloc(5000000);

    for (size_t i = 0; i < 5000000; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (i % 2 == 0) {
            ck_assert_int_eq(object_batch_add(batch, OBJECT_BLOB, data, sizes[i], &ids[i], &error),
                             0);
        } else {
            objects_hash(OBJECT_BLOB, data, sizes[i], &ids[i]);
            ck_assert_int_eq(object_batch_add_blob(batch, &ids[i], data, sizes[i], &error), 0);
        }
        check_content(&ids[i], data, sizes[i]);
    }
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
            ck_assert(objects_exist(objects, &ids[i]));
            check_content(&ids[i], data, sizes[i]);
        }
        reopen();
    }
    ck_assert_int_eq(count_files(".pack"), 1);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    char *output = GIT_OUTPUT(repository, "count-objects", "-v");
    ck_assert_ptr_nonnull(strstr(output, "in-pack: 14\n"));
    ck_assert_ptr_nonnull(strstr(output, "garbage: 0\n"));
    free(output);
    free(data);
}
END_TEST

START_TEST(test_objects__tell_missing_from_wrong_type)
{
    struct object_id blob = write_text("blob\n");
    struct object_id missing = {{1, 2, 3}};
    struct object_data out;

    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(objects_read(objects, &blob, OBJECT_TREE, &out, &error), STORE_CORRUPT);
        ck_assert_int_eq(objects_read(objects, &missing, OBJECT_BLOB, &out, &error),
                         STORE_NOT_FOUND);
        ck_assert(!objects_exist(objects, &missing));
        reopen();
    }
}
END_TEST

START_TEST(test_objects__of_a_batch_are_readable_before_it_is_written_and_gone_without)
{
    struct object_batch *batch;
    struct object_data out;

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    struct object_id id = add_text(batch, "pending\n");
    check_text(&id, "pending\n");
    ck_assert(objects_exist(objects, &id));
    object_batch_free(batch);
    ck_assert(!objects_exist(objects, &id));
    ck_assert_int_eq(objects_read(objects, &id, OBJECT_BLOB, &out, &error), STORE_NOT_FOUND);
    ck_assert_int_eq(count_files(""), 0);
}
END_TEST

START_TEST(test_objects__are_written_once)
{
    struct object_batch *batch;
    size_t length = 1000000;
    uint8_t *large = calloc(1, length);
    struct object_id id;

    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
        add_text(batch, "twice in a batch");
        add_text(batch, "twice in a batch");
        ck_assert_int_eq(object_batch_add(batch, OBJECT_BLOB, large, length, &id, &error), 0);
        ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
        object_batch_free(batch);
    }
    char *output = GIT_OUTPUT(repository, "count-objects", "-v");
    ck_assert_ptr_nonnull(output);
    char *size = strstr(output, "size-pack: ");
    ck_assert_ptr_nonnull(size);
    ck_assert_int_lt(strtol(size + strlen("size-pack: "), NULL, 10), 1100);
    free(output);
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    ck_assert_int_eq(object_batch_add(batch, OBJECT_BLOB, large, length, &id, &error), 0);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    check_content(&id, large, length);
    free(large);
}
END_TEST

/* The index file of a leaf after so many changes. */
static GString *index_version(int leaf, int version)
{
    GString *text = g_string_new(NULL);

    for (int i = 0; i < 60; i++) {
        g_string_append_printf(text, "%d %d 1700000000+0000 %d%s\n", leaf * 100 + i,
                               i == version % 50 + 5 ? 4711 + version : 17, i * 977 % 5000,
                               i > 4 && i < version ? " \\Seen" : "");
    }
    return text;
}

static GString *message_version(int version)
{
    GString *text = g_string_new("Return-Path: <list-bounces@lists.example.org>\r\n"
                                 "Received: from lists.example.org by mx.example.org\r\n");

    for (int i = 0; i < 50; i++) {
        g_string_append(text, "The same line in each of them.\r\n");
    }
    g_string_append_printf(text, "%d\r\n", version);
    return text;
}

START_TEST(test_objects__versions_of_metadata_are_deltas_and_messages_are_not)
{
    struct object_batch *batch;
    struct object_id ids[3][40];
    GString *texts[3][40];
    struct pack_slices slices;

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    for (int i = 0; i < 40; i++) {
        texts[0][i] = index_version(1, i);
        texts[1][i] = index_version(2, i);
        texts[2][i] = message_version(i);
        for (int j = 0; j < 3; j++) {
            ids[j][i] = add_text(batch, texts[j][i]->str);
        }
    }
    ck_assert_int_eq(object_batch_write(batch, false, &error), 0);
    object_batch_free(batch);
    reopen();
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 3; j++) {
            check_text(&ids[j][i], texts[j][i]->str);
        }
        ck_assert(objects_slices(objects, &ids[2][i], &slices));
        pack_slices_release(&slices);
        ck_assert_int_eq(objects_slices(objects, &ids[0][i], &slices), i % 31 == 0);
        if (i % 31 == 0) {
            pack_slices_release(&slices);
        }
    }
    char *output = GIT_OUTPUT(repository, "count-objects", "-v");
    char *size = strstr(output, "size-pack: ");
    ck_assert_ptr_nonnull(size);
    ck_assert_int_lt(strtol(size + strlen("size-pack: "), NULL, 10),
                     (long)(40 * (texts[2][0]->len + 60) / 1024) + 40);
    free(output);
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 3; j++) {
            g_string_free(texts[j][i], TRUE);
        }
    }
}
END_TEST

START_TEST(test_objects__pruned_meanwhile_are_written_again)
{
    size_t length = 100000;
    char *large = malloc(length + 1);
    struct object_batch *batch;
    struct object_id id;

    memset(large, 'x', length);
    large[length] = '\0';
    write_text(large);
    reopen();
    objects_hash(OBJECT_BLOB, large, length, &id);
    check_text(&id, large);
    ck_assert(GIT(repository, "gc", "-q", "--prune=now"));
    ck_assert_int_eq(count_files(".pack"), 0);
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    ck_assert_int_eq(object_batch_add(batch, OBJECT_BLOB, large, length, &id, &error), 0);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    check_git_sees(&id, large);
    free(large);
}
END_TEST

START_TEST(test_objects__large_ones_of_our_own_are_written_once)
{
    enum { COUNT = 10, LENGTH = 70000 };
    char *large = malloc(LENGTH + 1);

    memset(large, 'x', LENGTH);
    large[LENGTH] = '\0';
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            large[0] = (char)('A' + i);
            struct object_id id = write_text(large);

            check_text(&id, large);
        }
        ck_assert_int_eq(count_files(".pack"), COUNT);
        if (round == 1) {
            reopen();
        }
    }
    free(large);
}
END_TEST

START_TEST(test_objects__not_referenced_yet_survive_gc)
{
    struct object_batch *batch;

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    struct object_id id = add_text(batch, "fresh\n");
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    ck_assert_int_eq(count_files(".keep"), 1);
    ck_assert(GIT(repository, "gc", "-q", "--prune=now"));
    ck_assert(GIT(repository, "repack", "-q", "-a", "-d"));
    check_git_sees(&id, "fresh\n");
    object_batch_free(batch);
    reopen();
    ck_assert_int_eq(count_files(".keep"), 0);
    check_text(&id, "fresh\n");
}
END_TEST

/* A branch with a commit that holds every text as a file. */
static void commit_texts(struct object_id *ids, int count)
{
    GByteArray *tree = g_byte_array_new();
    struct object_batch *batch;
    struct object_id tree_id;
    struct object_id commit_id;
    char hex[OBJECT_ID_HEX + 1];

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    for (int i = 0; i < count; i++) {
        char text[64];

        snprintf(text, sizeof(text), "message %d\n", i);
        ids[i] = add_text(batch, text);
        snprintf(text, sizeof(text), "100644 %08d", i);
        g_byte_array_append(tree, (uint8_t *)text, (guint)strlen(text) + 1);
        g_byte_array_append(tree, ids[i].bytes, OBJECT_ID_SIZE);
    }
    ck_assert_int_eq(object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &tree_id, &error),
                     0);
    object_id_format(&tree_id, hex);
    char *commit = g_strdup_printf("tree %s\nauthor T <t@example.org> 1700000000 +0000\n"
                                   "committer T <t@example.org> 1700000000 +0000\n\nTexts\n",
                                   hex);
    ck_assert_int_eq(
        object_batch_add(batch, OBJECT_COMMIT, commit, strlen(commit), &commit_id, &error), 0);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_id_format(&commit_id, hex);
    ck_assert(GIT(repository, "update-ref", "refs/heads/INBOX", hex));
    object_batch_free(batch);
    g_free(commit);
    g_byte_array_free(tree, TRUE);
}

START_TEST(test_objects__are_found_wherever_git_puts_them)
{
    enum { COUNT = 50 };
    struct object_id ids[COUNT];

    commit_texts(ids, COUNT);
    ck_assert(GIT(repository, "fsck", "--strict"));
    reopen();
    for (int round = 0; round < 4; round++) {
        if (round == 1) {
            ck_assert(GIT(repository, "gc", "-q", "--prune=now"));
        } else if (round == 2) {
            ck_assert(GIT(repository, "repack", "-q", "-a", "-d", "-f"));
        } else if (round == 3) {
            ck_assert(GIT(repository, "repack", "-q", "-a", "-d", "--write-midx"));
        }
        for (int i = 0; i < COUNT; i++) {
            char text[64];

            snprintf(text, sizeof(text), "message %d\n", i);
            check_text(&ids[i], text);
        }
    }
}
END_TEST

START_TEST(test_objects__refuse_what_is_no_repository_of_ours)
{
    struct objects *other = NULL;
    char *path = fixture_path(directory, "sha256.git");

    ck_assert(GIT("/", "init", "-q", "--bare", "--object-format=sha256", path));
    ck_assert_int_eq(objects_open(&other, path, &faulty.host, &error), STORE_UNSUPPORTED);
    free(path);
    path = fixture_path(directory, "missing.git");
    ck_assert_int_eq(objects_open(&other, path, &faulty.host, &error), STORE_NOT_FOUND);
    free(path);
    ck_assert(GIT(repository, "config", "--file", "config", "core.repositoryformatversion", "2"));
    ck_assert_int_eq(objects_open(&other, repository, &faulty.host, &error), STORE_UNSUPPORTED);
    ck_assert(GIT(repository, "config", "--file", "config", "core.repositoryformatversion", "1"));
    ck_assert(GIT(repository, "config", "--file", "config", "extensions.noop", "true"));
    ck_assert_int_eq(objects_open(&other, repository, &faulty.host, &error), 0);
    objects_close(other);
    ck_assert(GIT(repository, "config", "--file", "config", "extensions.unheardOf", "true"));
    ck_assert_int_eq(objects_open(&other, repository, &faulty.host, &error), STORE_UNSUPPORTED);
}
END_TEST

static const char *const fault_texts[] = {"one\n", "two\n", "three\n"};

/* Writes three objects; the result of object_batch_write(). */
static int write_faulty(struct object_id ids[3])
{
    struct object_batch *batch;

    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    for (int i = 0; i < 3; i++) {
        ids[i] = add_text(batch, fault_texts[i]);
    }
    int result = object_batch_write(batch, true, &error);
    object_batch_free(batch);
    return result;
}

static void check_after_fault(int result, const struct object_id ids[3], bool stop)
{
    faulty_host_arm(&faulty, 0, false, 0);
    reopen();
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    bool there = objects_exist(objects, &ids[0]);
    ck_assert(result < 0 || there);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(objects_exist(objects, &ids[i]), there);
        if (there) {
            check_text(&ids[i], fault_texts[i]);
            check_git_sees(&ids[i], fault_texts[i]);
        }
    }
    if (result < 0 && !stop) {
        ck_assert(!there);
        ck_assert_int_eq(count_files(".keep"), 0);
        ck_assert_int_eq(count_files(".idx"), 0);
    }
}

/* Every call that writing makes fails once; *_i: 0 that call alone, 1 all later ones as well. */
START_TEST(test_objects__are_all_there_or_none_whichever_call_fails)
{
    unsigned failures = 0;
    unsigned k;

    for (k = 1; k < FAULTS_MAX; k++) {
        struct object_id ids[3];

        teardown();
        setup();
        faulty_host_arm(&faulty, k, _i == 1, k % 2 == 0 ? EIO : ENOSPC);
        int result = write_faulty(ids);
        bool failed = faulty.failed;
        if (result < 0) {
            ck_assert_int_eq(result, k % 2 == 0 ? STORE_IO : STORE_NO_SPACE);
            failures++;
        }
        check_after_fault(result, ids, _i == 1);
        if (!failed) {
            break;
        }
    }
    ck_assert_uint_lt(k, FAULTS_MAX);
    ck_assert_uint_ge(failures, 10);
}
END_TEST

START_TEST(test_objects__can_be_written_after_a_failure)
{
    struct object_id ids[3];

    faulty_host_arm(&faulty, 3, false, ENOSPC);
    ck_assert_int_eq(write_faulty(ids), STORE_NO_SPACE);
    ck_assert_int_eq(write_faulty(ids), 0);
    check_git_sees(&ids[2], fault_texts[2]);
}
END_TEST

enum { MANY = 120 };

static void write_texts(struct object_id *ids)
{
    for (int i = 0; i < MANY; i++) {
        char text[64];

        snprintf(text, sizeof(text), "number %d of many\n", i);
        ids[i] = write_text(text);
    }
}

/* In as many packs, nothing of which is protected any more: nothing is merged while git's gc seems
 * to run. */
static void write_many(struct object_id *ids)
{
    char *lock = fixture_path(repository, "gc.pid");
    FILE *file = fopen(lock, "w");

    ck_assert_ptr_nonnull(file);
    fclose(file);
    write_texts(ids);
    reopen();
    ck_assert_int_eq(unlink(lock), 0);
    free(lock);
}

static void check_many(const struct object_id *ids)
{
    for (int i = 0; i < MANY; i++) {
        char text[64];

        snprintf(text, sizeof(text), "number %d of many\n", i);
        check_text(&ids[i], text);
    }
}

START_TEST(test_objects__in_many_packs_are_merged_and_none_is_lost)
{
    struct object_id ids[MANY];

    write_many(ids);
    ck_assert_int_eq(count_files(".pack"), MANY);
    reopen();
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    faulty.time_offset = (int64_t)(UPKEEP_RETIRE_SECONDS - 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    faulty.time_offset = (int64_t)(UPKEEP_RETIRE_SECONDS + 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), 1);
    ck_assert_int_eq(count_files(".idx"), 1);
    check_many(ids);
    reopen();
    check_many(ids);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    char *output = GIT_OUTPUT(repository, "count-objects", "-v");
    ck_assert_ptr_nonnull(strstr(output, "in-pack: 120\n"));
    free(output);
}
END_TEST

START_TEST(test_objects__are_merged_while_they_are_written)
{
    struct object_id ids[MANY];

    for (int round = 0; round < 5; round++) {
        char text[64];

        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof(text), "number %d of round %d\n", i, round);
            write_text(text);
        }
        faulty.time_offset += (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    }
    write_texts(ids);
    ck_assert_int_lt(count_files(".idx"), 2 * (MANY + PACK_MERGE_EVERY));
    check_many(ids);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
}
END_TEST

START_TEST(test_objects__of_merged_packs_are_hidden_before_they_go)
{
    struct object_id ids[MANY];

    write_many(ids);
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".idx"), MANY + 1);
    faulty.time_offset = (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".idx"), 1);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    check_many(ids);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    /* A process that comes later does not know them, but takes them away in time. */
    reopen();
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    faulty.time_offset = (int64_t)(UPKEEP_LEFTOVER_SECONDS + 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), 1);
    check_many(ids);
}
END_TEST

START_TEST(test_objects__are_not_merged_beside_gc)
{
    struct object_id ids[MANY];
    char *lock = fixture_path(repository, "gc.pid");

    write_many(ids);
    FILE *file = fopen(lock, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY);
    ck_assert_int_eq(unlink(lock), 0);
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    free(lock);
}
END_TEST

/* Git wrote down the packs there were: its list is true at every step. */
START_TEST(test_objects__in_a_multi_pack_index_are_merged_and_git_is_told)
{
    struct object_id ids[MANY];
    static const int steps[] = {0, 1, UPKEEP_HIDE_SECONDS + 1, UPKEEP_RETIRE_SECONDS + 5};

    write_many(ids);
    ck_assert(GIT(repository, "multi-pack-index", "write"));
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        faulty.time_offset = (int64_t)steps[i] * 1000000;
        objects_maintain(objects);
        ck_assert(GIT(repository, "multi-pack-index", "verify"));
        ck_assert(GIT(repository, "fsck", "--strict", "--full"));
        check_git_sees(&ids[0], "number 0 of many\n");
    }
    ck_assert_int_eq(count_files(".pack"), 1);
    reopen();
    check_many(ids);
}
END_TEST

/* Git lists packs, and writes the list when one of them has been merged and is gone. */
START_TEST(test_objects__are_readable_for_git_after_a_multi_pack_index_came_too_late)
{
    struct object_id ids[MANY];
    char *pack = fixture_path(repository, "objects/pack/multi-pack-index");
    char *aside = fixture_path(repository, "aside");

    write_many(ids);
    objects_maintain(objects);
    ck_assert(GIT(repository, "multi-pack-index", "write"));
    ck_assert_int_eq(rename(pack, aside), 0);
    faulty.time_offset = (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(rename(aside, pack), 0);
    faulty.time_offset = (int64_t)(UPKEEP_RETIRE_SECONDS + 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), 1);
    for (int i = 0; i < MANY; i += 10) {
        char text[64];

        snprintf(text, sizeof(text), "number %d of many\n", i);
        check_git_sees(&ids[i], text);
    }
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    free(pack);
    free(aside);
}
END_TEST

START_TEST(test_objects__closing_takes_merged_packs_out_of_what_git_lists)
{
    struct object_id ids[MANY];

    write_many(ids);
    objects_maintain(objects);
    ck_assert(GIT(repository, "multi-pack-index", "write"));
    reopen();
    ck_assert_int_eq(count_files(".idx"), 1);
    ck_assert(GIT(repository, "multi-pack-index", "verify"));
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    check_many(ids);
}
END_TEST

START_TEST(test_objects__stay_in_few_packs_however_short_each_visit_is)
{
    enum { VISITS = 60, EACH = 7 };
    struct object_id ids[VISITS * EACH];
    char text[64];

    for (int i = 0; i < VISITS * EACH; i++) {
        snprintf(text, sizeof(text), "number %d of visits\n", i);
        ids[i] = write_text(text);
        if (i % EACH == 0) {
            reopen();
        }
    }
    ck_assert_int_le(count_files(".idx"), UPKEEP_SMALL_COUNT + 2 * EACH);
    for (int i = 0; i < VISITS * EACH; i++) {
        snprintf(text, sizeof(text), "number %d of visits\n", i);
        check_text(&ids[i], text);
    }
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
}
END_TEST

/* The same objects make the same pack: a failure must not take the first one away. */
START_TEST(test_objects__written_before_stay_whichever_call_fails_the_second_time)
{
    bool failed = true;
    unsigned k;

    for (k = 1; k < FAULTS_MAX && failed; k++) {
        struct object_batch *batch;

        struct object_id id = write_text("twice\n");
        faulty_host_arm(&faulty, k, false, ENOSPC);
        ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
        add_text(batch, "twice\n");
        object_batch_write(batch, true, &error);
        object_batch_free(batch);
        failed = faulty.failed;
        faulty_host_arm(&faulty, 0, false, 0);
        reopen();
        check_text(&id, "twice\n");
        check_git_sees(&id, "twice\n");
    }
    ck_assert_uint_gt(k, 10);
}
END_TEST

START_TEST(test_objects__merge_leaves_deltas_and_damage_alone)
{
    struct object_id ids[MANY];
    char *pack = fixture_path(repository, "objects/pack");
    DIR *handle;
    struct dirent *entry;
    int damaged = 0;

    write_many(ids);
    handle = opendir(pack);
    while ((entry = readdir(handle)) != NULL && damaged == 0) {
        if (g_str_has_suffix(entry->d_name, ".pack")) {
            char *path = fixture_path(pack, entry->d_name);

            ck_assert_int_eq(chmod(path, 0600), 0);
            ck_assert_int_eq(truncate(path, 40), 0);
            free(path);
            damaged++;
        }
    }
    closedir(handle);
    for (int i = 0; i < 3; i++) {
        objects_maintain(objects);
    }
    ck_assert_int_eq(count_files(".pack"), MANY + 1);
    faulty.time_offset = (int64_t)(UPKEEP_RETIRE_SECONDS + 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(count_files(".pack"), 2);
    free(pack);
}
END_TEST

START_TEST(test_objects__survive_a_merge_whichever_call_fails)
{
    struct object_id ids[MANY];
    unsigned k;

    write_many(ids);
    for (k = 1; k < FAULTS_MAX; k++) {
        faulty_host_arm(&faulty, 0, false, 0);
        reopen();
        faulty_host_arm(&faulty, k, _i == 1, EIO);
        objects_maintain(objects);
        bool failed = faulty.failed;
        faulty_host_arm(&faulty, 0, false, 0);
        reopen();
        check_many(ids);
        if (!failed) {
            break;
        }
    }
    ck_assert_uint_gt(k, 5);
    ck_assert_uint_lt(k, FAULTS_MAX);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
}
END_TEST

START_TEST(test_objects__leftovers_of_a_crash_go_after_a_while)
{
    struct object_id ids[3];

    for (unsigned k = 4; k < 14; k++) {
        faulty_host_arm(&faulty, k, true, EIO);
        write_faulty(ids);
    }
    faulty_host_arm(&faulty, 0, false, 0);
    struct object_id id = write_text("kept\n");
    /* As a process that was killed: its .keep is still there. */
    char *keep = NULL;
    reopen();
    char *pack = fixture_path(repository, "objects/pack");
    DIR *handle = opendir(pack);
    struct dirent *entry;
    while ((entry = readdir(handle)) != NULL) {
        if (g_str_has_suffix(entry->d_name, ".idx")) {
            char *name = g_strdup(entry->d_name);

            memcpy(strrchr(name, '.'), ".kee", 4);
            keep = g_strdup_printf("%s/%sp", pack, name);
            g_free(name);
        }
    }
    closedir(handle);
    ck_assert_ptr_nonnull(keep);
    FILE *file = fopen(keep, "w");
    fputs("annal\n", file);
    fclose(file);
    objects_maintain(objects);
    ck_assert_int_eq(access(keep, F_OK), 0);
    ck_assert_int_gt(count_in(".", ".tmp"), 0);
    ck_assert_int_eq(count_files(".tmp"), 0);
    faulty.time_offset = (int64_t)(UPKEEP_LEFTOVER_SECONDS + 5) * 1000000;
    objects_maintain(objects);
    ck_assert_int_eq(access(keep, F_OK), -1);
    ck_assert_int_eq(count_in(".", ".tmp"), 0);
    check_text(&id, "kept\n");
    g_free(keep);
    free(pack);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("objects");
    TCase *tests = tcase_create("objects");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_objects__hash_like_git);
    tcase_add_test(tests, test_objects__of_any_size_are_read_back_by_us_and_by_git);
    tcase_add_test(tests, test_objects__tell_missing_from_wrong_type);
    tcase_add_test(tests,
                   test_objects__of_a_batch_are_readable_before_it_is_written_and_gone_without);
    tcase_add_test(tests, test_objects__are_written_once);
    tcase_add_test(tests, test_objects__versions_of_metadata_are_deltas_and_messages_are_not);
    tcase_add_test(tests, test_objects__pruned_meanwhile_are_written_again);
    tcase_add_test(tests, test_objects__large_ones_of_our_own_are_written_once);
    tcase_add_test(tests, test_objects__not_referenced_yet_survive_gc);
    tcase_add_test(tests, test_objects__are_found_wherever_git_puts_them);
    tcase_add_test(tests, test_objects__refuse_what_is_no_repository_of_ours);
    tcase_add_loop_test(tests, test_objects__are_all_there_or_none_whichever_call_fails, 0, 2);
    tcase_add_test(tests, test_objects__can_be_written_after_a_failure);
    tcase_add_test(tests, test_objects__in_many_packs_are_merged_and_none_is_lost);
    tcase_add_test(tests, test_objects__are_merged_while_they_are_written);
    tcase_add_test(tests, test_objects__of_merged_packs_are_hidden_before_they_go);
    tcase_add_test(tests, test_objects__are_not_merged_beside_gc);
    tcase_add_test(tests, test_objects__in_a_multi_pack_index_are_merged_and_git_is_told);
    tcase_add_test(tests, test_objects__stay_in_few_packs_however_short_each_visit_is);
    tcase_add_test(tests, test_objects__written_before_stay_whichever_call_fails_the_second_time);
    tcase_add_test(tests,
                   test_objects__are_readable_for_git_after_a_multi_pack_index_came_too_late);
    tcase_add_test(tests, test_objects__closing_takes_merged_packs_out_of_what_git_lists);
    tcase_add_test(tests, test_objects__merge_leaves_deltas_and_damage_alone);
    tcase_add_loop_test(tests, test_objects__survive_a_merge_whichever_call_fails, 0, 2);
    tcase_add_test(tests, test_objects__leftovers_of_a_crash_go_after_a_while);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
