#include <check.h>
#include <glib.h>
#include <stdlib.h>

#include "server/merge_sort.h"

static int compare(const void *data, uint32_t a, uint32_t b)
{
    const int *values = data;

    return values[a] - values[b];
}

/* Of count numbers with so many different values; returns the steps that it took. */
static unsigned check_sorted(size_t count, int different, size_t moves)
{
    unsigned seed = (unsigned)count + 1;
    int *made = g_new(int, count + 1);
    uint32_t *numbers = g_new(uint32_t, count + 1);
    struct merge_sort sort;
    unsigned steps = 1;

    for (size_t i = 0; i < count; i++) {
        made[i] = rand_r(&seed) % different;
        numbers[i] = (uint32_t)i;
    }
    merge_sort_init(&sort, numbers, count, compare, made);
    while (!merge_sort_step(&sort, moves) && steps < 100000)
        steps++;
    merge_sort_release(&sort);
    bool good = true;
    for (size_t i = 1; i < count; i++) {
        int before = made[numbers[i - 1]], here = made[numbers[i]];

        good = good && (before < here || (before == here && numbers[i - 1] < numbers[i]));
    }
    ck_assert(good);
    g_free(numbers);
    g_free(made);
    return steps;
}

START_TEST(test_merge_sort__sorts_any_count_and_keeps_the_order_of_equals)
{
    static const int different[] = {1, 2, 10, 1000000};

    for (size_t count = 0; count < 200; count++) {
        for (size_t i = 0; i < G_N_ELEMENTS(different); i++)
            check_sorted(count, different[i], SIZE_MAX);
    }
    check_sorted(100003, 5000, SIZE_MAX);
}
END_TEST

START_TEST(test_merge_sort__gives_way_between_merges)
{
    ck_assert_uint_eq(check_sorted(1, 10, 1), 1);
    ck_assert_uint_gt(check_sorted(1000, 1000, 1), 900);
    ck_assert_uint_eq(check_sorted(1024, 1000, 1024), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge_sort");
    TCase *cases = tcase_create("merge_sort");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_merge_sort__sorts_any_count_and_keeps_the_order_of_equals);
    tcase_add_test(cases, test_merge_sort__gives_way_between_merges);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
