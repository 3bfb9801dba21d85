/* Accounts from bundles, and who is told of it or has enough of it. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/collect.h"
#include "store/internal/store_private.h"
#include "store/restore.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { MESSAGES = 12 };

static struct mail_fixture fixture;
static struct store_error error;
static struct bundle bundle;

static void set_up(void)
{
    GPtrArray *references;

    mail_fixture_init(&fixture, NULL);
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    append_many(&fixture, inbox, MESSAGES);
    expunge(&fixture, inbox, 3);
    mailbox_unref(inbox);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    bundle_init(&bundle);
    ck_assert_int_eq(follow_moment(fixture.account, 1, &references, &error), 0);
    g_ptr_array_extend_and_steal(bundle.references, references);
}

static void tear_down(void)
{
    bundle_release(&bundle);
    mail_fixture_release(&fixture);
}

/* What it tells, and how often it was asked before it gave up. */
struct impatient {
    uint64_t calls;
    uint64_t last; /* 0: never */
    bool seen[OBSERVER_STAGE_COUNT];
};

static void watch(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct impatient *impatient = data;

    if (total > 0) {
        ck_assert_uint_le(done, total);
    }
    impatient->seen[stage] = true;
}

static bool has_patience(void *data)
{
    struct impatient *impatient = data;

    return ++impatient->calls != impatient->last;
}

/* Bob gets what alice has. */
static int restore(struct impatient *impatient)
{
    struct observer observer = {.progress = watch, .go_on = has_patience, .data = impatient};
    struct restore_begun begun;

    ck_assert_int_eq(restore_begin_account(fixture.store, "bob", &begun, &error), 0);
    ck_assert(GIT(fixture.path, "bundle", "create", "-q", "../../all", "--all"));
    ck_assert(GIT(begun.path, "bundle", "unbundle", "../../all"));
    return restore_finish_account(fixture.store, "bob", &begun, &bundle, false, &fixture.origin,
                                  NULL, NULL, &observer, &error);
}

static guint entries_of(const char *directory)
{
    g_autofree char *path = fixture_path(fixture.directory, directory);
    DIR *handle = opendir(path);
    guint count = 0;

    ck_assert_ptr_nonnull(handle);
    while (readdir(handle) != NULL) {
        count++;
    }
    closedir(handle);
    return count - 2;
}

START_TEST(test_restore_bundle__given_up_at_any_moment_leaves_nothing)
{
    struct impatient impatient = {.last = 1};
    g_autofree char *repository = fixture_path(fixture.directory, "mail/bob.git");

    while (restore(&impatient) != 0) {
        ck_assert_int_eq(error.code, STORE_CONFLICT);
        ck_assert_str_eq(error.detail, "given up");
        ck_assert_uint_eq(entries_of("mail"), 1);
        impatient = (struct impatient){.last = impatient.last + 1 + impatient.last / 5};
    }
    ck_assert_uint_gt(impatient.last, MESSAGES);
    ck_assert(impatient.seen[OBSERVER_CHANGES] && impatient.seen[OBSERVER_MAILBOXES] &&
              impatient.seen[OBSERVER_OBJECTS]);
    check_repository(repository);
}
END_TEST

static void make_old(const char *path)
{
    const struct timespec times[2] = {{.tv_sec = time(NULL) - 1000}, {.tv_sec = time(NULL) - 1000}};

    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* However long it takes: others that open the store leave it alone, and remove what was killed. */
START_TEST(test_restore_bundle__what_is_begun_is_told_from_what_a_crash_left)
{
    struct restore_begun begun;
    struct restore_begun unpacking;
    g_autofree char *left = fixture_path(fixture.directory, "mail/.tmp-left");
    struct store *other;

    ck_assert_int_eq(restore_begin_account(fixture.store, "bob", &begun, &error), 0);
    ck_assert_int_eq(restore_begin_unpacking(fixture.path, &unpacking, &error), 0);
    g_autofree char *half = g_strdup_printf("%s/objects/tmp_objdir-annal-left", fixture.path);
    ck_assert_int_eq(mkdir(left, 0700), 0);
    ck_assert_int_eq(mkdir(half, 0700), 0);
    g_autofree char *held = g_strdup_printf("%s/refs", begun.path);
    make_old(begun.path);
    make_old(held);
    make_old(unpacking.path);
    make_old(left);
    make_old(half);
    ck_assert_int_eq(store_open(&other, fixture.directory, fixture.host, &error), 0);
    store_close(other);
    ck_assert_int_eq(access(begun.path, F_OK), 0);
    ck_assert_int_eq(access(left, F_OK), -1);

    struct collect_settings settings = {.now = true};
    struct collect_result result;
    ck_assert_int_eq(collect_repository(fixture.path, fixture.host, &settings, &result, &error), 0);
    ck_assert_int_eq(access(unpacking.path, F_OK), 0);
    ck_assert_int_eq(access(half, F_OK), -1);
    g_autofree char *path = g_strdup(unpacking.path);
    restore_abandon(&unpacking);
    restore_abandon(&begun);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_uint_eq(entries_of("mail"), 1);
}
END_TEST

/* The protection of a pack that a restore brings ends with the restore, also where it was killed.
 */
START_TEST(test_restore_bundle__protects_as_long_as_it_is_at_work)
{
    struct collect_settings settings = {.now = true};
    struct collect_result result;

    ck_assert(GIT(fixture.path, "repack", "-adq"));
    g_autofree char *name = NULL;
    g_autofree char *directory = g_strdup_printf("%s/objects/pack", fixture.path);
    DIR *handle = opendir(directory);
    const struct dirent *entry;
    while ((entry = readdir(handle)) != NULL) {
        if (g_str_has_suffix(entry->d_name, ".pack")) {
            g_free(name);
            name = g_strndup(entry->d_name, strlen(entry->d_name) - strlen(".pack"));
        }
    }
    closedir(handle);
    g_autofree char *keep = g_strdup_printf("%s/%s.keep", directory, name);
    int fd = open(keep, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, COLLECT_RESTORE_KEEP, strlen(COLLECT_RESTORE_KEEP)),
                     (ssize_t)strlen(COLLECT_RESTORE_KEEP));
    ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    make_old(keep);
    ck_assert_int_eq(collect_repository(fixture.path, fixture.host, &settings, &result, &error), 0);
    ck_assert_int_eq(access(keep, F_OK), 0);
    close(fd);
    ck_assert_int_eq(collect_repository(fixture.path, fixture.host, &settings, &result, &error), 0);
    ck_assert_int_eq(access(keep, F_OK), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("restore_bundle");
    TCase *cases = tcase_create("restore_bundle");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_restore_bundle__given_up_at_any_moment_leaves_nothing);
    tcase_add_test(cases, test_restore_bundle__what_is_begun_is_told_from_what_a_crash_left);
    tcase_add_test(cases, test_restore_bundle__protects_as_long_as_it_is_at_work);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
