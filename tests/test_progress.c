#include <check.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/progress.h"

START_TEST(test_progress__line_fits)
{
    static const struct {
        struct progress_state state;
        unsigned columns;
        const char *expected;
    } cases[] = {
        {{"import", "messages", 1200, 4000, 4, 350},
         80,
         "import   30%  [======>              ]  1,200 of 4,000 messages  350/s  0:08 left"},
        {{"import", "messages", 1200, 4000, 4, 350},
         60,
         "import   30%  1,200 of 4,000 messages  350/s  0:08 left"},
        {{"import", "messages", 1200, 4000, 4, 350}, 12, "import   30%"},
        {{"import", "messages", 1200, 4000, 4, 350},
         0,
         "import   30%  1,200 of 4,000 messages  350/s  0:08 left"},
        {{"gc", NULL, 1500000, 0, 75, 2e6}, 80, "gc  1.5 MB  2.0 MB/s  1:15"},
        {{"gc", NULL, 10000000, 10000000, 75, 2e6},
         0,
         "gc  100%  10.0 MB of 10.0 MB  2.0 MB/s  1:15"},
        {{"x", "n", 9999999, 5, 3, 0}, 0, "x  100%  9,999,999 of 5 n  0:03"},
        {{"x", "n", 1, 1000000, 3, 10}, 0, "x    0%  1 of 1,000,000 n  10/s  27:46:40 left"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GString *line = g_string_new("before");

        progress_line(line, &cases[i].state, cases[i].columns);
        ck_assert_str_eq(line->str + strlen("before"), cases[i].expected);
        if (cases[i].columns > 0)
            ck_assert_uint_le(line->len - strlen("before"), cases[i].columns);
        g_string_free(line, TRUE);
    }
}
END_TEST

START_TEST(test_progress__is_never_wider_than_the_terminal)
{
    struct progress_state state = {"import", "messages", 0, 123456789, 100, 12345};

    for (unsigned columns = 1; columns <= PROGRESS_WIDTH_MAX; columns++) {
        for (state.done = 0; state.done <= state.total; state.done += state.total / 7) {
            GString *line = g_string_new(NULL);

            progress_line(line, &state, columns);
            ck_assert_uint_le(line->len, columns);
            g_string_free(line, TRUE);
        }
    }
}
END_TEST

START_TEST(test_progress__modes)
{
    enum progress_mode mode = PROGRESS_NONE;

    ck_assert(progress_mode_parse(&mode, "auto"));
    ck_assert_int_eq(mode, PROGRESS_AUTO);
    ck_assert(progress_mode_parse(&mode, "plain"));
    ck_assert_int_eq(mode, PROGRESS_PLAIN);
    ck_assert(!progress_mode_parse(&mode, "bar"));
    ck_assert(!progress_mode_parse(&mode, ""));
}
END_TEST

/* What is no terminal stays as it is, and nothing is said in the first seconds. */
START_TEST(test_progress__is_silent_where_it_is_not_wanted)
{
    enum progress_mode modes[] = {PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_NONE};

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        FILE *stream = tmpfile();
        struct progress *progress = progress_new(stream, modes[i], "x", "messages");

        progress_total(progress, 10, "messages");
        for (unsigned j = 0; j < 10; j++)
            progress_update(progress, j);
        progress_pause(progress);
        progress_free(progress);
        ck_assert_int_eq(ftell(stream), 0);
        fclose(stream);
    }
    progress_free(NULL);
}
END_TEST

/* After the first seconds a line comes. */
START_TEST(test_progress__plain_lines)
{
    FILE *stream = tmpfile();
    struct progress *progress = progress_new(stream, PROGRESS_PLAIN, "import", "messages");
    int64_t start = g_get_monotonic_time();
    char line[100] = "";

    progress_total(progress, 4000, "messages");
    while (ftell(stream) == 0 && g_get_monotonic_time() - start < 60 * G_USEC_PER_SEC) {
        progress_update(progress, 1200);
        g_usleep(10000);
    }
    ck_assert_int_ge(g_get_monotonic_time() - start, PROGRESS_QUIET_SECONDS * G_USEC_PER_SEC);
    progress_update(progress, 1300);
    rewind(stream);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), stream));
    ck_assert_msg(g_str_has_prefix(line, "import   30%  1,200 of 4,000 messages  "), "%s", line);
    ck_assert_ptr_null(fgets(line, sizeof(line), stream));
    progress_free(progress);
    fclose(stream);
}
END_TEST

/* On a terminal a line is drawn over itself, and wiped for other text and in the end. */
START_TEST(test_progress__on_a_terminal)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct progress *progress;
    char seen[4096] = "";
    size_t length = 0;
    FILE *stream;

    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    stream = fopen(ptsname(master), "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_int_eq(fcntl(master, F_SETFL, O_NONBLOCK), 0);
    progress = progress_new(stream, PROGRESS_AUTO, "import", "messages");
    progress_total(progress, 4000, "messages");
    for (int i = 0; i < 6000 && strstr(seen, "30%") == NULL; i++) {
        ssize_t got = read(master, seen + length, sizeof(seen) - 1 - length);

        length += got > 0 ? (size_t)got : 0;
        progress_update(progress, 1200);
        g_usleep(10000);
    }
    ck_assert_ptr_nonnull(strstr(seen, "\rimport   30%  ["));
    progress_free(progress);
    length = 0;
    while (length < 4 || memcmp(seen + length - 4, "\r\033[K", 4) != 0) {
        ssize_t got = read(master, seen + length, sizeof(seen) - 1 - length);

        ck_assert(got > 0);
        length += (size_t)got;
    }
    fclose(stream);
    close(master);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("progress");
    TCase *tests = tcase_create("progress");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, test_progress__line_fits);
    tcase_add_test(tests, test_progress__is_never_wider_than_the_terminal);
    tcase_add_test(tests, test_progress__modes);
    tcase_add_test(tests, test_progress__is_silent_where_it_is_not_wanted);
    tcase_add_test(tests, test_progress__plain_lines);
    tcase_add_test(tests, test_progress__on_a_terminal);
    tcase_set_timeout(tests, 90);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
