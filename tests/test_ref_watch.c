/* Branches that somebody else moves are noticed. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/ref_watch.h"
#include "tests/store_fixture.h"

static char *directory;
static struct ref_watch *watch;

static void make(const char *name)
{
    char *path = fixture_path(directory, name);

    ck_assert_int_eq(mkdir(path, 0700), 0);
    free(path);
}

static void set_up(void)
{
    directory = fixture_directory();
    make("a");
    make("a/refs");
    make("a/refs/heads");
    make("b");
    make("b/refs");
    make("b/refs/heads");
    watch = ref_watch_new();
    ck_assert_ptr_nonnull(watch);
}

static void tear_down(void)
{
    ref_watch_free(watch);
    fixture_remove(directory);
}

static void keep(const char *user)
{
    char *path = fixture_path(directory, user);

    ref_watch_keep(watch, user, path);
    free(path);
}

static void keep_both(void)
{
    ref_watch_begin(watch);
    keep("a");
    keep("b");
    ref_watch_end(watch);
}

/* As git moves a reference. */
static void move(const char *name)
{
    char *path = fixture_path(directory, name);
    char *lock = g_strconcat(path, ".lock", NULL);
    int fd = open(lock, O_CREAT | O_WRONLY | O_EXCL, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(rename(lock, path), 0);
    g_free(lock);
    free(path);
}

static bool is_readable(void)
{
    struct pollfd pollfd = {.fd = ref_watch_fd(watch), .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

static void check_taken(const char *first, const char *second)
{
    GPtrArray *users = ref_watch_take(watch);

    ck_assert_uint_eq(users->len, (first != NULL) + (second != NULL));
    if (first != NULL) {
        ck_assert_str_eq(users->pdata[0], first);
    }
    if (second != NULL) {
        ck_assert_str_eq(users->pdata[1], second);
    }
    g_ptr_array_unref(users);
    ck_assert(!is_readable());
}

START_TEST(test_ref_watch__tells_whose_branch_moved)
{
    keep_both();
    ck_assert(!is_readable());
    check_taken(NULL, NULL);
    move("a/refs/heads/INBOX");
    move("a/refs/heads/Sent");
    ck_assert(is_readable());
    check_taken("a", NULL);
    move("b/packed-refs");
    move("a/refs/heads/INBOX");
    check_taken("b", "a");
}
END_TEST

START_TEST(test_ref_watch__forgets_who_is_not_kept)
{
    keep_both();
    ref_watch_begin(watch);
    keep("b");
    ref_watch_end(watch);
    check_taken(NULL, NULL);
    move("a/refs/heads/INBOX");
    check_taken(NULL, NULL);
    move("b/refs/heads/INBOX");
    check_taken("b", NULL);
}
END_TEST

START_TEST(test_ref_watch__follows_a_directory_that_is_made_anew)
{
    char *heads = fixture_path(directory, "a/refs/heads");

    keep_both();
    ck_assert_int_eq(rmdir(heads), 0);
    check_taken("a", NULL);
    make("a/refs/heads");
    keep_both();
    move("a/refs/heads/INBOX");
    check_taken("a", NULL);
    free(heads);
}
END_TEST

START_TEST(test_ref_watch__does_without)
{
    GPtrArray *users = ref_watch_take(NULL);

    ref_watch_begin(NULL);
    ref_watch_keep(NULL, "a", "/nowhere");
    ref_watch_end(NULL);
    ck_assert_int_eq(ref_watch_fd(NULL), -1);
    ck_assert_uint_eq(users->len, 0);
    g_ptr_array_unref(users);
    ref_watch_begin(watch);
    ref_watch_keep(watch, "c", "/nowhere/at/all");
    ref_watch_end(watch);
    check_taken(NULL, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ref_watch");
    TCase *tcase = tcase_create("ref_watch");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_ref_watch__tells_whose_branch_moved);
    tcase_add_test(tcase, test_ref_watch__forgets_who_is_not_kept);
    tcase_add_test(tcase, test_ref_watch__follows_a_directory_that_is_made_anew);
    tcase_add_test(tcase, test_ref_watch__does_without);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
