#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/timeline.h"

static struct timeline timeline;
static struct store_error error;

static void set_up(void)
{
    timeline_init(&timeline);
    g_ptr_array_add(timeline.names, g_strdup("A"));
    g_ptr_array_add(timeline.names, g_strdup("B"));
    timeline.name = 1;
}

static void tear_down(void)
{
    timeline_release(&timeline);
}

static struct object_id id_of(uint32_t number)
{
    struct object_id id = {{1}};

    memcpy(id.bytes + 1, &number, sizeof(number));
    return id;
}

static struct stretch *stretch_at(guint index)
{
    return &g_array_index(timeline.stretches, struct stretch, index);
}

/* The newest first, each earlier than the one before. */
static void add_stretches(uint32_t count, uint32_t commits, uint32_t names)
{
    for (uint32_t i = 0; i < count; i++) {
        struct stretch stretch = {.earliest = (int64_t)count - i,
                                  .newest = id_of(i),
                                  .count = commits,
                                  .name = 1 + i % names};

        g_array_append_val(timeline.stretches, stretch);
    }
}

/* With nothing left to read: what it makes of what it has. */
static void settle(void)
{
    struct timeline_reader reader = {.steps = 1};
    struct object_id tip = stretch_at(0)->newest;

    ck_assert_int_eq(timeline_read(&timeline, &reader, &tip, "A", INT64_MIN, &error), 0);
    ck_assert_uint_eq(reader.steps, 1);
}

START_TEST(test_timeline__lengthens_its_stretches_when_there_are_too_many)
{
    enum { COUNT = 3 * TIMELINE_MAX };
    uint64_t commits = 0;

    add_stretches(COUNT, TIMELINE_EVERY, 1);
    settle();
    ck_assert_uint_le(timeline.stretches->len, TIMELINE_MAX);
    ck_assert_uint_gt(timeline.stretches->len, TIMELINE_MAX / 2);
    for (guint i = 0; i < timeline.stretches->len; i++) {
        const struct stretch *stretch = stretch_at(i);
        struct object_id newest = id_of((uint32_t)(commits / TIMELINE_EVERY));

        ck_assert(object_id_equal(&stretch->newest, &newest));
        commits += stretch->count;
        ck_assert_int_eq(stretch->earliest, (int64_t)(COUNT - commits / TIMELINE_EVERY + 1));
    }
    ck_assert_uint_eq(commits, (uint64_t)COUNT * TIMELINE_EVERY);
}
END_TEST

/* Names can't be joined: what is too old for the table is not known. */
START_TEST(test_timeline__ends_where_it_can_hold_no_more)
{
    add_stretches(TIMELINE_MAX + 10, 1, 2);
    settle();
    ck_assert_uint_eq(timeline.stretches->len, TIMELINE_MAX);
    ck_assert_int_eq(stretch_at(TIMELINE_MAX - 1)->earliest, 11);
    ck_assert_uint_eq(stretch_at(TIMELINE_MAX - 1)->name, 2);
    ck_assert(object_id_is_zero(&timeline.next));
}
END_TEST

START_TEST(test_timeline__comes_back_from_its_file_as_it_was)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GByteArray) again = g_byte_array_new();
    struct timeline read;

    add_stretches(1000, 7, 2);
    for (int32_t day = 0; day < 500; day++) {
        g_array_append_val(timeline.days, day);
    }
    timeline.next = id_of(77);
    timeline.oldest = id_of(76);
    timeline.boundary = -5;
    timeline_encode(bytes, &timeline);
    timeline_init(&read);
    ck_assert(timeline_decode(&read, bytes->data, bytes->len));
    timeline_encode(again, &read);
    ck_assert_uint_eq(again->len, bytes->len);
    ck_assert_mem_eq(again->data, bytes->data, bytes->len);
    ck_assert_str_eq(g_ptr_array_index(read.names, 2), "B");
    ck_assert_int_eq(read.boundary, -5);
    timeline_release(&read);
    for (guint length = 0; length < bytes->len; length += 1 + length / 7) {
        timeline_init(&read);
        ck_assert(!timeline_decode(&read, bytes->data, length));
        timeline_release(&read);
    }
}
END_TEST

START_TEST(test_timeline__knows_how_far_it_reaches)
{
    add_stretches(10, 5, 1);
    timeline.next = id_of(11);
    ck_assert(timeline_reaches(&timeline, 1));
    ck_assert(!timeline_reaches(&timeline, 0));
    memset(&timeline.next, 0, sizeof(timeline.next));
    ck_assert(timeline_reaches(&timeline, 0));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timeline");
    TCase *cases = tcase_create("timeline");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_timeline__lengthens_its_stretches_when_there_are_too_many);
    tcase_add_test(cases, test_timeline__ends_where_it_can_hold_no_more);
    tcase_add_test(cases, test_timeline__comes_back_from_its_file_as_it_was);
    tcase_add_test(cases, test_timeline__knows_how_far_it_reaches);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
