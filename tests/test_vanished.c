#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/repository.h"
#include "store/internal/waypoints.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static unsigned seed;
static struct host host; /* the system's without its flushes */

/* A state that clients were told of. */
struct state {
    uint64_t modseq;
    uint32_t uid_next;
    GArray *uids;
};
static GArray *states;

static void clear_state(void *data)
{
    struct state *state = data;

    g_array_unref(state->uids);
}

static void set_up(void)
{
    host = fixture_host_without_syncs();
    mail_fixture_init(&fixture, &host);
    inbox = open_mailbox(&fixture, "INBOX");
    states = g_array_new(FALSE, FALSE, sizeof(struct state));
    g_array_set_clear_func(states, clear_state);
    seed = 7;
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    g_array_unref(states);
    mail_fixture_release(&fixture);
}

static unsigned chance(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

static void remember(void)
{
    const struct snapshot *now = mailbox_snapshot(inbox);
    struct state state = {snapshot_highest_modseq(now), snapshot_uid_next(now),
                          g_array_new(FALSE, FALSE, sizeof(uint32_t))};

    for (size_t i = 0; i < snapshot_count(now); i++) {
        uint32_t uid = snapshot_message(now, i).uid;

        g_array_append_val(state.uids, uid);
    }
    g_array_append_val(states, state);
}

static uint32_t some_uid(const struct mailbox *mailbox)
{
    const struct snapshot *now = mailbox_snapshot(mailbox);

    return snapshot_message(now, chance((unsigned)snapshot_count(now))).uid;
}

static void change(struct mail_fixture *by, struct mailbox *mailbox)
{
    unsigned kind = chance(10);

    if (snapshot_count(mailbox_snapshot(mailbox)) == 0 || kind < 4) {
        append_text(by, mailbox, by == &fixture ? "here" : "there");
    } else if (kind < 7) {
        ck_assert_int_eq(expunge(by, mailbox, some_uid(mailbox)), 0);
    } else {
        ck_assert_int_eq(flag(by, mailbox, some_uid(mailbox),
                              kind < 9 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
                              (uint8_t)(1 << chance(5)), NULL),
                         0);
    }
}

static void live(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        change(&fixture, inbox);
        remember();
    }
}

static bool in_ranges(const GArray *ranges, uint32_t uid)
{
    for (guint i = 0; i < ranges->len; i++) {
        struct uid_range range = g_array_index(ranges, struct uid_range, i);

        if (uid >= range.first && uid <= range.last) {
            return true;
        }
    }
    return false;
}

static bool in_state(const struct state *state, uint32_t uid)
{
    for (guint i = 0; i < state->uids->len; i++) {
        if (g_array_index(state->uids, uint32_t, i) == uid) {
            return true;
        }
    }
    return false;
}

static void check_form(const GArray *ranges, const struct snapshot *now)
{
    for (guint i = 0; i < ranges->len; i++) {
        struct uid_range range = g_array_index(ranges, struct uid_range, i);

        ck_assert_uint_le(range.first, range.last);
        ck_assert_uint_lt(range.last, snapshot_uid_next(now));
        ck_assert(i == 0 || range.first > g_array_index(ranges, struct uid_range, i - 1).last + 1);
    }
}

enum wanted { EXACTLY, AT_LEAST, ALL_ABSENT };

/* What a client that knew this state is told. */
static void check_state(const struct state *state, enum wanted wanted)
{
    const struct snapshot *now = mailbox_snapshot(inbox);
    enum vanished answer;
    GArray *ranges;

    ck_assert_int_eq(mailbox_vanished(inbox, now, state->modseq, &ranges, &answer, &error), 0);
    ck_assert(wanted == AT_LEAST || answer == (wanted == EXACTLY ? VANISHED_EXACT : VANISHED_MORE));
    check_form(ranges, now);
    for (uint32_t uid = 1; uid < snapshot_uid_next(now); uid++) {
        bool present = has_message(inbox, uid);
        bool needed = !present && (in_state(state, uid) || uid >= state->uid_next);
        bool told = in_ranges(ranges, uid);

        ck_assert_msg(!(present && told), "UID %u is there", uid);
        ck_assert_msg(told || !needed, "UID %u is not told since %u", uid, (unsigned)state->modseq);
        ck_assert_msg(wanted != EXACTLY || told == needed, "UID %u is told since %u", uid,
                      (unsigned)state->modseq);
        ck_assert(wanted != ALL_ABSENT || told == !present);
    }
    g_array_unref(ranges);
}

static const struct state *state_at(guint index)
{
    return &g_array_index(states, struct state, index);
}

static void check_all(enum wanted wanted, guint step)
{
    for (guint i = chance(step); i < states->len; i += step) {
        check_state(state_at(i), wanted);
    }
}

static char *table_path(void)
{
    return g_strconcat(fixture.directory, "/cache/alice/waypoints/",
                       snapshot_mailbox_id(mailbox_snapshot(inbox)), NULL);
}

static void reopen(void)
{
    mailbox_unref(inbox);
    mail_fixture_reopen(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}

START_TEST(test_vanished__is_what_went_since_at_any_age)
{
    remember();
    live(200);
    check_all(EXACTLY, 3);
    live(100);
    reopen();
    check_all(EXACTLY, 7);
    live(30);
    check_all(EXACTLY, 3);
}
END_TEST

START_TEST(test_vanished__asks_of_a_state_that_is_not_the_newest)
{
    struct snapshot *old;
    enum vanished answer;
    GArray *ranges;

    append_many(&fixture, inbox, 10);
    remember();
    ck_assert_int_eq(expunge(&fixture, inbox, 3), 0);
    old = snapshot_ref(mailbox_snapshot(inbox));
    live(200);
    check_state(state_at(0), EXACTLY);
    ck_assert_int_eq(mailbox_vanished(inbox, old, state_at(0)->modseq, &ranges, &answer, &error),
                     0);
    ck_assert_int_eq(answer, VANISHED_EXACT);
    ck_assert_uint_eq(ranges->len, 1);
    ck_assert_uint_eq(g_array_index(ranges, struct uid_range, 0).first, 3);
    ck_assert_uint_eq(g_array_index(ranges, struct uid_range, 0).last, 3);
    g_array_unref(ranges);
    snapshot_unref(old);
    check_all(EXACTLY, 5);
}
END_TEST

START_TEST(test_vanished__needs_no_table_and_believes_no_bad_one)
{
    g_autofree char *path = table_path();

    remember();
    live(200);
    check_all(EXACTLY, 20);
    ck_assert(access(path, F_OK) == 0);
    for (int i = 0; i < 24; i++) {
        g_autofree char *table = NULL;
        gsize length;

        ck_assert(g_file_get_contents(path, &table, &length, NULL));
        ck_assert_uint_gt(length, 0);
        if (i % 6 == 0) {
            remove(path);
        } else {
            table[chance((unsigned)length)] ^= (char)(1 << chance(8));
            ck_assert(g_file_set_contents(path, table, (gssize)(length - (i % 3 == 0)), NULL));
        }
        check_state(state_at(chance(states->len)), EXACTLY);
        check_state(state_at(0), EXACTLY);
        live(1);
    }
    remove(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    check_all(EXACTLY, 20);
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(test_vanished__a_table_of_other_commits_makes_no_difference)
{
    g_autofree char *path = table_path();
    struct waypoints table;

    remember();
    live(280);
    check_state(state_at(0), EXACTLY);
    waypoints_load(&table, path, mailbox_snapshot(inbox));
    ck_assert_uint_gt(table.list->len, 3);
    for (guint i = 0; i + 1 < table.list->len; i++) {
        struct waypoint *waypoint = &g_array_index(table.list, struct waypoint, i);

        waypoint->commit = g_array_index(table.list, struct waypoint, i + 1).commit;
    }
    waypoints_save(&table, path, mailbox_snapshot(inbox));
    waypoints_release(&table);
    check_all(EXACTLY, 11);
}
END_TEST

START_TEST(test_vanished__tells_all_that_is_absent_of_what_it_cannot_know)
{
    struct state future = {.modseq = 1000000, .uid_next = 1};
    struct state never = {.modseq = 0, .uid_next = 1};

    future.uids = never.uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    live(40);
    check_state(&future, ALL_ABSENT);
    check_state(&never, ALL_ABSENT);
    check_state(&never, ALL_ABSENT);
    check_all(EXACTLY, 1);
    g_array_unref(future.uids);
}
END_TEST

/* From now on changes go through a journal, which takes less time. */
static void open_with_journal(void)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert_int_eq(store_open(&fixture.store, fixture.directory, fixture.host, &error), 0);
    ck_assert_int_eq(store_open_journal(fixture.store, &settings, &error), 0);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void flag_often(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        ck_assert_int_eq(flag(&fixture, inbox, 1, i % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
                              MESSAGE_SEEN, NULL),
                         0);
        if (i % 100 == 0) {
            ck_assert_int_eq(store_flush(fixture.store, &error), 0);
        }
    }
}

START_TEST(test_vanished__a_long_history_takes_several_calls)
{
    unsigned calls = 0;

    open_with_journal();
    append_many(&fixture, inbox, 20);
    remember();
    for (uint32_t uid = 2; uid < 8; uid++) {
        ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
        remember();
    }
    flag_often(7000);
    for (enum vanished answer = VANISHED_UNFINISHED; answer == VANISHED_UNFINISHED; calls++) {
        const struct snapshot *now = mailbox_snapshot(inbox);
        GArray *ranges;

        ck_assert_int_eq(
            mailbox_vanished(inbox, now, state_at(0)->modseq, &ranges, &answer, &error), 0);
        check_form(ranges, now);
        ck_assert(in_ranges(ranges, 2));
        g_array_unref(ranges);
        flag_often(1);
    }
    ck_assert_uint_ge(calls, 3);
    ck_assert_uint_le(calls, 6);
    check_all(EXACTLY, 1);
    flag_often(500);
    check_all(EXACTLY, 1);
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}
END_TEST

static void move_inbox(const char *to)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", to));
}

START_TEST(test_vanished__a_renamed_mailbox_keeps_its_past)
{
    live(150);
    mailbox_unref(inbox);
    inbox = open_mailbox(&fixture, "Archive");
    g_array_set_size(states, 0);
    live(150);
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "Archive", "Other", &fixture.origin, &error), 0);
    check_all(EXACTLY, 5);
    live(80);
    check_all(EXACTLY, 9);
}
END_TEST

START_TEST(test_vanished__a_shallow_clone_tells_more)
{
    g_autofree char *clone = fixture_path(fixture.directory, "clone.git");
    g_autofree char *url = g_strconcat("file://", fixture.path, NULL);
    uint64_t highest;

    live(100);
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert(GIT("/", "clone", "-q", "--bare", "--depth", "50", "--no-single-branch", url, clone));
    repository_remove(fixture.path);
    ck_assert_int_eq(rename(clone, fixture.path), 0);
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
    highest = snapshot_highest_modseq(mailbox_snapshot(inbox));
    for (guint i = 0; i < 100; i++) {
        check_state(state_at(i), state_at(i)->modseq + 50 <= highest ? ALL_ABSENT : EXACTLY);
    }
    live(1);
    mailbox_unref(inbox);
    mail_fixture_discard(&fixture);
    mail_fixture_init(&fixture, &host);
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

/* A line of changes beside the mailbox's own, from some of its commits ago on, made elsewhere:
 * branch "side". It ends with this MODSEQ at least. */
static void make_side(unsigned ago, uint64_t modseq)
{
    struct mail_fixture other = fixture;
    g_autofree char *from = g_strdup_printf("INBOX~%u", ago);
    struct mailbox *side;

    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/side", from));
    mail_fixture_open(&other);
    side = open_mailbox(&other, "side");
    while (snapshot_highest_modseq(mailbox_snapshot(side)) < modseq) {
        change(&other, side);
    }
    mailbox_unref(side);
    mail_fixture_close(&other);
}

/* Merges side and INBOX into the tree of side, as somebody might by hand. */
static char *merge_side(bool side_first)
{
    char *merged =
        GIT_OUTPUT(fixture.path, "commit-tree", "side^{tree}", "-m", "by hand", "-p",
                   side_first ? "side~1" : "INBOX", "-p", side_first ? "INBOX" : "side~1");

    ck_assert_ptr_nonnull(merged);
    return g_strchomp(merged);
}

static void interfere(unsigned kind)
{
    uint64_t highest = snapshot_highest_modseq(mailbox_snapshot(inbox));
    unsigned ago = 1 + chance(6);
    g_autofree char *to = NULL;

    if (kind == 0) {
        to = g_strdup_printf("INBOX~%u", ago);
    } else if (kind == 1) {
        make_side(ago, highest - ago + 1 + chance(2 * ago));
        to = g_strdup("side");
    } else {
        make_side(ago, highest + 1);
        to = merge_side(kind == 2);
    }
    move_inbox(to);
    GIT(fixture.path, "update-ref", "-d", "refs/heads/side");
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    remember();
}

START_TEST(test_vanished__never_tells_less_whatever_others_do)
{
    g_autofree char *path = table_path();

    live(20);
    for (unsigned i = 0; i < 7; i++) {
        interfere((unsigned)_i < 4 ? (unsigned)_i : chance(4));
        check_all(AT_LEAST, 3);
        live(8 + chance(70));
        if (chance(3) == 0) {
            remove(path);
        }
        check_all(AT_LEAST, 9);
    }
    check_state(state_at(states->len - 5), EXACTLY);
}
END_TEST

START_TEST(test_vanished__is_exact_across_a_merge)
{
    live(20);
    remember();
    interfere(2);
    live(100);
    for (guint i = 0; i < 10; i++) {
        check_state(state_at(i), EXACTLY);
    }
    check_state(state_at(states->len - 90), EXACTLY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vanished");
    TCase *cases = tcase_create("vanished");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_vanished__is_what_went_since_at_any_age);
    tcase_add_test(cases, test_vanished__asks_of_a_state_that_is_not_the_newest);
    tcase_add_test(cases, test_vanished__needs_no_table_and_believes_no_bad_one);
    tcase_add_test(cases, test_vanished__a_table_of_other_commits_makes_no_difference);
    tcase_add_test(cases, test_vanished__tells_all_that_is_absent_of_what_it_cannot_know);
    tcase_add_test(cases, test_vanished__a_long_history_takes_several_calls);
    tcase_add_test(cases, test_vanished__a_renamed_mailbox_keeps_its_past);
    tcase_add_test(cases, test_vanished__a_shallow_clone_tells_more);
    tcase_add_loop_test(cases, test_vanished__never_tells_less_whatever_others_do, 0, 6);
    tcase_add_test(cases, test_vanished__is_exact_across_a_merge);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
