#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/history.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct history *history;
static struct store_error error;
static GString *seen;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
    seen = g_string_new(NULL);
    ck_assert_int_eq(history_open(&history, fixture.path, &error), 0);
}

static void tear_down(void)
{
    history_close(history);
    g_string_free(seen, TRUE);
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static void pass_seconds(int64_t seconds)
{
    fixture.origin.time += seconds * 1000000;
}

static struct object_id commit_of(const char *name)
{
    char *hex = GIT_OUTPUT(fixture.path, "rev-parse", name);
    struct object_id id;

    ck_assert_ptr_nonnull(hex);
    ck_assert(object_id_parse(&id, g_strchomp(hex)));
    free(hex);
    return id;
}

/* --- the walk --- */

/* "action|mailbox|subject" of what the branches lead to, a line each, up to limit. */
static void walk(const GPtrArray *branches, size_t limit, bool with_past)
{
    struct history_walk *walking = history_walk_new(history);
    struct history_entry entry;
    bool more = true;

    g_string_truncate(seen, 0);
    for (guint i = 0; i < branches->len; i++) {
        ck_assert_int_eq(history_walk_add(walking, branches->pdata[i], with_past, &error), 0);
    }
    for (size_t i = 0; i < limit && more; i++) {
        ck_assert_int_eq(history_next(walking, &entry, &more, &error), 0);
        if (more) {
            g_string_append_printf(seen, "%s|%s|%s\n", entry.action, entry.branch->name,
                                   entry.subject);
        }
    }
    history_walk_free(walking);
}

static void walk_mailbox(const char *name)
{
    g_autoptr(GPtrArray) branches = NULL;

    ck_assert_int_eq(history_find(history, name, &branches, &error), 0);
    walk(branches, SIZE_MAX, true);
}

START_TEST(test_history__tells_newest_first_in_the_words_of_the_commits)
{
    struct history_entry entry;
    struct object_id tip;

    fixture.origin.client = "Mutt 2";
    append_text(&fixture, inbox, "Subject: hello\n\n");
    fixture.origin.time = INT64_C(1795000100000000);
    fixture.origin.client = NULL;
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    walk_mailbox("inbox");
    ck_assert_str_eq(seen->str, "STORE|INBOX|STORE uid 1 +\\Seen\n"
                                "APPEND|INBOX|APPEND uid 1: hello\n"
                                "CREATE|INBOX|CREATE mailbox INBOX\n");
    tip = commit_of("INBOX~1");
    ck_assert_int_eq(history_entry_read(history, &tip, &entry, &error), 0);
    ck_assert_str_eq(entry.author, "alice");
    ck_assert_str_eq(entry.client, "Mutt 2");
    ck_assert_str_eq(entry.command, "TEST");
    ck_assert_str_eq(entry.session, "s1");
    ck_assert_int_eq(entry.time, 1795000000);
    ck_assert_int_eq(entry.zone, 0);
    ck_assert_uint_eq(entry.parent_count, 1);
    ck_assert(!entry.cut);
}
END_TEST

START_TEST(test_history__stops_when_it_is_not_asked_any_more)
{
    g_autoptr(GPtrArray) branches = NULL;

    for (int i = 0; i < 5; i++) {
        append_text(&fixture, inbox, "x");
    }
    ck_assert_int_eq(history_find(history, "INBOX", &branches, &error), 0);
    walk(branches, 2, true);
    ck_assert_str_eq(seen->str, "APPEND|INBOX|APPEND uid 5\nAPPEND|INBOX|APPEND uid 4\n");
    walk(branches, SIZE_MAX, false);
    ck_assert_str_eq(seen->str, "APPEND|INBOX|APPEND uid 5\n");
}
END_TEST

START_TEST(test_history__makes_foreign_words_harmless)
{
    g_autofree char *tree = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX^{tree}"));
    g_autofree char *commit =
        g_strchomp(GIT_OUTPUT(fixture.path, "-c", "user.name=a\342\200\256b", "commit-tree", tree,
                              "-p", "INBOX", "-m", "\033[31mred\n\nClient: \342\200\256x"));
    struct history_entry entry;
    struct object_id tip;

    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/INBOX", commit));
    tip = commit_of("INBOX");
    ck_assert_int_eq(history_entry_read(history, &tip, &entry, &error), 0);
    ck_assert_str_eq(entry.subject, "?[31mred");
    ck_assert_str_eq(entry.client, "?x");
    ck_assert_str_eq(entry.action, "OTHER");
}
END_TEST

START_TEST(test_history__knows_an_action_by_its_first_word)
{
    static const struct {
        const char *subject;
        const char *action;
    } cases[] = {
        {"STORE uid 1 +\\Seen", "STORE"},
        {"HOLD: for the court", "HOLD"},
        {"HOLD", "HOLD"},
        {"RELEASE the hold", "RELEASE"},
        {"PURGE 1 message of INBOX", "PURGE"},
        {"SPECIAL-USE \\Sent of Out", "SPECIAL-USE"},
        {"STORES", "OTHER"},
        {"store uid 1", "OTHER"},
        {"STO", "OTHER"},
        {"OTHER", "OTHER"},
    };
    g_autofree char *tree = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX^{tree}"));

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *hex =
            g_strchomp(GIT_OUTPUT(fixture.path, "commit-tree", tree, "-m", cases[i].subject));
        struct history_entry entry;
        struct object_id id;

        ck_assert(object_id_parse(&id, hex));
        ck_assert_int_eq(history_entry_read(history, &id, &entry, &error), 0);
        ck_assert_str_eq(entry.action, cases[i].action);
    }
}
END_TEST

START_TEST(test_history__follows_all_parents_of_a_merge_once)
{
    append_text(&fixture, inbox, "Subject: base\n\n");
    g_autofree char *tree = g_strchomp(GIT_OUTPUT(fixture.path, "rev-parse", "INBOX^{tree}"));
    pass_seconds(10);
    append_text(&fixture, inbox, "Subject: ours\n\n");
    g_setenv("GIT_COMMITTER_DATE", "1795000005 +0000", TRUE);
    g_setenv("GIT_AUTHOR_DATE", "1795000005 +0000", TRUE);
    g_autofree char *theirs =
        g_strchomp(GIT_OUTPUT(fixture.path, "commit-tree", tree, "-p", "INBOX~1", "-m", "theirs"));
    g_setenv("GIT_AUTHOR_DATE", "1795000020 +0000", TRUE);
    g_autofree char *merge =
        g_strchomp(GIT_OUTPUT(fixture.path, "commit-tree", "INBOX^{tree}", "-p", "INBOX", "-p",
                              theirs, "-m", "RECONCILE a change from outside"));
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/Merged", merge));
    walk_mailbox("Merged");
    ck_assert_str_eq(seen->str, "RECONCILE|Merged|RECONCILE a change from outside\n"
                                "APPEND|Merged|APPEND uid 2: ours\n"
                                "OTHER|Merged|theirs\n"
                                "APPEND|Merged|APPEND uid 1: base\n"
                                "CREATE|Merged|CREATE mailbox INBOX\n");
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Merged"));
}
END_TEST

/* A deleted mailbox was brought back: its last change is one of the living one's past. */
START_TEST(test_history__tells_the_past_that_any_branch_wants)
{
    static const char *const wanted = "OTHER|Back|back again\n"
                                      "DELETE|Back|DELETE mailbox Lost\n"
                                      "CREATE|Back|CREATE mailbox Lost\n";
    g_autoptr(GPtrArray) living = NULL;
    g_autoptr(GPtrArray) deleted = NULL;

    account_create_mailbox(fixture.account, "Lost", SPECIAL_USE_NONE, &fixture.origin, &error);
    pass_seconds(10);
    account_delete_mailbox(fixture.account, "Lost", &fixture.origin, &error);
    ck_assert_int_eq(history_find(history, "Lost", &deleted, &error), 0);
    /* Also by a clock that is behind. */
    for (int64_t late = 10; late >= -20; late -= 15) {
        char tip[OBJECT_ID_HEX + 1];
        g_autofree char *date =
            g_strdup_printf("%lld +0000", (long long)(fixture.origin.time / 1000000 + late));
        g_autofree char *tree = NULL;
        g_autofree char *back = NULL;
        struct history_branch *const *branches;
        bool deleted_first = late < 0;

        branches = (struct history_branch *const *)(void *)deleted->pdata;
        object_id_format(&branches[0]->tip, tip);
        tree = g_strconcat(tip, "^{tree}", NULL);
        g_setenv("GIT_AUTHOR_DATE", date, TRUE);
        back = g_strchomp(
            GIT_OUTPUT(fixture.path, "commit-tree", tree, "-p", tip, "-m", "back again"));
        ck_assert(GIT(fixture.path, "update-ref", "refs/heads/Back", back));
        ck_assert_int_eq(history_find(history, "Back", &living, &error), 0);
        struct history_walk *walking = history_walk_new(history);
        struct history_entry entry;
        bool more = true;
        size_t count = 0;

        g_string_truncate(seen, 0);
        ck_assert_int_eq(history_walk_add(walking, branches[0], false, &error), 0);
        ck_assert_int_eq(history_walk_add(walking, living->pdata[0], true, &error), 0);
        while (history_next(walking, &entry, &more, &error) == 0 && more) {
            count++;
            g_string_append_printf(seen, "%s|%s|%s\n", entry.action, entry.branch->name,
                                   entry.subject);
        }
        ck_assert_uint_eq(count, 3);
        if (!deleted_first) {
            ck_assert_str_eq(seen->str, wanted);
        } else {
            ck_assert(g_str_has_prefix(seen->str, "DELETE|Lost|"));
            ck_assert(g_str_has_suffix(seen->str, "CREATE|Back|CREATE mailbox Lost\n"));
        }
        history_walk_free(walking);
        g_clear_pointer(&living, g_ptr_array_unref);
    }
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/Back"));
}
END_TEST

START_TEST(test_history__has_deleted_and_renamed_mailboxes)
{
    g_autoptr(GPtrArray) found = NULL;
    const struct history_branch *branch;

    for (int i = 0; i < 2; i++) {
        pass_seconds(1);
        ck_assert_int_eq(account_create_mailbox(fixture.account, "Work/Old", SPECIAL_USE_NONE,
                                                &fixture.origin, &error),
                         0);
        pass_seconds(1);
        ck_assert_int_eq(
            account_delete_mailbox(fixture.account, "Work/Old", &fixture.origin, &error), 0);
    }
    ck_assert_int_eq(history_find(history, "Work/Old", &found, &error), 0);
    ck_assert_uint_eq(found->len, 2);
    branch = g_ptr_array_index(found, 0);
    ck_assert_int_eq(branch->place, HISTORY_DELETED);
    ck_assert_uint_gt(branch->uid_validity,
                      ((struct history_branch *)g_ptr_array_index(found, 1))->uid_validity);
    g_clear_pointer(&found, g_ptr_array_unref);
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "Sent", "Gone out", &fixture.origin, &error), 0);
    walk_mailbox("Gone out");
    ck_assert_str_eq(seen->str, "RENAME|Gone out|RENAME mailbox Sent to Gone out\n"
                                "CREATE|Gone out|CREATE mailbox Sent\n");
    ck_assert_int_eq(history_branches(history, &found, &error), 0);
    branch = g_ptr_array_index(found, 0);
    ck_assert_str_eq(branch->name, "INBOX");
    ck_assert_uint_eq(found->len, 6 + 2 + 1);
    branch = g_ptr_array_index(found, 8);
    ck_assert_int_eq(branch->place, HISTORY_ACCOUNT);
}
END_TEST

START_TEST(test_history__an_accounts_own_changes_are_those_of_no_mailbox)
{
    g_autoptr(GPtrArray) found = NULL;

    ck_assert_int_eq(account_subscribe(fixture.account, "INBOX", true, &fixture.origin, &error), 0);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Junk", &fixture.origin, &error), 0);
    ck_assert_int_eq(history_branches(history, &found, &error), 0);
    g_ptr_array_remove_range(found, 0, found->len - 1);
    walk(found, SIZE_MAX, true);
    ck_assert_str_eq(seen->str, "SUBSCRIBE||SUBSCRIBE INBOX\n"
                                "CREATE||CREATE account\n");
}
END_TEST

START_TEST(test_history__ends_at_the_boundary_of_what_is_kept)
{
    g_autofree char *shallow = fixture_path(fixture.path, "shallow");
    g_autofree char *kept = NULL;
    struct history_entry entry;
    struct object_id boundary;

    append_text(&fixture, inbox, "Subject: 1\n\n");
    append_text(&fixture, inbox, "Subject: 2\n\n");
    append_text(&fixture, inbox, "Subject: 3\n\n");
    kept = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX~1");
    ck_assert(g_file_set_contents(shallow, kept, -1, NULL));
    history_close(history);
    ck_assert_int_eq(history_open(&history, fixture.path, &error), 0);
    walk_mailbox("INBOX");
    ck_assert_str_eq(seen->str, "APPEND|INBOX|APPEND uid 3: 3\nAPPEND|INBOX|APPEND uid 2: 2\n");
    boundary = commit_of("INBOX~1");
    ck_assert_int_eq(history_entry_read(history, &boundary, &entry, &error), 0);
    ck_assert(entry.cut);
    ck_assert_uint_eq(entry.parent_count, 0);
    ck_assert_int_eq(remove(shallow), 0);
}
END_TEST

START_TEST(test_history__refuses_what_is_not_there)
{
    struct history *none = NULL;
    GPtrArray *found = NULL;
    struct history_entry entry;
    struct object_id blob;

    ck_assert_int_eq(history_find(history, "nothing", &found, &error), STORE_NOT_FOUND);
    ck_assert_int_eq(history_find(history, "a//b", &found, &error), STORE_BAD_NAME);
    ck_assert_int_lt(history_open(&none, fixture.directory, &error), 0);
    blob = (struct object_id){{1}};
    ck_assert_int_eq(history_entry_read(history, &blob, &entry, &error), STORE_NOT_FOUND);
    blob = commit_of("INBOX:mailbox");
    ck_assert_int_eq(history_entry_read(history, &blob, &entry, &error), STORE_CORRUPT);
}
END_TEST

/* --- differences --- */

static int note_change(const struct history_change *change, void *data)
{
    size_t *left = data;

    if (change->before == NULL) {
        g_string_append_printf(seen, "+%u [%s]\n", change->after->uid, change->flags_after);
    } else if (change->after == NULL) {
        g_string_append_printf(seen, "-%u [%s]\n", change->before->uid, change->flags_before);
    } else {
        g_string_append_printf(seen, "~%u [%s] [%s]\n", change->after->uid, change->flags_before,
                               change->flags_after);
    }
    return left != NULL && --*left == 0;
}

static const char *difference(const char *before, const char *after, const GArray *ranges)
{
    struct object_id from = {{0}};
    struct object_id to = commit_of(after);

    if (before != NULL) {
        from = commit_of(before);
    }
    g_string_truncate(seen, 0);
    ck_assert_int_eq(history_diff(history, &from, &to, ranges, note_change, NULL, &error), 0);
    return seen->str;
}

/* 250 messages (three leaves); a flag, a keyword, an expunge, an arrival: one commit each. */
static void make_changes(void)
{
    append_many(&fixture, inbox, 250);
    flag(&fixture, inbox, 99, FLAG_MODE_ADD, MESSAGE_FLAGGED | MESSAGE_SEEN, NULL);
    flag(&fixture, inbox, 100, FLAG_MODE_ADD, 0, "work");
    expunge(&fixture, inbox, 201);
    append_text(&fixture, inbox, "Subject: new\n\n");
}

START_TEST(test_history_diff__tells_what_a_change_did)
{
    static const struct {
        const char *before;
        const char *after;
        const char *told;
    } cases[] = {
        {"INBOX~1", "INBOX", "+251 []\n"},
        {"INBOX~2", "INBOX~1", "-201 []\n"},
        {"INBOX~3", "INBOX~2", "~100 [] [work]\n"},
        {"INBOX~4", "INBOX~3", "~99 [] [\\Seen \\Flagged]\n"},
        {"INBOX", "INBOX", ""},
        {"INBOX~4", "INBOX", "~99 [] [\\Seen \\Flagged]\n~100 [] [work]\n-201 []\n+251 []\n"},
        {"INBOX", "INBOX~4", "~99 [\\Seen \\Flagged] []\n~100 [work] []\n+201 []\n-251 []\n"},
        {NULL, "INBOX~5", ""},
    };

    make_changes();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ck_assert_str_eq(difference(cases[i].before, cases[i].after, NULL), cases[i].told);
    }
    difference(NULL, "INBOX~4", NULL);
    ck_assert(g_str_has_prefix(seen->str, "+1 []\n+2 []\n"));
    ck_assert(g_str_has_suffix(seen->str, "+249 []\n+250 []\n"));
}
END_TEST

START_TEST(test_history_diff__keeps_to_the_ranges)
{
    static const struct {
        struct uid_range ranges[2];
        unsigned count;
        const char *told;
    } cases[] = {
        {{{99, 99}}, 1, "~99 [] [\\Seen \\Flagged]\n"},
        {{{100, 200}}, 1, "~100 [] [work]\n"},
        {{{1, 98}, {101, 200}}, 2, ""},
        {{{201, 201}, {251, UINT32_MAX}}, 2, "-201 []\n+251 []\n"},
        {{{300, UINT32_MAX}}, 1, ""},
        {{{0, 0}}, 0, ""},
    };

    make_changes();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(struct uid_range));

        g_array_append_vals(ranges, cases[i].ranges, cases[i].count);
        ck_assert_str_eq(difference("INBOX~4", "INBOX", ranges), cases[i].told);
    }
}
END_TEST

START_TEST(test_history_diff__stops_when_told)
{
    struct object_id none = {{0}};
    struct object_id tip;
    size_t left = 3;

    make_changes();
    tip = commit_of("INBOX");
    ck_assert_int_eq(history_diff(history, &none, &tip, NULL, note_change, &left, &error), 0);
    ck_assert_str_eq(seen->str, "+1 []\n+2 []\n+3 []\n");
}
END_TEST

START_TEST(test_history_diff__names_keywords_by_the_list_of_their_state)
{
    struct mailbox *archive = open_mailbox(&fixture, "Archive");

    append_many(&fixture, inbox, 1);
    append_many(&fixture, archive, 1);
    flag(&fixture, inbox, 1, FLAG_MODE_ADD, 0, "one");
    flag(&fixture, archive, 1, FLAG_MODE_ADD, 0, "two");
    ck_assert_str_eq(difference("INBOX", "Archive", NULL), "~1 [one] [two]\n");
    ck_assert_str_eq(difference("INBOX", "INBOX", NULL), "");
    mailbox_unref(archive);
}
END_TEST

START_TEST(test_history_diff__refuses_what_is_no_mailbox)
{
    struct object_id none = {{0}};
    struct object_id strange = commit_of("refs/annal/account");
    struct history_state state;

    ck_assert_int_eq(history_diff(history, &none, &strange, NULL, note_change, NULL, &error),
                     STORE_CORRUPT);
    ck_assert_int_eq(history_state(history, &strange, &state, &error), STORE_CORRUPT);
    strange = commit_of("INBOX");
    ck_assert_int_eq(history_state(history, &strange, &state, &error), 0);
    ck_assert_uint_eq(state.uid_next, 1);
    ck_assert_uint_eq(state.highest_modseq, 1);
}
END_TEST

/* --- blame --- */

static int note_blame(const struct history_blame *blame, void *data)
{
    GHashTable *names = data;
    const char *changed = g_hash_table_lookup(names, &blame->changed);
    const char *arrived = g_hash_table_lookup(names, &blame->arrived);

    g_string_append_printf(seen, "%u %s%s %s%s [%s]\n", blame->message->uid,
                           changed != NULL ? changed : "?", blame->changed_before ? "-" : "",
                           arrived != NULL ? arrived : "?", blame->arrived_before ? "-" : "",
                           blame->flags);
    return 0;
}

/* What blame says of these UIDs, commits by their distance from the tip. */
static const char *blamed(uint32_t first, uint32_t last)
{
    static char names[10][2] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    GHashTable *table = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(struct uid_range));
    struct uid_range range = {first, last};
    struct object_id tip = commit_of("INBOX");
    g_autofree char *list = GIT_OUTPUT(fixture.path, "rev-list", "--first-parent", "INBOX");
    g_auto(GStrv) lines = g_strsplit(g_strchomp(list), "\n", -1);

    for (size_t i = 0; lines[i] != NULL && i < G_N_ELEMENTS(names); i++) {
        struct object_id id;

        ck_assert(object_id_parse(&id, lines[i]));
        g_hash_table_insert(table, g_memdup2(&id, sizeof(id)), names[i]);
    }
    g_array_append_val(ranges, range);
    g_string_truncate(seen, 0);
    ck_assert_int_eq(history_blame(history, &tip, ranges, note_blame, table, NULL, &error), 0);
    g_hash_table_destroy(table);
    return seen->str;
}

START_TEST(test_history_blame__names_what_brought_and_what_touched_a_message)
{
    static const struct {
        uint32_t uid;
        const char *told;
    } cases[] = {
        {1, "1 4 4 []\n"},
        {99, "99 3 4 [\\Seen \\Flagged]\n"},
        {100, "100 2 4 [work]\n"},
        {201, ""},
        {250, "250 4 4 []\n"},
        {251, "251 0 0 []\n"},
        {252, ""},
    };

    make_changes();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ck_assert_str_eq(blamed(cases[i].uid, cases[i].uid), cases[i].told);
    }
}
END_TEST

START_TEST(test_history_blame__says_where_the_history_ends)
{
    g_autofree char *shallow = fixture_path(fixture.path, "shallow");
    g_autofree char *kept = NULL;

    make_changes();
    kept = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX~1");
    ck_assert(g_file_set_contents(shallow, kept, -1, NULL));
    history_close(history);
    ck_assert_int_eq(history_open(&history, fixture.path, &error), 0);
    ck_assert_str_eq(blamed(99, 100), "99 1- 1- [\\Seen \\Flagged]\n100 1- 1- [work]\n");
    ck_assert_str_eq(blamed(251, 251), "251 0 0 []\n");
    ck_assert_int_eq(remove(shallow), 0);
}
END_TEST

START_TEST(test_history_blame__has_nothing_to_say_of_an_empty_mailbox)
{
    ck_assert_str_eq(blamed(1, UINT32_MAX), "");
}
END_TEST

START_TEST(test_history__reads_a_message_that_is_gone)
{
    struct message_stream *stream;
    struct message message;
    GBytes *all;

    append_text(&fixture, inbox, "Subject: gone\n\n");
    message = message_of(inbox, 1);
    expunge(&fixture, inbox, 1);
    ck_assert_int_eq(history_open_message(history, &message.blob, &stream, &error), 0);
    ck_assert_int_eq(message_stream_gather(stream, 0, 15, &all, &error), 0);
    ck_assert_mem_eq(g_bytes_get_data(all, NULL), "Subject: gone\n\n", 15);
    g_bytes_unref(all);
    message_stream_unref(stream);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("history");
    TCase *cases = tcase_create("history");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_history__tells_newest_first_in_the_words_of_the_commits);
    tcase_add_test(cases, test_history__stops_when_it_is_not_asked_any_more);
    tcase_add_test(cases, test_history__makes_foreign_words_harmless);
    tcase_add_test(cases, test_history__knows_an_action_by_its_first_word);
    tcase_add_test(cases, test_history__follows_all_parents_of_a_merge_once);
    tcase_add_test(cases, test_history__tells_the_past_that_any_branch_wants);
    tcase_add_test(cases, test_history__has_deleted_and_renamed_mailboxes);
    tcase_add_test(cases, test_history__an_accounts_own_changes_are_those_of_no_mailbox);
    tcase_add_test(cases, test_history__ends_at_the_boundary_of_what_is_kept);
    tcase_add_test(cases, test_history__refuses_what_is_not_there);
    tcase_add_test(cases, test_history_diff__tells_what_a_change_did);
    tcase_add_test(cases, test_history_diff__keeps_to_the_ranges);
    tcase_add_test(cases, test_history_diff__stops_when_told);
    tcase_add_test(cases, test_history_diff__names_keywords_by_the_list_of_their_state);
    tcase_add_test(cases, test_history_diff__refuses_what_is_no_mailbox);
    tcase_add_test(cases, test_history_blame__names_what_brought_and_what_touched_a_message);
    tcase_add_test(cases, test_history_blame__says_where_the_history_ends);
    tcase_add_test(cases, test_history_blame__has_nothing_to_say_of_an_empty_mailbox);
    tcase_add_test(cases, test_history__reads_a_message_that_is_gone);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
