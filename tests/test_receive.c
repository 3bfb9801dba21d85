/* What may be pushed into an account, and the hooks that ask. */
#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/receive.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

#define INDEX "00/00/00/00/index"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static char *work;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
    append_many(&fixture, inbox, 4);
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    work = fixture_path(fixture.directory, "work");
    ck_assert(GIT("/", "clone", "-q", "-b", "INBOX", fixture.path, work));
}

static void tear_down(void)
{
    free(work);
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static struct object_id id_of(const char *directory, const char *name)
{
    g_autofree char *text = GIT_OUTPUT(directory, "rev-parse", name);
    struct object_id id;

    ck_assert_ptr_nonnull(text);
    ck_assert(object_id_parse(&id, g_strchomp(text)));
    return id;
}

static void edit(const char *file, const char *from, const char *to)
{
    g_autofree char *path = fixture_path(work, file);
    g_autofree char *text = NULL;
    const char *at;

    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    at = strstr(text, from);
    ck_assert_msg(at != NULL, "%s: no %s", file, from);
    g_autofree char *edited =
        g_strdup_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    ck_assert(g_file_set_contents(path, edited, -1, NULL));
}

static void put(const char *file, const char *text)
{
    g_autofree char *path = fixture_path(work, file);

    ck_assert(g_file_set_contents(path, text, -1, NULL));
}

/* What the hook would say to the work tree as a commit. */
static int check(const char *reference)
{
    struct object_id before = {{0}};
    struct object_id after;

    ck_assert(GIT(work, "add", "-A"));
    ck_assert(GIT(work, "commit", "-q", "--allow-empty", "-m", "by hand"));
    ck_assert(GIT(work, "push", "-q", "-f", "origin", "HEAD:refs/tries/one"));
    if (strcmp(reference, "refs/heads/INBOX") == 0) {
        before = id_of(fixture.path, reference);
    }
    after = id_of(work, "HEAD");
    return receive_check(fixture.path, reference, &before, &after, &error);
}

START_TEST(test_receive__takes_what_keeps_uids)
{
    ck_assert_int_eq(check("refs/heads/INBOX"), 0);
    edit(INDEX, " 20\n", " 20 \\Seen\n");
    ck_assert_int_eq(check("refs/heads/INBOX"), 0);
    ck_assert(GIT(work, "reset", "-q", "--hard", "origin/INBOX"));
    ck_assert(GIT(work, "revert", "--no-edit", "HEAD")); /* the expunge */
    ck_assert_int_eq(check("refs/heads/INBOX"), 0);
    ck_assert_int_eq(check("refs/tags/mine"), 0);
}
END_TEST

START_TEST(test_receive__refuses_what_breaks_a_mailbox)
{
    static const struct {
        const char *file;
        const char *from; /* NULL: to is all of the file */
        const char *to;
        int expected;
        const char *reason;
    } cases[] = {
        {INDEX, "3 ", "3  ", STORE_CORRUPT, ""},
        {"00/00/00/00/03", NULL, "other", STORE_FORBIDDEN, "another message than before"},
        {INDEX, " 20\n", " 21\n", STORE_CORRUPT, "its line says 21"},
        {"mailbox", "format 1", "format 2", STORE_UNSUPPORTED, ""},
        {"mailbox", "mailboxid M", "mailboxid X", STORE_FORBIDDEN, "must stay"},
        {"strange", NULL, "file", STORE_CORRUPT, ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (cases[i].from != NULL) {
            edit(cases[i].file, cases[i].from, cases[i].to);
        } else {
            put(cases[i].file, cases[i].to);
        }
        ck_assert_int_eq(check("refs/heads/INBOX"), cases[i].expected);
        ck_assert_msg(strstr(error.detail, cases[i].reason) != NULL, "%s", error.detail);
        ck_assert(GIT(work, "reset", "-q", "--hard", "origin/INBOX"));
    }
}
END_TEST

/* Where the leaf that has it is the one that is there already. */
START_TEST(test_receive__refuses_a_list_without_a_keyword_in_use)
{
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, 0, "later"), 0);
    ck_assert(GIT(work, "pull", "-q", "--ff-only"));
    edit("mailbox", "keywords later\n", "");
    ck_assert_int_eq(check("refs/heads/INBOX"), STORE_CORRUPT);
    /* On the way, too. */
    ck_assert(GIT(work, "checkout", "-q", "origin/INBOX", "--", "mailbox"));
    ck_assert_int_eq(check("refs/heads/INBOX"), STORE_CORRUPT);
    ck_assert(GIT(work, "reset", "-q", "--hard", "origin/INBOX"));
    ck_assert_int_eq(check("refs/heads/INBOX"), 0);
}
END_TEST

START_TEST(test_receive__looks_at_each_commit_on_the_way)
{
    edit(INDEX, "3 ", "3  ");
    ck_assert_int_ne(check("refs/heads/INBOX"), 0);
    edit(INDEX, "3  ", "3 ");
    ck_assert_int_eq(check("refs/heads/INBOX"), STORE_CORRUPT);
}
END_TEST

START_TEST(test_receive__a_used_uid_names_its_own_message_only)
{
    put("00/00/00/00/02", "other");
    edit(INDEX, "\n", "\n2 3 2026-11-17T10:00:00+0100 5\n");
    ck_assert_int_eq(check("refs/heads/INBOX"), STORE_FORBIDDEN);
    ck_assert_ptr_nonnull(strstr(error.detail, "uid 2 was that of another message"));
}
END_TEST

START_TEST(test_receive__refuses_references_that_are_no_business_of_others)
{
    struct object_id before = id_of(fixture.path, "refs/heads/INBOX");
    struct object_id none = {{0}};

    ck_assert_int_eq(check("refs/heads/Copy"), STORE_FORBIDDEN); /* the same mailboxid */
    ck_assert_int_eq(check("refs/heads/a%41"), STORE_FORBIDDEN);
    ck_assert_int_eq(check("refs/deleted/X/1"), STORE_FORBIDDEN);
    ck_assert_int_eq(check("refs/annal/other"), STORE_FORBIDDEN);
    ck_assert_int_ne(check("refs/annal/account"), 0);
    ck_assert_int_eq(receive_check(fixture.path, "refs/heads/INBOX", &before, &none, &error),
                     STORE_FORBIDDEN);
}
END_TEST

START_TEST(test_receive__refuses_what_is_not_built_on_the_old)
{
    struct object_id before = id_of(fixture.path, "refs/heads/INBOX");
    struct object_id older = id_of(fixture.path, "refs/heads/INBOX~1");

    ck_assert_int_eq(receive_check(fixture.path, "refs/heads/INBOX", &before, &older, &error),
                     STORE_FORBIDDEN);
    ck_assert_int_eq(receive_check(fixture.path, "refs/heads/INBOX", &older, &before, &error), 0);
}
END_TEST

START_TEST(test_receive__settles_what_imap_does_not_allow)
{
    struct object_id before = id_of(fixture.path, "refs/heads/INBOX");

    mailbox_unref(inbox);
    ck_assert(GIT(work, "revert", "--no-edit", "HEAD"));
    ck_assert(GIT(work, "push", "-q", "origin", "INBOX"));
    mail_fixture_reopen(&fixture);
    ck_assert_int_eq(receive_settle(fixture.account, "refs/heads/INBOX", &before, &error), 0);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert(!has_message(inbox, 2));
    ck_assert(has_message(inbox, 5));
    /* What is none of its business is left alone. */
    ck_assert_int_eq(receive_settle(fixture.account, "refs/tags/x", &before, &error), 0);
}
END_TEST

START_TEST(test_receive__installs_its_own_hooks_only)
{
    g_autofree char *update = fixture_path(fixture.path, "hooks/update");
    g_autofree char *done = fixture_path(fixture.path, "hooks/post-receive");
    g_autofree char *text = NULL;

    ck_assert_int_eq(receive_install(fixture.path, "/it's/annal", host_system(), &error), 0);
    ck_assert_int_ne(access(update, F_OK), 0);
    ck_assert_int_eq(receive_install(fixture.path, "/old/annal", host_system(), &error), 0);
    ck_assert_int_eq(receive_install(fixture.path, "/new/annal", host_system(), &error), 0);
    ck_assert(g_file_get_contents(update, &text, NULL, NULL));
    ck_assert_ptr_nonnull(strstr(text, "annal='/new/annal'"));
    ck_assert_ptr_null(strstr(text, "/old"));
    ck_assert_int_eq(access(update, X_OK) | access(done, X_OK), 0);
    ck_assert(g_file_set_contents(update, "#!/bin/sh\nexit 0\n", -1, NULL));
    ck_assert_int_eq(receive_install(fixture.path, "/new/annal", host_system(), &error), 0);
    g_clear_pointer(&text, g_free);
    ck_assert(g_file_get_contents(update, &text, NULL, NULL));
    ck_assert_str_eq(text, "#!/bin/sh\nexit 0\n");
}
END_TEST

/* Without the program nothing is taken. */
START_TEST(test_receive__the_hook_refuses_when_the_program_is_gone)
{
    g_autofree char *update = fixture_path(fixture.path, "hooks/update");
    char *const arguments[] = {update, (char *)"refs/heads/INBOX", (char *)"1", (char *)"2", NULL};
    char *const environment[] = {(char *)"PATH=/nowhere", NULL};
    int status = 0;

    ck_assert_int_eq(receive_install(fixture.path, "/gone/annal", host_system(), &error), 0);
    ck_assert(g_spawn_sync(NULL, (char **)arguments, (char **)environment,
                           G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL, &status, NULL));
    ck_assert_int_ne(status, 0);
    unlink(update);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("receive");
    TCase *tcase = tcase_create("receive");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_receive__takes_what_keeps_uids);
    tcase_add_test(tcase, test_receive__refuses_what_breaks_a_mailbox);
    tcase_add_test(tcase, test_receive__refuses_a_list_without_a_keyword_in_use);
    tcase_add_test(tcase, test_receive__looks_at_each_commit_on_the_way);
    tcase_add_test(tcase, test_receive__a_used_uid_names_its_own_message_only);
    tcase_add_test(tcase, test_receive__refuses_references_that_are_no_business_of_others);
    tcase_add_test(tcase, test_receive__refuses_what_is_not_built_on_the_old);
    tcase_add_test(tcase, test_receive__settles_what_imap_does_not_allow);
    tcase_add_test(tcase, test_receive__installs_its_own_hooks_only);
    tcase_add_test(tcase, test_receive__the_hook_refuses_when_the_program_is_gone);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
