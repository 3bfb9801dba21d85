#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/control.h"

static const char *const words[][4] = {
    {"who"},
    {"kick", "user", "alice"},
    {"kick", "user", "tab\there"},
    {"kick", "user", "line\nend"},
    {"kick", "user", "back\\slash\\t\\n\\\\"},
    {"kick", "user", "ends in \\"},
    {"", "", ""},
    {"kick", "user", "J\xc3\xb6rg \"x\""},
};

START_TEST(test_control__any_word_comes_back_from_its_field)
{
    char *line = control_request(words[_i]);
    char **fields = control_fields(line);
    guint count = 0;

    ck_assert_ptr_null(strchr(line, '\n'));
    for (; words[_i][count] != NULL; count++)
        ck_assert_str_eq(fields[count], words[_i][count]);
    ck_assert_uint_eq(g_strv_length(fields), count);
    g_strfreev(fields);
    g_free(line);
}
END_TEST

static const struct {
    const char *line;
    const char *first;
    guint count;
} lines[] = {
    {"a", "a", 1},   {"a\t", "a", 2},     {"\t\t", "", 3},  {"\\", "\\", 1},      {"a\\", "a\\", 1},
    {"\\q", "q", 1}, {"\\\\t", "\\t", 1}, {"\\t", "\t", 1}, {"a\\\tb", "a\\", 2},
};

START_TEST(test_control__fields_of_any_line_can_be_read)
{
    char **fields = control_fields(lines[_i].line);

    ck_assert_uint_eq(g_strv_length(fields), lines[_i].count);
    ck_assert_str_eq(fields[0], lines[_i].first);
    g_strfreev(fields);
}
END_TEST

START_TEST(test_control__without_a_server_it_is_absent)
{
    static const char *const paths[] = {"/nonexistent/control", "nonexistent"};
    GPtrArray *answer = NULL;
    char *problem = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        ck_assert_int_eq(control_ask(paths[i], "who", &answer, &problem), CONTROL_ABSENT);
        ck_assert_ptr_nonnull(strstr(problem, paths[i]));
        ck_assert_ptr_null(answer);
        g_clear_pointer(&problem, g_free);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *cases = tcase_create("control");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_add_loop_test(cases, test_control__any_word_comes_back_from_its_field, 0,
                        (int)G_N_ELEMENTS(words));
    tcase_add_loop_test(cases, test_control__fields_of_any_line_can_be_read, 0,
                        (int)G_N_ELEMENTS(lines));
    tcase_add_test(cases, test_control__without_a_server_it_is_absent);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
