#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/delivered.h"
#include "store/usage.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct host host;
static int64_t clock_time; /* microseconds; it stands still */

static int64_t now(void *data)
{
    (void)data;
    return clock_time;
}

static void set_up(void)
{
    host = *host_system();
    host.now = now;
    clock_time = INT64_C(1795000000000000);
    mail_fixture_init(&fixture, &host);
}

static void tear_down(void)
{
    mail_fixture_release(&fixture);
}

static void check_usage(uint64_t messages, uint64_t octets)
{
    struct account_usage usage;
    struct store_error error = {0};

    ck_assert_int_eq(account_usage(fixture.account, false, &usage, &error), 0);
    ck_assert_uint_eq(usage.messages, messages);
    ck_assert_uint_eq(usage.octets, octets);
}

static void fill(const char *name, const char *text, unsigned count)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);

    for (unsigned i = 0; i < count; i++)
        append_text(&fixture, mailbox, text);
    mailbox_unref(mailbox);
}

START_TEST(test_usage__follows_every_change_and_outlives_a_restart)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    check_usage(0, 0);
    append_text(&fixture, inbox, "1234567890");
    check_usage(1, 10);
    fill("Archive", "12345", 3);
    check_usage(4, 25);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    check_usage(3, 15);
    mailbox_unref(inbox);
    mail_fixture_reopen(&fixture);
    check_usage(3, 15);
    fill("INBOX", "12", 1);
    check_usage(4, 17);
}
END_TEST

/* Many mailboxes, of which few stay open. */
START_TEST(test_usage__counts_mailboxes_that_were_closed)
{
    static const char *const names[] = {"Archive", "Drafts", "Junk", "Sent", "Trash", "INBOX"};

    for (unsigned round = 1; round <= 3; round++) {
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
            fill(names[i], "123", 1);
            check_usage((round - 1) * 6 + i + 1, 3 * ((round - 1) * 6 + i + 1));
        }
    }
}
END_TEST

/* Of which only the next look at all branches knows. */
START_TEST(test_usage__finds_within_a_second_what_others_did)
{
    fill("Junk", "123", 2);
    fill("Archive", "1234", 1);
    check_usage(3, 10);
    mail_fixture_reopen(&fixture);
    check_usage(3, 10);
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Junk"));
    check_usage(3, 10);
    fill("INBOX", "1", 1);
    check_usage(4, 11);
    clock_time += 1000 * 1000;
    check_usage(2, 5);
}
END_TEST

START_TEST(test_usage__follows_mailboxes_that_come_and_go)
{
    struct store_error error = {0};

    check_usage(0, 0);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Lists", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    fill("Lists", "1234", 2);
    fill("Trash", "12", 1);
    check_usage(3, 10);
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "Lists", "Old", &fixture.origin, &error), 0);
    check_usage(3, 10);
    fill("Old", "1", 1);
    check_usage(4, 11);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Old", &fixture.origin, &error), 0);
    check_usage(1, 2);
    fill("Trash", "12", 1);
    check_usage(2, 4);
    /* An account that was closed may have another list when it is opened again. */
    account_unref(fixture.account);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Trash", &fixture.origin, &error), 0);
    check_usage(0, 0);
}
END_TEST

START_TEST(test_usage__measures_what_the_repository_takes)
{
    struct account_usage usage;
    struct store_error error = {0};
    char *text = malloc(100001);

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    fill("INBOX", text, 1);
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    mailbox_unref(inbox);
    ck_assert_int_eq(account_usage(fixture.account, true, &usage, &error), 0);
    ck_assert_uint_eq(usage.messages, 0);
    ck_assert_uint_gt(usage.octets, 100000);
    ck_assert_uint_lt(usage.octets, 200000);
    free(text);
}
END_TEST

START_TEST(test_usage__sums_what_is_deleted)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    uint64_t expected = 0;

    append_many(&fixture, inbox, 250);
    ck_assert_uint_eq(snapshot_deleted_size(mailbox_snapshot(inbox)), 0);
    for (uint32_t uid = 1; uid <= 250; uid += 83) {
        ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_ADD, MESSAGE_DELETED, NULL), 0);
        expected += message_of(inbox, uid).size;
    }
    ck_assert_uint_eq(snapshot_deleted_size(mailbox_snapshot(inbox)), expected);
    mailbox_unref(inbox);
}
END_TEST

/* --- delivered.h --- */

static struct object_id id_of(const char *octets, const char *sender)
{
    struct delivered_sum *sum = delivered_sum_new();
    struct object_id id;

    delivered_sum_add(sum, octets, strlen(octets));
    delivered_sum_id(sum, sender, &id);
    delivered_sum_free(sum);
    return id;
}

START_TEST(test_delivered__an_id_tells_octets_and_senders_apart)
{
    struct object_id id = id_of("ab", "c");
    struct object_id same = id_of("ab", "c");
    struct object_id sender = id_of("ab", "d");
    struct object_id shifted = id_of("a", "bc");

    ck_assert(object_id_equal(&id, &same));
    ck_assert(!object_id_equal(&id, &sender));
    ck_assert(!object_id_equal(&id, &shifted));
}
END_TEST

struct seen {
    unsigned count;
    struct object_id last;
};

static void see(void *data, const struct object_id *id, int64_t time)
{
    struct seen *seen = data;

    (void)time;
    seen->count++;
    seen->last = *id;
}

START_TEST(test_delivered__the_history_tells_what_was_delivered)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    struct origin before = fixture.origin;
    struct object_id id = id_of("x", "a@example.org");
    int64_t seconds = fixture.origin.time / 1000000;
    char hex[OBJECT_ID_HEX + 1];
    struct store_error error = {0};
    struct seen seen = {0};

    object_id_format(&id, hex);
    append_text(&fixture, inbox, "not delivered");
    fixture.origin.sender = "a@example.org";
    fixture.origin.delivery = hex;
    append_text(&fixture, inbox, "Subject: delivered\r\n\r\n");
    fixture.origin = before;
    append_text(&fixture, inbox, "not delivered either");
    ck_assert_int_eq(delivered_walk(inbox, seconds, see, &seen, &error), 0);
    ck_assert_uint_eq(seen.count, 1);
    ck_assert(object_id_equal(&seen.last, &id));
    char *log = GIT_OUTPUT(fixture.path, "log", "-1", "--skip=1", "--format=%B", "INBOX");

    ck_assert_ptr_nonnull(strstr(log, "DELIVER uid 2: delivered\n"));
    ck_assert_ptr_nonnull(strstr(log, "\nFrom: a@example.org\nDelivery: "));
    free(log);
    ck_assert_int_eq(delivered_walk(inbox, seconds + 1, see, &seen, &error), 0);
    ck_assert_uint_eq(seen.count, 1);
    mailbox_unref(inbox);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("usage");
    TCase *tcase = tcase_create("usage");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_usage__follows_every_change_and_outlives_a_restart);
    tcase_add_test(tcase, test_usage__counts_mailboxes_that_were_closed);
    tcase_add_test(tcase, test_usage__finds_within_a_second_what_others_did);
    tcase_add_test(tcase, test_usage__follows_mailboxes_that_come_and_go);
    tcase_add_test(tcase, test_usage__measures_what_the_repository_takes);
    tcase_add_test(tcase, test_usage__sums_what_is_deleted);
    tcase_add_test(tcase, test_delivered__an_id_tells_octets_and_senders_apart);
    tcase_add_test(tcase, test_delivered__the_history_tells_what_was_delivered);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
