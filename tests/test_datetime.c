#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/datetime.h"

struct moment {
    const char *text;
    int64_t seconds;
    int16_t zone;
    const char *formatted; /* NULL: as text */
};

static const struct moment imap_dates[] = {
    {" 3-Feb-2021 04:05:06 +0100", 1612321506, 60, NULL},
    {"03-Feb-2021 04:05:06 +0100", 1612321506, 60, " 3-Feb-2021 04:05:06 +0100"},
    {"3-Feb-2021 04:05:06 +0100", 1612321506, 60, " 3-Feb-2021 04:05:06 +0100"},
    {"17-Jul-1996 02:44:25 -0700", 837596665, -420, NULL},
    {"17-jUL-1996 02:44:25 -0700", 837596665, -420, "17-Jul-1996 02:44:25 -0700"},
    {"29-Feb-2000 23:59:59 +0000", 951868799, 0, NULL},
    {"29-Feb-2000 23:59:59 -0000", 951868799, 0, "29-Feb-2000 23:59:59 +0000"},
    {"31-Dec-1969 23:59:59 +0000", -1, 0, NULL},
    {"31-Dec-2016 23:59:60 +0000", 1483228800, 0, " 1-Jan-2017 00:00:00 +0000"},
    {"31-Dec-9999 23:59:59 +0000", 253402300799, 0, NULL},
    {" 1-Jan-0001 00:00:00 +0000", -62135596800, 0, NULL},
    {" 1-Jan-0000 00:00:00 +2359", -62167305540, 1439, NULL},
    {"13-Feb-1969 23:32:00 -0530", -27716280, -330, NULL},
};

START_TEST(test_datetime__reads_and_writes_date_times)
{
    const struct moment *moment = &imap_dates[_i];
    GString *out = g_string_new(NULL);
    int64_t seconds;
    int16_t zone;

    ck_assert(datetime_parse(&seconds, &zone, moment->text, strlen(moment->text)));
    ck_assert_int_eq(seconds, moment->seconds);
    ck_assert_int_eq(zone, moment->zone);
    datetime_format(out, seconds, zone);
    ck_assert_str_eq(out->str, moment->formatted != NULL ? moment->formatted : moment->text);
    ck_assert_uint_eq(out->len, DATETIME_LENGTH);
    g_string_free(out, TRUE);
}
END_TEST

static const char *const bad_imap_dates[] = {
    "",
    " ",
    "3",
    "  3-Feb-2021 04:05:06 +0100",
    "31-Feb-2021 04:05:06 +0100",
    "29-Feb-1900 04:05:06 +0100",
    "29-Feb-2023 04:05:06 +0100",
    "00-Feb-2021 04:05:06 +0100",
    "32-Jan-2021 04:05:06 +0100",
    "031-Jan-2021 04:05:06 +0100",
    "3-Fev-2021 04:05:06 +0100",
    "3-02-2021 04:05:06 +0100",
    "3-Feb-21 04:05:06 +0100",
    "3-Feb-20210 04:05:06 +0100",
    "3-Feb-2021 24:05:06 +0100",
    "3-Feb-2021 04:60:06 +0100",
    "3-Feb-2021 04:05:61 +0100",
    "3-Feb-2021 4:05:06 +0100",
    "3-Feb-2021 04:05:06 +01000",
    "3-Feb-2021 04:05:06 +010",
    "3-Feb-2021 04:05:06 0100",
    "3-Feb-2021 04:05:06 +2400",
    "3-Feb-2021 04:05:06 +0160",
    "3-Feb-2021 04:05:06 GMT",
    "3-Feb-2021 04:05:06",
    "3-Feb-2021 04:05:06 +0100 ",
    "3 Feb 2021 04:05:06 +0100",
};

START_TEST(test_datetime__refuses_what_is_no_date_time)
{
    const char *text = bad_imap_dates[_i];
    int64_t seconds;
    int16_t zone;

    ck_assert(!datetime_parse(&seconds, &zone, text, strlen(text)));
}
END_TEST

START_TEST(test_datetime__reads_no_octet_beyond_its_length)
{
    static const char text[] = " 3-Feb-2021 04:05:06 +0100";
    int64_t seconds;
    int16_t zone;
    int32_t day;

    for (size_t length = 0; length < sizeof text - 1; length++) {
        char *copy = g_memdup2(text, length);

        ck_assert(!datetime_parse(&seconds, &zone, copy, length));
        datetime_parse_rfc5322(&seconds, &zone, copy, length);
        date_parse(&day, copy, length);
        g_free(copy);
    }
}
END_TEST

START_TEST(test_datetime__formats_any_number)
{
    static const int64_t numbers[] = {INT64_MIN, -1000000000000, 0, 1000000000000, INT64_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        GString *out = g_string_new(NULL);
        int64_t seconds;
        int16_t zone;

        datetime_format(out, numbers[i], i % 2 == 0 ? 1439 : -1439);
        ck_assert_uint_eq(out->len, DATETIME_LENGTH);
        ck_assert(datetime_parse(&seconds, &zone, out->str, out->len));
        g_string_free(out, TRUE);
    }
}
END_TEST

START_TEST(test_date__counts_days)
{
    int32_t day;

    ck_assert(date_parse(&day, "1-Jan-1970", 10));
    ck_assert_int_eq(day, 0);
    ck_assert(date_parse(&day, "01-Feb-1994", 11));
    ck_assert_int_eq(day, 8797);
    ck_assert(date_parse(&day, "31-dec-1969", 11));
    ck_assert_int_eq(day, -1);
    ck_assert(!date_parse(&day, " 1-Jan-1970", 11));
    ck_assert(!date_parse(&day, "1-Jan-1970 ", 11));
    ck_assert(!date_parse(&day, "30-Feb-1970", 11));
    ck_assert(!date_parse(&day, "1-Jan", 5));
    ck_assert(!date_parse(&day, "", 0));
}
END_TEST

START_TEST(test_date__is_the_one_a_local_clock_shows)
{
    ck_assert_int_eq(date_of(0, 0), 0);
    ck_assert_int_eq(date_of(86399, 0), 0);
    ck_assert_int_eq(date_of(86400, 0), 1);
    ck_assert_int_eq(date_of(-1, 0), -1);
    ck_assert_int_eq(date_of(-86400, 0), -1);
    ck_assert_int_eq(date_of(-86401, 0), -2);
    ck_assert_int_eq(date_of(0, -1), -1);
    ck_assert_int_eq(date_of(86399, 1), 1);
    ck_assert_int_gt(date_of(INT64_MAX, 0), 0);
    ck_assert_int_lt(date_of(INT64_MIN, 0), 0);
}
END_TEST

static const struct moment message_dates[] = {
    {"Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360, NULL},
    {"Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, 120, NULL},
    {"Thu, 13 Feb 1969 23:32:00 -0530 (Newfoundland Time)", -27716280, -330, NULL},
    {"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0530",
     -27716280, -330, NULL},
    {"21 Nov 97 09:55:06 GMT", 880106106, 0, NULL},
    {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360, NULL},
    {"(a (nested \\) one)) Fri , 21(x)Nov(y)1997 09:55:06 CST", 880127706, -360, NULL},
    {"Thu, 13 Feb 69 23:32 MST", -27710880, -420, NULL},
    {"Thu, 13 Feb 069 23:32 mst", -27710880, -420, NULL},
    {"21-Nov-97 09:55:06 Z", 880106106, 0, NULL},
    {"21 November 1997 09:55:06 XYZ", 880106106, 0, NULL},
    {"21 Nov 1997 09:55:06", 880106106, 0, NULL},
    {"21 Nov 1997", 880070400, 0, NULL},
    {"21 Nov 1997 99:99 +0100", 880066800, 60, NULL},
};

START_TEST(test_datetime__reads_dates_of_messages)
{
    const struct moment *moment = &message_dates[_i];
    int64_t seconds;
    int16_t zone;

    ck_assert(datetime_parse_rfc5322(&seconds, &zone, moment->text, strlen(moment->text)));
    ck_assert_int_eq(seconds, moment->seconds);
    ck_assert_int_eq(zone, moment->zone);
}
END_TEST

static const char *const bad_message_dates[] = {
    "",
    " ",
    "yesterday",
    "Fri, Nov 21 1997",
    "Fri, 32 Nov 1997 09:55:06 -0600",
    "Fri, 0 Nov 1997 09:55:06 -0600",
    "Fri, 29 Feb 1997 09:55:06 -0600",
    "Fri, 21 Nov 7 09:55:06 -0600",
    "Fri, 21 Nov 19970 09:55:06 -0600",
    "Fri, 21 Foo 1997 09:55:06 -0600",
    "(21 Nov 1997",
};

START_TEST(test_datetime__finds_no_date_where_there_is_none)
{
    const char *text = bad_message_dates[_i];
    int64_t seconds;
    int16_t zone;

    ck_assert(!datetime_parse_rfc5322(&seconds, &zone, text, strlen(text)));
}
END_TEST

START_TEST(test_datetime__is_linear_in_comments)
{
    enum { LENGTH = 1000000 };
    char *text = g_malloc(LENGTH);
    int64_t seconds;
    int16_t zone;

    memset(text, '(', LENGTH);
    ck_assert(!datetime_parse_rfc5322(&seconds, &zone, text, LENGTH));
    g_free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("datetime");
    TCase *test = tcase_create("datetime");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(test, test_datetime__reads_and_writes_date_times, 0,
                        (int)G_N_ELEMENTS(imap_dates));
    tcase_add_loop_test(test, test_datetime__refuses_what_is_no_date_time, 0,
                        (int)G_N_ELEMENTS(bad_imap_dates));
    tcase_add_test(test, test_datetime__reads_no_octet_beyond_its_length);
    tcase_add_test(test, test_datetime__formats_any_number);
    tcase_add_test(test, test_date__counts_days);
    tcase_add_test(test, test_date__is_the_one_a_local_clock_shows);
    tcase_add_loop_test(test, test_datetime__reads_dates_of_messages, 0,
                        (int)G_N_ELEMENTS(message_dates));
    tcase_add_loop_test(test, test_datetime__finds_no_date_where_there_is_none, 0,
                        (int)G_N_ELEMENTS(bad_message_dates));
    tcase_add_test(test, test_datetime__is_linear_in_comments);
    suite_add_tcase(suite, test);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
