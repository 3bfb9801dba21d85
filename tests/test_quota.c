#include <check.h>
#include <stdio.h>
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

static int64_t board_time;

static int64_t board_now(void)
{
    return board_time;
}

START_TEST(test_quota_board__forgets_what_is_old)
{
    struct quota_board *board = quota_board_new(board_now);
    struct account_usage usage = {3, 70};
    struct account_usage found;

    board_time = 5;
    ck_assert(!quota_board_find(board, "alice", &found));
    quota_board_note(board, "alice", &usage);
    usage.messages = 4;
    quota_board_note(board, "alice", &usage);
    ck_assert(quota_board_find(board, "alice", &found));
    ck_assert_uint_eq(found.messages, 4);
    ck_assert_uint_eq(found.octets, 70);
    ck_assert(!quota_board_find(board, "bob", &found));
    board_time += QUOTA_BOARD_REST * INT64_C(1000000) - 1;
    ck_assert(quota_board_find(board, "alice", &found));
    board_time++;
    ck_assert(!quota_board_find(board, "alice", &found));
    quota_board_free(board);
}
END_TEST

START_TEST(test_quota_board__has_a_limit)
{
    struct quota_board *board = quota_board_new(board_now);
    const struct account_usage usage = {1, 1};
    struct account_usage found;
    char user[16];
    unsigned known = 0;

    for (int i = 0; i <= QUOTA_BOARD_USERS; i++) {
        snprintf(user, sizeof user, "%d", i);
        quota_board_note(board, user, &usage);
        ck_assert(quota_board_find(board, user, &found));
    }
    for (int i = 0; i <= QUOTA_BOARD_USERS; i++) {
        snprintf(user, sizeof user, "%d", i);
        known += quota_board_find(board, user, &found);
    }
    ck_assert_uint_le(known, QUOTA_BOARD_USERS);
    quota_board_free(board);
}
END_TEST

static void find_limits(void *data, const char *user, struct quota_limits *out)
{
    ck_assert_str_eq(user, "alice");
    *out = *(const struct quota_limits *)data;
}

static const struct {
    struct quota_limits limits;
    bool known;
    bool room;
} outlooks[] = {
    /* Of an account with 3 messages and 70 octets, for one of 30. */
    {{.octets = 0, .messages = 0}, false, true},   {{.octets = 1000, .messages = 9}, false, false},
    {{.octets = 100, .messages = 0}, true, true},  {{.octets = 99, .messages = 0}, true, false},
    {{.octets = 0, .messages = 4}, true, true},    {{.octets = 0, .messages = 3}, true, false},
    {{.octets = 100, .messages = 3}, true, false},
};

START_TEST(test_quota__has_room_as_far_as_the_board_tells)
{
    struct quota_limits limits = outlooks[_i].limits;
    struct quota_source source = {find_limits, &limits, quota_board_new(board_now)};
    const struct account_usage usage = {3, 70};

    if (outlooks[_i].known)
        quota_board_note(source.board, "alice", &usage);
    ck_assert_int_eq(quota_has_room(&source, "alice", 1, 30), outlooks[_i].room);
    quota_board_free(source.board);
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
    tcase_add_loop_test(tcase, test_quota__has_room_as_far_as_the_board_tells, 0,
                        (int)(sizeof(outlooks) / sizeof(*outlooks)));
    tcase_add_test(tcase, test_quota_board__forgets_what_is_old);
    tcase_add_test(tcase, test_quota_board__has_a_limit);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
