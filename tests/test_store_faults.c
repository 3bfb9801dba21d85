/* Every operation with every call to the host failing in turn, alone or as if the machine had
 * stopped there: afterwards the account is as it was before or as it is meant to be, whole, and
 * what was acknowledged is there. And every operation's order of syncs, for a power cut takes what
 * was only written.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faulty_host.h"
#include "tests/mail_fixture.h"
#include "tests/ordered_host.h"
#include "tests/store_fixture.h"

enum { CALLS_MAX = 500 }; /* more than any operation makes */

static int append_one(struct mail_fixture *fixture, struct store_error *error)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    uint32_t uid;
    int rc =
        try_append(fixture, inbox, "Subject: new\r\n\r\nx", 17, MESSAGE_SEEN, "$New", &uid, error);

    mailbox_unref(inbox);
    return rc;
}

static int append_large(struct mail_fixture *fixture, struct store_error *error)
{
    enum { LENGTH = SPOOL_MEMORY_MAX + 1000 };
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    char *text = malloc(LENGTH);
    struct spool *spool;
    uint32_t uid;
    int rc = account_spool(fixture->account, LENGTH, &spool, error);

    memset(text, 'x', LENGTH);
    if (rc == 0) {
        rc = spool_write(spool, text, LENGTH, error);
        if (rc == 0) {
            struct append append = {.spool = spool};

            rc = mailbox_append(inbox, &append, 1, &fixture->origin, &uid, error);
        }
        spool_free(spool);
    }
    free(text);
    mailbox_unref(inbox);
    return rc;
}

static int append_several(struct mail_fixture *fixture, struct store_error *error)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    struct append appends[3] = {0};
    uint32_t first;
    int rc;

    for (size_t i = 0; i < 3; i++) {
        appends[i].spool = spool_of(fixture->account, &"abc"[i], 1);
    }
    rc = mailbox_append(inbox, appends, 3, &fixture->origin, &first, error);
    for (size_t i = 0; i < 3; i++) {
        spool_free(appends[i].spool);
    }
    mailbox_unref(inbox);
    return rc;
}

static int store_flags(struct mail_fixture *fixture, struct store_error *error)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    uint32_t uids[] = {1, 3};
    struct flag_change change = {FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL, UINT64_MAX};
    int rc = mailbox_store_flags(inbox, uids, 2, &change, &fixture->origin, NULL, error);

    mailbox_unref(inbox);
    return rc;
}

static int expunge_some(struct mail_fixture *fixture, struct store_error *error)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    uint32_t uids[] = {1, 2, 3};
    int rc = mailbox_expunge(inbox, uids, 3, false, &fixture->origin, error);

    mailbox_unref(inbox);
    return rc;
}

static int copy_or_move(struct mail_fixture *fixture, bool move, struct store_error *error)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");
    struct mailbox *other = open_mailbox(fixture, "A");
    uint32_t uids[] = {2, 3};
    struct uid_pairs pairs;
    int rc = (move ? mailbox_move : mailbox_copy)(inbox, uids, 2, other, &fixture->origin, &pairs,
                                                  error);

    uid_pairs_release(&pairs);
    mailbox_unref(inbox);
    mailbox_unref(other);
    return rc;
}

static int copy(struct mail_fixture *fixture, struct store_error *error)
{
    return copy_or_move(fixture, false, error);
}

static int move(struct mail_fixture *fixture, struct store_error *error)
{
    return copy_or_move(fixture, true, error);
}

static int create(struct mail_fixture *fixture, struct store_error *error)
{
    return account_create_mailbox(fixture->account, "new", SPECIAL_USE_NONE, &fixture->origin,
                                  error);
}

static int rename_children(struct mail_fixture *fixture, struct store_error *error)
{
    return account_rename_mailbox(fixture->account, "A", "Z", &fixture->origin, error);
}

static int rename_inbox(struct mail_fixture *fixture, struct store_error *error)
{
    return account_rename_mailbox(fixture->account, "INBOX", "Old", &fixture->origin, error);
}

static int delete_special(struct mail_fixture *fixture, struct store_error *error)
{
    return account_delete_mailbox(fixture->account, "Trash", &fixture->origin, error);
}

static int subscribe(struct mail_fixture *fixture, struct store_error *error)
{
    return account_subscribe(fixture->account, "A", true, &fixture->origin, error);
}

static int set_use(struct mail_fixture *fixture, struct store_error *error)
{
    return account_set_special_use(fixture->account, "A", SPECIAL_USE_JUNK, &fixture->origin,
                                   error);
}

enum { MANY = 40 }; /* mailboxes: enough for one sync of the file system for all */

static int create_many(struct mail_fixture *fixture, struct store_error *error)
{
    struct new_mailbox mailboxes[MANY];
    char names[MANY][16];

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "N/%u", i);
        mailboxes[i] = (struct new_mailbox){names[i], 1000 + i, false};
    }
    return account_create_mailboxes(fixture->account, mailboxes, MANY, &fixture->origin, error);
}

static int fill_many(struct mail_fixture *fixture, struct store_error *error)
{
    static const char *const names[] = {"INBOX", "A", "A/B", "Drafts", "Sent", "Junk"};
    struct intake intakes[G_N_ELEMENTS(names)];
    struct append append = {.spool = spool_of(fixture->account, "x", 1), .uid = 50};
    int rc;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        intakes[i] = (struct intake){open_mailbox(fixture, names[i]), &append, i != 1, 70};
    }
    rc = mailbox_take_in(intakes, G_N_ELEMENTS(names), &fixture->origin, error);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        mailbox_unref(intakes[i].mailbox);
    }
    spool_free(append.spool);
    return rc;
}

static int (*const OPERATIONS[])(struct mail_fixture *fixture, struct store_error *error) = {
    append_one,     append_several, append_large, store_flags,     expunge_some,
    copy,           move,           create,       rename_children, rename_inbox,
    delete_special, subscribe,      set_use,      fill_many,       create_many,
};

/* A call of those that an operation makes is disturbed, then one so many later. */
static unsigned step_of(size_t operation)
{
    return OPERATIONS[operation] == create_many ? 9 : 1;
}

/* An account with something in it, opened over host. */
static void populate(struct mail_fixture *fixture, const struct host *host)
{
    struct store_error error;
    struct mailbox *inbox;

    mail_fixture_init(fixture, NULL);
    inbox = open_mailbox(fixture, "INBOX");
    append_many(fixture, inbox, 4);
    mailbox_unref(inbox);
    ck_assert_int_eq(
        account_create_mailbox(fixture->account, "A", SPECIAL_USE_NONE, &fixture->origin, &error),
        0);
    ck_assert_int_eq(
        account_create_mailbox(fixture->account, "A/B", SPECIAL_USE_NONE, &fixture->origin, &error),
        0);
    fixture->host = host;
    mail_fixture_reopen(fixture);
}

/* The states before and after the operation, without a fault. */
static void undisturbed(size_t operation, char **before, char **after)
{
    struct mail_fixture fixture;
    struct store_error error;

    populate(&fixture, host_system());
    *before = describe_account(&fixture);
    ck_assert_int_eq(OPERATIONS[operation](&fixture, &error), 0);
    *after = describe_account(&fixture);
    ck_assert_str_ne(*before, *after);
    mail_fixture_release(&fixture);
}

/* One run with the fault at call number k; false once the operation makes fewer calls. */
static bool disturbed(size_t operation, unsigned k, bool stop, const char *before,
                      const char *after)
{
    struct mail_fixture fixture;
    struct faulty_host faulty;
    struct store_error error;
    g_autofree char *in_memory = NULL;
    g_autofree char *on_disk = NULL;
    bool acknowledged, failed;

    faulty_host_init(&faulty);
    populate(&fixture, &faulty.host);
    /* The mailboxes are known, so that the fault hits the operation and not a first look. */
    g_free(describe_account(&fixture));
    faulty_host_arm(&faulty, k, stop, k % 2 == 0 ? EIO : ENOSPC);
    acknowledged =
        OPERATIONS[operation](&fixture, &error) == 0 && store_sync(fixture.store, &error) == 0;
    failed = faulty.failed;
    if (stop) {
        mail_fixture_close(&fixture);
        faulty_host_arm(&faulty, 0, false, EIO);
        mail_fixture_open(&fixture);
    } else {
        faulty_host_arm(&faulty, 0, false, EIO);
        in_memory = describe_account(&fixture);
        mail_fixture_reopen(&fixture);
    }
    on_disk = describe_account(&fixture);
    ck_assert_msg(strcmp(on_disk, after) == 0 || (!acknowledged && strcmp(on_disk, before) == 0),
                  "operation %zu, call %u, stop %d, acknowledged %d:\n%s", operation, k, stop,
                  acknowledged, on_disk);
    ck_assert_msg(in_memory == NULL || strcmp(in_memory, on_disk) == 0,
                  "operation %zu, call %u: in memory\n%son disk\n%s", operation, k, in_memory,
                  on_disk);
    /* It goes on from there. */
    OPERATIONS[operation](&fixture, &error);
    mail_fixture_release(&fixture);
    return failed;
}

static void disturb_every_call(size_t operation, bool stop)
{
    char *before, *after;
    unsigned k = 1;

    undisturbed(operation, &before, &after);
    while (disturbed(operation, k, stop, before, after)) {
        k += step_of(operation);
        ck_assert_uint_lt(k, CALLS_MAX);
    }
    ck_assert_uint_gt(k, 3);
    g_free(before);
    g_free(after);
}

START_TEST(test_store__is_whole_after_any_call_failed)
{
    disturb_every_call((size_t)_i, false);
}
END_TEST

START_TEST(test_store__is_whole_after_the_machine_stopped_at_any_call)
{
    disturb_every_call((size_t)_i, true);
}
END_TEST

START_TEST(test_store__syncs_what_a_power_cut_would_take)
{
    struct mail_fixture fixture;
    struct ordered_host ordered;
    struct store_error error;

    ordered_host_init(&ordered);
    populate(&fixture, &ordered.host);
    g_free(describe_account(&fixture));
    ck_assert_int_eq(OPERATIONS[_i](&fixture, &error), 0);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    ordered_host_check(&ordered);
    ck_assert_uint_gt(ordered.moved, 0);
    mail_fixture_release(&fixture);
    ordered_host_release(&ordered);
}
END_TEST

START_TEST(test_store__syncs_a_new_account)
{
    char *directory = fixture_directory();
    struct origin origin = {.time = 1};
    struct ordered_host ordered;
    struct store *store;
    struct store_error error;

    ordered_host_init(&ordered);
    ck_assert_int_eq(store_open(&store, directory, &ordered.host, &error), 0);
    ck_assert_int_eq(store_create_account(store, "alice", &origin, &error), 0);
    ck_assert_int_eq(store_sync(store, &error), 0);
    ordered_host_check(&ordered);
    ck_assert_uint_gt(ordered.moved, 0);
    store_close(store);
    ordered_host_release(&ordered);
    fixture_remove(directory);
}
END_TEST

static size_t count_entries(const char *path)
{
    DIR *entries = opendir(path);
    const struct dirent *entry;
    size_t count = 0;

    ck_assert_ptr_nonnull(entries);
    while ((entry = readdir(entries)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(entries);
    return count;
}

/* One creation with a fault; false once it makes fewer calls. */
static bool disturbed_creation(unsigned k, bool stop)
{
    char *directory = fixture_directory();
    char *mail = fixture_path(directory, "mail");
    struct origin origin = {.time = 1};
    struct faulty_host faulty;
    struct store *store;
    struct account *account;
    struct store_error error;
    int rc;
    bool failed;

    faulty_host_init(&faulty);
    ck_assert_int_eq(store_open(&store, directory, &faulty.host, &error), 0);
    faulty_host_arm(&faulty, k, stop, EIO);
    rc = store_create_account(store, "alice", &origin, &error);
    failed = faulty.failed;
    store_close(store);
    ck_assert(rc == 0 || failed);
    faulty_host_arm(&faulty, 0, false, EIO);
    ck_assert_int_eq(store_open(&store, directory, &faulty.host, &error), 0);
    if (store_open_account(store, "alice", &account, &error) != 0) {
        ck_assert_int_eq(error.code, STORE_NOT_FOUND);
        ck_assert_int_lt(rc, 0);
        ck_assert_int_eq(store_create_account(store, "alice", &origin, &error), 0);
        ck_assert_int_eq(store_open_account(store, "alice", &account, &error), 0);
    }
    check_repository(account_path(account));
    ck_assert(account_mailbox_exists(account, "INBOX"));
    ck_assert(account_mailbox_exists(account, "Trash"));
    account_unref(account);
    store_close(store);
    ck_assert_uint_eq(count_entries(mail), 1);
    free(mail);
    fixture_remove(directory);
    return failed;
}

START_TEST(test_store__creates_an_account_wholly_or_not_at_all)
{
    unsigned k = 1;

    while (disturbed_creation(k, _i == 1)) {
        ck_assert_uint_lt(++k, CALLS_MAX);
    }
    ck_assert_uint_gt(k, 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_faults");
    TCase *cases = tcase_create("store_faults");
    SRunner *runner = srunner_create(suite);
    int failed;

    /* Thousands of syncs: on a file system in memory, where there is one, they cost nothing. */
    if (access("/dev/shm", W_OK | X_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    tcase_set_timeout(cases, 110);
    tcase_add_loop_test(cases, test_store__is_whole_after_any_call_failed, 0,
                        G_N_ELEMENTS(OPERATIONS));
    tcase_add_loop_test(cases, test_store__is_whole_after_the_machine_stopped_at_any_call, 0,
                        G_N_ELEMENTS(OPERATIONS));
    tcase_add_loop_test(cases, test_store__creates_an_account_wholly_or_not_at_all, 0, 2);
    tcase_add_loop_test(cases, test_store__syncs_what_a_power_cut_would_take, 0,
                        G_N_ELEMENTS(OPERATIONS));
    tcase_add_test(cases, test_store__syncs_a_new_account);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
