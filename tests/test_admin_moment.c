#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "server/admin_moment.h"

enum { DAY = 24 * 60 * 60, NOON = 1795003200 /* 2026-11-18T12:00:00Z */ };

START_TEST(test_admin_moment__reads_what_people_write)
{
    static const struct {
        const char *text;
        int64_t first;
        int64_t last;
    } cases[] = {
        {"2026-11-18", NOON - DAY / 2, NOON + DAY / 2 - 1},
        {"2026-11-18T12:00:00Z", NOON, NOON},
        {"2026-11-18T12:00:00", NOON, NOON},
        {"2026-11-18T12:00", NOON, NOON},
        {"2026-11-18 12:00", NOON, NOON},
        {"2026-11-18 12:00Z", NOON, NOON},
        {"2026-11-18 12:00:05", NOON + 5, NOON + 5},
        {"2026-11-18 13:00:00 +0100", NOON, NOON},
        {"2026-11-18 13:00+01:00", NOON, NOON},
        {"2026-11-18 11:00:00 -0100", NOON, NOON},
        {"now", NOON, NOON},
        {"today", NOON - DAY / 2, NOON + DAY / 2 - 1},
        {"yesterday", NOON - DAY / 2 - DAY, NOON - DAY / 2 - 1},
        {"2 days ago", NOON - 2 * DAY, NOON - 2 * DAY},
        {"1 day ago", NOON - DAY, NOON - DAY},
        {"2.weeks.ago", NOON - 14 * DAY, NOON - 14 * DAY},
        {"90 seconds ago", NOON - 90, NOON - 90},
        {"5 minutes ago", NOON - 300, NOON - 300},
        {"0 hours ago", NOON, NOON},
        {"1 month ago", NOON - 30 * DAY, NOON - 30 * DAY},
        {"1 year ago", NOON - 365 * DAY, NOON - 365 * DAY},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct moment moment;

        ck_assert_msg(admin_moment_parse(&moment, cases[i].text, NOON), "%s", cases[i].text);
        ck_assert_msg(moment.first == cases[i].first, "%s: %lld", cases[i].text,
                      (long long)moment.first);
        ck_assert_msg(moment.last == cases[i].last, "%s: %lld", cases[i].text,
                      (long long)moment.last);
        ck_assert_str_eq(moment.commit, "");
    }
}
END_TEST

START_TEST(test_admin_moment__takes_a_commit)
{
    struct moment moment;

    ck_assert(admin_moment_parse(&moment, "4757B1edd979", NOON));
    ck_assert_str_eq(moment.commit, "4757b1edd979");
    ck_assert(!admin_moment_argument(&moment, "--since", "4757b1edd979", false));
    ck_assert(admin_moment_argument(&moment, "--at", "4757b1edd979", true));
}
END_TEST

START_TEST(test_admin_moment__refuses_all_else)
{
    static const char *const cases[] = {
        "",
        " ",
        "soon",
        "2026-13-01",
        "2026-02-29",
        "2026-11-18 ",
        "2026-11-18 1:00",
        "2026-11-18 12",
        "2026-11-18 12:60",
        "2026-11-18 24:00",
        "2026-11-18x12:00",
        "2026-11-18 12:00 ",
        "2026-11-18 12:00:00 CET",
        "2026-11-18 12:00:00 +01000",
        "2026-11-18 12:00:00  +0100",
        "days ago",
        "2 days",
        "2 days from now",
        "-2 days ago",
        "2 fortnights ago",
        "57 years ago",
        "99999999999999999999 days ago",
        "307445734561825861 minutes ago",
        "2 dayss ago",
        "2  days ago",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct moment moment;

        ck_assert_msg(!admin_moment_parse(&moment, cases[i], NOON), "%s", cases[i]);
        ck_assert_msg(!admin_moment_argument(&moment, "--at", cases[i], true), "%s", cases[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin_moment");
    TCase *cases = tcase_create("admin_moment");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_admin_moment__reads_what_people_write);
    tcase_add_test(cases, test_admin_moment__takes_a_commit);
    tcase_add_test(cases, test_admin_moment__refuses_all_else);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
