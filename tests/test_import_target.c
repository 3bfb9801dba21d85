#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/export_mbox.h"
#include "server/import_target.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct import_target_options how;
static struct import_target *target;
static GString *told;
static uint8_t seen; /* what messages of the source have */

static void complain(const char *text)
{
    g_string_append_printf(told, "%s\n", text);
}

static void start(void)
{
    target = import_target_new(fixture.store, fixture.account, &how, complain);
}

static void stop(void)
{
    import_target_free(target);
    target = NULL;
}

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    told = g_string_new(NULL);
    seen = MESSAGE_SEEN;
    how = (struct import_target_options){.root = "INBOX"};
    start();
}

static void tear_down(void)
{
    stop();
    g_string_free(told, TRUE);
    mail_fixture_release(&fixture);
}

static bool enter(const char *name, uint32_t uid_validity, uint32_t uid_next)
{
    return import_target_mailbox(
        target,
        &(struct import_mailbox){.name = name, .uid_validity = uid_validity, .uid_next = uid_next});
}

/* A message of the number's text and date. */
static void add(const char *mailbox, uint32_t uid, unsigned number)
{
    char text[64];
    struct import_message message = {
        .mailbox = mailbox, .data = text, .uid = uid, .date = number, .flags = seen};

    message.length = (size_t)snprintf(text, sizeof(text), "Subject: %u\n\n", number);
    ck_assert(import_target_message(target, &message));
}

/* As a reader does: asked first, and what is put off comes after all others. */
static void offer(uint32_t first, uint32_t last, unsigned stop_after)
{
    GArray *later = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (uint32_t uid = first; uid <= last && stop_after-- > 0; uid++) {
        struct import_message message = {.mailbox = "", .uid = uid, .date = uid, .flags = seen};

        switch (import_target_wish(target, &message)) {
        case IMPORT_WANTED:
            add("", uid, uid);
            break;
        case IMPORT_LATER:
            g_array_append_val(later, uid);
            break;
        case IMPORT_THERE:
            break;
        }
    }
    for (unsigned i = 0; i < later->len; i++)
        add("", 0, g_array_index(later, uint32_t, i));
    g_array_unref(later);
}

/* "UID:date UID:date ... next UIDNEXT" */
static char *describe(const char *name)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);

        g_string_append_printf(text, "%u:%d ", message.uid, (int)message.internal_date);
    }
    g_string_append_printf(text, "next %u", snapshot_uid_next(snapshot));
    mailbox_unref(mailbox);
    return g_string_free(text, FALSE);
}

static void check_mailbox(const char *name, const char *expected)
{
    char *text = describe(name);

    ck_assert_str_eq(text, expected);
    g_free(text);
}

START_TEST(test_import__killed_within_a_mailbox_goes_on)
{
    const struct import_counts *counts;

    ck_assert(enter("", 777, 2000));
    offer(1, 1200, 700); /* 500 are a batch, 200 wait */
    ck_assert_uint_eq(import_target_counts(target)->messages, 500);
    stop();
    start();
    ck_assert(enter("", 777, 2000));
    offer(1, 1200, 1200);
    ck_assert(import_target_finish(target));
    counts = import_target_counts(target);
    ck_assert_uint_eq(counts->messages, 700);
    ck_assert_uint_eq(counts->there, 500);
    char *text = describe("INBOX");
    ck_assert(g_str_has_suffix(text, "1199:1199 1200:1200 next 2000"));
    g_free(text);
    ck_assert_str_eq(told->str, "");
}
END_TEST

START_TEST(test_import__without_uids_adds_each_message_as_often_as_the_source_has_it)
{
    static const unsigned source[] = {1, 2, 2, 3, 2};

    for (unsigned run = 0; run < 3; run++) {
        ck_assert(enter("", 0, 0));
        for (size_t i = 0; i < (run == 0 ? 2 : G_N_ELEMENTS(source)); i++)
            add("", 0, source[i]);
        ck_assert(import_target_finish(target));
        stop();
        start();
    }
    check_mailbox("INBOX", "1:1 2:2 3:2 4:3 5:2 next 6");
    how.duplicates = true;
    ck_assert(enter("", 0, 0));
    add("", 0, 1);
    ck_assert(import_target_finish(target));
    check_mailbox("INBOX", "1:1 2:2 3:2 4:3 5:2 6:1 next 7");
}
END_TEST

START_TEST(test_import__mail_that_came_between_takes_no_place_and_loses_none)
{
    struct mailbox *inbox;

    ck_assert(enter("", 777, 10));
    offer(1, 3, 3);
    ck_assert(import_target_flush(target));
    stop();
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(append_text(&fixture, inbox, "delivered"), 4);
    mailbox_unref(inbox);
    for (unsigned run = 0; run < 2; run++) {
        start();
        ck_assert(enter("", 777, 10));
        offer(1, 6, 6);
        ck_assert(import_target_finish(target));
        ck_assert_uint_eq(import_target_counts(target)->messages, run == 0 ? 3 : 0);
        stop();
    }
    char *text = describe("INBOX");
    ck_assert(g_str_has_prefix(text, "1:1 2:2 3:3 4:"));
    ck_assert_msg(g_str_has_suffix(text, " 5:5 6:6 10:4 next 11"), "%s", text);
    g_free(text);
}
END_TEST

START_TEST(test_import__mail_that_comes_meanwhile_costs_few_uids)
{
    struct mailbox *inbox;

    ck_assert(enter("", 777, 10));
    offer(1, 3, 3);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(append_text(&fixture, inbox, "delivered"), 1);
    mailbox_unref(inbox);
    ck_assert(import_target_finish(target));
    char *text = describe("INBOX");
    ck_assert_msg(g_str_has_suffix(text, " 2:2 3:3 10:1 next 11"), "%s", text);
    g_free(text);
    ck_assert_ptr_nonnull(strstr(told->str, "mail arrived during the import"));
}
END_TEST

START_TEST(test_import__duplicates_of_messages_with_uids_come_last)
{
    ck_assert(enter("", 777, 10));
    offer(1, 3, 3);
    ck_assert(import_target_finish(target));
    stop();
    how.duplicates = true;
    start();
    ck_assert(enter("", 777, 10));
    offer(2, 5, 4);
    ck_assert(import_target_finish(target));
    check_mailbox("INBOX", "1:1 2:2 3:3 10:2 11:3 12:4 13:5 next 14");
    ck_assert_str_eq(told->str, "");
}
END_TEST

START_TEST(test_import__uids_that_cannot_be_kept)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    append_text(&fixture, inbox, "here");
    mailbox_unref(inbox);
    how.uids = IMPORT_UIDS_REQUIRE;
    ck_assert(!enter("", 777, 10));
    ck_assert_ptr_nonnull(strstr(told->str, "nothing was imported"));
    ck_assert(!import_target_mailbox(
        target, &(struct import_mailbox){.name = "New", .uid_validity = 7, .uids_lost = true}));
    ck_assert_ptr_nonnull(strstr(told->str, "its list of UIDs is damaged"));
    stop();
    how.uids = IMPORT_UIDS_KEEP;
    start();
    ck_assert(enter("", 777, 10));
    ck_assert_ptr_nonnull(strstr(told->str, "messages get new UIDs"));
    offer(5, 6, 2);
    ck_assert(import_target_finish(target));
    char *text = describe("INBOX");
    ck_assert(g_str_has_suffix(text, " 2:5 3:6 next 4"));
    g_free(text);
}
END_TEST

START_TEST(test_import__fresh_uids_when_asked)
{
    how.uids = IMPORT_UIDS_FRESH;
    ck_assert(enter("", 777, 10));
    offer(5, 6, 2);
    ck_assert(import_target_finish(target));
    check_mailbox("INBOX", "1:5 2:6 next 3");
    ck_assert_str_eq(told->str, "");
}
END_TEST

START_TEST(test_import__several_mailboxes_at_once_and_names_that_none_can_have)
{
    char *bad = g_strnfill(MAILBOX_NAME_MAX + 1, 'x');

    add("", 0, 1);
    add("Labels/One", 0, 1);
    add("Two", 0, 2);
    add(bad, 0, 3);
    ck_assert(import_target_finish(target));
    check_mailbox("INBOX", "1:1 next 2");
    check_mailbox("Labels/One", "1:1 next 2");
    check_mailbox("Two", "1:2 next 2");
    ck_assert_uint_eq(import_target_counts(target)->skipped, 1);
    ck_assert_ptr_nonnull(strstr(told->str, "is left out"));
    g_free(bad);
}
END_TEST

START_TEST(test_import__below_another_root)
{
    how.root = "Old/mail";
    ck_assert(enter("", 0, 0));
    add("", 0, 1);
    ck_assert(enter("Sent", 0, 0));
    add("Sent", 0, 2);
    import_target_subscribed(target, "Sent");
    ck_assert(import_target_finish(target));
    check_mailbox("Old/mail", "1:1 next 2");
    check_mailbox("Old/mail/Sent", "1:2 next 2");
}
END_TEST

START_TEST(test_import__more_keywords_than_a_mailbox_has_room_for)
{
    struct mailbox *inbox;

    ck_assert(enter("", 0, 0));
    for (unsigned i = 0; i < 100; i++) {
        GPtrArray *keywords = g_ptr_array_new_with_free_func(g_free);
        struct import_message message = {
            .mailbox = "", .data = "x", .length = 1, .keywords = keywords, .date = i};

        g_ptr_array_add(keywords, g_strdup("Common"));
        g_ptr_array_add(keywords, g_strdup_printf("own%u", i));
        g_ptr_array_add(keywords, g_strdup("not an atom"));
        g_ptr_array_add(keywords, g_strdup("common"));
        g_ptr_array_add(keywords, NULL);
        ck_assert(import_target_message(target, &message));
        g_ptr_array_unref(keywords);
    }
    ck_assert(import_target_finish(target));
    ck_assert_str_eq(told->str, "INBOX: a mailbox has at most 64 keywords: own63 and others after "
                                "it are left out\n");
    inbox = open_mailbox(&fixture, "INBOX");
    for (size_t i = 0; i < 100; i++) {
        uint64_t own = i < 63 ? UINT64_C(1) << (i + 1) : 0;

        ck_assert_uint_eq(snapshot_message(mailbox_snapshot(inbox), i).keywords, 1 | own);
    }
    mailbox_unref(inbox);
}
END_TEST

START_TEST(test_import__dates_that_cannot_be_are_1970)
{
    static const struct {
        int64_t date;
        int16_t zone;
        bool kept;
    } cases[] = {
        {0, 0, true},
        {-1, 0, true},
        {1612415167, 23 * 60 + 59, true},
        {1, 24 * 60, false},
        {1, -24 * 60, false},
        {INT64_MAX, 0, false},
        {INT64_MIN, 0, false},
        {253402300799, 0, false},
        {253402300799 - 86400, 1439, true},
    };

    ck_assert(enter("", 0, 0));
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct import_message message = {
            .mailbox = "", .data = "", .date = cases[i].date, .zone = cases[i].zone};

        how.duplicates = true;
        ck_assert(import_target_message(target, &message));
        ck_assert_int_eq(import_date(cases[i].date, cases[i].zone),
                         cases[i].kept ? cases[i].date : 0);
    }
    ck_assert(import_target_finish(target));
    ck_assert_uint_eq(import_target_counts(target)->messages, G_N_ELEMENTS(cases));
    ck_assert_str_eq(told->str, "");
}
END_TEST

START_TEST(test_import__special_uses_go_to_what_the_source_uses)
{
    ck_assert(enter("Sent Items", 0, 0));
    add("Sent Items", 0, 1);
    ck_assert(enter("Spam", 0, 0));
    ck_assert(enter("Junk", 0, 0));
    ck_assert(import_target_finish(target));
    ck_assert_str_eq(told->str, "Sent Items is for \\Sent now\n");
}
END_TEST

/* --- a second import --- */

/* The first import of UIDs first to last, in INBOX. */
static void import_first(uint32_t last)
{
    ck_assert(enter("", 777, last + 1));
    offer(1, last, last);
    ck_assert(import_target_finish(target));
    stop();
}

static void change_flags(uint32_t uid, uint8_t flags)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_REPLACE, flags, NULL), 0);
    mailbox_unref(inbox);
}

static void check_flags(const char *expected)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    const struct snapshot *snapshot = mailbox_snapshot(inbox);
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);

        g_string_append_printf(text, "%u:%x ", message.uid, message.flags);
    }
    ck_assert_str_eq(text->str, expected);
    g_string_free(text, TRUE);
    mailbox_unref(inbox);
}

START_TEST(test_import__again_brings_flags_where_nobody_changed_them)
{
    const struct import_counts *counts;

    import_first(5);
    change_flags(2, MESSAGE_FLAGGED);
    change_flags(3, MESSAGE_SEEN | MESSAGE_ANSWERED);
    change_flags(3, MESSAGE_SEEN);
    for (unsigned run = 0; run < 3; run++) {
        seen = run < 2 ? MESSAGE_SEEN | MESSAGE_ANSWERED : 0;
        start();
        ck_assert(enter("", 777, 7));
        offer(1, 6, 6);
        ck_assert(import_target_finish(target));
        counts = import_target_counts(target);
        ck_assert_uint_eq(counts->messages, run == 0);
        ck_assert_uint_eq(counts->place.flags, run == 0 ? 3 : run == 1 ? 0 : 4);
        ck_assert_uint_eq(counts->place.changed, 2);
        stop();
    }
    check_flags("1:0 2:2 3:8 4:0 5:0 6:0 ");
    char *log = GIT_OUTPUT(fixture.path, "log",
                           "--format=%s, %(trailers:key=Command,valueonly,"
                           "separator=%x2c)",
                           "-3", "INBOX", "--");
    ck_assert_str_eq(log, "STORE uid 1,4:6 =, import\n"
                          "STORE uid 1,4:5 =\\Seen =\\Answered, import\n"
                          "APPEND uid 6: 6, import, UIDs kept\n");
    free(log);
}
END_TEST

START_TEST(test_import__again_brings_flags_without_uids_too)
{
    how.uids = IMPORT_UIDS_FRESH;
    stop();
    start();
    ck_assert(enter("", 0, 0));
    add("", 0, 1);
    add("", 0, 2);
    ck_assert(import_target_finish(target));
    stop();
    change_flags(2, MESSAGE_FLAGGED);
    seen = 0;
    how.delete_gone = true;
    start();
    ck_assert(enter("", 0, 0));
    add("", 0, 2);
    add("", 0, 1);
    ck_assert(import_target_finish(target));
    ck_assert_uint_eq(import_target_counts(target)->place.flags, 1);
    ck_assert_uint_eq(import_target_counts(target)->place.changed, 1);
    ck_assert_str_eq(told->str, "INBOX: it has not the source's UIDs: what is gone there can't be "
                                "told and stays\n");
    check_flags("1:0 2:2 ");
    stop();
    start();
    ck_assert(enter("", 0, 0));
    ck_assert(import_target_finish(target));
    ck_assert_uint_eq(import_target_counts(target)->place.removed, 0);
    check_flags("1:0 2:2 ");
}
END_TEST

START_TEST(test_import__removes_only_what_came_from_the_source_and_nobody_changed)
{
    struct mailbox *inbox;
    const struct import_counts *counts;

    import_first(6);
    change_flags(2, MESSAGE_FLAGGED);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(append_text(&fixture, inbox, "delivered"), 7);
    mailbox_unref(inbox);
    start(); /* another source, without UIDs */
    ck_assert(enter("", 0, 0));
    add("", 0, 100);
    ck_assert(import_target_finish(target));
    stop();
    for (unsigned run = 0; run < 3; run++) {
        how.delete_gone = run > 0;
        start();
        ck_assert(enter("", 777, 10));
        if (run == 1)
            import_target_skipped(target);
        offer(5, 6, 2);
        ck_assert(import_target_finish(target));
        counts = import_target_counts(target);
        ck_assert_uint_eq(counts->there, 2);
        ck_assert_uint_eq(counts->place.gone, run == 0 ? 3 : 0);
        ck_assert_uint_eq(counts->place.removed, run == 2 ? 3 : 0);
        ck_assert_str_eq(told->str, run == 1 ? "INBOX: not all of it could be read: what is gone "
                                               "there stays\n"
                                             : "");
        g_string_truncate(told, 0);
        check_flags(run == 2 ? "2:2 5:8 6:8 7:0 8:8 " : "1:8 2:2 3:8 4:8 5:8 6:8 7:0 8:8 ");
        stop();
    }
    start(); /* what an import removed comes again when it is there again */
    ck_assert(enter("", 777, 10));
    offer(4, 6, 3);
    ck_assert(import_target_finish(target));
    ck_assert_uint_eq(import_target_counts(target)->deleted, 0);
    ck_assert_uint_eq(import_target_counts(target)->messages, 1);
    check_flags("2:2 5:8 6:8 7:0 8:8 10:8 ");
}
END_TEST

START_TEST(test_import__what_could_not_be_read_comes_with_the_next_one)
{
    ck_assert(enter("", 777, 5));
    offer(1, 2, 2);
    offer(4, 4, 1);
    ck_assert(import_target_finish(target));
    stop();
    for (unsigned run = 0; run < 2; run++) {
        start();
        ck_assert(enter("", 777, 5));
        offer(1, 4, 4);
        ck_assert(import_target_finish(target));
        ck_assert_uint_eq(import_target_counts(target)->messages, run == 0);
        ck_assert_uint_eq(import_target_counts(target)->there, run == 0 ? 3 : 4);
        stop();
    }
    start();
    check_mailbox("INBOX", "1:1 2:2 4:4 5:3 next 6");
}
END_TEST

START_TEST(test_import__what_was_deleted_here_stays_deleted)
{
    struct mailbox *inbox;

    stop();
    for (unsigned run = 0; run < 4; run++) {
        how.duplicates = run == 3;
        start();
        ck_assert(enter("", 0, 0));
        add("", 0, 1);
        add("", 0, 2);
        if (run > 0)
            add("", 0, 3);
        ck_assert(import_target_finish(target));
        ck_assert_uint_eq(import_target_counts(target)->deleted, run == 1 || run == 2);
        stop();
        inbox = open_mailbox(&fixture, "INBOX");
        if (run == 0)
            ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
        mailbox_unref(inbox);
    }
    check_mailbox("INBOX", "2:2 3:3 4:1 5:2 6:3 next 7");
}
END_TEST

static void check_progress(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    (void)stage;
    (void)data;
    ck_assert_uint_le(done, total);
}

static bool has_patience(void *data)
{
    unsigned *patience = data;

    return *patience > 0 && --*patience > 0;
}

/* Whoever does not know all that was deleted adds nothing. */
START_TEST(test_import__given_up_while_it_reads_the_history_adds_nothing)
{
    const char text[] = "Subject: 1\n\n";
    const struct import_message message = {
        .mailbox = "", .data = text, .length = strlen(text), .date = 1, .flags = seen};
    unsigned patience = 0;
    struct observer observer = {
        .progress = check_progress, .go_on = has_patience, .data = &patience};
    struct mailbox *inbox;

    ck_assert(enter("", 0, 0));
    add("", 0, 1);
    add("", 0, 2);
    ck_assert(import_target_finish(target));
    stop();
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    mailbox_unref(inbox);
    how.observer = &observer;
    for (unsigned calls = 1; patience == 0; calls++) {
        patience = calls;
        start();
        ck_assert(enter("", 0, 0));
        ck_assert_int_eq(import_target_message(target, &message), patience > 0);
        ck_assert_uint_eq(import_target_counts(target)->deleted, patience > 0);
        ck_assert(import_target_flush(target));
        stop();
        check_mailbox("INBOX", "2:2 next 3");
        ck_assert_uint_lt(calls, 100);
    }
}
END_TEST

/* A message arrived here in the same second and got the same UID as another one in the source. */
START_TEST(test_import__the_same_uid_and_date_is_not_the_same_message)
{
    struct mailbox *inbox;
    struct store_error error = {0};
    struct append append = {.internal_date = 4};
    uint32_t uid;

    import_first(3);
    inbox = open_mailbox(&fixture, "INBOX");
    append.spool = spool_of(fixture.account, "delivered", 9);
    ck_assert_int_eq(mailbox_append(inbox, &append, 1, &fixture.origin, &uid, &error), 0);
    ck_assert_uint_eq(uid, 4);
    spool_free(append.spool);
    mailbox_unref(inbox);
    how.delete_gone = true;
    for (unsigned run = 0; run < 2; run++) {
        start();
        ck_assert(enter("", 777, 5));
        offer(1, 4, 4);
        ck_assert(import_target_finish(target));
        ck_assert_uint_eq(import_target_counts(target)->messages, run == 0);
        stop();
    }
    check_mailbox("INBOX", "1:1 2:2 3:3 4:4 5:4 next 6");
}
END_TEST

START_TEST(test_import__many_mailboxes_are_few_steps)
{
    for (unsigned run = 0; run < 2; run++) {
        for (unsigned i = 0; i < 600; i++) {
            char name[16];

            snprintf(name, sizeof(name), "F%u", i);
            ck_assert(enter(name, i % 3 == 0 ? 1000 + i : 0, 9));
            if (i % 2 == 0 && (run == 0 || i % 3 != 0))
                add(name, i % 3 == 0 ? 5 : 0, i);
            if (run == 1 && i % 3 == 0)
                ck_assert_int_eq(import_target_wish(target, &(struct import_message){.uid = 5}),
                                 i % 2 == 0 ? IMPORT_THERE : IMPORT_LATER);
            if (run == 1)
                i += 59;
        }
        ck_assert(import_target_finish(target));
        stop();
        start();
    }
    check_mailbox("F0", "5:0 next 9");
    check_mailbox("F2", "1:2 next 2");
    check_mailbox("F3", "next 9");
    check_mailbox("F5", "next 1");
    char *log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "refs/annal/account", "--");
    ck_assert_str_eq(log, "CREATE mailbox F500 and 99 others\n"
                          "CREATE mailbox F250 and 249 others\n"
                          "CREATE mailbox F0 and 249 others\n"
                          "CREATE account\n");
    free(log);
}
END_TEST

START_TEST(test_export__from_lines)
{
    static const struct {
        int64_t date;
        const char *expected;
    } cases[] = {
        {1612415167, "From a@x Thu Feb  4 05:06:07 2021\n"},
        {0, "From a@x Thu Jan  1 00:00:00 1970\n"},
        {-1, "From a@x Wed Dec 31 23:59:59 1969\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GString *line = g_string_new(NULL);

        export_mbox_from(line, "a@x", cases[i].date);
        ck_assert_str_eq(line->str, cases[i].expected);
        g_string_free(line, TRUE);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_target");
    TCase *tests = tcase_create("import_target");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_import__killed_within_a_mailbox_goes_on);
    tcase_add_test(tests,
                   test_import__without_uids_adds_each_message_as_often_as_the_source_has_it);
    tcase_add_test(tests, test_import__mail_that_came_between_takes_no_place_and_loses_none);
    tcase_add_test(tests, test_import__mail_that_comes_meanwhile_costs_few_uids);
    tcase_add_test(tests, test_import__duplicates_of_messages_with_uids_come_last);
    tcase_add_test(tests, test_import__uids_that_cannot_be_kept);
    tcase_add_test(tests, test_import__fresh_uids_when_asked);
    tcase_add_test(tests, test_import__several_mailboxes_at_once_and_names_that_none_can_have);
    tcase_add_test(tests, test_import__below_another_root);
    tcase_add_test(tests, test_import__more_keywords_than_a_mailbox_has_room_for);
    tcase_add_test(tests, test_import__dates_that_cannot_be_are_1970);
    tcase_add_test(tests, test_import__special_uses_go_to_what_the_source_uses);
    tcase_add_test(tests, test_import__again_brings_flags_where_nobody_changed_them);
    tcase_add_test(tests, test_import__again_brings_flags_without_uids_too);
    tcase_add_test(tests, test_import__removes_only_what_came_from_the_source_and_nobody_changed);
    tcase_add_test(tests, test_import__what_could_not_be_read_comes_with_the_next_one);
    tcase_add_test(tests, test_import__what_was_deleted_here_stays_deleted);
    tcase_add_test(tests, test_import__given_up_while_it_reads_the_history_adds_nothing);
    tcase_add_test(tests, test_import__the_same_uid_and_date_is_not_the_same_message);
    tcase_add_test(tests, test_import__many_mailboxes_are_few_steps);
    tcase_add_test(tests, test_export__from_lines);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
