#include <check.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/users.h"

static char directory[64];
static char path[96];

static void setup(void)
{
    snprintf(directory, sizeof(directory), "%s", "/tmp/test-users-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/users", directory);
}

static void teardown(void)
{
    static const char *const suffixes[] = {"", ".lock", ".new"};

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        char *name = g_strdup_printf("%s%s", path, suffixes[i]);

        unlink(name);
        g_free(name);
    }
    rmdir(directory);
}

static void write_users(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static struct users *open_users(void)
{
    char *problem = NULL;
    struct users *users = users_open(path, &problem);

    ck_assert_msg(users != NULL, "%s", problem);
    users_set_cost(users, 1);
    return users;
}

static enum users_result add(struct users *users, const char *user, const char *password)
{
    char *problem = NULL;
    enum users_result result = users_add(users, user, password, &problem);

    g_free(problem);
    return result;
}

START_TEST(a_missing_file_is_an_empty_one)
{
    struct users *users = open_users();

    ck_assert(!users_exists(users, "alice"));
    ck_assert(!users_check(users, "alice", "alice"));
    users_free(users);
}
END_TEST

START_TEST(checks_passwords)
{
    struct users *users = open_users();

    ck_assert_int_eq(add(users, "alice", "s3cret: with colon"), USERS_OK);
    ck_assert_int_eq(add(users, "b\xc3\xb6rge@example.org", "x"), USERS_OK);
    ck_assert(users_check(users, "alice", "s3cret: with colon"));
    ck_assert(!users_check(users, "alice", "s3cret: with colo"));
    ck_assert(!users_check(users, "alice", ""));
    ck_assert(!users_check(users, "Alice", "s3cret: with colon"));
    ck_assert(users_check(users, "b\xc3\xb6rge@example.org", "x"));
    ck_assert(!users_check(users, "", "x"));
    users_free(users);
}
END_TEST

START_TEST(hashes_with_yescrypt_and_never_stores_the_password)
{
    struct users *users = open_users();
    char text[1024] = "";
    struct stat status;
    FILE *file;

    ck_assert_int_eq(add(users, "alice", "visible-password"), USERS_OK);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    ck_assert(g_str_has_prefix(text, "alice:$y$"));
    ck_assert_ptr_null(strstr(text, "visible-password"));
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    users_free(users);
}
END_TEST

START_TEST(changes_keep_other_lines)
{
    struct users *users;
    char *problem = NULL;
    GPtrArray *names;
    char text[2048] = "";
    FILE *file;

    write_users("# the staff\nzoe:*\n\nbob:$y$j75$x$y");
    users = open_users();
    ck_assert_int_eq(add(users, "alice", "a"), USERS_OK);
    ck_assert_int_eq(add(users, "alice", "a"), USERS_TAKEN);
    ck_assert_int_eq(users_set_password(users, "alice", "b", &problem), USERS_OK);
    ck_assert_int_eq(users_set_password(users, "carol", "b", &problem), USERS_MISSING);
    ck_assert_int_eq(users_delete(users, "zoe", &problem), USERS_OK);
    ck_assert_int_eq(users_delete(users, "zoe", &problem), USERS_MISSING);
    ck_assert(users_check(users, "alice", "b"));
    ck_assert(!users_check(users, "alice", "a"));
    names = users_list(users);
    ck_assert_uint_eq(names->len, 2);
    ck_assert_str_eq(g_ptr_array_index(names, 0), "alice");
    ck_assert_str_eq(g_ptr_array_index(names, 1), "bob");
    g_ptr_array_unref(names);
    file = fopen(path, "r");
    ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    ck_assert(g_str_has_prefix(text, "# the staff\n\nbob:$y$j75$x$y\nalice:$y$"));
    users_free(users);
}
END_TEST

START_TEST(refuses_names_and_passwords_that_do_not_fit)
{
    struct users *users = open_users();
    char *name = g_strnfill(USERS_NAME_MAX + 1, 'n');
    char *password = g_strnfill(USERS_PASSWORD_MAX + 1, 'p');

    ck_assert_int_eq(add(users, "", "x"), USERS_BAD_NAME);
    ck_assert_int_eq(add(users, "a:b", "x"), USERS_BAD_NAME);
    ck_assert_int_eq(add(users, "a\nb", "x"), USERS_BAD_NAME);
    ck_assert_int_eq(add(users, "#a", "x"), USERS_BAD_NAME);
    ck_assert_int_eq(add(users, name, "x"), USERS_BAD_NAME);
    ck_assert_int_eq(add(users, "a", ""), USERS_BAD_PASSWORD);
    ck_assert_int_eq(add(users, "a", password), USERS_BAD_PASSWORD);
    password[USERS_PASSWORD_MAX] = '\0';
    ck_assert_int_eq(add(users, "a", password), USERS_OK);
    ck_assert(users_check(users, "a", password));
    password[USERS_PASSWORD_MAX - 1] = '\0';
    ck_assert(!users_check(users, "a", password));
    g_free(name);
    g_free(password);
    users_free(users);
}
END_TEST

START_TEST(notices_changes_by_others)
{
    struct users *ours = open_users();
    struct users *others = open_users();

    ck_assert_int_eq(add(others, "alice", "a"), USERS_OK);
    ck_assert(users_check(ours, "alice", "a"));
    ck_assert_int_eq(add(ours, "bob", "b"), USERS_OK);
    ck_assert(users_exists(others, "bob"));
    ck_assert(users_exists(others, "alice"));
    users_free(ours);
    users_free(others);
}
END_TEST

START_TEST(a_file_that_became_malformed_keeps_the_last_good_state)
{
    struct users *users = open_users();

    ck_assert_int_eq(add(users, "alice", "a"), USERS_OK);
    ck_assert(users_check(users, "alice", "a"));
    write_users("no colon here\n");
    ck_assert(users_check(users, "alice", "a"));
    write_users("");
    ck_assert(!users_check(users, "alice", "a"));
    users_free(users);
}
END_TEST

START_TEST(names_file_and_line_of_what_is_wrong)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"a:*\nb\n", ":2: no ':' after the name"},
        {":x\n", ":1: no name"},
        {"# c\n\na:\n", ":3: no hash"},
        {"a:*\na:*\n", ":2: the name stands twice"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *problem = NULL;
        char *expected = g_strconcat(path, cases[i].problem, NULL);

        write_users(cases[i].text);
        ck_assert_ptr_null(users_open(path, &problem));
        ck_assert_str_eq(problem, expected);
        g_free(problem);
        g_free(expected);
    }
}
END_TEST

START_TEST(understands_further_fields_and_locked_users)
{
    struct users *users;

    write_users("a:*:1000:more\nb:!\n");
    users = open_users();
    ck_assert(users_exists(users, "a"));
    ck_assert(!users_check(users, "a", "*"));
    ck_assert(!users_check(users, "b", "!"));
    ck_assert(!users_check(users, "b", ""));
    users_free(users);
}
END_TEST

static int64_t check_time(struct users *users, const char *user)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        struct timespec before;
        struct timespec after;
        int64_t took;

        clock_gettime(CLOCK_MONOTONIC, &before);
        ck_assert(!users_check(users, user, "wrong"));
        clock_gettime(CLOCK_MONOTONIC, &after);
        took = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
        best = MIN(best, took);
    }
    return best;
}

START_TEST(an_unknown_user_takes_as_long_as_a_wrong_password)
{
    struct users *users = open_users();
    int64_t known;
    int64_t unknown;

    users_set_cost(users, 5);
    ck_assert_int_eq(add(users, "alice", "a"), USERS_OK);
    known = check_time(users, "alice");
    unknown = check_time(users, "nobody");
    /* The best of several runs on a busy machine: a hash not made at all is 1000 times faster. */
    ck_assert_int_gt(unknown * 3, known);
    ck_assert_int_gt(known * 3, unknown);
    users_free(users);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("users");
    TCase *tcase = tcase_create("users");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_missing_file_is_an_empty_one);
    tcase_add_test(tcase, checks_passwords);
    tcase_add_test(tcase, hashes_with_yescrypt_and_never_stores_the_password);
    tcase_add_test(tcase, changes_keep_other_lines);
    tcase_add_test(tcase, refuses_names_and_passwords_that_do_not_fit);
    tcase_add_test(tcase, notices_changes_by_others);
    tcase_add_test(tcase, a_file_that_became_malformed_keeps_the_last_good_state);
    tcase_add_test(tcase, names_file_and_line_of_what_is_wrong);
    tcase_add_test(tcase, understands_further_fields_and_locked_users);
    tcase_add_test(tcase, an_unknown_user_takes_as_long_as_a_wrong_password);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
