#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/commit.h"
#include "store/internal/repository.h"
#include "store/internal/snapshot_cache.h"
#include "store/internal/snapshot_file.h"
#include "store/internal/store_private.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static char *directory;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    directory = g_strconcat(fixture.directory, "/cache/alice/snapshots", NULL);
}

static void tear_down(void)
{
    mail_fixture_release(&fixture);
    g_free(directory);
}

static char *path_of(const char *branch)
{
    return g_strconcat(directory, "/", branch, NULL);
}

static bool has_file(const char *branch)
{
    g_autofree char *path = path_of(branch);

    return access(path, F_OK) == 0;
}

static struct object_id commit_of_file(const char *branch)
{
    g_autofree char *path = path_of(branch);
    struct snapshot_file_status status;

    ck_assert(snapshot_file_status(&status, path));
    return status.commit;
}

static struct object_id commit_of(const char *name)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);
    struct object_id commit = *snapshot_commit(mailbox_snapshot(mailbox));

    mailbox_unref(mailbox);
    return commit;
}

static bool file_is_fresh(const char *name)
{
    struct object_id a = commit_of_file(name), b = commit_of(name);

    return object_id_equal(&a, &b);
}

static void fill(const char *name, size_t count)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);

    append_many(&fixture, mailbox, count);
    mailbox_unref(mailbox);
}

static void flag_one(const char *name, uint32_t uid)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);

    ck_assert_int_eq(flag(&fixture, mailbox, uid, FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL), 0);
    mailbox_unref(mailbox);
}

/* What is served now, and what is served without any file. */
static void assert_no_difference(void)
{
    g_autofree char *with = NULL;
    g_autofree char *without = NULL;

    mail_fixture_reopen(&fixture);
    with = describe_account(&fixture);
    mail_fixture_close(&fixture);
    repository_remove(directory);
    mail_fixture_open(&fixture);
    without = describe_account(&fixture);
    ck_assert_str_eq(with, without);
}

START_TEST(test_snapshot_cache__keeps_a_file_of_large_mailboxes_only)
{
    fill("INBOX", SNAPSHOT_CACHE_MESSAGES - 1);
    fill("Archive", SNAPSHOT_CACHE_MESSAGES);
    mail_fixture_reopen(&fixture);
    ck_assert(!has_file("INBOX"));
    ck_assert(has_file("Archive"));
    ck_assert(file_is_fresh("Archive"));
    assert_no_difference();
}
END_TEST

START_TEST(test_snapshot_cache__opens_what_it_holds_without_git)
{
    struct mailbox *mailbox;

    fill("INBOX", 700);
    mail_fixture_reopen(&fixture);
    mailbox = open_mailbox(&fixture, "INBOX");
    ck_assert_ptr_nonnull(mailbox->snapshot->root->node.map);
    ck_assert_uint_eq(mailbox->snapshot->unsaved, 0);
    mailbox_unref(mailbox);
    flag_one("INBOX", 350);
    mail_fixture_reopen(&fixture);
    mailbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(message_of(mailbox, 350).flags, MESSAGE_FLAGGED);
    /* A leaf and the version itself. */
    ck_assert_uint_eq(mailbox->snapshot->unsaved, 2);
    mailbox_unref(mailbox);
    assert_no_difference();
}
END_TEST

static unsigned open_files(void)
{
    GDir *entries = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned count = 0;

    ck_assert_ptr_nonnull(entries);
    while (g_dir_read_name(entries) != NULL) {
        count++;
    }
    g_dir_close(entries);
    return count;
}

/* Until then it is open: another file in its place is none of its business. */
START_TEST(test_snapshot_cache__maps_a_file_when_the_turn_is_over)
{
    struct store *store;
    struct mailbox *mailbox;
    g_autofree char *path = path_of("INBOX");

    fill("INBOX", 700);
    for (int before = 0; before < 2; before++) {
        mail_fixture_reopen(&fixture);
        store = fixture.store;
        mailbox = open_mailbox(&fixture, "INBOX");
        unsigned files = open_files();

        ck_assert_uint_eq(store->unmapped->len, 1);
        if (before != 0) {
            ck_assert_uint_eq(message_of(mailbox, 350).uid, 350);
            ck_assert_uint_eq(open_files(), files - 1);
        }
        ck_assert(g_file_set_contents(path, "another", -1, NULL));
        store_work(store, true);
        ck_assert_uint_eq(store->unmapped->len, 0);
        ck_assert_uint_eq(open_files(), files - 1);
        ck_assert_uint_eq(message_of(mailbox, 700).uid, 700);
        ck_assert(has_file("INBOX"));
        unlink(path);
        mailbox_unref(mailbox);
        mail_fixture_reopen(&fixture);
        mailbox = open_mailbox(&fixture, "INBOX");
        ck_assert(file_is_fresh("INBOX"));
        mailbox_unref(mailbox);
    }
}
END_TEST

START_TEST(test_snapshot_cache__leaves_few_files_open)
{
    struct snapshot *snapshots[3 * SNAPSHOT_CACHE_UNMAPPED_MAX / 2];
    struct mailbox *mailbox;
    struct store_error error;

    fill("INBOX", 700);
    mail_fixture_reopen(&fixture);
    mailbox = open_mailbox(&fixture, "INBOX");
    store_work(fixture.store, true);
    unsigned files = open_files();

    for (guint i = 0; i < G_N_ELEMENTS(snapshots); i++) {
        ck_assert_int_eq(snapshot_cache_load(&snapshots[i], mailbox,
                                             snapshot_commit(mailbox_snapshot(mailbox)), &error),
                         0);
        ck_assert_uint_le(open_files(), files + SNAPSHOT_CACHE_UNMAPPED_MAX);
    }
    ck_assert_uint_gt(open_files(), files);
    for (guint i = 0; i < G_N_ELEMENTS(snapshots); i++) {
        ck_assert_uint_eq(snapshot_message(snapshots[i], 699).uid, 700);
        snapshot_unref(snapshots[i]);
    }
    store_work(fixture.store, true);
    ck_assert_uint_eq(open_files(), files);
    mailbox_unref(mailbox);
}
END_TEST

START_TEST(test_snapshot_cache__a_deleted_file_comes_back)
{
    struct mailbox *mailbox;

    fill("INBOX", 700);
    mail_fixture_close(&fixture);
    repository_remove(directory);
    mail_fixture_open(&fixture);
    mailbox = open_mailbox(&fixture, "INBOX");
    ck_assert(has_file("INBOX"));
    ck_assert_ptr_nonnull(mailbox->snapshot->root->node.map);
    repository_remove(directory);
    ck_assert_uint_eq(snapshot_message(mailbox_snapshot(mailbox), 699).uid, 700);
    mailbox_unref(mailbox);
    assert_no_difference();
}
END_TEST

START_TEST(test_snapshot_cache__writes_after_many_changes_or_some_time)
{
    g_autofree char *path = path_of("INBOX");
    struct timespec old[2] = {{.tv_sec = time(NULL) - 60}, {.tv_sec = time(NULL) - 60}};
    struct mailbox *mailbox;
    struct snapshot_file_status status;

    fill("INBOX", 1000);
    fill("INBOX", 1000);
    mail_fixture_reopen(&fixture);
    ck_assert(snapshot_file_status(&status, path));
    ck_assert(file_is_fresh("INBOX"));
    flag_one("INBOX", 1);
    mail_fixture_reopen(&fixture);
    ck_assert(!file_is_fresh("INBOX"));
    for (uint32_t uid = 201; uid <= 801; uid += 200) {
        flag_one("INBOX", uid);
    }
    mail_fixture_reopen(&fixture);
    ck_assert(file_is_fresh("INBOX"));
    flag_one("INBOX", 1000);
    mail_fixture_reopen(&fixture);
    ck_assert(!file_is_fresh("INBOX"));
    ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
    mailbox = open_mailbox(&fixture, "INBOX");
    store_maintain(fixture.store);
    mailbox_unref(mailbox);
    ck_assert(file_is_fresh("INBOX"));
    assert_no_difference();
}
END_TEST

START_TEST(test_snapshot_cache__removes_what_is_of_no_branch)
{
    struct store_error error;

    fill("INBOX", 500);
    fill("Trash", 500);
    mail_fixture_reopen(&fixture);
    ck_assert(has_file("INBOX") && has_file("Trash"));
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Trash", &fixture.origin, &error), 0);
    g_autofree char *half = path_of("INBOX~1");
    ck_assert(g_file_set_contents(half, "half", 4, NULL));
    fill("Archive", 500);
    mail_fixture_reopen(&fixture);
    ck_assert(has_file("INBOX") && has_file("Archive"));
    ck_assert(!has_file("Trash") && access(half, F_OK) < 0);
    assert_no_difference();
}
END_TEST

/* A name that comes back is another mailbox; a branch that is set back is mended as ever. */
START_TEST(test_snapshot_cache__an_old_file_makes_no_difference)
{
    struct store_error error;
    struct mailbox *mailbox;

    fill("Trash", 600);
    mail_fixture_reopen(&fixture);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Trash", &fixture.origin, &error), 0);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Trash", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    mailbox = open_mailbox(&fixture, "Trash");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(mailbox)), 0);
    mailbox_unref(mailbox);
    fill("Trash", 700);
    assert_no_difference();
}
END_TEST

/* A commit of somebody's whose list lacks a keyword that a leaf has: the file, whose list is
 * longer, makes it no better. */
START_TEST(test_snapshot_cache__a_past_without_a_keyword_of_its_own_is_corrupt)
{
    struct origin origin = {.time = 0};
    struct snapshot_builder *builder;
    struct snapshot *out = NULL;
    struct object_batch *batch;
    struct store_error error;
    struct object_id root, commit;
    struct mailbox *mailbox;

    fill("INBOX", 700);
    mailbox = open_mailbox(&fixture, "INBOX");
    ck_assert_int_eq(flag(&fixture, mailbox, 350, FLAG_MODE_ADD, 0, "later"), 0);
    mailbox_unref(mailbox);
    mail_fixture_close(&fixture);
    repository_remove(directory);
    mail_fixture_open(&fixture);
    mailbox = open_mailbox(&fixture, "INBOX");
    ck_assert(file_is_fresh("INBOX"));
    builder = snapshot_builder_new(mailbox->snapshot);
    g_ptr_array_unref(builder->keywords);
    builder->keywords = keywords_new();
    ck_assert_int_eq(object_batch_new(&batch, fixture.account->objects, &error), 0);
    ck_assert_int_eq(snapshot_builder_write(builder, batch, &out, &root, &error), 0);
    ck_assert_int_eq(commit_add(batch, &root, NULL, NULL, "alice", &origin, "x", &commit, &error),
                     0);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    snapshot_builder_free(builder);
    snapshot_unref(out);
    ck_assert_int_eq(snapshot_cache_load_past(&out, fixture.account, mailbox->ref, &commit, &error),
                     STORE_CORRUPT);
    mailbox_unref(mailbox);
}
END_TEST

START_TEST(test_snapshot_cache__a_damaged_file_makes_no_difference)
{
    g_autofree char *path = path_of("INBOX");
    g_autofree char *good = NULL;
    g_autofree char *right = NULL;
    gsize length;
    unsigned seed = 5;

    fill("INBOX", 600);
    mail_fixture_reopen(&fixture);
    right = describe_account(&fixture);
    ck_assert(g_file_get_contents(path, &good, &length, NULL));
    for (int i = 0; i < 40; i++) {
        g_autofree char *got = NULL;
        g_autofree char *bad = g_memdup2(good, length);

        for (int k = rand_r(&seed) % 4; k >= 0; k--) {
            bad[(size_t)rand_r(&seed) % length] ^= (char)(1 << i % 8);
        }
        mail_fixture_close(&fixture);
        ck_assert(g_file_set_contents(path, bad, (gssize)(i % 5 == 0 ? length / 2 : length), NULL));
        mail_fixture_open(&fixture);
        got = describe_account(&fixture);
        ck_assert_str_eq(got, right);
    }
}
END_TEST

/* A leaf that is damaged in the file, and git has it no more. */
START_TEST(test_snapshot_cache__what_is_lost_in_both_places_is_served_no_more)
{
    g_autofree char *path = path_of("INBOX");
    struct mailbox *inbox, *archive;
    struct store_error error;
    struct message message;

    fill("INBOX", 700);
    fill("Archive", 600);
    mail_fixture_reopen(&fixture);
    mail_fixture_close(&fixture);
    fixture_lose_object(fixture.path, "INBOX:00/00/00/07");
    fixture_damage_end(path);
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    archive = open_mailbox(&fixture, "Archive");
    ck_assert_uint_eq(message_of(inbox, 350).uid, 350);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(!mailbox_is_deleted(inbox));
    ck_assert_uint_eq(account_losses(fixture.account), 0);
    message = message_of(inbox, 700);
    ck_assert(object_id_is_zero(&message.blob));
    ck_assert_uint_eq(account_losses(fixture.account), 1);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(mailbox_is_deleted(inbox));
    mailbox_unref(inbox);
    ck_assert_int_eq(account_open_mailbox(fixture.account, "INBOX", &inbox, &error), STORE_CORRUPT);
    /* The other is read anew, and used on. */
    ck_assert_int_eq(mailbox_refresh(archive, &error), 0);
    mailbox_unref(archive);
    archive = open_mailbox(&fixture, "Archive");
    ck_assert_int_eq(mailbox_refresh(archive, &error), 0);
    ck_assert(!mailbox_is_deleted(archive));
    ck_assert_uint_eq(append_text(&fixture, archive, "one more"), 601);
    mailbox_unref(archive);
    mail_fixture_discard(&fixture);
    mail_fixture_init(&fixture, NULL);
}
END_TEST

/* The last leaf is looked at while the file is made use of: none of that is taken over, neither for
 * the mailbox nor for its past. */
START_TEST(test_snapshot_cache__a_commit_is_not_made_of_what_is_lost)
{
    struct object_id tip;
    struct snapshot *past;

    g_autofree char *path = path_of("INBOX");
    struct mailbox *inbox;
    struct store_error error;

    fill("INBOX", 700);
    mail_fixture_reopen(&fixture);
    flag_one("INBOX", 1);
    tip = commit_of("INBOX");
    mail_fixture_close(&fixture);
    fixture_lose_object(fixture.path, "INBOX:00/00/00/07");
    fixture_damage_end(path);
    mail_fixture_open(&fixture);
    if (_i == 0) {
        ck_assert_int_eq(account_open_mailbox(fixture.account, "INBOX", &inbox, &error),
                         STORE_CORRUPT);
    } else {
        ck_assert_int_eq(
            snapshot_cache_load_past(&past, fixture.account, "refs/heads/INBOX", &tip, &error),
            STORE_CORRUPT);
    }
    ck_assert_uint_eq(account_losses(fixture.account), 1);
    mail_fixture_discard(&fixture);
    mail_fixture_init(&fixture, NULL);
}
END_TEST

/* Somebody puts back what git lacked: nobody else's UIDs are changed by what was made up of it. */
START_TEST(test_snapshot_cache__what_comes_back_is_taken_as_it_is)
{
    g_autofree char *path = path_of("INBOX");
    g_autofree char *tip = NULL;
    struct mailbox *inbox;
    struct store_error error;

    fill("INBOX", 700);
    mail_fixture_reopen(&fixture);
    flag_one("INBOX", 700);
    mail_fixture_close(&fixture);
    tip = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX"));
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", "INBOX~1"));
    fixture_lose_object(fixture.path, "INBOX:00/00/00/07");
    fixture_damage_end(path);
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(account_losses(fixture.account), 0);
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", tip));
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(mailbox_is_deleted(inbox));
    mailbox_unref(inbox);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(message_of(inbox, 700).flags, MESSAGE_FLAGGED);
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), 701);
    mailbox_unref(inbox);
    g_autofree char *now = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX"));
    ck_assert_str_eq(now, tip);
    mail_fixture_discard(&fixture);
    mail_fixture_init(&fixture, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot_cache");
    TCase *cases = tcase_create("snapshot_cache");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_snapshot_cache__keeps_a_file_of_large_mailboxes_only);
    tcase_add_test(cases, test_snapshot_cache__opens_what_it_holds_without_git);
    tcase_add_test(cases, test_snapshot_cache__maps_a_file_when_the_turn_is_over);
    tcase_add_test(cases, test_snapshot_cache__leaves_few_files_open);
    tcase_add_test(cases, test_snapshot_cache__a_deleted_file_comes_back);
    tcase_add_test(cases, test_snapshot_cache__writes_after_many_changes_or_some_time);
    tcase_add_test(cases, test_snapshot_cache__removes_what_is_of_no_branch);
    tcase_add_test(cases, test_snapshot_cache__an_old_file_makes_no_difference);
    tcase_add_test(cases, test_snapshot_cache__a_damaged_file_makes_no_difference);
    tcase_add_test(cases, test_snapshot_cache__a_past_without_a_keyword_of_its_own_is_corrupt);
    tcase_add_test(cases, test_snapshot_cache__what_is_lost_in_both_places_is_served_no_more);
    tcase_add_loop_test(cases, test_snapshot_cache__a_commit_is_not_made_of_what_is_lost, 0, 2);
    tcase_add_test(cases, test_snapshot_cache__what_comes_back_is_taken_as_it_is);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
