#include <check.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/internal/refs_pack.h"
#include "store/object_id.h"
#include "tests/faulty_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 200 };

static char *directory;
static char *repository;
static struct faulty_host faulty;
static struct store_error error;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    faulty_host_init(&faulty);
}

static void teardown(void)
{
    free(repository);
    fixture_remove(directory);
}

enum { BRANCHES = 300 };

static char *make_commit(void)
{
    char *tree = GIT_OUTPUT(repository, "hash-object", "-t", "tree", "-w", "/dev/null");
    tree[OBJECT_ID_HEX] = '\0';
    char *commit = GIT_OUTPUT(repository, "-c", "user.name=a", "-c", "user.email=a@b",
                              "commit-tree", "-m", "one", tree);

    free(tree);
    return commit;
}

static void make_loose(const char *commit, int count)
{
    for (int i = 0; i < count; i++) {
        char *path = g_strdup_printf("%s/refs/heads/box%d", repository, i);

        ck_assert(g_file_set_contents(path, commit, -1, NULL));
        g_free(path);
    }
}

static void make_branches(void)
{
    char *commit = make_commit();

    make_loose(commit, BRANCHES);
    ck_assert(GIT(repository, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "t",
                  "v1", "box0"));
    ck_assert(GIT(repository, "update-ref", "refs/deleted/Old/17", "box0"));
    free(commit);
}

START_TEST(test_refs_pack__leaves_what_git_itself_would_leave)
{
    size_t packed;

    make_branches();
    ck_assert(GIT(repository, "tag", "v2", "v1"));
    ck_assert(GIT(repository, "pack-refs", "--no-prune", "--all"));
    char *before = GIT_OUTPUT(repository, "show-ref", "-d");
    ck_assert_int_eq(refs_pack(repository, &faulty.host, 1, 0, &packed, &error), 0);
    ck_assert_uint_eq(packed, BRANCHES + 1);
    char *after = GIT_OUTPUT(repository, "show-ref", "-d");
    ck_assert_str_eq(before, after);
    char *path = fixture_path(repository, "packed-refs");
    gchar *ours;
    gchar *theirs;
    ck_assert(g_file_get_contents(path, &ours, NULL, NULL));
    ck_assert(GIT(repository, "pack-refs", "--all"));
    ck_assert(g_file_get_contents(path, &theirs, NULL, NULL));
    ck_assert_str_eq(ours, theirs);
    char *loose = fixture_path(repository, "refs/heads/box0");
    ck_assert_int_ne(access(loose, F_OK), 0);
    free(loose);
    loose = fixture_path(repository, "refs/deleted/Old");
    ck_assert_int_ne(access(loose, F_OK), 0);
    g_free(ours);
    g_free(theirs);
    free(loose);
    free(path);
    free(before);
    free(after);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
}
END_TEST

START_TEST(test_refs_pack__waits_until_there_are_many_that_rest)
{
    static const struct {
        size_t min;
        int64_t age;
        int64_t passed;
        size_t packed;
    } cases[] = {
        {BRANCHES + 2, 0, 0, 0},
        {1, 600, 0, 0},
        {1, 600, 590, 0},
        {BRANCHES + 1, 600, 610, BRANCHES + 1},
    };

    make_branches();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        size_t packed;

        faulty.time_offset = cases[i].passed * 1000000;
        ck_assert_int_eq(
            refs_pack(repository, &faulty.host, cases[i].min, cases[i].age, &packed, &error), 0);
        ck_assert_uint_eq(packed, cases[i].packed);
    }
}
END_TEST

START_TEST(test_refs_pack__loses_no_reference_whichever_call_fails)
{
    bool failed = true;
    char *commit = make_commit();
    unsigned k;

    make_loose(commit, 5);
    ck_assert(GIT(repository, "update-ref", "refs/deleted/Old/17", "box0"));
    char *before = GIT_OUTPUT(repository, "show-ref", "-d");
    for (k = 1; k < FAULTS_MAX && failed; k++) {
        size_t packed;

        make_loose(commit, 5);
        faulty_host_arm(&faulty, k, _i == 1, EIO);
        refs_pack(repository, &faulty.host, 1, 0, &packed, &error);
        failed = faulty.failed;
        faulty_host_arm(&faulty, 0, false, 0);
        char *after = GIT_OUTPUT(repository, "show-ref", "-d");
        ck_assert_str_eq(before, after);
        free(after);
    }
    ck_assert_uint_gt(k, 20);
    ck_assert_uint_lt(k, FAULTS_MAX);
    free(before);
    free(commit);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
}
END_TEST

START_TEST(test_refs_pack__leaves_a_reference_that_somebody_moves)
{
    size_t packed;

    make_branches();
    char *lock = fixture_path(repository, "refs/heads/box7.lock");
    FILE *file = fopen(lock, "w");
    fclose(file);
    ck_assert_int_eq(refs_pack(repository, &faulty.host, 1, 0, &packed, &error), 0);
    char *loose = fixture_path(repository, "refs/heads/box7");
    ck_assert_int_eq(access(loose, F_OK), 0);
    free(loose);
    loose = fixture_path(repository, "refs/heads/box8");
    ck_assert_int_ne(access(loose, F_OK), 0);
    ck_assert_int_eq(unlink(lock), 0);
    free(lock);
    lock = fixture_path(repository, "packed-refs.lock");
    file = fopen(lock, "w");
    fclose(file);
    ck_assert_int_eq(refs_pack(repository, &faulty.host, 1, 0, &packed, &error), STORE_CONFLICT);
    ck_assert_uint_eq(packed, 0);
    free(loose);
    free(lock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refs_pack");
    TCase *tests = tcase_create("refs_pack");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_refs_pack__leaves_what_git_itself_would_leave);
    tcase_add_test(tests, test_refs_pack__waits_until_there_are_many_that_rest);
    tcase_add_loop_test(tests, test_refs_pack__loses_no_reference_whichever_call_fails, 0, 2);
    tcase_add_test(tests, test_refs_pack__leaves_a_reference_that_somebody_moves);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
