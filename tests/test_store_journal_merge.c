/* Changes that are in the journal, acknowledged, while somebody else moves their branch in git: the
 * mailbox has both afterwards, whether the store lives and finds out, or a replay does.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "store/internal/journal.h"
#include "tests/journal_script.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { BASE = 5 };

static struct mail_fixture fixture;
static struct power_host *power;
static const struct host *other_host; /* of somebody else on the same machine */
static struct mailbox *inbox;
static struct store_error error;
static char our_tip[OBJECT_ID_HEX + 1];
static struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

/* --- the store --- */

static void open_with_journal(const struct host *host)
{
    mail_fixture_open_with_journal(&fixture, host, &settings);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void note_tip(void)
{
    object_id_format(snapshot_commit(mailbox_snapshot(inbox)), our_tip);
}

static void acknowledge(void)
{
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    note_tip();
}

static void set_up(void)
{
    settings.background = false;
    mail_fixture_init(&fixture, NULL);
    mail_fixture_close(&fixture);
    other_host = host_system();
    power = power_host_new(fixture.directory);
    open_with_journal(power_host_table(power));
    for (unsigned i = 0; i < BASE; i++) {
        char text[32];

        snprintf(text, sizeof(text), "Subject: %u\r\n\r\n", i + 1);
        append_text(&fixture, inbox, text);
    }
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
    power_host_free(power);
}

/* Message 6 comes, 3 gets a flag, 5 goes. */
static void change_some(void)
{
    append_text(&fixture, inbox, "Subject: ours\r\n\r\n");
    ck_assert_int_eq(flag(&fixture, inbox, 3, FLAG_MODE_ADD, MESSAGE_FLAGGED, "$Ours"), 0);
}

static void change_more(void)
{
    ck_assert_int_eq(expunge(&fixture, inbox, 5), 0);
}

/* --- what others do --- */

static char *git(const char *const *arguments)
{
    char *out = git_output(fixture.path, arguments);

    ck_assert_ptr_nonnull(out);
    return g_strchomp(out);
}

static struct mail_fixture other;
static struct mailbox *there;

static void open_other(void)
{
    other = fixture;
    other.host = other_host;
    mail_fixture_open(&other);
    there = open_mailbox(&other, "INBOX");
}

static void close_other(void)
{
    mailbox_unref(there);
    mail_fixture_close(&other);
}

static void outside_append(void)
{
    open_other();
    append_text(&other, there, "Subject: theirs\r\n\r\n");
    close_other();
}

static void outside_append_many(void)
{
    open_other();
    append_many(&other, there, 700);
    close_other();
}

static void outside_flag(void)
{
    open_other();
    flag(&other, there, 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL);
    flag(&other, there, 3, FLAG_MODE_ADD, MESSAGE_ANSWERED, "$Theirs");
    close_other();
}

static void outside_expunge(void)
{
    open_other();
    expunge(&other, there, 2);
    expunge(&other, there, 5);
    close_other();
}

static void outside_expunge_flagged(void)
{
    open_other();
    expunge(&other, there, 3);
    close_other();
}

static void outside_move(void)
{
    struct uid_pairs pairs;
    uint32_t uid = 4;

    open_other();
    struct mailbox *to = open_mailbox(&other, "Archive");
    ck_assert_int_eq(mailbox_move(there, &uid, 1, to, &other.origin, &pairs, &error), 0);
    uid_pairs_release(&pairs);
    mailbox_unref(to);
    close_other();
}

static void outside_rewind(void)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", "refs/heads/INBOX~3"));
}

static void outside_delete(void)
{
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/INBOX"));
}

static void outside_replace(void)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", "refs/heads/Archive"));
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Archive"));
}

static void commit_tree(const char *tree)
{
    const char *arguments[] = {"commit-tree", "-p", "refs/heads/INBOX", "-m", "by hand",
                               tree,          NULL};
    g_autofree char *commit = git(arguments);

    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", commit));
}

static void outside_no_mailbox(void)
{
    g_autofree char *tree =
        git((const char *const[]){"hash-object", "-t", "tree", "-w", "/dev/null", NULL});

    commit_tree(tree);
}

static void outside_same_tree(void)
{
    commit_tree("refs/heads/INBOX^{tree}");
}

static void outside_gc(void)
{
    ck_assert(GIT(fixture.path, "pack-refs", "--all"));
    ck_assert(GIT(fixture.path, "gc", "-q", "--prune=now"));
}

static const struct {
    const char *name;
    void (*act)(void);
    const char *uids; /* in the end */
    size_t more;      /* messages behind these */
    uint8_t flags3;   /* of message 3 */
    bool buried;      /* ours is kept beside the mailbox */
} outsides[] = {
    {"appends", outside_append, "1 2 3 4 6 7", 0, MESSAGE_FLAGGED, false},
    {"appends many", outside_append_many, "1 2 3 4 6", 700, MESSAGE_FLAGGED, false},
    {"sets flags", outside_flag, "1 2 3 4 6", 0, MESSAGE_FLAGGED | MESSAGE_ANSWERED, false},
    {"expunges", outside_expunge, "1 3 4 6", 0, MESSAGE_FLAGGED, false},
    {"expunges what we flagged", outside_expunge_flagged, "1 2 4 6", 0, 0, false},
    {"moves", outside_move, "1 2 3 6", 0, MESSAGE_FLAGGED, false},
    {"rewinds", outside_rewind, "1 2 6", 0, 0, false},
    {"deletes", outside_delete, NULL, 0, 0, true},
    {"replaces by another mailbox", outside_replace, NULL, 0, 0, true},
    {"replaces by no mailbox", outside_no_mailbox, "1 2 3 4 6", 0, MESSAGE_FLAGGED, false},
    {"commits nothing", outside_same_tree, "1 2 3 4 6", 0, MESSAGE_FLAGGED, false},
    {"packs", outside_gc, "1 2 3 4 6", 0, MESSAGE_FLAGGED, false},
};

/* "": there is none. For free(). */
static char *git_tip(void)
{
    char *tip = git_output(fixture.path, (const char *const[]){"rev-parse", "-q", "--verify",
                                                               "refs/heads/INBOX", NULL});

    return tip != NULL ? g_strchomp(tip) : strdup("");
}

/* --- checks --- */

static bool is_ancestor(const char *commit, const char *of)
{
    return GIT(fixture.path, "merge-base", "--is-ancestor", commit, of);
}

static char *first_uids(size_t count)
{
    const struct snapshot *snapshot = mailbox_snapshot(inbox);
    GString *out = g_string_new(NULL);

    for (size_t i = 0; i < MIN(count, snapshot_count(snapshot)); i++) {
        g_string_append_printf(out, "%s%u", i > 0 ? " " : "", snapshot_message(snapshot, i).uid);
    }
    return g_string_free(out, FALSE);
}

static void check_octets(uint32_t uid, const char *text)
{
    struct message message = message_of(inbox, uid);
    struct message_bytes bytes;

    ck_assert_int_eq(mailbox_read(inbox, &message.blob, &bytes, &error), 0);
    ck_assert_uint_eq(bytes.length, strlen(text));
    ck_assert_int_eq(memcmp(bytes.data, text, bytes.length), 0);
    message_bytes_release(&bytes);
}

static void check_buried(void)
{
    g_autofree char *kept = git((const char *const[]){"for-each-ref", "--contains", our_tip,
                                                      "--format=%(refname)", "refs/deleted", NULL});

    ck_assert(g_str_has_prefix(kept, "refs/deleted/INBOX/"));
    ck_assert_ptr_null(strchr(kept, '\n'));
}

/* All of ours and all of theirs. */
static void check_merged(int i, const char *their_tip)
{
    size_t count = snapshot_count(mailbox_snapshot(inbox));

    ck_assert_uint_ge(count, outsides[i].more);
    g_autofree char *uids = first_uids(count - outsides[i].more);
    g_autofree char *tip = git_tip();

    ck_assert_str_eq(uids, outsides[i].uids);
    ck_assert_uint_gt(snapshot_uid_next(mailbox_snapshot(inbox)),
                      snapshot_message(mailbox_snapshot(inbox), count - 1).uid);
    ck_assert_uint_ge(snapshot_uid_next(mailbox_snapshot(inbox)), 7);
    if (has_message(inbox, 3)) {
        ck_assert_uint_eq(message_of(inbox, 3).flags, outsides[i].flags3);
    }
    check_octets(6, "Subject: ours\r\n\r\n");
    if (outsides[i].act == outside_append) {
        check_octets(7, "Subject: theirs\r\n\r\n");
    }
    ck_assert(is_ancestor(our_tip, "refs/heads/INBOX"));
    ck_assert(is_ancestor(their_tip, "refs/heads/INBOX"));
    note_tip();
    ck_assert_int_eq(strncmp(tip, our_tip, OBJECT_ID_HEX), 0);
}

static void open_inbox_again(void)
{
    mailbox_unref(inbox);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void check(int i, const char *their_tip)
{
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    if (outsides[i].buried) {
        check_buried();
        open_inbox_again();
    } else {
        ck_assert(!mailbox_is_deleted(inbox));
        check_merged(i, their_tip);
    }
    /* And it goes on. */
    append_text(&fixture, inbox, "Subject: later\r\n\r\n");
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}

/* --- a store that lives --- */

static void find_out_by_work(void)
{
    power_host_wait(power, INT64_C(300) * 1000);
    store_work(fixture.store, true);
}

static void find_out_by_flush(void)
{
}

static void find_out_by_refresh(void)
{
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
}

static void find_out_beside(void)
{
    struct store_figures figures;

    /* Between commands, while packs are made in another thread. */
    do {
        power_host_wait(power, INT64_C(200) * 1000);
        store_work(fixture.store, false);
        store_figures(fixture.store, &figures);
    } while (figures.waiting > 0);
}

static void open_beside(void)
{
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    settings.background = true;
    open_with_journal(power_host_table(power));
}

static void (*const ways[])(void) = {find_out_by_work, find_out_by_flush, find_out_by_refresh,
                                     find_out_beside};

START_TEST(test_store_journal_merge__keeps_both_in_a_store_that_lives)
{
    int i = _i / (int)G_N_ELEMENTS(ways);

    /* Only then is there another thread. */
    if (ways[_i % (int)G_N_ELEMENTS(ways)] == find_out_beside) {
        open_beside();
    }

    change_some();
    change_more();
    acknowledge();
    outsides[i].act();
    g_autofree char *their_tip = git_tip();
    ways[_i % (int)G_N_ELEMENTS(ways)]();
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    check(i, their_tip);
}
END_TEST

/* Git sees the merge at once, and so it sees ours, which the merge follows. */
START_TEST(test_store_journal_merge__one_past_the_journal_has_all_that_it_follows)
{
    if (_i == 1) {
        open_beside();
    }
    change_some();
    change_more();
    acknowledge();
    if (_i == 1) {
        power_host_wait(power, INT64_C(200) * 1000);
        store_work(fixture.store, false);
    }
    outside_append_many();
    g_autofree char *their_tip = git_tip();
    find_out_by_refresh();
    g_autofree char *tip = git_tip();
    ck_assert_str_ne(tip, their_tip);
    ck_assert(GIT(fixture.path, "rev-list", "--objects", "--all"));
}
END_TEST

/* --- a replay --- */

static void cut_and_open(enum power_cut cut, void (*act)(void), char **their_tip)
{
    char *old = fixture.directory;
    char *copy = fixture_directory();
    uint32_t random = 5;

    ck_assert_int_eq(rmdir(copy), 0);
    power_host_cut(power, copy, cut, &random);
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    fixture_remove(old);
    free(fixture.path);
    fixture.directory = copy;
    fixture.path = fixture_path(copy, "mail/alice.git");
    act();
    *their_tip = git_tip();
    open_with_journal(machine_later());
}

START_TEST(test_store_journal_merge__keeps_both_in_a_replay)
{
    int i = _i / 2;
    bool half = _i % 2 == 1; /* some of ours is in git already */
    g_autofree char *their_tip = NULL;

    change_some();
    acknowledge();
    if (half) {
        find_out_by_work();
    }
    change_more();
    acknowledge();
    cut_and_open(half ? POWER_WRITTEN : POWER_LOST, outsides[i].act, &their_tip);
    if (half && outsides[i].act == outside_rewind) {
        ck_assert(is_ancestor(our_tip, "refs/heads/INBOX"));
    } else {
        check(i, their_tip);
    }
}
END_TEST

/* --- a merge that is cut --- */

struct cuts {
    int i;
    unsigned made;
    uint32_t random;
};

static void check_cut(void *data, unsigned call)
{
    struct cuts *cuts = data;
    struct mail_fixture live = fixture;
    struct mailbox *live_inbox = inbox;
    char *copy = fixture_directory();

    (void)call;
    ck_assert_int_eq(rmdir(copy), 0);
    power_host_cut(power, copy, cuts->made++ % 2 == 0 ? POWER_LOST : POWER_TORN, &cuts->random);
    fixture.directory = copy;
    fixture.path = fixture_path(copy, "mail/alice.git");
    open_with_journal(machine_later());
    g_autofree char *uids = first_uids(SIZE_MAX);
    /* Theirs gets a UID that is new for both. */
    ck_assert(strcmp(uids, outsides[cuts->i].uids) == 0 || strcmp(uids, "1 2 3 4 6 8") == 0);
    ck_assert_uint_eq(message_of(inbox, 3).flags, outsides[cuts->i].flags3);
    ck_assert(is_ancestor(our_tip, "refs/heads/INBOX"));
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    fixture_remove(copy);
    free(fixture.path);
    fixture = live;
    inbox = live_inbox;
}

/* With all kinds of rings: some are so full that the merge itself has to make room. */
START_TEST(test_store_journal_merge__keeps_both_when_the_merge_is_cut)
{
    struct cuts cuts = {.i = _i % 4 == 1 ? 3 : _i % 4, .random = 7 + (uint32_t)_i};

    other_host = power_host_table(power);
    change_some();
    change_more();
    for (int i = 0; i < 30 + _i; i++) {
        ck_assert_int_eq(store_sync(fixture.store, &error), 0);
        flag(&fixture, inbox, 4, i % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE, MESSAGE_SEEN, NULL);
    }
    acknowledge();
    outsides[cuts.i].act();
    power_host_watch(power, check_cut, &cuts);
    find_out_by_refresh();
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
    power_host_watch(power, NULL, NULL);
    ck_assert_uint_gt(cuts.made, 10);
}
END_TEST

/* --- a merge that fails --- */

static char *their_base; /* where the branch stood before theirs */

/* Nothing can come after it. */
static void outside_end(void)
{
    struct snapshot_builder *builder;
    struct transaction transaction;

    open_other();
    builder = snapshot_builder_new(mailbox_snapshot(there));
    builder->modseq = MODSEQ_MAX;
    ck_assert_int_eq(transaction_begin(&transaction, other.account, &other.origin, &error), 0);
    ck_assert_int_eq(transaction_change(&transaction, there, builder, "theirs", &error), 0);
    ck_assert_int_eq(transaction_commit(&transaction, &error), 0);
    transaction_end(&transaction);
    snapshot_builder_free(builder);
    close_other();
}

static void outside_go_back(void)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", their_base));
}

/* A pack of ours is on its way when the merge fails: whatever comes of it, the branch has not got
 * what is in it, and a checkpoint knows that. */
START_TEST(test_store_journal_merge__keeps_ours_when_it_fails_beside_a_pack)
{
    enum { FRAMES = 20, PATIENCE = 20000 /* milliseconds */ };
    g_autofree char *unused = NULL;
    struct store_figures figures;

    open_beside();
    change_some();
    for (unsigned i = 0; i < FRAMES; i++) {
        flag(&fixture, inbox, 4, i % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE, MESSAGE_SEEN, NULL);
        acknowledge();
    }
    their_base = git_tip();
    power_host_wait(power, INT64_C(600) * 1000);
    store_work(fixture.store, false);
    outside_end();
    ck_assert_int_lt(mailbox_refresh(inbox, &error), 0);
    power_host_wait(power, INT64_C(6000) * 1000);
    store_figures(fixture.store, &figures);
    ck_assert_uint_gt(figures.journal_used, FRAMES / 2 * JOURNAL_BLOCK);
    for (int i = 0; figures.journal_used > FRAMES / 2 * JOURNAL_BLOCK; i++) {
        ck_assert_int_lt(i, PATIENCE);
        g_usleep(1000);
        store_work(fixture.store, false);
        store_figures(fixture.store, &figures);
    }
    cut_and_open(POWER_WRITTEN, outside_go_back, &unused);
    g_autofree char *uids = first_uids(SIZE_MAX);
    ck_assert_str_eq(uids, "1 2 3 4 5 6");
    ck_assert(is_ancestor(our_tip, "refs/heads/INBOX"));
    g_clear_pointer(&their_base, free);
}
END_TEST

/* --- a branch that is locked --- */

START_TEST(test_store_journal_merge__waits_for_a_lock_and_goes_on)
{
    enum { COUNT = 40, LENGTH = 20000 }; /* three times the journal */
    static char text[LENGTH + 1];
    g_autofree char *lock = g_strconcat(fixture.path, "/refs/heads/INBOX.lock", NULL);

    ck_assert(g_file_set_contents(lock, "", 0, NULL));
    memset(text, 'x', LENGTH);
    for (unsigned i = 0; i < COUNT; i++) {
        text[0] = (char)('a' + i % 26);
        append_text(&fixture, inbox, text);
        ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    }
    note_tip();
    /* It is not tried all the time. */
    power_host_wait(power, INT64_C(2000) * 1000);
    ck_assert_int_ge(store_work(fixture.store, true), power_host_time(power) + 1000 * 1000);
    g_autofree char *before = git_tip();
    ck_assert_int_ne(strncmp(before, our_tip, OBJECT_ID_HEX), 0);
    if (_i == 0) {
        ck_assert_int_eq(remove(lock), 0);
        power_host_wait(power, INT64_C(1000) * 1000);
        find_out_by_work();
    } else {
        g_autofree char *unused = NULL;

        cut_and_open(_i == 1 ? POWER_LOST : POWER_TORN, outside_same_tree, &unused);
    }
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), BASE + COUNT);
    ck_assert(is_ancestor(our_tip, "refs/heads/INBOX"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_journal_merge");
    TCase *tests = tcase_create("merge");

    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, test_store_journal_merge__keeps_both_in_a_store_that_lives, 0,
                        G_N_ELEMENTS(outsides) * G_N_ELEMENTS(ways));
    tcase_add_loop_test(
        tests, test_store_journal_merge__one_past_the_journal_has_all_that_it_follows, 0, 2);
    tcase_add_loop_test(tests, test_store_journal_merge__keeps_both_in_a_replay, 0,
                        G_N_ELEMENTS(outsides) * 2);
    tcase_add_loop_test(tests, test_store_journal_merge__keeps_both_when_the_merge_is_cut, 0, 24);
    tcase_add_test(tests, test_store_journal_merge__keeps_ours_when_it_fails_beside_a_pack);
    tcase_add_loop_test(tests, test_store_journal_merge__waits_for_a_lock_and_goes_on, 0, 3);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
