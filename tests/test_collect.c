#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/collect.h"
#include "tests/faulty_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 300, VERSIONS = 4, DAY = 24 * 3600 };

static char *directory;
static char *repository;
static char *work;
static struct faulty_host faulty;
static struct store_error error;
static struct collect_result result;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    work = fixture_path(directory, "files");
    fixture_make_repository(repository);
    ck_assert_int_eq(mkdir(work, 0700), 0);
    faulty_host_init(&faulty);
}

static void teardown(void)
{
    free(work);
    free(repository);
    fixture_remove(directory);
}

static void pass_seconds(int64_t seconds)
{
    faulty.time_offset += seconds * 1000000;
}

#define IN_WORK(...)                                                                  \
    GIT(repository, "--git-dir=.", "--work-tree=../files", "-c", "user.name=a", "-c", \
        "user.email=a@b", __VA_ARGS__)

static void write_file(const char *name, const char *text)
{
    char *path = fixture_path(work, name);

    ck_assert(g_file_set_contents(path, text, -1, NULL));
    free(path);
}

static void commit(const char *name, const char *text)
{
    write_file(name, text);
    ck_assert(IN_WORK("add", "-A"));
    ck_assert(IN_WORK("commit", "-q", "-m", text));
}

/* Of everything that git knows: loose objects, packs, a tag, a branch that is none of ours with
 * other modes, and a commit that only a reflog remembers. */
static void fill(void)
{
    char *path = fixture_path(work, "program");
    char *link = fixture_path(work, "link");

    ck_assert(GIT(repository, "config", "core.logAllRefUpdates", "always"));
    for (int i = 0; i < VERSIONS; i++) {
        char text[32];

        snprintf(text, sizeof(text), "version %d\n", i);
        commit("file", text);
        if (i % 2 == 0) {
            ck_assert(GIT(repository, "repack", "-q", "-d"));
        }
    }
    write_file("program", "#!/bin/sh\n");
    ck_assert_int_eq(chmod(path, 0755), 0);
    ck_assert_int_eq(symlink("file", link), 0);
    ck_assert(IN_WORK("update-index", "--add", "--cacheinfo",
                      "160000,1234567890123456789012345678901234567890,module"));
    commit("file", "strange\n");
    ck_assert(GIT(repository, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "t",
                  "v1", "HEAD~1"));
    ck_assert(GIT(repository, "update-ref", "refs/deleted/Old/1", "HEAD"));
    ck_assert(GIT(repository, "update-ref", "refs/heads/Other", "HEAD~2"));
    commit("file", "remembered\n");
    ck_assert(GIT(repository, "-c", "user.name=a", "-c", "user.email=a@b", "update-ref", "HEAD",
                  "HEAD~1"));
    free(path);
    free(link);
}

/* A blob that nothing refers to, in a file of its own. */
static char *make_rubbish(const char *text)
{
    write_file("rubbish", text);
    char *id = GIT_OUTPUT(repository, "hash-object", "-w", "../files/rubbish");

    ck_assert_ptr_nonnull(id);
    id[40] = '\0';
    char *path = fixture_path(work, "rubbish");
    ck_assert_int_eq(unlink(path), 0);
    free(path);
    return id;
}

static bool exists(const char *id)
{
    char *type = GIT_OUTPUT(repository, "cat-file", "-t", id);
    bool there = type != NULL;

    free(type);
    return there;
}

static int collect(bool now, bool compress)
{
    struct collect_settings settings = {.now = now, .compress = compress};

    return collect_repository(repository, &faulty.host, &settings, &result, &error);
}

static char *everything(void)
{
    char *text = GIT_OUTPUT(repository, "rev-list", "--objects", "--all", "--reflog");

    ck_assert_ptr_nonnull(text);
    return text;
}

static int count_files(const char *below, const char *suffix)
{
    char *path = fixture_path(repository, below);
    DIR *handle = opendir(path);
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(handle)) != NULL) {
        count += g_str_has_suffix(entry->d_name, suffix);
    }
    closedir(handle);
    free(path);
    return count;
}

START_TEST(test_collect__keeps_all_that_is_referred_to_in_one_pack)
{
    fill();
    char *before = everything();

    pass_seconds(15 * DAY);
    ck_assert_msg(collect(_i == 1, _i == 1) == 0, "%s", error.detail);
    char *after = everything();
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(result.packs_after, 1);
    ck_assert_uint_gt(result.loose, 0);
    ck_assert_uint_eq(result.dropped, 0);
    ck_assert(!result.incomplete);
    ck_assert_int_eq(count_files("objects/pack", ".idx"), 1);
    ck_assert_int_eq(count_files("objects/pack", ".pack") == 1, _i == 1);
    ck_assert_int_eq(count_files("", "gc.pid"), 0);
    ck_assert_uint_gt(result.references, 0);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    char *counts = GIT_OUTPUT(repository, "count-objects", "-v");
    ck_assert(g_str_has_prefix(counts, "count: 0\n"));
    free(counts);
    free(before);
    free(after);
}
END_TEST

static const struct {
    bool packed;
    bool now;
    int64_t age;
    bool dropped;
} rubbish_cases[] = {
    {false, false, 13 * DAY, false}, {false, false, 15 * DAY, true}, {true, false, 13 * DAY, false},
    {true, false, 15 * DAY, true},   {true, true, 500, false},       {true, true, 700, true},
    {false, true, 500, false},       {false, true, 700, true},
};

START_TEST(test_collect__drops_what_nothing_refers_to_after_the_grace)
{
    fill();
    char *id = make_rubbish("rubbish\n");

    if (rubbish_cases[_i].packed) {
        ck_assert_int_eq(collect(false, false), 0);
        ck_assert(exists(id));
    }
    pass_seconds(rubbish_cases[_i].age);
    ck_assert_int_eq(collect(rubbish_cases[_i].now, false), 0);
    ck_assert_int_eq(exists(id), !rubbish_cases[_i].dropped);
    ck_assert_uint_eq(result.dropped, rubbish_cases[_i].dropped ? 1 : 0);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    free(id);
}
END_TEST

/* Each run writes all of it anew; rubbish goes on ageing. */
START_TEST(test_collect__lets_rubbish_age_however_often_it_runs)
{
    fill();
    char *id = make_rubbish("rubbish\n");

    for (int day = 0; day < 15; day += 5) {
        char text[32];

        ck_assert_int_eq(collect(false, false), 0);
        ck_assert(exists(id));
        snprintf(text, sizeof(text), "day %d\n", day);
        commit("file", text);
        pass_seconds(5 * DAY);
    }
    ck_assert_int_eq(collect(false, false), 0);
    ck_assert(!exists(id));
    free(id);
}
END_TEST

START_TEST(test_collect__drops_nothing_while_something_is_missing)
{
    fill();
    char *id = make_rubbish("rubbish\n");
    ck_assert(GIT(repository, "-c", "user.name=a", "-c", "user.email=a@b", "update-ref",
                  "refs/heads/Broken", "HEAD"));
    char *path = fixture_path(repository, "refs/heads/Broken");
    ck_assert(g_file_set_contents(path, "1111111111111111111111111111111111111111\n", -1, NULL));
    pass_seconds(100 * (int64_t)DAY);
    ck_assert_int_eq(collect(true, false), 0);
    ck_assert(result.incomplete);
    ck_assert(exists(id));
    ck_assert_uint_eq(result.dropped, 0);
    free(path);
    free(id);
}
END_TEST

START_TEST(test_collect__leaves_protected_packs_alone)
{
    fill();
    ck_assert(GIT(repository, "repack", "-q", "-a", "-d"));
    char *pack = fixture_path(repository, "objects/pack");
    DIR *handle = opendir(pack);
    struct dirent *entry;

    while ((entry = readdir(handle)) != NULL) {
        if (g_str_has_suffix(entry->d_name, ".pack")) {
            char *keep = g_strdup_printf("%s/%.*s.keep", pack, 45, entry->d_name);

            ck_assert(g_file_set_contents(keep, "", 0, NULL));
            g_free(keep);
        }
    }
    closedir(handle);
    commit("file", "more\n");
    ck_assert_int_eq(collect(true, false), 0);
    ck_assert_uint_eq(result.kept, 1);
    ck_assert_int_eq(count_files("objects/pack", ".idx"), 2);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    free(pack);
}
END_TEST

START_TEST(test_collect__waits_for_no_other_gc_but_a_crashed_one)
{
    char *path = fixture_path(repository, "gc.pid");
    char name[256] = "";
    char text[300];

    fill();
    gethostname(name, sizeof(name) - 1);
    snprintf(text, sizeof(text), "%ld %s", (long)getpid(), name);
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    ck_assert_int_eq(collect(false, false), STORE_CONFLICT);
    ck_assert_int_eq(access(path, F_OK), 0);
    snprintf(text, sizeof(text), "%ld %s", 0x7ffffff0L, name);
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    ck_assert_int_eq(collect(false, false), 0);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert(g_file_set_contents(path, "1 elsewhere", -1, NULL));
    ck_assert_int_eq(collect(false, false), STORE_CONFLICT);
    pass_seconds(DAY);
    ck_assert_int_eq(collect(false, false), 0);
    free(path);
}
END_TEST

START_TEST(test_collect__loses_nothing_whichever_call_fails)
{
    bool failed = true;
    unsigned k;

    fill();
    char *before = everything();
    pass_seconds(15 * DAY);
    for (k = 1; k < FAULTS_MAX && failed; k++) {
        char text[32];

        snprintf(text, sizeof(text), "loose %u\n", k);
        free(make_rubbish(text));
        faulty_host_arm(&faulty, k, _i == 1, EIO);
        collect(true, k % 2 == 0);
        failed = faulty.failed;
        faulty_host_arm(&faulty, 0, false, 0);
        char *after = everything();
        ck_assert_str_eq(before, after);
        free(after);
        char *path = fixture_path(repository, "gc.pid");
        unlink(path);
        free(path);
        path = fixture_path(repository, "gc.pid.lock");
        unlink(path);
        free(path);
    }
    ck_assert_uint_gt(k, 20);
    ck_assert_uint_lt(k, FAULTS_MAX);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    free(before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("collect");
    TCase *tests = tcase_create("collect");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_collect__keeps_all_that_is_referred_to_in_one_pack, 0, 2);
    tcase_add_loop_test(tests, test_collect__drops_what_nothing_refers_to_after_the_grace, 0,
                        (int)G_N_ELEMENTS(rubbish_cases));
    tcase_add_test(tests, test_collect__lets_rubbish_age_however_often_it_runs);
    tcase_add_test(tests, test_collect__drops_nothing_while_something_is_missing);
    tcase_add_test(tests, test_collect__leaves_protected_packs_alone);
    tcase_add_test(tests, test_collect__waits_for_no_other_gc_but_a_crashed_one);
    tcase_add_loop_test(tests, test_collect__loses_nothing_whichever_call_fails, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
