/* Whatever happened since, a mailbox can be made what it was. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/restore.h"
#include "tests/faulty_host.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { INTERRUPTED_MAX = 4000 }; /* calls of the host */

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static int no_sync(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int no_sync_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

static void set_up_quick(void)
{
    static struct host quick;

    quick = *host_system();
    quick.fsync = no_sync;
    quick.fdatasync = no_sync;
    quick.fsync_directory = no_sync_directory;
    mail_fixture_init(&fixture, &quick);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static int64_t now_seconds(void)
{
    return fixture.origin.time / 1000000;
}

/* The next change happens later. */
static void tick(void)
{
    fixture.origin.time += INT64_C(10) * 1000000;
}

static struct moment moment_at(int64_t seconds)
{
    return (struct moment){.first = seconds, .last = seconds};
}

static struct restore_options options_of(const char *what)
{
    fixture.origin.command = "restore";
    return (struct restore_options){.origin = &fixture.origin, .what = what};
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The messages without their UIDs: octets, date, flags, keywords; one a line, sorted. */
static char *content(const struct snapshot *snapshot)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        GString *line = g_string_new(NULL);
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(&message.blob, hex);
        g_string_printf(line, "%s %" G_GINT64_FORMAT " %d %u %x", hex, message.internal_date,
                        message.zone, message.size, message.flags);
        for (size_t k = 0; k < snapshot_keyword_count(snapshot); k++) {
            if ((message.keywords >> k & 1) != 0) {
                g_string_append_printf(line, " %s", snapshot_keyword(snapshot, k));
            }
        }
        g_ptr_array_add(lines, g_string_free(line, FALSE));
    }
    g_ptr_array_sort(lines, compare_lines);
    g_ptr_array_add(lines, NULL);
    return g_strjoinv("\n", (char **)lines->pdata);
}

static void report(const char *line, void *data)
{
    (void)line;
    (*(unsigned *)data)++;
}

static struct snapshot *state_at(const char *name, int64_t seconds)
{
    struct moment moment = moment_at(seconds);
    struct past_state state;
    struct snapshot *then;

    ck_assert_msg(past_find(fixture.account, name, &moment, &state, NULL, &error) == 0, "%s",
                  error.detail);
    ck_assert_int_eq(past_snapshot(fixture.account, &state.commit, &then, &error), 0);
    past_state_clear(&state);
    return then;
}

static struct restore_counts restore_to(struct mailbox *mailbox, int64_t seconds, bool keep_new)
{
    struct snapshot *then = state_at(mailbox_name(mailbox), seconds);
    struct restore_options options = options_of("to then");
    struct restore_counts counts;

    options.keep_new = keep_new;
    tick();
    ck_assert_msg(restore_mailbox(mailbox, then, &options, &counts, &error) == 0, "%s",
                  error.detail);
    snapshot_unref(then);
    return counts;
}

static GPtrArray *find_lost(struct mailbox *mailbox, int64_t since)
{
    struct lost_filter filter = {.since = since};
    GPtrArray *lost;

    ck_assert_int_eq(restore_find_lost(mailbox, &filter, &lost, &error), 0);
    return lost;
}

/* --- cases --- */

START_TEST(test_restore__brings_back_and_takes_away)
{
    g_autofree char *then = NULL;
    g_autofree char *now = NULL;
    struct restore_counts counts;
    uint64_t highest;
    int64_t moment;

    append_many(&fixture, inbox, 4);
    tick();
    ck_assert_int_eq(flag(&fixture, inbox, 3, FLAG_MODE_ADD, MESSAGE_FLAGGED, "work"), 0);
    then = content(mailbox_snapshot(inbox));
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 3), 0);
    append_text(&fixture, inbox, "new");
    ck_assert_int_eq(flag(&fixture, inbox, 4, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    highest = snapshot_highest_modseq(mailbox_snapshot(inbox));
    counts = restore_to(inbox, moment, false);
    ck_assert_uint_eq(counts.returned, 2);
    ck_assert_uint_eq(counts.removed, 1);
    ck_assert_uint_eq(counts.changed, 1);
    now = content(mailbox_snapshot(inbox));
    ck_assert_str_eq(now, then);
    ck_assert(has_message(inbox, 1) && has_message(inbox, 4));
    ck_assert(has_message(inbox, 6) && has_message(inbox, 7));
    ck_assert(!has_message(inbox, 2) && !has_message(inbox, 5));
    ck_assert_uint_eq(snapshot_highest_modseq(mailbox_snapshot(inbox)), highest + 1);
    ck_assert_uint_eq(message_of(inbox, 7).flags, MESSAGE_FLAGGED);
    ck_assert_uint_eq(message_of(inbox, 1).modseq, 2);
}
END_TEST

START_TEST(test_restore__twice_is_once)
{
    struct restore_counts counts;
    int64_t moment;
    struct object_id commit;

    append_many(&fixture, inbox, 3);
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    restore_to(inbox, moment, false);
    commit = *snapshot_commit(mailbox_snapshot(inbox));
    counts = restore_to(inbox, moment, false);
    ck_assert_uint_eq(counts.returned + counts.removed + counts.changed, 0);
    ck_assert(object_id_equal(&commit, snapshot_commit(mailbox_snapshot(inbox))));
}
END_TEST

START_TEST(test_restore__keeps_what_is_new_if_asked)
{
    int64_t moment;

    append_many(&fixture, inbox, 2);
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    append_text(&fixture, inbox, "new");
    restore_to(inbox, moment, true);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 3);
}
END_TEST

START_TEST(test_restore__dry_run_changes_nothing)
{
    struct restore_options options = options_of("to then");
    struct restore_counts counts;
    struct snapshot *then;
    int64_t moment;
    struct object_id commit;

    append_many(&fixture, inbox, 2);
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    commit = *snapshot_commit(mailbox_snapshot(inbox));
    then = state_at("INBOX", moment);
    options.dry_run = true;
    ck_assert_int_eq(restore_mailbox(inbox, then, &options, &counts, &error), 0);
    ck_assert_uint_eq(counts.returned, 1);
    ck_assert(object_id_equal(&commit, snapshot_commit(mailbox_snapshot(inbox))));
    snapshot_unref(then);
}
END_TEST

START_TEST(test_restore__undelete_knows_what_is_lost)
{
    g_autoptr(GPtrArray) lost = NULL;
    struct mailbox *archive = open_mailbox(&fixture, "Archive");
    struct uid_pairs pairs;
    uint32_t first;
    uint32_t uid = 1;

    append_many(&fixture, inbox, 5);
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_DELETED | MESSAGE_SEEN, "k"),
                     0);
    tick();
    fixture.origin.command = "UID MOVE";
    ck_assert_int_eq(mailbox_move(inbox, &uid, 1, archive, &fixture.origin, &pairs, &error), 0);
    uid_pairs_release(&pairs);
    fixture.origin.command = "EXPUNGE";
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 4), 0);
    lost = find_lost(inbox, INT64_MIN);
    ck_assert_uint_eq(lost->len, 2);
    const struct lost_message *one = g_ptr_array_index(lost, 0);
    ck_assert_uint_eq(one->message.uid, 2);
    ck_assert_str_eq(one->command, "EXPUNGE");
    ck_assert_int_eq(one->time, now_seconds());
    fixture.origin.command = "undelete";
    ck_assert_int_eq(restore_lost(inbox, lost, &fixture.origin, &first, &error), 0);
    ck_assert_uint_eq(first, 6);
    ck_assert_uint_eq(message_of(inbox, 6).flags, MESSAGE_SEEN);
    ck_assert_uint_ne(message_of(inbox, 6).keywords, 0);
    g_clear_pointer(&lost, g_ptr_array_unref);
    lost = find_lost(inbox, INT64_MIN);
    ck_assert_uint_eq(lost->len, 0);
    /* Gone again, it is lost again, once. */
    fixture.origin.command = "EXPUNGE";
    ck_assert_int_eq(expunge(&fixture, inbox, 6), 0);
    g_clear_pointer(&lost, g_ptr_array_unref);
    lost = find_lost(inbox, INT64_MIN);
    ck_assert_uint_eq(lost->len, 1);
    mailbox_unref(archive);
}
END_TEST

/* Somebody who is told, and after so many times has enough of it. */
struct impatient {
    enum observer_stage stage;
    uint64_t done;
    uint64_t total;
    unsigned calls;
    unsigned last; /* 0: never */
};

static void watch(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct impatient *impatient = data;

    ck_assert_uint_le(done, total);
    if (stage == OBSERVER_CHANGES) {
        return;
    }
    ck_assert_uint_eq(stage, impatient->stage);
    impatient->done = done;
    impatient->total = total;
}

static bool has_patience(void *data)
{
    struct impatient *impatient = data;

    return ++impatient->calls != impatient->last;
}

START_TEST(test_restore__undelete_tells_how_far_it_is_and_can_be_given_up)
{
    struct impatient impatient = {.stage = OBSERVER_SEARCH, .last = 1};
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = &impatient};
    struct lost_filter filter = {.since = INT64_MIN, .observer = &observer};
    GPtrArray *lost;

    append_many(&fixture, inbox, 3);
    expunge(&fixture, inbox, 2);
    while (restore_find_lost(inbox, &filter, &lost, &error) != 0) {
        ck_assert_int_eq(error.code, STORE_CONFLICT);
        impatient.calls = 0;
        impatient.last++;
    }
    g_autofree char *commits = GIT_OUTPUT(fixture.path, "rev-list", "--count", "INBOX");
    ck_assert_uint_eq(impatient.total, strtoul(commits, NULL, 10));
    /* The oldest has nothing before it that it could be compared with. */
    ck_assert_uint_eq(impatient.done, impatient.total - 1);
    ck_assert_uint_gt(impatient.last, impatient.total);
    ck_assert_uint_eq(lost->len, 1);
    g_ptr_array_unref(lost);
}
END_TEST

START_TEST(test_restore__two_copies_of_one_message_are_two)
{
    g_autoptr(GPtrArray) lost = NULL;
    int64_t moment;

    append_text(&fixture, inbox, "same");
    append_text(&fixture, inbox, "same");
    append_text(&fixture, inbox, "same");
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 3), 0);
    lost = find_lost(inbox, INT64_MIN);
    ck_assert_uint_eq(lost->len, 2);
    ck_assert_uint_eq(restore_to(inbox, moment, false).returned, 2);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 3);
}
END_TEST

/* --- mailboxes --- */

static void restore_named(const char *name, int64_t seconds, const char *as, int expected)
{
    struct restore_options options = options_of("to then");
    struct moment moment = moment_at(seconds);
    unsigned lines = 0;

    tick();
    int rc = restore_one(fixture.account, fixture.account, name, &moment, as, &options, report,
                         &lines, &error);
    ck_assert_msg(rc == expected, "%s: %s", name, rc < 0 ? error.detail : "no failure");
}

static void create(const char *name)
{
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
}

static void delete (const char *name)
{
    ck_assert_int_eq(account_delete_mailbox(fixture.account, name, &fixture.origin, &error), 0);
}

static void rename_to(const char *from, const char *to)
{
    ck_assert_int_eq(account_rename_mailbox(fixture.account, from, to, &fixture.origin, &error), 0);
}

/* A mailbox with some messages, of which one goes before the mailbox does. */
static int64_t make_work(void)
{
    struct mailbox *work;
    int64_t moment;

    tick();
    create("Work");
    work = open_mailbox(&fixture, "Work");
    append_many(&fixture, work, 3);
    moment = now_seconds();
    tick();
    ck_assert_int_eq(expunge(&fixture, work, 2), 0);
    tick();
    mailbox_unref(work);
    return moment;
}

static size_t count_of(const char *name)
{
    struct mailbox *mailbox = open_mailbox(&fixture, name);
    size_t count = snapshot_count(mailbox_snapshot(mailbox));

    mailbox_unref(mailbox);
    return count;
}

static bool exists(const char *name)
{
    return account_mailbox_exists(fixture.account, name);
}

START_TEST(test_restore__a_deleted_mailbox_comes_back_with_its_history)
{
    int64_t moment = make_work();
    struct mailbox *work = open_mailbox(&fixture, "Work");
    uint32_t validity = snapshot_uid_validity(mailbox_snapshot(work));
    g_autofree char *log = NULL;
    g_autofree char *graves = NULL;

    mailbox_unref(work);
    delete ("Work");
    restore_named("Work", moment, NULL, 0);
    work = open_mailbox(&fixture, "Work");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(work)), 3);
    ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(work)), validity);
    ck_assert(has_message(work, 1) && has_message(work, 3) && has_message(work, 4));
    mailbox_unref(work);
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "Work");
    ck_assert_str_eq(log, "RESTORE mailbox Work to then (1 came back, 0 removed, 0 other flags)\n"
                          "DELETE mailbox Work\nEXPUNGE uid 2\nAPPEND uid 1:3 (3 messages)\n"
                          "CREATE mailbox Work\n");
    graves = GIT_OUTPUT(fixture.path, "for-each-ref", "refs/deleted");
    ck_assert_str_eq(graves, "");
}
END_TEST

START_TEST(test_restore__a_taken_name_is_told_and_another_can_be_given)
{
    int64_t moment = make_work();

    delete ("Work");
    create("Work");
    restore_named("Work", moment, NULL, STORE_EXISTS);
    restore_named("Work", moment, "Old Work", 0);
    ck_assert_uint_eq(count_of("Old Work"), 3);
    ck_assert_uint_eq(count_of("Work"), 0);
}
END_TEST

START_TEST(test_restore__as_another_leaves_the_one_that_exists_alone)
{
    int64_t moment = make_work();

    restore_named("Work", moment, "Copy", 0);
    ck_assert_uint_eq(count_of("Copy"), 3);
    ck_assert_uint_eq(count_of("Work"), 2);
    restore_named("Work", moment, "Copy", STORE_EXISTS);
}
END_TEST

START_TEST(test_restore__a_later_mailbox_of_that_name_renews_uid_validity)
{
    int64_t moment = make_work();
    struct mailbox *work = open_mailbox(&fixture, "Work");
    uint32_t validity = snapshot_uid_validity(mailbox_snapshot(work));
    uint32_t later;

    mailbox_unref(work);
    delete ("Work");
    create("Work");
    work = open_mailbox(&fixture, "Work");
    later = snapshot_uid_validity(mailbox_snapshot(work));
    mailbox_unref(work);
    ck_assert_uint_gt(later, validity);
    delete ("Work");
    restore_named("Work", moment, NULL, 0);
    work = open_mailbox(&fixture, "Work");
    ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(work)), later);
    mailbox_unref(work);
}
END_TEST

START_TEST(test_restore__a_renamed_mailbox_gets_its_name_back)
{
    int64_t moment = make_work();

    rename_to("Work", "Play");
    restore_named("Work", moment, NULL, 0);
    ck_assert(exists("Work"));
    ck_assert(!exists("Play"));
    ck_assert_uint_eq(count_of("Work"), 3);
}
END_TEST

START_TEST(test_restore__what_never_was_is_told)
{
    restore_named("Nowhere", now_seconds(), NULL, STORE_NOT_FOUND);
    restore_named("INBOX", now_seconds() - 1000000, NULL, STORE_NOT_FOUND);
}
END_TEST

static void restore_all(const char *prefix, int64_t seconds, bool keep_new)
{
    struct restore_options options = options_of("to then");
    struct moment moment = moment_at(seconds);
    unsigned lines = 0;

    options.keep_new = keep_new;
    tick();
    ck_assert_msg(restore_tree(fixture.account, fixture.account, prefix, &moment, &options, report,
                               &lines, &error) == 0,
                  "%s", error.detail);
    ck_assert_uint_gt(lines, 0);
}

/* Names and content of all mailboxes, subscriptions, special uses. */
static char *describe_content(void)
{
    GString *out = g_string_new(NULL);
    GPtrArray *list;

    ck_assert_int_eq(account_list(fixture.account, &list, &error), 0);
    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        g_string_append_printf(out, "%s %d %d\n", entry->name, entry->subscribed,
                               entry->special_use);
        if (entry->exists) {
            struct mailbox *mailbox = open_mailbox(&fixture, entry->name);
            g_autofree char *text = content(mailbox_snapshot(mailbox));

            g_string_append_printf(out, "%s\n", text);
            mailbox_unref(mailbox);
        }
    }
    g_ptr_array_unref(list);
    return g_string_free(out, FALSE);
}

START_TEST(test_restore__a_whole_account)
{
    g_autofree char *then = NULL;
    g_autofree char *now = NULL;
    int64_t moment;

    tick();
    create("A");
    create("A/B");
    create("C");
    append_many(&fixture, inbox, 3);
    ck_assert_int_eq(account_subscribe(fixture.account, "A", true, &fixture.origin, &error), 0);
    then = describe_content();
    moment = now_seconds();
    tick();
    rename_to("A", "Z");
    rename_to("C", "A"); /* has a name that is needed */
    create("New");
    delete ("Z/B");
    ck_assert_int_eq(account_subscribe(fixture.account, "A", false, &fixture.origin, &error), 0);
    ck_assert_int_eq(account_subscribe(fixture.account, "X", true, &fixture.origin, &error), 0);
    ck_assert_int_eq(
        account_set_special_use(fixture.account, "New", SPECIAL_USE_TRASH, &fixture.origin, &error),
        0);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    restore_all(NULL, moment, false);
    now = describe_content();
    ck_assert_str_eq(now, then);
}
END_TEST

/* The account as it was at *moment (*then), and much that happened since. */
static void change_much(int64_t *moment, char **then)
{
    tick();
    create("A");
    create("A/B");
    create("C");
    create("Gone");
    append_many(&fixture, inbox, 3);
    ck_assert_int_eq(account_subscribe(fixture.account, "A", true, &fixture.origin, &error), 0);
    *then = describe_content();
    *moment = now_seconds();
    tick();
    rename_to("A", "Z");
    rename_to("C", "A");
    create("New");
    delete ("Z/B");
    delete ("Gone");
    ck_assert_int_eq(account_subscribe(fixture.account, "A", false, &fixture.origin, &error), 0);
    ck_assert_int_eq(
        account_set_special_use(fixture.account, "New", SPECIAL_USE_TRASH, &fixture.origin, &error),
        0);
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_SEEN, "k"), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    tick();
}

static void close_all(void)
{
    g_clear_pointer(&inbox, mailbox_unref);
    mail_fixture_close(&fixture);
}

/* The world as it was when the copy was made. */
static void put_back(const char *copy)
{
    fixture_remove(strdup(fixture.path));
    ck_assert(GIT(fixture.directory, "clone", "-q", "--mirror", copy, "mail/alice.git"));
    ck_assert(GIT(fixture.path, "remote", "remove", "origin"));
}

/* Killed at a call of the host, and begun anew by somebody else later. True: it came to its end. */
static bool restore_until(struct faulty_host *faulty, unsigned call, int64_t seconds)
{
    struct restore_options options = options_of("to then");
    struct moment moment = moment_at(seconds);
    unsigned lines = 0;

    faulty_host_init(faulty);
    fixture.host = &faulty->host;
    mail_fixture_open(&fixture);
    faulty_host_arm(faulty, call, true, EIO);
    int rc = restore_tree(fixture.account, fixture.account, NULL, &moment, &options, report, &lines,
                          &error);
    if (rc == 0) {
        rc = store_sync(fixture.store, &error);
    }
    mail_fixture_close(&fixture);
    return rc == 0 && !faulty->failed;
}

/* Each mailbox is a commit of its own. What is done already is not done again. */
START_TEST(test_restore__a_whole_account_that_was_interrupted_is_done_by_the_same_again)
{
    struct faulty_host faulty;
    char *copy = fixture_directory();
    g_autofree char *then = NULL;
    int64_t moment;
    bool done = false;
    unsigned call;

    change_much(&moment, &then);
    close_all();
    ck_assert(GIT(copy, "clone", "-q", "--mirror", fixture.path, "."));
    for (call = 1; call < INTERRUPTED_MAX && !done; call += 1 + call / 12) {
        put_back(copy);
        done = restore_until(&faulty, call, moment);
        /* When locks are known to be nobody's. */
        faulty_host_init(&faulty);
        faulty.time_offset = INT64_C(7200) * 1000000;
        fixture.host = &faulty.host;
        mail_fixture_open(&fixture);
        if (!done) {
            ck_assert_uint_eq(count_findings(fixture.path, NULL, 0), 0);
            restore_all(NULL, moment, false);
        }
        g_autofree char *now = describe_content();
        ck_assert_msg(strcmp(now, then) == 0, "call %u: %s", call, now);
        mail_fixture_close(&fixture);
        ck_assert_msg(GIT(fixture.path, "fsck", "--strict"), "call %u", call);
    }
    ck_assert(done);
    ck_assert_uint_gt(call, 100);
    fixture.host = host_system();
    fixture_remove(copy);
    mail_fixture_open(&fixture);
}
END_TEST

START_TEST(test_restore__of_a_whole_account_can_be_given_up_and_done_later)
{
    struct impatient impatient = {.stage = OBSERVER_MAILBOXES, .last = 1};
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = &impatient};
    struct restore_options options = options_of("to then");
    g_autofree char *then = NULL;
    unsigned lines = 0;
    int64_t moment;

    change_much(&moment, &then);
    struct moment at = moment_at(moment);
    options.observer = &observer;
    while (restore_tree(fixture.account, fixture.account, NULL, &at, &options, report, &lines,
                        &error) != 0) {
        ck_assert_int_eq(error.code, STORE_CONFLICT);
        ck_assert_str_eq(error.detail, "given up");
        impatient.calls = 0;
        impatient.last++;
    }
    ck_assert_uint_gt(impatient.last, 2);
    g_autofree char *now = describe_content();
    ck_assert_str_eq(now, then);
}
END_TEST

START_TEST(test_restore__a_tree)
{
    int64_t moment;

    tick();
    create("A");
    create("A/B");
    create("AB");
    moment = now_seconds();
    tick();
    rename_to("A", "Z");
    delete ("AB");
    restore_all("A", moment, false);
    ck_assert(exists("A") && exists("A/B") && !exists("Z") && !exists("AB"));
}
END_TEST

/* --- any history --- */

enum { STEPS = 60, POINTS = 6 };

struct point {
    int64_t time;
    char *content;
};

static uint32_t random_uid(const struct mailbox *mailbox)
{
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    size_t count = snapshot_count(snapshot);

    return count == 0 ? 0 : snapshot_message(snapshot, (size_t)rand() % count).uid;
}

static void random_change(struct mailbox *mailbox, int step)
{
    static const char *const keywords[] = {"a", "b", "$c", NULL};
    uint32_t uid = random_uid(mailbox);
    char text[32];

    switch (rand() % 6) {
    case 0:
    case 1:
        snprintf(text, sizeof(text), "Subject: %d\r\n\r\n", rand() % 20 + step % 2 * 100);
        append_text(&fixture, mailbox, text);
        break;
    case 2:
        append_many(&fixture, mailbox, 1 + (size_t)rand() % 150);
        break;
    case 3:
        if (uid != 0) {
            flag(&fixture, mailbox, uid, rand() % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
                 (uint8_t)(rand() % 32), keywords[rand() % 4]);
        }
        break;
    default:
        for (int i = rand() % 20; uid != 0 && i >= 0; i--) {
            expunge(&fixture, mailbox, uid);
            uid = random_uid(mailbox);
        }
        break;
    }
}

START_TEST(test_restore__any_history_to_any_point)
{
    uint32_t validity = snapshot_uid_validity(mailbox_snapshot(inbox));
    struct point points[STEPS];

    srand((unsigned)_i);
    for (int i = 0; i < STEPS; i++) {
        tick();
        random_change(inbox, i);
        points[i] = (struct point){now_seconds(), content(mailbox_snapshot(inbox))};
    }
    for (int i = 0; i < POINTS; i++) {
        const struct point *point = &points[rand() % STEPS];
        struct snapshot *before = snapshot_ref(mailbox_snapshot(inbox));
        struct snapshot_changes changes;
        g_autofree char *now = NULL;

        restore_to(inbox, point->time, false);
        now = content(mailbox_snapshot(inbox));
        ck_assert_str_eq(now, point->content);
        check_repository(fixture.path);
        ck_assert_uint_eq(snapshot_uid_validity(mailbox_snapshot(inbox)), validity);
        ck_assert_uint_ge(snapshot_uid_next(mailbox_snapshot(inbox)), snapshot_uid_next(before));
        /* What is new has UIDs that were never there. */
        snapshot_compare(&changes, before, mailbox_snapshot(inbox));
        size_t count = snapshot_count(mailbox_snapshot(inbox));
        if (changes.added > 0) {
            ck_assert_uint_ge(snapshot_message(mailbox_snapshot(inbox), count - changes.added).uid,
                              snapshot_uid_next(before));
        }
        snapshot_changes_release(&changes);
        snapshot_unref(before);
        tick();
        random_change(inbox, i);
    }
    for (int i = 0; i < STEPS; i++) {
        g_free(points[i].content);
    }
}
END_TEST

static const char *const NAMES[] = {"A", "A/B", "C", "D d", "A/B/E"};

static const char *random_name(void)
{
    return NAMES[(size_t)rand() % G_N_ELEMENTS(NAMES)];
}

/* Refused as often as not: what is there, what is not. */
static void random_change_of_mailboxes(void)
{
    struct mailbox *from;
    struct mailbox *to;
    const char *name = random_name();
    struct uid_pairs pairs = {0};
    struct store_error refused;

    switch (rand() % 8) {
    case 0:
    case 1:
        account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE, &fixture.origin, &refused);
        break;
    case 2:
        account_delete_mailbox(fixture.account, name, &fixture.origin, &refused);
        break;
    case 3:
        account_rename_mailbox(fixture.account, name, random_name(), &fixture.origin, &refused);
        break;
    case 4:
        account_subscribe(fixture.account, name, rand() % 2 == 0, &fixture.origin, &refused);
        break;
    default:
        from = rand() % 2 == 0 ? mailbox_ref(inbox) : NULL;
        if ((from == NULL && account_open_mailbox(fixture.account, name, &from, &refused) < 0) ||
            account_open_mailbox(fixture.account, random_name(), &to, &refused) < 0) {
            mailbox_unref(from);
            break;
        }
        random_change(to, rand() % 2);
        uint32_t uid = random_uid(from);
        if (uid != 0 && from != to) {
            (rand() % 2 == 0 ? mailbox_copy : mailbox_move)(from, &uid, 1, to, &fixture.origin,
                                                            &pairs, &refused);
            uid_pairs_release(&pairs);
        }
        mailbox_unref(from);
        mailbox_unref(to);
        break;
    }
}

START_TEST(test_restore__any_history_of_an_account_to_any_point)
{
    struct point points[STEPS];

    srand((unsigned)_i);
    for (int i = 0; i < STEPS; i++) {
        tick();
        random_change_of_mailboxes();
        points[i] = (struct point){now_seconds(), describe_content()};
    }
    for (int i = 0; i < POINTS; i++) {
        const struct point *point = &points[rand() % STEPS];

        restore_all(NULL, point->time, false);
        g_autofree char *now = describe_content();
        ck_assert_msg(strcmp(now, point->content) == 0, "at %" G_GINT64_FORMAT, point->time);
        check_repository(fixture.path);
        for (int more = rand() % 4; more > 0; more--) {
            tick();
            random_change_of_mailboxes();
        }
    }
    for (int i = 0; i < STEPS; i++) {
        g_free(points[i].content);
    }
}
END_TEST

/* Unique messages, so that it is known which were lost. */
START_TEST(test_restore__any_history_undeleted_since_any_point)
{
    GHashTable *gone = g_hash_table_new(NULL, NULL); /* UID -> when */
    int64_t since = 0;
    unsigned expected = 0;

    srand((unsigned)_i);
    for (int i = 0; i < STEPS; i++) {
        char text[32];
        uint32_t uid = random_uid(inbox);

        tick();
        if (i == (int)_i % STEPS) {
            since = now_seconds();
        }
        snprintf(text, sizeof(text), "Subject: %d\r\n\r\n", i);
        append_text(&fixture, inbox, text);
        if (uid != 0 && rand() % 2 == 0) {
            flag(&fixture, inbox, uid, FLAG_MODE_ADD, MESSAGE_DELETED | MESSAGE_SEEN, "k");
            expunge(&fixture, inbox, uid);
            g_hash_table_insert(gone, GUINT_TO_POINTER(uid), NULL);
            expected += since != 0;
        }
    }
    g_autoptr(GPtrArray) lost = find_lost(inbox, since);
    size_t before = snapshot_count(mailbox_snapshot(inbox));
    uint32_t first = 0;

    ck_assert_uint_eq(lost->len, expected);
    for (guint i = 0; i < lost->len; i++) {
        const struct lost_message *one = g_ptr_array_index(lost, i);

        ck_assert(g_hash_table_contains(gone, GUINT_TO_POINTER(one->message.uid)));
        ck_assert_int_ge(one->time, since);
    }
    if (lost->len > 0) {
        ck_assert_int_eq(restore_lost(inbox, lost, &fixture.origin, &first, &error), 0);
        ck_assert_uint_eq(message_of(inbox, first).flags, MESSAGE_SEEN);
    }
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), before + expected);
    g_hash_table_unref(gone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("restore");
    TCase *cases = tcase_create("cases");
    TCase *any = tcase_create("any history");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_restore__brings_back_and_takes_away);
    tcase_add_test(cases, test_restore__twice_is_once);
    tcase_add_test(cases, test_restore__keeps_what_is_new_if_asked);
    tcase_add_test(cases, test_restore__dry_run_changes_nothing);
    tcase_add_test(cases, test_restore__undelete_knows_what_is_lost);
    tcase_add_test(cases, test_restore__undelete_tells_how_far_it_is_and_can_be_given_up);
    tcase_add_test(cases, test_restore__two_copies_of_one_message_are_two);
    tcase_add_test(cases, test_restore__a_deleted_mailbox_comes_back_with_its_history);
    tcase_add_test(cases, test_restore__a_taken_name_is_told_and_another_can_be_given);
    tcase_add_test(cases, test_restore__as_another_leaves_the_one_that_exists_alone);
    tcase_add_test(cases, test_restore__a_later_mailbox_of_that_name_renews_uid_validity);
    tcase_add_test(cases, test_restore__a_renamed_mailbox_gets_its_name_back);
    tcase_add_test(cases, test_restore__what_never_was_is_told);
    tcase_add_test(cases, test_restore__a_whole_account);
    tcase_add_test(cases,
                   test_restore__a_whole_account_that_was_interrupted_is_done_by_the_same_again);
    tcase_add_test(cases, test_restore__of_a_whole_account_can_be_given_up_and_done_later);
    tcase_add_test(cases, test_restore__a_tree);
    tcase_set_timeout(cases, 120);
    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(any, set_up_quick, tear_down);
    tcase_add_loop_test(any, test_restore__any_history_to_any_point, 0, 8);
    tcase_add_loop_test(any, test_restore__any_history_of_an_account_to_any_point, 0, 12);
    tcase_add_loop_test(any, test_restore__any_history_undeleted_since_any_point, 0, 8);
    tcase_set_timeout(any, 120);
    suite_add_tcase(suite, any);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
