#include <check.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>

#include "store/internal/errand.h"
#include "store/processor.h"

static struct errands *errands;
static struct store_error error;

static void set_up(void)
{
    ck_assert_int_eq(errands_new(&errands, &error), 0);
}

static void tear_down(void)
{
    errands_free(errands);
}

/* Waits until it is let go, then says what it was told to. */
struct piece {
    GMutex *gate; /* NULL: none */
    int result;
    unsigned *turn; /* of all */
    unsigned taken; /* of this one; 0: not yet */
};

static int take_turn(void *data, struct store_error *problem)
{
    struct piece *piece = data;

    if (piece->gate != NULL) {
        g_mutex_lock(piece->gate);
        g_mutex_unlock(piece->gate);
    }
    piece->taken = ++*piece->turn;
    return piece->result < 0 ? store_error_set(problem, STORE_NO_SPACE, "piece %u", piece->taken)
                             : piece->result;
}

START_TEST(test_errand__does_pieces_in_their_order_and_tells_what_each_came_to)
{
    enum { COUNT = 50 };
    struct piece pieces[COUNT];
    struct errand *posted[COUNT];
    unsigned turn = 0;

    for (unsigned i = 0; i < COUNT; i++) {
        pieces[i] = (struct piece){.result = i % 7 == 3 ? STORE_NO_SPACE : 0, .turn = &turn};
        posted[i] = errand_post(errands, take_turn, &pieces[i]);
    }
    /* Not in that order: nobody has to wait so. */
    for (unsigned i = COUNT; i-- > 0;) {
        g_autofree char *expected = g_strdup_printf("piece %u", i + 1);

        ck_assert_int_eq(errand_wait(posted[i], &error), pieces[i].result);
        ck_assert_uint_eq(pieces[i].taken, i + 1);
        if (pieces[i].result < 0) {
            ck_assert_int_eq(error.code, STORE_NO_SPACE);
            ck_assert_str_eq(error.detail, expected);
        }
    }
}
END_TEST

START_TEST(test_errand__is_done_only_at_its_end)
{
    GMutex gate;
    unsigned turn = 0;
    struct piece held = {.gate = &gate, .turn = &turn};
    struct piece next = {.turn = &turn};

    g_mutex_init(&gate);
    g_mutex_lock(&gate);
    ck_assert(errands_are_idle(errands));
    struct errand *first = errand_post(errands, take_turn, &held);
    struct errand *second = errand_post(errands, take_turn, &next);
    g_usleep(5000);
    ck_assert(!errand_is_done(first));
    ck_assert(!errand_is_done(second));
    ck_assert(!errands_are_idle(errands));
    g_mutex_unlock(&gate);
    ck_assert_int_eq(errand_wait(second, &error), 0);
    ck_assert(errand_is_done(first));
    ck_assert_int_eq(errand_wait(first, &error), 0);
    ck_assert_uint_eq(next.taken, 2);
    ck_assert(errands_are_idle(errands));
    g_mutex_clear(&gate);
}
END_TEST

static int look_at_processors(void *data, struct store_error *unused)
{
    (void)unused;
    return sched_getaffinity(0, sizeof(cpu_set_t), data);
}

static void *have_an_errand_look_while_bound(void *processors)
{
    struct errands *own;

    processor_bind(0);
    ck_assert_int_eq(errands_new(&own, &error), 0);
    ck_assert_int_eq(errand_wait(errand_post(own, look_at_processors, processors), &error), 0);
    errands_free(own);
    return NULL;
}

START_TEST(test_errand__is_not_bound_to_the_processor_of_its_owner)
{
    pthread_t thread;
    cpu_set_t all, found;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, have_an_errand_look_while_bound, &found), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(CPU_EQUAL(&found, &all));
}
END_TEST

START_TEST(test_errand__nothing_to_do_is_no_reason_to_wait)
{
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("errand");
    TCase *tests = tcase_create("errand");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_errand__does_pieces_in_their_order_and_tells_what_each_came_to);
    tcase_add_test(tests, test_errand__is_done_only_at_its_end);
    tcase_add_test(tests, test_errand__is_not_bound_to_the_processor_of_its_owner);
    tcase_add_test(tests, test_errand__nothing_to_do_is_no_reason_to_wait);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
