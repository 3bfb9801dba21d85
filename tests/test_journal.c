#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/journal.h"
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

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Record number n: length octets that only it has. */
static uint8_t *make_record(uint32_t n, size_t length)
{
    uint8_t *record = malloc(length + 4);
    uint32_t state = n * 2654435761u + 12345;

    for (size_t i = 0; i < length; i++) {
        record[i] = (uint8_t)next_random(&state);
    }
    return record;
}

static size_t record_length(uint32_t n)
{
    uint32_t state = n * 40503u + 7;

    next_random(&state);
    next_random(&state);
    switch (next_random(&state) % 8) {
    case 0:
        return next_random(&state) % 4;
    case 1:
        return next_random(&state) % 30000;
    default:
        return next_random(&state) % 6000;
    }
}

static int append(struct journal *journal, uint32_t n)
{
    size_t length = record_length(n);
    uint8_t *record = make_record(n, length);
    struct journal_piece pieces[] = {
        {record, length / 3}, {NULL, 0}, {record + length / 3, length - length / 3}};
    int result = journal_append(journal, pieces, 3, &failure);

    free(record);
    return result;
}

/* The records that must come, in this order. */
struct expected {
    uint32_t next;
    uint32_t end;
};

static int check_record(void *data, const void *record, size_t length, struct store_error *error)
{
    struct expected *expected = data;

    (void)error;
    ck_assert_uint_lt(expected->next, expected->end);
    ck_assert_uint_eq(length, record_length(expected->next));
    uint8_t *right = make_record(expected->next, length);
    ck_assert(memcmp(record, right, length) == 0);
    free(right);
    expected->next++;
    return 0;
}

static struct journal *open_sized(uint64_t size)
{
    struct journal *journal;

    ck_assert_int_eq(journal_open(&journal, path, size, host_system(), &failure), 0);
    return journal;
}

/* Opens it; records first ... end - 1 must be its content. */
static struct journal *open_expecting(uint32_t first, uint32_t end)
{
    struct journal *journal = open_sized(JOURNAL_SIZE_MIN);
    struct expected expected = {first, end};

    ck_assert_int_eq(journal_replay(journal, check_record, &expected, &failure), 0);
    ck_assert_uint_eq(expected.next, end);
    return journal;
}

START_TEST(test_journal__gives_back_every_record_over_many_laps_and_reopenings)
{
    struct journal *journal = open_expecting(0, 0);
    uint32_t state = 99, end = 0, first = 0, synced = 0;
    uint64_t octets = 0, sequence = 0;

    while (octets < 20 * (uint64_t)JOURNAL_SIZE_MIN) {
        int result = append(journal, end);

        if (result == 0) {
            octets += record_length(end++);
        }
        if (result == STORE_LIMIT || next_random(&state) % 3 == 0) {
            size_t waiting = journal_waiting(journal);
            uint64_t used = journal_used(journal);

            ck_assert_int_eq(journal_sync(journal, &failure), 0);
            ck_assert_uint_eq(journal_waiting(journal), 0);
            ck_assert_uint_le(used + waiting, journal_used(journal));
            ck_assert_uint_le(journal_used(journal), journal_room(journal));
            ck_assert(synced == end || journal_written(journal) > sequence);
            sequence = journal_written(journal);
            synced = end;
        }
        if (result == STORE_LIMIT) {
            ck_assert_int_eq(journal_checkpoint(journal, sequence, &failure), 0);
            ck_assert_uint_eq(journal_used(journal), 0);
            first = end;
        }
        if (next_random(&state) % 16 == 0) {
            journal_close(journal);
            end = synced;
            journal = open_expecting(first, end);
            ck_assert_uint_eq(journal_written(journal), sequence);
        }
    }
    journal_close(journal);
    journal_close(open_expecting(first, synced));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal");
    TCase *tests = tcase_create("journal");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_journal__gives_back_every_record_over_many_laps_and_reopenings);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
