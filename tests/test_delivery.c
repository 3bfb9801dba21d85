/* Deliveries into an account: where they go, what they are, when they are known. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/delivery_desk.h"
#include "store/delivered.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct delivery_settings settings;
static struct delivery_memory *memory;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    settings = (struct delivery_settings){.detail = DELIVERY_DETAIL_MAILBOX};
    memory = delivery_memory_new();
}

static void tear_down(void)
{
    delivery_memory_free(memory);
    mail_fixture_release(&fixture);
}

static struct mail *make_mail(const char *octets, size_t length)
{
    struct stash *stash = stash_new(fixture.directory);
    struct delivered_sum *sum = delivered_sum_new();

    for (size_t at = 0; at < length; at += 7000) {
        size_t step = MIN(length - at, 7000);

        ck_assert(stash_add(stash, octets + at, step));
        delivered_sum_add(sum, octets + at, step);
    }
    struct mail *mail = mail_new("s@example.org", stash, sum);

    delivered_sum_free(sum);
    mail->received = g_strdup("Received: here\r\n");
    mail->client = g_strdup("test");
    mail->command = "LMTP";
    mail->time = fixture.origin.time;
    return mail;
}

static struct delivery *make_delivery(const char *octets)
{
    struct mail *mail = make_mail(octets, strlen(octets));
    struct delivery *delivery = delivery_new(mail, "alice");

    mail_unref(mail);
    return delivery;
}

static enum delivery_result run(struct delivery *delivery)
{
    struct delivery_context context = {&settings, memory};
    struct store_error error = {STORE_OK, ""};

    delivery_run(delivery, fixture.account, &context, &error);
    return g_array_index(delivery->recipients, struct delivery_recipient, 0).result;
}

/* One recipient; the detail may be NULL. */
static enum delivery_result deliver(const char *octets, const char *detail)
{
    struct delivery *delivery = make_delivery(octets);

    delivery_add(delivery, "alice@example.org", detail);
    enum delivery_result result = run(delivery);

    delivery_free(delivery);
    return result;
}

static size_t count(const char *name)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);
    size_t messages = snapshot_count(mailbox_snapshot(mailbox));

    mailbox_unref(mailbox);
    return messages;
}

static void create(const char *name)
{
    struct store_error error;

    ck_assert_int_eq(
        account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
}

static const struct {
    const char *detail;
    const char *mailbox;
} details[] = {
    {NULL, "INBOX"},
    {"", "INBOX"},
    {"Lists", "Lists"},
    {"lists", "Lists"},
    {"Lists/a", "INBOX"},
    {"sub", "INBOX/sub"},
    {"nowhere", "INBOX"},
    {"Junk", "Junk"},
    {"Archive", "Archive"},
    {"Sent", "INBOX"},
    {"drafts", "INBOX"},
    {"inbox", "INBOX"},
    {"../../etc", "INBOX"},
    {"a//b", "INBOX"},
    {"STRASSE", "stra\xc3\x9f"
                "e"},
};

START_TEST(test_delivery__a_detail_names_a_mailbox_if_there_is_one)
{
    create("Lists");
    create("INBOX/sub");
    create("stra\xc3\x9f"
           "e");
    ck_assert_int_eq(deliver("Subject: x\r\n\r\n", details[_i].detail), DELIVERY_DONE);
    ck_assert_uint_eq(count(details[_i].mailbox), 1);
}
END_TEST

START_TEST(test_delivery__a_detail_may_be_a_keyword_while_there_is_room)
{
    settings.detail = DELIVERY_DETAIL_KEYWORD;
    for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        char detail[16];

        snprintf(detail, sizeof detail, "key%u", i);
        ck_assert_int_eq(deliver("x", detail), DELIVERY_DONE);
    }
    ck_assert_int_eq(deliver("x", "no atom"), DELIVERY_DONE);
    ck_assert_int_eq(deliver("x", "KEY0"), DELIVERY_DONE);
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    ck_assert_uint_eq(snapshot_keyword_count(mailbox_snapshot(inbox)), MAILBOX_KEYWORDS_MAX / 2);
    ck_assert_uint_eq(message_of(inbox, 1).keywords, 1);
    ck_assert_uint_eq(message_of(inbox, MAILBOX_KEYWORDS_MAX).keywords, 0);
    ck_assert_uint_eq(message_of(inbox, MAILBOX_KEYWORDS_MAX + 2).keywords, 1);
    mailbox_unref(inbox);
}
END_TEST

/* Small and large. */
START_TEST(test_delivery__many_recipients_share_one_object)
{
    static const size_t sizes[] = {10, STASH_MEMORY_MAX + 1, 3 * SPOOL_MEMORY_MAX};
    char *text = malloc(sizes[_i] + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', sizes[_i]);
    text[sizes[_i]] = '\0';
    struct delivery *delivery = make_delivery(text);

    delivery_add(delivery, "alice@x", NULL);
    delivery_add(delivery, "alice+Archive@x", "Archive");
    delivery_add(delivery, "alice@y", NULL);
    delivery_add(delivery, "alice@x", NULL);
    ck_assert_int_eq(run(delivery), DELIVERY_DONE);
    for (guint i = 0; i < 4; i++)
        ck_assert_int_eq(g_array_index(delivery->recipients, struct delivery_recipient, i).result,
                         DELIVERY_DONE);
    delivery_free(delivery);
    ck_assert_uint_eq(count("INBOX"), 1);
    ck_assert_uint_eq(count("Archive"), 1);
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    struct mailbox *archive = open_mailbox(&fixture, "Archive");
    struct message one = message_of(inbox, 1);
    struct message other = message_of(archive, 1);
    struct message_bytes bytes;
    struct store_error error;
    static const char lines[] = "Return-Path: <s@example.org>\r\nDelivered-To: alice@x\r\n"
                                "Delivered-To: alice+Archive@x\r\nDelivered-To: alice@y\r\n"
                                "Received: here\r\n";

    ck_assert(object_id_equal(&one.blob, &other.blob));
    ck_assert_int_eq(mailbox_read(inbox, &one.blob, &bytes, &error), 0);
    ck_assert_uint_eq(bytes.length, strlen(lines) + sizes[_i]);
    ck_assert_int_eq(memcmp(bytes.data, lines, strlen(lines)), 0);
    ck_assert_int_eq(memcmp(bytes.data + strlen(lines), text, sizes[_i]), 0);
    message_bytes_release(&bytes);
    mailbox_unref(inbox);
    mailbox_unref(archive);
    free(text);
}
END_TEST

START_TEST(test_delivery__what_comes_again_is_known_by_mailbox)
{
    static const char stamped[] = "Received: by mx id 1;\r\n\tnow\r\nSubject: x\r\n\r\n";

    ck_assert_int_eq(deliver(stamped, NULL), DELIVERY_DONE);
    ck_assert_int_eq(deliver(stamped, NULL), DELIVERY_AGAIN);
    ck_assert_int_eq(deliver(stamped, "Archive"), DELIVERY_DONE);
    ck_assert_int_eq(deliver("Subject: x\r\n\r\n", NULL), DELIVERY_DONE);
    ck_assert_int_eq(deliver("Subject: x\r\n\r\n", NULL), DELIVERY_DONE);
    /* Another process reads it from the history. */
    delivery_memory_free(memory);
    memory = delivery_memory_new();
    mail_fixture_reopen(&fixture);
    ck_assert_int_eq(deliver(stamped, NULL), DELIVERY_AGAIN);
    ck_assert_int_eq(deliver(stamped, "Archive"), DELIVERY_AGAIN);
    /* The retry comes within days. */
    fixture.origin.time += (DELIVERY_MEMORY_DAYS + 1) * INT64_C(86400000000);
    delivery_memory_free(memory);
    memory = delivery_memory_new();
    ck_assert_int_eq(deliver(stamped, NULL), DELIVERY_DONE);
    ck_assert_uint_eq(count("INBOX"), 4);
}
END_TEST

START_TEST(test_delivery__nothing_is_known_that_did_not_become_durable)
{
    static const char stamped[] = "Received: by mx id 1;\r\n\r\n";
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    struct object_id id = {{1}};
    int64_t now = fixture.origin.time / 1000000;

    ck_assert(!delivery_memory_has(memory, "alice", inbox, &id, now));
    delivery_memory_add(memory, "alice", inbox, &id);
    ck_assert(delivery_memory_has(memory, "alice", inbox, &id, now));
    ck_assert(!delivery_memory_has(memory, "bob", inbox, &id, now));
    delivery_memory_doubt(memory);
    ck_assert(!delivery_memory_has(memory, "alice", inbox, &id, now));
    delivery_memory_add(memory, "alice", inbox, &id);
    delivery_memory_trust(memory);
    delivery_memory_doubt(memory);
    ck_assert(delivery_memory_has(memory, "alice", inbox, &id, now));
    ck_assert_int_eq(deliver(stamped, NULL), DELIVERY_DONE);
    mailbox_unref(inbox);
}
END_TEST

static void limit(void *data, const char *user, struct quota_limits *out)
{
    ck_assert_str_eq(user, "alice");
    *out = *(const struct quota_limits *)data;
}

START_TEST(test_delivery__a_full_account_takes_nothing)
{
    struct quota_limits limits = {.messages = 2};

    settings.quota = (struct quota_source){limit, &limits, NULL};
    ck_assert_int_eq(deliver("x", NULL), DELIVERY_DONE);
    ck_assert_int_eq(deliver("x", "Archive"), DELIVERY_DONE);
    ck_assert_int_eq(deliver("x", NULL), DELIVERY_OVER_QUOTA);
    limits = (struct quota_limits){.octets = 100000};
    ck_assert_int_eq(deliver("x", NULL), DELIVERY_DONE);
    limits.octets = 100;
    ck_assert_int_eq(deliver("x", NULL), DELIVERY_OVER_QUOTA);
    ck_assert_uint_eq(count("INBOX"), 2);
}
END_TEST

START_TEST(test_delivery__each_mailbox_needs_room)
{
    struct quota_limits limits = {.messages = 2};
    struct delivery *delivery = make_delivery("x");
    static const struct {
        const char *detail;
        enum delivery_result result;
    } expected[] = {{NULL, DELIVERY_DONE},
                    {"Archive", DELIVERY_DONE},
                    {"Junk", DELIVERY_OVER_QUOTA},
                    {"archive", DELIVERY_DONE},
                    {"junk", DELIVERY_OVER_QUOTA}};

    settings.quota = (struct quota_source){limit, &limits, NULL};
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
        delivery_add(delivery, "alice", expected[i].detail);
    run(delivery);
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++)
        ck_assert_int_eq(g_array_index(delivery->recipients, struct delivery_recipient, i).result,
                         expected[i].result);
    ck_assert_uint_eq(count("INBOX") + count("Archive"), 2);
    ck_assert_uint_eq(count("Junk"), 0);
    delivery_free(delivery);
}
END_TEST

/* Whoever had no answer learns that it is there: it needs no room. */
START_TEST(test_delivery__what_comes_again_fits_a_full_account)
{
    struct quota_limits limits = {.messages = 1};

    settings.quota = (struct quota_source){limit, &limits, NULL};
    ck_assert_int_eq(deliver("Received: x\r\n\r\n", NULL), DELIVERY_DONE);
    ck_assert_int_eq(deliver("Received: y\r\n\r\n", NULL), DELIVERY_OVER_QUOTA);
    ck_assert_int_eq(deliver("Received: x\r\n\r\n", NULL), DELIVERY_AGAIN);
}
END_TEST

START_TEST(test_delivery__details_of_one_mailbox_are_one_message)
{
    struct delivery *delivery = make_delivery("Received: x\r\n\r\n");
    static const char *const named[] = {NULL, "a", "b", "A", "no keyword", "b"};
    struct mailbox *inbox;

    settings.detail = DELIVERY_DETAIL_KEYWORD;
    for (size_t i = 0; i < G_N_ELEMENTS(named); i++)
        delivery_add(delivery, "alice", named[i]);
    ck_assert_int_eq(run(delivery), DELIVERY_DONE);
    for (guint i = 0; i < G_N_ELEMENTS(named); i++)
        ck_assert_int_eq(g_array_index(delivery->recipients, struct delivery_recipient, i).result,
                         DELIVERY_DONE);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 1);
    ck_assert_uint_eq(snapshot_keyword_count(mailbox_snapshot(inbox)), 2);
    ck_assert_uint_eq(message_of(inbox, 1).keywords, 3);
    mailbox_unref(inbox);
    delivery_free(delivery);
}
END_TEST

/* --- the desk --- */

static void answered(void *data)
{
    (*(unsigned *)data)++;
}

/* Asked for at RCPT: by an account that has room, is full, isn't there. */
START_TEST(test_delivery_desk__tells_who_has_room)
{
    struct quota_limits limits = {.messages = 1, .octets = 5000};
    struct delivery_question small = {(char *)"alice", 10, true};
    struct delivery_question large = {(char *)"alice", 10000, false};
    struct delivery_question missing = {(char *)"carl", 10000, true};
    struct delivery_desk *desk;
    unsigned done = 0;
    bool left;

    settings.quota = (struct quota_source){limit, &limits, quota_board_new(NULL)};
    desk = delivery_desk_new(&settings);
    ck_assert(!quota_has_room(&settings.quota, "alice", 1, 10));
    delivery_desk_ask(desk, &small, answered, &done);
    delivery_desk_ask(desk, &large, answered, &done);
    delivery_desk_ask(desk, &missing, answered, &done);
    ck_assert(!delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert_uint_eq(done, 3);
    ck_assert(!small.full);
    ck_assert(large.full);
    ck_assert(!missing.full);
    /* From now on it is known without asking, with what came and comes. */
    ck_assert(quota_has_room(&settings.quota, "alice", 1, 10));
    ck_assert_int_eq(deliver("x", NULL), DELIVERY_DONE);
    ck_assert(!quota_has_room(&settings.quota, "alice", 1, 10));
    delivery_desk_ask(desk, &small, answered, &done);
    ck_assert(!delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert(small.full);
    /* One turn answers so many; a desk that goes leaves nobody waiting. */
    for (unsigned i = 0; i <= DELIVERY_DESK_QUESTIONS; i++)
        delivery_desk_ask(desk, &small, answered, &done);
    ck_assert(!delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert(left);
    ck_assert_uint_eq(done, 4 + DELIVERY_DESK_QUESTIONS);
    delivery_desk_free(desk);
    ck_assert_uint_eq(done, 5 + DELIVERY_DESK_QUESTIONS);
    quota_board_free(settings.quota.board);
}
END_TEST

static void settled(void *data)
{
    (*(unsigned *)data)++;
}

START_TEST(test_delivery_desk__settles_when_it_is_durable)
{
    struct delivery_desk *desk = delivery_desk_new(&settings);
    struct delivery *good = make_delivery("x");
    struct delivery *bad = make_delivery("x");
    struct delivery *late = make_delivery("x");
    struct delivery *all[] = {good, bad, late};
    struct store_error error;
    unsigned done = 0;
    bool left = true;

    for (size_t i = 0; i < 3; i++)
        delivery_add(all[i], "alice", NULL);
    ck_assert(!delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert(!left);
    delivery_desk_post(desk, good, settled, &done);
    ck_assert(delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert_uint_eq(delivery_desk_users(desk)->len, 1);
    ck_assert_uint_eq(done, 0);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    delivery_desk_settle(desk, true);
    ck_assert_uint_eq(done, 1);
    delivery_desk_post(desk, bad, settled, &done);
    ck_assert(delivery_desk_run(desk, fixture.store, 1, &left));
    delivery_desk_settle(desk, false);
    ck_assert_uint_eq(done, 2);
    delivery_desk_post(desk, late, settled, &done);
    ck_assert(delivery_desk_is_used(desk));
    delivery_desk_rest(desk, 1 + DELIVERY_DESK_REST * INT64_C(1000000));
    ck_assert(delivery_desk_is_used(desk));
    delivery_desk_rest(desk, 2 + DELIVERY_DESK_REST * INT64_C(1000000));
    ck_assert(!delivery_desk_is_used(desk));
    delivery_desk_free(desk);
    ck_assert_uint_eq(done, 3);
    static const enum delivery_result expected[] = {DELIVERY_DONE, DELIVERY_TROUBLE,
                                                    DELIVERY_TROUBLE};

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(g_array_index(all[i]->recipients, struct delivery_recipient, 0).result,
                         expected[i]);
        delivery_free(all[i]);
    }
}
END_TEST

START_TEST(test_delivery_desk__takes_a_bounded_number_at_once_and_makes_accounts)
{
    struct delivery_desk *desk = delivery_desk_new(&settings);
    struct delivery *all[DELIVERY_DESK_AT_ONCE + 1];
    struct store_error error;
    unsigned done = 0;
    bool left = false;

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        all[i] = make_delivery("x");
        g_free(all[i]->user);
        all[i]->user = g_strdup(i % 2 == 0 ? "carol" : "alice");
        delivery_add(all[i], "x", NULL);
        delivery_desk_post(desk, all[i], settled, &done);
    }
    for (unsigned round = 0; round < 2; round++) {
        ck_assert(delivery_desk_run(desk, fixture.store, 1, &left));
        ck_assert_int_eq(left, round == 0);
        ck_assert_int_eq(store_sync(fixture.store, &error), 0);
        delivery_desk_settle(desk, true);
    }
    ck_assert_uint_eq(done, G_N_ELEMENTS(all));
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        ck_assert_int_eq(g_array_index(all[i]->recipients, struct delivery_recipient, 0).result,
                         DELIVERY_DONE);
        delivery_free(all[i]);
    }
    delivery_desk_free(desk);
    ck_assert_uint_eq(count("INBOX"), DELIVERY_DESK_AT_ONCE / 2);
}
END_TEST

START_TEST(test_delivery_desk__takes_few_large_messages_at_once)
{
    struct delivery_desk *desk = delivery_desk_new(&settings);
    char *text = malloc(DELIVERY_DESK_OCTETS / 2 + 1);
    struct delivery *all[3];
    unsigned done = 0;
    bool left;

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', DELIVERY_DESK_OCTETS / 2);
    text[DELIVERY_DESK_OCTETS / 2] = '\0';
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        all[i] = make_delivery(text);
        delivery_add(all[i], "x", NULL);
        delivery_desk_post(desk, all[i], settled, &done);
    }
    ck_assert(delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert(left);
    delivery_desk_settle(desk, true);
    ck_assert_uint_eq(done, 2);
    ck_assert(delivery_desk_run(desk, fixture.store, 1, &left));
    ck_assert(!left);
    delivery_desk_settle(desk, true);
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        delivery_free(all[i]);
    delivery_desk_free(desk);
    ck_assert_uint_eq(count("INBOX"), 3);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("delivery");
    TCase *tcase = tcase_create("delivery");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, test_delivery__a_detail_names_a_mailbox_if_there_is_one, 0,
                        (int)G_N_ELEMENTS(details));
    tcase_add_test(tcase, test_delivery__a_detail_may_be_a_keyword_while_there_is_room);
    tcase_add_loop_test(tcase, test_delivery__many_recipients_share_one_object, 0, 3);
    tcase_add_test(tcase, test_delivery__what_comes_again_is_known_by_mailbox);
    tcase_add_test(tcase, test_delivery__nothing_is_known_that_did_not_become_durable);
    tcase_add_test(tcase, test_delivery__a_full_account_takes_nothing);
    tcase_add_test(tcase, test_delivery__each_mailbox_needs_room);
    tcase_add_test(tcase, test_delivery__what_comes_again_fits_a_full_account);
    tcase_add_test(tcase, test_delivery__details_of_one_mailbox_are_one_message);
    tcase_add_test(tcase, test_delivery_desk__tells_who_has_room);
    tcase_add_test(tcase, test_delivery_desk__settles_when_it_is_durable);
    tcase_add_test(tcase, test_delivery_desk__takes_a_bounded_number_at_once_and_makes_accounts);
    tcase_add_test(tcase, test_delivery_desk__takes_few_large_messages_at_once);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
