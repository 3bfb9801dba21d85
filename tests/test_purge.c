#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/hold.h"
#include "store/purge.h"
#include "store/retention.h"
#include "tests/faulty_host.h"
#include "tests/mail_fixture.h"
#include "tests/power_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 400, DAY = 24 * 3600, OPEN_MAX_FILES = 8 };

/* Of which nothing may be left. */
#define SECRET   "xyzzy-7f1e9c"
#define MESSAGE  "Subject: about " SECRET "\r\n\r\nthe body of " SECRET " as well\r\n"
#define MESSAGES 20

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static struct purge_result result;
static uint32_t secret; /* UID in INBOX */

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void close_all(void)
{
    g_clear_pointer(&inbox, mailbox_unref);
    mail_fixture_close(&fixture);
}

static void open_all(void)
{
    mail_fixture_open(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    g_clear_pointer(&inbox, mailbox_unref);
    purge_result_release(&result);
    mail_fixture_release(&fixture);
}

static struct mailbox *copy_to(const char *name)
{
    struct mailbox *to = open_mailbox(&fixture, name);
    struct uid_pairs pairs = {0};

    ck_assert_int_eq(mailbox_copy(inbox, &secret, 1, to, &fixture.origin, &pairs, &error), 0);
    uid_pairs_release(&pairs);
    return to;
}

/* The secret between other messages, flagged, and with copies. */
static void live(void)
{
    append_many(&fixture, inbox, MESSAGES);
    secret = append_text(&fixture, inbox, MESSAGE);
    ck_assert_int_eq(flag(&fixture, inbox, secret, FLAG_MODE_ADD, MESSAGE_SEEN, "mine"), 0);
    append_many(&fixture, inbox, MESSAGES);
    mailbox_unref(copy_to("Archive"));
    ck_assert_int_eq(flag(&fixture, inbox, 3, FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 5), 0);
}

static int look_at_file(const char *path, const struct stat *status, int type, struct FTW *where)
{
    gchar *octets = NULL;
    gsize length = 0;

    (void)status;
    (void)where;
    if (type == FTW_F && g_file_get_contents(path, &octets, &length, NULL)) {
        ck_assert_msg(memmem(octets, length, SECRET, strlen(SECRET)) == NULL, "%s has it", path);
    }
    g_free(octets);
    return 0;
}

/* Neither in a file's octets nor in an object of any pack. */
static void check_gone(void)
{
    ck_assert_int_eq(nftw(fixture.directory, look_at_file, OPEN_MAX_FILES, FTW_PHYS), 0);
    g_autofree char *all = GIT_OUTPUT(fixture.path, "-c", "core.quotePath=true", "cat-file",
                                      "--batch-all-objects", "--batch=%(objectname)");
    g_autofree char *text =
        GIT_OUTPUT(fixture.path, "log", "--all", "--full-history", "-p", "--text");
    ck_assert_ptr_nonnull(all);
    ck_assert_ptr_null(strstr(all, SECRET));
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_null(strstr(text, SECRET));
}

static int purge_with(const struct host *host, const char *mailbox, uint32_t uid,
                      const struct purge_request *more)
{
    struct uid_range range = {uid, uid};
    struct purge_request request = more != NULL ? *more : (struct purge_request){.count = 0};
    g_autofree char *cache = fixture_path(fixture.directory, "cache/alice");

    request.user = "alice";
    request.mailbox = mailbox;
    request.uids = &range;
    request.count = 1;
    request.origin = &fixture.origin;
    purge_result_release(&result);
    return purge_run(fixture.path, cache, host, &request, &result, &error);
}

static void purge(const char *mailbox, uint32_t uid)
{
    if (purge_with(host_system(), mailbox, uid, NULL) < 0) {
        ck_abort_msg("purging: %s", error.detail);
    }
}

static char *describe_others(void)
{
    GString *text = g_string_new(NULL);
    const struct snapshot *snapshot = mailbox_snapshot(inbox);

    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        char hex[OBJECT_ID_HEX + 1];

        if (message.uid != secret) {
            object_id_format(&message.blob, hex);
            g_string_append_printf(text, "%u %s %u %lu %lu %ld\n", message.uid, hex, message.flags,
                                   (unsigned long)message.keywords, (unsigned long)message.modseq,
                                   (long)message.internal_date);
        }
    }
    g_string_append_printf(text, "%u %u\n", snapshot_uid_validity(snapshot),
                           snapshot_uid_next(snapshot));
    return g_string_free(text, FALSE);
}

START_TEST(test_purge__leaves_nothing_and_changes_nothing_else)
{
    live();
    g_autofree char *before = describe_others();
    g_autofree char *subjects = GIT_OUTPUT(fixture.path, "log", "--format=%an %at %s", "INBOX");
    g_autofree char *first = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX~5");
    uint64_t modseq = snapshot_highest_modseq(mailbox_snapshot(inbox));
    close_all();
    purge("INBOX", secret);
    check_gone();
    check_repository(fixture.path);
    ck_assert_uint_eq(result.messages, 1);
    ck_assert_uint_eq(result.places->len, 2);
    ck_assert_str_eq(((struct purge_place *)result.places->pdata[0])->mailbox, "Archive");
    ck_assert_uint_eq(((struct purge_place *)result.places->pdata[0])->now, 1);
    ck_assert_uint_eq(result.collected.purged, 1);
    open_all();
    g_autofree char *after = describe_others();
    ck_assert_str_eq(before, after);
    ck_assert(!has_message(inbox, secret));
    ck_assert_uint_eq(snapshot_highest_modseq(mailbox_snapshot(inbox)), modseq + 2);
    /* What happened before the message came is the same history. */
    g_autofree char *same = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX~6");
    ck_assert_str_eq(first, same);
    g_autofree char *tip = GIT_OUTPUT(fixture.path, "log", "-1", "--format=%s", "INBOX");
    ck_assert_str_eq(tip, "PURGE uid 21\n");
    g_autofree char *now = GIT_OUTPUT(fixture.path, "log", "--format=%an %at %s", "INBOX~1");
    char *quoted = strstr(subjects, "about " SECRET);
    ck_assert_ptr_nonnull(quoted);
    memmove(quoted + 8, quoted + strlen("about " SECRET),
            strlen(quoted + strlen("about " SECRET)) + 1);
    memcpy(quoted, "(purged)", 8);
    ck_assert_str_eq(subjects, now);
    g_autofree char *record = GIT_OUTPUT(fixture.path, "log", "--format=%s", "refs/annal/purged");
    ck_assert_str_eq(record, "PURGE 1 message of INBOX uid 21\n");
}
END_TEST

START_TEST(test_purge__shows_clients_an_expunge)
{
    GArray *ranges;
    enum vanished answer;
    bool changed;

    live();
    uint64_t known = snapshot_highest_modseq(mailbox_snapshot(inbox)) - 1;
    purge("INBOX", secret);
    ck_assert_int_eq(account_refresh(fixture.account, &changed, &error), 0);
    ck_assert(changed);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(!has_message(inbox, secret));
    /* It is taken as it is. */
    g_autofree char *tip = GIT_OUTPUT(fixture.path, "log", "-1", "--format=%s", "INBOX");
    ck_assert_str_eq(tip, "PURGE uid 21\n");
    ck_assert_int_eq(
        mailbox_vanished(inbox, mailbox_snapshot(inbox), known, &ranges, &answer, &error), 0);
    ck_assert_int_eq(answer, VANISHED_MORE);
    bool told = false;
    for (guint i = 0; i < ranges->len; i++) {
        const struct uid_range *range = &g_array_index(ranges, struct uid_range, i);

        told = told || (range->first <= secret && secret <= range->last);
    }
    ck_assert(told);
    g_array_unref(ranges);
    append_many(&fixture, inbox, 1);
    ck_assert_int_eq(expunge(&fixture, inbox, 7), 0);
}
END_TEST

START_TEST(test_purge__finds_what_was_expunged_or_deleted)
{
    live();
    mailbox_unref(copy_to("Trash"));
    ck_assert_int_eq(expunge(&fixture, inbox, secret), 0);
    struct mailbox *archive = open_mailbox(&fixture, "Archive");
    ck_assert_int_eq(expunge(&fixture, archive, 1), 0);
    mailbox_unref(archive);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Trash", &fixture.origin, &error), 0);
    close_all();
    if (_i == 0) {
        purge("INBOX", secret);
    } else {
        purge("Trash", 1);
    }
    check_gone();
    ck_assert_uint_eq(result.places->len, 3);
    open_all();
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, NULL), STORE_NOT_FOUND);
    ck_assert_int_eq(purge_with(host_system(), "None", 1, NULL), STORE_NOT_FOUND);
}
END_TEST

START_TEST(test_purge__reaches_tags_notes_reflogs_and_foreign_branches)
{
    live();
    close_all();
    ck_assert(GIT(fixture.path, "config", "core.logAllRefUpdates", "always"));
#define AS_SOMEBODY "-c", "user.name=a", "-c", "user.email=a@b"
    ck_assert(GIT(fixture.path, AS_SOMEBODY, "tag", "-a", "-m", "t", "annotated", "INBOX~2"));
    ck_assert(GIT(fixture.path, "tag", "plain", "INBOX~1"));
    ck_assert(GIT(fixture.path, "tag", "before", "INBOX~5"));
    ck_assert(GIT(fixture.path, "update-ref", "refs/x/tree", "INBOX^{tree}"));
    ck_assert(GIT(fixture.path, "update-ref", "refs/x/blob", "INBOX:00/00/00/00/21"));
    g_autofree char *before = GIT_OUTPUT(fixture.path, "rev-parse", "before");
    purge("INBOX", secret);
    check_gone();
    ck_assert(GIT(fixture.path, "fsck", "--strict"));
    g_autofree char *after = GIT_OUTPUT(fixture.path, "rev-parse", "before");
    ck_assert_str_eq(before, after);
    ck_assert(GIT(fixture.path, "rev-parse", "annotated^{commit}"));
    ck_assert(GIT(fixture.path, "rev-parse", "refs/x/tree^{tree}"));
    ck_assert(!GIT(fixture.path, "rev-parse", "-q", "--verify", "refs/x/blob"));
    open_all();
}
END_TEST

/* Any git may have packed the repository, with messages as deltas of each other. */
START_TEST(test_purge__takes_a_message_out_of_deltas)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint32_t uids[6];

    live();
    for (int i = 0; i < 400; i++) {
        g_string_append_printf(text, "line %d of a long text that is much like another\r\n", i);
    }
    for (int i = 0; i < 6; i++) {
        g_autofree char *message = g_strdup_printf("Subject: %d\r\n\r\n%s%s", i, text->str,
                                                   i == 2 ? SECRET "\r\n" : "other\r\n");
        uids[i] = append_text(&fixture, inbox, message);
    }
    close_all();
    ck_assert(GIT(fixture.path, "repack", "-q", "-a", "-d", "-f", "--depth=50", "--window=50"));
    purge("INBOX", uids[2]);
    ck_assert(GIT(fixture.path, "fsck", "--strict"));
    purge("INBOX", secret);
    check_gone();
    open_all();
}
END_TEST

START_TEST(test_purge__is_refused_during_a_hold)
{
    live();
    ck_assert_int_eq(
        hold_change(fixture.path, host_system(), true, "alice", &fixture.origin, NULL, &error), 0);
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, NULL), STORE_FORBIDDEN);
    ck_assert(has_message(inbox, secret));
}
END_TEST

/* Whatever happened, the account is whole, and a purge and a collection later nothing is left. */
static void check_finished(void)
{
    struct collect_settings settings = {.settle_seconds = 0};
    struct collect_result collected;
    int rc = purge_with(host_system(), "INBOX", secret, NULL);

    ck_assert_msg(rc == 0 || rc == STORE_NOT_FOUND, "%s", error.detail);
    ck_assert_int_eq(collect_repository(fixture.path, host_system(), &settings, &collected, &error),
                     0);
    check_gone();
    check_repository(fixture.path);
}

static int put_on_hold(void *data, struct store_error *stand_error)
{
    (void)data;
    return hold_change(fixture.path, host_system(), true, "alice", &fixture.origin, NULL,
                       stand_error);
}

static void set_hold(void *data)
{
    struct store_error already;

    put_on_hold(data, &already);
}

/* A hold that begins while it is at work: before the references move (_i == 0), or after. */
START_TEST(test_purge__gives_way_to_a_hold_that_comes_meanwhile)
{
    struct purge_request request = {.stand = _i == 0 ? put_on_hold : NULL};
    struct store_error ignored;

    live();
    close_all();
    if (_i == 1) {
        request.go_on = set_hold;
    }
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), STORE_FORBIDDEN);
    ck_assert_int_eq(result.moved, _i == 1);
    ck_assert_int_eq(
        hold_change(fixture.path, host_system(), false, "alice", &fixture.origin, NULL, &ignored),
        0);
    check_finished();
    open_all();
}
END_TEST

START_TEST(test_purge__only_says_what_would_go_when_it_is_asked_to)
{
    struct purge_request request = {.dry_run = true};

    live();
    g_autofree char *before = GIT_OUTPUT(fixture.path, "for-each-ref");
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), 0);
    ck_assert_uint_eq(result.places->len, 2);
    g_autofree char *after = GIT_OUTPUT(fixture.path, "for-each-ref");
    ck_assert_str_eq(before, after);
}
END_TEST

static int append_meanwhile(void *data, struct store_error *stand_error)
{
    bool *done = data;

    (void)stand_error;
    if (*done) {
        return 0;
    }
    *done = true;
    append_many(&fixture, inbox, 3);
    mailbox_unref(copy_to("Junk"));
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    return 0;
}

START_TEST(test_purge__takes_along_what_came_meanwhile)
{
    bool done = false;
    struct purge_request request = {.stand = append_meanwhile, .data = &done};

    live();
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), 0);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2 * MESSAGES - 1 + 3);
    ck_assert_uint_eq(result.places->len, 3);
    close_all();
    g_autofree char *list = GIT_OUTPUT(fixture.path, "log", "--all", "-p", "--text");
    ck_assert_ptr_null(strstr(list, SECRET));
    open_all();
}
END_TEST

static void flush(void *data)
{
    (void)data;
    ck_assert_int_eq(store_flush(fixture.store, &error), 0);
}

/* Changes that are acknowledged and not in git when the branch moves under them: nobody stood
 * still. */
START_TEST(test_purge__is_not_undone_by_what_is_on_its_way)
{
    struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN};
    struct purge_request request = {.go_on = flush};

    live();
    close_all();
    mail_fixture_open(&fixture);
    account_unref(fixture.account);
    ck_assert_int_eq(store_open_journal(fixture.store, &journal, &error), 0);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    inbox = open_mailbox(&fixture, "INBOX");
    uint32_t later = append_text(&fixture, inbox, "Subject: later\r\n\r\nx\r\n");
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_ANSWERED, NULL), 0);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), 0);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert(!has_message(inbox, secret));
    ck_assert(has_message(inbox, later));
    ck_assert_uint_eq(message_of(inbox, 2).flags, MESSAGE_ANSWERED);
    g_autofree char *log = GIT_OUTPUT(fixture.path, "log", "--all", "-p", "--text");
    ck_assert_ptr_null(strstr(log, SECRET));
    close_all();
    open_all();
}
END_TEST

/* A server that starts while no other serves the account, and comes to a sudden end before its
 * first change is in git. It runs in a process of its own, at the word. */
struct starting {
    struct store *store; /* of the one who purges */
    struct store_journals *journals;
    pid_t child;
    int word;         /* written to when it may start */
    int acknowledged; /* it writes to it when its change is in its journal */
    bool early;       /* it was, while the purge had the account to itself */
};

enum { EARLY_MSEC = 300, LATE_MSEC = 60 * 1000 };

static bool has_acknowledged(const struct starting *starting, int msec)
{
    struct pollfd poll_fd = {.fd = starting->acknowledged, .events = POLLIN};
    char octet;

    return poll(&poll_fd, 1, msec) == 1 && read(starting->acknowledged, &octet, 1) == 1;
}

static void serve(int word, int acknowledged)
{
    struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN};
    struct mail_fixture server = fixture;
    char octet;

    if (read(word, &octet, 1) != 1 ||
        store_open(&server.store, fixture.directory, host_system(), &error) < 0 ||
        store_open_journal(server.store, &journal, &error) < 0 ||
        store_open_account(server.store, "alice", &server.account, &error) < 0) {
        _exit(1);
    }
    append_text(&server, open_mailbox(&server, "INBOX"), "Subject: first\r\n\r\nx\r\n");
    if (store_sync(server.store, &error) < 0 || write(acknowledged, "a", 1) != 1) {
        _exit(1);
    }
    _exit(read(word, &octet, 1) == 0 ? 0 : 1);
}

static void starting_init(struct starting *starting)
{
    int words[2];
    int answers[2];

    ck_assert_int_eq(pipe(words), 0);
    ck_assert_int_eq(pipe(answers), 0);
    starting->child = fork();
    ck_assert_int_ge(starting->child, 0);
    if (starting->child == 0) {
        close(words[1]);
        close(answers[0]);
        serve(words[0], answers[1]);
    }
    close(words[0]);
    close(answers[1]);
    starting->word = words[1];
    starting->acknowledged = answers[0];
    ck_assert_int_eq(store_open(&starting->store, fixture.directory, host_system(), &error), 0);
}

static void end_server(struct starting *starting)
{
    close(starting->word);
    starting->word = -1;
    ck_assert_int_eq(waitpid(starting->child, NULL, 0), starting->child);
    close(starting->acknowledged);
}

static int start_server(void *data, struct store_error *stand_error)
{
    struct starting *starting = data;
    int rc = store_wipe_journals(starting->store, &starting->journals, stand_error);

    if (starting->word >= 0 && rc == 0) {
        ck_assert_int_eq(write(starting->word, "s", 1), 1);
        starting->early = has_acknowledged(starting, EARLY_MSEC);
    }
    return rc;
}

static void let_server_in(void *data)
{
    struct starting *starting = data;

    store_release_journals(starting->journals);
    starting->journals = NULL;
    if (starting->word >= 0) {
        ck_assert(starting->early || has_acknowledged(starting, LATE_MSEC));
        end_server(starting);
    }
}

START_TEST(test_purge__keeps_a_server_that_starts_from_building_on_the_old_history)
{
    struct starting starting = {.child = 0};
    struct purge_request request = {
        .stand = start_server, .go_on = let_server_in, .data = &starting};

    live();
    close_all();
    starting_init(&starting);
    int rc = purge_with(host_system(), "INBOX", secret, &request);
    ck_assert_msg(rc == 0, "%s", error.detail);
    ck_assert(!starting.early);
    store_close(starting.store);
    open_all();
    ck_assert(has_message(inbox, secret + MESSAGES + 1));
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2 * MESSAGES - 1 + 1);
    check_gone();
}
END_TEST

/* An admin who has enough of it at a stage. */
struct impatient {
    enum observer_stage stage;
    bool told[OBSERVER_STAGE_COUNT];
    uint64_t seen[OBSERVER_STAGE_COUNT]; /* the most that was done */
    bool beyond;                         /* more was done than there is */
    bool over;
};

static void watch(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct impatient *impatient = data;

    impatient->told[stage] = true;
    impatient->seen[stage] = MAX(impatient->seen[stage], done);
    impatient->beyond = impatient->beyond || done > total;
    impatient->over = impatient->over || stage == impatient->stage;
}

static bool has_patience(void *data)
{
    return !((const struct impatient *)data)->over;
}

static const struct {
    enum observer_stage stage;
    bool moved;
} stages[] = {
    {OBSERVER_SEARCH, false},
    {OBSERVER_REWRITE, false},
    {OBSERVER_OBJECTS, true},
    {OBSERVER_COPY, true},
};

START_TEST(test_purge__given_up_does_nothing_or_is_finished_by_the_next_collection)
{
    struct impatient impatient = {.stage = stages[_i].stage};
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = &impatient};
    struct purge_request request = {.observer = &observer};
    struct collect_settings settings = {.observer = NULL};
    struct collect_result collected;

    live();
    g_autofree char *before = GIT_OUTPUT(fixture.path, "for-each-ref");
    close_all();
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), STORE_CONFLICT);
    ck_assert_str_eq(error.detail, "given up");
    ck_assert_int_eq(result.moved, stages[_i].moved);
    check_repository(fixture.path);
    g_autofree char *after = GIT_OUTPUT(fixture.path, "for-each-ref");
    ck_assert_int_eq(strcmp(before, after) == 0, !stages[_i].moved);
    if (!stages[_i].moved) {
        purge("INBOX", secret);
    } else {
        ck_assert_int_eq(
            collect_repository(fixture.path, host_system(), &settings, &collected, &error), 0);
    }
    check_gone();
    open_all();
}
END_TEST

START_TEST(test_purge__tells_how_far_it_is)
{
    struct impatient impatient = {.stage = OBSERVER_STAGE_COUNT};
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = &impatient};
    struct purge_request request = {.observer = &observer};

    live();
    g_autofree char *inbox_changes = GIT_OUTPUT(fixture.path, "rev-list", "--count", "INBOX");
    g_autofree char *all = GIT_OUTPUT(fixture.path, "rev-list", "--count", "--all");
    close_all();
    ck_assert_int_eq(purge_with(host_system(), "INBOX", secret, &request), 0);
    ck_assert_uint_eq(impatient.seen[OBSERVER_SEARCH], strtoul(inbox_changes, NULL, 10));
    ck_assert_uint_eq(impatient.seen[OBSERVER_REWRITE], strtoul(all, NULL, 10));
    ck_assert(impatient.told[OBSERVER_OBJECTS] && impatient.told[OBSERVER_COPY]);
    ck_assert(!impatient.beyond);
    open_all();
}
END_TEST

static struct store *open_with_journal(void)
{
    struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN};
    struct store *store;

    ck_assert_int_eq(store_open(&store, fixture.directory, host_system(), &error), 0);
    ck_assert_int_eq(store_open_journal(store, &journal, &error), 0);
    return store;
}

/* A server once had more journals than the one that runs. */
START_TEST(test_purge__overwrites_journals_that_no_server_has_any_more)
{
    struct mail_fixture old = fixture;
    struct store_journals *journals;
    g_autofree char *path = fixture_path(fixture.directory, "journal/1");
    gchar *octets = NULL;
    gsize length;

    close_all();
    struct store *server = open_with_journal();
    old.store = open_with_journal();
    ck_assert_int_eq(store_open_account(old.store, "alice", &old.account, &error), 0);
    struct mailbox *mailbox = open_mailbox(&old, "INBOX");
    append_text(&old, mailbox, MESSAGE);
    mailbox_unref(mailbox);
    mail_fixture_close(&old);
    ck_assert(g_file_get_contents(path, &octets, &length, NULL));
    ck_assert_ptr_nonnull(memmem(octets, length, SECRET, strlen(SECRET)));
    g_free(octets);
    struct store *store;
    ck_assert_int_eq(store_open(&store, fixture.directory, host_system(), &error), 0);
    ck_assert_int_eq(store_wipe_journals(store, &journals, &error), STORE_CONFLICT);
    ck_assert(g_file_get_contents(path, &octets, &length, NULL));
    ck_assert_ptr_null(memmem(octets, length, SECRET, strlen(SECRET)));
    g_free(octets);
    store_release_journals(journals);
    store_close(store);
    store_close(server);
    open_all();
}
END_TEST

static void touch_keep(bool make)
{
    g_autofree char *directory = fixture_path(fixture.path, "objects/pack");
    GDir *entries = g_dir_open(directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(entries)) != NULL) {
        if (g_str_has_suffix(name, make ? ".pack" : ".keep")) {
            g_autofree char *stem = g_strndup(name, strlen(name) - 5);
            g_autofree char *path = g_strdup_printf("%s/%s.keep", directory, stem);

            if (make) {
                ck_assert(g_file_set_contents(path, "mine\n", -1, NULL));
            } else {
                ck_assert_int_eq(unlink(path), 0);
            }
        }
    }
    g_dir_close(entries);
}

START_TEST(test_purge__says_what_is_protected_and_finishes_later)
{
    struct collect_settings settings = {.settle_seconds = 0};
    struct collect_result collected;

    live();
    close_all();
    ck_assert(GIT(fixture.path, "repack", "-q", "-a", "-d"));
    touch_keep(true);
    purge("INBOX", secret);
    ck_assert_uint_eq(result.collected.protected, 1);
    touch_keep(false);
    ck_assert_int_eq(collect_repository(fixture.path, host_system(), &settings, &collected, &error),
                     0);
    ck_assert_uint_eq(collected.purged, 1);
    check_gone();
    open_all();
}
END_TEST

/* What lies behind the boundary goes, too, and the boundary moves with the history. */
START_TEST(test_purge__works_on_a_history_that_was_cut)
{
    struct retention_policy *policy = retention_policy_new(DAY);
    struct retention_result cut;

    live();
    fixture.origin.time = host_system()->now(NULL);
    append_many(&fixture, inbox, 3);
    close_all();
    ck_assert_int_eq(retention_cut(fixture.path, host_system(), policy, &cut, &error), 0);
    ck_assert_uint_gt(cut.cuts, 0);
    purge("INBOX", secret);
    check_gone();
    check_repository(fixture.path);
    g_autofree char *count = GIT_OUTPUT(fixture.path, "rev-list", "--count", "INBOX");
    ck_assert_str_eq(count, "3\n");
    retention_policy_free(policy);
    open_all();
}
END_TEST

static void remove_locks(void)
{
    static const char *const names[] = {"shallow.lock", "gc.pid", "gc.pid.lock"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = fixture_path(fixture.path, names[i]);

        remove(path);
    }
}

/* A copy of the repository as it was before each attempt. */
static void restore(const char *backup)
{
    fixture_remove(strdup(fixture.path));
    ck_assert(GIT(fixture.directory, "clone", "-q", "--mirror", backup, "mail/alice.git"));
    ck_assert(GIT(fixture.path, "remote", "remove", "origin"));
}

/* _i: whether everything fails from then on. */
START_TEST(test_purge__is_whole_whatever_call_fails)
{
    struct faulty_host faulty;
    char *backup = fixture_directory();
    bool done = false;
    unsigned k;

    live();
    close_all();
    ck_assert(GIT(backup, "clone", "-q", "--mirror", fixture.path, "."));
    for (k = 1; k < FAULTS_MAX && !done; k += k < 20 ? 1 : 4) {
        restore(backup);
        faulty_host_init(&faulty);
        faulty_host_arm(&faulty, k, _i == 1, EIO);
        purge_with(&faulty.host, "INBOX", secret, NULL);
        done = !faulty.failed;
        remove_locks();
        ck_assert_msg(GIT(fixture.path, "fsck", "--strict"), "call %u", k);
        ck_assert_uint_eq(count_findings(fixture.path, NULL, 0), 0);
        if (k % 8 == 0) {
            check_finished();
        }
    }
    ck_assert(done);
    ck_assert_uint_gt(k, 20);
    fixture_remove(backup);
    check_finished();
    open_all();
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
    struct store *store;
    struct account *account;
    struct faulty_host later;
    char finding[400];

    power_host_cut(power->host, copy, (enum power_cut)(call % 3), &power->random);
    power->made++;
    /* When locks are known to be nobody's. */
    faulty_host_init(&later);
    later.time_offset = INT64_C(7200) * 1000000;
    ck_assert_int_eq(store_open(&store, copy, &later.host, &error), 0);
    ck_assert_int_eq(store_open_account(store, "alice", &account, &error), 0);
    account_unref(account);
    store_close(store);
    ck_assert_msg(count_findings(path, finding, sizeof(finding)) == 0, "call %u: %s", call,
                  finding);
    ck_assert_msg(GIT(path, "fsck", "--strict"), "call %u", call);
    fixture_remove(copy);
}

START_TEST(test_purge__is_whole_when_power_is_lost_at_any_call)
{
    struct power power = {.random = 3};

    live();
    close_all();
    power.host = power_host_new(fixture.directory);
    power_host_watch(power.host, lose_power, &power);
    ck_assert_int_eq(purge_with(power_host_table(power.host), "INBOX", secret, NULL), 0);
    ck_assert_uint_gt(power.made, 20);
    power_host_free(power.host);
    check_gone();
    open_all();
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("purge");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, test_purge__leaves_nothing_and_changes_nothing_else);
    tcase_add_test(tests, test_purge__shows_clients_an_expunge);
    tcase_add_loop_test(tests, test_purge__finds_what_was_expunged_or_deleted, 0, 2);
    tcase_add_test(tests, test_purge__reaches_tags_notes_reflogs_and_foreign_branches);
    tcase_add_test(tests, test_purge__takes_a_message_out_of_deltas);
    tcase_add_test(tests, test_purge__is_refused_during_a_hold);
    tcase_add_loop_test(tests, test_purge__gives_way_to_a_hold_that_comes_meanwhile, 0, 2);
    tcase_add_test(tests, test_purge__only_says_what_would_go_when_it_is_asked_to);
    tcase_add_test(tests, test_purge__takes_along_what_came_meanwhile);
    tcase_add_test(tests, test_purge__is_not_undone_by_what_is_on_its_way);
    tcase_add_test(tests, test_purge__keeps_a_server_that_starts_from_building_on_the_old_history);
    tcase_add_loop_test(tests,
                        test_purge__given_up_does_nothing_or_is_finished_by_the_next_collection, 0,
                        G_N_ELEMENTS(stages));
    tcase_add_test(tests, test_purge__tells_how_far_it_is);
    tcase_add_test(tests, test_purge__overwrites_journals_that_no_server_has_any_more);
    tcase_add_test(tests, test_purge__says_what_is_protected_and_finishes_later);
    tcase_add_test(tests, test_purge__works_on_a_history_that_was_cut);
    tcase_add_loop_test(tests, test_purge__is_whole_whatever_call_fails, 0, 2);
    tcase_add_test(tests, test_purge__is_whole_when_power_is_lost_at_any_call);
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
