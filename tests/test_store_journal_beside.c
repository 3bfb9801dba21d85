/* Packs made in a thread of their own, while their account goes on changing: what git shows is
 * whole at each moment, what was acknowledged is never away, and failures take nothing back.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { BASE = 3, LATER = 200 * 1000, PATIENCE = 20 * 1000 * 1000 /* microseconds */ };

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static struct host host;
static atomic_bool closed;     /* who writes a pack waits */
static atomic_bool full;       /* no pack can be written */
static int64_t time_offset;    /* of the store's clock */
static GThread *helper;        /* that opens the gate later; NULL: none */
static atomic_uint packs_open; /* packs begun */

/* --- a host whose packs can be held up --- */

static int64_t later(void *data)
{
    return host_system()->now(data) + time_offset;
}

static int open_through_gate(void *data, const char *path, int flags, mode_t mode)
{
    if (strstr(path, "/" PACK_TEMP_PREFIX) != NULL && g_str_has_suffix(path, PACK_TEMP_SUFFIX)) {
        atomic_fetch_add(&packs_open, 1);
        while (atomic_load(&closed)) {
            g_usleep(500);
        }
        if (atomic_load(&full)) {
            return -ENOSPC;
        }
    }
    return host_system()->open(data, path, flags, mode);
}

static void open_store(void)
{
    const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN, .background = true};
    mail_fixture_open_with_journal(&fixture, &host, &settings);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void set_up(void)
{
    host = fixture_host_without_syncs();
    host.open = open_through_gate;
    host.now = later;
    mail_fixture_init(&fixture, &host);
    mail_fixture_close(&fixture);
    open_store();
    append_many(&fixture, inbox, BASE);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}

static void tear_down(void)
{
    if (helper != NULL) {
        g_thread_join(helper);
    }
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

/* --- steps --- */

static void acknowledge(void)
{
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
}

/* As a worker between two commands. */
static void work(void)
{
    store_work(fixture.store, false);
}

static char *tip(void)
{
    char *out = GIT_OUTPUT(fixture.path, "rev-parse", "refs/heads/INBOX");

    ck_assert_ptr_nonnull(out);
    return g_strchomp(out);
}

static char *ours(void)
{
    char *hex = g_malloc(OBJECT_ID_HEX + 1);

    object_id_format(snapshot_commit(mailbox_snapshot(inbox)), hex);
    return hex;
}

static void check_sync_due(void)
{
    ck_assert(!store_is_sync_due(fixture.store));
    append_text(&fixture, inbox, "Subject: due\r\n\r\n");
    ck_assert(store_is_sync_due(fixture.store));
    acknowledge();
    ck_assert(!store_is_sync_due(fixture.store));
}

/* A message is acknowledged, and its pack is held up. */
static void begin(void)
{
    unsigned begun = atomic_load(&packs_open);

    append_text(&fixture, inbox, "Subject: first\r\n\r\n");
    acknowledge();
    time_offset += LATER;
    atomic_store(&closed, true);
    work();
    for (int waited = 0; atomic_load(&packs_open) == begun; waited += 1000) {
        ck_assert_int_lt(waited, PATIENCE);
        g_usleep(1000);
    }
}

static void change_more(void)
{
    append_text(&fixture, inbox, "Subject: second\r\n\r\n");
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL), 0);
    ck_assert_int_eq(flag(&fixture, inbox, BASE + 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    acknowledge();
}

static void check_all(void)
{
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), BASE + 2);
    ck_assert_int_eq(message_of(inbox, 1).flags, MESSAGE_FLAGGED);
    ck_assert_int_eq(message_of(inbox, BASE + 1).flags, MESSAGE_SEEN);
}

static void check_flushed(void)
{
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    g_autofree char *now = tip();
    g_autofree char *expected = ours();

    ck_assert_str_eq(now, expected);
    check_all();
}

static void work_until_moved(const char *from)
{
    for (int waited = 0;; waited += 1000) {
        g_autofree char *now = tip();

        if (strcmp(now, from) != 0) {
            return;
        }
        ck_assert_int_lt(waited, PATIENCE);
        g_usleep(1000);
        work();
    }
}

static void work_until_trouble(void)
{
    for (int waited = 0; store_trouble(fixture.store) == NULL; waited += 1000) {
        ck_assert_int_lt(waited, PATIENCE);
        g_usleep(1000);
        work();
    }
}

static void *open_gate_soon(void *data)
{
    (void)data;
    g_usleep(50 * 1000);
    atomic_store(&closed, false);
    return NULL;
}

/* --- tests --- */

START_TEST(test_store_journal_beside__a_sync_is_due_after_a_change)
{
    check_sync_due();
    mailbox_unref(inbox);
    mail_fixture_reopen(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    check_sync_due();
}
END_TEST

START_TEST(test_store_journal_beside__git_gets_what_was_there_when_it_began)
{
    g_autofree char *before = tip();

    begin();
    g_autofree char *first = ours();
    change_more();
    check_all();
    work();
    g_autofree char *meanwhile = tip();
    ck_assert_str_eq(meanwhile, before);
    atomic_store(&closed, false);
    work_until_moved(before);
    g_autofree char *moved = tip();
    ck_assert_str_eq(moved, first);
    check_repository(fixture.path);
    check_flushed();
}
END_TEST

START_TEST(test_store_journal_beside__one_pack_at_a_time_and_all_at_the_end)
{
    begin();
    unsigned begun = atomic_load(&packs_open);

    change_more();
    time_offset += LATER;
    work();
    work();
    ck_assert_uint_eq(atomic_load(&packs_open), begun);
    atomic_store(&closed, false);
    for (int waited = 0;; waited += 1000) {
        struct store_figures figures;

        time_offset += LATER;
        work();
        store_figures(fixture.store, &figures);
        if (figures.waiting == 0) {
            break;
        }
        ck_assert_int_lt(waited, PATIENCE);
        g_usleep(1000);
    }
    g_autofree char *now = tip();
    g_autofree char *expected = ours();
    ck_assert_str_eq(now, expected);
    check_all();
}
END_TEST

START_TEST(test_store_journal_beside__how_late_git_is_counts_from_what_it_lacks)
{
    struct store_figures first;
    struct store_figures second;
    g_autofree char *before = tip();

    begin();
    store_figures(fixture.store, &first);
    time_offset += LATER;
    change_more();
    atomic_store(&closed, false);
    work_until_moved(before);
    store_figures(fixture.store, &second);
    ck_assert_uint_eq(second.waiting, 1);
    ck_assert_int_gt(second.waiting_since, first.waiting_since);
}
END_TEST

static void settle(void)
{
    ck_assert_int_eq(store_settle(fixture.store, "alice", &error), 0);
}

static void flush(void)
{
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}

static void work_idle(void)
{
    time_offset += LATER;
    store_work(fixture.store, true);
}

static void close_and_open(void)
{
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    open_store();
}

static void (*const hurries[])(void) = {settle, flush, work_idle, close_and_open};

START_TEST(test_store_journal_beside__who_needs_it_waits_for_it)
{
    begin();
    change_more();
    helper = g_thread_new("gate", open_gate_soon, NULL);
    hurries[_i]();
    g_autofree char *now = tip();
    g_autofree char *expected = ours();
    ck_assert_str_eq(now, expected);
    check_all();
}
END_TEST

START_TEST(test_store_journal_beside__a_full_disk_takes_nothing_back)
{
    begin();
    if (_i % 2 == 0) {
        change_more();
    }
    atomic_store(&full, true);
    atomic_store(&closed, false);
    work_until_trouble();
    ck_assert_int_eq(store_trouble(fixture.store)->code, STORE_NO_SPACE);
    if (_i % 2 == 1) {
        change_more();
    }
    check_all();
    ck_assert_int_eq(store_flush(fixture.store, &error), STORE_NO_SPACE);
    atomic_store(&full, false);
    if (_i < 2) {
        check_flushed();
        return;
    }
    g_autofree char *before = tip();
    for (int i = 0; i < 10; i++) {
        time_offset += LATER;
        work();
    }
    work_until_moved(before);
    ck_assert_ptr_null(store_trouble(fixture.store));
    check_flushed();
}
END_TEST

/* Names of packs, for g_hash_table_unref(). */
static GHashTable *packs_in(const char *data)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *path =
        g_strconcat(data, fixture.path + strlen(fixture.directory), "/objects/pack", NULL);
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    ck_assert_ptr_nonnull(directory);
    while ((name = g_dir_read_name(directory)) != NULL) {
        if (g_str_has_suffix(name, ".pack")) {
            g_hash_table_add(names, g_strdup(name));
        }
    }
    g_dir_close(directory);
    return names;
}

static void remove_packs(const char *data, GHashTable *but)
{
    g_autoptr(GHashTable) names = packs_in(data);
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, names);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        g_autofree char *path = g_strconcat(data, fixture.path + strlen(fixture.directory),
                                            "/objects/pack/", name, NULL);

        if (!g_hash_table_contains(but, name)) {
            ck_assert_int_eq(remove(path), 0);
            memcpy(path + strlen(path) - strlen("pack"), "idx", sizeof("idx"));
            ck_assert_int_eq(remove(path), 0);
        }
    }
}

/* What a crash would leave now. */
static char *copy_of_all(void)
{
    char *copy = fixture_directory();
    g_autofree char *all = g_strconcat(fixture.directory, "/.", NULL);
    pid_t child = fork();
    int status;

    if (child == 0) {
        execlp("cp", "cp", "-a", all, copy, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    return copy;
}

START_TEST(test_store_journal_beside__a_pack_tried_again_is_the_one_that_a_replay_makes)
{
    g_autoptr(GHashTable) before = packs_in(fixture.directory);
    struct store_figures figures;
    struct store *store;

    begin();
    change_more();
    atomic_store(&full, true);
    atomic_store(&closed, false);
    work_until_trouble();
    atomic_store(&full, false);
    do {
        time_offset += 10 * LATER;
        work();
        store_figures(fixture.store, &figures);
    } while (figures.waiting > 0);
    g_autoptr(GHashTable) made = packs_in(fixture.directory);
    /* The notes of packs have reached the disk, too. */
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    acknowledge();

    char *copy = copy_of_all();
    remove_packs(copy, before);
    ck_assert_msg(store_open(&store, copy, &host, &error) == 0, "%s", error.detail);
    store_close(store);
    g_autoptr(GHashTable) replayed = packs_in(copy);
    GHashTableIter iterator;
    void *name;
    g_hash_table_iter_init(&iterator, made);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        ck_assert_msg(g_hash_table_contains(replayed, name), "%s", (char *)name);
    }
    fixture_remove(copy);
}
END_TEST

START_TEST(test_store_journal_beside__keeps_what_others_did_to_the_branch)
{
    begin();
    if (_i % 2 == 0) {
        change_more();
    }
    /* The same tree, one commit further. */
    g_autofree char *theirs =
        GIT_OUTPUT(fixture.path, "-c", "user.name=x", "-c", "user.email=x@x", "commit-tree", "-p",
                   "refs/heads/INBOX", "-m", "theirs", "refs/heads/INBOX^{tree}");

    g_strchomp(theirs);
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", theirs));
    if (_i / 2 == 0) {
        atomic_store(&closed, false);
    } else {
        helper = g_thread_new("gate", open_gate_soon, NULL);
        ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    }
    if (_i % 2 == 1) {
        change_more();
    }
    work_until_moved(theirs);
    check_flushed();
    ck_assert(GIT(fixture.path, "merge-base", "--is-ancestor", theirs, "refs/heads/INBOX"));
}
END_TEST

START_TEST(test_store_journal_beside__waits_for_a_lock_and_goes_on)
{
    g_autofree char *lock = g_strconcat(fixture.path, "/refs/heads/INBOX.lock", NULL);
    g_autofree char *before = tip();
    struct store_figures first;
    struct store_figures second;

    begin();
    store_figures(fixture.store, &first);
    time_offset += LATER;
    change_more();
    ck_assert(g_file_set_contents(lock, "", 0, NULL));
    atomic_store(&closed, false);
    work_until_trouble();
    g_autofree char *meanwhile = tip();
    ck_assert_str_eq(meanwhile, before);
    check_all();
    /* It is as late as before: that there is a pack is not enough. */
    store_figures(fixture.store, &second);
    ck_assert_int_eq(second.waiting_since, first.waiting_since);
    ck_assert_int_eq(remove(lock), 0);
    time_offset += 10 * LATER;
    work_until_moved(before);
    check_flushed();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_journal_beside");
    TCase *tests = tcase_create("beside");

    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_store_journal_beside__a_sync_is_due_after_a_change);
    tcase_add_test(tests, test_store_journal_beside__git_gets_what_was_there_when_it_began);
    tcase_add_test(tests, test_store_journal_beside__one_pack_at_a_time_and_all_at_the_end);
    tcase_add_test(tests, test_store_journal_beside__how_late_git_is_counts_from_what_it_lacks);
    tcase_add_loop_test(tests, test_store_journal_beside__who_needs_it_waits_for_it, 0,
                        G_N_ELEMENTS(hurries));
    tcase_add_loop_test(tests, test_store_journal_beside__a_full_disk_takes_nothing_back, 0, 4);
    tcase_add_test(tests,
                   test_store_journal_beside__a_pack_tried_again_is_the_one_that_a_replay_makes);
    tcase_add_loop_test(tests, test_store_journal_beside__keeps_what_others_did_to_the_branch, 0,
                        4);
    tcase_add_test(tests, test_store_journal_beside__waits_for_a_lock_and_goes_on);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
