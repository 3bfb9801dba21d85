#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static int take_over(struct mailbox *mailbox, uint32_t uid_validity, uint32_t uid_next)
{
    struct store_error error = {0};

    return mailbox_take_over(mailbox, uid_validity, uid_next, &fixture.origin, &error);
}

/* Appends count messages under these UIDs. */
static int append_uids(struct mailbox *mailbox, const uint32_t *uids, size_t count, uint32_t *first)
{
    struct append appends[8] = {0};
    struct store_error error = {0};
    int rc;

    for (size_t i = 0; i < count; i++) {
        char text[64];
        int length = snprintf(text, sizeof(text), "Subject: %u\r\n\r\n", uids[i]);

        appends[i].spool = spool_of(fixture.account, text, (size_t)length);
        appends[i].uid = uids[i];
    }
    rc = mailbox_append(mailbox, appends, count, &fixture.origin, first, &error);
    for (size_t i = 0; i < count; i++) {
        spool_free(appends[i].spool);
    }
    return rc;
}

START_TEST(test_takeover__keeps_uidvalidity_and_uids)
{
    static const uint32_t uids[] = {3, 7, 8, 250, 0, 4000000000u};
    static const uint32_t expected[] = {3, 7, 8, 250, 251, 4000000000u};
    const struct snapshot *snapshot;
    uint32_t first = 0;

    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    ck_assert_int_eq(append_uids(inbox, uids, G_N_ELEMENTS(uids), &first), 0);
    ck_assert_uint_eq(first, 3);
    ck_assert_int_eq(take_over(inbox, 1275660208, 4000000123u), 0);
    for (int i = 0; i < 2; i++) {
        snapshot = mailbox_snapshot(inbox);
        ck_assert_uint_eq(snapshot_uid_validity(snapshot), 1275660208);
        ck_assert_uint_eq(snapshot_uid_next(snapshot), 4000000123u);
        ck_assert_uint_eq(snapshot_count(snapshot), G_N_ELEMENTS(expected));
        for (size_t j = 0; j < G_N_ELEMENTS(expected); j++) {
            ck_assert_uint_eq(snapshot_message(snapshot, j).uid, expected[j]);
        }
        mailbox_unref(inbox);
        mail_fixture_reopen(&fixture);
        inbox = open_mailbox(&fixture, "INBOX");
    }
    ck_assert_uint_eq(append_text(&fixture, inbox, "next"), 4000000123u);
}
END_TEST

START_TEST(test_takeover__modseqs_are_above_what_clients_know_from_elsewhere)
{
    uint64_t before = snapshot_highest_modseq(mailbox_snapshot(inbox));
    uint32_t uid;

    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    ck_assert_uint_gt(snapshot_highest_modseq(mailbox_snapshot(inbox)), before + 1000000000);
    uid = append_text(&fixture, inbox, "one");
    ck_assert_uint_gt(message_of(inbox, uid).modseq, before + 1000000000);
}
END_TEST

START_TEST(test_takeover__says_so_in_the_history)
{
    char *log;

    ck_assert_int_eq(take_over(inbox, 1275660208, 25), 0);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){30, 31, 35}, 3, &(uint32_t){0}), 0);
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "INBOX");
    ck_assert_str_eq(log, "APPEND uid 30:31,35 (3 messages)\n"
                          "IMPORT mailbox INBOX (UIDVALIDITY 1275660208, UIDNEXT 25)\n"
                          "CREATE mailbox INBOX\n");
    free(log);
}
END_TEST

START_TEST(test_takeover__refuses_uids_below_uidnext)
{
    uint32_t first = 0;

    append_text(&fixture, inbox, "one");
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){1}, 1, &first), STORE_EXISTS);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){5, 4}, 2, &first), STORE_EXISTS);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){5, 5}, 2, &first), STORE_EXISTS);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){UINT32_MAX}, 1, &first), STORE_LIMIT);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 1);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){UINT32_MAX - 1}, 1, &first), 0);
}
END_TEST

START_TEST(test_takeover__only_where_clients_lose_nothing)
{
    uint32_t own = snapshot_uid_validity(mailbox_snapshot(inbox));
    uint32_t uid = append_text(&fixture, inbox, "one");

    ck_assert_int_eq(take_over(inbox, 1275660208, 0), STORE_FORBIDDEN);
    ck_assert_int_eq(take_over(inbox, own + 1000, 0), STORE_FORBIDDEN);
    ck_assert_int_eq(take_over(inbox, own, 100), 0);
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), 100);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    ck_assert_int_eq(take_over(inbox, 1275660208, 0), STORE_FORBIDDEN);
    ck_assert_int_eq(take_over(inbox, own + 1000, 0), 0);
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(inbox)), own + 1000);
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), 100);
}
END_TEST

START_TEST(test_takeover__impossible_numbers_are_refused)
{
    ck_assert_int_eq(take_over(inbox, 0, 0), STORE_LIMIT);
    ck_assert_int_eq(take_over(inbox, UINT32_MAX, 0), STORE_LIMIT);
}
END_TEST

START_TEST(test_takeover__no_two_mailboxes_share_a_uidvalidity)
{
    struct mailbox *drafts = open_mailbox(&fixture, "Drafts");
    struct store_error error = {0};

    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    append_text(&fixture, inbox, "one");
    ck_assert_int_eq(take_over(drafts, 1275660208, 0), STORE_EXISTS);
    ck_assert_int_eq(take_over(drafts, 1275660209, 0), 0);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Drafts", &fixture.origin, &error), 0);
    mailbox_unref(drafts);
    ck_assert_int_eq(account_create_mailbox(fixture.account, "Drafts", SPECIAL_USE_NONE,
                                            &fixture.origin, &error),
                     0);
    drafts = open_mailbox(&fixture, "Drafts");
    ck_assert_int_eq(take_over(drafts, 1275660209, 0), STORE_EXISTS);
    ck_assert_int_eq(take_over(drafts, 1275660210, 0), 0);
    mailbox_unref(drafts);
}
END_TEST

START_TEST(test_takeover__a_mailbox_that_was_never_used_makes_way)
{
    struct mailbox *drafts = open_mailbox(&fixture, "Drafts");
    uint32_t wanted = snapshot_uid_validity(mailbox_snapshot(drafts));

    ck_assert_int_eq(take_over(inbox, wanted, 0), 0);
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(inbox)), wanted);
    ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(drafts)), wanted);
    mailbox_unref(drafts);
}
END_TEST

START_TEST(test_takeover__new_mailboxes_come_above_it)
{
    uint32_t own = snapshot_uid_validity(mailbox_snapshot(inbox));
    struct store_error error = {0};
    struct mailbox *mailbox;

    ck_assert_int_eq(take_over(inbox, own + 5000000, 0), 0);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "New", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    mailbox = open_mailbox(&fixture, "New");
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(mailbox)), own + 5000001);
    mailbox_unref(mailbox);
}
END_TEST

/* A server that has the mailbox open while another process takes over. */
START_TEST(test_takeover__is_served_by_whoever_has_the_mailbox_open)
{
    struct store *store;
    struct account *account;
    struct mailbox *other;
    struct store_error error = {0};

    ck_assert_int_eq(store_open(&store, fixture.directory, host_system(), &error), 0);
    ck_assert_int_eq(store_open_account(store, "alice", &account, &error), 0);
    ck_assert_int_eq(account_open_mailbox(account, "INBOX", &other, &error), 0);
    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){77}, 1, &(uint32_t){0}), 0);
    ck_assert_int_eq(mailbox_refresh(other, &error), 0);
    ck_assert(mailbox_is_deleted(other));
    mailbox_unref(other);
    ck_assert_int_eq(account_open_mailbox(account, "INBOX", &other, &error), 0);
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(other)), 1275660208);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(other)), 1);
    mailbox_unref(other);
    account_unref(account);
    store_close(store);
}
END_TEST

/* --- many at once --- */

enum { MANY = 60 };

static void name_many(struct new_mailbox *mailboxes, char names[MANY][16])
{
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "Many/%u", i);
        mailboxes[i] = (struct new_mailbox){names[i], 1275660208 + i, false};
    }
}

static int create_many(struct new_mailbox *mailboxes, size_t count)
{
    struct store_error error = {0};

    return account_create_mailboxes(fixture.account, mailboxes, count, &fixture.origin, &error);
}

START_TEST(test_takeover__many_new_mailboxes_are_made_and_filled_in_one_step)
{
    struct new_mailbox mailboxes[MANY];
    struct mailbox *opened[MANY];
    struct intake intakes[MANY];
    struct append appends[MANY] = {0};
    struct store_error error = {0};
    char names[MANY][16];

    name_many(mailboxes, names);
    ck_assert_int_eq(take_over(inbox, 1275660208 + 7, 0), 0);
    mailboxes[9].uid_validity = mailboxes[8].uid_validity;
    mailboxes[10].uid_validity = 0;
    mailboxes[11].uid_validity = UINT32_MAX;
    ck_assert_int_eq(create_many(mailboxes, MANY), 0);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_int_eq(mailboxes[i].taken_over, i != 7 && (i < 9 || i > 11));
        opened[i] = open_mailbox(&fixture, names[i]);
        if (mailboxes[i].taken_over)
            ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(opened[i])), 1275660208 + i);
        appends[i] = (struct append){.spool = spool_of(fixture.account, names[i], 6), .uid = 5 + i};
        intakes[i] = (struct intake){opened[i], &appends[i], i > 0, 100};
    }
    ck_assert_int_eq(mailbox_take_in(intakes, MANY, &fixture.origin, &error), 0);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_uint_eq(snapshot_count(mailbox_snapshot(opened[i])), i > 0);
        ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(opened[i])), 100);
        ck_assert(i == 0 || has_message(opened[i], 5 + i));
        appends[i].uid = i == MANY - 1 ? 99 : 200;
        intakes[i] = (struct intake){opened[i], &appends[i], 1, 0};
    }
    ck_assert_int_eq(mailbox_take_in(intakes, MANY, &fixture.origin, &error), STORE_EXISTS);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(opened[i])), 100);
        mailbox_unref(opened[i]);
        spool_free(appends[i].spool);
    }
    char *log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "Many.0", "--");
    ck_assert_str_eq(log, "IMPORT mailbox Many/0 (UIDVALIDITY 1275660208, UIDNEXT 100)\n"
                          "IMPORT mailbox Many/0 (UIDVALIDITY 1275660208, UIDNEXT 1)\n");
    free(log);
}
END_TEST

START_TEST(test_takeover__many_new_mailboxes_are_made_or_none)
{
    struct new_mailbox mailboxes[MANY];
    char names[MANY][16];

    name_many(mailboxes, names);
    mailboxes[MANY - 1].name = "Drafts";
    ck_assert_int_eq(create_many(mailboxes, MANY), STORE_EXISTS);
    mailboxes[MANY - 1].name = mailboxes[0].name;
    ck_assert_int_eq(create_many(mailboxes, MANY), STORE_EXISTS);
    mailboxes[MANY - 1].name = "bad//name";
    ck_assert_int_eq(create_many(mailboxes, MANY), STORE_BAD_NAME);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert(!account_mailbox_exists(fixture.account, names[i]));
    ck_assert_int_eq(create_many(mailboxes, MANY - 1), 0);
    ck_assert(account_mailbox_exists(fixture.account, names[MANY - 2]));
}
END_TEST

/* --- beside a server --- */

/* The same account, as a server has it: with a journal. */
static struct mail_fixture server;
static struct mailbox *served;

static void start_server(const char *mailbox)
{
    static const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
    struct store_error error = {0};

    server = fixture;
    ck_assert_int_eq(store_open(&server.store, fixture.directory, host_system(), &error), 0);
    ck_assert_int_eq(store_open_journal(server.store, &settings, &error), 0);
    ck_assert_int_eq(store_open_account(server.store, "alice", &server.account, &error), 0);
    served = open_mailbox(&server, mailbox);
}

static void stop_server(void)
{
    mailbox_unref(served);
    account_unref(server.account);
    store_close(server.store);
}

/* What the server acknowledges while git does not know of it yet. */
static void deliver_first(void)
{
    struct store_error error = {0};

    append_text(&server, served, "Subject: first\r\n\r\n");
    append_text(&server, served, "Subject: second\r\n\r\n");
    append_text(&server, served, "Subject: third\r\n\r\n");
    ck_assert_int_eq(flag(&server, served, 2, FLAG_MODE_ADD, MESSAGE_FLAGGED, "$Server"), 0);
    ck_assert_int_eq(expunge(&server, served, 3), 0);
    ck_assert_int_eq(store_sync(server.store, &error), 0);
}

/* What the server finds when it looks again. */
static void check_served(const char *name, uint32_t uid_validity, const uint32_t *uids,
                         size_t count)
{
    struct store_error error = {0};
    const struct snapshot *snapshot;
    size_t index;
    char *deleted;

    ck_assert_int_eq(mailbox_refresh(served, &error), 0);
    ck_assert_int_eq(store_flush(server.store, &error), 0);
    ck_assert(mailbox_is_deleted(served));
    mailbox_unref(served);
    served = open_mailbox(&server, name);
    snapshot = mailbox_snapshot(served);
    if (uid_validity != 0)
        ck_assert_uint_eq(snapshot_uid_validity(snapshot), uid_validity);
    ck_assert_uint_eq(snapshot_count(snapshot), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(snapshot_message(snapshot, i).uid, uids[i]);
    ck_assert(snapshot_keyword_find(snapshot, "$Server", &index));
    ck_assert_uint_eq(snapshot_message(snapshot, count - 1).keywords, UINT64_C(1) << index);
    ck_assert_uint_eq(snapshot_message(snapshot, count - 1).flags, MESSAGE_FLAGGED);
    deleted = GIT_OUTPUT(fixture.path, "for-each-ref", "refs/deleted/");
    ck_assert_str_eq(deleted, "");
    free(deleted);
}

START_TEST(test_takeover__what_a_server_has_acknowledged_stays_in_the_mailbox)
{
    start_server("INBOX");
    deliver_first();
    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    check_served("INBOX", 1275660208, (const uint32_t[]){1, 2}, 2);
    stop_server();
}
END_TEST

START_TEST(test_takeover__what_a_server_has_acknowledged_comes_after_what_was_imported)
{
    start_server("INBOX");
    deliver_first();
    ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
    ck_assert_int_eq(append_uids(inbox, (const uint32_t[]){1, 2, 77}, 3, &(uint32_t){0}), 0);
    ck_assert_int_eq(flag(&fixture, inbox, 77, FLAG_MODE_ADD, MESSAGE_SEEN, "$Import"), 0);
    check_served("INBOX", 1275660208, (const uint32_t[]){1, 2, 77, 78, 79}, 5);
    ck_assert_uint_eq(message_of(served, 77).flags, MESSAGE_SEEN);
    stop_server();
}
END_TEST

START_TEST(test_takeover__what_a_server_has_acknowledged_survives_its_crash)
{
    struct store_error error = {0};
    int status = 0;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        start_server("INBOX");
        deliver_first();
        ck_assert_int_eq(take_over(inbox, 1275660208, 0), 0);
        _exit(EXIT_SUCCESS); /* nothing is in git */
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    start_server("INBOX"); /* replays */
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(served)), 1275660208);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(served)), 2);
    stop_server();
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
}
END_TEST

START_TEST(test_takeover__what_a_server_has_acknowledged_stays_where_one_makes_way)
{
    struct mailbox *drafts = open_mailbox(&fixture, "Drafts");
    uint32_t wanted = snapshot_uid_validity(mailbox_snapshot(drafts));

    start_server("Drafts");
    deliver_first();
    ck_assert_int_eq(take_over(inbox, wanted, 0), 0);
    check_served("Drafts", 0, (const uint32_t[]){1, 2}, 2);
    ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(served)), wanted);
    stop_server();
    mailbox_unref(drafts);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("takeover");
    TCase *tests = tcase_create("takeover");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_takeover__keeps_uidvalidity_and_uids);
    tcase_add_test(tests, test_takeover__modseqs_are_above_what_clients_know_from_elsewhere);
    tcase_add_test(tests, test_takeover__says_so_in_the_history);
    tcase_add_test(tests, test_takeover__refuses_uids_below_uidnext);
    tcase_add_test(tests, test_takeover__only_where_clients_lose_nothing);
    tcase_add_test(tests, test_takeover__impossible_numbers_are_refused);
    tcase_add_test(tests, test_takeover__no_two_mailboxes_share_a_uidvalidity);
    tcase_add_test(tests, test_takeover__a_mailbox_that_was_never_used_makes_way);
    tcase_add_test(tests, test_takeover__new_mailboxes_come_above_it);
    tcase_add_test(tests, test_takeover__is_served_by_whoever_has_the_mailbox_open);
    tcase_add_test(tests, test_takeover__many_new_mailboxes_are_made_and_filled_in_one_step);
    tcase_add_test(tests, test_takeover__many_new_mailboxes_are_made_or_none);
    tcase_add_test(tests, test_takeover__what_a_server_has_acknowledged_stays_in_the_mailbox);
    tcase_add_test(tests,
                   test_takeover__what_a_server_has_acknowledged_comes_after_what_was_imported);
    tcase_add_test(tests, test_takeover__what_a_server_has_acknowledged_survives_its_crash);
    tcase_add_test(tests, test_takeover__what_a_server_has_acknowledged_stays_where_one_makes_way);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
