#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "store/internal/refs.h"
#include "tests/faulty_host.h"
#include "tests/store_fixture.h"

enum { FAULTS_MAX = 200, COMMITS = 3 };

static char *directory;
static char *repository;
static struct refs *refs;
static struct faulty_host faulty;
static struct store_error error;

static const struct object_id none;
static struct object_id commits[COMMITS];
static char commit_hex[COMMITS][OBJECT_ID_HEX + 1];

/* Stock git's own commits: references that point to nothing would not pass fsck. */
static void make_commits(void)
{
    char *tree = GIT_OUTPUT(repository, "hash-object", "-t", "tree", "-w", "/dev/null");

    ck_assert_ptr_nonnull(tree);
    tree[OBJECT_ID_HEX] = '\0';
    for (int i = 0; i < COMMITS; i++) {
        char message[] = {(char)('a' + i), '\0'};
        char *commit = GIT_OUTPUT(repository, "commit-tree", "-m", message, tree);

        ck_assert_ptr_nonnull(commit);
        commit[OBJECT_ID_HEX] = '\0';
        ck_assert(object_id_parse(&commits[i], commit));
        memcpy(commit_hex[i], commit, sizeof(commit_hex[i]));
        free(commit);
    }
    free(tree);
}

static void open_refs(void)
{
    ck_assert_msg(refs_open(&refs, repository, &faulty.host, &error) == 0, "%s", error.detail);
}

static void reopen(void)
{
    refs_close(refs);
    open_refs();
}

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    make_commits();
    faulty_host_init(&faulty);
    open_refs();
}

static void teardown(void)
{
    refs_close(refs);
    free(repository);
    fixture_remove(directory);
}

static int move(const char *name, struct object_id before, struct object_id after)
{
    struct ref_update update = {name, before, after};

    return refs_commit(refs, &update, 1, &error);
}

/* Number of commits[]; -1: no such reference. */
static int value(const char *name)
{
    struct object_id id;
    int result = refs_read(refs, name, &id, &error);

    if (result == STORE_NOT_FOUND) {
        return -1;
    }
    ck_assert_msg(result == 0, "%s: %s", name, error.detail);
    for (int i = 0; i < COMMITS; i++) {
        if (object_id_equal(&id, &commits[i])) {
            return i;
        }
    }
    ck_abort_msg("%s has an unknown value", name);
    return -2;
}

static int value_for_git(const char *name)
{
    char *output =
        GIT_OUTPUT(repository, "for-each-ref", "--format=%(objectname) %(refname)", name);
    int found = -1;

    ck_assert_ptr_nonnull(output);
    for (int i = 0; i < COMMITS; i++) {
        if (strncmp(output, commit_hex[i], OBJECT_ID_HEX) == 0) {
            found = i;
        }
    }
    free(output);
    return found;
}

static void check_value(const char *name, int expected)
{
    ck_assert_int_eq(value(name), expected);
    ck_assert_int_eq(value_for_git(name), expected);
}

static void write_file(const char *name, const char *text)
{
    char *path = fixture_path(repository, name);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    free(path);
}

static bool file_exists(const char *name)
{
    char *path = fixture_path(repository, name);
    bool exists = access(path, F_OK) == 0;

    free(path);
    return exists;
}

static int leftovers;

static int count_leftover(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    const char *name = path + where->base;

    leftovers += g_str_has_suffix(name, ".lock") || strcmp(name, "annal-transaction") == 0;
    return 0;
}

/* Lock and transaction files in the repository. */
static int count_leftovers(void)
{
    leftovers = 0;
    nftw(repository, count_leftover, 16, FTW_PHYS);
    return leftovers;
}

START_TEST(test_refs__are_created_moved_and_deleted)
{
    ck_assert_int_eq(value("refs/heads/A"), -1);
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    check_value("refs/heads/A", 0);
    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[1]), 0);
    check_value("refs/heads/A", 1);
    ck_assert_int_eq(move("refs/heads/A", commits[1], none), 0);
    check_value("refs/heads/A", -1);
    ck_assert_int_eq(move("refs/deleted/A.B/12", none, commits[0]), 0);
    check_value("refs/deleted/A.B/12", 0);
    ck_assert_int_eq(move("refs/deleted/A.B/12", commits[0], none), 0);
    ck_assert(!file_exists("refs/deleted/A.B"));
    ck_assert_int_eq(refs_sync(refs, &error), 0);
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

START_TEST(test_refs__move_only_from_the_value_they_have)
{
    const struct {
        struct object_id before;
        struct object_id after;
    } wrong[] = {{commits[1], commits[2]}, {none, commits[1]}, {commits[1], none}};

    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[1]), STORE_CONFLICT);
    ck_assert_int_eq(move("refs/heads/A", commits[0], none), STORE_CONFLICT);
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    for (int packed = 0; packed < 2; packed++) {
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
            ck_assert_int_eq(move("refs/heads/A", wrong[i].before, wrong[i].after), STORE_CONFLICT);
            check_value("refs/heads/A", 0);
        }
        ck_assert(GIT(repository, "pack-refs", "--all"));
    }
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

START_TEST(test_refs__packed_by_git_are_read_moved_and_deleted)
{
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert_int_eq(move("refs/heads/B", none, commits[1]), 0);
    ck_assert(GIT(repository, "tag", "-a", "-m", "t", "t", commit_hex[2]));
    ck_assert(GIT(repository, "pack-refs", "--all", "--prune"));
    ck_assert(!file_exists("refs/heads/A"));
    check_value("refs/heads/A", 0);
    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[2]), 0);
    check_value("refs/heads/A", 2);
    ck_assert_int_eq(move("refs/heads/A", commits[2], none), 0);
    check_value("refs/heads/A", -1);
    check_value("refs/heads/B", 1);
    ck_assert_int_eq(move("refs/heads/B", commits[1], none), 0);
    check_value("refs/heads/B", -1);
    char *peeled = GIT_OUTPUT(repository, "rev-parse", "refs/tags/t^{commit}");
    ck_assert_ptr_nonnull(peeled);
    ck_assert_int_eq(strncmp(peeled, commit_hex[2], OBJECT_ID_HEX), 0);
    free(peeled);
    ck_assert(GIT(repository, "fsck", "--strict"));
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

START_TEST(test_refs__are_listed_sorted_loose_over_packed)
{
    static const char *const expected[] = {"refs/heads/A", "refs/heads/B", "refs/heads/x/y",
                                           "refs/heads/z"};
    GPtrArray *list;

    ck_assert_int_eq(move("refs/heads/z", none, commits[0]), 0);
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert_int_eq(move("refs/annal/account", none, commits[0]), 0);
    ck_assert(GIT(repository, "pack-refs", "--all"));
    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[1]), 0);
    ck_assert_int_eq(move("refs/heads/B", none, commits[2]), 0);
    ck_assert(GIT(repository, "update-ref", "refs/heads/x/y", commit_hex[1]));
    write_file("refs/heads/broken", "nothing\n");
    write_file("refs/heads/empty", "");
    ck_assert_int_eq(refs_list(refs, "refs/heads/", &list, &error), 0);
    ck_assert_uint_eq(list->len, G_N_ELEMENTS(expected));
    for (guint i = 0; i < list->len; i++) {
        const struct ref_entry *entry = list->pdata[i];

        ck_assert_str_eq(entry->name, expected[i]);
    }
    ck_assert(object_id_equal(&((struct ref_entry *)list->pdata[0])->id, &commits[1]));
    g_ptr_array_free(list, TRUE);
    struct object_id id;
    ck_assert_int_eq(refs_read(refs, "refs/heads/broken", &id, &error), STORE_CORRUPT);
    ck_assert_int_eq(refs_read(refs, "refs/heads/empty", &id, &error), STORE_CORRUPT);
    ck_assert_int_eq(move("refs/heads/empty", none, commits[0]), STORE_CORRUPT);
}
END_TEST

START_TEST(test_refs__see_what_others_write_at_once)
{
    for (int i = 0; i < 30; i++) {
        char text[OBJECT_ID_HEX + 2];

        snprintf(text, sizeof(text), "%s\n", commit_hex[i % COMMITS]);
        write_file("refs/heads/A.new", text);
        char *from = fixture_path(repository, "refs/heads/A.new");
        char *to = fixture_path(repository, "refs/heads/A");
        ck_assert_int_eq(rename(from, to), 0);
        free(from);
        free(to);
        ck_assert_int_eq(value("refs/heads/A"), i % COMMITS);
        ck_assert(refs_changed_outside(refs));
    }
}
END_TEST

START_TEST(test_refs__are_looked_at_once_in_a_turn)
{
    uint64_t turn = 1;

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    refs_set_turn(refs, &turn);
    ck_assert_int_eq(value("refs/heads/A"), 0);
    ck_assert(GIT(repository, "update-ref", "refs/heads/A", commit_hex[1]));
    ck_assert_int_eq(value("refs/heads/A"), 0);
    turn++;
    ck_assert_int_eq(value("refs/heads/A"), 1);

    /* Who has tried to move it must see why that failed. */
    ck_assert(GIT(repository, "update-ref", "refs/heads/A", commit_hex[2]));
    ck_assert_int_eq(value("refs/heads/A"), 1);
    ck_assert_int_eq(move("refs/heads/A", commits[1], commits[0]), STORE_CONFLICT);
    ck_assert_int_eq(value("refs/heads/A"), 2);
    turn++;
    ck_assert_int_eq(value("refs/heads/A"), 2);
    ck_assert_int_eq(move("refs/heads/A", commits[2], commits[0]), 0);
    ck_assert_int_eq(value("refs/heads/A"), 0);
}
END_TEST

START_TEST(test_refs__changed_by_others_are_noticed_and_our_own_are_not)
{
    struct ref_update both[] = {{"refs/heads/A", commits[0], commits[1]},
                                {"refs/deleted/B/1", none, commits[2]}};

    ck_assert(!refs_changed_outside(refs));
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert(!refs_changed_outside(refs));
    ck_assert_int_eq(refs_commit(refs, both, 2, &error), 0);
    ck_assert(!refs_changed_outside(refs));
    ck_assert_int_eq(move("refs/deleted/B/1", commits[2], none), 0);
    ck_assert(!refs_changed_outside(refs));

    /* Ours and another's in the same directory, in the same tick. */
    ck_assert(GIT(repository, "update-ref", "refs/heads/B", commit_hex[1]));
    ck_assert_int_eq(move("refs/heads/A", commits[1], commits[2]), 0);
    ck_assert(refs_changed_outside(refs));
    ck_assert(!refs_changed_outside(refs));

    ck_assert(GIT(repository, "update-ref", "refs/heads/A", commit_hex[0]));
    ck_assert_int_eq(value("refs/heads/A"), 0);
    ck_assert(refs_changed_outside(refs));
    ck_assert(!refs_changed_outside(refs));

    ck_assert(GIT(repository, "update-ref", "-d", "refs/heads/B"));
    ck_assert(refs_changed_outside(refs));
    ck_assert(GIT(repository, "update-ref", "refs/heads/new/directory", commit_hex[0]));
    ck_assert(refs_changed_outside(refs));
    ck_assert(GIT(repository, "update-ref", "refs/heads/new/directory", commit_hex[1]));
    ck_assert(refs_changed_outside(refs));
    ck_assert(GIT(repository, "update-ref", "-d", "refs/heads/new/directory"));
    ck_assert(refs_changed_outside(refs));
    ck_assert(!refs_changed_outside(refs));
    ck_assert(GIT(repository, "pack-refs", "--all"));
    ck_assert(refs_changed_outside(refs));
    ck_assert(!refs_changed_outside(refs));
    ck_assert_int_eq(move("refs/heads/A", commits[0], none), 0);
    ck_assert(!refs_changed_outside(refs));
}
END_TEST

START_TEST(test_refs__locked_by_another_conflict_after_a_wait)
{
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    write_file("refs/heads/A.lock", "");
    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[1]), STORE_CONFLICT);
    ck_assert(file_exists("refs/heads/A.lock"));
    check_value("refs/heads/A", 0);
    reopen();
    ck_assert_msg(file_exists("refs/heads/A.lock"), "somebody's fresh lock was removed");
}
END_TEST

START_TEST(test_refs__in_each_others_way_conflict)
{
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert_int_eq(move("refs/heads/A/B", none, commits[0]), STORE_CONFLICT);
    ck_assert(GIT(repository, "pack-refs", "--all"));
    ck_assert_int_eq(move("refs/heads/A/B", none, commits[0]), STORE_CONFLICT);
    ck_assert_int_eq(move("refs/heads/X/Y", none, commits[0]), 0);
    ck_assert_int_eq(move("refs/heads/X", none, commits[0]), STORE_CONFLICT);
    ck_assert_int_eq(count_leftovers(), 0);
    ck_assert(GIT(repository, "fsck", "--strict"));
}
END_TEST

START_TEST(test_refs__locks_of_a_killed_process_are_removed_others_stay)
{
    int ready[2];
    char byte;

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert_int_eq(pipe(ready), 0);
    for (unsigned k = 1; k < 12; k++) {
        pid_t child = fork();

        ck_assert_int_ge(child, 0);
        if (child == 0) {
            struct refs *own;
            struct object_id now;

            /* Stopping at the k-th call is being killed there. */
            if (refs_open(&own, repository, &faulty.host, &error) == 0 &&
                refs_read(own, "refs/heads/A", &now, &error) == 0) {
                struct ref_update update = {"refs/heads/A", now, commits[k % COMMITS]};

                faulty_host_arm(&faulty, k, true, EIO);
                refs_commit(own, &update, 1, &error);
                byte = (char)write(ready[1], "x", 1);
            }
            kill(getpid(), SIGKILL);
        }
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        reopen();
        ck_assert_int_eq(count_leftovers(), 0);
        struct object_id now;
        ck_assert_int_eq(refs_read(refs, "refs/heads/A", &now, &error), 0);
        ck_assert_int_eq(move("refs/heads/A", now, commits[(k + 1) % COMMITS]), 0);
    }
}
END_TEST

/* A process of its own opens the repository, stops at its k-th call in this commit, and is killed.
 * False if it has come to the end of the commit. */
static bool die_in_commit(const struct ref_update *updates, size_t count, unsigned k)
{
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct refs *own;

        if (refs_open(&own, repository, &faulty.host, &error) == 0) {
            faulty_host_arm(&faulty, k, true, EIO);
            refs_commit(own, updates, count, &error);
        }
        _exit(faulty.failed ? 1 : 0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status) == 1;
}

START_TEST(test_refs__locks_of_a_process_killed_meanwhile_hold_up_nobody)
{
    struct ref_update update = {"refs/heads/A", commits[0], commits[1]};

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    for (unsigned k = 2; k < 5; k++) {
        ck_assert(die_in_commit(&update, 1, k));
        ck_assert_int_eq(move("refs/heads/A", commits[0], commits[2]), 0);
        ck_assert_int_eq(count_leftovers(), 0);
        ck_assert_int_eq(move("refs/heads/A", commits[2], commits[0]), 0);
    }
}
END_TEST

/* Whoever has been at it all the time must not move a reference from under a half-done step. */
START_TEST(test_refs__a_step_that_others_left_half_done_is_finished_before_the_next)
{
    unsigned halves = 0;
    bool died = true;

    for (unsigned k = 1; k < FAULTS_MAX && died; k++) {
        teardown();
        setup();
        ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
        ck_assert_int_eq(move("refs/heads/B", none, commits[0]), 0);
        const struct ref_update both[] = {{"refs/heads/A", commits[0], commits[1]},
                                          {"refs/heads/B", commits[0], commits[1]}};
        died = die_in_commit(both, 2, k);
        bool begun = value("refs/heads/A") == 1;
        halves += begun && value("refs/heads/B") == 0;
        int result = move("refs/heads/B", commits[0], commits[2]);
        if (begun) {
            ck_assert_int_eq(result, STORE_CONFLICT);
        }
        reopen();
        check_value("refs/heads/B", result == 0 ? 2 : 1);
        ck_assert_msg(value("refs/heads/A") == value("refs/heads/B") || result == 0, "half a step");
        ck_assert_msg(!begun || value("refs/heads/A") == 1, "taken back");
    }
    ck_assert_uint_gt(halves, 0);
}
END_TEST

/* What a recovery asked to be durable, and whether that was before it forgot the transaction. */
static bool synced_heads;
static bool forgot_unsynced;

static int note_fsync_directory(void *data, const char *path)
{
    synced_heads = synced_heads || g_str_has_suffix(path, "/refs/heads");
    return host_system()->fsync_directory(data, path);
}

static int note_unlink(void *data, const char *path)
{
    if (g_str_has_suffix(path, "annal-transaction")) {
        forgot_unsynced = !synced_heads;
    }
    return host_system()->unlink(data, path);
}

START_TEST(test_refs__what_a_killed_process_moved_is_durable_before_its_record_goes)
{
    struct host noting = *host_system();
    bool died = true;

    noting.fsync_directory = note_fsync_directory;
    noting.unlink = note_unlink;
    for (unsigned k = 1; k < FAULTS_MAX && died; k++) {
        teardown();
        setup();
        const struct ref_update both[] = {{"refs/heads/A", none, commits[1]},
                                          {"refs/heads/B", none, commits[1]}};
        died = die_in_commit(both, 2, k);
        bool moved = file_exists("refs/heads/A");
        struct refs *own;
        synced_heads = false;
        forgot_unsynced = false;
        ck_assert_int_eq(refs_open(&own, repository, &noting, &error), 0);
        ck_assert(!moved || !forgot_unsynced);
        refs_close(own);
    }
}
END_TEST

/* git pack-refs may be writing down the reference at the moment: it holds this lock. */
START_TEST(test_refs__are_deleted_only_under_the_lock_of_packed_refs)
{
    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    write_file("packed-refs.lock", "");
    ck_assert_int_eq(move("refs/heads/A", commits[0], none), STORE_CONFLICT);
    check_value("refs/heads/A", 0);
    ck_assert_int_eq(move("refs/heads/A", commits[0], commits[1]), 0);
    char *lock = fixture_path(repository, "packed-refs.lock");
    ck_assert_int_eq(unlink(lock), 0);
    free(lock);
    ck_assert_int_eq(move("refs/heads/A", commits[1], none), 0);
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

START_TEST(test_refs__stale_locks_are_removed_when_opening)
{
    static const char *const names[] = {"refs/heads/A.lock", "packed-refs.lock"};

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct utimbuf old = {1000000000, 1000000000};
        char *path = fixture_path(repository, names[i]);

        write_file(names[i], "");
        ck_assert_int_eq(utime(path, &old), 0);
        free(path);
    }
    reopen();
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

/* The state before and after each kind of commit: moves, creations and deletions, packed too. */
static const char *const fault_names[] = {"refs/heads/A", "refs/heads/B", "refs/heads/C",
                                          "refs/deleted/D/7"};
static const int before_values[] = {0, 1, 2, -1};
static const int after_values[] = {1, -1, -1, 2};

static struct object_id id_of(int number)
{
    return number < 0 ? none : commits[number];
}

static void make_before(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(fault_names); i++) {
        if (before_values[i] >= 0) {
            ck_assert_int_eq(move(fault_names[i], none, id_of(before_values[i])), 0);
        }
        if (i == 1) {
            ck_assert(GIT(repository, "pack-refs", "--all"));
        }
    }
    ck_assert_int_eq(refs_sync(refs, &error), 0);
}

/* The commit itself has succeeded, whatever the sync after it did. */
static bool committed;

static int commit_faulty(size_t first, size_t count)
{
    struct ref_update updates[G_N_ELEMENTS(fault_names)];

    for (size_t i = 0; i < count; i++) {
        updates[i] = (struct ref_update){fault_names[first + i], id_of(before_values[first + i]),
                                         id_of(after_values[first + i])};
    }
    int result = refs_commit(refs, updates, count, &error);
    committed = result == 0;
    if (result == 0) {
        result = refs_sync(refs, &error);
    }
    return result;
}

static bool state_is(const int *values, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        int seen = value(fault_names[i]);

        ck_assert_int_eq(value_for_git(fault_names[i]), seen);
        if (seen != values[i]) {
            return false;
        }
    }
    return true;
}

static void check_all_or_nothing(bool stop, size_t first, size_t count)
{
    faulty_host_arm(&faulty, 0, false, 0);
    if (!stop) {
        /* The living process goes on: what failed stays undone. */
        ck_assert(state_is(committed ? after_values : before_values, first, count));
    }
    reopen();
    bool before = state_is(before_values, first, count);
    bool after = state_is(after_values, first, count);
    ck_assert_msg(before || after, "half a commit");
    ck_assert(!committed || after);
    ck_assert_int_eq(count_leftovers(), 0);
    ck_assert(GIT(repository, "fsck", "--strict"));
}

/* Each call fails once. _i: bit 0 that call alone or all later ones too; the rest which commit:
 * each reference alone, then all together. */
START_TEST(test_refs__all_move_or_none_whichever_call_fails)
{
    bool stop = (_i & 1) != 0;
    size_t all = G_N_ELEMENTS(fault_names);
    size_t first = (size_t)_i / 2 == all ? 0 : (size_t)_i / 2;
    size_t count = (size_t)_i / 2 == all ? all : 1;
    unsigned failures = 0;
    unsigned k;

    for (k = 1; k < FAULTS_MAX; k++) {
        teardown();
        setup();
        make_before();
        faulty_host_arm(&faulty, k, stop, k % 2 == 0 ? EIO : ENOSPC);
        int result = commit_faulty(first, count);
        bool failed = faulty.failed;
        failures += result < 0;
        check_all_or_nothing(stop, first, count);
        if (!failed) {
            break;
        }
    }
    ck_assert_uint_lt(k, FAULTS_MAX);
    ck_assert_uint_ge(failures, count == 1 ? 2 : 15);
}
END_TEST

START_TEST(test_refs__a_failed_commit_can_be_tried_again)
{
    for (unsigned k = 1; k < 40; k++) {
        teardown();
        setup();
        make_before();
        faulty_host_arm(&faulty, k, false, EIO);
        int result = commit_faulty(0, G_N_ELEMENTS(fault_names));
        faulty_host_arm(&faulty, 0, false, 0);
        if (result < 0 && !committed) {
            ck_assert_msg(commit_faulty(0, G_N_ELEMENTS(fault_names)) == 0, "%u: %s", k,
                          error.detail);
        }
        ck_assert(state_is(after_values, 0, G_N_ELEMENTS(fault_names)));
        /* A lock file that could not be removed goes at the next chance. */
        reopen();
        ck_assert_int_eq(count_leftovers(), 0);
    }
}
END_TEST

START_TEST(test_refs__a_transaction_of_a_dead_process_is_completed)
{
    char before[OBJECT_ID_HEX + 1];
    char *path = fixture_path(repository, "annal-transaction");
    struct stat status;
    unsigned k;
    bool seen = false;

    object_id_format(&none, before);
    for (k = 1; k < FAULTS_MAX && !seen; k++) {
        teardown();
        setup();
        make_before();
        faulty_host_arm(&faulty, k, true, EIO);
        commit_faulty(0, G_N_ELEMENTS(fault_names));
        free(path);
        path = fixture_path(repository, "annal-transaction");
        seen = stat(path, &status) == 0 && status.st_size > 300;
    }
    ck_assert(seen);
    /* Somebody moved one of them on meanwhile: that stands. */
    faulty_host_arm(&faulty, 0, false, 0);
    refs_close(refs);
    char *lock = fixture_path(repository, "refs/heads/C.lock");
    unlink(lock);
    free(lock);
    ck_assert(GIT(repository, "update-ref", "refs/heads/C", commit_hex[0]));
    open_refs();
    check_value("refs/heads/A", 1);
    check_value("refs/heads/B", -1);
    check_value("refs/heads/C", 0);
    check_value("refs/deleted/D/7", 2);
    ck_assert_int_eq(count_leftovers(), 0);
    free(path);
}
END_TEST

START_TEST(test_refs__a_torn_transaction_is_dropped)
{
    static const char *const torn[] = {"", "annal-transaction 1\n", "annal-transaction 1\nend 0\n",
                                       "annal-transaction 1\nrefs/heads/A x y\nend 00000000\n",
                                       "annal-transaction 2\nend 00000000\n"};

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(torn); i++) {
        write_file("annal-transaction", torn[i]);
        reopen();
        check_value("refs/heads/A", 0);
        ck_assert_int_eq(count_leftovers(), 0);
    }
    /* Whole but for its sum. */
    g_autofree char *text = g_strdup_printf(
        "annal-transaction 1\nrefs/heads/A %s %s\nend 00000000\n", commit_hex[0], commit_hex[1]);
    write_file("annal-transaction", text);
    reopen();
    check_value("refs/heads/A", 0);
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

/* Two processes and stock git move one reference: every success is seen by the next one. */
START_TEST(test_refs__moved_from_all_sides_lose_no_update)
{
    enum { ROUNDS = 150 };
    int results[2];

    ck_assert_int_eq(move("refs/heads/A", none, commits[0]), 0);
    ck_assert_int_eq(pipe(results), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    unsigned char moved = 0;
    reopen();
    for (int i = 0; i < ROUNDS; i++) {
        struct object_id now;
        struct object_id next;

        ck_assert_int_eq(refs_read(refs, "refs/heads/A", &now, &error), 0);
        next = object_id_equal(&now, &commits[0]) ? commits[1] : commits[0];
        int result = move("refs/heads/A", now, next);
        ck_assert(result == 0 || result == STORE_CONFLICT);
        moved = (unsigned char)(moved + (result == 0));
        if (child != 0 && i % 15 == 0) {
            GIT(repository, "pack-refs", "--all");
        }
    }
    if (child == 0) {
        _exit(write(results[1], &moved, 1) == 1 ? 0 : 1);
    }
    unsigned char other;
    int status;
    ck_assert_int_eq(read(results[0], &other, 1), 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    /* Each success flips the value. */
    check_value("refs/heads/A", (moved + other) % 2);
    ck_assert_int_eq(count_leftovers(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refs");
    TCase *tests = tcase_create("refs");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_refs__are_created_moved_and_deleted);
    tcase_add_test(tests, test_refs__move_only_from_the_value_they_have);
    tcase_add_test(tests, test_refs__packed_by_git_are_read_moved_and_deleted);
    tcase_add_test(tests, test_refs__are_listed_sorted_loose_over_packed);
    tcase_add_test(tests, test_refs__see_what_others_write_at_once);
    tcase_add_test(tests, test_refs__are_looked_at_once_in_a_turn);
    tcase_add_test(tests, test_refs__changed_by_others_are_noticed_and_our_own_are_not);
    tcase_add_test(tests, test_refs__locked_by_another_conflict_after_a_wait);
    tcase_add_test(tests, test_refs__in_each_others_way_conflict);
    tcase_add_test(tests, test_refs__locks_of_a_killed_process_are_removed_others_stay);
    tcase_add_test(tests, test_refs__locks_of_a_process_killed_meanwhile_hold_up_nobody);
    tcase_add_test(tests, test_refs__a_step_that_others_left_half_done_is_finished_before_the_next);
    tcase_add_test(tests, test_refs__what_a_killed_process_moved_is_durable_before_its_record_goes);
    tcase_add_test(tests, test_refs__are_deleted_only_under_the_lock_of_packed_refs);
    tcase_add_test(tests, test_refs__stale_locks_are_removed_when_opening);
    tcase_add_loop_test(tests, test_refs__all_move_or_none_whichever_call_fails, 0,
                        2 * (int)G_N_ELEMENTS(fault_names) + 2);
    tcase_add_test(tests, test_refs__a_failed_commit_can_be_tried_again);
    tcase_add_test(tests, test_refs__a_transaction_of_a_dead_process_is_completed);
    tcase_add_test(tests, test_refs__a_torn_transaction_is_dropped);
    tcase_add_test(tests, test_refs__moved_from_all_sides_lose_no_update);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
