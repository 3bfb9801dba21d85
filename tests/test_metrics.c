#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"
#include "server/openmetrics.h"

enum { THREADS = 100, EACH = 1000 };

static GString *out;
static struct openmetrics metrics;

static void set_up(void)
{
    out = g_string_new(NULL);
    metrics = (struct openmetrics){.out = out};
}

static void tear_down(void)
{
    g_string_free(out, TRUE);
}

static const struct {
    int64_t microseconds;
    size_t bucket;
} buckets[] = {
    {-5, 0},       {0, 0},         {99, 0},        {100, 0},
    {101, 1},      {300, 1},       {301, 2},       {1000, 2},
    {1001, 3},     {30000, 5},     {30001, 6},     {1000000, 8},
    {3000001, 10}, {10000000, 10}, {10000001, 11}, {INT64_MAX, METRICS_BOUNDS},
};

START_TEST(test_metrics__a_time_belongs_below_its_bound)
{
    ck_assert_uint_eq(metrics_bucket(buckets[_i].microseconds), buckets[_i].bucket);
}
END_TEST

START_TEST(test_metrics__bounds_ascend)
{
    for (size_t i = 1; i < METRICS_BOUNDS; i++)
        ck_assert_int_lt(metrics_bounds[i - 1], metrics_bounds[i]);
}
END_TEST

static void *count(void *data)
{
    (void)data;
    for (int i = 0; i < EACH; i++) {
        metrics_count(METRIC_SENT, 3);
        metrics_command(COMMAND_FETCH, METRIC_RESULT_NO, 200);
    }
    return NULL;
}

/* More threads than there are counters of their own. */
START_TEST(test_metrics__nothing_is_lost_between_threads)
{
    pthread_t threads[THREADS];
    struct metric_histogram histogram;

    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(metrics_read(METRIC_SENT), 3 * THREADS * EACH);
    ck_assert_uint_eq(metrics_read_commands(COMMAND_FETCH, METRIC_RESULT_NO), THREADS * EACH);
    ck_assert_uint_eq(metrics_read_commands(COMMAND_FETCH, METRIC_RESULT_OK), 0);
    metrics_read_command_time(COMMAND_FETCH, &histogram);
    ck_assert_uint_eq(histogram.buckets[1], THREADS * EACH);
    ck_assert_uint_eq(histogram.buckets[0], 0);
    ck_assert_uint_eq(histogram.microseconds, 200 * THREADS * EACH);
}
END_TEST

START_TEST(test_metrics__idle_is_counted_without_its_time)
{
    struct metric_histogram histogram;

    metrics_command(COMMAND_IDLE, METRIC_RESULT_OK, 1000000);
    ck_assert_uint_eq(metrics_read_commands(COMMAND_IDLE, METRIC_RESULT_OK), 1);
    metrics_read_command_time(COMMAND_IDLE, &histogram);
    for (size_t i = 0; i <= METRICS_BOUNDS; i++)
        ck_assert_uint_eq(histogram.buckets[i], 0);
}
END_TEST

START_TEST(test_metrics__a_clock_set_back_takes_nothing_from_a_sum)
{
    struct metric_histogram histogram;

    metrics_time(METRIC_TIME_DELIVERY, 700);
    metrics_time(METRIC_TIME_DELIVERY, -5000000);
    metrics_read_time(METRIC_TIME_DELIVERY, &histogram);
    ck_assert_uint_eq(histogram.microseconds, 700);
    ck_assert_uint_eq(histogram.buckets[0], 1);
    ck_assert_uint_eq(histogram.buckets[2], 1);
}
END_TEST

/* --- the text format --- */

START_TEST(test_openmetrics__counters_end_in_total_and_labels_are_escaped)
{
    openmetrics_family(&metrics, "annal_logins", OPENMETRICS_COUNTER, NULL, "Logins.");
    openmetrics_value(&metrics, NULL, 7);
    openmetrics_value(&metrics, (const char *const[]){"a", "x\"\\\ny", "b", "", NULL}, UINT64_MAX);
    openmetrics_end(&metrics);
    ck_assert_str_eq(out->str, "# TYPE annal_logins counter\n"
                               "# HELP annal_logins Logins.\n"
                               "annal_logins_total 7\n"
                               "annal_logins_total{a=\"x\\\"\\\\\\ny\",b=\"\"} "
                               "18446744073709551615\n"
                               "# EOF\n");
}
END_TEST

START_TEST(test_openmetrics__a_unit_is_told_and_seconds_have_six_decimals)
{
    openmetrics_family(&metrics, "lag_seconds", OPENMETRICS_GAUGE, "seconds", "Lag.");
    openmetrics_seconds(&metrics, NULL, 1);
    openmetrics_seconds(&metrics, NULL, -1500000);
    openmetrics_seconds(&metrics, NULL, INT64_MIN);
    ck_assert_str_eq(out->str, "# TYPE lag_seconds gauge\n"
                               "# UNIT lag_seconds seconds\n"
                               "# HELP lag_seconds Lag.\n"
                               "lag_seconds 0.000001\n"
                               "lag_seconds -1.500000\n"
                               "lag_seconds -9223372036854.775808\n");
}
END_TEST

START_TEST(test_openmetrics__buckets_are_sums_of_all_below)
{
    struct metric_histogram histogram = {.microseconds = 12345678};

    histogram.buckets[0] = 2;
    histogram.buckets[3] = 1;
    histogram.buckets[METRICS_BOUNDS] = 4;
    openmetrics_family(&metrics, "t_seconds", OPENMETRICS_HISTOGRAM, "seconds", "T.");
    openmetrics_histogram(&metrics, (const char *const[]){"k", "v", NULL}, &histogram);
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"0.0001\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"0.001\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"0.003\"} 3\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"1.0\"} 3\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"10.0\"} 3\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_bucket{k=\"v\",le=\"+Inf\"} 7\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_count{k=\"v\"} 7\n"));
    ck_assert_ptr_nonnull(strstr(out->str, "\nt_seconds_sum{k=\"v\"} 12.345678\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *counting = tcase_create("counting");
    TCase *text = tcase_create("text");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, counting);
    tcase_add_loop_test(counting, test_metrics__a_time_belongs_below_its_bound, 0,
                        (int)G_N_ELEMENTS(buckets));
    tcase_add_test(counting, test_metrics__bounds_ascend);
    tcase_add_test(counting, test_metrics__nothing_is_lost_between_threads);
    tcase_add_test(counting, test_metrics__idle_is_counted_without_its_time);
    tcase_add_test(counting, test_metrics__a_clock_set_back_takes_nothing_from_a_sum);
    suite_add_tcase(suite, text);
    tcase_add_checked_fixture(text, set_up, tear_down);
    tcase_add_test(text, test_openmetrics__counters_end_in_total_and_labels_are_escaped);
    tcase_add_test(text, test_openmetrics__a_unit_is_told_and_seconds_have_six_decimals);
    tcase_add_test(text, test_openmetrics__buckets_are_sums_of_all_below);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
