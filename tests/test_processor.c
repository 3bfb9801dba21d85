#include <check.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>

#include "store/processor.h"

static cpu_set_t all;

static void check_processors(int expected)
{
    cpu_set_t own;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(own), &own), 0);
    ck_assert_int_eq(CPU_COUNT(&own), expected);
}

/* Each of them in turn; then one that there is not. */
static void *be_bound(void *unused)
{
    int count = CPU_COUNT(&all);
    cpu_set_t seen;

    CPU_ZERO(&seen);
    for (int i = 0; i < count; i++) {
        cpu_set_t own;

        processor_bind((unsigned)i);
        check_processors(1);
        sched_getaffinity(0, sizeof(own), &own);
        CPU_OR(&seen, &seen, &own);
    }
    ck_assert(CPU_EQUAL(&seen, &all));
    processor_unbind(0);
    check_processors(count);
    processor_bind((unsigned)count);
    check_processors(count);
    return unused;
}

START_TEST(test_processor__binds_a_thread_to_each_and_lets_go)
{
    pthread_t thread;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, be_bound, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    check_processors(CPU_COUNT(&all));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("processor");
    TCase *tests = tcase_create("processor");

    tcase_add_test(tests, test_processor__binds_a_thread_to_each_and_lets_go);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
