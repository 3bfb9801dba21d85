/* Several processes and stock git on one repository at once: nothing is lost, nothing doubled. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { WRITERS = 4, MESSAGES = 40 };

static struct mail_fixture fixture;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
}

static void tear_down(void)
{
    mail_fixture_release(&fixture);
}

/* Appends messages of its own to INBOX; flags, moves or expunges some of them. */
static int write_messages(int writer)
{
    struct mail_fixture own = fixture;
    struct mailbox *inbox, *trash;
    struct store_error error;
    int rc = 0;

    mail_fixture_open(&own);
    inbox = open_mailbox(&own, "INBOX");
    trash = open_mailbox(&own, "Trash");
    for (int i = 0; rc == 0 && i < MESSAGES; i++) {
        struct uid_pairs pairs = {0};
        char text[64];
        int length = snprintf(text, sizeof(text), "writer %d message %d", writer, i);
        uint32_t uid;

        rc = try_append(&own, inbox, text, (size_t)length, 0, NULL, &uid, &error);
        if (rc == 0) {
            rc = flag(&own, inbox, uid, FLAG_MODE_ADD, MESSAGE_SEEN, NULL);
        }
        if (rc == 0 && i % 4 == 0) {
            rc = mailbox_move(inbox, &uid, 1, trash, &own.origin, &pairs, &error);
            uid_pairs_release(&pairs);
        } else if (rc == 0 && i % 4 == 1) {
            rc = expunge(&own, inbox, uid);
        }
    }
    mailbox_unref(inbox);
    mailbox_unref(trash);
    mail_fixture_close(&own);
    return rc;
}

static pid_t start_writer(int writer)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _exit(write_messages(writer) == 0 ? 0 : 1);
    }
    return pid;
}

static void check_mailbox(const char *name, size_t count)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    g_autoptr(GHashTable) seen =
        g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);

    ck_assert_uint_eq(snapshot_count(snapshot), count);
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);

        ck_assert_uint_eq(message.flags, MESSAGE_SEEN);
        ck_assert(g_hash_table_add(seen, g_memdup2(&message.blob, sizeof(message.blob))));
    }
    mailbox_unref(mailbox);
}

START_TEST(test_store__writers_and_git_at_once)
{
    pid_t writers[WRITERS];
    struct mailbox *inbox;
    int running = WRITERS;

    mail_fixture_close(&fixture);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = start_writer(i);
    }
    while (running > 0) {
        ck_assert(GIT(fixture.path, "pack-refs", "--all"));
        ck_assert(GIT(fixture.path, "gc", "-q", "--prune=now"));
        for (int i = 0; i < WRITERS; i++) {
            int status;

            if (writers[i] != 0 && waitpid(writers[i], &status, WNOHANG) == writers[i]) {
                ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                writers[i] = 0;
                running--;
            }
        }
    }
    mail_fixture_open(&fixture);
    check_mailbox("INBOX", WRITERS * MESSAGES / 2);
    check_mailbox("Trash", WRITERS * MESSAGES / 4);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), WRITERS * MESSAGES + 1);
    mailbox_unref(inbox);
}
END_TEST

START_TEST(test_store__gives_up_on_a_lock_that_stays)
{
    g_autofree char *lock = fixture_path(fixture.path, "refs/heads/INBOX.lock");
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    struct store_error error;
    uint32_t uid;

    ck_assert(g_file_set_contents(lock, "", 0, NULL));
    ck_assert_int_eq(try_append(&fixture, inbox, "x", 1, 0, NULL, &uid, &error), STORE_CONFLICT);
    ck_assert_int_eq(unlink(lock), 0);
    ck_assert_uint_eq(append_text(&fixture, inbox, "x"), 1);
    mailbox_unref(inbox);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_contention");
    TCase *cases = tcase_create("store_contention");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 110);
    tcase_add_test(cases, test_store__writers_and_git_at_once);
    tcase_add_test(cases, test_store__gives_up_on_a_lock_that_stays);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
