#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/limits.h"
#include "protocol/sequence_set.h"

/* The resolved set as text; "-" if it is refused. */
static char *resolved(const char *text, uint32_t largest)
{
    GString *out = g_string_new(NULL);
    struct sequence_set set;
    GArray *ranges;

    if (!sequence_set_parse(&set, text, strlen(text), false)) {
        ck_assert_ptr_null(set.ranges);
        return g_string_free(g_string_assign(out, "-"), FALSE);
    }
    ranges = sequence_set_resolve(&set, largest);
    for (size_t i = 0; i < ranges->len; i++) {
        struct sequence_range range = g_array_index(ranges, struct sequence_range, i);

        g_string_append_printf(out, "%s%u:%u", i > 0 ? "," : "", range.low, range.high);
    }
    g_array_unref(ranges);
    sequence_set_release(&set);
    return g_string_free(out, FALSE);
}

static const struct {
    const char *text;
    uint32_t largest;
    const char *resolved;
} cases[] = {
    {"1", 9, "1:1"},
    {"*", 9, "9:9"},
    {"*", 0, ""},
    {"1:*", 0, ""},
    {"*:*", 9, "9:9"},
    {"5:*", 3, "3:5"}, /* RFC 3501 6.4.8: always holds the last message */
    {"4,*:2", 9, "2:9"},
    {"4:2", 9, "2:4"},
    {"1:3,2:5,6", 9, "1:6"},
    {"7,1,3", 9, "1:1,3:3,7:7"},
    {"3,2,1", 9, "1:3"},
    {"1,1,1", 9, "1:1"},
    {"1:10,3:4,12", 99, "1:10,12:12"},
    {"4294967295,4294967294", 9, "4294967294:4294967295"},
    {"4294967295:1", 9, "1:4294967295"},
    {"4294967295:*,1", UINT32_MAX, "1:1,4294967295:4294967295"},
    {"", 9, "-"},
    {"0", 9, "-"},
    {"01", 9, "-"},
    {"1:0", 9, "-"},
    {"4294967296", 9, "-"},
    {"4294967297", 9, "-"},
    {"99999999999999999999999", 9, "-"},
    {"1,", 9, "-"},
    {",1", 9, "-"},
    {"1,,2", 9, "-"},
    {"1:", 9, "-"},
    {":1", 9, "-"},
    {"1:2:3", 9, "-"},
    {"**", 9, "-"},
    {"*1", 9, "-"},
    {"1 ", 9, "-"},
    {" 1", 9, "-"},
    {"-1", 9, "-"},
    {"+1", 9, "-"},
    {"1.2", 9, "-"},
    {"a", 9, "-"},
    {"$", 9, "-"},
    {"1,$", 9, "-"},
};

START_TEST(test_sequence_set__resolves_or_refuses)
{
    char *text = resolved(cases[_i].text, cases[_i].largest);

    ck_assert_str_eq(text, cases[_i].resolved);
    g_free(text);
}
END_TEST

START_TEST(test_sequence_set__stops_at_its_length)
{
    struct sequence_set set;

    ck_assert(sequence_set_parse(&set, "12,x", 2, false));
    ck_assert_uint_eq(set.ranges->len, 1);
    sequence_set_release(&set);
    ck_assert(!sequence_set_parse(&set, "1\0002", 3, false));
}
END_TEST

START_TEST(test_sequence_set__takes_saved_only_where_allowed)
{
    struct sequence_set set;
    GArray *ranges;

    ck_assert(sequence_set_parse(&set, "$", 1, true));
    ck_assert(set.saved);
    ranges = sequence_set_resolve(&set, 9);
    ck_assert_uint_eq(ranges->len, 0);
    g_array_unref(ranges);
    sequence_set_release(&set);
    ck_assert(!sequence_set_parse(&set, "$", 1, false));
}
END_TEST

static char *many_ranges(size_t count)
{
    GString *text = g_string_new(NULL);

    /* In descending order, so that sorting has work to do. */
    for (size_t i = count; i > 0; i--)
        g_string_append_printf(text, "%s%zu", i < count ? "," : "", i * 2);
    return g_string_free(text, FALSE);
}

START_TEST(test_sequence_set__is_limited_in_ranges)
{
    char *most = many_ranges(LIMIT_LIST);
    char *beyond = many_ranges(LIMIT_LIST + 1);
    struct sequence_set set;
    GArray *ranges;

    ck_assert(sequence_set_parse(&set, most, strlen(most), false));
    ranges = sequence_set_resolve(&set, 9);
    ck_assert_uint_eq(ranges->len, LIMIT_LIST);
    ck_assert(sequence_ranges_contain(ranges, 2));
    ck_assert(sequence_ranges_contain(ranges, LIMIT_LIST * 2));
    ck_assert(!sequence_ranges_contain(ranges, 3));
    ck_assert(!sequence_ranges_contain(ranges, LIMIT_LIST * 2 + 1));
    g_array_unref(ranges);
    sequence_set_release(&set);
    ck_assert(!sequence_set_parse(&set, beyond, strlen(beyond), false));
    g_free(most);
    g_free(beyond);
}
END_TEST

START_TEST(test_sequence_set__finds_members)
{
    struct sequence_set set;
    GArray *ranges;

    ck_assert(sequence_set_parse(&set, "3:5,9,4294967295", 16, false));
    ranges = sequence_set_resolve(&set, 9);
    for (uint32_t i = 0; i < 12; i++)
        ck_assert_int_eq(sequence_ranges_contain(ranges, i), (i >= 3 && i <= 5) || i == 9);
    ck_assert(sequence_ranges_contain(ranges, UINT32_MAX));
    ck_assert(!sequence_ranges_contain(ranges, UINT32_MAX - 1));
    g_array_unref(ranges);
    sequence_set_release(&set);
}
END_TEST

START_TEST(test_sequence_set__formats_runs)
{
    static const uint32_t numbers[] = {1, 2, 3, 7, 9, 10, 4294967294u, 4294967295u};
    GString *out = g_string_new("x ");

    sequence_set_format(out, numbers, 0);
    ck_assert_str_eq(out->str, "x ");
    sequence_set_format(out, numbers, 1);
    ck_assert_str_eq(out->str, "x 1");
    g_string_truncate(out, 0);
    sequence_set_format(out, numbers, G_N_ELEMENTS(numbers));
    ck_assert_str_eq(out->str, "1:3,7,9:10,4294967294:4294967295");
    g_string_free(out, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sequence_set");
    TCase *test = tcase_create("sequence_set");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(test, test_sequence_set__resolves_or_refuses, 0, (int)G_N_ELEMENTS(cases));
    tcase_add_test(test, test_sequence_set__stops_at_its_length);
    tcase_add_test(test, test_sequence_set__takes_saved_only_where_allowed);
    tcase_add_test(test, test_sequence_set__is_limited_in_ranges);
    tcase_add_test(test, test_sequence_set__finds_members);
    tcase_add_test(test, test_sequence_set__formats_runs);
    suite_add_tcase(suite, test);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
