#include <check.h>
#include <stdlib.h>

#include "server/quota.h"

static const struct {
    const char *text;
    bool good;
    uint64_t octets;
    uint64_t messages;
} fields[] = {
    {"", true, 7, 8},
    {"quota_mib=3", true, 3 << 20, 8},
    {"quota_messages=5", true, 7, 5},
    {"quota_messages=0,quota_mib=0", true, 0, 0},
    {"quota_mib=17592186044415", true, UINT64_C(17592186044415) << 20, 8},
    {"quota_mib=17592186044416", false, 7, 8},
    {"quota_mib=", false, 7, 8},
    {"quota_mib=-1", false, 7, 8},
    {"quota_mib=3,", true, 3 << 20, 8},
    {"quota_mib=3,quota=1", false, 7, 8},
    {"1000:100::/home", false, 7, 8},
    {"quota_messages=99999999999", false, 7, 8},
};

START_TEST(test_quota__a_user_has_limits_of_its_own)
{
    struct quota_limits limits = {.octets = 7, .messages = 8};

    ck_assert_int_eq(quota_limits_parse(&limits, fields[_i].text), fields[_i].good);
    ck_assert_uint_eq(limits.octets, fields[_i].octets);
    ck_assert_uint_eq(limits.messages, fields[_i].messages);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quota");
    TCase *tcase = tcase_create("quota");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, test_quota__a_user_has_limits_of_its_own, 0,
                        (int)(sizeof(fields) / sizeof(*fields)));
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
