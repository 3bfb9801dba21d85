#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/internal/git_readers.h"
#include "store/internal/multi_pack_index.h"
#include "store/internal/objects.h"
#include "store/internal/pack.h"
#include "store/internal/pack_copy.h"
#include "store/internal/refs.h"
#include "store/internal/sha1.h"
#include "store/internal/upkeep.h"
#include "store/maintenance.h"
#include "tests/faulty_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 200, ROUNDS = 26, FILES = 3, LINES = 200 };

static char *directory;
static char *repository;
static char *packs;
static struct faulty_host faulty;
static struct store_error error;
static uint32_t noise;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    packs = fixture_path(repository, "objects/pack");
    fixture_make_repository(repository);
    faulty_host_init(&faulty);
    noise = 1;
}

static void teardown(void)
{
    free(packs);
    free(repository);
    fixture_remove(directory);
}

static uint32_t next_noise(void)
{
    noise = noise * 1664525 + 1013904223;
    return noise >> 24;
}

/* Names of a directory's files with that suffix, without it. */
static GPtrArray *files_in(const char *where, const char *suffix)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    DIR *handle = opendir(where);
    struct dirent *entry;

    while ((entry = readdir(handle)) != NULL) {
        if (g_str_has_suffix(entry->d_name, suffix)) {
            g_ptr_array_add(names,
                            g_strndup(entry->d_name, strlen(entry->d_name) - strlen(suffix)));
        }
    }
    closedir(handle);
    return names;
}

static GPtrArray *pack_files(const char *suffix)
{
    return files_in(packs, suffix);
}

/* Half-written files. None of them is where a clone of the path would find it. */
static int count_temporary(void)
{
    GPtrArray *names = files_in(repository, ".tmp");
    GPtrArray *visible = pack_files(".tmp");
    int count = (int)names->len;

    ck_assert_uint_eq(visible->len, 0);
    g_ptr_array_unref(names);
    g_ptr_array_unref(visible);
    return count;
}

static int count_files(const char *suffix)
{
    GPtrArray *names = pack_files(suffix);
    int count = (int)names->len;

    g_ptr_array_unref(names);
    return count;
}

static uint64_t octets_of_files(const char *suffix)
{
    GPtrArray *names = pack_files(suffix);
    uint64_t octets = 0;

    for (guint i = 0; i < names->len; i++) {
        char *path = g_strdup_printf("%s/%s%s", packs, (char *)names->pdata[i], suffix);
        struct stat status;

        ck_assert_int_eq(stat(path, &status), 0);
        octets += (uint64_t)status.st_size;
        g_free(path);
    }
    g_ptr_array_unref(names);
    return octets;
}

static void check_repository(void)
{
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    ck_assert(GIT(repository, "multi-pack-index", "verify"));
}

/* ---- packs with deltas, made by stock git ---- */

static void write_version(const char *work, int file, int round, int version)
{
    char name[32];

    snprintf(name, sizeof(name), "file%d", file);
    char *path = fixture_path(work, name);
    FILE *stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    for (int line = 0; line < LINES; line++) {
        int changed = line == (round * 2 + version) % LINES ? round * 2 + version : 0;

        fprintf(stream, "file %d line %d %d %x\n", file, line, changed,
                (unsigned)(file * 7919 + line * 104729));
    }
    fclose(stream);
    free(path);
}

/* Each round is two commits in one pack; the second's files are deltas. */
static void write_rounds(int rounds, const char *base_offset)
{
    char *work = fixture_path(directory, "work");

    ck_assert_int_eq(mkdir(work, 0700), 0);
    for (int round = 0; round < rounds; round++) {
        for (int version = 0; version < 2; version++) {
            for (int file = 0; file < FILES; file++) {
                write_version(work, file, round, version);
            }
            ck_assert(GIT(repository, "--git-dir=.", "--work-tree=../work", "add", "-A"));
            ck_assert(GIT(repository, "--git-dir=.", "--work-tree=../work", "-c", "user.name=a",
                          "-c", "user.email=a@b", "commit", "-q", "-m", "change"));
        }
        ck_assert(GIT(repository, "-c", base_offset, "repack", "-d", "-q"));
    }
    free(work);
}

static int count_deltas(void)
{
    GPtrArray *names = pack_files(".idx");
    int deltas = 0;

    for (guint i = 0; i < names->len; i++) {
        char *path = g_strdup_printf("objects/pack/%s.idx", (char *)names->pdata[i]);
        char *text = GIT_OUTPUT(repository, "verify-pack", "-v", path);
        gchar **lines;

        ck_assert_ptr_nonnull(text);
        lines = g_strsplit(text, "\n", -1);
        for (gchar **line = lines; *line != NULL; line++) {
            int depth;
            /* id type size size-in-pack offset depth base */
            deltas += sscanf(*line, "%*40[0-9a-f] %*s %*d %*d %*d %d", &depth) == 1;
        }
        g_strfreev(lines);
        free(text);
        g_free(path);
    }
    g_ptr_array_unref(names);
    return deltas;
}

static void merge_all(struct upkeep *upkeep)
{
    upkeep_look(upkeep, false);
    while (upkeep_step(upkeep, UPKEEP_BRIEF, 1000)) {
    }
}

static void merge_and_wait(struct upkeep *upkeep)
{
    merge_all(upkeep);
    faulty.time_offset += (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    merge_all(upkeep);
    faulty.time_offset += (int64_t)(UPKEEP_RETIRE_SECONDS + 1) * 1000000;
    merge_all(upkeep);
}

static const char *const base_forms[] = {"repack.useDeltaBaseOffset=true",
                                         "repack.useDeltaBaseOffset=false"};

START_TEST(test_upkeep__merges_packs_with_deltas_of_either_form)
{
    write_rounds(ROUNDS, base_forms[_i]);
    int deltas = count_deltas();
    uint64_t octets = octets_of_files(".pack");
    char *before = GIT_OUTPUT(repository, "rev-list", "--objects", "--all");
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);

    ck_assert_int_eq(count_files(".idx"), ROUNDS);
    ck_assert_int_ge(deltas, ROUNDS);
    merge_and_wait(upkeep);
    ck_assert_int_eq(count_files(".idx"), 1);
    ck_assert_int_eq(count_files(".pack"), 1);
    ck_assert_int_eq(count_deltas(), deltas);
    ck_assert_uint_le(octets_of_files(".pack"), octets);
    ck_assert_uint_eq(upkeep_counts(upkeep).failures, 0);
    check_repository();
    char *after = GIT_OUTPUT(repository, "rev-list", "--objects", "--all");
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    upkeep_free(upkeep);
}
END_TEST

START_TEST(test_pack_copy__takes_an_object_once_though_others_build_on_its_copies)
{
    struct store_error problem;

    write_rounds(4, base_forms[0]);
    GPtrArray *names = pack_files(".idx");
    struct pack_copy *copy = pack_copy_new(packs, repository, &faulty.host);

    /* All objects once more, with deltas of their own between the rounds. */
    ck_assert(GIT(repository, "repack", "-a", "-q", "-f", "--depth=50", "--window=50"));
    GPtrArray *all = pack_files(".idx");
    ck_assert_int_eq(all->len, 5);
    for (int pass = 0; pass < 2; pass++) {
        for (guint i = 0; i < all->len; i++) {
            bool old = g_ptr_array_find_with_equal_func(names, all->pdata[i], g_str_equal, NULL);

            if (old == (pass == _i)) {
                ck_assert_int_eq(pack_copy_add(copy, all->pdata[i], &problem), 0);
            }
        }
    }
    uint32_t twice = pack_copy_objects(copy);
    ck_assert_int_eq(pack_copy_begin(copy, &problem), 0);
    ck_assert_uint_eq(pack_copy_objects(copy) * 2, twice);
    while (pack_copy_step(copy, 1, &problem) == 1) {
    }
    ck_assert_str_ne(pack_copy_name(copy), "");
    for (guint i = 0; i < all->len; i++) {
        if (strcmp(all->pdata[i], pack_copy_name(copy)) != 0) {
            char *index = g_strdup_printf("%s/%s.idx", packs, (char *)all->pdata[i]);

            ck_assert_int_eq(unlink(index), 0);
            g_free(index);
        }
    }
    ck_assert_int_eq(count_files(".idx"), 1);
    check_repository();
    pack_copy_free(copy);
    g_ptr_array_unref(names);
    g_ptr_array_unref(all);
}
END_TEST

static bool is_commit_hex(const struct object_id *id, void *data)
{
    return object_id_equal(id, data);
}

START_TEST(test_pack_copy__of_chosen_objects_has_what_their_deltas_need)
{
    struct store_error problem;
    struct object_id wanted;

    write_rounds(4, base_forms[_i]);
    ck_assert(GIT(repository, "repack", "-a", "-d", "-q", "-f", "--depth=50", "--window=50"));
    GPtrArray *names = pack_files(".idx");
    ck_assert_int_eq(names->len, 1);
    char *hex = GIT_OUTPUT(repository, "rev-parse", "HEAD~7:file1");
    hex[OBJECT_ID_HEX] = '\0';
    ck_assert(object_id_parse(&wanted, hex));
    struct pack_copy *copy = pack_copy_new(packs, repository, &faulty.host);
    pack_copy_only(copy, is_commit_hex, &wanted);
    ck_assert_int_eq(pack_copy_add(copy, names->pdata[0], &problem), 0);
    ck_assert_int_eq(pack_copy_begin(copy, &problem), 0);
    ck_assert_uint_ge(pack_copy_objects(copy), 2);
    ck_assert_uint_lt(pack_copy_objects(copy), 24);
    while (pack_copy_step(copy, 1 << 20, &problem) == 1) {
    }
    char *path = g_strdup_printf("objects/pack/%s.idx", pack_copy_name(copy));
    ck_assert(GIT(repository, "verify-pack", path));
    g_free(path);
    free(hex);
    pack_copy_free(copy);
    g_ptr_array_unref(names);
}
END_TEST

/* Every octet of a pack changed in turn: refused, or the damage is in what no CRC covers. */
START_TEST(test_pack_copy__never_copies_damage)
{
    struct store_error problem;

    write_rounds(1, base_forms[0]);
    GPtrArray *names = pack_files(".idx");
    char *path = g_strdup_printf("%s/%s.pack", packs, (char *)names->pdata[0]);
    gchar *octets;
    gsize length;
    ck_assert(g_file_get_contents(path, &octets, &length, NULL));
    ck_assert_int_eq(chmod(path, 0600), 0);
    for (gsize at = 0; at < length; at += 1 + length / 400) {
        struct pack_copy *copy = pack_copy_new(packs, repository, &faulty.host);
        int fd = open(path, O_WRONLY);
        char changed = (char)(octets[at] ^ 0x10);

        ck_assert_int_eq(pwrite(fd, &changed, 1, (off_t)at), 1);
        int result = pack_copy_add(copy, names->pdata[0], &problem);
        result = result == 0 ? pack_copy_begin(copy, &problem) : result;
        while (result == 0 && (result = pack_copy_step(copy, 100, &problem)) == 1) {
            result = 0;
        }
        ck_assert_msg(at >= length - OBJECT_ID_SIZE || result == STORE_CORRUPT, "octet %zu: %d",
                      (size_t)at, result);
        ck_assert_int_eq(pwrite(fd, &octets[at], 1, (off_t)at), 1);
        close(fd);
        pack_copy_free(copy);
    }
    ck_assert_int_eq(count_temporary(), 0);
    check_repository();
    g_free(octets);
    g_free(path);
    g_ptr_array_unref(names);
}
END_TEST

/* ---- many packs of our own ---- */

static uint64_t write_pack(size_t size)
{
    struct pack_writer *writer;
    uint8_t *octets = g_malloc(size);
    struct object_id id;

    for (size_t i = 0; i < size; i++) {
        octets[i] = (uint8_t)next_noise();
    }
    objects_hash(OBJECT_BLOB, octets, size, &id);
    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, &faulty.host, 1, &error), 0);
    ck_assert_int_eq(pack_writer_add(writer, &id, OBJECT_BLOB, octets, size, &error), 0);
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    pack_writer_free(writer);
    g_free(octets);
    return size;
}

/* A git that reads the repository until the descriptor is closed. */
static pid_t start_reader(int *input)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("git", "git", "-C", repository, "cat-file", "--batch", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    *input = ends[1];
    for (int i = 0; i < 2000 && !git_readers_any(repository); i++) {
        g_usleep(5000);
    }
    return child;
}

START_TEST(test_upkeep__hides_nothing_while_git_reads)
{
    enum { PACKS = 40 };
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);
    int status;
    int input;

    ck_assert(!git_readers_any(repository));
    for (int i = 0; i < PACKS; i++) {
        write_pack(100);
    }
    merge_all(upkeep);
    int before = count_files(".idx");
    ck_assert_int_gt(before, PACKS);
    pid_t reader = start_reader(&input);
    faulty.time_offset += (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    merge_all(upkeep);
    ck_assert_int_eq(count_files(".idx"), before);
    close(input);
    ck_assert_int_eq(waitpid(reader, &status, 0), reader);
    ck_assert_int_eq(status, 0);
    merge_all(upkeep);
    ck_assert_int_lt(count_files(".idx"), PACKS);
    upkeep_free(upkeep);
    check_repository();
}
END_TEST

/* Hours of light load in little: a pack comes ten times a second of the clock that upkeep sees. */
START_TEST(test_upkeep__leaves_few_packs_and_copies_each_octet_few_times)
{
    enum { PACKS = 4000, SIZE = 16 * 1024, EVERY = 32 };
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);
    uint64_t octets = 0;
    unsigned most = 0;

    for (int i = 0; i < PACKS; i++) {
        octets += write_pack(SIZE);
        faulty.time_offset += 100 * 1000;
        if (i % EVERY == EVERY - 1) {
            upkeep_look(upkeep, true);
            for (int lane = 0; lane < UPKEEP_LANE_COUNT; lane++) {
                while (upkeep_step(upkeep, (enum upkeep_lane)lane, 1 << 20)) {
                }
            }
            most = MAX(most, upkeep_counts(upkeep).packs);
        }
    }
    struct upkeep_counts counts = upkeep_counts(upkeep);
    double times = (double)counts.octets / (double)octets;
    printf("%d packs: at most %u at a time, %.2f octets copied for each written, %d indexes\n",
           PACKS, most, times, (int)counts.indexes);
    ck_assert_uint_eq(counts.failures, 0);
    /* New ones since the last look, and those merged but not hidden yet, are among them. */
    ck_assert_uint_le(most, 80 + 10 * UPKEEP_HIDE_SECONDS);
    ck_assert(times < 5);
    ck_assert_uint_le(counts.indexes, counts.merges);
    faulty.time_offset += (int64_t)(UPKEEP_HIDE_SECONDS + 1) * 1000000;
    merge_all(upkeep);
    ck_assert_int_le(count_files(".idx"), 50);
    upkeep_free(upkeep);
    check_repository();
}
END_TEST

/* However much is written, merged packs that wait for a clone to end do not fill the disk. */
START_TEST(test_upkeep__merged_packs_leave_the_disk_sooner_where_they_are_many)
{
    static const int64_t passed[] = {UPKEEP_HIDE_SECONDS + 1, UPKEEP_RETIRE_SECONDS_SHORT + 10,
                                     UPKEEP_RETIRE_SECONDS + 1};
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);
    bool many = _i == 1;
    int rounds = many ? UPKEEP_RETIRED_MAX / 200 + 1 : 1;

    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 200; i++) {
            write_pack(100);
        }
        merge_all(upkeep);
    }
    int written = 200 * rounds;
    for (size_t i = 0; i < G_N_ELEMENTS(passed); i++) {
        faulty.time_offset = passed[i] * 1000000;
        upkeep_look(upkeep, false);
        /* Where they are many, writing them took a while of its own. */
        if (i > 0 || !many) {
            bool gone = i == 2 || many;

            ck_assert_int_eq(count_files(".pack") >= written, !gone);
        }
    }
    check_repository();
    upkeep_free(upkeep);
}
END_TEST

enum { STILL = 1700000000 }; /* second */

static int64_t stand_still(void *data)
{
    (void)data;
    return (int64_t)STILL * 1000000;
}

/* Packs whose files were all written at that second. */
static void write_packs(int count, size_t size, int64_t second)
{
    const struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};

    for (int i = 0; i < count; i++) {
        write_pack(size);
    }
    GPtrArray *names = pack_files(".pack");
    for (guint i = 0; i < names->len; i++) {
        char *path = g_strdup_printf("%s/%s.pack", packs, (char *)names->pdata[i]);

        ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
        g_free(path);
    }
    g_ptr_array_unref(names);
}

static const struct {
    int count;
    int64_t age;  /* seconds */
    int64_t wait; /* seconds until it merges; -1: for ever */
    bool is_long;
} bursts[] = {
    {UPKEEP_FANOUT - 1, 0, -1, false},
    {UPKEEP_FANOUT, 0, UPKEEP_LULL_SECONDS, false},
    {UPKEEP_FANOUT, UPKEEP_LULL_SECONDS - 1, 1, false},
    {UPKEEP_FANOUT, UPKEEP_LULL_SECONDS, 0, false},
    {UPKEEP_FANOUT, -1, 0, false}, /* of tomorrow: nobody knows how long to wait */
    {UPKEEP_FANOUT_BUSY - 1, 0, UPKEEP_LULL_SECONDS, true},
    {UPKEEP_FANOUT_BUSY, 0, 0, true},
};

START_TEST(test_upkeep__merges_large_packs_when_no_more_come_or_they_are_many)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);
    int64_t wait = bursts[_i].wait;

    faulty.host.now = stand_still;
    write_packs(bursts[_i].count, UPKEEP_SMALL_SIZE, STILL - bursts[_i].age);
    upkeep_be_patient(upkeep);
    upkeep_look(upkeep, true);
    ck_assert_int_eq(upkeep_is_merging(upkeep, UPKEEP_BRIEF), wait == 0 && !bursts[_i].is_long);
    ck_assert_int_eq(upkeep_is_merging(upkeep, UPKEEP_LONG), wait == 0 && bursts[_i].is_long);
    ck_assert_int_eq(upkeep_due(upkeep), wait > 0 ? STILL + wait : INT64_MAX);
    upkeep_free(upkeep);
}
END_TEST

/* A visitor does not come back. */
START_TEST(test_upkeep__without_patience_merges_at_once)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);

    faulty.host.now = stand_still;
    write_packs(UPKEEP_FANOUT, UPKEEP_SMALL_SIZE, STILL);
    merge_all(upkeep);
    upkeep_hide_all(upkeep);
    ck_assert_int_eq(count_files(".idx"), 1);
    ck_assert_int_eq(upkeep_due(upkeep), STILL + UPKEEP_RETIRE_SECONDS);
    upkeep_free(upkeep);
}
END_TEST

START_TEST(test_upkeep__waits_after_a_failure_though_a_lull_has_come)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);

    faulty.host.now = stand_still;
    write_packs(UPKEEP_FANOUT, UPKEEP_SMALL_SIZE, STILL);
    write_packs(UPKEEP_SMALL_COUNT, 100, STILL);
    upkeep_be_patient(upkeep);
    upkeep_look(upkeep, false);
    ck_assert(upkeep_is_merging(upkeep, UPKEEP_BRIEF));
    ck_assert_int_eq(upkeep_due(upkeep), STILL + UPKEEP_LULL_SECONDS);
    faulty_host_arm(&faulty, 1, true, ENOSPC);
    while (upkeep_step(upkeep, UPKEEP_BRIEF, 1000)) {
    }
    faulty_host_arm(&faulty, 0, false, 0);
    ck_assert_uint_eq(upkeep_counts(upkeep).failures, 1);
    ck_assert_int_eq(upkeep_due(upkeep), STILL + UPKEEP_PAUSE_SECONDS);
    upkeep_free(upkeep);
}
END_TEST

START_TEST(test_upkeep__long_merges_leave_brief_ones_their_turn)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);

    for (int i = 0; i <= UPKEEP_FANOUT; i++) {
        write_pack(9 * 1024 * 1024);
    }
    upkeep_look(upkeep, false);
    ck_assert(!upkeep_is_merging(upkeep, UPKEEP_BRIEF));
    ck_assert(!upkeep_is_merging(upkeep, UPKEEP_LONG));
    upkeep_look(upkeep, true);
    ck_assert(upkeep_is_merging(upkeep, UPKEEP_LONG));
    ck_assert(upkeep_step(upkeep, UPKEEP_LONG, 1 << 20));
    for (int i = 0; i < UPKEEP_SMALL_COUNT; i++) {
        write_pack(1000);
    }
    upkeep_look(upkeep, true);
    ck_assert(upkeep_is_merging(upkeep, UPKEEP_BRIEF));
    while (upkeep_step(upkeep, UPKEEP_BRIEF, 1 << 20)) {
    }
    ck_assert_uint_eq(upkeep_counts(upkeep).merges, 1);
    while (upkeep_step(upkeep, UPKEEP_LONG, 1 << 20)) {
    }
    ck_assert_uint_eq(upkeep_counts(upkeep).merges, 2);
    upkeep_hide_all(upkeep);
    ck_assert_int_eq(count_files(".idx"), 2);
    check_repository();
    upkeep_free(upkeep);
}
END_TEST

START_TEST(test_upkeep__deflates_what_is_old_and_only_once)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);
    struct pack_writer *writer;
    GString *text = g_string_new(NULL);

    for (int i = 0; i < 60000; i++) {
        g_string_append_printf(text, "Received: line number %d of a message\r\n", i);
    }
    ck_assert_int_eq(pack_writer_open(&writer, packs, repository, &faulty.host, 2, &error), 0);
    struct object_id ids[2];
    for (int i = 0; i < 2; i++) {
        objects_hash(OBJECT_BLOB, text->str + i, text->len - (size_t)i, &ids[i]);
        ck_assert_int_eq(pack_writer_add(writer, &ids[i], OBJECT_BLOB, text->str + i,
                                         text->len - (size_t)i, &error),
                         0);
    }
    ck_assert_int_eq(pack_writer_finish(writer, 0, &error), 0);
    pack_writer_free(writer);
    uint64_t octets = octets_of_files(".pack");
    upkeep_compress_after(upkeep, 1000);
    upkeep_look(upkeep, true);
    ck_assert(!upkeep_is_merging(upkeep, UPKEEP_LONG));
    faulty.time_offset = (int64_t)2000 * 1000000;
    upkeep_look(upkeep, true);
    ck_assert(upkeep_is_merging(upkeep, UPKEEP_LONG));
    while (upkeep_step(upkeep, UPKEEP_LONG, 1 << 20)) {
    }
    upkeep_hide_all(upkeep);
    faulty.time_offset += (int64_t)2000 * 1000000;
    upkeep_look(upkeep, true);
    ck_assert(!upkeep_is_merging(upkeep, UPKEEP_LONG));
    ck_assert_int_eq(count_files(".pack"), 1);
    ck_assert_uint_lt(octets_of_files(".pack"), octets / 4);
    check_repository();
    struct objects *objects;
    ck_assert_int_eq(objects_open(&objects, repository, &faulty.host, &error), 0);
    for (int i = 0; i < 2; i++) {
        struct object_data data;

        ck_assert_int_eq(objects_read(objects, &ids[i], OBJECT_BLOB, &data, &error), 0);
        ck_assert_uint_eq(data.length, text->len - (size_t)i);
        ck_assert_int_eq(memcmp(data.data, text->str + i, data.length), 0);
        object_data_release(&data);
    }
    objects_close(objects);
    g_string_free(text, TRUE);
    upkeep_free(upkeep);
}
END_TEST

/* ---- git's list of packs ---- */

START_TEST(test_multi_pack_index__is_one_that_git_verifies)
{
    write_rounds(6, base_forms[0]);
    ck_assert(GIT(repository, "repack", "-a", "-q"));
    GPtrArray *names = pack_files(".idx");

    ck_assert_int_eq(names->len, 7);
    ck_assert_int_eq(multi_pack_index_write(packs, repository, &faulty.host, names, &error), 0);
    check_repository();
    GHashTable *listed = multi_pack_index_names(packs);
    ck_assert_uint_eq(g_hash_table_size(listed), 7);
    for (guint i = 0; i < names->len; i++) {
        ck_assert(g_hash_table_contains(listed, names->pdata[i]));
    }
    /* Git itself finds all objects by it alone, and writes the same but for the choice of packs. */
    ck_assert(GIT(repository, "rev-list", "--objects", "--all"));
    char *ours = g_strdup_printf("%s/multi-pack-index", packs);
    struct stat status;
    ck_assert_int_eq(stat(ours, &status), 0);
    off_t size = status.st_size;
    ck_assert(GIT(repository, "multi-pack-index", "write"));
    ck_assert_int_eq(stat(ours, &status), 0);
    ck_assert_int_eq(status.st_size, size);
    g_free(ours);
    g_hash_table_destroy(listed);
    g_ptr_array_unref(names);
}
END_TEST

START_TEST(test_multi_pack_index__is_whole_or_as_before_whichever_call_fails)
{
    bool failed = true;
    unsigned k;

    write_rounds(3, base_forms[0]);
    GPtrArray *names = pack_files(".idx");
    ck_assert_int_eq(multi_pack_index_write(packs, repository, &faulty.host, names, &error), 0);
    g_ptr_array_remove_index(names, 0);
    for (k = 1; k < FAULTS_MAX && failed; k++) {
        faulty_host_arm(&faulty, k, false, ENOSPC);
        int result = multi_pack_index_write(packs, repository, &faulty.host, names, &error);
        failed = faulty.failed;
        faulty_host_arm(&faulty, 0, false, 0);
        if (failed) {
            ck_assert_int_ne(result, 0);
        }
        ck_assert(GIT(repository, "multi-pack-index", "verify"));
    }
    ck_assert_uint_gt(k, 5);
    check_repository();
    g_ptr_array_unref(names);
}
END_TEST

START_TEST(test_multi_pack_index__locked_by_somebody_is_left_alone_until_that_is_a_crash)
{
    write_rounds(2, base_forms[0]);
    GPtrArray *names = pack_files(".idx");
    char *lock = g_strdup_printf("%s/multi-pack-index.lock", packs);
    FILE *file = fopen(lock, "w");

    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_eq(multi_pack_index_write(packs, repository, &faulty.host, names, &error),
                     STORE_CONFLICT);
    ck_assert_int_eq(access(lock, F_OK), 0);
    faulty.time_offset = (int64_t)(MULTI_PACK_INDEX_LOCK_SECONDS + 5) * 1000000;
    ck_assert_int_eq(multi_pack_index_write(packs, repository, &faulty.host, names, &error), 0);
    ck_assert_int_ne(access(lock, F_OK), 0);
    check_repository();
    g_free(lock);
    g_ptr_array_unref(names);
}
END_TEST

/* An index as it is of a pack of more than 4 GiB: git compares offsets without reading the pack. */
static void write_large_index(const char *name)
{
    static const uint64_t offsets[] = {12, 0x7fffffff, 0x80000000, 0x123456789};
    GByteArray *index = g_byte_array_new();
    uint8_t bytes[OBJECT_ID_SIZE] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    struct sha1 sha1;
    uint32_t large = 0;

    g_byte_array_append(index, bytes, 8);
    for (int first = 0; first < 256; first++) {
        uint8_t count[4] = {0, 0, 0, (uint8_t)MIN(first, 4)};

        g_byte_array_append(index, count, 4);
    }
    for (uint8_t i = 1; i <= 4; i++) {
        memset(bytes, i, sizeof(bytes));
        g_byte_array_append(index, bytes, sizeof(bytes));
    }
    memset(bytes, 0, sizeof(bytes));
    g_byte_array_append(index, bytes, 16);
    for (int i = 0; i < 4; i++) {
        /* Without optimization the macro takes its argument several times. */
        uint32_t value = offsets[i] > 0x7fffffff ? 0x80000000 | large++ : (uint32_t)offsets[i];

        value = GUINT32_TO_BE(value);
        g_byte_array_append(index, (const uint8_t *)&value, 4);
    }
    for (int i = 0; i < 4; i++) {
        uint64_t value = GUINT64_TO_BE(offsets[i]);

        if (offsets[i] > 0x7fffffff) {
            g_byte_array_append(index, (const uint8_t *)&value, 8);
        }
    }
    g_byte_array_append(index, bytes, sizeof(bytes));
    sha1_init(&sha1);
    sha1_update(&sha1, index->data, index->len);
    sha1_sum(&sha1, bytes);
    g_byte_array_append(index, bytes, sizeof(bytes));
    char *path = g_strdup_printf("%s/%s.idx", packs, name);
    ck_assert(g_file_set_contents(path, (const char *)index->data, index->len, NULL));
    g_free(path);
    path = g_strdup_printf("%s/%s.pack", packs, name);
    ck_assert(g_file_set_contents(path, "PACK\0\0\0\2\0\0\0\4", 12, NULL));
    ck_assert_int_eq(truncate(path, 0x200000000), 0);
    g_free(path);
    g_byte_array_unref(index);
}

START_TEST(test_multi_pack_index__holds_offsets_beyond_31_and_32_bits)
{
    static char name[] = "pack-1111111111111111111111111111111111111111";
    GPtrArray *names = g_ptr_array_new();

    write_large_index(name);
    g_ptr_array_add(names, name);
    ck_assert_msg(multi_pack_index_write(packs, repository, &faulty.host, names, &error) == 0, "%s",
                  error.detail);
    ck_assert(GIT(repository, "multi-pack-index", "verify"));
    g_ptr_array_unref(names);
}
END_TEST

START_TEST(test_upkeep__a_list_made_for_git_never_names_a_pack_that_is_gone)
{
    struct upkeep *upkeep = upkeep_new(repository, &faulty.host);

    for (int i = 0; i < 3 * UPKEEP_FANOUT; i++) {
        write_pack(300 * 1024);
        faulty.time_offset += (int64_t)(UPKEEP_SETTLED_SECONDS / 2) * 1000000;
        upkeep_look(upkeep, true);
        GHashTable *listed = multi_pack_index_names(packs);
        GHashTableIter iterator;
        void *name;
        g_hash_table_iter_init(&iterator, listed);
        while (g_hash_table_iter_next(&iterator, &name, NULL)) {
            char *path = g_strdup_printf("%s/%s.idx", packs, (char *)name);

            ck_assert_int_eq(access(path, F_OK), 0);
            g_free(path);
        }
        g_hash_table_destroy(listed);
        ck_assert(GIT(repository, "multi-pack-index", "verify"));
        while (upkeep_step(upkeep, UPKEEP_BRIEF, 1 << 20)) {
        }
    }
    ck_assert_uint_gt(upkeep_counts(upkeep).merges, 1);
    ck_assert_uint_gt(upkeep_counts(upkeep).indexes, 0);
    check_repository();
    upkeep_free(upkeep);
}
END_TEST

/* ---- the thread ---- */

START_TEST(test_maintenance__merges_in_its_own_thread_and_tidies_up_when_told_to_end)
{
    struct maintenance_settings settings = {.host = host_system()};
    struct maintenance *maintenance = maintenance_new(&settings);

    ck_assert_ptr_nonnull(maintenance);
    for (int i = 0; i < 100; i++) {
        write_pack(5000);
        if (i % 32 == 31) {
            maintenance_request(maintenance, repository);
        }
    }
    maintenance_request(maintenance, repository);
    uint64_t enough = (uint64_t)(100 - UPKEEP_SMALL_COUNT) * 5000;
    for (int i = 0; i < 3000 && maintenance_counts(maintenance).octets < enough; i++) {
        maintenance_request(maintenance, repository);
        g_usleep(10000);
    }
    struct maintenance_counts counts = maintenance_counts(maintenance);
    maintenance_request(maintenance, "/nonexistent/repository");
    maintenance_free(maintenance);
    ck_assert_uint_gt(counts.merges, 0);
    ck_assert_uint_gt(counts.octets, 0);
    ck_assert_uint_eq(counts.failures, 0);
    ck_assert_int_le(count_files(".idx"), 60);
    ck_assert_int_eq(count_temporary(), 0);
    check_repository();
}
END_TEST

/* One long merge at a time: the other repository's lull comes while it is under way. */
START_TEST(test_maintenance__forgets_nobody_who_waits_for_a_long_merge)
{
    enum { SIZE = 5 * 1024 * 1024 };
    struct maintenance_settings settings = {.host = host_system()};
    struct maintenance *maintenance = maintenance_new(&settings);
    char *first = repository;
    char *first_packs = packs;

    repository = fixture_path(directory, "other.git");
    packs = fixture_path(repository, "objects/pack");
    fixture_make_repository(repository);
    for (int i = 0; i < 2 * UPKEEP_FANOUT; i++) {
        char *path = packs;

        packs = i % 2 == 0 ? packs : first_packs;
        write_pack(SIZE);
        packs = path;
    }
    maintenance_request(maintenance, repository);
    maintenance_request(maintenance, first);
    for (int i = 0; i < 6000 && maintenance_counts(maintenance).merges < 2; i++) {
        g_usleep(5000);
    }
    ck_assert_uint_eq(maintenance_counts(maintenance).merges, 2);
    maintenance_free(maintenance);
    ck_assert_int_eq(count_files(".idx"), 1);
    free(repository);
    free(packs);
    repository = first;
    packs = first_packs;
    ck_assert_int_eq(count_files(".idx"), 1);
}
END_TEST

START_TEST(test_maintenance__ends_in_the_midst_of_a_long_merge)
{
    struct maintenance_settings settings = {.host = host_system()};
    struct maintenance *maintenance = maintenance_new(&settings);

    for (int i = 0; i < UPKEEP_FANOUT; i++) {
        write_pack(12 * 1024 * 1024);
    }
    int64_t begin = g_get_monotonic_time();
    maintenance_request(maintenance, repository);
    for (int i = 0; i < 4000 && count_temporary() == 0; i++) {
        g_usleep(5000);
    }
    ck_assert_int_eq(count_temporary(), 1);
    maintenance_free(maintenance);
    ck_assert_int_lt(g_get_monotonic_time() - begin, 10 * 1000000);
    ck_assert_int_eq(count_temporary(), 0);
    ck_assert_int_eq(count_files(".idx"), UPKEEP_FANOUT);
    check_repository();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upkeep");
    TCase *tests = tcase_create("upkeep");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_loop_test(tests, test_upkeep__merges_packs_with_deltas_of_either_form, 0, 2);
    tcase_add_loop_test(
        tests, test_pack_copy__takes_an_object_once_though_others_build_on_its_copies, 0, 2);
    tcase_add_loop_test(tests, test_pack_copy__of_chosen_objects_has_what_their_deltas_need, 0, 2);
    tcase_add_test(tests, test_pack_copy__never_copies_damage);
    tcase_add_test(tests, test_upkeep__hides_nothing_while_git_reads);
    tcase_add_test(tests, test_upkeep__leaves_few_packs_and_copies_each_octet_few_times);
    tcase_add_loop_test(tests, test_upkeep__merged_packs_leave_the_disk_sooner_where_they_are_many,
                        0, 2);
    tcase_add_loop_test(tests, test_upkeep__merges_large_packs_when_no_more_come_or_they_are_many,
                        0, G_N_ELEMENTS(bursts));
    tcase_add_test(tests, test_upkeep__without_patience_merges_at_once);
    tcase_add_test(tests, test_upkeep__waits_after_a_failure_though_a_lull_has_come);
    tcase_add_test(tests, test_upkeep__long_merges_leave_brief_ones_their_turn);
    tcase_add_test(tests, test_upkeep__deflates_what_is_old_and_only_once);
    tcase_add_test(tests, test_multi_pack_index__is_one_that_git_verifies);
    tcase_add_test(tests, test_multi_pack_index__is_whole_or_as_before_whichever_call_fails);
    tcase_add_test(tests,
                   test_multi_pack_index__locked_by_somebody_is_left_alone_until_that_is_a_crash);
    tcase_add_test(tests, test_multi_pack_index__holds_offsets_beyond_31_and_32_bits);
    tcase_add_test(tests, test_upkeep__a_list_made_for_git_never_names_a_pack_that_is_gone);
    tcase_add_test(tests,
                   test_maintenance__merges_in_its_own_thread_and_tidies_up_when_told_to_end);
    tcase_add_test(tests, test_maintenance__forgets_nobody_who_waits_for_a_long_merge);
    tcase_add_test(tests, test_maintenance__ends_in_the_midst_of_a_long_merge);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
