#include <check.h>
#include <stdlib.h>

#include "server/json.h"

START_TEST(test_json__writes_values_with_commas_between_them)
{
    g_autoptr(GString) out = g_string_new(NULL);
    struct json json = {.out = out};

    json_begin_object(&json, NULL);
    json_number(&json, "n", -12);
    json_bool(&json, "yes", true);
    json_text(&json, "none", NULL);
    json_begin_array(&json, "list");
    json_text(&json, NULL, "a");
    json_begin_object(&json, NULL);
    json_end_object(&json);
    json_begin_array(&json, NULL);
    json_end_array(&json);
    json_number(&json, NULL, 7);
    json_end_array(&json);
    json_bool(&json, "no", false);
    json_end_object(&json);
    ck_assert_str_eq(
        out->str, "{\"n\":-12,\"yes\":true,\"none\":null,\"list\":[\"a\",{},[],7],\"no\":false}");
}
END_TEST

START_TEST(test_json__makes_ascii_of_any_text)
{
    static const struct {
        const char *text;
        const char *written;
    } cases[] = {
        {"", "\"\""},
        {"plain text / ~", "\"plain text / ~\""},
        {"\"\\", "\"\\\"\\\\\""},
        {"\033[31m\n\t\177", "\"\\u001b[31m\\u000a\\u0009\\u007f\""},
        {"\303\274", "\"\\u00fc\""},
        {"\342\200\256", "\"\\u202e\""},
        {"\360\237\230\200", "\"\\ud83d\\ude00\""},
        {"\364\217\277\277", "\"\\udbff\\udfff\""},
        {"a\377b\303", "\"a\\ufffdb\\ufffd\""},
        {"\355\240\200", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate is no character */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        struct json json = {.out = out};

        json_text(&json, NULL, cases[i].text);
        ck_assert_str_eq(out->str, cases[i].written);
    }
}
END_TEST

START_TEST(test_json__writes_times_in_utc)
{
    static const struct {
        int64_t seconds;
        const char *written;
    } cases[] = {
        {0, "\"1970-01-01T00:00:00Z\""},
        {1795000000, "\"2026-11-18T11:06:40Z\""},
        {-1, "\"1969-12-31T23:59:59Z\""},
        {INT64_MAX, "null"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        struct json json = {.out = out};

        json_time(&json, NULL, cases[i].seconds);
        ck_assert_str_eq(out->str, cases[i].written);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *cases = tcase_create("json");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_json__writes_values_with_commas_between_them);
    tcase_add_test(cases, test_json__makes_ascii_of_any_text);
    tcase_add_test(cases, test_json__writes_times_in_utc);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
