#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/past.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static unsigned seed;
static struct host host; /* the system's without its flushes */

enum { FIRST_DAY = 20775, HOUR = 60 * 60, DAY = 24 * HOUR };

static int skip_fsync(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int skip_fsync_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

static void set_up(void)
{
    host = *host_system();
    host.fsync = skip_fsync;
    host.fsync_directory = skip_fsync_directory;
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

/* --- moments --- */

START_TEST(test_moment__reads_dates_times_and_commit_ids)
{
    static const struct {
        const char *text;
        int64_t first;
        int64_t last;
        const char *commit;
    } good[] = {
        {"1970-01-01", 0, 86399, ""},
        {"2026-11-17", 1794873600, 1794959999, ""},
        {"2024-02-29", 1709164800, 1709251199, ""},
        {"2000-02-29", 951782400, 951868799, ""},
        {"9999-12-31", 253402214400, 253402300799, ""},
        {"2026-11-17T10:00:00Z", 1794909600, 1794909600, ""},
        {"2026-11-17T10:00:00+0100", 1794906000, 1794906000, ""},
        {"2026-11-17T10:00:00+01:00", 1794906000, 1794906000, ""},
        {"2026-11-17T10:00:00-05:30", 1794929400, 1794929400, ""},
        {"2026-12-31T23:59:59Z", 1798761599, 1798761599, ""},
        {"1970-01-01T00:00:00Z", 0, 0, ""},
        {"4757b1e", 0, 0, "4757b1e"},
        {"4757B1EDD9", 0, 0, "4757b1edd9"},
        {"20261117", 0, 0, "20261117"},
        {"4757b1edd979827d53ca132710bc6f8b01234567", 0, 0,
         "4757b1edd979827d53ca132710bc6f8b01234567"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        struct moment moment;

        ck_assert_msg(moment_parse(&moment, good[i].text), "%s", good[i].text);
        ck_assert_int_eq(moment.first, good[i].first);
        ck_assert_int_eq(moment.last, good[i].last);
        ck_assert_str_eq(moment.commit, good[i].commit);
    }
}
END_TEST

START_TEST(test_moment__refuses_all_else)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11",
        "2026-11-17 ",
        " 2026-11-17",
        "2026-1-17",
        "2026-13-01",
        "2026-00-01",
        "2026-11-31",
        "2026-11-00",
        "2025-02-29",
        "1900-02-29",
        "1969-12-31",
        "10000-01-01",
        "2026-11-17T",
        "2026-11-17T10:00:00",
        "2026-11-17T10:00Z",
        "2026-11-17T24:00:00Z",
        "2026-11-17T10:60:00Z",
        "2026-11-17T10:00:60Z",
        "2026-11-17t10:00:00z",
        "2026-11-17 10:00:00Z",
        "2026-11-17T10:00:00ZZ",
        "2026-11-17T10:00:00+1",
        "2026-11-17T10:00:00+01",
        "2026-11-17T10:00:00+0160",
        "2026-11-17T10:00:00+2400",
        "2026-11-17T10:00:00+01:000",
        "1970-01-01T00:00:00+0100",
        "4757b1",
        "4757b1g",
        "4757b1edd979827d53ca132710bc6f8b012345678",
        "yesterday",
        "HEAD",
        "\xd9\xa2",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct moment moment;

        ck_assert_msg(!moment_parse(&moment, bad[i]), "%s", bad[i]);
    }
}
END_TEST

START_TEST(test_moment__writes_the_days_it_reads)
{
    char before[MOMENT_DAY_LENGTH + 1] = "";
    struct moment moment;

    for (int32_t day = 0; day <= 2932896; day += day < 800 ? 1 : 13) {
        char text[MOMENT_DAY_LENGTH + 1];

        moment_format_day(text, day);
        ck_assert_int_gt(strcmp(text, before), 0);
        ck_assert(moment_parse(&moment, text));
        ck_assert_int_eq(moment.first, (int64_t)day * DAY);
        ck_assert_int_eq(moment.last, moment_of_day(day).last);
        memcpy(before, text, sizeof(before));
    }
    moment_format_day(before, 2932896);
    ck_assert_str_eq(before, "9999-12-31");
}
END_TEST

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

int main(void)
{
    Suite *suite = suite_create("past");
    TCase *moments = tcase_create("moments");
    TCase *cases = tcase_create("past");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(moments, test_moment__reads_dates_times_and_commit_ids);
    tcase_add_test(moments, test_moment__refuses_all_else);
    tcase_add_test(moments, test_moment__writes_the_days_it_reads);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_past__is_the_newest_state_not_after_the_moment);
    tcase_add_test(cases, test_past__agrees_with_git_whatever_the_dates);
    tcase_add_test(cases, test_past__finds_mailboxes_under_the_names_they_had);
    tcase_add_test(cases, test_past__finds_each_of_several_deleted_mailboxes_of_a_name);
    tcase_add_test(cases, test_past__follows_inbox_where_its_messages_went);
    tcase_add_test(cases, test_past__finds_names_that_a_subject_has_no_room_for);
    tcase_add_test(cases, test_past__knows_the_days);
    suite_add_tcase(suite, moments);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
