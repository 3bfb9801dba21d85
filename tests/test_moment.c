#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "store/moment.h"

enum { DAY = 24 * 60 * 60 };

START_TEST(test_moment__reads_dates_times_and_commit_ids)
{
    static const struct {
        const char *text;
        int64_t first;
        int64_t last;
        const char *commit;
    } good[] = {
        {"1970-01-01", 0, 86399, ""},
        {"2026-11-17", 1794873600, 1794959999, ""},
        {"2024-02-29", 1709164800, 1709251199, ""},
        {"2000-02-29", 951782400, 951868799, ""},
        {"9999-12-31", 253402214400, 253402300799, ""},
        {"2026-11-17T10:00:00Z", 1794909600, 1794909600, ""},
        {"2026-11-17T10:00:00+0100", 1794906000, 1794906000, ""},
        {"2026-11-17T10:00:00+01:00", 1794906000, 1794906000, ""},
        {"2026-11-17T10:00:00-05:30", 1794929400, 1794929400, ""},
        {"2026-12-31T23:59:59Z", 1798761599, 1798761599, ""},
        {"1970-01-01T00:00:00Z", 0, 0, ""},
        {"4757b1e", 0, 0, "4757b1e"},
        {"4757B1EDD9", 0, 0, "4757b1edd9"},
        {"20261117", 0, 0, "20261117"},
        {"4757b1edd979827d53ca132710bc6f8b01234567", 0, 0,
         "4757b1edd979827d53ca132710bc6f8b01234567"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        struct moment moment;

        ck_assert_msg(moment_parse(&moment, good[i].text), "%s", good[i].text);
        ck_assert_int_eq(moment.first, good[i].first);
        ck_assert_int_eq(moment.last, good[i].last);
        ck_assert_str_eq(moment.commit, good[i].commit);
    }
}
END_TEST

START_TEST(test_moment__refuses_all_else)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11",
        "2026-11-17 ",
        " 2026-11-17",
        "2026-1-17",
        "2026-13-01",
        "2026-00-01",
        "2026-11-31",
        "2026-11-00",
        "2025-02-29",
        "1900-02-29",
        "1969-12-31",
        "10000-01-01",
        "2026-11-17T",
        "2026-11-17T10:00:00",
        "2026-11-17T10:00Z",
        "2026-11-17T24:00:00Z",
        "2026-11-17T10:60:00Z",
        "2026-11-17T10:00:60Z",
        "2026-11-17t10:00:00z",
        "2026-11-17 10:00:00Z",
        "2026-11-17T10:00:00ZZ",
        "2026-11-17T10:00:00+1",
        "2026-11-17T10:00:00+01",
        "2026-11-17T10:00:00+0160",
        "2026-11-17T10:00:00+2400",
        "2026-11-17T10:00:00+01:000",
        "1970-01-01T00:00:00+0100",
        "4757b1",
        "4757b1g",
        "4757b1edd979827d53ca132710bc6f8b012345678",
        "yesterday",
        "HEAD",
        "\xd9\xa2",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct moment moment;

        ck_assert_msg(!moment_parse(&moment, bad[i]), "%s", bad[i]);
    }
}
END_TEST

START_TEST(test_moment__writes_the_days_it_reads)
{
    char before[MOMENT_DAY_LENGTH + 1] = "";
    struct moment moment;

    for (int32_t day = 0; day <= 2932896; day += day < 800 ? 1 : 13) {
        char text[MOMENT_DAY_LENGTH + 1];

        moment_format_day(text, day);
        ck_assert_int_gt(strcmp(text, before), 0);
        ck_assert(moment_parse(&moment, text));
        ck_assert_int_eq(moment.first, (int64_t)day * DAY);
        ck_assert_int_eq(moment.last, moment_of_day(day).last);
        memcpy(before, text, sizeof(before));
    }
    moment_format_day(before, 2932896);
    ck_assert_str_eq(before, "9999-12-31");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moment");
    TCase *cases = tcase_create("moment");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_moment__reads_dates_times_and_commit_ids);
    tcase_add_test(cases, test_moment__refuses_all_else);
    tcase_add_test(cases, test_moment__writes_the_days_it_reads);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
