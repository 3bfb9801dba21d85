#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/repository.h"
#include "store/past.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static unsigned seed;
static struct host host; /* the system's without its flushes */

enum { FIRST_DAY = 20775, HOUR = 60 * 60, DAY = 24 * HOUR };

static void set_up(void)
{
    host = fixture_host_without_syncs();
    mail_fixture_init(&fixture, &host);
    inbox = open_mailbox(&fixture, "INBOX");
    seed = 11;
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static unsigned chance(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

static void go_to(int64_t seconds)
{
    fixture.origin.time = seconds * 1000000;
}

static int64_t at_day(int day)
{
    return (int64_t)(FIRST_DAY + day) * DAY + 12 * HOUR;
}

static struct moment moment_at(int64_t seconds)
{
    return (struct moment){.first = seconds, .last = seconds};
}

/* The store's answer, with the state's name and its HIGHESTMODSEQ as text, for g_free(). */
static char *found(const char *name, const struct moment *moment)
{
    struct past_state state;
    struct snapshot *snapshot;
    int rc = past_find(fixture.account, name, moment, &state, NULL, &error);
    char *out;

    if (rc < 0) {
        return g_strdup(store_code_name(error.code));
    }
    ck_assert_int_eq(past_snapshot(fixture.account, &state.commit, &snapshot, &error), 0);
    out = g_strdup_printf("%s %zu", state.name, snapshot_count(snapshot));
    snapshot_unref(snapshot);
    past_state_clear(&state);
    return out;
}

static void check_found(const char *name, int64_t time, const char *wanted)
{
    struct moment moment = moment_at(time);
    g_autofree char *got = found(name, &moment);

    ck_assert_str_eq(got, wanted);
}

static void check_list(int64_t time, const char *wanted)
{
    struct moment moment = moment_at(time);
    g_autoptr(GString) got = g_string_new(NULL);
    GPtrArray *list;

    ck_assert_int_eq(past_list(fixture.account, &moment, &list, NULL, &error), 0);
    for (guint i = 0; i < list->len; i++) {
        const struct past_state *state = g_ptr_array_index(list, i);
        struct past_state one;

        if (strcmp(state->name, "Archive") == 0 || strcmp(state->name, "Drafts") == 0 ||
            strcmp(state->name, "Junk") == 0 || strcmp(state->name, "Sent") == 0 ||
            strcmp(state->name, "Trash") == 0) {
            continue;
        }
        g_string_append_printf(got, "%s%s", got->len > 0 ? " " : "", state->name);
        /* Whatever is listed is found, and is the same. */
        ck_assert_int_eq(past_find(fixture.account, state->name, &moment, &one, NULL, &error), 0);
        ck_assert(object_id_equal(&one.commit, &state->commit));
        ck_assert_str_eq(one.ref, state->ref);
        past_state_clear(&one);
    }
    ck_assert_str_eq(got->str, wanted);
    g_ptr_array_unref(list);
}

static char *git_says(const char *branch, int64_t time)
{
    g_autofree char *before = g_strdup_printf("--before=%lld", (long long)time);
    char *out = GIT_OUTPUT(fixture.path, "rev-list", "-1", "--first-parent", before, branch, "--");

    return out != NULL ? g_strchomp(out) : NULL;
}

static void check_as_git(const char *name, int64_t time)
{
    g_autofree char *wanted = git_says(name, time);
    struct moment moment = moment_at(time);
    struct past_state state;
    char hex[OBJECT_ID_HEX + 1] = "";
    int rc = past_find(fixture.account, name, &moment, &state, NULL, &error);

    ck_assert(rc == 0 || rc == STORE_NOT_FOUND);
    if (rc == 0) {
        object_id_format(&state.commit, hex);
        past_state_clear(&state);
    }
    ck_assert_str_eq(hex, wanted);
}

/* --- the state at a moment --- */

START_TEST(test_past__is_the_newest_state_not_after_the_moment)
{
    for (int day = 0; day < 10; day++) {
        go_to(at_day(10 + 2 * day));
        append_text(&fixture, inbox, "x");
    }
    check_found("INBOX", at_day(10), "INBOX 1");
    check_found("inbox", at_day(11), "INBOX 1");
    check_found("INBOX", at_day(12) - 1, "INBOX 1");
    check_found("INBOX", at_day(12), "INBOX 2");
    check_found("INBOX", at_day(400), "INBOX 10");
    check_found("INBOX", 0, "not found");
    check_found("INBOX", INT64_C(1794999999), "not found");
    check_found("Nothing", at_day(400), "not found");
    check_found("a//b", at_day(400), "bad name");
}
END_TEST

START_TEST(test_past__agrees_with_git_whatever_the_dates)
{
    int64_t first = at_day(1);

    for (int i = 0; i < 400; i++) {
        go_to(first + (chance(10) == 0 ? (int64_t)chance(400) : (int64_t)i));
        append_text(&fixture, inbox, "x");
        if (i % 40 == 39) {
            check_as_git("INBOX", first + chance(400));
        }
    }
    for (int i = 0; i < 60; i++) {
        check_as_git("INBOX", first - 5 + chance(410));
    }
    check_as_git("Sent", first);
}
END_TEST

START_TEST(test_past__finds_mailboxes_under_the_names_they_had)
{
    struct mailbox *work;

    go_to(at_day(1));
    ck_assert_int_eq(account_create_mailbox(fixture.account, "Work/A to B", SPECIAL_USE_NONE,
                                            &fixture.origin, &error),
                     0);
    work = open_mailbox(&fixture, "Work/A to B");
    append_text(&fixture, work, "x");
    go_to(at_day(3));
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "Work", "Play to Work", &fixture.origin, &error),
        0);
    append_text(&fixture, work, "y");
    mailbox_unref(work);
    go_to(at_day(5));
    ck_assert_int_eq(account_create_mailbox(fixture.account, "Work/A to B", SPECIAL_USE_NONE,
                                            &fixture.origin, &error),
                     0);
    go_to(at_day(7));
    ck_assert_int_eq(
        account_delete_mailbox(fixture.account, "Play to Work/A to B", &fixture.origin, &error), 0);
    check_found("Work/A to B", at_day(1) - 1, "not found");
    check_found("Work/A to B", at_day(2), "Work/A to B 1");
    check_found("Play to Work/A to B", at_day(2), "not found");
    check_found("Work/A to B", at_day(4), "not found");
    check_found("Play to Work/A to B", at_day(4), "Play to Work/A to B 2");
    check_found("Work/A to B", at_day(6), "Work/A to B 0");
    check_found("Play to Work/A to B", at_day(6), "Play to Work/A to B 2");
    check_found("Play to Work/A to B", at_day(7), "not found");
    check_list(at_day(2), "INBOX Work/A to B");
    check_list(at_day(4), "INBOX Play to Work/A to B");
    check_list(at_day(6), "INBOX Play to Work/A to B Work/A to B");
    check_list(at_day(8), "INBOX Work/A to B");
    check_list(0, "");
}
END_TEST

START_TEST(test_past__finds_each_of_several_deleted_mailboxes_of_a_name)
{
    for (int i = 0; i < 4; i++) {
        struct mailbox *box;

        go_to(at_day(10 * i + 1));
        ck_assert_int_eq(account_create_mailbox(fixture.account, "Box", SPECIAL_USE_NONE,
                                                &fixture.origin, &error),
                         0);
        box = open_mailbox(&fixture, "Box");
        append_many(&fixture, box, (size_t)i + 1);
        mailbox_unref(box);
        go_to(at_day(10 * i + 6));
        ck_assert_int_eq(account_delete_mailbox(fixture.account, "Box", &fixture.origin, &error),
                         0);
    }
    for (int i = 0; i < 4; i++) {
        g_autofree char *wanted = g_strdup_printf("Box %d", i + 1);

        check_found("Box", at_day(10 * i), "not found");
        check_found("Box", at_day(10 * i + 2), wanted);
        check_list(at_day(10 * i + 2), "INBOX Box");
        check_found("Box", at_day(10 * i + 7), "not found");
        check_list(at_day(10 * i + 7), "INBOX");
    }
}
END_TEST

START_TEST(test_past__follows_inbox_where_its_messages_went)
{
    go_to(at_day(1));
    append_many(&fixture, inbox, 3);
    go_to(at_day(2));
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "INBOX", "Old", &fixture.origin, &error), 0);
    go_to(at_day(3));
    append_text(&fixture, inbox, "x");
    check_found("INBOX", at_day(1), "INBOX 3");
    check_found("Old", at_day(1), "not found");
    check_found("INBOX", at_day(2), "INBOX 0");
    check_found("Old", at_day(2), "Old 3");
    check_found("INBOX", at_day(3), "INBOX 1");
    check_list(at_day(1), "INBOX");
    check_list(at_day(2), "INBOX Old");
}
END_TEST

/* Names as long as they can be: the commit's subject has not room for two. */
START_TEST(test_past__finds_names_that_a_subject_has_no_room_for)
{
    g_autofree char *a = g_strnfill(190, 'a');
    g_autofree char *b = g_strnfill(190, 'b');
    g_autofree char *wanted_a = g_strconcat(a, " 0", NULL);
    g_autofree char *wanted_b = g_strconcat(b, " 0", NULL);

    go_to(at_day(1));
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, a, SPECIAL_USE_NONE, &fixture.origin, &error), 0);
    go_to(at_day(2));
    ck_assert_int_eq(account_rename_mailbox(fixture.account, a, b, &fixture.origin, &error), 0);
    check_found(a, at_day(1), wanted_a);
    check_found(b, at_day(1), "not found");
    check_found(b, at_day(2), wanted_b);
    /* Such a character is not written to a subject as it is. */
    go_to(at_day(3));
    ck_assert_int_eq(account_create_mailbox(fixture.account, "in\342\200\256visible",
                                            SPECIAL_USE_NONE, &fixture.origin, &error),
                     0);
    go_to(at_day(4));
    ck_assert_int_eq(account_rename_mailbox(fixture.account, "in\342\200\256visible", "seen",
                                            &fixture.origin, &error),
                     0);
    check_found("in\342\200\256visible", at_day(3), "in\342\200\256visible 0");
    check_found("in\342\200\256visible", at_day(4), "not found");
}
END_TEST

START_TEST(test_past__follows_a_thousand_names_and_no_more)
{
    enum { RENAMES = 1010, KNOWN = 1000 };
    g_autofree char *name = g_strdup("N0");

    ck_assert_int_eq(
        account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    for (int i = 1; i <= RENAMES; i++) {
        g_autofree char *next = g_strdup_printf("N%d", i);

        go_to(at_day(1) + i);
        ck_assert_int_eq(
            account_rename_mailbox(fixture.account, name, next, &fixture.origin, &error), 0);
        g_free(name);
        name = g_steal_pointer(&next);
    }
    for (int i = RENAMES; i >= 0; i -= i > 20 ? 99 : 1) {
        g_autofree char *old = g_strdup_printf("N%d", i);
        g_autofree char *wanted = g_strdup_printf("%s 0", old);

        check_found(old, at_day(1) + i, i > RENAMES - KNOWN ? wanted : "not found");
    }
}
END_TEST

START_TEST(test_past__knows_the_days)
{
    static const int days[] = {3, 4, 4, 9, 200};
    GArray *got;

    for (size_t i = 0; i < G_N_ELEMENTS(days); i++) {
        go_to(at_day(days[i]));
        append_text(&fixture, inbox, "x");
    }
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Gone", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    go_to(at_day(201));
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Gone", &fixture.origin, &error), 0);
    for (int i = 0; i < 2; i++) {
        static const int32_t wanted[] = {0, 3, 4, 9, 200, 201};

        ck_assert_int_eq(past_days(fixture.account, &got, NULL, &error), 0);
        ck_assert_uint_eq(got->len, G_N_ELEMENTS(wanted));
        for (guint j = 0; j < got->len; j++) {
            ck_assert_int_eq(g_array_index(got, int32_t, j), FIRST_DAY + wanted[j]);
        }
        g_array_unref(got);
    }
}
END_TEST

/* --- the moment of a commit --- */

static char *hex_of(const struct mailbox *mailbox)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(snapshot_commit(mailbox_snapshot(mailbox)), hex);
    return g_strdup(hex);
}

static struct moment moment_of_commit(const char *digits, size_t length)
{
    g_autofree char *part = g_strndup(digits, length);
    struct moment out;

    ck_assert(moment_parse(&out, part));
    return out;
}

/* Many commits have one date: each is a moment of its own all the same. */
START_TEST(test_past__tells_commits_of_one_second_apart)
{
    g_autoptr(GPtrArray) commits = g_ptr_array_new_with_free_func(g_free);

    for (int i = 0; i < 20; i++) {
        append_text(&fixture, inbox, "x");
        g_ptr_array_add(commits, hex_of(inbox));
    }
    for (guint i = 0; i < commits->len; i++) {
        struct moment moment = moment_of_commit(commits->pdata[i], 8 + 3 * (i % 10));
        g_autofree char *wanted = g_strdup_printf("INBOX %u", i + 1);
        g_autofree char *got = found("INBOX", &moment);
        struct past_state state;
        char hex[OBJECT_ID_HEX + 1];

        ck_assert_str_eq(got, wanted);
        ck_assert_int_eq(past_find(fixture.account, NULL, &moment, &state, NULL, &error), 0);
        object_id_format(&state.commit, hex);
        ck_assert_str_eq(hex, commits->pdata[i]);
        ck_assert_ptr_null(state.name);
        past_state_clear(&state);
    }
}
END_TEST

START_TEST(test_past__takes_a_commit_for_its_moment_in_other_mailboxes)
{
    struct mailbox *sent = open_mailbox(&fixture, "Sent");
    g_autofree char *hex = NULL;

    go_to(at_day(1));
    append_text(&fixture, inbox, "x");
    go_to(at_day(2));
    append_text(&fixture, sent, "x");
    hex = hex_of(sent);
    go_to(at_day(3));
    append_text(&fixture, inbox, "x");
    struct moment moment = moment_of_commit(hex, OBJECT_ID_HEX);
    g_autofree char *in_inbox = found("INBOX", &moment);
    g_autofree char *in_sent = found("Sent", &moment);
    ck_assert_str_eq(in_inbox, "INBOX 1");
    ck_assert_str_eq(in_sent, "Sent 1");
    mailbox_unref(sent);
}
END_TEST

START_TEST(test_past__refuses_what_is_no_commit_of_a_mailbox)
{
    static const char *const revisions[] = {"INBOX^{tree}", "INBOX:mailbox", "refs/annal/account"};
    struct past_state state;
    struct moment moment;

    for (size_t i = 0; i < G_N_ELEMENTS(revisions); i++) {
        g_autofree char *hex =
            g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", revisions[i], "--"));

        for (size_t length = 10; length <= OBJECT_ID_HEX; length += 30) {
            moment = moment_of_commit(hex, length);
            ck_assert_int_eq(past_find(fixture.account, NULL, &moment, &state, NULL, &error),
                             STORE_NOT_FOUND);
            ck_assert_int_eq(past_find(fixture.account, "INBOX", &moment, &state, NULL, &error),
                             STORE_NOT_FOUND);
        }
    }
    moment = moment_of_commit("0123456789", 10);
    ck_assert_int_eq(past_find(fixture.account, NULL, &moment, &state, NULL, &error),
                     STORE_NOT_FOUND);
}
END_TEST

/* --- opening --- */

static void append_state(GString *out, const char *name, const struct snapshot *snapshot)
{
    g_string_append_printf(out, "%s %s %u %u %u:", name, snapshot_mailbox_id(snapshot),
                           snapshot_uid_validity(snapshot), snapshot_uid_next(snapshot),
                           (unsigned)snapshot_highest_modseq(snapshot));
    for (size_t i = 0; i < snapshot_keyword_count(snapshot); i++) {
        g_string_append_printf(out, " %s", snapshot_keyword(snapshot, i));
    }
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(&message.blob, hex);
        g_string_append_printf(out, " %u/%u/%x/%x/%.8s", message.uid, (unsigned)message.modseq,
                               message.flags, (unsigned)message.keywords, hex);
    }
    g_string_append_c(out, '\n');
}

/* All mailboxes as they are. */
static char *describe_present(void)
{
    GString *out = g_string_new(NULL);
    GPtrArray *list;

    ck_assert_int_eq(account_list(fixture.account, &list, &error), 0);
    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);
        struct mailbox *mailbox = open_mailbox(&fixture, entry->name);

        append_state(out, entry->name, mailbox_snapshot(mailbox));
        mailbox_unref(mailbox);
    }
    g_ptr_array_unref(list);
    return g_string_free(out, FALSE);
}

/* All mailboxes as they were. */
static char *describe_past(int64_t time)
{
    struct moment moment = moment_at(time);
    GString *out = g_string_new(NULL);
    GPtrArray *list;

    ck_assert_int_eq(past_list(fixture.account, &moment, &list, NULL, &error), 0);
    for (guint i = 0; i < list->len; i++) {
        const struct past_state *state = g_ptr_array_index(list, i);
        struct mailbox *mailbox;

        ck_assert_int_eq(past_open(fixture.account, state->name, &moment, &mailbox, NULL, &error),
                         0);
        ck_assert(mailbox_is_past(mailbox));
        append_state(out, state->name, mailbox_snapshot(mailbox));
        mailbox_unref(mailbox);
    }
    g_ptr_array_unref(list);
    return g_string_free(out, FALSE);
}

struct remembered_state {
    int64_t time;
    char *text;
};

static void clear_remembered(void *data)
{
    g_free(((struct remembered_state *)data)->text);
}

static const char *const NAMES[] = {"INBOX", "A", "B", "A/x", "B/x", "C to D"};

static const char *some_name(void)
{
    return NAMES[chance(G_N_ELEMENTS(NAMES))];
}

/* Whatever can't be done is not. */
static void change_messages(const char *name)
{
    struct mailbox *mailbox;

    if (account_open_mailbox(fixture.account, name, &mailbox, &error) < 0) {
        return;
    }
    const struct snapshot *now = mailbox_snapshot(mailbox);
    size_t count = snapshot_count(now);
    uint32_t uid = count > 0 ? snapshot_message(now, chance((unsigned)count)).uid : 0;
    unsigned kind = chance(10);

    if (count == 0 || kind < 3) {
        append_many(&fixture, mailbox, 1 + chance(3));
    } else if (kind < 5) {
        expunge(&fixture, mailbox, uid);
    } else {
        flag(&fixture, mailbox, uid, kind < 8 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
             (uint8_t)(1 << chance(5)),
             chance(3) == 0 ? (const char *[]){"$Junk", "Work", "Play"}[chance(3)] : NULL);
    }
    mailbox_unref(mailbox);
}

static void change_something(void)
{
    unsigned kind = chance(12);

    if (kind == 0) {
        account_create_mailbox(fixture.account, some_name(), SPECIAL_USE_NONE, &fixture.origin,
                               &error);
    } else if (kind == 1) {
        account_delete_mailbox(fixture.account, some_name(), &fixture.origin, &error);
    } else if (kind == 2) {
        account_rename_mailbox(fixture.account, some_name(), some_name(), &fixture.origin, &error);
    } else {
        change_messages(some_name());
    }
}

START_TEST(test_past__shows_of_any_history_what_was_there_at_each_point)
{
    g_autoptr(GArray) states = g_array_new(FALSE, FALSE, sizeof(struct remembered_state));
    int64_t time = at_day(1);

    seed = (unsigned)_i + 1;
    g_array_set_clear_func(states, clear_remembered);
    for (int i = 0; i < 150; i++) {
        struct remembered_state state;

        go_to(time);
        change_something();
        if (chance(4) == 0) {
            continue;
        }
        state.time = time;
        state.text = describe_present();
        g_array_append_val(states, state);
        time += 1 + chance(3);
        if (chance(60) == 0) {
            mailbox_unref(inbox);
            mail_fixture_reopen(&fixture);
            inbox = open_mailbox(&fixture, "INBOX");
        }
        if (chance(5) == 0) {
            const struct remembered_state *old =
                &g_array_index(states, struct remembered_state, chance(states->len));
            g_autofree char *text = describe_past(old->time);

            ck_assert_str_eq(text, old->text);
        }
    }
    for (guint i = 0; i < states->len; i++) {
        const struct remembered_state *state = &g_array_index(states, struct remembered_state, i);
        g_autofree char *text = describe_past(state->time);

        ck_assert_str_eq(text, state->text);
    }
}
END_TEST

START_TEST(test_past__can_be_read_and_copied_and_not_changed)
{
    struct mailbox *past, *sent = open_mailbox(&fixture, "Sent");
    struct moment moment = moment_at(at_day(1));
    static const uint32_t uids[] = {1, 2, 7};
    struct message_bytes bytes;
    struct uid_pairs pairs;
    uint32_t uid;

    go_to(at_day(1));
    append_text(&fixture, inbox, "first");
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_FLAGGED, "Work"), 0);
    append_text(&fixture, inbox, "second");
    go_to(at_day(2));
    ck_assert_int_eq(expunge(&fixture, inbox, 1), 0);
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_SEEN, "Later"), 0);

    ck_assert_int_eq(past_open(fixture.account, "INBOX", &moment, &past, NULL, &error), 0);
    const struct snapshot *then = mailbox_snapshot(past);
    ck_assert_uint_eq(snapshot_count(then), 2);
    ck_assert_uint_eq(snapshot_keyword_count(then), 1);
    ck_assert_uint_eq(mailbox_recent_from(past), snapshot_uid_next(then));
    struct message first = snapshot_message(then, 0);
    ck_assert_int_eq(mailbox_read(past, &first.blob, &bytes, &error), 0);
    ck_assert_int_eq(memcmp(bytes.data, "first", bytes.length), 0);
    message_bytes_release(&bytes);

    ck_assert_int_eq(try_append(&fixture, past, "x", 1, 0, NULL, &uid, &error), STORE_FORBIDDEN);
    ck_assert_int_eq(flag(&fixture, past, 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), STORE_FORBIDDEN);
    ck_assert_int_eq(expunge(&fixture, past, 1), STORE_FORBIDDEN);
    ck_assert_int_eq(mailbox_move(past, uids, 3, sent, &fixture.origin, &pairs, &error),
                     STORE_FORBIDDEN);
    uid_pairs_release(&pairs);
    ck_assert_int_eq(mailbox_copy(sent, uids, 3, past, &fixture.origin, &pairs, &error),
                     STORE_FORBIDDEN);
    uid_pairs_release(&pairs);

    ck_assert_int_eq(mailbox_copy(past, uids, 3, sent, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(pairs.from->len, 2);
    uid_pairs_release(&pairs);
    struct message copy = message_of(sent, 1);
    ck_assert(object_id_equal(&copy.blob, &first.blob));
    ck_assert_uint_eq(copy.flags, MESSAGE_FLAGGED);
    ck_assert_str_eq(snapshot_keyword(mailbox_snapshot(sent), 0), "Work");
    ck_assert_int_eq(copy.internal_date, first.internal_date);
    g_autofree char *subject = GIT_OUTPUT(fixture.path, "log", "-1", "--format=%s", "Sent");
    g_autofree char *commit =
        g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "--short=12", "INBOX~2"));
    g_autofree char *wanted =
        g_strdup_printf("COPY uid 1:2 from INBOX at 2026-11-19 (%s) as uid 1:2\n", commit);
    ck_assert_str_eq(subject, wanted);
    ck_assert(then == mailbox_snapshot(past));
    ck_assert_int_eq(mailbox_refresh(past, &error), 0);
    ck_assert(then == mailbox_snapshot(past));
    mailbox_unref(past);
    mailbox_unref(sent);
}
END_TEST

/* One with a file of its own among the derived state, which must help and nothing else. */
START_TEST(test_past__shows_a_large_mailbox_as_it_was)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (int i = 0; i < 6; i++) {
        GString *text = g_string_new(NULL);

        go_to(at_day(i + 1));
        append_many(&fixture, inbox, 200);
        flag(&fixture, inbox, 1 + chance(200), FLAG_MODE_ADD, MESSAGE_SEEN, i > 3 ? "Late" : NULL);
        expunge(&fixture, inbox, 1 + chance(200));
        append_state(text, "INBOX", mailbox_snapshot(inbox));
        g_ptr_array_add(texts, g_string_free(text, FALSE));
        if (i == 4) {
            mailbox_unref(inbox);
            mail_fixture_reopen(&fixture);
            inbox = open_mailbox(&fixture, "INBOX");
        }
    }
    g_autofree char *file = g_strconcat(fixture.directory, "/cache/alice/snapshots/INBOX", NULL);
    ck_assert_int_eq(access(file, F_OK), 0);
    for (int i = 0; i < 6; i++) {
        struct moment moment = moment_at(at_day(i + 1));
        g_autoptr(GString) text = g_string_new(NULL);
        struct mailbox *past;

        ck_assert_int_eq(past_open(fixture.account, "INBOX", &moment, &past, NULL, &error), 0);
        append_state(text, "INBOX", mailbox_snapshot(past));
        ck_assert_str_eq(text->str, texts->pdata[i]);
        mailbox_unref(past);
    }
}
END_TEST

/* --- what others do --- */

START_TEST(test_past__passes_over_states_that_were_never_shown)
{
    struct mailbox *past;
    struct moment moment = moment_at(at_day(9));

    go_to(at_day(1));
    append_text(&fixture, inbox, "x");
    g_autofree char *tree = g_strchomp(GIT_OUTPUT(fixture.path, "mktree", "--missing"));
    g_autofree char *commit = g_strchomp(
        GIT_OUTPUT(fixture.path, "commit-tree", tree, "-p", "refs/heads/INBOX", "-m", "nonsense"));
    g_autofree char *good = hex_of(inbox);
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", commit));
    mail_fixture_open(&fixture);
    moment.last += INT64_C(40) * 365 * DAY;
    ck_assert_int_eq(past_open(fixture.account, "INBOX", &moment, &past, NULL, &error), 0);
    g_autofree char *shown = hex_of(past);
    ck_assert_str_eq(shown, good);
    mailbox_unref(past);
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", good));
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

static char *timeline_file(const struct mailbox *mailbox)
{
    return g_strconcat(fixture.directory, "/cache/alice/timelines/",
                       snapshot_mailbox_id(mailbox_snapshot(mailbox)), NULL);
}

static char *describe_days(void)
{
    GString *out = g_string_new(NULL);
    GArray *days;

    ck_assert_int_eq(past_days(fixture.account, &days, NULL, &error), 0);
    for (guint i = 0; i < days->len; i++) {
        g_string_append_printf(out, "%d ", (int)(g_array_index(days, int32_t, i) - FIRST_DAY));
    }
    g_array_unref(days);
    return g_string_free(out, FALSE);
}

START_TEST(test_past__needs_no_timeline_and_believes_no_bad_one)
{
    g_autofree char *path = timeline_file(inbox);

    for (int i = 0; i < 150; i++) {
        go_to(at_day(1 + i / 10) + i);
        append_text(&fixture, inbox, "x");
    }
    for (int i = 0; i < 60; i++) {
        g_autofree char *days = describe_days();
        g_autofree char *table = NULL;
        gsize length;

        ck_assert_str_eq(days, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ");
        check_found("INBOX", at_day(8) + 79, "INBOX 80");
        ck_assert(g_file_get_contents(path, &table, &length, NULL));
        if (i % 10 == 0) {
            ck_assert_int_eq(remove(path), 0);
        } else {
            table[chance((unsigned)length)] ^= (char)(1 << chance(8));
            ck_assert(g_file_set_contents(path, table, (gssize)(length - (i % 3 == 0)), NULL));
        }
        g_autofree char *wanted = g_strdup_printf("INBOX %d", 10 * (i % 15) + 1);
        check_found("INBOX", at_day(1 + (i % 15)) + 10 * (i % 15), wanted);
    }
    remove(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    check_found("INBOX", at_day(8) + 79, "INBOX 80");
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* A branch set back, and one whose history was written anew: what was known is of no use. */
START_TEST(test_past__follows_a_branch_that_was_moved)
{
    for (int i = 1; i <= 40; i++) {
        go_to(at_day(i));
        append_text(&fixture, inbox, "x");
    }
    check_found("INBOX", at_day(35), "INBOX 35");
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", "INBOX~10"));
    mail_fixture_open(&fixture);
    check_found("INBOX", at_day(35), "INBOX 30");
    check_found("INBOX", at_day(20), "INBOX 20");
    g_autofree char *days = describe_days();
    ck_assert(g_str_has_suffix(days, "29 30 "));
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

START_TEST(test_past__ends_where_the_history_was_cut_off)
{
    g_autofree char *cut = fixture_path(fixture.directory, "cut.git");
    g_autofree char *url = g_strconcat("file://", fixture.path, NULL);

    for (int i = 1; i <= 40; i++) {
        go_to(at_day(i));
        append_text(&fixture, inbox, "x");
    }
    check_found("INBOX", at_day(5), "INBOX 5");
    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert(GIT(fixture.directory, "clone", "-q", "--mirror", "--no-single-branch", "--depth",
                  "20", url, cut));
    repository_remove(fixture.path);
    ck_assert_int_eq(rename(cut, fixture.path), 0);
    mail_fixture_open(&fixture);
    check_found("INBOX", at_day(21), "INBOX 21");
    check_found("INBOX", at_day(20), "not found");
    check_found("INBOX", at_day(5), "not found");
    g_autofree char *days = describe_days();
    ck_assert(g_str_has_prefix(days, "0 21 22 "));
    inbox = open_mailbox(&fixture, "INBOX");
}
END_TEST

/* The boundary moves while what is behind it is still there. */
START_TEST(test_past__ends_at_the_boundary_that_retention_sets)
{
    g_autofree char *path = fixture_path(fixture.path, "shallow");

    for (int i = 1; i <= 40; i++) {
        go_to(at_day(i));
        append_text(&fixture, inbox, "x");
    }
    check_found("INBOX", at_day(5), "INBOX 5");
    for (int i = 20; i >= 10; i -= 10) {
        g_autofree char *revision = g_strdup_printf("INBOX~%d", i);
        g_autofree char *id = GIT_OUTPUT(fixture.path, "rev-parse", revision);
        g_autofree char *wanted = g_strdup_printf("INBOX %d", 40 - i);

        ck_assert(g_file_set_contents(path, id, -1, NULL));
        check_found("INBOX", at_day(40 - i), wanted);
        check_found("INBOX", at_day(40 - i) - 1, "not found");
        check_list(at_day(40 - i) - 1, "");
        g_autofree char *days = describe_days();
        g_autofree char *first = g_strdup_printf("0 %d %d ", 40 - i, 41 - i);
        ck_assert(g_str_has_prefix(days, first));
    }
    ck_assert_int_eq(remove(path), 0);
    check_found("INBOX", at_day(5), "INBOX 5");
}
END_TEST

/* --- a long history, in a server --- */

static void open_with_journal(void)
{
    static const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    mailbox_unref(inbox);
    mail_fixture_close(&fixture);
    ck_assert_int_eq(store_open(&fixture.store, fixture.directory, fixture.host, &error), 0);
    ck_assert_int_eq(store_open_journal(fixture.store, &settings, &error), 0);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    inbox = open_mailbox(&fixture, "INBOX");
}

/* Flags of one message, in turn. */
static void commit_often(int count, int64_t from)
{
    for (int i = 0; i < count; i++) {
        go_to(from + i);
        ck_assert_int_eq(flag(&fixture, inbox, 1, (i & 1) == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
                              MESSAGE_FLAGGED, NULL),
                         0);
        if (i % 100 == 0) {
            store_work(fixture.store, true);
        }
    }
}

START_TEST(test_past__sees_what_is_only_in_the_journal)
{
    open_with_journal();
    go_to(at_day(1));
    append_text(&fixture, inbox, "x");
    go_to(at_day(2));
    append_text(&fixture, inbox, "y");
    check_found("INBOX", at_day(1), "INBOX 1");
    check_found("INBOX", at_day(2), "INBOX 2");
    g_autofree char *hex = hex_of(inbox);
    struct moment moment = moment_of_commit(hex, 12);
    g_autofree char *got = found("INBOX", &moment);
    ck_assert_str_eq(got, "INBOX 2");
    g_autofree char *git = git_says("refs/heads/INBOX", at_day(2));
    ck_assert_str_ne(git, hex);
}
END_TEST

START_TEST(test_past__reads_a_long_history_in_several_calls)
{
    enum { COMMITS = 2 * PAST_STEPS + 100 };
    struct moment moment;
    GArray *days = NULL;
    unsigned calls = 0;

    open_with_journal();
    go_to(at_day(1));
    append_text(&fixture, inbox, "x");
    commit_often(COMMITS, at_day(2));
    for (int i = 0; i < 3; i++) {
        struct past_state state;
        struct past_progress *progress = NULL;

        moment = moment_at(at_day(2) + COMMITS - 1 - i * (COMMITS / 2 - 10));
        for (calls = 0; calls == 0 || progress != NULL; calls++) {
            ck_assert_int_eq(
                past_find(fixture.account, "INBOX", &moment, &state, &progress, &error), 0);
        }
        ck_assert_uint_eq(calls, i == 2 ? 2 : i == 1 ? 2 : 1);
        ck_assert_int_eq(state.time, moment.last);
        past_state_clear(&state);
    }
    struct past_progress *progress = NULL;
    do {
        ck_assert_int_eq(past_days(fixture.account, &days, &progress, &error), 0);
    } while (progress != NULL);
    ck_assert_uint_eq(days->len, 3);
    g_array_unref(days);
    /* What is learned is there for the next one who asks. */
    moment = moment_at(at_day(2) + 5);
    struct past_state state;
    ck_assert_int_eq(past_find(fixture.account, "INBOX", &moment, &state, &progress, &error), 0);
    ck_assert_ptr_null(progress);
    ck_assert_int_eq(state.time, moment.last);
    past_state_clear(&state);
}
END_TEST

START_TEST(test_past__is_known_by_the_time_that_somebody_asks)
{
    g_autofree char *path = NULL;

    open_with_journal();
    append_text(&fixture, inbox, "x");
    path = timeline_file(inbox);
    commit_often(600, at_day(2));
    store_maintain(fixture.store);
    ck_assert_int_ne(access(path, F_OK), 0);
    commit_often(600, at_day(3));
    store_maintain(fixture.store);
    ck_assert_int_eq(access(path, F_OK), 0);
    /* More than one call reads: the next ones go on. */
    commit_often(PAST_STEPS + 100, at_day(4));
    store_maintain(fixture.store);
    store_maintain(fixture.store);
    struct moment moment = moment_at(at_day(2));
    struct past_state state;
    struct past_progress *progress = NULL;
    ck_assert_int_eq(past_find(fixture.account, "INBOX", &moment, &state, &progress, &error), 0);
    ck_assert_ptr_null(progress);
    past_state_clear(&state);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("past");
    TCase *cases = tcase_create("past");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_past__is_the_newest_state_not_after_the_moment);
    tcase_add_test(cases, test_past__agrees_with_git_whatever_the_dates);
    tcase_add_test(cases, test_past__finds_mailboxes_under_the_names_they_had);
    tcase_add_test(cases, test_past__finds_each_of_several_deleted_mailboxes_of_a_name);
    tcase_add_test(cases, test_past__follows_inbox_where_its_messages_went);
    tcase_add_test(cases, test_past__finds_names_that_a_subject_has_no_room_for);
    tcase_add_test(cases, test_past__follows_a_thousand_names_and_no_more);
    tcase_add_test(cases, test_past__knows_the_days);
    tcase_add_test(cases, test_past__tells_commits_of_one_second_apart);
    tcase_add_test(cases, test_past__takes_a_commit_for_its_moment_in_other_mailboxes);
    tcase_add_test(cases, test_past__refuses_what_is_no_commit_of_a_mailbox);
    tcase_add_loop_test(cases, test_past__shows_of_any_history_what_was_there_at_each_point, 0, 6);
    tcase_add_test(cases, test_past__can_be_read_and_copied_and_not_changed);
    tcase_add_test(cases, test_past__shows_a_large_mailbox_as_it_was);
    tcase_add_test(cases, test_past__passes_over_states_that_were_never_shown);
    tcase_add_test(cases, test_past__needs_no_timeline_and_believes_no_bad_one);
    tcase_add_test(cases, test_past__follows_a_branch_that_was_moved);
    tcase_add_test(cases, test_past__ends_where_the_history_was_cut_off);
    tcase_add_test(cases, test_past__ends_at_the_boundary_that_retention_sets);
    tcase_add_test(cases, test_past__sees_what_is_only_in_the_journal);
    tcase_add_test(cases, test_past__reads_a_long_history_in_several_calls);
    tcase_add_test(cases, test_past__is_known_by_the_time_that_somebody_asks);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
