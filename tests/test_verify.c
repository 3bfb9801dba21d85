#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/verify.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
    append_many(&fixture, inbox, 3);
    check_repository(fixture.path);
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_discard(&fixture);
}

static void assert_finding(const char *expected)
{
    char finding[512] = "";

    ck_assert_uint_gt(count_findings(fixture.path, finding, sizeof(finding)), 0);
    ck_assert_msg(strstr(finding, expected) != NULL, "found: %s", finding);
}

/* Rewrites one file of INBOX's tree and commits, with or without our trailer, on top of parent. */
static void commit_file(const char *file, const char *text, bool ours)
{
    g_autofree char *work = fixture_path(fixture.directory, "work");
    g_autofree char *path = fixture_path(work, file);

    ck_assert(GIT("/", "clone", "-q", "-b", "INBOX", fixture.path, work));
    if (text != NULL) {
        ck_assert(g_file_set_contents(path, text, -1, NULL));
    } else {
        ck_assert_int_eq(remove(path), 0);
    }
    ck_assert(GIT(work, "add", "-A"));
    ck_assert(GIT(work, "commit", "-q", "-m", ours ? "STORE\n\nUser: alice" : "by hand"));
    ck_assert(GIT(work, "push", "-q", "origin", "INBOX"));
    fixture_remove(g_steal_pointer(&work));
}

static char *edited(const char *file, const char *from, const char *to)
{
    g_autofree char *object = g_strconcat("INBOX:", file, NULL);
    g_autofree char *text = GIT_OUTPUT(fixture.path, "show", object);
    const char *at = strstr(text, from);

    ck_assert_ptr_nonnull(at);
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

#define INDEX "00/00/00/00/index"

static const struct {
    const char *file;
    const char *from;
    const char *to;
    const char *finding;
} RULES[] = {
    {INDEX, " 20\n", " 21\n", "another size"},
    {INDEX, "2 2 ", "9 2 ", "malformed index"},
    {INDEX, "\n2 2 ", "\n9 2 ", "malformed index"},
    {INDEX, "3 2 ", "8 2 ", "index line without a message"},
    {INDEX, "1 2 ", "1 7 ", "above HIGHESTMODSEQ"},
    {"mailbox", "uidnext 4", "uidnext 3", "below UIDNEXT"},
    {"mailbox", "uidvalidity 1", "uidvalidity 2", "UIDVALIDITY above the account's"},
    {"mailbox", "mailboxid M", "mailboxid", "malformed properties"},
    {"mailbox", "format 1", "format 2", "mailbox format 2"},
    {"00/00/00/00/01", "body", "another body", "another size"},
};

START_TEST(test_verify__finds_broken_rules)
{
    g_autofree char *text = edited(RULES[_i].file, RULES[_i].from, RULES[_i].to);

    commit_file(RULES[_i].file, text, false);
    assert_finding(RULES[_i].finding);
}
END_TEST

/* Where a later commit has mended it: each of our own commits is to be good. */
START_TEST(test_verify__finds_broken_rules_in_the_past)
{
    g_autofree char *good = edited(INDEX, "1 2 ", "1 2 ");
    g_autofree char *broken = edited(INDEX, "1 2 ", "1 7 ");

    commit_file(INDEX, broken, true);
    commit_file(INDEX, good, false);
    assert_finding("above HIGHESTMODSEQ");
}
END_TEST

START_TEST(test_verify__finds_a_message_without_a_line)
{
    commit_file("00/00/00/00/77", "Subject: x\n\n", false);
    assert_finding("message without an index line");
}
END_TEST

START_TEST(test_verify__finds_a_line_without_a_message)
{
    commit_file("00/00/00/00/02", NULL, false);
    assert_finding("index line without a message");
}
END_TEST

START_TEST(test_verify__finds_foreign_files)
{
    commit_file("README", "x\n", false);
    assert_finding("root tree");
}
END_TEST

/* A chain on which UIDNEXT falls: whole as it stands, but not made by us. */
START_TEST(test_verify__finds_a_falling_uidnext_in_our_own_commits)
{
    g_autofree char *rewound = NULL;

    append_text(&fixture, inbox, "x");
    ck_assert_int_eq(expunge(&fixture, inbox, 4), 0);
    rewound = edited("mailbox", "uidnext 5", "uidnext 4");
    commit_file("mailbox", rewound, true);
    assert_finding("falls in a later commit");
}
END_TEST

START_TEST(test_verify__is_content_with_what_was_mended)
{
    g_autofree char *rewound = NULL;
    struct store_error error;

    append_text(&fixture, inbox, "x");
    ck_assert_int_eq(expunge(&fixture, inbox, 4), 0);
    rewound = edited("mailbox", "uidnext 5", "uidnext 4");
    commit_file("mailbox", rewound, false);
    assert_finding("falls in a later commit");
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    check_repository(fixture.path);
}
END_TEST

START_TEST(test_verify__finds_branches_that_are_no_names)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/a/b", "refs/heads/INBOX"));
    assert_finding("not the encoding of a mailbox name");
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/heads/a/b"));
    ck_assert(GIT(fixture.path, "update-ref", "refs/deleted/x", "refs/heads/INBOX"));
    assert_finding("not the encoding of a mailbox name");
}
END_TEST

START_TEST(test_verify__finds_two_mailboxes_with_one_id)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/heads/Copy", "refs/heads/INBOX"));
    assert_finding("same mailbox id");
}
END_TEST

START_TEST(test_verify__finds_a_missing_account_state)
{
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/annal/account"));
    assert_finding("refs/annal/account");
}
END_TEST

START_TEST(test_verify__finds_a_malformed_account_state)
{
    ck_assert(GIT(fixture.path, "update-ref", "refs/annal/account", "refs/heads/INBOX"));
    assert_finding("refs/annal/account");
}
END_TEST

START_TEST(test_verify__checks_deleted_mailboxes_too)
{
    struct mailbox *junk = open_mailbox(&fixture, "Junk");
    struct store_error error;
    g_autofree char *ref = NULL;

    append_text(&fixture, junk, "x");
    mailbox_unref(junk);
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Junk", &fixture.origin, &error), 0);
    check_repository(fixture.path);
    ref =
        g_strchomp(GIT_OUTPUT(fixture.path, "for-each-ref", "--format=%(refname)", "refs/deleted"));
    ck_assert(GIT(fixture.path, "update-ref", ref, "refs/annal/account"));
    assert_finding("root tree");
}
END_TEST

/* Flips a bit in the middle of each pack in turn, far from its head and its trailing checksum. */
START_TEST(test_verify__finds_damaged_objects)
{
    g_autofree char *directory = fixture_path(fixture.path, "objects/pack");
    DIR *entries;
    const struct dirent *entry;
    unsigned damaged = 0;

    mailbox_unref(inbox);
    inbox = NULL;
    mail_fixture_close(&fixture);
    ck_assert(GIT(fixture.path, "gc", "-q", "--prune=now"));
    entries = opendir(directory);
    while ((entry = readdir(entries)) != NULL) {
        g_autofree char *path = fixture_path(directory, entry->d_name);
        struct stat status;
        uint8_t octet;
        int fd;

        if (!g_str_has_suffix(entry->d_name, ".pack")) {
            continue;
        }
        ck_assert_int_eq(chmod(path, 0600), 0);
        fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(fstat(fd, &status), 0);
        ck_assert_int_eq(pread(fd, &octet, 1, status.st_size / 2), 1);
        octet ^= 0x10;
        ck_assert_int_eq(pwrite(fd, &octet, 1, status.st_size / 2), 1);
        close(fd);
        damaged++;
    }
    closedir(entries);
    ck_assert_uint_gt(damaged, 0);
    ck_assert_uint_gt(count_findings(fixture.path, NULL, 0), 0);
    mail_fixture_open(&fixture);
}
END_TEST

static void ignore(const char *finding, void *data)
{
    (void)finding;
    (void)data;
}

START_TEST(test_verify__says_when_it_can_not_look)
{
    struct store_error error;
    size_t findings;
    g_autofree char *path = fixture_path(fixture.directory, "nothing");

    ck_assert_int_lt(verify_repository(path, ignore, NULL, &findings, &error), 0);
}
END_TEST

struct impatient {
    enum observer_stage stage;
    uint64_t seen[OBSERVER_STAGE_COUNT];
    bool over;
};

static void watch(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct impatient *impatient = data;

    ck_assert_uint_le(done, total);
    impatient->seen[stage] = done;
    impatient->over = impatient->over || stage == impatient->stage;
}

static bool has_patience(void *data)
{
    return !((const struct impatient *)data)->over;
}

/* _i: the stage at which somebody has enough of it. */
START_TEST(test_verify__tells_how_far_it_is_and_can_be_given_up)
{
    static const enum observer_stage stages[] = {OBSERVER_OBJECTS, OBSERVER_CHANGES,
                                                 OBSERVER_STAGE_COUNT};
    struct impatient impatient = {.stage = stages[_i]};
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = &impatient};
    bool done = stages[_i] == OBSERVER_STAGE_COUNT;
    struct store_error error;
    size_t findings;

    ck_assert_int_eq(verify_observed(fixture.path, ignore, NULL, &observer, &findings, &error),
                     done ? 0 : STORE_CONFLICT);
    if (done) {
        g_autofree char *commits = GIT_OUTPUT(fixture.path, "rev-list", "--count", "--branches");

        ck_assert_uint_eq(impatient.seen[OBSERVER_CHANGES], strtoul(commits, NULL, 10));
        ck_assert_uint_gt(impatient.seen[OBSERVER_OBJECTS], impatient.seen[OBSERVER_CHANGES]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verify");
    TCase *cases = tcase_create("verify");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, test_verify__tells_how_far_it_is_and_can_be_given_up, 0, 3);
    tcase_add_loop_test(cases, test_verify__finds_broken_rules, 0, G_N_ELEMENTS(RULES));
    tcase_add_test(cases, test_verify__finds_broken_rules_in_the_past);
    tcase_add_test(cases, test_verify__finds_a_message_without_a_line);
    tcase_add_test(cases, test_verify__finds_a_line_without_a_message);
    tcase_add_test(cases, test_verify__finds_foreign_files);
    tcase_add_test(cases, test_verify__finds_a_falling_uidnext_in_our_own_commits);
    tcase_add_test(cases, test_verify__is_content_with_what_was_mended);
    tcase_add_test(cases, test_verify__finds_branches_that_are_no_names);
    tcase_add_test(cases, test_verify__finds_two_mailboxes_with_one_id);
    tcase_add_test(cases, test_verify__finds_a_missing_account_state);
    tcase_add_test(cases, test_verify__finds_a_malformed_account_state);
    tcase_add_test(cases, test_verify__checks_deleted_mailboxes_too);
    tcase_add_test(cases, test_verify__finds_damaged_objects);
    tcase_add_test(cases, test_verify__says_when_it_can_not_look);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
