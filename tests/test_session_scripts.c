/* Every script in tests/scripts/, in memory: as it is, and with each octet given alone. */
#include <check.h>
#include <stdlib.h>

#include "tests/session_memory.h"

static GPtrArray *scripts;

static void run_script(const char *path, bool octet_by_octet)
{
    struct memory_server server;
    memory_server_init(&server);
    server.octet_by_octet = octet_by_octet;
    struct script_transport transport = memory_server_transport(&server);
    GString *report = g_string_new(NULL);
    enum script_result result = script_run(path, &transport, report);
    if (result == SCRIPT_PASSED && !memory_server_verify(&server, report))
        result = SCRIPT_FAILED;
    memory_server_release(&server);
    ck_assert_msg(result == SCRIPT_PASSED, "%s: %s", path, report->str);
    g_string_free(report, TRUE);
}

START_TEST(runs_script)
{
    run_script(g_ptr_array_index(scripts, (guint)_i), false);
}
END_TEST

START_TEST(runs_script_octet_by_octet)
{
    run_script(g_ptr_array_index(scripts, (guint)_i), true);
}
END_TEST

int main(int argc, char **argv)
{
    scripts = argc > 1 ? g_ptr_array_new_with_free_func(g_free) : script_list(SCRIPT_DIRECTORY);
    for (int i = 1; i < argc; i++)
        g_ptr_array_add(scripts, g_strdup(argv[i]));
    Suite *suite = suite_create("session_scripts");
    TCase *tests = tcase_create("scripts");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, runs_script, 0, (int)scripts->len);
    tcase_add_loop_test(tests, runs_script_octet_by_octet, 0, (int)scripts->len);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner) + (scripts->len == 0 ? 1 : 0);
    srunner_free(runner);
    g_ptr_array_unref(scripts);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
