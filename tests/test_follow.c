/* What a second process can know of changes that a server has acknowledged. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/follow.h"
#include "store/internal/journal_peek.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
static struct mail_fixture server; /* with a journal */
static struct mail_fixture admin;
static struct mailbox *inbox;
static struct store_error error;

static void set_up(void)
{
    mail_fixture_init(&server, NULL);
    mail_fixture_close(&server);
    ck_assert_int_eq(store_open(&server.store, server.directory, server.host, &error), 0);
    ck_assert_int_eq(store_open_journal(server.store, &settings, &error), 0);
    ck_assert_int_eq(store_open_account(server.store, "alice", &server.account, &error), 0);
    inbox = open_mailbox(&server, "INBOX");
    admin = server;
    mail_fixture_open(&admin);
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_close(&admin);
    mail_fixture_release(&server);
}

static void acknowledge(void)
{
    ck_assert_int_eq(store_sync(server.store, &error), 0);
}

/* As a server does it some milliseconds later. */
static void materialize(void)
{
    usleep(20 * 1000);
    store_work(server.store, true);
}

static guint peeked(void)
{
    g_autofree char *directory = fixture_path(server.directory, "journal");
    g_autoptr(GArray) moves = NULL;

    ck_assert_int_eq(journal_peek(&moves, directory, "alice", &error), 0);
    return moves->len;
}

static const char *reference_of(const GPtrArray *references, const char *name)
{
    static char hex[OBJECT_ID_HEX + 1];

    for (guint i = 0; i < references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(references, i);

        if (strcmp(reference->name, name) == 0) {
            object_id_format(&reference->id, hex);
            return hex;
        }
    }
    return "";
}

START_TEST(test_follow__nothing_to_wait_for)
{
    ck_assert_uint_eq(peeked(), 0);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);
}
END_TEST

START_TEST(test_follow__waits_for_what_only_the_journal_has)
{
    append_text(&server, inbox, "one");
    ck_assert_uint_eq(peeked(), 0); /* not acknowledged */
    acknowledge();
    ck_assert_uint_eq(peeked(), 1);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), STORE_CONFLICT);
    materialize();
    ck_assert_uint_eq(peeked(), 1); /* no checkpoint as yet */
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);
}
END_TEST

static bool found(const char *user)
{
    bool any;

    ck_assert_int_eq(follow_find(&any, server.directory, user, &error), 0);
    return any;
}

START_TEST(test_follow__finds_whether_a_journal_has_anything)
{
    ck_assert(!found("alice"));
    append_text(&server, inbox, "one");
    ck_assert(!found("alice"));
    acknowledge();
    ck_assert(found("alice"));
    ck_assert(!found("bob"));
    ck_assert_int_eq(store_flush(server.store, &error), 0);
    ck_assert(!found("alice"));
}
END_TEST

START_TEST(test_follow__without_a_data_directory_there_is_nothing_to_find)
{
    g_autofree char *nowhere = fixture_path(server.directory, "nowhere");
    bool any = true;

    ck_assert_int_eq(follow_find(&any, nowhere, "alice", &error), 0);
    ck_assert(!any);
    ck_assert_int_ne(access(nowhere, F_OK), 0);
}
END_TEST

START_TEST(test_follow__git_has_at_once_what_is_settled)
{
    g_autofree char *before = GIT_OUTPUT(server.path, "rev-parse", "INBOX");

    ck_assert_int_eq(store_settle(server.store, "alice", &error), 0);
    append_text(&server, inbox, "one");
    acknowledge();
    ck_assert_int_eq(store_settle(server.store, "bob", &error), 0);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), STORE_CONFLICT);
    ck_assert_int_eq(store_settle(server.store, "alice", &error), 0);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);

    g_autofree char *after = GIT_OUTPUT(server.path, "rev-parse", "INBOX");
    g_autofree char *parent = GIT_OUTPUT(server.path, "rev-parse", "INBOX^");
    struct store_figures figures;

    ck_assert_str_ne(before, after);
    ck_assert_str_eq(before, parent);
    store_figures(server.store, &figures);
    ck_assert_uint_eq(figures.waiting, 0);
}
END_TEST

START_TEST(test_follow__what_somebody_holds_is_settled_later)
{
    g_autofree char *lock = fixture_path(server.path, "refs/heads/INBOX.lock");

    append_text(&server, inbox, "one");
    acknowledge();
    ck_assert(g_file_set_contents(lock, "", 0, NULL));
    ck_assert_int_lt(store_settle(server.store, "alice", &error), 0);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), STORE_CONFLICT);
    ck_assert_int_eq(unlink(lock), 0);
    ck_assert_int_eq(store_settle(server.store, "alice", &error), 0);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);
}
END_TEST

START_TEST(test_follow__what_is_built_upon_is_there)
{
    append_text(&server, inbox, "one");
    acknowledge();
    materialize();
    mail_fixture_reopen(&admin);
    struct mailbox *there = open_mailbox(&admin, "INBOX");
    append_text(&admin, there, "two");
    mailbox_unref(there);
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);
}
END_TEST

START_TEST(test_follow__a_branch_that_was_set_back_ends_with_the_checkpoint)
{
    g_autofree char *before = GIT_OUTPUT(server.path, "rev-parse", "INBOX");

    append_text(&server, inbox, "one");
    acknowledge();
    materialize();
    ck_assert(GIT(server.path, "update-ref", "refs/heads/INBOX", g_strchomp(before)));
    ck_assert_int_eq(follow_journal(admin.account, 0, &error), STORE_CONFLICT);
    ck_assert_int_eq(store_flush(server.store, &error), 0);
    ck_assert_int_eq(follow_journal(admin.account, 1, &error), 0);
}
END_TEST

START_TEST(test_follow__another_account_waits_for_nothing)
{
    struct account *bob;

    ck_assert_int_eq(store_create_account(admin.store, "bob", &admin.origin, &error), 0);
    append_text(&server, inbox, "one");
    acknowledge();
    ck_assert_int_eq(store_open_account(admin.store, "bob", &bob, &error), 0);
    ck_assert_int_eq(follow_journal(bob, 0, &error), 0);
    account_unref(bob);
}
END_TEST

/* A change of two branches of which git has one for as long as somebody holds the other's lock. */
START_TEST(test_follow__a_moment_has_all_of_a_change_or_none)
{
    g_autofree char *lock = fixture_path(server.path, "refs/heads/Trash.lock");
    struct mailbox *trash = open_mailbox(&server, "Trash");
    g_autoptr(GPtrArray) references = NULL;
    struct uid_pairs pairs;
    uint32_t uid = append_text(&server, inbox, "one");
    int fd;

    acknowledge();
    materialize();
    ck_assert_int_eq(follow_moment(admin.account, 0, &references, &error), 0);
    g_clear_pointer(&references, g_ptr_array_unref);
    fd = open(lock, O_CREAT | O_EXCL | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(mailbox_move(inbox, &uid, 1, trash, &server.origin, &pairs, &error), 0);
    uid_pairs_release(&pairs);
    acknowledge();
    materialize();
    ck_assert_int_eq(follow_moment(admin.account, 0, &references, &error), STORE_CONFLICT);
    ck_assert_int_eq(follow_look(admin.account, &references, &error), 0);
    ck_assert_ptr_null(references);
    unlink(lock);
    usleep(1100 * 1000); /* MATERIALIZE_AGAIN */
    materialize();
    ck_assert_int_eq(follow_moment(admin.account, 0, &references, &error), 0);
    g_autofree char *tip = GIT_OUTPUT(server.path, "rev-parse", "INBOX");
    ck_assert_str_eq(reference_of(references, "refs/heads/INBOX"), g_strchomp(tip));
    g_autofree char *other = GIT_OUTPUT(server.path, "rev-parse", "Trash");
    ck_assert_str_eq(reference_of(references, "refs/heads/Trash"), g_strchomp(other));
    ck_assert_str_ne(reference_of(references, "refs/annal/account"), "");
    mailbox_unref(trash);
}
END_TEST

/* So much that the ring goes round several times between looks. */
START_TEST(test_follow__reads_a_ring_that_goes_round)
{
    for (int i = 0; i < 300; i++) {
        append_text(&server, inbox, "some text that fills the ring");
        acknowledge();
        if (i % 7 == 0) {
            ck_assert_uint_ge(peeked(), 1);
            materialize();
            ck_assert_int_eq(follow_journal(admin.account, 0, &error), 0);
        }
        if (i % 50 == 49) {
            ck_assert_int_eq(store_flush(server.store, &error), 0);
            ck_assert_uint_eq(peeked(), 0);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("follow");
    TCase *tcase = tcase_create("follow");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_follow__nothing_to_wait_for);
    tcase_add_test(tcase, test_follow__waits_for_what_only_the_journal_has);
    tcase_add_test(tcase, test_follow__finds_whether_a_journal_has_anything);
    tcase_add_test(tcase, test_follow__without_a_data_directory_there_is_nothing_to_find);
    tcase_add_test(tcase, test_follow__git_has_at_once_what_is_settled);
    tcase_add_test(tcase, test_follow__what_somebody_holds_is_settled_later);
    tcase_add_test(tcase, test_follow__what_is_built_upon_is_there);
    tcase_add_test(tcase, test_follow__a_branch_that_was_set_back_ends_with_the_checkpoint);
    tcase_add_test(tcase, test_follow__another_account_waits_for_nothing);
    tcase_add_test(tcase, test_follow__a_moment_has_all_of_a_change_or_none);
    tcase_add_test(tcase, test_follow__reads_a_ring_that_goes_round);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
