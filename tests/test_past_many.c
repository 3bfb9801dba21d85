/* The past of an account with more mailboxes than one call looks at. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/past.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum {
    MAILBOXES = 500,
    CHANGES = 9, /* of each: a history too short to be kept in brief */
    CALLS_MAX = 10,
    BEGIN = 1600000000,
    DAY = 24 * 60 * 60,
};

static struct mail_fixture fixture;
static struct store_error error;
static struct host host; /* the system's without its flushes */

static void go_to(int day)
{
    fixture.origin.time = (int64_t)(BEGIN + day * DAY) * 1000000;
}

static struct moment moment_at(int day)
{
    return (struct moment){.first = BEGIN + day * DAY, .last = BEGIN + day * DAY};
}

/* Each is made on day 0 and changes on CHANGES days; on the day after, half of them are deleted. */
static void make_mailboxes(void)
{
    for (int i = 0; i < MAILBOXES; i++) {
        char name[8];
        struct mailbox *mailbox;

        snprintf(name, sizeof(name), "m%03d", i);
        go_to(0);
        ck_assert_int_eq(account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE,
                                                &fixture.origin, &error),
                         0);
        mailbox = open_mailbox(&fixture, name);
        for (int j = 1; j <= CHANGES; j++) {
            go_to(j);
            append_text(&fixture, mailbox, "x");
        }
        mailbox_unref(mailbox);
        go_to(CHANGES + 1);
        if (i % 2 == 1) {
            ck_assert_int_eq(account_delete_mailbox(fixture.account, name, &fixture.origin, &error),
                             0);
        }
        store_work(fixture.store, true);
    }
}

static void set_up(void)
{
    static const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    host = fixture_host_without_syncs();
    mail_fixture_init(&fixture, &host);
    mail_fixture_close(&fixture);
    ck_assert_int_eq(store_open(&fixture.store, fixture.directory, fixture.host, &error), 0);
    ck_assert_int_eq(store_open_journal(fixture.store, &settings, &error), 0);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    make_mailboxes();
}

static void tear_down(void)
{
    mail_fixture_release(&fixture);
}

static guint count_ours(const GPtrArray *states)
{
    guint count = 0;

    for (guint i = 0; i < states->len; i++) {
        const struct past_state *state = g_ptr_array_index(states, i);

        count += state->name[0] == 'm';
    }
    return count;
}

START_TEST(test_past_many__lists_them_in_several_calls)
{
    static const struct {
        int day;
        guint count;
    } cases[] = {{0, MAILBOXES}, {5, MAILBOXES}, {CHANGES + 1, MAILBOXES / 2}};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct moment moment = moment_at(cases[i].day);
        struct past_progress *progress = NULL;
        GPtrArray *states = NULL;
        unsigned calls = 0;

        do {
            ck_assert_int_eq(past_list(fixture.account, &moment, &states, &progress, &error), 0);
            ck_assert((progress == NULL) == (states != NULL));
        } while (progress != NULL && ++calls < CALLS_MAX);
        ck_assert_ptr_null(progress);
        ck_assert(calls > 0 || cases[i].day > CHANGES);
        ck_assert_uint_eq(count_ours(states), cases[i].count);
        g_ptr_array_unref(states);
    }
}
END_TEST

START_TEST(test_past_many__knows_their_days_after_several_calls)
{
    struct past_progress *progress = NULL;
    GArray *days = NULL;
    unsigned calls = 0;

    do {
        ck_assert_int_eq(past_days(fixture.account, &days, &progress, &error), 0);
    } while (progress != NULL && ++calls < CALLS_MAX);
    ck_assert_ptr_null(progress);
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_ge(days->len, CHANGES + 2);
    g_array_unref(days);
}
END_TEST

START_TEST(test_past_many__finds_one_of_them_in_several_calls)
{
    static const struct {
        const char *name;
        int result;
    } cases[] = {{"m498", 0}, {"m499", 0}, {"nobody", STORE_NOT_FOUND}};
    struct moment moment = moment_at(1);

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct past_progress *progress = NULL;
        struct mailbox *mailbox = NULL;
        unsigned calls = 0;
        int rc;

        do {
            rc = past_open(fixture.account, cases[i].name, &moment, &mailbox, &progress, &error);
        } while (progress != NULL && ++calls < CALLS_MAX);
        ck_assert_ptr_null(progress);
        ck_assert_int_eq(rc, cases[i].result);
        ck_assert(rc != 0 || snapshot_count(mailbox_snapshot(mailbox)) == 1);
        ck_assert(rc == 0 || calls > 0);
        mailbox_unref(mailbox);
    }
}
END_TEST

START_TEST(test_past_many__can_be_given_up)
{
    struct past_progress *progress = NULL;
    struct moment moment = moment_at(1);
    struct past_state state;
    GPtrArray *states = NULL;
    GArray *days = NULL;

    ck_assert_int_eq(past_list(fixture.account, &moment, &states, &progress, &error), 0);
    ck_assert_ptr_nonnull(progress);
    past_progress_free(g_steal_pointer(&progress));
    ck_assert_int_eq(past_days(fixture.account, &days, &progress, &error), 0);
    ck_assert_ptr_nonnull(progress);
    past_progress_free(g_steal_pointer(&progress));
    ck_assert_int_eq(past_find(fixture.account, "nobody", &moment, &state, &progress, &error), 0);
    ck_assert_ptr_nonnull(progress);
    past_progress_free(progress);
    past_progress_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("past_many");
    TCase *cases = tcase_create("past_many");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_past_many__lists_them_in_several_calls);
    tcase_add_test(cases, test_past_many__knows_their_days_after_several_calls);
    tcase_add_test(cases, test_past_many__finds_one_of_them_in_several_calls);
    tcase_add_test(cases, test_past_many__can_be_given_up);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
