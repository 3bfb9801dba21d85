#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "server/git_progress.h"

static const char *const STAGES[OBSERVER_STAGE_COUNT] = {
    [OBSERVER_OBJECTS] = "objects",
    [OBSERVER_WRITE] = "write",
    [OBSERVER_UNPACK] = "unpack",
    [OBSERVER_DELTAS] = "deltas",
};

static void on_step(const struct git_step *step, void *data)
{
    ck_assert_ptr_nonnull(STAGES[step->stage]);
    g_string_append_printf(data, "%s %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT "; ",
                           STAGES[step->stage], step->done, step->total);
}

static void on_line(const char *line, void *data)
{
    g_string_append_printf(data, "'%s'; ", line);
}

/* split: where the text is cut in two. */
static void check(const char *text, const char *expected, size_t split)
{
    GString *heard = g_string_new(NULL);
    struct git_progress progress;

    git_progress_init(&progress, on_step, on_line, heard);
    git_progress_feed(&progress, text, split);
    git_progress_feed(&progress, text + split, strlen(text) - split);
    git_progress_end(&progress);
    ck_assert_str_eq(heard->str, expected);
    g_string_free(heard, TRUE);
}

START_TEST(test_git_progress__tells_steps_from_what_people_should_read)
{
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"", ""},
        {"\n\r\n   \r", ""},
        {"Receiving objects:   0% (0/3)\rReceiving objects:  33% (1/3)\r",
         "unpack 0/3; unpack 1/3; "},
        {"Receiving objects: 100% (3/3), 1.20 MiB | 3.00 MiB/s, done.\n", "unpack 3/3; "},
        {"Indexing objects:  50% (1/2)", "unpack 1/2; "},
        {"Resolving deltas:   7% (70/1000)   \r", "deltas 70/1000; "},
        {"Enumerating objects: 12\rEnumerating objects: 120, done.\n",
         "objects 12/0; objects 120/0; "},
        {"Counting objects:  10% (1/10)   \r", "objects 1/10; "},
        {"Writing objects: 100% (10/10), 99 bytes | 99.00 KiB/s, done.\n"
         "Total 10 (delta 0), reused 0 (delta 0), pack-reused 0\n",
         "write 10/10; "},
        {"Total loss\n", "'Total loss'; "},
        {"Checking connectivity: 3\n", "'Checking connectivity: 3'; "},
        {"fatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n",
         "'fatal: early EOF'; 'fatal: fetch-pack: invalid index-pack output'; "},
        {"Receiving objects: many\n", "'Receiving objects: many'; "},
        {"Receiving objects: 5%\n", "'Receiving objects: 5%'; "},
        {"Receiving objects: 5% (1/\n", "'Receiving objects: 5% (1/'; "},
        {"Receiving objects: 5% (1/2\n", "'Receiving objects: 5% (1/2'; "},
        {"Receiving objects: 5% (/2)\n", "'Receiving objects: 5% (/2)'; "},
        {"Receiving objects: 5x\n", "'Receiving objects: 5x'; "},
        {"Receiving objects:\n", "'Receiving objects:'; "},
        {"Receiving: 5\n", "'Receiving: 5'; "},
        {"error: no space left", "'error: no space left'; "},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        for (size_t split = 0; split <= strlen(cases[i].text); split++)
            check(cases[i].text, cases[i].expected, split);
}
END_TEST

START_TEST(test_git_progress__cuts_long_lines_and_survives_any_octets)
{
    GString *heard = g_string_new(NULL);
    char text[2 * GIT_LINE_MAX + 1];
    struct git_progress progress;

    memset(text, 'x', sizeof(text));
    text[3] = '\0';
    git_progress_init(&progress, on_step, on_line, heard);
    git_progress_feed(&progress, text, sizeof(text));
    git_progress_end(&progress);
    ck_assert_uint_eq(heard->len, sizeof(text) + 3 * strlen("''; "));
    ck_assert(g_str_has_prefix(heard->str, "'xxx xxx"));
    g_string_free(heard, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("git_progress");
    TCase *cases = tcase_create("git_progress");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_git_progress__tells_steps_from_what_people_should_read);
    tcase_add_test(cases, test_git_progress__cuts_long_lines_and_survives_any_octets);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
