/* What stock git and other processes do to a live repository. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;

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

/* The tip of a branch, without its newline. */
static char *tip(const char *branch)
{
    char *out = GIT_OUTPUT(fixture.path, "rev-parse", branch);

    ck_assert_ptr_nonnull(out);
    return g_strchomp(out);
}

static void move_branch(const char *branch, const char *commit)
{
    g_autofree char *ref = g_strconcat("refs/heads/", branch, NULL);

    ck_assert(GIT(fixture.path, "update-ref", ref, commit));
}

/* A foreign commit on top of INBOX whose tree has one file replaced (text NULL: removed), made
 * with a work tree as a user of git would. */
static void commit_outside(const char *file, const char *text)
{
    g_autofree char *work = fixture_path(fixture.directory, "work");
    g_autofree char *path = fixture_path(work, file);

    ck_assert(GIT("/", "clone", "-q", "-b", "INBOX", fixture.path, work));
    if (text != NULL) {
        ck_assert(g_file_set_contents(path, text, -1, NULL));
    } else {
        remove(path);
    }
    ck_assert(GIT(work, "add", "-A"));
    ck_assert(GIT(work, "commit", "-q", "-m", "by hand"));
    ck_assert(GIT(work, "push", "-q", "origin", "INBOX"));
    fixture_remove(g_steal_pointer(&work));
}

static char *show(const char *object)
{
    char *out = GIT_OUTPUT(fixture.path, "show", object);

    ck_assert_ptr_nonnull(out);
    return out;
}

/* text with its first occurrence of from replaced. */
static char *replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);

    ck_assert_ptr_nonnull(at);
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

#define INDEX "00/00/00/00/index"

START_TEST(test_reconcile__serves_another_process)
{
    struct mail_fixture other = fixture;
    struct mailbox *there;
    bool changed;

    mail_fixture_open(&other);
    append_text(&fixture, inbox, "one");
    there = open_mailbox(&other, "INBOX");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(there)), 1);
    append_text(&other, there, "two");
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(changed);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    append_text(&other, there, "three");
    ck_assert_uint_eq(append_text(&fixture, inbox, "four"), 4);
    ck_assert_int_eq(mailbox_refresh(there, &error), 0);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(there)), 4);
    ck_assert_int_eq(
        account_create_mailbox(other.account, "new", SPECIAL_USE_NONE, &other.origin, &error), 0);
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(changed);
    ck_assert(account_mailbox_exists(fixture.account, "new"));
    mailbox_unref(there);
    mail_fixture_close(&other);
}
END_TEST

START_TEST(test_reconcile__nothing_changed_is_nothing)
{
    bool changed = true;

    append_text(&fixture, inbox, "one");
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(!changed);
}
END_TEST

START_TEST(test_reconcile__survives_gc_and_pack_refs)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    append_many(&fixture, inbox, 120);
    before = describe_account(&fixture);
    ck_assert(GIT(fixture.path, "gc", "-q", "--prune=now"));
    ck_assert(GIT(fixture.path, "pack-refs", "--all"));
    append_text(&fixture, inbox, "x");
    ck_assert_int_eq(expunge(&fixture, inbox, 121), 0);
    ck_assert(GIT(fixture.path, "repack", "-q", "-a", "-d", "-F"));
    mailbox_unref(inbox);
    mail_fixture_reopen(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    after = describe_account(&fixture);
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), 122);
    ck_assert(strlen(before) == strlen(after));
}
END_TEST

START_TEST(test_reconcile__gives_a_higher_modseq_to_what_was_edited)
{
    g_autofree char *index = NULL;
    g_autofree char *edited = NULL;
    uint64_t highest;

    append_many(&fixture, inbox, 3);
    highest = snapshot_highest_modseq(mailbox_snapshot(inbox));
    index = show("INBOX:" INDEX);
    edited = replace(index, " 20\n", " 20 \\Seen\n");
    commit_outside(INDEX, edited);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_uint_eq(message_of(inbox, 1).flags, MESSAGE_SEEN);
    ck_assert_uint_gt(message_of(inbox, 1).modseq, highest);
    ck_assert_uint_eq(message_of(inbox, 2).modseq, highest);
    ck_assert_uint_eq(snapshot_highest_modseq(mailbox_snapshot(inbox)),
                      message_of(inbox, 1).modseq);
    g_free(index);
    index = GIT_OUTPUT(fixture.path, "log", "-3", "--format=%s", "INBOX");
    ck_assert_str_eq(index, "RECONCILE a change from outside\nby hand\nAPPEND uid 1:3 (3 "
                            "messages)\n");
}
END_TEST

START_TEST(test_reconcile__serves_a_well_made_edit_as_it_is)
{
    g_autofree char *work = fixture_path(fixture.directory, "work");
    g_autofree char *index_path = fixture_path(work, INDEX);
    g_autofree char *mailbox_path = fixture_path(work, "mailbox");
    g_autofree char *index = NULL;
    g_autofree char *mailbox = NULL;
    g_autofree char *new_index = NULL;
    g_autofree char *new_mailbox = NULL;
    g_autofree char *pushed = NULL;
    g_autofree char *now = NULL;

    append_many(&fixture, inbox, 2);
    index = show("INBOX:" INDEX);
    mailbox = show("INBOX:mailbox");
    new_index = replace(index, "1 2 ", "1 3 ");
    new_mailbox = replace(mailbox, "highestmodseq 2", "highestmodseq 3");
    ck_assert(GIT("/", "clone", "-q", "-b", "INBOX", fixture.path, work));
    ck_assert(g_file_set_contents(index_path, new_index, -1, NULL));
    ck_assert(g_file_set_contents(mailbox_path, new_mailbox, -1, NULL));
    ck_assert(GIT(work, "commit", "-q", "-a", "-m", "by hand"));
    ck_assert(GIT(work, "push", "-q", "origin", "INBOX"));
    pushed = tip("INBOX");
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    now = tip("INBOX");
    ck_assert_str_eq(pushed, now);
    ck_assert_uint_eq(message_of(inbox, 1).modseq, 3);
    fixture_remove(g_steal_pointer(&work));
}
END_TEST

START_TEST(test_reconcile__a_rewound_branch_takes_nothing_back)
{
    g_autofree char *old = NULL;
    uint64_t highest;

    append_many(&fixture, inbox, 3);
    old = tip("INBOX");
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    append_text(&fixture, inbox, "four");
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    highest = snapshot_highest_modseq(mailbox_snapshot(inbox));
    move_branch("INBOX", old);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    /* 2 came back and must not be 2 again; 4 is gone; 1 lost its flag. */
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 3);
    ck_assert(!has_message(inbox, 2));
    ck_assert(!has_message(inbox, 4));
    ck_assert(has_message(inbox, 5));
    ck_assert_uint_eq(message_of(inbox, 1).flags, 0);
    ck_assert_uint_gt(message_of(inbox, 1).modseq, highest);
    ck_assert_uint_eq(message_of(inbox, 3).modseq, 2);
    ck_assert_uint_eq(append_text(&fixture, inbox, "five"), 6);
}
END_TEST

START_TEST(test_reconcile__remembers_after_the_mailbox_was_closed)
{
    g_autofree char *old = NULL;

    append_many(&fixture, inbox, 2);
    old = tip("INBOX");
    append_text(&fixture, inbox, "three");
    mailbox_unref(inbox);
    move_branch("INBOX", old);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(append_text(&fixture, inbox, "other"), 4);
}
END_TEST

START_TEST(test_reconcile__a_uid_never_names_another_message)
{
    append_many(&fixture, inbox, 2);
    commit_outside("00/00/00/00/02", "Subject: 7\r\n\r\nbody\r\n");
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(!has_message(inbox, 2));
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    ck_assert_uint_eq(snapshot_message(mailbox_snapshot(inbox), 1).uid, 3);
}
END_TEST

START_TEST(test_reconcile__keywords_keep_their_places)
{
    g_autofree char *mailbox = NULL;
    g_autofree char *edited = NULL;
    size_t index;

    append_many(&fixture, inbox, 2);
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, 0, "a"), 0);
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, 0, "b"), 0);
    mailbox = show("INBOX:mailbox");
    edited = replace(mailbox, "keywords a b", "keywords c b a");
    commit_outside("mailbox", edited);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(snapshot_keyword_find(mailbox_snapshot(inbox), "a", &index));
    ck_assert_uint_eq(index, 0);
    ck_assert(snapshot_keyword_find(mailbox_snapshot(inbox), "c", &index));
    ck_assert_uint_eq(index, 2);
    ck_assert_uint_eq(message_of(inbox, 1).keywords, 1);
    ck_assert_uint_eq(message_of(inbox, 2).keywords, 2);
}
END_TEST

START_TEST(test_reconcile__refuses_what_is_no_mailbox_until_it_is_mended)
{
    g_autofree char *good = NULL;
    uint32_t uid;

    append_many(&fixture, inbox, 2);
    good = tip("INBOX");
    commit_outside("README", "not a mailbox\n");
    ck_assert_int_eq(mailbox_refresh(inbox, &error), STORE_CORRUPT);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), STORE_CORRUPT);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    ck_assert_int_eq(try_append(&fixture, inbox, "x", 1, 0, NULL, &uid, &error), STORE_CORRUPT);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), STORE_CORRUPT);
    ck_assert_uint_gt(count_findings(fixture.path, NULL, 0), 0);
    move_branch("INBOX", good);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_uint_eq(append_text(&fixture, inbox, "x"), 3);
}
END_TEST

static const struct {
    const char *file;
    const char *from;
    const char *to;
} MALFORMED[] = {
    {INDEX, "2 2 ", "9 2 "},                   /* a line without a message */
    {INDEX, "\n", " nonsense\n"},              /* an unknown flag */
    {INDEX, "1 2 ", "1 9 "},                   /* above HIGHESTMODSEQ */
    {"mailbox", "uidnext 3", "uidnext 2"},     /* UID 2 is not below */
    {"mailbox", "format 1", "format x"},       /* no format */
    {"mailbox", "mailboxid M", "mailboxid .M"} /* no id */
};

START_TEST(test_reconcile__refuses_malformed_mailboxes)
{
    g_autofree char *object = g_strconcat("INBOX:", MALFORMED[_i].file, NULL);
    g_autofree char *good = NULL;
    g_autofree char *text = NULL;
    g_autofree char *edited = NULL;

    append_many(&fixture, inbox, 2);
    good = tip("INBOX");
    text = show(object);
    edited = replace(text, MALFORMED[_i].from, MALFORMED[_i].to);
    commit_outside(MALFORMED[_i].file, edited);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), STORE_CORRUPT);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    move_branch("INBOX", good);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
}
END_TEST

START_TEST(test_reconcile__refuses_a_missing_message)
{
    g_autofree char *good = NULL;

    append_many(&fixture, inbox, 2);
    good = tip("INBOX");
    commit_outside("00/00/00/00/01", NULL);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), STORE_CORRUPT);
    move_branch("INBOX", good);
}
END_TEST

START_TEST(test_reconcile__a_newer_format_is_left_alone)
{
    g_autofree char *mailbox = show("INBOX:mailbox");
    g_autofree char *newer = replace(mailbox, "format 1", "format 2");
    g_autofree char *good = tip("INBOX");
    uint32_t uid;

    commit_outside("mailbox", newer);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), STORE_UNSUPPORTED);
    ck_assert_int_eq(try_append(&fixture, inbox, "x", 1, 0, NULL, &uid, &error), STORE_UNSUPPORTED);
    move_branch("INBOX", good);
}
END_TEST

START_TEST(test_reconcile__a_branch_deleted_outside_is_a_deleted_mailbox)
{
    struct mailbox *junk = open_mailbox(&fixture, "Junk");
    uint32_t uid;

    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Junk"));
    ck_assert_int_eq(mailbox_refresh(junk, &error), 0);
    ck_assert(mailbox_is_deleted(junk));
    ck_assert_int_eq(try_append(&fixture, junk, "x", 1, 0, NULL, &uid, &error), STORE_NOT_FOUND);
    mailbox_unref(junk);
    ck_assert_int_eq(account_open_mailbox(fixture.account, "Junk", &junk, &error), STORE_NOT_FOUND);
}
END_TEST

START_TEST(test_reconcile__inbox_is_always_there)
{
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/INBOX"));
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(mailbox_is_deleted(inbox));
    mailbox_unref(inbox);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert(!mailbox_is_deleted(inbox));
    append_text(&fixture, inbox, "x");
}
END_TEST

START_TEST(test_reconcile__another_mailbox_in_the_same_place_is_another)
{
    struct mailbox *junk = open_mailbox(&fixture, "Junk");
    struct mailbox *fresh;
    g_autofree char *archive = tip("Archive");
    uint32_t validity = snapshot_uid_validity(mailbox_snapshot(junk));

    append_text(&fixture, junk, "x");
    mailbox_unref(junk);
    /* Archive was made before Junk, so its UIDVALIDITY is lower. */
    move_branch("Junk", archive);
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Archive"));
    fresh = open_mailbox(&fixture, "Junk");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(fresh)), 0);
    ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(fresh)), validity);
    mailbox_unref(fresh);
}
END_TEST

/* The same while a session has the old one open; _i: the branch is moved, or deleted in between. */
START_TEST(test_reconcile__another_mailbox_in_the_place_of_an_open_one_is_another)
{
    struct mailbox *junk = open_mailbox(&fixture, "Junk");
    struct mailbox *fresh;
    g_autofree char *archive = tip("Archive");
    uint32_t validity = snapshot_uid_validity(mailbox_snapshot(junk));

    append_text(&fixture, junk, "x");
    if (_i == 1) {
        ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Junk"));
        ck_assert_int_eq(mailbox_refresh(junk, &error), 0);
    }
    move_branch("Junk", archive);
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Archive"));
    fresh = open_mailbox(&fixture, "Junk");
    ck_assert(mailbox_is_deleted(junk));
    ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(fresh)), validity);
    mailbox_unref(junk);
    mailbox_unref(fresh);
}
END_TEST

START_TEST(test_reconcile__names_that_are_no_encoding_are_not_listed)
{
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *commit = tip("INBOX");

    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/feature/x", commit));
    ck_assert_int_eq(account_list(fixture.account, &list, &error), 0);
    ck_assert_uint_eq(list->len, 6);
    ck_assert_uint_gt(count_findings(fixture.path, NULL, 0), 0);
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/feature/x"));
}
END_TEST

START_TEST(test_reconcile__lists_mailboxes_without_a_readable_account_state)
{
    g_autofree char *good = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "refs/annal/account"));

    for (int again = 0; again < 2; again++) {
        g_autoptr(GPtrArray) list = NULL;

        ck_assert(GIT(fixture.path, "update-ref", "refs/annal/account", "refs/heads/INBOX"));
        ck_assert_int_eq(account_list(fixture.account, &list, &error), 0);
        ck_assert_uint_eq(list->len, 6);
        ck_assert_int_eq(
            account_create_mailbox(fixture.account, "x", SPECIAL_USE_NONE, &fixture.origin, &error),
            STORE_CORRUPT);
        append_text(&fixture, inbox, "x");
        mailbox_unref(inbox);
        mail_fixture_reopen(&fixture);
        inbox = open_mailbox(&fixture, "INBOX");
    }
    ck_assert(GIT(fixture.path, "update-ref", "refs/annal/account", good));
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "x", SPECIAL_USE_NONE, &fixture.origin, &error), 0);
}
END_TEST

START_TEST(test_reconcile__a_pushed_branch_becomes_a_mailbox)
{
    g_autofree char *work = fixture_path(fixture.directory, "work");
    struct mailbox *copy;
    bool changed;

    append_many(&fixture, inbox, 3);
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(GIT("/", "clone", "-q", "-b", "INBOX", fixture.path, work));
    ck_assert(GIT(work, "push", "-q", "origin", "INBOX:refs/heads/Copy"));
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(changed);
    copy = open_mailbox(&fixture, "Copy");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(copy)), 3);
    append_text(&fixture, copy, "x");
    mailbox_unref(copy);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Copy", &fixture.origin, &error), 0);
    fixture_remove(g_steal_pointer(&work));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reconcile");
    TCase *cases = tcase_create("reconcile");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_reconcile__serves_another_process);
    tcase_add_test(cases, test_reconcile__nothing_changed_is_nothing);
    tcase_add_test(cases, test_reconcile__survives_gc_and_pack_refs);
    tcase_add_test(cases, test_reconcile__gives_a_higher_modseq_to_what_was_edited);
    tcase_add_test(cases, test_reconcile__serves_a_well_made_edit_as_it_is);
    tcase_add_test(cases, test_reconcile__a_rewound_branch_takes_nothing_back);
    tcase_add_test(cases, test_reconcile__remembers_after_the_mailbox_was_closed);
    tcase_add_test(cases, test_reconcile__a_uid_never_names_another_message);
    tcase_add_test(cases, test_reconcile__keywords_keep_their_places);
    tcase_add_test(cases, test_reconcile__refuses_what_is_no_mailbox_until_it_is_mended);
    tcase_add_loop_test(cases, test_reconcile__refuses_malformed_mailboxes, 0,
                        G_N_ELEMENTS(MALFORMED));
    tcase_add_test(cases, test_reconcile__refuses_a_missing_message);
    tcase_add_test(cases, test_reconcile__a_newer_format_is_left_alone);
    tcase_add_test(cases, test_reconcile__a_branch_deleted_outside_is_a_deleted_mailbox);
    tcase_add_test(cases, test_reconcile__inbox_is_always_there);
    tcase_add_test(cases, test_reconcile__another_mailbox_in_the_same_place_is_another);
    tcase_add_loop_test(
        cases, test_reconcile__another_mailbox_in_the_place_of_an_open_one_is_another, 0, 2);
    tcase_add_test(cases, test_reconcile__names_that_are_no_encoding_are_not_listed);
    tcase_add_test(cases, test_reconcile__lists_mailboxes_without_a_readable_account_state);
    tcase_add_test(cases, test_reconcile__a_pushed_branch_becomes_a_mailbox);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
