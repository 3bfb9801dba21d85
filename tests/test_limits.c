#include <arpa/inet.h>
#include <check.h>
#include <glib.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/penalty.h"

enum { SECOND = 1000 * 1000 };

static struct address address_of(const char *text)
{
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct address address;

    if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1) {
        address_read(&address, (struct sockaddr *)&ipv6);
    } else {
        ck_assert_int_eq(inet_pton(AF_INET, text, &ipv4.sin_addr), 1);
        address_read(&address, (struct sockaddr *)&ipv4);
    }
    return address;
}

static const struct {
    const char *text;
    const char *shown;
    bool loopback;
} addresses[] = {
    {"127.0.0.1", "127.0.0.1", true},         {"127.9.9.9", "127.9.9.9", true},
    {"192.0.2.7", "192.0.2.7", false},        {"::1", "::1", true},
    {"2001:db8::7", "2001:db8::7", false},    {"::ffff:127.0.0.1", "127.0.0.1", true},
    {"::ffff:192.0.2.7", "192.0.2.7", false}, {"::2", "::2", false},
};

START_TEST(test_address__knows_text_and_loopback)
{
    struct address address = address_of(addresses[_i].text);

    ck_assert_str_eq(address.text, addresses[_i].shown);
    ck_assert_int_eq(address.loopback, addresses[_i].loopback);
}
END_TEST

static const struct {
    const char *one;
    const char *other;
    bool same;
} pairs[] = {
    {"192.0.2.7", "192.0.2.7", true},
    {"192.0.2.7", "192.0.2.8", false},
    {"192.0.2.7", "::ffff:192.0.2.7", true},
    {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
    {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
    {"0.0.0.0", "::1", false},
};

START_TEST(test_address__counts_ipv6_by_network)
{
    struct address one = address_of(pairs[_i].one);
    struct address other = address_of(pairs[_i].other);

    ck_assert_int_eq(memcmp(one.key, other.key, ADDRESS_KEY_SIZE) == 0, pairs[_i].same);
}
END_TEST

START_TEST(test_limits__count_by_address_and_in_all)
{
    struct limits *limits = limits_new(3, 2);
    struct address a = address_of("192.0.2.1");
    struct address b = address_of("192.0.2.2");

    ck_assert_int_eq(limits_enter(limits, &a), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &a), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &a), LIMITS_ADDRESS_FULL);
    ck_assert_int_eq(limits_enter(limits, &b), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &b), LIMITS_FULL);
    ck_assert_uint_eq(limits_count(limits), 3);
    limits_leave(limits, &a);
    ck_assert_int_eq(limits_enter(limits, &b), LIMITS_OK);
    limits_leave(limits, &b);
    limits_leave(limits, &b);
    limits_leave(limits, &a);
    ck_assert_uint_eq(limits_count(limits), 0);
    limits_free(limits);
}
END_TEST

START_TEST(test_limits__trust_lifts_the_limit_by_address_alone)
{
    struct limits *limits = limits_new(3, 1);
    struct address friend = address_of("192.0.2.1");

    friend.trusted = true;
    ck_assert_int_eq(limits_enter(limits, &friend), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &friend), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &friend), LIMITS_OK);
    ck_assert_int_eq(limits_enter(limits, &friend), LIMITS_FULL);
    for (int i = 0; i < 3; i++)
        limits_leave(limits, &friend);
    limits_free(limits);
}
END_TEST

/* --- failed logins --- */

static int64_t wait_of(struct penalty *penalty, const char *address, const char *user, int64_t now)
{
    return penalty_until(penalty, address, user, now) - now;
}

START_TEST(test_penalty__doubles_with_each_failure_up_to_its_maximum)
{
    static const int64_t expected[] = {100000,  200000,  400000,   800000,   1600000,
                                       3200000, 6400000, 12800000, 15000000, 15000000};
    struct penalty *penalty = penalty_new();

    ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        penalty_failure(penalty, "a", "u", SECOND);
        ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND), expected[i]);
    }
    penalty_free(penalty);
}
END_TEST

START_TEST(test_penalty__delays_can_be_set)
{
    static const int64_t expected[] = {2000000, 4000000, 5000000, 5000000};
    struct penalty *penalty = penalty_new();

    penalty_set_delays(penalty, 2 * SECOND, 5 * SECOND);
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        penalty_failure(penalty, "a", "u", SECOND);
        ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND), expected[i]);
    }
    penalty_set_delays(penalty, 0, 5 * SECOND);
    ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND), 0);
    penalty_free(penalty);
}
END_TEST

START_TEST(test_penalty__holds_for_the_address_and_for_the_user)
{
    struct penalty *penalty = penalty_new();

    penalty_failure(penalty, "a", "u", SECOND);
    ck_assert_int_gt(wait_of(penalty, "a", "other", SECOND), 0);
    ck_assert_int_gt(wait_of(penalty, "b", "u", SECOND), 0);
    ck_assert_int_eq(wait_of(penalty, "b", "other", SECOND), 0);
    penalty_free(penalty);
}
END_TEST

START_TEST(test_penalty__lets_nobody_lock_out_a_known_address)
{
    struct penalty *penalty = penalty_new();

    penalty_success(penalty, "home", "u", SECOND);
    for (int i = 0; i < 20; i++)
        penalty_failure(penalty, "evil", "u", SECOND);
    ck_assert_int_eq(wait_of(penalty, "home", "u", SECOND), 0);
    ck_assert_int_gt(wait_of(penalty, "cafe", "u", SECOND), 0);
    penalty_free(penalty);
}
END_TEST

START_TEST(test_penalty__is_forgiven_with_time)
{
    struct penalty *penalty = penalty_new();

    for (int i = 0; i < 3; i++)
        penalty_failure(penalty, "a", "u", SECOND);
    for (int looks = 0; looks < 2; looks++)
        ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND + (int64_t)PENALTY_DECAY), 200000);
    penalty_failure(penalty, "a", "u", SECOND + 2 * (int64_t)PENALTY_DECAY);
    ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND + 2 * (int64_t)PENALTY_DECAY), 200000);
    ck_assert_int_eq(wait_of(penalty, "a", "u", SECOND + 9 * (int64_t)PENALTY_DECAY), 0);
    penalty_free(penalty);
}
END_TEST

START_TEST(test_penalty__remembers_a_bounded_number)
{
    struct penalty *penalty = penalty_new();
    char name[32];

    for (int i = 0; i < PENALTY_ENTRIES_MAX; i++) {
        g_snprintf(name, sizeof name, "n%d", i);
        penalty_failure(penalty, name, name, SECOND);
    }
    ck_assert_uint_eq(penalty_entries(penalty), PENALTY_ENTRIES_MAX);
    ck_assert_int_eq(wait_of(penalty, "n0", "n0", SECOND), 0);
    ck_assert_int_gt(wait_of(penalty, name, name, SECOND), 0);
    penalty_free(penalty);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("limits");
    SRunner *runner = srunner_create(suite);

    tcase_add_loop_test(tcase, test_address__knows_text_and_loopback, 0, G_N_ELEMENTS(addresses));
    tcase_add_loop_test(tcase, test_address__counts_ipv6_by_network, 0, G_N_ELEMENTS(pairs));
    tcase_add_test(tcase, test_limits__count_by_address_and_in_all);
    tcase_add_test(tcase, test_limits__trust_lifts_the_limit_by_address_alone);
    tcase_add_test(tcase, test_penalty__delays_can_be_set);
    tcase_add_test(tcase, test_penalty__doubles_with_each_failure_up_to_its_maximum);
    tcase_add_test(tcase, test_penalty__holds_for_the_address_and_for_the_user);
    tcase_add_test(tcase, test_penalty__lets_nobody_lock_out_a_known_address);
    tcase_add_test(tcase, test_penalty__is_forgiven_with_time);
    tcase_add_test(tcase, test_penalty__remembers_a_bounded_number);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
