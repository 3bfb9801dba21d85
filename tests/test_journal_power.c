/* The journal with power cut at any moment, and with every call of the host failing. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faulty_host.h"
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

/* A frame that was synced: the records before end are in it or in earlier ones. */
struct synced_frame {
    uint64_t sequence;
    guint end;
};

/* What a journal must be like. Numbers of records are never used again. */
struct model {
    struct lossy_host host;
    struct journal *journal;
    GArray *numbers; /* uint32_t: all that were appended and may still come */
    GArray *frames;  /* struct synced_frame */
    guint first;     /* the content begins here */
    guint first_max; /* or as far as here, after a checkpoint that failed */
    guint synced;    /* it has these, and perhaps more of those gathered */
    uint32_t next;
    uint32_t random;
    bool spare; /* both headers are good */
    unsigned cuts, laps, failures;
};

static struct synced_frame last_frame(const struct model *model)
{
    guint count = model->frames->len;

    return count == 0 ? (struct synced_frame){0}
                      : g_array_index(model->frames, struct synced_frame, count - 1);
}

static void do_append(struct model *model)
{
    int result = append_any(model->journal, model->next, &failure);

    if (result == 0) {
        g_array_append_val(model->numbers, model->next);
    } else {
        ck_assert_int_eq(result, STORE_LIMIT);
        model->laps++;
    }
    model->next++;
}

static void do_sync(struct model *model, bool fail)
{
    bool gathered = model->numbers->len > model->synced;

    if (fail && lossy_random(&model->random) % 2 == 0) {
        model->host.fail_writes = 1;
    } else if (fail) {
        model->host.fail_syncs = 1;
    }
    int result = journal_sync(model->journal, &failure);
    model->host.fail_writes = model->host.fail_syncs = 0;
    ck_assert_int_eq(result, fail && gathered ? STORE_IO : 0);
    if (result == 0 && gathered) {
        struct synced_frame frame = {journal_written(model->journal), model->numbers->len};

        ck_assert_uint_gt(frame.sequence, last_frame(model).sequence);
        g_array_append_val(model->frames, frame);
        model->synced = model->numbers->len;
    }
    model->failures += result < 0;
}

static void do_checkpoint(struct model *model, bool fail)
{
    if (model->frames->len == 0) {
        return;
    }
    guint chosen = lossy_random(&model->random) % model->frames->len;
    struct synced_frame frame = g_array_index(model->frames, struct synced_frame, chosen);

    if (fail && lossy_random(&model->random) % 2 == 0) {
        model->host.fail_writes = 1;
    } else if (fail) {
        model->host.fail_syncs = 1;
    }
    uint64_t used = journal_used(model->journal);
    int result = journal_checkpoint(model->journal, frame.sequence, &failure);
    model->host.fail_writes = model->host.fail_syncs = 0;
    if (frame.end > model->first_max) {
        model->first_max = frame.end;
    }
    if (result < 0) {
        ck_assert_uint_eq(journal_used(model->journal), used);
        model->spare = false;
        model->failures++;
        return;
    }
    ck_assert_uint_lt(journal_used(model->journal), used);
    model->first = frame.end;
    model->spare = true;
    g_array_remove_range(model->frames, 0, chosen + 1);
}

/* The content must be what the model allows; then the model has that content. */
static void do_open(struct model *model)
{
    GArray *found = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    model->journal = open_journal(path, &model->host.host, found);
    guint first = model->first;
    while (found->len > 0 && first < model->first_max &&
           g_array_index(model->numbers, uint32_t, first) != g_array_index(found, uint32_t, 0)) {
        first++;
    }
    if (found->len == 0 && first + found->len < model->synced) {
        first = model->first_max;
    }
    guint end = first + found->len;
    ck_assert_uint_ge(end, model->synced);
    ck_assert_uint_le(end, model->numbers->len);
    for (guint i = 0; i < found->len; i++) {
        ck_assert_uint_eq(g_array_index(model->numbers, uint32_t, first + i),
                          g_array_index(found, uint32_t, i));
    }
    model->first = model->first_max = first;
    while (model->frames->len > 0 &&
           g_array_index(model->frames, struct synced_frame, 0).end <= first) {
        g_array_remove_index(model->frames, 0);
    }
    if (end > model->synced) {
        struct synced_frame frame = {journal_written(model->journal), end};

        g_array_append_val(model->frames, frame);
    }
    model->synced = end;
    g_array_set_size(model->numbers, end);
    g_array_free(found, TRUE);
}

static void damage_header(struct model *model)
{
    size_t size;
    uint8_t *image = read_image(path, &size);

    image[lossy_random(&model->random) % (JOURNAL_HEADERS * JOURNAL_BLOCK)] ^= 4;
    write_image(path, image, size);
    free(image);
    model->spare = false;
}

static void do_reopen(struct model *model, bool cut)
{
    bool all = model->host.versions->len == 0;

    journal_close(model->journal);
    if (cut) {
        lossy_host_cut(&model->host, path, &model->random);
        model->cuts++;
        model->spare = model->spare && all;
    } else if (model->spare && lossy_random(&model->random) % 2 == 0) {
        damage_header(model);
    }
    do_open(model);
}

static void do_anything(struct model *model)
{
    uint32_t what = lossy_random(&model->random) % 100;
    bool fail = lossy_random(&model->random) % 8 == 0;

    if (what < 60) {
        do_append(model);
    } else if (what < 86) {
        do_sync(model, fail);
    } else if (what < 90) {
        do_checkpoint(model, fail);
    } else {
        do_reopen(model, what < 97);
    }
}

START_TEST(test_journal_power__keeps_what_was_synced_whatever_the_disk_had)
{
    struct model model = {
        .numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .frames = g_array_new(FALSE, FALSE, sizeof(struct synced_frame)),
        .random = 2463534242u + 7919u * (uint32_t)_i,
        .spare = true,
    };

    lossy_host_init(&model.host);
    do_open(&model);
    for (int i = 0; i < 6000; i++) {
        do_anything(&model);
    }
    journal_close(model.journal);
    ck_assert_uint_gt(model.cuts, 200);
    ck_assert_uint_gt(model.laps, 10);
    ck_assert_uint_gt(model.failures, 100);
    lossy_host_release(&model.host);
    g_array_free(model.numbers, TRUE);
    g_array_free(model.frames, TRUE);
}
END_TEST

/* Power cut in the middle of a checkpoint again and again: one header is always good. */
START_TEST(test_journal_power__always_has_a_header)
{
    struct lossy_host host;
    uint32_t random = 77;
    uint32_t end = 0, first = 0;

    lossy_host_init(&host);
    for (int i = 0; i < 500; i++) {
        struct journal *journal = open_journal(path, &host.host, NULL);

        write_record(journal, end++, 5000);
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
        first = end;
        for (int k = i % 3; k > 0; k--) {
            write_record(journal, end++, 5000);
            ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), 0);
            first = end;
        }
        /* With the other header of the one before still on its way. */
        write_record(journal, end++, 5000);
        write_record(journal, end++, 5000);
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal) - 1, &failure), 0);
        first = end - 1;
        host.fail_writes = i % 2;
        host.fail_syncs = 1 - i % 2;
        ck_assert_int_eq(journal_checkpoint(journal, journal_written(journal), &failure), STORE_IO);
        journal_close(journal);
        lossy_host_cut(&host, path, &random);
        GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        journal = open_journal(path, &host.host, numbers);
        ck_assert_uint_le(numbers->len, end - first);
        ck_assert_uint_eq(journal_written(journal), end);
        ck_assert_int_eq(journal_checkpoint(journal, end, &failure), 0);
        journal_close(journal);
        g_array_free(numbers, TRUE);
    }
    lossy_host_release(&host);
}
END_TEST

/* What was acknowledged in a run of operations with faults. */
struct outcome {
    uint32_t first, synced, end;
};

/* Whatever fails is tried once more; what is acknowledged goes into *outcome. */
static void run_all(const struct host *host, struct outcome *outcome)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    struct journal *journal = NULL;
    int result = STORE_IO;

    for (int attempt = 0; attempt < 2 && result < 0; attempt++) {
        result = journal_open(&journal, path, JOURNAL_SIZE_MIN, host, &failure);
    }
    if (result == 0) {
        result = journal_replay(journal, collect_record, numbers, &failure);
        ck_assert_int_eq(result, 0);
        ck_assert_uint_eq(numbers->len, outcome->synced - outcome->first);
    }
    for (int i = 0; i < 30 && journal != NULL && result == 0; i++) {
        if (append_record(journal, outcome->end, 7000, &failure) == 0) {
            outcome->end++;
        }
        int synced = journal_sync(journal, &failure);
        if (synced < 0) {
            ck_assert_int_eq(failure.code, STORE_IO);
            synced = journal_sync(journal, &failure);
        }
        if (synced == 0) {
            outcome->synced = outcome->end;
        }
        if (i % 10 == 9 && synced == 0 &&
            journal_checkpoint(journal, journal_written(journal), &failure) == 0) {
            outcome->first = outcome->synced;
        }
    }
    journal_close(journal);
    g_array_free(numbers, TRUE);
}

static void check_outcome(const struct outcome *outcome)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    journal_close(open_journal(path, quiet_host(), numbers));
    guint count = numbers->len;
    uint32_t first = count == 0 ? outcome->synced : g_array_index(numbers, uint32_t, 0);
    ck_assert_uint_ge(first, outcome->first);
    for (guint i = 0; i < count; i++) {
        ck_assert_uint_eq(g_array_index(numbers, uint32_t, i), first + i);
    }
    ck_assert_uint_ge(first + count, outcome->synced);
    ck_assert_uint_le(first + count, outcome->end);
    g_array_free(numbers, TRUE);
}

static unsigned run_with_fault(unsigned fail_at, bool stop, bool existing)
{
    struct faulty_host faulty;
    struct outcome outcome = {0};

    faulty_host_init(&faulty);
    unlink(path);
    if (existing) {
        struct journal *journal = open_journal(path, quiet_host(), NULL);

        for (; outcome.end < 20; outcome.end++) {
            write_record(journal, outcome.end, 10000);
        }
        outcome.synced = outcome.end;
        journal_close(journal);
    }
    faulty_host_arm(&faulty, fail_at, stop, EIO);
    run_all(&faulty.host, &outcome);
    bool failed = faulty.failed;
    unsigned calls = faulty.calls;

    /* Once more, with everything well. */
    check_outcome(&outcome);
    ck_assert(stop || outcome.end == outcome.synced);
    return failed ? calls : 0;
}

START_TEST(test_journal_power__survives_the_failure_of_every_call)
{
    for (int existing = 0; existing < 2; existing++) {
        for (int stop = 0; stop < 2; stop++) {
            unsigned at = 1;

            while (run_with_fault(at, stop == 1, existing == 1) > 0) {
                at++;
            }
            ck_assert_uint_gt(at, 50);
        }
    }
}
END_TEST

START_TEST(test_journal_power__says_that_the_disk_is_full)
{
    char *temporary = fixture_path(directory, "journal.new");
    struct faulty_host faulty;
    struct journal *journal;

    faulty_host_init(&faulty);
    for (unsigned at = 5; at <= 9; at++) {
        faulty_host_arm(&faulty, at, false, ENOSPC);
        int result = journal_open(&journal, path, JOURNAL_SIZE_MIN, &faulty.host, &failure);

        ck_assert_int_eq(result, STORE_NO_SPACE);
        ck_assert_int_ne(access(path, F_OK), 0);
        ck_assert_int_ne(access(temporary, F_OK), 0);
    }
    free(temporary);
}
END_TEST

START_TEST(test_journal_power__keeps_an_empty_journal_when_the_new_size_fails)
{
    struct faulty_host faulty;
    struct journal *journal = open_journal(path, quiet_host(), NULL);
    int result = -1;

    write_record(journal, 0, 10);
    ck_assert_int_eq(journal_checkpoint(journal, 1, &failure), 0);
    journal_close(journal);
    faulty_host_init(&faulty);
    for (unsigned at = 1; result < 0; at++) {
        faulty_host_arm(&faulty, at, true, EIO);
        result = journal_open(&journal, path, (uint64_t)(at + 1) * JOURNAL_SIZE_MIN, &faulty.host,
                              &failure);
        if (result < 0) {
            journal = open_journal(path, quiet_host(), NULL);
            ck_assert_uint_eq(journal_written(journal), 1);
        }
        journal_close(journal);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal_power");
    TCase *tests = tcase_create("journal_power");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_journal_power__keeps_what_was_synced_whatever_the_disk_had, 0,
                        8);
    tcase_add_test(tests, test_journal_power__always_has_a_header);
    tcase_add_test(tests, test_journal_power__survives_the_failure_of_every_call);
    tcase_add_test(tests, test_journal_power__says_that_the_disk_is_full);
    tcase_add_test(tests, test_journal_power__keeps_an_empty_journal_when_the_new_size_fails);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
