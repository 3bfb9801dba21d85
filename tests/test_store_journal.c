/* A store with a journal on a machine that loses power: at every call, with everything that was not
 * synced lost, there, or torn. What was acknowledged is there, exactly; what was not is there
 * wholly or not at all; and the packs are those that there were.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/journal_script.h"
#include "tests/store_fixture.h"

static struct machine machine;

/* What a directory held when its journal had been replayed, to be checked when the step under way
 * is over. */
struct outcome {
    GHashTable *state;
    guint acknowledged;
    char *what;
};

struct cuts {
    GArray *outcomes; /* struct outcome */
    unsigned every;   /* calls */
    unsigned made;
    int kind; /* enum power_cut; -1: any */
    uint32_t random;
};

enum { CUT_KINDS = 3 };

static const char *const cut_names[CUT_KINDS] = {"lost", "written", "torn"};

static void outcome_clear(void *data)
{
    struct outcome *outcome = data;

    g_hash_table_unref(outcome->state);
    g_free(outcome->what);
}

struct nested {
    struct power_host *power;
    unsigned at;
    char *to;
    uint32_t random;
};

static void cut_replay(void *data, unsigned call)
{
    struct nested *nested = data;

    if (call == nested->at) {
        power_host_cut(nested->power, nested->to, POWER_TORN, &nested->random);
    }
}

/* The replay itself loses power somewhere, and is done again. */
static GHashTable *recover_with_cut(const char *directory, uint32_t *random)
{
    struct nested nested = {
        .power = power_host_new(directory),
        .at = 1 + power_random(random) % 60,
        .to = machine_copy_name(&machine),
        .random = power_random(random),
    };
    GHashTable *state;

    power_host_wait(nested.power, INT64_C(4600) * 1000000);
    power_host_watch(nested.power, cut_replay, &nested);
    state = machine_recover(directory, power_host_table(nested.power));
    power_host_free(nested.power);
    if (g_file_test(nested.to, G_FILE_TEST_EXISTS)) {
        g_autoptr(GHashTable) again = machine_recover(nested.to, machine_later());

        machine_check_equal(state, again, "a replay that was cut");
        machine_check_directory(&machine, nested.to, false);
        fixture_remove(strdup(nested.to));
    }
    g_free(nested.to);
    return state;
}

static void cut_here(struct cuts *cuts, enum power_cut kind, unsigned call)
{
    g_autofree char *copy = machine_copy_name(&machine);
    struct outcome outcome = {
        .acknowledged = machine.acknowledged,
        .what = g_strdup_printf("call %u, %s", call, cut_names[kind]),
    };

    power_host_cut(machine.power, copy, kind, &cuts->random);
    cuts->made++;
    outcome.state = cuts->made % 4 == 0 ? recover_with_cut(copy, &cuts->random)
                                        : machine_recover(copy, machine_later());
    machine_check_directory(&machine, copy, cuts->made % 32 == 0);
    if (cuts->made % 8 == 0) {
        g_autoptr(GHashTable) again = machine_recover(copy, machine_later());

        machine_check_equal(outcome.state, again, "opened again");
    }
    g_array_append_val(cuts->outcomes, outcome);
    fixture_remove(strdup(copy));
}

static void watch(void *data, unsigned call)
{
    struct cuts *cuts = data;

    if (call % cuts->every == 0) {
        cut_here(cuts,
                 cuts->kind >= 0 ? (enum power_cut)cuts->kind
                                 : (enum power_cut)(power_random(&cuts->random) % CUT_KINDS),
                 call);
    }
}

static void take_step(struct cuts *cuts, const struct step *step)
{
    machine_step(&machine, step);
    for (guint i = 0; i < cuts->outcomes->len; i++) {
        const struct outcome *outcome = &g_array_index(cuts->outcomes, struct outcome, i);

        machine_check_state(&machine, outcome->state, outcome->acknowledged, outcome->what);
    }
    g_array_set_size(cuts->outcomes, 0);
}

static void begin_cuts(struct cuts *cuts, unsigned every, int kind, uint32_t seed)
{
    *cuts = (struct cuts){
        .outcomes = g_array_new(FALSE, FALSE, sizeof(struct outcome)),
        .every = every,
        .kind = kind,
        .random = seed,
    };
    g_array_set_clear_func(cuts->outcomes, outcome_clear);
    power_host_watch(machine.power, watch, cuts);
}

static void end_cuts(struct cuts *cuts)
{
    power_host_watch(machine.power, NULL, NULL);
    g_array_unref(cuts->outcomes);
}

static void run(const struct step *steps, size_t count, int kind, uint32_t seed)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
    struct cuts cuts;

    machine_init(&machine, &settings, seed);
    begin_cuts(&cuts, 1, kind, seed);
    for (size_t i = 0; i < count; i++) {
        take_step(&cuts, &steps[i]);
    }
    end_cuts(&cuts);
    ck_assert_uint_gt(cuts.made, 0);
    machine_release(&machine);
}

#define SYNC                  \
    {                         \
        STEP_SYNC, 0, 0, 0, 0 \
    }
#define WORK(ms)               \
    {                          \
        STEP_WORK, 0, 0, 0, ms \
    }

static const struct {
    const char *name;
    size_t count;
    struct step steps[10];
} scripts[] = {
    {"append, sync, work, work",
     7,
     {{STEP_APPEND, 0, 0, 0, 500},
      SYNC,
      WORK(200),
      {STEP_APPEND, 0, 0, 0, 1},
      SYNC,
      WORK(200),
      WORK(6000)}},
    {"flags and expunge of two users",
     8,
     {{STEP_FLAG, 0, 0, 0, 3},
      {STEP_FLAG, 1, 0, 0, 3},
      SYNC,
      WORK(200),
      {STEP_EXPUNGE, 0, 0, 0, 1},
      {STEP_FLAG, 1, 0, 0, 4},
      SYNC,
      WORK(16)}},
    {"move between mailboxes",
     7,
     {{STEP_MOVE, 0, 0, 1, 1},
      SYNC,
      WORK(200),
      {STEP_MOVE, 0, 1, 0, 3},
      {STEP_COPY, 0, 0, 0, 0},
      SYNC,
      WORK(200)}},
    {"rename and delete what has just changed",
     10,
     {{STEP_APPEND, 0, 1, 0, 10},
      SYNC,
      {STEP_RENAME, 0, 1, 2, 0},
      SYNC,
      {STEP_APPEND, 0, 2, 0, 11},
      SYNC,
      {STEP_DELETE, 0, 0, 2, 0},
      {STEP_CREATE, 0, 0, 2, 0},
      SYNC,
      WORK(200)}},
    {"a change on top of one that went past the journal, not yet acknowledged",
     4,
     {{STEP_APPEND, 0, 0, 0, 100000}, {STEP_APPEND, 0, 0, 0, 10}, WORK(200), SYNC}},
    {"a mailbox made after a change of the account that is not acknowledged",
     3,
     {{STEP_SUBSCRIBE, 0, 0, 2, 0}, {STEP_CREATE, 0, 0, 2, 0}, SYNC}},
    {"a rename when the account was closed and opened",
     7,
     {{STEP_APPEND, 0, 1, 0, 10},
      {STEP_FLAG, 0, 0, 0, 3},
      SYNC,
      WORK(200),
      {STEP_LOGIN, 0, 0, 0, 0},
      {STEP_RENAME, 0, 1, 2, 0},
      SYNC}},
    {"a message that goes past the journal",
     8,
     {{STEP_APPEND, 0, 0, 0, 500},
      {STEP_APPEND, 0, 0, 0, 100000},
      SYNC,
      {STEP_FLAG, 0, 0, 0, 3},
      SYNC,
      {STEP_APPEND, 0, 0, 0, 600000},
      SYNC,
      WORK(200)}},
};

START_TEST(test_store_journal__survives_a_cut_at_every_call)
{
    int i = _i / CUT_KINDS;

    run(scripts[i].steps, scripts[i].count, _i % CUT_KINDS, 1 + (uint32_t)_i);
}
END_TEST

START_TEST(test_store_journal__survives_cuts_in_random_histories)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
    struct cuts cuts;

    machine_init(&machine, &settings, 77 + (uint32_t)_i);
    begin_cuts(&cuts, 17, -1, 1000 + (uint32_t)_i);
    for (size_t i = 0; i < 120; i++) {
        struct step step = machine_random_step(&machine);

        take_step(&cuts, &step);
    }
    end_cuts(&cuts);
    machine_release(&machine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_journal");
    TCase *tests = tcase_create("power");

    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_store_journal__survives_a_cut_at_every_call, 0,
                        G_N_ELEMENTS(scripts) * CUT_KINDS);
    tcase_add_loop_test(tests, test_store_journal__survives_cuts_in_random_histories, 0, 6);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
