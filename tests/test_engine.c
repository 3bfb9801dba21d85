/* Objects and references together, beside stock git that rewrites the same repository. */
#include <check.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/objects.h"
#include "store/internal/refs.h"
#include "tests/store_fixture.h"

enum { SECONDS = 6, READS_A_ROUND = 20 };

static char *directory;
static char *repository;
static struct objects *objects;
static struct refs *refs;
static struct store_error error;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    ck_assert(GIT(repository, "config", "gc.auto", "0"));
    ck_assert_int_eq(objects_open(&objects, repository, host_system(), &error), 0);
    ck_assert_int_eq(refs_open(&refs, repository, host_system(), &error), 0);
}

static void teardown(void)
{
    objects_close(objects);
    refs_close(refs);
    free(repository);
    fixture_remove(directory);
}

static struct object_id add(struct object_batch *batch, enum object_type type, const void *data,
                            size_t length)
{
    struct object_id id;

    ck_assert_int_eq(object_batch_add(batch, type, data, length, &id, &error), 0);
    return id;
}

/* A commit on top of parent whose tree holds one message, big enough now and then that the
 * database is asked for it; *blob is the message. */
static struct object_id add_commit(struct object_batch *batch, unsigned number,
                                   const struct object_id *parent, struct object_id *blob)
{
    char tree[64];
    char hex[OBJECT_ID_HEX + 1];
    GString *text = g_string_new(NULL);

    g_string_printf(text, "message %u\n", number);
    while (number % 5 == 0 && text->len < 2 * OBJECT_DEDUPLICATE_MIN) {
        g_string_append_printf(text, "line %zu of message %u\n", text->len, number);
    }
    *blob = add(batch, OBJECT_BLOB, text->str, text->len);
    int length = snprintf(tree, sizeof(tree), "100644 message") + 1;
    memcpy(tree + length, blob->bytes, OBJECT_ID_SIZE);
    struct object_id tree_id = add(batch, OBJECT_TREE, tree, (size_t)length + OBJECT_ID_SIZE);
    object_id_format(&tree_id, hex);
    g_string_printf(text, "tree %s\n", hex);
    if (!object_id_is_zero(parent)) {
        object_id_format(parent, hex);
        g_string_append_printf(text, "parent %s\n", hex);
    }
    g_string_append_printf(text,
                           "author T <t@example.org> %u +0000\n"
                           "committer T <t@example.org> %u +0000\n\nNumber %u\n",
                           1700000000 + number, 1700000000 + number, number);
    struct object_id commit = add(batch, OBJECT_COMMIT, text->str, text->len);
    g_string_free(text, TRUE);
    return commit;
}

/* Commits once; 0, or STORE_CONFLICT when git was faster. */
static int commit_next(unsigned number, struct object_id *blob)
{
    struct object_batch *batch;
    struct ref_update update = {.name = "refs/heads/INBOX"};

    int result = refs_read(refs, update.name, &update.before, &error);
    ck_assert_msg(result == 0 || result == STORE_NOT_FOUND, "%s", error.detail);
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    update.after = add_commit(batch, number, &update.before, blob);
    ck_assert_msg(object_batch_write(batch, true, &error) == 0, "%s", error.detail);
    result = refs_commit(refs, &update, 1, &error);
    ck_assert_msg(result == 0 || result == STORE_CONFLICT, "%s", error.detail);
    object_batch_free(batch);
    return result;
}

/* Runs git commands, one after the other, until it is killed; exits if one fails. */
static pid_t start_git_loop(bool rewrite)
{
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child != 0) {
        return child;
    }
    setpgid(0, 0);
    for (unsigned i = 0;; i++) {
        char name[32];
        bool good;

        snprintf(name, sizeof(name), "../clone-%u", i);
        if (rewrite) {
            good = i % 3 == 0   ? GIT(repository, "gc", "-q", "--prune=now")
                   : i % 3 == 1 ? GIT(repository, "repack", "-q", "-a", "-d")
                                : GIT(repository, "pack-refs", "--all");
        } else {
            good = GIT(repository, "clone", "-q", "--mirror", "--no-local", ".", name) &&
                   GIT(repository, "-C", name, "fsck", "--strict");
        }
        if (!good) {
            _exit(1);
        }
    }
}

static void check_running_and_stop(pid_t child)
{
    int status;

    ck_assert_msg(waitpid(child, &status, WNOHANG) == 0, "git failed beside us");
    kill(-child, SIGKILL);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

static void read_some(const GArray *blobs, unsigned number)
{
    for (unsigned i = 0; i < READS_A_ROUND && blobs->len > 0; i++) {
        unsigned at = (number * 7919 + i * 104729) % blobs->len;
        struct object_data data;

        ck_assert_msg(objects_read(objects, &g_array_index(blobs, struct object_id, at),
                                   OBJECT_BLOB, &data, &error) == 0,
                      "%u: %s", at, error.detail);
        object_data_release(&data);
    }
}

static void write_beside(bool rewrite)
{
    GArray *blobs = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    unsigned number = 0;
    char expected[32];
    struct object_id blob;

    while (number < 50) {
        ck_assert_int_eq(commit_next(number++, &blob), 0);
        g_array_append_val(blobs, blob);
    }
    pid_t child = start_git_loop(rewrite);
    time_t end = time(NULL) + SECONDS;
    while (time(NULL) < end) {
        while (commit_next(number, &blob) != 0) {
        }
        number++;
        g_array_append_val(blobs, blob);
        read_some(blobs, number);
        if (number % 64 == 0) {
            objects_maintain(objects);
        }
    }
    check_running_and_stop(child);
    read_some(blobs, number);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    char *count = GIT_OUTPUT(repository, "rev-list", "--count", "INBOX");
    ck_assert_ptr_nonnull(count);
    snprintf(expected, sizeof(expected), "%u\n", number);
    ck_assert_str_eq(count, expected);
    free(count);
    g_array_free(blobs, TRUE);
}

START_TEST(test_engine__loses_nothing_while_git_rewrites_the_repository)
{
    write_beside(true);
}
END_TEST

START_TEST(test_engine__can_be_cloned_at_any_moment)
{
    write_beside(false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine");
    TCase *tests = tcase_create("engine");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_engine__loses_nothing_while_git_rewrites_the_repository);
    tcase_add_test(tests, test_engine__can_be_cloned_at_any_moment);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
