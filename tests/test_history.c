#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/history.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

struct seen {
    GString *text;
    size_t stop_after; /* 0: never */
    size_t count;
};

static int note(const struct history_entry *entry, void *data)
{
    struct seen *seen = data;

    g_string_append_printf(seen->text, "%s|%s|%s|%s|%lld|%d\n", entry->subject, entry->client,
                           entry->command, entry->session, (long long)entry->time, entry->zone);
    seen->count++;
    return seen->stop_after == seen->count;
}

START_TEST(test_history__tells_newest_first_in_the_words_of_the_commits)
{
    struct seen seen = {.text = g_string_new(NULL)};

    fixture.origin.client = "Mutt 2";
    append_text(&fixture, inbox, "Subject: hello\n\n");
    fixture.origin.time = INT64_C(1795000100000000);
    fixture.origin.client = NULL;
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    ck_assert_int_eq(history_walk(fixture.path, "inbox", 0, note, &seen, &error), 0);
    ck_assert_str_eq(seen.text->str, "STORE uid 1 +\\Seen||TEST|s1|1795000100|0\n"
                                     "APPEND uid 1: hello|Mutt 2|TEST|s1|1795000000|0\n"
                                     "CREATE mailbox INBOX|test client|TEST|s1|1795000000|0\n");
    g_string_free(seen.text, TRUE);
}
END_TEST

START_TEST(test_history__stops_at_its_limit_or_when_told)
{
    struct seen seen = {.text = g_string_new(NULL)};

    for (int i = 0; i < 5; i++) {
        append_text(&fixture, inbox, "x");
    }
    ck_assert_int_eq(history_walk(fixture.path, "INBOX", 3, note, &seen, &error), 0);
    ck_assert_uint_eq(seen.count, 3);
    seen.count = 0;
    seen.stop_after = 2;
    ck_assert_int_eq(history_walk(fixture.path, "INBOX", 0, note, &seen, &error), 0);
    ck_assert_uint_eq(seen.count, 2);
    g_string_free(seen.text, TRUE);
}
END_TEST

START_TEST(test_history__makes_foreign_words_harmless)
{
    struct seen seen = {.text = g_string_new(NULL)};
    g_autofree char *tree = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX^{tree}"));
    g_autofree char *commit =
        g_strchomp(GIT_OUTPUT(fixture.path, "commit-tree", tree, "-p", "INBOX", "-m",
                              "\033[31mred\n\nClient: \342\200\256x"));

    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", commit));
    ck_assert_int_eq(history_walk(fixture.path, "INBOX", 1, note, &seen, &error), 0);
    ck_assert(g_str_has_prefix(seen.text->str, "?[31mred|?x|||"));
    g_string_free(seen.text, TRUE);
}
END_TEST

START_TEST(test_history__refuses_what_is_not_there)
{
    struct seen seen = {.text = g_string_new(NULL)};

    ck_assert_int_eq(history_walk(fixture.path, "nothing", 0, note, &seen, &error),
                     STORE_NOT_FOUND);
    ck_assert_int_eq(history_walk(fixture.path, "a//b", 0, note, &seen, &error), STORE_BAD_NAME);
    ck_assert_int_lt(history_walk(fixture.directory, "INBOX", 0, note, &seen, &error), 0);
    g_string_free(seen.text, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("history");
    TCase *cases = tcase_create("history");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_history__tells_newest_first_in_the_words_of_the_commits);
    tcase_add_test(cases, test_history__stops_at_its_limit_or_when_told);
    tcase_add_test(cases, test_history__makes_foreign_words_harmless);
    tcase_add_test(cases, test_history__refuses_what_is_not_there);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
