#include <check.h>
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/collect.h"
#include "store/hold.h"
#include "store/maintenance.h"
#include "store/past.h"
#include "store/retention.h"
#include "store/verify.h"
#include "tests/faulty_host.h"
#include "tests/mail_fixture.h"
#include "tests/power_host.h"
#include "tests/store_fixture.h"

enum { DAY = 24 * 3600, LARGE = 300 * 1000, FAULTS_MAX = 200 };
#define DAY_ZERO INT64_C(1795000000) /* second in which the fixture makes the account */

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static struct host host; /* the system's with a clock of ours, without its flushes */
static int64_t today;    /* second */
static struct retention_result cut;
static struct collect_result collected;

static int64_t clock_of_ours(void *data)
{
    (void)data;
    return today * 1000000;
}

static void on_day(int day)
{
    today = DAY_ZERO + (int64_t)day * DAY;
    fixture.origin.time = today * 1000000;
}

static void set_up(void)
{
    host = fixture_host_without_syncs();
    host.now = clock_of_ours;
    today = DAY_ZERO;
    mail_fixture_init(&fixture, &host);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void close_mailbox(void)
{
    g_clear_pointer(&inbox, mailbox_unref);
}

static void tear_down(void)
{
    close_mailbox();
    mail_fixture_release(&fixture);
}

/* As a server that is started anew: what it protects of its newest packs is protected no more. */
static void reopen(void)
{
    close_mailbox();
    mail_fixture_reopen(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}

static char *large_text(unsigned number)
{
    char *text = g_malloc(LARGE + 1);
    uint32_t random = number + 1;
    int head = snprintf(text, LARGE, "Subject: %u\r\n\r\n", number);

    for (int i = head; i < LARGE; i++) {
        text[i] = (char)('!' + power_random(&random) % 90);
    }
    text[LARGE] = '\0';
    return text;
}

static uint32_t append_large(unsigned number)
{
    g_autofree char *text = large_text(number);

    return append_text(&fixture, inbox, text);
}

static int keep_days(int days)
{
    struct retention_policy *policy = retention_policy_new((int64_t)days * DAY);
    int rc = retention_cut(fixture.path, &host, policy, &cut, &error);

    retention_policy_free(policy);
    return rc;
}

static void drop(bool at_once)
{
    struct collect_settings settings = {.history = at_once};

    if (collect_repository(fixture.path, &host, &settings, &collected, &error) < 0) {
        ck_abort_msg("collecting: %s", error.detail);
    }
}

static unsigned count_commits(const char *branch)
{
    g_autofree char *text = GIT_OUTPUT(fixture.path, "rev-list", "--count", branch);

    ck_assert_ptr_nonnull(text);
    return (unsigned)strtoul(text, NULL, 10);
}

static char *blob_of(uint32_t uid)
{
    struct message message = message_of(inbox, uid);
    char *hex = g_malloc(OBJECT_ID_HEX + 1);

    object_id_format(&message.blob, hex);
    return hex;
}

static bool exists(const char *id)
{
    return GIT(fixture.path, "cat-file", "-e", id);
}

/* A message a day, flagged the day after. */
static void live(int from, int to)
{
    for (int day = from; day < to; day++) {
        on_day(day);
        append_many(&fixture, inbox, 1);
        ck_assert_int_eq(
            flag(&fixture, inbox, (uint32_t)(day - from + 1), FLAG_MODE_ADD, MESSAGE_SEEN, NULL),
            0);
    }
}

START_TEST(test_retention__gives_the_disk_back_and_keeps_what_is_younger)
{
    g_autofree char *old = NULL;
    g_autofree char *young = NULL;

    on_day(1);
    uint32_t first = append_large(1);
    old = blob_of(first);
    on_day(2);
    ck_assert_int_eq(expunge(&fixture, inbox, first), 0);
    on_day(150);
    uint32_t second = append_large(2);
    young = blob_of(second);
    on_day(151);
    ck_assert_int_eq(expunge(&fixture, inbox, second), 0);
    on_day(200);
    reopen();
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_uint_gt(cut.cuts, 0);
    /* The state of 90 days ago is the oldest one. */
    ck_assert_uint_eq(count_commits("INBOX"), 3);
    check_repository(fixture.path);
    ck_assert(exists(old));

    today += RETENTION_GRACE_SECONDS;
    drop(false);
    ck_assert(!exists(old));
    ck_assert(exists(young));
    ck_assert_uint_lt(collected.octets_after + LARGE, collected.octets_before);
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_uint_eq(cut.cuts, 0);
    ck_assert_int_eq(cut.waiting, INT64_MAX);
}
END_TEST

START_TEST(test_retention__waits_for_those_who_may_still_read)
{
    g_autofree char *old = NULL;

    on_day(1);
    uint32_t uid = append_large(1);
    old = blob_of(uid);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    on_day(200);
    append_many(&fixture, inbox, 1);
    reopen();
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_int_eq(cut.waiting, today);
    today += RETENTION_GRACE_SECONDS - 1;
    drop(false);
    ck_assert(exists(old));
    check_repository(fixture.path);
    drop(true);
    ck_assert(!exists(old));
}
END_TEST

START_TEST(test_retention__leaves_a_repository_that_any_git_uses)
{
    g_autofree char *clone = fixture_path(fixture.directory, "clone");
    g_autofree char *far = fixture_path(fixture.directory, "far");
    g_autofree char *url = g_strdup_printf("file://%s", fixture.path);
    g_autofree char *count = NULL;

    live(0, 100);
    reopen();
    ck_assert_int_eq(keep_days(30), 0);
    drop(true);
    unsigned kept = count_commits("INBOX");
    ck_assert_uint_eq(kept, 2 * 31 + 1);
    ck_assert(GIT(fixture.path, "fsck", "--strict"));
    ck_assert(GIT(fixture.path, "gc", "-q", "--prune=now"));
    ck_assert(GIT(fixture.path, "fsck", "--strict"));
    ck_assert(GIT(fixture.directory, "clone", "-q", fixture.path, "clone"));
    ck_assert(GIT(fixture.directory, "clone", "-q", "--no-local", url, "far"));
    ck_assert(GIT(clone, "fsck", "--strict"));
    count = GIT_OUTPUT(far, "rev-list", "--count", "HEAD");
    ck_assert_uint_eq(strtoul(count, NULL, 10), kept);
    /* A clone of before and one of after can both push and fetch. */
    ck_assert(GIT(far, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty",
                  "-m", "from far"));
    ck_assert(GIT(far, "push", "-q", "origin", "HEAD:refs/heads/Other"));
    ck_assert(GIT(clone, "fetch", "-q"));
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Other"));
    reopen();
    append_many(&fixture, inbox, 1);
}
END_TEST

START_TEST(test_retention__goes_on_under_a_server_that_is_at_work)
{
    struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN};

    live(0, 100);
    close_mailbox();
    mail_fixture_reopen(&fixture);
    account_unref(fixture.account);
    ck_assert_int_eq(store_open_journal(fixture.store, &journal, &error), 0);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    inbox = open_mailbox(&fixture, "INBOX");
    on_day(101);
    append_many(&fixture, inbox, 2);
    ck_assert_int_eq(keep_days(30), 0);
    append_many(&fixture, inbox, 2);
    drop(true);
    append_many(&fixture, inbox, 2);
    ck_assert_int_eq(expunge(&fixture, inbox, 3), 0);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 105);
    check_repository(fixture.path);
}
END_TEST

static struct mailbox *open_past(int day)
{
    struct moment moment = {.first = DAY_ZERO + (int64_t)day * DAY};
    struct mailbox *past;

    moment.last = moment.first;
    if (past_open(fixture.account, "INBOX", &moment, &past, NULL, &error) < 0) {
        return NULL;
    }
    return past;
}

/* A client has the past open, and takes a message out of it while that is being dropped. */
START_TEST(test_retention__loses_nothing_that_is_copied_out_of_the_past)
{
    struct uid_pairs pairs = {0};
    struct mailbox *past;

    on_day(1);
    uint32_t large = append_large(1);
    append_text(&fixture, inbox, "Subject: small\r\n\r\nx\r\n");
    on_day(2);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    on_day(200);
    reopen();
    past = open_past(1);
    ck_assert_ptr_nonnull(past);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(past)), 2);
    ck_assert_int_eq(keep_days(90), 0);
    const uint32_t uids[] = {large, large + 1};
    ck_assert_int_eq(mailbox_copy(past, uids, 2, inbox, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(pairs.to->len, 2);
    uid_pairs_release(&pairs);
    mailbox_unref(past);
    reopen();
    drop(true);
    check_repository(fixture.path);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    /* What was let go is known to be gone, and the rest of the past is still there. */
    reopen();
    ck_assert_ptr_null(open_past(1));
    past = open_past(150);
    ck_assert_ptr_nonnull(past);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(past)), 0);
    mailbox_unref(past);
}
END_TEST

static enum vanished vanished_since(uint64_t modseq, guint *count)
{
    GArray *ranges = NULL;
    enum vanished answer;

    do {
        g_clear_pointer(&ranges, g_array_unref);
        ck_assert_int_eq(
            mailbox_vanished(inbox, mailbox_snapshot(inbox), modseq, &ranges, &answer, &error), 0);
    } while (answer == VANISHED_UNFINISHED);
    *count = 0;
    for (guint i = 0; i < ranges->len; i++) {
        const struct uid_range *range = &g_array_index(ranges, struct uid_range, i);

        *count += range->last - range->first + 1;
    }
    g_array_unref(ranges);
    return answer;
}

/* With a table of waypoints from before, too (_i == 1). */
START_TEST(test_retention__answers_qresync_from_behind_the_boundary_with_all_there_is)
{
    uint64_t old, young;
    guint count;

    live(0, 50);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    old = snapshot_highest_modseq(mailbox_snapshot(inbox));
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    on_day(100);
    ck_assert_int_eq(expunge(&fixture, inbox, 3), 0);
    on_day(190);
    young = snapshot_highest_modseq(mailbox_snapshot(inbox));
    ck_assert_int_eq(expunge(&fixture, inbox, 4), 0);
    if (_i == 1) {
        ck_assert_int_eq(vanished_since(old, &count), VANISHED_EXACT);
        ck_assert_uint_eq(count, 3);
    }
    on_day(200);
    reopen();
    ck_assert_int_eq(keep_days(30), 0);
    drop(true);
    reopen();
    ck_assert_int_eq(vanished_since(young, &count), VANISHED_EXACT);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(vanished_since(old, &count), VANISHED_MORE);
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(vanished_since(young, &count), VANISHED_EXACT);
}
END_TEST

START_TEST(test_retention__forgets_deleted_mailboxes_in_their_time)
{
    on_day(1);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Old", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "New", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    on_day(50);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Old", &fixture.origin, &error), 0);
    on_day(120);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "New", &fixture.origin, &error), 0);
    reopen();
    g_autofree char *before = GIT_OUTPUT(fixture.path, "for-each-ref", "refs/deleted");
    ck_assert_ptr_nonnull(strstr(before, "refs/deleted/Old/"));
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_uint_eq(cut.deleted, 0);
    on_day(160);
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_uint_eq(cut.deleted, 1);
    drop(true);
    g_autofree char *after = GIT_OUTPUT(fixture.path, "for-each-ref", "refs/deleted");
    ck_assert_ptr_null(strstr(after, "refs/deleted/Old/"));
    ck_assert_ptr_nonnull(strstr(after, "refs/deleted/New/"));
}
END_TEST

/* Renaming INBOX leaves two branches on the same chain. */
START_TEST(test_retention__keeps_shared_history_for_whoever_keeps_it_longest)
{
    struct retention_policy *policy = retention_policy_new(30 * DAY);

    live(0, 100);
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "INBOX", "Archive/2026", &fixture.origin, &error),
        0);
    on_day(110);
    ck_assert_int_eq(retention_policy_add(policy, "Archive", 60 * DAY, &error), 0);
    ck_assert_int_eq(retention_policy_of(policy, "Archive/2026"), 60 * DAY);
    ck_assert_int_eq(retention_policy_of(policy, "Archived"), 30 * DAY);
    reopen();
    ck_assert_int_eq(retention_cut(fixture.path, &host, policy, &cut, &error), 0);
    drop(true);
    /* Days 49 (its second commit) to 99, and the rename. */
    ck_assert_uint_eq(count_commits("Archive.2026"), 2 * 50 + 2);
    ck_assert_int_eq(retention_policy_add(policy, "Archive/2026", RETENTION_FOREVER, &error), 0);
    on_day(300);
    reopen();
    ck_assert_int_eq(retention_cut(fixture.path, &host, policy, &cut, &error), 0);
    drop(true);
    ck_assert_uint_eq(count_commits("Archive.2026"), 2 * 50 + 2);
    retention_policy_free(policy);
}
END_TEST

START_TEST(test_retention__leaves_alone_what_a_reference_of_others_keeps)
{
    live(0, 100);
    ck_assert(GIT(fixture.path, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m",
                  "mine", "keep", "INBOX~150"));
    on_day(200);
    append_many(&fixture, inbox, 1);
    reopen();
    unsigned before = count_commits("keep");
    ck_assert_int_eq(keep_days(30), 0);
    drop(true);
    ck_assert_uint_eq(count_commits("keep"), before);
    ck_assert_uint_eq(count_commits("INBOX"), 2);
    ck_assert(GIT(fixture.path, "tag", "-d", "keep"));
    ck_assert_int_eq(keep_days(30), 0);
}
END_TEST

/* Whoever pushes can give a commit any date: it cuts nothing off. */
START_TEST(test_retention__trusts_the_date_of_no_foreign_commit)
{
    g_autofree char *tip = NULL;

    live(0, 10);
    close_mailbox();
    tip = GIT_OUTPUT(fixture.path, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p",
                     "INBOX", "-m", "ancient", "INBOX^{tree}");
    tip[OBJECT_ID_HEX] = '\0';
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", tip));
    unsigned before = count_commits("INBOX");
    today = DAY_ZERO + 20 * DAY;
    ck_assert_int_eq(keep_days(30), 0);
    ck_assert_uint_eq(count_commits("INBOX"), before);
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

START_TEST(test_retention__does_nothing_during_a_hold)
{
    g_autofree char *old = NULL;
    bool held;

    on_day(1);
    uint32_t uid = append_large(1);
    old = blob_of(uid);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    on_day(200);
    append_many(&fixture, inbox, 1);
    reopen();
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert_int_eq(
        hold_change(fixture.path, &host, true, "alice", &fixture.origin, "a\nlawsuit", &error), 0);
    ck_assert_int_eq(hold_change(fixture.path, &host, true, "alice", &fixture.origin, NULL, &error),
                     STORE_EXISTS);
    ck_assert_int_eq(hold_read(&held, fixture.path, &host, &error), 0);
    ck_assert(held);
    g_autofree char *words = GIT_OUTPUT(fixture.path, "log", "--format=%s", "refs/annal/hold");
    ck_assert_str_eq(words, "HOLD: a?lawsuit\n");
    /* What was let go before is still kept from now on. */
    drop(true);
    ck_assert(exists(old));
    on_day(400);
    unsigned before = count_commits("INBOX");
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert(cut.held);
    ck_assert_uint_eq(count_commits("INBOX"), before);
    ck_assert_int_eq(
        hold_change(fixture.path, &host, false, "alice", &fixture.origin, NULL, &error), 0);
    ck_assert_int_eq(
        hold_change(fixture.path, &host, false, "alice", &fixture.origin, NULL, &error),
        STORE_EXISTS);
    ck_assert_int_eq(hold_read(&held, fixture.path, &host, &error), 0);
    ck_assert(!held);
    ck_assert_int_eq(keep_days(90), 0);
    drop(true);
    ck_assert(!exists(old));
    g_autofree char *trail = GIT_OUTPUT(fixture.path, "log", "--format=%s", "refs/annal/holds");
    ck_assert_str_eq(trail, "RELEASE the hold\nHOLD: a?lawsuit\n");
}
END_TEST

static struct maintenance_counts wait_for_maintenance(struct maintenance *maintenance,
                                                      uint64_t cuts, uint64_t drops)
{
    struct maintenance_counts counts = maintenance_counts(maintenance);

    for (int i = 0; i < 6000 && (counts.cuts < cuts || counts.drops < drops); i++) {
        g_usleep(10 * 1000);
        counts = maintenance_counts(maintenance);
    }
    return counts;
}

/* A week passes between two runs of a server. */
START_TEST(test_retention__is_done_by_a_server_in_time)
{
    struct retention_policy *policy = retention_policy_new(90 * DAY);
    g_autofree char *mail = fixture_path(fixture.directory, "mail");
    struct maintenance_settings settings = {.host = &host, .retention = policy, .mail = mail};
    struct maintenance *maintenance;
    struct maintenance_counts counts;
    g_autofree char *old = NULL;

    on_day(1);
    uint32_t uid = append_large(1);
    old = blob_of(uid);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    on_day(200);
    append_many(&fixture, inbox, 1);
    reopen();
    for (int week = 0; week < 2; week++) {
        maintenance = maintenance_new(&settings);
        counts = wait_for_maintenance(maintenance, week == 0, week);
        maintenance_free(maintenance);
        ck_assert_uint_eq(counts.cuts, week == 0);
        ck_assert_uint_eq(counts.drops, week);
        ck_assert_uint_eq(count_commits("INBOX"), 2);
        ck_assert(exists(old) == (week == 0));
        today += RETENTION_DROP_SECONDS;
    }
    retention_policy_free(policy);
}
END_TEST

/* A reference that can't be read may stand for anything. */
START_TEST(test_retention__drops_nothing_while_a_reference_is_unreadable)
{
    g_autofree char *path = fixture_path(fixture.path, "refs/heads/INBOX");
    g_autofree char *old = NULL;
    g_autofree char *value = NULL;

    on_day(1);
    uint32_t uid = append_large(1);
    old = blob_of(uid);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    on_day(200);
    append_many(&fixture, inbox, 1);
    close_mailbox();
    mail_fixture_close(&fixture);
    ck_assert_int_eq(keep_days(90), 0);
    ck_assert(g_file_get_contents(path, &value, NULL, NULL));
    ck_assert(g_file_set_contents(path, "", 0, NULL));
    drop(true);
    ck_assert(collected.incomplete);
    ck_assert(g_file_set_contents(path, value, -1, NULL));
    ck_assert(exists(old));
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

static void live_and_delete(void)
{
    live(0, 20);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Old", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Old", &fixture.origin, &error), 0);
    on_day(200);
    append_many(&fixture, inbox, 1);
    close_mailbox();
    mail_fixture_close(&fixture);
}

static int cut_and_drop(const char *path, const struct host *with)
{
    struct retention_policy *policy = retention_policy_new(90 * DAY);
    struct collect_settings settings = {.history = true};
    int rc = retention_cut(path, with, policy, &cut, &error);

    if (rc == 0) {
        rc = collect_repository(path, with, &settings, &collected, &error);
    }
    retention_policy_free(policy);
    return rc;
}

START_TEST(test_retention__is_whole_whatever_call_fails)
{
    struct faulty_host faulty;
    bool done = false;

    live_and_delete();
    for (unsigned k = 1; k < FAULTS_MAX && !done; k++) {
        faulty_host_init(&faulty);
        faulty.time_offset = today * 1000000 - host_system()->now(NULL);
        faulty_host_arm(&faulty, k, _i == 1, EIO);
        cut_and_drop(fixture.path, &faulty.host);
        done = !faulty.failed;
        ck_assert(GIT(fixture.path, "fsck", "--strict"));
        ck_assert_uint_eq(count_findings(fixture.path, NULL, 0), 0);
        if (_i == 1) {
            /* A process that is no more holds no locks. */
            g_autofree char *lock = fixture_path(fixture.path, "shallow.lock");
            g_autofree char *pid = fixture_path(fixture.path, "gc.pid");
            g_autofree char *pid_lock = fixture_path(fixture.path, "gc.pid.lock");

            remove(lock);
            remove(pid);
            remove(pid_lock);
        }
    }
    ck_assert(done);
    ck_assert_int_eq(cut_and_drop(fixture.path, &host), 0);
    ck_assert_uint_eq(count_commits("INBOX"), 2);
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 21);
}
END_TEST

struct power {
    struct power_host *host;
    uint32_t random;
    unsigned made;
};

static void lose_power(void *data, unsigned call)
{
    struct power *power = data;
    char *copy = fixture_path(fixture.directory, "cut");
    g_autofree char *path = fixture_path(copy, "mail/alice.git");
    g_autofree char *expected = NULL;
    char finding[400];
    struct store *store;

    power_host_cut(power->host, copy, (enum power_cut)(call % 3), &power->random);
    power->made++;
    ck_assert_int_eq(store_open(&store, copy, host_system(), &error), 0);
    store_close(store);
    ck_assert_msg(count_findings(path, finding, sizeof(finding)) == 0, "call %u: %s", call,
                  finding);
    ck_assert_msg(GIT(path, "fsck", "--strict"), "call %u", call);
    g_autofree char *tree = GIT_OUTPUT(path, "rev-parse", "INBOX^{tree}");
    expected = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX^{tree}");
    ck_assert_str_eq(tree, expected);
    fixture_remove(copy);
}

START_TEST(test_retention__is_whole_when_power_is_lost_at_any_call)
{
    struct power power = {.random = 9};

    live_and_delete();
    power.host = power_host_new(fixture.directory);
    power_host_wait(power.host, today * 1000000 - power_host_time(power.host));
    power_host_watch(power.host, lose_power, &power);
    ck_assert_int_eq(cut_and_drop(fixture.path, power_host_table(power.host)), 0);
    ck_assert_uint_gt(power.made, 20);
    power_host_free(power.host);
    ck_assert_uint_eq(count_commits("INBOX"), 2);
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("retention");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, test_retention__gives_the_disk_back_and_keeps_what_is_younger);
    tcase_add_test(tests, test_retention__waits_for_those_who_may_still_read);
    tcase_add_test(tests, test_retention__leaves_a_repository_that_any_git_uses);
    tcase_add_test(tests, test_retention__goes_on_under_a_server_that_is_at_work);
    tcase_add_test(tests, test_retention__loses_nothing_that_is_copied_out_of_the_past);
    tcase_add_loop_test(
        tests, test_retention__answers_qresync_from_behind_the_boundary_with_all_there_is, 0, 2);
    tcase_add_test(tests, test_retention__forgets_deleted_mailboxes_in_their_time);
    tcase_add_test(tests, test_retention__keeps_shared_history_for_whoever_keeps_it_longest);
    tcase_add_test(tests, test_retention__leaves_alone_what_a_reference_of_others_keeps);
    tcase_add_test(tests, test_retention__trusts_the_date_of_no_foreign_commit);
    tcase_add_test(tests, test_retention__does_nothing_during_a_hold);
    tcase_add_test(tests, test_retention__drops_nothing_while_a_reference_is_unreadable);
    tcase_add_test(tests, test_retention__is_done_by_a_server_in_time);
    tcase_add_loop_test(tests, test_retention__is_whole_whatever_call_fails, 0, 2);
    tcase_add_test(tests, test_retention__is_whole_when_power_is_lost_at_any_call);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
