/* A store's journal when there is more than it holds, when the disk is full, and when changes of
 * flags may wait: what was acknowledged stays, whatever else fails says so, and works again later.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "tests/faulty_host.h"
#include "tests/journal_script.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct store_error error;

/* --- a fixture with a journal, and a disk that can be full --- */

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct host host;
static bool full; /* nothing new can be written; what has its place can */

static int open_unless_full(void *data, const char *path, int flags, mode_t mode)
{
    return full && (flags & O_CREAT) != 0 ? -ENOSPC : host_system()->open(data, path, flags, mode);
}

static int write_unless_full(void *data, int fd, const void *bytes, size_t length)
{
    return full ? -ENOSPC : host_system()->write(data, fd, bytes, length);
}

static void open_with_journal(const struct store_journal *settings)
{
    mail_fixture_open_with_journal(&fixture, &host, settings);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void close_all(void)
{
    mailbox_unref(inbox);
    inbox = NULL;
    mail_fixture_close(&fixture);
}

static void set_up(void)
{
    const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    full = false;
    host = *machine_later();
    host.now = host_system()->now;
    host.open = open_unless_full;
    host.write = write_unless_full;
    mail_fixture_init(&fixture, &host);
    mail_fixture_close(&fixture);
    open_with_journal(&settings);
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static void reopen(void)
{
    const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    close_all();
    open_with_journal(&settings);
}

enum { LENGTH = 20000 };

static int append_numbered(unsigned number)
{
    char text[LENGTH];
    uint32_t uid;
    int length = snprintf(text, sizeof(text), "Subject: %u\r\n\r\n", number);

    memset(text + length, 'x', sizeof(text) - (size_t)length);
    return try_append(&fixture, inbox, text, sizeof(text), 0, NULL, &uid, &error);
}

/* The messages are 0 ... count - 1, in that order. */
static void check_numbered(unsigned count)
{
    const struct snapshot *snapshot = mailbox_snapshot(inbox);

    ck_assert_uint_eq(snapshot_count(snapshot), count);
    for (unsigned i = 0; i < count; i++) {
        struct message message = snapshot_message(snapshot, i);
        struct message_bytes bytes;
        char expected[32];

        ck_assert_uint_eq(message.uid, i + 1);
        snprintf(expected, sizeof(expected), "Subject: %u\r\n\r\n", i);
        ck_assert_int_eq(mailbox_read(inbox, &message.blob, &bytes, &error), 0);
        ck_assert_uint_eq(bytes.length, LENGTH);
        ck_assert_int_eq(memcmp(bytes.data, expected, strlen(expected)), 0);
        message_bytes_release(&bytes);
    }
}

START_TEST(test_store_journal_room__takes_more_than_fits)
{
    enum { COUNT = 150 }; /* twelve times what the ring holds */
    const unsigned sync_every[] = {1, 7, COUNT};

    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_msg(append_numbered(i) == 0, "message %u: %s", i, error.detail);
        if ((i + 1) % sync_every[_i] == 0) {
            ck_assert_int_eq(store_sync(fixture.store, &error), 0);
        }
    }
    check_numbered(COUNT);
    reopen();
    check_numbered(COUNT);
}
END_TEST

/* Appends until it is refused; the number of messages that were acknowledged. */
static unsigned fill_up(unsigned first)
{
    unsigned next = first;

    while (append_numbered(next) == 0) {
        ck_assert_uint_lt(next, first + 100);
        ck_assert_int_eq(store_sync(fixture.store, &error), 0);
        store_work(fixture.store, true);
        next++;
    }
    ck_assert_int_eq(error.code, STORE_NO_SPACE);
    return next;
}

START_TEST(test_store_journal_room__a_full_disk_takes_nothing_back)
{
    unsigned count;

    ck_assert_int_eq(append_numbered(0), 0);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    full = true;
    count = fill_up(1);
    ck_assert_uint_gt(count, 2);
    check_numbered(count);
    ck_assert_int_eq(store_flush(fixture.store, &error), STORE_NO_SPACE);
    /* Small changes are refused as clearly, and change nothing. */
    ck_assert_int_eq(append_numbered(count), STORE_NO_SPACE);
    check_numbered(count);
    full = false;
    for (unsigned i = 0; i < 30; i++) {
        ck_assert_msg(append_numbered(count++) == 0, "%s", error.detail);
    }
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    reopen();
    check_numbered(count);
}
END_TEST

START_TEST(test_store_journal_room__a_full_disk_at_the_start_is_said_and_loses_nothing)
{
    struct store *store;
    unsigned count;

    full = true;
    count = fill_up(0);
    close_all();
    ck_assert_int_eq(store_open(&store, fixture.directory, &host, &error), STORE_NO_SPACE);
    full = false;
    open_with_journal(&(struct store_journal){.size = STORE_JOURNAL_SIZE_MIN});
    check_numbered(count);
}
END_TEST

START_TEST(test_store_journal_room__checkpoints_in_the_background)
{
    enum { COUNT = 200 };

    close_all();
    open_with_journal(&(struct store_journal){.size = STORE_JOURNAL_SIZE_MIN, .background = true});
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_msg(append_numbered(i) == 0, "message %u: %s", i, error.detail);
        ck_assert_int_eq(store_sync(fixture.store, &error), 0);
        store_work(fixture.store, i % 3 == 0);
        if (i % 50 == 49) {
            ck_assert_int_eq(store_flush(fixture.store, &error), 0);
        }
    }
    reopen();
    check_numbered(COUNT);
}
END_TEST

START_TEST(test_store_journal_room__random_histories_with_checkpoints_in_the_background)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN, .background = true};
    struct machine machine;

    machine_init(&machine, &settings, 500 + (uint32_t)_i);
    for (unsigned i = 0; i < 150; i++) {
        struct step step = machine_random_step(&machine);

        machine_step(&machine, &step);
        if (i % 10 == 9) {
            g_autofree char *copy = machine_copy_name(&machine);

            power_host_cut(machine.power, copy, i % 20 == 9 ? POWER_LOST : POWER_TORN,
                           &machine.random);
            g_autoptr(GHashTable) state = machine_recover(copy, machine_later());
            machine_check_state(&machine, state, machine.acknowledged, "background");
            fixture_remove(strdup(copy));
        }
    }
    machine_release(&machine);
}
END_TEST

/* --- calls that fail --- */

static void take_turns(struct faulty_host *faulty, unsigned *count)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        if (append_numbered(*count) == 0) {
            ++*count;
        }
        flag(&fixture, inbox, 1, turn == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE, MESSAGE_SEEN, NULL);
        store_sync(fixture.store, &error);
        faulty->time_offset += INT64_C(2000) * 1000;
        store_work(fixture.store, true);
    }
    store_flush(fixture.store, &error);
}

/* Fails the call with this number; false when there are not so many. */
static bool fail_call(unsigned call, int number)
{
    struct faulty_host faulty;
    unsigned count = 1;

    faulty_host_init(&faulty);
    host = faulty.host;
    mail_fixture_init(&fixture, &host);
    inbox = NULL;
    reopen();
    ck_assert_int_eq(append_numbered(0), 0);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    faulty_host_arm(&faulty, call, false, number);
    take_turns(&faulty, &count);
    bool failed = faulty.failed;
    faulty_host_arm(&faulty, 0, false, 0);
    /* Whatever it was, it works again, and nothing that was done is undone. */
    check_numbered(count);
    ck_assert_msg(store_flush(fixture.store, &error) == 0, "after call %u: %s", call, error.detail);
    reopen();
    check_numbered(count);
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
    return failed;
}

START_TEST(test_store_journal_room__works_again_after_any_call_failed)
{
    unsigned call = 1;

    while (fail_call(call, _i == 0 ? EIO : ENOSPC)) {
        call++;
    }
    ck_assert_uint_gt(call, 20);
}
END_TEST

/* --- changes of flags that may wait --- */

enum { WINDOW = 2000 }; /* milliseconds */

/* What is durable is this state, no more and no less. */
static void check_after_cut(struct machine *machine, guint expected)
{
    g_autofree char *copy = machine_copy_name(machine);

    power_host_cut(machine->power, copy, POWER_LOST, &machine->random);
    g_autoptr(GHashTable) state = machine_recover(copy, machine_later());
    machine_check_equal(machine->states->pdata[expected], state, "after a cut");
    fixture_remove(strdup(copy));
}

static const struct {
    const char *name;
    struct step step; /* after the change of flags and its sync */
    bool durable;     /* then the change is */
} relaxed_steps[] = {
    {"nothing", {STEP_SYNC, 0, 0, 0, 0}, false},
    {"another change of flags", {STEP_FLAG, 0, 0, 0, 6}, false},
    {"a message", {STEP_APPEND, 0, 0, 0, 10}, true},
    {"another user's message", {STEP_APPEND, 1, 0, 0, 10}, true},
    {"an expunge", {STEP_EXPUNGE, 0, 0, 0, 1}, true},
    {"work before the window is over", {STEP_WORK, 0, 0, 0, 1}, false},
    {"work after it", {STEP_WORK, 0, 0, 0, WINDOW}, true},
    {"a flush", {STEP_FLUSH, 0, 0, 0, 0}, true},
    {"the end", {STEP_REOPEN, 0, 0, 0, 0}, true},
};

START_TEST(test_store_journal_room__relaxed_flags_are_lost_at_most_within_the_window)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN,
                                     .relaxed = (int64_t)WINDOW * 1000};
    struct machine machine;

    machine_init(&machine, &settings, 3);
    guint before = machine.states->len - 1;
    machine_step(&machine, &(struct step){STEP_FLAG, 0, 0, 0, 3});
    machine_step(&machine, &(struct step){STEP_SYNC, 0, 0, 0, 0});
    machine_step(&machine, &relaxed_steps[_i].step);
    guint last = machine.states->len - 1;
    machine_step(&machine, &(struct step){STEP_SYNC, 0, 0, 0, 0});
    check_after_cut(&machine, relaxed_steps[_i].durable ? last : before);
    power_host_wait(machine.power, (int64_t)WINDOW * 1000);
    machine_step(&machine, &(struct step){STEP_SYNC, 0, 0, 0, 0});
    check_after_cut(&machine, last);
    machine_release(&machine);
}
END_TEST

/* --- more than one store --- */

static bool there(const char *journal)
{
    g_autofree char *path = g_strconcat(fixture.directory, "/journal/", journal, NULL);

    return access(path, F_OK) == 0;
}

START_TEST(test_store_journal_room__journals_that_nobody_has_are_removed)
{
    const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
    struct store *other;

    append_many(&fixture, inbox, 1);
    ck_assert_int_eq(store_open(&other, fixture.directory, &host, &error), 0);
    ck_assert_int_eq(store_open_journal(other, &settings, &error), 0);
    ck_assert_int_eq(store_remove_journals(fixture.store, &error), 0);
    ck_assert(there("0") && there("1"));

    store_close(other);
    ck_assert_int_eq(store_remove_journals(fixture.store, &error), 0);
    ck_assert(there("0") && !there("1") && there("lock"));
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    reopen();
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 1);
}
END_TEST

/* --- turns --- */

static struct object_id look(void)
{
    struct object_id id;

    ck_assert_int_eq(refs_read(fixture.account->refs, "refs/heads/INBOX", &id, &error), 0);
    return id;
}

/* As git does it. */
static void move_inbox(const struct object_id *id)
{
    g_autofree char *path = g_strconcat(fixture.path, "/refs/heads/INBOX", NULL);
    char text[OBJECT_ID_HEX + 2] = {0};

    object_id_format(id, text);
    text[OBJECT_ID_HEX] = '\n';
    ck_assert(g_file_set_contents(path, text, -1, NULL));
}

START_TEST(test_store_journal_room__a_branch_is_looked_at_again_after_a_while)
{
    struct object_id first = look();

    append_many(&fixture, inbox, 1);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    store_turn(fixture.store, true);
    struct object_id second = look();
    ck_assert(!object_id_equal(&first, &second));

    int64_t begun = g_get_monotonic_time();
    store_turn(fixture.store, true);
    look();
    move_inbox(&first);
    store_turn(fixture.store, false);
    struct object_id seen = look();
    ck_assert(object_id_equal(&seen, &second) || g_get_monotonic_time() - begun >= STORE_TURN_MIN);
    g_usleep(STORE_TURN_MIN);
    store_turn(fixture.store, false);
    seen = look();
    ck_assert(object_id_equal(&seen, &first));

    move_inbox(&second);
    store_turn(fixture.store, true);
    seen = look();
    ck_assert(object_id_equal(&seen, &second));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_journal_room");
    TCase *room = tcase_create("room");
    TCase *machines = tcase_create("machines");

    tcase_set_timeout(room, 120);
    tcase_add_checked_fixture(room, set_up, tear_down);
    tcase_add_loop_test(room, test_store_journal_room__takes_more_than_fits, 0, 3);
    tcase_add_test(room, test_store_journal_room__a_full_disk_takes_nothing_back);
    tcase_add_test(room,
                   test_store_journal_room__a_full_disk_at_the_start_is_said_and_loses_nothing);
    tcase_add_test(room, test_store_journal_room__checkpoints_in_the_background);
    tcase_add_test(room, test_store_journal_room__journals_that_nobody_has_are_removed);
    tcase_add_test(room, test_store_journal_room__a_branch_is_looked_at_again_after_a_while);
    suite_add_tcase(suite, room);
    tcase_set_timeout(machines, 120);
    tcase_add_loop_test(
        machines, test_store_journal_room__random_histories_with_checkpoints_in_the_background, 0,
        2);
    tcase_add_loop_test(machines,
                        test_store_journal_room__relaxed_flags_are_lost_at_most_within_the_window,
                        0, G_N_ELEMENTS(relaxed_steps));
    tcase_add_loop_test(machines, test_store_journal_room__works_again_after_any_call_failed, 0, 2);
    suite_add_tcase(suite, machines);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
