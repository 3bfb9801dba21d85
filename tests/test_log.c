#include <check.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"

/* What log_line() writes to stderr: a new string. */
static char *captured(enum log_level level, bool debug, const char *session, const char *text)
{
    char path[] = "/tmp/annal-test-log-XXXXXX";
    int file = mkstemp(path);
    int before = dup(STDERR_FILENO);
    char *line = NULL;

    ck_assert_int_ge(file, 0);
    dup2(file, STDERR_FILENO);
    log_open_stderr(debug);
    log_line(level, session, "%s", text);
    dup2(before, STDERR_FILENO);
    close(before);
    close(file);
    ck_assert(g_file_get_contents(path, &line, NULL, NULL));
    unlink(path);
    return line;
}

static void check_line(const char *text, const char *end)
{
    char *line = captured(LOG_LEVEL_INFO, false, "abc-1", text);

    ck_assert_msg(g_str_has_prefix(line, "time=20"), "%s", line);
    ck_assert_msg(g_str_has_suffix(line, end), "%s", line);
    g_free(line);
}

START_TEST(test_log_line__has_time_level_session_and_text)
{
    check_line("event=x user=jo", "Z level=info session=abc-1 event=x user=jo\n");
    check_line("subject=\xc3\xa9t\xc3\xa9", "subject=\xc3\xa9t\xc3\xa9\n");
}
END_TEST

START_TEST(test_log_line__lets_no_control_character_through)
{
    check_line("a\r\nb\x1b[31mc\td\x7f", " a??b?[31mc?d?\n");
    check_line("bidi \xe2\x80\xae\xe2\x81\xa6 mark \xef\xbb\xbf zwj \xe2\x80\x8d",
               " bidi ?????? mark ??? zwj \xe2\x80\x8d\n");
    check_line("c1 \xc2\x9b line \xe2\x80\xa8 bad \xff\xc3", " c1 ?? line ??? bad ??\n");
}
END_TEST

START_TEST(test_log_line__leaves_debug_out_unless_wanted)
{
    char *quiet = captured(LOG_LEVEL_DEBUG, false, NULL, "event=x");
    char *loud = captured(LOG_LEVEL_DEBUG, true, NULL, "event=x");

    ck_assert_str_eq(quiet, "");
    ck_assert(g_str_has_suffix(loud, "Z level=debug event=x\n"));
    g_free(quiet);
    g_free(loud);
}
END_TEST

START_TEST(test_log_line__cuts_a_long_line_and_ends_it)
{
    char *text = g_strnfill(10000, 'x');
    char *line = captured(LOG_LEVEL_ERROR, false, NULL, text);

    ck_assert_uint_eq(strlen(line), 2047);
    ck_assert(g_str_has_suffix(line, "xxx\n"));
    g_free(line);
    g_free(text);
}
END_TEST

static const struct {
    const char *value;
    const char *quoted;
} quotes[] = {
    {"alice", "alice"},
    {"", "\"\""},
    {"two words", "\"two words\""},
    {"a=b", "\"a=b\""},
    {"say \"hi\"", "\"say \\\"hi\\\"\""},
    {"back\\slash", "\"back\\\\slash\""},
    {"a\r\nb", "a\\x0d\\x0ab"},
    {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
    {"bad \xff", "\"bad \\xff\""},
    {"\xc3", "\\xc3"},
    {"\xc2\x9b", "\\xc2\\x9b"},
    {"x\xe2\x80\xaex", "x\\xe2\\x80\\xaex"},
};

START_TEST(test_log_quote__makes_values_harmless)
{
    char *quoted = log_quote(quotes[_i].value);

    ck_assert_str_eq(quoted, quotes[_i].quoted);
    g_free(quoted);
}
END_TEST

START_TEST(test_log_quote__cuts_long_values_between_characters)
{
    char *value = g_strnfill(199, 'x');
    char *longer = g_strconcat(value, "\xc3\xa9yy", NULL);
    char *expected = g_strconcat(value, "...", NULL);
    char *quoted = log_quote(longer);

    ck_assert_str_eq(quoted, expected);
    g_free(quoted);
    g_free(expected);
    g_free(longer);
    g_free(value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    SRunner *runner = srunner_create(suite);

    tcase_add_test(tcase, test_log_line__has_time_level_session_and_text);
    tcase_add_test(tcase, test_log_line__lets_no_control_character_through);
    tcase_add_test(tcase, test_log_line__leaves_debug_out_unless_wanted);
    tcase_add_test(tcase, test_log_line__cuts_a_long_line_and_ends_it);
    tcase_add_loop_test(tcase, test_log_quote__makes_values_harmless, 0, G_N_ELEMENTS(quotes));
    tcase_add_test(tcase, test_log_quote__cuts_long_values_between_characters);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
