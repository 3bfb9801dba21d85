/* The journal's file with octets torn, stale, damaged, forged or of another version. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/journal_fixture.h"
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

START_TEST(test_journal_damage__does_not_believe_a_last_frame_with_any_octet_wrong)
{
    enum { LENGTH = JOURNAL_BLOCK + 300 };
    size_t size, end = JOURNAL_FRAME_HEAD + JOURNAL_RECORD_HEAD + LENGTH;
    struct journal *journal = open_journal(path, quiet_host(), NULL);
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (uint32_t n = 0; n < 3; n++) {
        write_record(journal, n, LENGTH);
    }
    journal_close(journal);
    uint8_t *image = read_image(path, &size);
    uint64_t offset = (uint64_t)(JOURNAL_HEADERS + 2 * 2) * JOURNAL_BLOCK;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (size_t at = 0; at <= end; at++) {
        uint8_t octet = image[offset + at] ^ 0x10;

        ck_assert_int_eq(pwrite(fd, &octet, 1, (off_t)(offset + at)), 1);
        g_array_set_size(numbers, 0);
        journal_close(open_journal(path, quiet_host(), numbers));
        /* The octet behind the end is padding. */
        ck_assert_uint_eq(numbers->len, at < end ? 2 : 3);
        ck_assert_int_eq(pwrite(fd, image + offset + at, 1, (off_t)(offset + at)), 1);
    }
    close(fd);
    check_content(path, 0, 3);
    free(image);
    g_array_free(numbers, TRUE);
}
END_TEST

START_TEST(test_journal_damage__does_not_believe_a_frame_with_a_block_missing)
{
    enum { BLOCKS = 5, LENGTH = BLOCKS * JOURNAL_BLOCK - 600 };
    size_t size;
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    write_record(journal, 0, 10);
    write_record(journal, 1, 10);
    journal_close(journal);
    uint8_t *before = read_image(path, &size);
    journal = open_journal(path, quiet_host(), NULL);
    write_record(journal, 2, LENGTH);
    journal_close(journal);
    uint8_t *after = read_image(path, &size);
    for (unsigned written = 0; written < 1u << BLOCKS; written++) {
        uint8_t *image = malloc(size);

        memcpy(image, before, size);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            if ((written >> i & 1) != 0) {
                memcpy(ring_block(image, 2 + i), ring_block(after, 2 + i), JOURNAL_BLOCK);
            }
        }
        write_image(path, image, size);
        check_content(path, 0, written == (1u << BLOCKS) - 1 ? 3 : 2);
        /* What comes behind is believed, and the torn one still is not. */
        journal = open_journal(path, quiet_host(), NULL);
        write_record(journal, written == (1u << BLOCKS) - 1 ? 3 : 2, 10);
        journal_close(journal);
        check_content(path, 0, written == (1u << BLOCKS) - 1 ? 4 : 3);
        free(image);
    }
    free(before);
    free(after);
}
END_TEST

START_TEST(test_journal_damage__does_not_believe_frames_of_an_earlier_lap)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    enum { FRAMES = 3 * RING_BLOCKS + 7 };

    /* All frames have one block: behind the last one always stands a whole one of the lap before.
     */
    for (uint32_t n = 0; n < FRAMES; n++) {
        write_record(journal, n, RECORD_ONE_BLOCK);
        if (n % 10 == 0) {
            ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
            journal_close(journal);
            check_content(path, n + 1, n + 1);
            journal = open_journal(path, quiet_host(), NULL);
        }
    }
    journal_close(journal);
    check_content(path, FRAMES - FRAMES % 10 + 1, FRAMES);
}
END_TEST

/* Frames up to two blocks before the ring's end, the first of them checkpointed: what needs three
 * blocks skips to the start. */
static struct journal *fill_to_the_end(void)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    for (uint32_t n = 0; n < RING_BLOCKS - 2; n++) {
        write_record(journal, n, RECORD_ONE_BLOCK);
    }
    ck_assert_int_eq(journal_checkpoint(journal, RING_BLOCKS - 4, &failure), 0);
    return journal;
}

START_TEST(test_journal_damage__does_not_believe_what_an_earlier_opening_left_unfinished)
{
    enum { LAST = RING_BLOCKS - 2, LENGTH = 3 * RECORD_ONE_BLOCK };
    size_t size;
    struct journal *journal = fill_to_the_end();

    journal_close(journal);
    uint8_t *image = read_image(path, &size);
    journal = open_journal(path, quiet_host(), NULL);
    write_record(journal, 666, LENGTH);
    journal_close(journal);
    /* Power went off when the frame was on the disk and the skip frame before it was not. */
    uint8_t *after = read_image(path, &size);
    memcpy(ring_block(image, 0), ring_block(after, 0), 3 * JOURNAL_BLOCK);
    write_image(path, image, size);
    check_content(path, LAST - 2, LAST);

    /* Two frames up to the end; the old one at the start has the number that comes next. */
    journal = open_journal(path, quiet_host(), NULL);
    write_record(journal, LAST, RECORD_ONE_BLOCK);
    journal_close(journal);
    check_content(path, LAST - 2, LAST + 1);
    journal = open_journal(path, quiet_host(), NULL);
    write_record(journal, LAST + 1, RECORD_ONE_BLOCK);
    journal_close(journal);
    check_content(path, LAST - 2, LAST + 2);

    /* The same frame again, of which only the skip frame gets to the disk: the old one is no part.
     */
    write_image(path, image, size);
    journal = open_journal(path, quiet_host(), NULL);
    write_record(journal, LAST, LENGTH);
    journal_close(journal);
    uint8_t *again = read_image(path, &size);
    memcpy(ring_block(image, LAST), ring_block(again, LAST), JOURNAL_BLOCK);
    write_image(path, image, size);
    check_content(path, LAST - 2, LAST);
    free(again);

    /* Only the skip frame is there, and a part of the frame behind it. */
    memcpy(ring_block(image, LAST), ring_block(after, LAST), JOURNAL_BLOCK);
    memset(ring_block(image, 1), 0, JOURNAL_BLOCK);
    write_image(path, image, size);
    check_content(path, LAST - 2, LAST);
    journal = open_journal(path, quiet_host(), NULL);
    ck_assert_uint_eq(journal_used(journal), 2 * JOURNAL_BLOCK);
    write_record(journal, LAST, LENGTH);
    journal_close(journal);
    check_content(path, LAST - 2, LAST + 1);
    free(after);
    free(image);
}
END_TEST

/* Puts a frame with record 7 there that is intact in all it says itself. */
static void forge(uint8_t *image, uint32_t block, uint64_t sequence, uint32_t previous)
{
    static const uint8_t payload[] = {4, 0, 0, 0, 7, 0, 0, 0};
    struct journal_header header;
    uint8_t *bytes = ring_block(image, block);

    ck_assert_int_eq(journal_header_get(&header, image), JOURNAL_OCTETS_INTACT);
    uint32_t seed = journal_seed(&header);
    struct journal_frame frame = {
        .sequence = sequence,
        .length = sizeof(payload),
        .records = 1,
        .previous = previous,
        .payload_crc = journal_crc(seed, payload, sizeof(payload)),
    };
    memcpy(bytes + JOURNAL_FRAME_HEAD, payload, sizeof(payload));
    journal_frame_put(&frame, seed, bytes);
}

START_TEST(test_journal_damage__believes_only_the_frame_that_follows)
{
    size_t size;
    struct journal_header header;
    struct journal_frame first;
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    for (uint32_t n = 0; n < 7; n++) {
        write_record(journal, n, RECORD_ONE_BLOCK);
    }
    journal_close(journal);
    uint8_t *image = read_image(path, &size);
    ck_assert_int_eq(journal_header_get(&header, image), JOURNAL_OCTETS_INTACT);
    ck_assert_int_eq(journal_frame_get(&first, journal_seed(&header), ring_block(image, 6)),
                     JOURNAL_OCTETS_INTACT);
    static const struct {
        uint64_t sequence;
        uint32_t previous; /* off by */
        uint32_t end;
    } cases[] = {{8, 0, 8}, {8, 1, 7}, {7, 0, 7}, {9, 0, 7}, {0, 0, 7}, {UINT64_MAX, 0, 7}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        forge(image, 7, cases[i].sequence, first.crc ^ cases[i].previous);
        write_image(path, image, size);
        check_content(path, 0, cases[i].end);
    }
    free(image);
}
END_TEST

START_TEST(test_journal_damage__does_not_believe_frames_of_another_journal)
{
    size_t size;
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    for (uint32_t n = 0; n < 5; n++) {
        write_record(journal, n, RECORD_ONE_BLOCK);
    }
    journal_close(journal);
    uint8_t *other = read_image(path, &size);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    uint8_t *image = read_image(path, &size);
    memcpy(ring_block(image, 0), ring_block(other, 0), 5 * JOURNAL_BLOCK);
    write_image(path, image, size);
    check_content(path, 0, 0);
    memcpy(image, other, JOURNAL_HEADERS * JOURNAL_BLOCK);
    write_image(path, image, size);
    check_content(path, 0, 5);
    free(image);
    free(other);
}
END_TEST

START_TEST(test_journal_damage__leaves_nothing_of_longer_frames_behind_a_short_one)
{
    size_t size;
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    write_record(journal, 0, record_of_blocks(3));
    write_record(journal, 1, 10);
    journal_close(journal);
    uint8_t *image = read_image(path, &size);
    uint8_t *block = ring_block(image, 3);
    for (size_t i = JOURNAL_FRAME_HEAD + JOURNAL_RECORD_HEAD + 10; i < JOURNAL_BLOCK; i++) {
        ck_assert_uint_eq(block[i], 0);
    }
    free(image);
}
END_TEST

/* Frames that are intact and can't be understood. */
START_TEST(test_journal_damage__refuses_intact_frames_that_it_does_not_understand)
{
    static const struct {
        uint16_t version, kind;
        uint32_t records, length, record_length;
        int code;
    } cases[] = {
        {1, 0, 1, 10, 6, 0},
        {1, 0, 2, 10, 6, STORE_CORRUPT},
        {1, 0, 0, 10, 6, STORE_CORRUPT},
        {1, 0, 1, 10, 7, STORE_CORRUPT},
        {1, 0, 1, 10, 5, STORE_CORRUPT},
        {1, 0, 1, 10, UINT32_MAX, STORE_CORRUPT},
        {1, 0, 1, 3, 0, STORE_CORRUPT},
        {1, 0, UINT32_MAX, 10, 6, STORE_CORRUPT},
        {1, 0, 1, RING_BLOCKS * JOURNAL_BLOCK, 6, 0},
        {1, 0, 1, UINT32_MAX, 6, 0},
        {1, 1, 0, 0, 0, 0},
        {2, 0, 1, 10, 6, STORE_UNSUPPORTED},
        {1, 2, 1, 10, 6, STORE_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct journal_header header;
        size_t size;
        struct stop stop = {0};

        unlink(path);
        ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
        uint8_t *image = read_image(path, &size);
        ck_assert_int_eq(journal_header_get(&header, image), JOURNAL_OCTETS_INTACT);
        uint32_t seed = journal_seed(&header);
        uint8_t *bytes = ring_block(image, 0);
        uint32_t length = cases[i].length < JOURNAL_BLOCK ? cases[i].length : 0;
        struct journal_frame frame = {
            .sequence = 1, .length = cases[i].length, .records = cases[i].records};
        for (int k = 0; k < 4; k++) {
            bytes[JOURNAL_FRAME_HEAD + k] = (uint8_t)(cases[i].record_length >> 8 * k);
        }
        frame.payload_crc = journal_crc(seed, bytes + JOURNAL_FRAME_HEAD, length);
        journal_frame_put(&frame, seed, bytes);
        bytes[4] = (uint8_t)cases[i].version;
        bytes[6] = (uint8_t)cases[i].kind;
        uint32_t crc = journal_crc(seed, bytes, JOURNAL_FRAME_HEAD - 4);
        for (int k = 0; k < 4; k++) {
            bytes[JOURNAL_FRAME_HEAD - 4 + k] = (uint8_t)(crc >> 8 * k);
        }
        write_image(path, image, size);
        free(image);

        struct journal *journal;
        ck_assert_int_eq(journal_open(&journal, path, JOURNAL_SIZE_MIN, quiet_host(), &failure), 0);
        ck_assert_int_eq(journal_replay(journal, stop_at, &stop, &failure), cases[i].code);
        ck_assert_int_eq(stop.seen, i == 0 ? 1 : 0);
        journal_close(journal);
    }
}
END_TEST

START_TEST(test_journal_damage__reads_either_header_and_prefers_the_newer)
{
    size_t size, unused;
    struct journal *journal = open_journal(path, quiet_host(), NULL);

    for (uint32_t n = 0; n < 6; n++) {
        write_record(journal, n, 5000);
    }
    uint8_t *old = read_image(path, &size);
    ck_assert_int_eq(journal_checkpoint(journal, 4, &failure), 0);
    journal_close(journal);
    uint8_t *new = read_image(path, &unused);
    for (int which = 0; which < 16; which++) {
        /* Each header: absent, damaged, old, new. */
        uint8_t *image = malloc(size);
        bool newer = which % 4 == 3 || which / 4 == 3;
        bool older = which % 4 == 2 || which / 4 == 2;

        memcpy(image, new, size);
        for (int slot = 0; slot < 2; slot++) {
            int kind = slot == 0 ? which % 4 : which / 4;
            uint8_t *block = image + slot * JOURNAL_BLOCK;

            if (kind == 0) {
                memset(block, 0, JOURNAL_BLOCK);
            } else if (kind == 1) {
                block[50] ^= 1;
            } else if (kind == 2) {
                memcpy(block, old + slot * JOURNAL_BLOCK, JOURNAL_BLOCK);
            }
        }
        write_image(path, image, size);
        if (newer || older) {
            check_content(path, newer ? 4 : 0, 6);
            journal = open_journal(path, quiet_host(), NULL);
            ck_assert_int_eq(journal_checkpoint(journal, 5, &failure), 0);
            journal_close(journal);
            check_content(path, 5, 6);
        } else {
            size_t same;

            ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CORRUPT);
            ck_assert_ptr_nonnull(strstr(failure.detail, path));
            uint8_t *left = read_image(path, &same);
            ck_assert(same == size && memcmp(left, image, size) == 0);
            free(left);
        }
        free(image);
    }
    free(old);
    free(new);
}
END_TEST

START_TEST(test_journal_damage__loses_nothing_with_one_header_after_the_next_sync)
{
    struct journal *journal = open_journal(path, quiet_host(), NULL);
    size_t size;

    for (uint32_t n = 0; n < RING_BLOCKS; n++) {
        write_record(journal, n, RECORD_ONE_BLOCK);
    }
    ck_assert_int_eq(journal_checkpoint(journal, RING_BLOCKS - 10, &failure), 0);
    write_record(journal, RING_BLOCKS, 5000);
    journal_close(journal);
    uint8_t *image = read_image(path, &size);
    for (int slot = 0; slot < JOURNAL_HEADERS; slot++) {
        image[slot * JOURNAL_BLOCK + 60] ^= 1;
        write_image(path, image, size);
        image[slot * JOURNAL_BLOCK + 60] ^= 1;
        check_content(path, RING_BLOCKS - 10, RING_BLOCKS + 1);
    }
    free(image);
}
END_TEST

START_TEST(test_journal_damage__refuses_headers_that_make_no_sense)
{
    struct journal_header good, bad;
    uint8_t block[JOURNAL_BLOCK];
    size_t size;

    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    uint8_t *image = read_image(path, &size);
    ck_assert_int_eq(journal_header_get(&good, image), JOURNAL_OCTETS_INTACT);
    for (int i = 0; i < 9; i++) {
        bad = good;
        switch (i) {
        case 0:
            bad.size = JOURNAL_SIZE_MIN - JOURNAL_BLOCK;
            break;
        case 1:
            bad.size = (uint64_t)JOURNAL_SIZE_MAX + JOURNAL_BLOCK;
            break;
        case 2:
            bad.size += 1;
            break;
        case 3:
            bad.size = UINT64_MAX;
            break;
        case 4:
            bad.sequence = 0;
            break;
        case 7:
            bad.sequence = (uint64_t)INT64_MAX + 1;
            break;
        case 5:
            bad.tail = RING_BLOCKS;
            break;
        case 6:
            bad.tail = UINT32_MAX;
            break;
        default:
            bad.size += JOURNAL_BLOCK; /* more than there is */
            break;
        }
        journal_header_put(&bad, block);
        memcpy(image, block, sizeof(block));
        memcpy(image + JOURNAL_BLOCK, block, sizeof(block));
        write_image(path, image, size);
        ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CORRUPT);
    }
    free(image);
}
END_TEST

START_TEST(test_journal_damage__refuses_newer_versions_and_files_cut_off)
{
    size_t size;

    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    uint8_t *image = read_image(path, &size);
    size_t lengths[] = {0, 1, 100, 4096, 5000, 8192, size / 2, size - 1};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        write_image(path, image, lengths[i]);
        ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_CORRUPT);
    }
    write_image(path, image, size);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), 0);
    /* The CRC does not cover the version. */
    image[8] = 2;
    write_image(path, image, size);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_UNSUPPORTED);
    image[JOURNAL_BLOCK + 8] = 2;
    write_image(path, image, size);
    ck_assert_int_eq(open_code(JOURNAL_SIZE_MIN), STORE_UNSUPPORTED);
    free(image);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal_damage");
    TCase *tests = tcase_create("journal_damage");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_journal_damage__does_not_believe_a_last_frame_with_any_octet_wrong);
    tcase_add_test(tests, test_journal_damage__does_not_believe_a_frame_with_a_block_missing);
    tcase_add_test(tests, test_journal_damage__does_not_believe_frames_of_an_earlier_lap);
    tcase_add_test(tests,
                   test_journal_damage__does_not_believe_what_an_earlier_opening_left_unfinished);
    tcase_add_test(tests, test_journal_damage__believes_only_the_frame_that_follows);
    tcase_add_test(tests, test_journal_damage__does_not_believe_frames_of_another_journal);
    tcase_add_test(tests, test_journal_damage__leaves_nothing_of_longer_frames_behind_a_short_one);
    tcase_add_test(tests, test_journal_damage__refuses_intact_frames_that_it_does_not_understand);
    tcase_add_test(tests, test_journal_damage__reads_either_header_and_prefers_the_newer);
    tcase_add_test(tests, test_journal_damage__loses_nothing_with_one_header_after_the_next_sync);
    tcase_add_test(tests, test_journal_damage__refuses_headers_that_make_no_sense);
    tcase_add_test(tests, test_journal_damage__refuses_newer_versions_and_files_cut_off);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
