#include <check.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/collect.h"
#include "store/hold.h"
#include "store/internal/ssh_key.h"
#include "store/maintenance.h"
#include "store/purge.h"
#include "store/retention.h"
#include "store/signing.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { DAY = 24 * 3600, FINDINGS_MAX = 2000, SIGNERS = 3 };

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;
static struct signing_key *key;
static char *key_path;
static GPtrArray *keys; /* char *: those that are trusted */
static struct checkpoint_report report;
static GString *findings;
static struct host host; /* the system's with a clock of ours */
static _Atomic int64_t today;
static int64_t keep; /* seconds for which checkpoints are kept */

static int64_t clock_of_ours(void *data)
{
    (void)data;
    return today * 1000000;
}

static void make_key(const char *name, const char *arguments)
{
    g_autofree char *alias = g_strdup_printf("alias.k=!ssh-keygen -q -C '' %s -f '%s/%s'",
                                             arguments, fixture.directory, name);

    ck_assert_msg(GIT(fixture.path, "-c", alias, "k"), "ssh-keygen");
}

static void set_up(void)
{
    host = *host_system();
    host.now = clock_of_ours;
    keep = RETENTION_FOREVER;
    today = 1795000000 + DAY;
    mail_fixture_init(&fixture, &host);
    inbox = open_mailbox(&fixture, "INBOX");
    make_key("key", "-t ed25519 -N ''");
    key_path = fixture_path(fixture.directory, "key");
    ck_assert_int_eq(signing_key_load(&key, key_path, &error), 0);
    keys = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(keys, signing_key_public(key));
    findings = g_string_new(NULL);
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
    signing_key_free(key);
    g_ptr_array_unref(keys);
    g_string_free(findings, TRUE);
    free(key_path);
}

static bool make(int64_t after)
{
    bool made;

    if (checkpoint_make(fixture.path, &host, key, "alice", after, keep, &made, &error) < 0) {
        ck_abort_msg("checkpoint: %s", error.detail);
    }
    return made;
}

static void day_passes(void)
{
    today += DAY;
    fixture.origin.time = today * 1000000;
}

static void keep_finding(const char *finding, void *data)
{
    (void)data;
    g_string_append_printf(findings, "%s\n", finding);
}

static size_t verify(void)
{
    size_t count;

    g_string_truncate(findings, 0);
    if (checkpoints_verify(fixture.path, keys, keep_finding, NULL, NULL, &report, &count, &error) <
        0) {
        ck_abort_msg("verifying: %s", error.detail);
    }
    return count;
}

static bool git_verifies(const char *tag)
{
    g_autofree char *signers = fixture_path(fixture.directory, "signers");
    g_autofree char *line =
        g_strdup_printf("annal namespaces=\"git\" %s\n", (char *)g_ptr_array_index(keys, 0));
    g_autofree char *option = g_strdup_printf("gpg.ssh.allowedSignersFile=%s", signers);

    ck_assert(g_file_set_contents(signers, line, -1, NULL));
    return GIT(fixture.path, "-c", "gpg.format=ssh", "-c", option, "verify-tag", tag);
}

START_TEST(test_signing__makes_tags_that_stock_git_verifies)
{
    append_many(&fixture, inbox, 3);
    ck_assert(make(0));
    ck_assert(git_verifies("refs/annal/checkpoints/1"));
    ck_assert_uint_eq(verify(), 0);
    ck_assert_uint_eq(report.checkpoints, 1);
    ck_assert_uint_eq(report.heads, 7);
    ck_assert_int_eq(report.last, today);
    g_autofree char *text = GIT_OUTPUT(fixture.path, "cat-file", "tag", "refs/annal/checkpoints/1");
    g_autofree char *head = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX");
    head[OBJECT_ID_HEX] = '\0';
    g_autofree char *line = g_strdup_printf("\nhead refs/heads/INBOX %s\n", head);
    ck_assert_ptr_nonnull(strstr(text, line));
}
END_TEST

START_TEST(test_signing__signs_only_what_is_new_and_in_its_time)
{
    ck_assert(make(DAY));
    ck_assert(!make(0));
    append_many(&fixture, inbox, 1);
    ck_assert(!make(DAY));
    day_passes();
    ck_assert(make(DAY));
    ck_assert(!make(0));
    ck_assert(git_verifies("refs/annal/checkpoints/2"));
    ck_assert_uint_eq(verify(), 0);
    ck_assert_uint_eq(report.checkpoints, 2);
}
END_TEST

struct signer {
    pthread_t thread;
    pthread_barrier_t *barrier;
    int result;
    bool made;
    struct store_error error;
};

static void *sign_at_once(void *data)
{
    struct signer *signer = data;

    pthread_barrier_wait(signer->barrier);
    signer->result =
        checkpoint_make(fixture.path, &host, key, "alice", 0, keep, &signer->made, &signer->error);
    return NULL;
}

START_TEST(test_signing__is_done_once_by_those_who_do_it_together)
{
    struct signer signers[SIGNERS];
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, SIGNERS);
    for (unsigned round = 1; round <= 20; round++) {
        unsigned made = 0;

        append_many(&fixture, inbox, 1);
        for (size_t i = 0; i < SIGNERS; i++) {
            signers[i] = (struct signer){.barrier = &barrier};
            ck_assert_int_eq(pthread_create(&signers[i].thread, NULL, sign_at_once, &signers[i]),
                             0);
        }
        for (size_t i = 0; i < SIGNERS; i++) {
            pthread_join(signers[i].thread, NULL);
            ck_assert_msg(signers[i].result == 0, "%s", signers[i].error.detail);
            made += signers[i].made;
        }
        ck_assert_uint_eq(made, 1);
        ck_assert_uint_eq(verify(), 0);
        ck_assert_uint_eq(report.checkpoints, round);
    }
    pthread_barrier_destroy(&barrier);
}
END_TEST

static void live(void)
{
    append_many(&fixture, inbox, 3);
    make(0);
    day_passes();
    append_many(&fixture, inbox, 3);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Old", SPECIAL_USE_NONE, &fixture.origin, &error),
        0);
    make(0);
    day_passes();
    ck_assert_int_eq(account_delete_mailbox(fixture.account, "Old", &fixture.origin, &error), 0);
    ck_assert_int_eq(
        account_rename_mailbox(fixture.account, "Junk", "Rubbish", &fixture.origin, &error), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    make(0);
}

START_TEST(test_signing__follows_what_mailboxes_go_through)
{
    live();
    ck_assert_msg(verify() == 0, "%s", findings->str);
    ck_assert_uint_eq(report.checkpoints, 3);
    ck_assert_uint_eq(report.before + report.purged, 0);
}
END_TEST

static const struct {
    const char *what;
    const char *command[8]; /* of git */
    const char *finding;
} tampering[] = {
    {"a branch set back", {"update-ref", "refs/heads/INBOX", "INBOX~1"}, "refs/heads/INBOX was at"},
    {"a branch removed", {"update-ref", "-d", "refs/heads/Archive"}, "refs/heads/Archive was at"},
    {"a checkpoint removed",
     {"update-ref", "-d", "refs/annal/checkpoints/2"},
     "checkpoint 2 is missing"},
    {"the first one removed",
     {"update-ref", "-d", "refs/annal/checkpoints/1"},
     "checkpoint 1 is missing"},
    {"one in the place of another",
     {"update-ref", "refs/annal/checkpoints/2", "refs/annal/checkpoints/3"},
     "checkpoint 2 does not follow"},
};

START_TEST(test_signing__finds)
{
    live();
    ck_assert(git_run(fixture.path, tampering[_i].command));
    ck_assert_uint_gt(verify(), 0);
    ck_assert_msg(strstr(findings->str, tampering[_i].finding) != NULL, "%s: %s",
                  tampering[_i].what, findings->str);
    if (strstr(tampering[_i].what, "branch") == NULL) {
        return;
    }
    ck_assert(GIT(fixture.path, "update-ref", "refs/x", "refs/annal/checkpoints/3"));
    ck_assert(git_verifies("refs/x"));
}
END_TEST

static char *list_checkpoints(void)
{
    return GIT_OUTPUT(fixture.path, "for-each-ref", "--count=3", "--sort=version:refname",
                      "--format=%(refname:lstrip=3)", "refs/annal/checkpoints/");
}

START_TEST(test_signing__lets_checkpoints_go_with_their_history)
{
    enum { DAYS = 30, KEPT = 15 };

    keep = KEPT * DAY;
    for (int i = 1; i <= DAYS; i++) {
        append_many(&fixture, inbox, 1);
        ck_assert(make(DAY));
        ck_assert_msg(verify() == 0, "day %d: %s", i, findings->str);
        /* Those of fifteen days and the newest before them. */
        ck_assert_uint_eq(report.checkpoints, MIN(i, KEPT + 1));
        ck_assert_uint_eq(report.from, MAX(i - KEPT, 1));
        ck_assert_int_eq(report.first, today - MIN(i - 1, KEPT) * DAY);
        day_passes();
    }
    ck_assert(git_verifies("refs/annal/checkpoints/15"));
    ck_assert(git_verifies("refs/annal/checkpoints/30"));
    g_autofree char *left = list_checkpoints();
    ck_assert_str_eq(left, "15\n16\n17\n");
    /* A mailbox at rest for a year keeps some. */
    today += 365 * DAY;
    append_many(&fixture, inbox, 1);
    ck_assert(make(DAY));
    ck_assert_msg(verify() == 0, "%s", findings->str);
    ck_assert_uint_eq(report.checkpoints, CHECKPOINTS_MIN);
    ck_assert_uint_eq(report.from, DAYS + 2 - CHECKPOINTS_MIN);
}
END_TEST

START_TEST(test_signing__keeps_old_checkpoints_during_a_hold)
{
    keep = DAY;
    ck_assert_int_eq(hold_change(fixture.path, &host, true, "alice", &fixture.origin, NULL, &error),
                     0);
    for (int i = 1; i <= CHECKPOINTS_MIN + 3; i++) {
        append_many(&fixture, inbox, 1);
        ck_assert(make(0));
        day_passes();
    }
    ck_assert_uint_eq(verify(), 0);
    ck_assert_uint_eq(report.checkpoints, CHECKPOINTS_MIN + 3);
}
END_TEST

/* What the newest one says is left has to be there, and only that may be the first. */
START_TEST(test_signing__lets_nobody_else_take_old_checkpoints_away)
{
    keep = DAY;
    for (int i = 1; i <= CHECKPOINTS_MIN + 3; i++) {
        append_many(&fixture, inbox, 1);
        ck_assert(make(0));
        day_passes();
    }
    ck_assert_uint_eq(verify(), 0);
    ck_assert_uint_eq(report.from, 4);
    ck_assert(GIT(fixture.path, "update-ref", "-d", "refs/annal/checkpoints/4"));
    ck_assert_uint_eq(verify(), 1);
    ck_assert_str_eq(findings->str, "checkpoint 4 is missing\n");
    /* The server does not cover it up. */
    append_many(&fixture, inbox, 1);
    ck_assert(make(0));
    ck_assert_uint_eq(verify(), 1);
    ck_assert_str_eq(findings->str, "checkpoint 4 is missing\n");
}
END_TEST

START_TEST(test_signing__trusts_no_other_key_and_no_changed_tag)
{
    live();
    char *trusted = g_ptr_array_steal_index(keys, 0);
    make_key("other", "-t ed25519 -N ''");
    g_autofree char *other_path = fixture_path(fixture.directory, "other");
    struct signing_key *other;
    ck_assert_int_eq(signing_key_load(&other, other_path, &error), 0);
    g_ptr_array_add(keys, signing_key_public(other));
    ck_assert_uint_eq(verify(), 3);
    ck_assert_ptr_nonnull(strstr(findings->str, "is signed by another key"));
    ck_assert(!git_verifies("refs/annal/checkpoints/1"));
    signing_key_free(other);
    g_ptr_array_add(keys, trusted);
    ck_assert_uint_eq(verify(), 0);
    /* The same tag with another head. */
    g_autofree char *file = fixture_path(fixture.directory, "tag");
    g_autofree char *text = GIT_OUTPUT(fixture.path, "cat-file", "tag", "refs/annal/checkpoints/3");
    char *head = strstr(text, "head refs/heads/INBOX ") + strlen("head refs/heads/INBOX ");
    *head = *head == '0' ? '1' : '0';
    ck_assert(g_file_set_contents(file, text, -1, NULL));
    g_autofree char *id = GIT_OUTPUT(fixture.path, "hash-object", "-w", "-t", "tag", file);
    id[OBJECT_ID_HEX] = '\0';
    ck_assert(GIT(fixture.path, "update-ref", "refs/annal/checkpoints/3", id));
    ck_assert_uint_gt(verify(), 0);
    ck_assert_ptr_nonnull(strstr(findings->str, "checkpoint 3 has no good signature"));
}
END_TEST

START_TEST(test_signing__knows_what_retention_and_purges_did)
{
    struct retention_policy *policy = retention_policy_new(10 * DAY);
    struct collect_settings settings = {.history = true};
    struct uid_range range = {3, 3};
    struct purge_request request = {
        .user = "alice", .mailbox = "INBOX", .uids = &range, .count = 1, .origin = &fixture.origin};
    struct retention_result cut;
    struct collect_result collected;
    struct purge_result purged;

    live();
    ck_assert_int_eq(purge_run(fixture.path, NULL, &host, &request, &purged, &error), 0);
    purge_result_release(&purged);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_msg(verify() == 0, "%s", findings->str);
    ck_assert_uint_eq(report.purged, 3);
    range = (struct uid_range){1, 1};
    ck_assert_int_eq(purge_run(fixture.path, NULL, &host, &request, &purged, &error), 0);
    purge_result_release(&purged);
    ck_assert_int_eq(mailbox_refresh(inbox, &error), 0);
    ck_assert_msg(verify() == 0, "%s", findings->str);
    ck_assert_uint_eq(report.purged, 3);
    day_passes();
    append_many(&fixture, inbox, 1);
    ck_assert(make(0));
    today += 20 * DAY;
    ck_assert_int_eq(retention_cut(fixture.path, &host, policy, &cut, &error), 0);
    ck_assert_int_eq(collect_repository(fixture.path, &host, &settings, &collected, &error), 0);
    ck_assert_msg(verify() == 0, "%s", findings->str);
    ck_assert_uint_gt(report.before, 0);
    ck_assert_uint_gt(report.heads, 0);
    retention_policy_free(policy);
}
END_TEST

START_TEST(test_signing__is_done_by_a_server_in_time)
{
    g_autofree char *mail = fixture_path(fixture.directory, "mail");
    struct maintenance_settings settings = {
        .host = &host, .mail = mail, .signing_key = key, .sign_every = DAY};
    struct maintenance_counts counts = {.checkpoints = 0};

    for (unsigned round = 0; round < 3; round++) {
        struct maintenance *maintenance = maintenance_new(&settings);

        /* The second time nothing is due. */
        for (int i = 0; i < (round == 1 ? 20 : 6000) && counts.checkpoints == 0; i++) {
            g_usleep(10 * 1000);
            counts = maintenance_counts(maintenance);
        }
        maintenance_free(maintenance);
        ck_assert_uint_eq(counts.checkpoints, round != 1);
        counts.checkpoints = 0;
        append_many(&fixture, inbox, 1);
        if (round == 1) {
            day_passes();
        }
    }
    ck_assert_uint_eq(verify(), 0);
    ck_assert_uint_eq(report.checkpoints, 2);
}
END_TEST

START_TEST(test_signing__is_done_for_one_account_after_the_other)
{
    static const char *const others[] = {"bob", "carol", "dave"};
    g_autofree char *mail = fixture_path(fixture.directory, "mail");
    struct maintenance_settings settings = {
        .host = &host, .mail = mail, .signing_key = key, .sign_every = DAY};
    uint64_t made = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        ck_assert_int_eq(store_create_account(fixture.store, others[i], &fixture.origin, &error),
                         0);
    }
    struct maintenance *maintenance = maintenance_new(&settings);
    for (int i = 0; i < 6000 && made <= G_N_ELEMENTS(others); i++) {
        g_usleep(10 * 1000);
        made = maintenance_counts(maintenance).checkpoints;
    }
    maintenance_free(maintenance);
    ck_assert_uint_eq(made, 1 + G_N_ELEMENTS(others));
}
END_TEST

struct complaint {
    GMutex mutex;
    unsigned count;
    char user[8];
    int code;
};

static void complain(unsigned count, const char *user, const struct store_error *why, void *data)
{
    struct complaint *complaint = data;

    g_mutex_lock(&complaint->mutex);
    complaint->count = count;
    g_strlcpy(complaint->user, user, sizeof(complaint->user));
    complaint->code = why->code;
    g_mutex_unlock(&complaint->mutex);
}

/* Until so many can't be signed, or the time is over. */
static bool waits_for_failing(struct maintenance *maintenance, uint64_t failing)
{
    for (int i = 0; i < 6000; i++) {
        if (maintenance_counts(maintenance).failing == failing) {
            return true;
        }
        g_usleep(10 * 1000);
    }
    return false;
}

START_TEST(test_signing__tells_when_a_server_can_not_do_it_and_tries_again)
{
    g_autofree char *mail = fixture_path(fixture.directory, "mail");
    g_autofree char *damaged = fixture_path(fixture.path, "refs/annal/checkpoints/1");
    g_autofree char *directory = fixture_path(fixture.path, "refs/annal/checkpoints");
    g_autofree char *head = GIT_OUTPUT(fixture.path, "rev-parse", "INBOX");
    struct complaint complaint = {.count = 0};
    struct maintenance_settings settings = {.host = &host,
                                            .mail = mail,
                                            .signing_key = key,
                                            .sign_every = DAY,
                                            .unsigned_accounts = complain,
                                            .data = &complaint};

    /* No checkpoint, so the next one can't follow it. */
    ck_assert_int_eq(g_mkdir_with_parents(directory, 0700), 0);
    ck_assert(g_file_set_contents(damaged, head, -1, NULL));
    struct maintenance *maintenance = maintenance_new(&settings);
    ck_assert(waits_for_failing(maintenance, 1));
    ck_assert_uint_eq(maintenance_counts(maintenance).signing_failures, 1);
    g_mutex_lock(&complaint.mutex);
    ck_assert_uint_eq(complaint.count, 1);
    ck_assert_str_eq(complaint.user, "alice");
    ck_assert_int_eq(complaint.code, STORE_CORRUPT);
    g_mutex_unlock(&complaint.mutex);
    ck_assert_int_eq(unlink(damaged), 0);
    today += MAINTENANCE_SIGN_AGAIN;
    /* It looks at the time when somebody wants something. */
    maintenance_request(maintenance, fixture.path);
    ck_assert(waits_for_failing(maintenance, 0));
    ck_assert_uint_eq(maintenance_counts(maintenance).checkpoints, 1);
    maintenance_free(maintenance);
    ck_assert_uint_eq(verify(), 0);
}
END_TEST

static const struct {
    const char *arguments;
    int code;
} other_keys[] = {
    {"-t rsa -b 2048 -N ''", STORE_UNSUPPORTED},
    {"-t ecdsa -N ''", STORE_UNSUPPORTED},
    {"-t ed25519 -N 'secret'", STORE_UNSUPPORTED},
    {"-t rsa -b 2048 -m PEM -N ''", STORE_UNSUPPORTED},
};

START_TEST(test_signing__refuses_keys_that_it_can_not_use)
{
    struct signing_key *refused;
    g_autofree char *path = fixture_path(fixture.directory, "refused");

    make_key("refused", other_keys[_i].arguments);
    ck_assert_int_eq(signing_key_load(&refused, path, &error), other_keys[_i].code);
    ck_assert_int_eq(chmod(key_path, 0640), 0);
    ck_assert_int_eq(signing_key_load(&refused, key_path, &error), STORE_FORBIDDEN);
    ck_assert_int_eq(signing_key_load(&refused, "/does/not/exist", &error), STORE_NOT_FOUND);
}
END_TEST

/* Cut anywhere and with any octet changed: refused or, where it means the same, the same key. */
START_TEST(test_signing__reads_damaged_keys_and_signatures_without_harm)
{
    g_autofree char *text = NULL;
    g_autoptr(GString) signature = g_string_new(NULL);
    gsize length;
    struct ssh_public_key signer;
    struct ssh_key *good;

    ck_assert(g_file_get_contents(key_path, &text, &length, NULL));
    ck_assert_int_eq(ssh_key_parse(&good, text, length, &error), 0);
    ck_assert_int_eq(ssh_key_sign(good, "octets", 6, signature, &error), 0);
    ck_assert(ssh_signature_verify(&signer, "octets", 6, signature->str, signature->len));
    ck_assert(!ssh_signature_verify(&signer, "octetz", 6, signature->str, signature->len));
    ck_assert_mem_eq(&signer, ssh_key_public(good), sizeof(signer));
    for (gsize i = 0; i + 1 < length; i++) {
        struct ssh_key *parsed = NULL;
        g_autofree char *cut = g_strndup(text, i);

        ck_assert_int_lt(ssh_key_parse(&parsed, cut, i, &error), 0);
        text[i] ^= 1;
        if (ssh_key_parse(&parsed, text, length, &error) == 0) {
            ck_assert_mem_eq(ssh_key_public(parsed), ssh_key_public(good), sizeof(signer));
            ssh_key_free(parsed);
        }
        text[i] ^= 1;
    }
    for (gsize i = 0; i + 1 < signature->len; i++) {
        ck_assert(!ssh_signature_verify(&signer, "octets", 6, signature->str, i));
        signature->str[i] ^= 1;
        if (ssh_signature_verify(&signer, "octets", 6, signature->str, signature->len)) {
            ck_assert_mem_eq(&signer, ssh_key_public(good), sizeof(signer));
        }
        signature->str[i] ^= 1;
    }
    ssh_key_free(good);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("signing");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, test_signing__makes_tags_that_stock_git_verifies);
    tcase_add_test(tests, test_signing__signs_only_what_is_new_and_in_its_time);
    tcase_add_test(tests, test_signing__is_done_once_by_those_who_do_it_together);
    tcase_add_test(tests, test_signing__follows_what_mailboxes_go_through);
    tcase_add_loop_test(tests, test_signing__finds, 0, G_N_ELEMENTS(tampering));
    tcase_add_test(tests, test_signing__lets_checkpoints_go_with_their_history);
    tcase_add_test(tests, test_signing__keeps_old_checkpoints_during_a_hold);
    tcase_add_test(tests, test_signing__lets_nobody_else_take_old_checkpoints_away);
    tcase_add_test(tests, test_signing__trusts_no_other_key_and_no_changed_tag);
    tcase_add_test(tests, test_signing__knows_what_retention_and_purges_did);
    tcase_add_test(tests, test_signing__is_done_by_a_server_in_time);
    tcase_add_test(tests, test_signing__is_done_for_one_account_after_the_other);
    tcase_add_test(tests, test_signing__tells_when_a_server_can_not_do_it_and_tries_again);
    tcase_add_loop_test(tests, test_signing__refuses_keys_that_it_can_not_use, 0,
                        G_N_ELEMENTS(other_keys));
    tcase_add_test(tests, test_signing__reads_damaged_keys_and_signatures_without_harm);
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
