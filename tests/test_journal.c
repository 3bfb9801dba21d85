#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/journal_fixture.h"
#include "tests/lossy_host.h"
#include "tests/store_fixture.h"

static char *directory, *path;
static struct store_error failure;

static void setup(void)
{
    directory = fixture_directory();
    path = fixture_path(directory, "journal");
}

static void teardown(void)
{
    free(path);
    fixture_remove(directory);
}

static int open_code(uint64_t size)
{
    struct journal *journal = NULL;
    int result = journal_open(&journal, path, size, quiet_host(), &failure);

    journal_close(journal);
    return result;
}

/* The length of a record whose frame takes that many blocks. */
static size_t record_of_blocks(size_t blocks)
{
    return RECORD_ONE_BLOCK + (blocks - 1) * JOURNAL_BLOCK;
}

/* Ring */

START_TEST(test_journal__gives_back_every_record_over_many_laps_and_reopenings)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    uint32_t state = 99, end = 0, first = 0, synced = 0;
    uint64_t octets = 0, sequence = 0;

    struct journal *journal = open_journal(path, quiet_host(), numbers);
    while (octets < 40 * (uint64_t)JOURNAL_SIZE_MIN) {
        int result = append_any(journal, end, &failure);

        if (result == 0) {
            end++;
        }
        if (result == STORE_LIMIT || lossy_random(&state) % 3 == 0) {
            size_t waiting = journal_waiting(journal);
            uint64_t used = journal_used(journal);

            ck_assert_int_eq(journal_sync(journal, &failure), 0);
            ck_assert_uint_eq(journal_waiting(journal), 0);
            ck_assert_uint_ge(journal_used(journal), used + waiting);
            ck_assert_uint_le(journal_used(journal) + journal_room(journal), RING_OCTETS);
            ck_assert_uint_eq(journal_written(journal), sequence + (end > synced ? 1 : 0));
            sequence = journal_written(journal);
            octets += waiting;
            synced = end;
        }
        if (result == STORE_LIMIT) {
            ck_assert_int_eq(journal_checkpoint(journal, sequence, &failure), 0);
            ck_assert_uint_eq(journal_used(journal), 0);
            first = end;
        }
        if (lossy_random(&state) % 16 == 0) {
            journal_close(journal);
            end = synced;
            g_array_set_size(numbers, 0);
            journal = open_journal(path, quiet_host(), numbers);
            ck_assert_uint_eq(numbers->len, end - first);
            ck_assert_uint_eq(journal_written(journal), sequence);
        }
    }
    journal_close(journal);
    check_content(path, first, synced);
    g_array_free(numbers, TRUE);
}
END_TEST

START_TEST(test_journal__forgets_what_a_checkpoint_names_and_nothing_else)
{
    enum { FRAMES = 8, OFFSETS = 24 };

    /* From every part of the ring, so that the frames go over its end in every way. */
    for (uint32_t offset = 0; offset < OFFSETS; offset++) {
        for (uint32_t gone = 0; gone <= FRAMES; gone++) {
            struct journal *journal = open_journal(path, quiet_host(), NULL);

            write_record(journal, 999, record_of_blocks(20));
            write_record(journal, 999, record_of_blocks(RING_BLOCKS - OFFSETS - 20 + offset));
            uint64_t before = journal_written(journal);
            ck_assert_int_eq(journal_checkpoint(journal, before, &failure), 0);
            for (uint32_t n = 0; n < FRAMES; n++) {
                write_record(journal, n, 4 + n % 3 * JOURNAL_BLOCK);
            }
            ck_assert_uint_eq(journal_written(journal), before + FRAMES);
            ck_assert_int_eq(journal_checkpoint(journal, before + gone, &failure), 0);
            ck_assert_int_eq(journal_checkpoint(journal, before, &failure), 0);
            journal_close(journal);
            check_content(path, gone, FRAMES);
            ck_assert_int_eq(unlink(path), 0);
        }
    }
}
END_TEST

START_TEST(test_journal__refuses_a_record_without_room_and_keeps_all_others)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);
    uint32_t end = 0;

    for (int lap = 0; lap < 5; lap++) {
        uint32_t first = end;

        while (append_record(journal, end, 9000, &failure) == 0) {
            if (++end % 4 == 0) {
                ck_assert_int_eq(journal_sync(journal, &failure), 0);
            }
        }
        ck_assert_int_eq(failure.code, STORE_LIMIT);
        size_t waiting = journal_waiting(journal);
        ck_assert_int_eq(append_record(journal, 7, 9000, &failure), STORE_LIMIT);
        ck_assert_uint_eq(journal_waiting(journal), waiting);
        ck_assert_int_eq(journal_sync(journal, &failure), 0);
        ck_assert_int_eq(append_record(journal, 7, 60000, &failure), STORE_LIMIT);
        ck_assert_uint_eq(journal_waiting(journal), 0);
        journal_close(journal);
        check_content(path, first, end);
        journal = open_journal(path, quiet_host(), NULL);
        ck_assert_int_eq(append_record(journal, 7, 60000, &failure), STORE_LIMIT);
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
    }
    journal_close(journal);
}
END_TEST

START_TEST(test_journal__takes_the_longest_record_wherever_the_empty_ring_begins)
{
    for (uint32_t block = 0; block < RING_BLOCKS; block++) {
        struct journal *journal = open_journal(path, quiet_host(), NULL);
        size_t max = journal_record_max(journal);

        for (uint32_t i = 0; i < block; i++) {
            ck_assert_int_eq(append_record(journal, i, RECORD_ONE_BLOCK, &failure), 0);
            if (i % 2 == 0) {
                ck_assert_int_eq(journal_sync(journal, &failure), 0);
            }
        }
        ck_assert_int_eq(journal_sync(journal, &failure), 0);
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
        write_record(journal, 0, max);
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
        write_record(journal, 0, max);
        journal_close(journal);
        check_content(path, 0, 1);
        ck_assert_int_eq(unlink(path), 0);
    }
    struct journal *journal = open_journal(path, quiet_host(), NULL);
    ck_assert_int_eq(append_record(journal, 0, (size_t)RING_BLOCKS * JOURNAL_BLOCK, &failure),
                     STORE_LIMIT);
    struct journal_piece absurd[] = {{NULL, 0}, {"x", SIZE_MAX}, {"y", SIZE_MAX}};
    ck_assert_int_eq(journal_append(journal, absurd, 3, &failure), STORE_LIMIT);
    ck_assert_int_eq(journal_sync(journal, &failure), 0);
    ck_assert_uint_eq(journal_used(journal), 0);
    journal_close(journal);
}
END_TEST

START_TEST(test_journal__uses_the_ring_to_its_last_block)
{
    /* The tail at each block, and the last frame up to it. */
    for (uint32_t tail = 1; tail < 20; tail++) {
        for (uint32_t left = 0; left < 3; left++) {
            struct journal *journal = open_journal(path, quiet_host(), NULL);

            write_record(journal, 0, record_of_blocks(tail));
            write_record(journal, 1, record_of_blocks(20));
            write_record(journal, 2, record_of_blocks(RING_BLOCKS - 20 - tail - left));
            ck_assert_int_eq(journal_checkpoint(journal, 1, &failure), 0);
            bool skips = left > 0 && left < tail;
            if (left >= tail) {
                write_record(journal, 3, record_of_blocks(left));
            }
            ck_assert_uint_eq(journal_room(journal), tail * (uint64_t)JOURNAL_BLOCK);
            ck_assert_int_eq(append_record(journal, 4, record_of_blocks(tail) + 1, &failure),
                             STORE_LIMIT);
            ck_assert_int_eq(
                append_record(journal, left >= tail ? 4 : 3, record_of_blocks(tail), &failure), 0);
            ck_assert_uint_eq(journal_waiting(journal),
                              (tail + (skips ? 1 : 0)) * (uint64_t)JOURNAL_BLOCK);
            ck_assert_int_eq(journal_sync(journal, &failure), 0);
            ck_assert_uint_eq(journal_used(journal), RING_OCTETS);
            ck_assert_uint_eq(journal_room(journal), 0);
            ck_assert_int_eq(append_record(journal, 9, 4, &failure), STORE_LIMIT);
            journal_close(journal);
            check_content(path, 1, left >= tail ? 5 : 4);
            ck_assert_int_eq(unlink(path), 0);
        }
    }
}
END_TEST

START_TEST(test_journal__drops_what_was_not_synced)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    write_record(journal, 0, 100);
    ck_assert_int_eq(append_record(journal, 1, 100, &failure), 0);
    ck_assert_uint_eq(journal_waiting(journal), JOURNAL_BLOCK);
    journal_close(journal);
    check_content(path, 0, 1);
    journal_close(NULL);
}
END_TEST

struct stop {
    int seen, at;
};

static int stop_at(void *data, const void *record, size_t length, struct store_error *error)
{
    struct stop *stop = data;

    (void)record;
    (void)length;
    return ++stop->seen == stop->at ? store_error_set(error, STORE_FORBIDDEN, "enough") : 0;
}

START_TEST(test_journal__ends_the_replay_with_the_error_of_its_visitor)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    for (uint32_t n = 0; n < 9; n++) {
        ck_assert_int_eq(append_record(journal, n, 50, &failure), 0);
        if (n % 3 == 2) {
            ck_assert_int_eq(journal_sync(journal, &failure), 0);
        }
    }
    journal_close(journal);
    for (int at = 1; at <= 9; at++) {
        struct stop stop = {.at = at};

        ck_assert_int_eq(journal_open(&journal, path, JOURNAL_SIZE_MIN, quiet_host(), &failure), 0);
        ck_assert_int_eq(journal_replay(journal, stop_at, &stop, &failure), STORE_FORBIDDEN);
        ck_assert_int_eq(stop.seen, at);
        ck_assert_str_eq(failure.detail, "enough");
        journal_close(journal);
    }
    check_content(path, 0, 9);
}
END_TEST

/* The file */

START_TEST(test_journal__belongs_to_one_opener)
{
    struct journal *journal = open_journal(path, host_system(), NULL);
    char *temporary = fixture_path(directory, "journal.new");
    struct stat status;

    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(status.st_blocks * 512 >= JOURNAL_SIZE_MIN, 1);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CONFLICT);
    ck_assert_int_eq(open_code(2 * JOURNAL_SIZE_MIN), STORE_CONFLICT);
    journal_close(journal);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);

    /* Somebody else is making it; somebody died while making it. */
    ck_assert_int_eq(unlink(path), 0);
    int fd = open(temporary, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(pwrite(fd, "leftover", 8, 2 * JOURNAL_SIZE_MIN), 8);
    ck_assert_int_eq(pwrite(fd, "leftover", 8, JOURNAL_SIZE_MIN / 2), 8);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CONFLICT);
    ck_assert_int_ne(access(path, F_OK), 0);
    close(fd);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    ck_assert_int_ne(access(temporary, F_OK), 0);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, JOURNAL_SIZE_MIN);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(directory), 0);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_IO);
    free(temporary);
}
END_TEST

/* Somebody is faster: the file opened loses its name, or is made by somebody else. */
static int open_slowly(void *data, const char *name, int flags, mode_t mode)
{
    int fd = host_system()->open(NULL, name, flags, mode);

    (void)data;
    if ((flags & O_CREAT) == 0 && fd >= 0) {
        ck_assert_int_eq(unlink(name), 0);
    }
    write_image(path, (const uint8_t *)"x", 1);
    return fd;
}

START_TEST(test_journal__does_not_lock_a_file_that_lost_its_name)
{
    struct host host = *host_system();
    struct journal *journal;

    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    host.open = open_slowly;
    ck_assert_int_eq(journal_open(&journal, path, JOURNAL_SIZE_MIN, &host, &failure),
                     STORE_CONFLICT);
}
END_TEST

static int open_when_made(void *data, const char *name, int flags, mode_t mode)
{
    return (flags & O_CREAT) != 0 ? open_slowly(data, name, flags, mode)
                                  : host_system()->open(NULL, name, flags, mode);
}

START_TEST(test_journal__does_not_replace_what_somebody_else_made)
{
    struct host host = *host_system();
    struct journal *journal;
    size_t size;

    host.open = open_when_made;
    ck_assert_int_eq(journal_open(&journal, path, JOURNAL_SIZE_MIN, &host, &failure),
                     STORE_CONFLICT);
    uint8_t *image = read_image(path, &size);
    ck_assert_uint_eq(size, 1);
    free(image);
}
END_TEST

static bool written, renamed;

static int note_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    (void)data;
    written = true;
    return host_system()->pwrite(NULL, fd, bytes, length, offset);
}

static int note_sync(void *data, int fd)
{
    (void)data;
    (void)fd;
    written = false;
    return 0;
}

static int note_rename(void *data, const char *from, const char *to)
{
    (void)data;
    ck_assert(!written);
    renamed = true;
    return host_system()->rename(NULL, from, to);
}

static int note_fsync_directory(void *data, const char *name)
{
    (void)data;
    ck_assert_int_eq(strncmp(name, directory, strlen(directory)), 0);
    ck_assert_uint_le(strlen(name), strlen(directory) + 1);
    renamed = false;
    return 0;
}

START_TEST(test_journal__is_durable_under_its_name_before_it_is_open)
{
    struct host host = *host_system();
    struct journal *journal;

    host.pwrite = note_pwrite;
    host.fsync = host.fdatasync = note_sync;
    host.rename = note_rename;
    host.fsync_directory = note_fsync_directory;
    for (int i = 0; i < 3; i++) {
        /* Made; opened when its maker may have died before the last step; made anew. */
        renamed = true;
        written = i == 1;
        ck_assert_int_eq(journal_open(&journal, path,
                                      i == 2 ? 2 * JOURNAL_SIZE_MIN : JOURNAL_SIZE_MIN, &host,
                                      &failure),
                         0);
        ck_assert(!renamed && !written);
        journal_close(journal);
    }
}
END_TEST

START_TEST(test_journal__changes_its_size_only_when_it_is_empty)
{
    static const struct {
        uint64_t asked, made;
    } cases[] = {
        {0, JOURNAL_SIZE_MIN},
        {JOURNAL_SIZE_MIN + 1, JOURNAL_SIZE_MIN},
        {2 * JOURNAL_SIZE_MIN, 2 * JOURNAL_SIZE_MIN},
        {3 * JOURNAL_SIZE_MIN + JOURNAL_BLOCK, 3 * JOURNAL_SIZE_MIN + JOURNAL_BLOCK},
        {JOURNAL_SIZE_MIN, JOURNAL_SIZE_MIN},
    };
    uint64_t sequence = 0, last = JOURNAL_SIZE_MIN;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        struct journal *journal = open_journal(path, host_system(), numbers);
        struct stat status;

        /* Not empty: opened with another size, it stays as it is. */
        write_record(journal, 5, 100);
        journal_close(journal);
        ck_assert_int_eq(journal_open(&journal, path, cases[i].asked, host_system(), &failure), 0);
        ck_assert_int_eq(stat(path, &status), 0);
        ck_assert_int_eq((uint64_t)status.st_size == JOURNAL_SIZE_MIN, 1);
        ck_assert_int_eq(journal_replay(journal, collect_record, numbers, &failure), 0);
        ck_assert_uint_eq(numbers->len, 1);
        ck_assert_uint_gt(journal_written(journal), sequence);
        sequence = journal_written(journal);
        ck_assert_int_eq(journal_checkpoint(journal, sequence, &failure), 0);
        journal_close(journal);

        ck_assert_int_eq(journal_open(&journal, path, cases[i].asked, host_system(), &failure), 0);
        ck_assert_int_eq(stat(path, &status), 0);
        ck_assert_uint_eq((uint64_t)status.st_size, cases[i].made);
        if (cases[i].made != JOURNAL_SIZE_MIN) {
            ck_assert_uint_eq(journal_room(journal),
                              cases[i].made - JOURNAL_HEADERS * (uint64_t)JOURNAL_BLOCK);
        }
        g_array_set_size(numbers, 0);
        ck_assert_int_eq(journal_replay(journal, collect_record, numbers, &failure), 0);
        ck_assert_uint_eq(numbers->len, 0);
        ck_assert_uint_eq(journal_written(journal), sequence);
        write_record(journal, 6, 100);
        sequence = journal_written(journal);
        ck_assert_int_eq(journal_checkpoint(journal, sequence, &failure), 0);
        ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CONFLICT);
        journal_close(journal);
        ck_assert_int_eq(open_code(0), 0);
        ck_assert_int_eq(stat(path, &status), 0);
        ck_assert_uint_eq((uint64_t)status.st_size, cases[i].made);
        last = cases[i].made;
        g_array_free(numbers, TRUE);
    }
    ck_assert_uint_eq(last, JOURNAL_SIZE_MIN);
}
END_TEST

static struct lossy_host lossy;
static unsigned direct_writes, writes;

static int note_way(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    writes++;
    direct_writes += (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
    return lossy.host.pwrite(data, fd, bytes, length, offset);
}

/* Also on the host that the tests of power cuts use. */
START_TEST(test_journal__writes_past_the_cache_where_it_can)
{
    lossy_host_init(&lossy);
    struct host host = lossy.host;
    struct journal *journal = open_journal(path, &host, NULL);
    int probe = open(path, O_RDONLY | O_DIRECT);

    host.pwrite = note_way;
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_int_eq(append_record(journal, i, record_of_blocks(2), &failure), 0);
        ck_assert_int_eq(journal_sync(journal, &failure), 0);
    }
    ck_assert_int_eq(journal_checkpoint(journal, 4, &failure), 0);
    ck_assert_uint_eq(direct_writes, probe >= 0 ? writes : 0);
    ck_assert_uint_ge(writes, 10);
    if (probe >= 0) {
        close(probe);
    }
    journal_close(journal);
    lossy_host_release(&lossy);
    check_content(path, 4, 8);
}
END_TEST

/* As a disk does whose blocks are larger than the journal's. */
static int refuse_past_cache(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    if ((fcntl(fd, F_GETFL) & O_DIRECT) != 0) {
        return -EINVAL;
    }
    return quiet_host()->pwrite(data, fd, bytes, length, offset);
}

START_TEST(test_journal__writes_through_the_cache_where_it_must)
{
    struct host host = *quiet_host();
    host.pwrite = refuse_past_cache;

    struct journal *journal = open_journal(path, &host, NULL);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_int_eq(append_record(journal, i, record_of_blocks(2), &failure), 0);
        ck_assert_int_eq(journal_sync(journal, &failure), 0);
    }
    ck_assert_int_eq(journal_checkpoint(journal, 4, &failure), 0);
    ck_assert_int_eq(journal_wipe(journal, &failure), 0);
    journal_close(journal);
    check_content(path, 4, 8);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal");
    TCase *tests = tcase_create("journal");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_journal__gives_back_every_record_over_many_laps_and_reopenings);
    tcase_add_test(tests, test_journal__forgets_what_a_checkpoint_names_and_nothing_else);
    tcase_add_test(tests, test_journal__refuses_a_record_without_room_and_keeps_all_others);
    tcase_add_test(tests, test_journal__takes_the_longest_record_wherever_the_empty_ring_begins);
    tcase_add_test(tests, test_journal__uses_the_ring_to_its_last_block);
    tcase_add_test(tests, test_journal__drops_what_was_not_synced);
    tcase_add_test(tests, test_journal__ends_the_replay_with_the_error_of_its_visitor);
    tcase_add_test(tests, test_journal__belongs_to_one_opener);
    tcase_add_test(tests, test_journal__does_not_lock_a_file_that_lost_its_name);
    tcase_add_test(tests, test_journal__does_not_replace_what_somebody_else_made);
    tcase_add_test(tests, test_journal__is_durable_under_its_name_before_it_is_open);
    tcase_add_test(tests, test_journal__changes_its_size_only_when_it_is_empty);
    tcase_add_test(tests, test_journal__writes_past_the_cache_where_it_can);
    tcase_add_test(tests, test_journal__writes_through_the_cache_where_it_must);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
