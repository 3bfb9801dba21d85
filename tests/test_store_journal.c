/* A store with a journal on a machine that loses power: at every call, with everything that was not
 * synced lost, there, or torn. What was acknowledged is there, exactly; what was not is there
 * wholly or not at all; and the packs are those that there were.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* --- the same packs --- */

/* That the octets are the same, too, machine_check_directory() knows. */
static GHashTable *pack_names(const char *directory)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        g_autofree char *path =
            g_strdup_printf("%s/mail/%s.git/objects/pack", directory, machine_users[u]);
        DIR *handle = opendir(path);
        const struct dirent *entry;

        ck_assert_ptr_nonnull(handle);
        while ((entry = readdir(handle)) != NULL) {
            if (g_str_has_suffix(entry->d_name, ".pack")) {
                g_hash_table_add(names, g_strdup_printf("%s/%s", machine_users[u], entry->d_name));
            }
        }
        closedir(handle);
    }
    return names;
}

static void check_same_packs(void)
{
    g_autofree char *copy = machine_copy_name(&machine);
    g_autoptr(GHashTable) expected = pack_names(machine.directory);
    GHashTableIter iterator;
    void *name;

    power_host_cut(machine.power, copy, POWER_LOST, &machine.random);
    g_autoptr(GHashTable) state = machine_recover(copy, machine_later());
    g_autoptr(GHashTable) found = pack_names(copy);
    machine_check_equal(machine.states->pdata[machine.states->len - 1], state, "all of it");
    g_hash_table_iter_init(&iterator, expected);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        ck_assert_msg(g_hash_table_contains(found, name), "%s was not made again", (char *)name);
    }
    ck_assert_uint_eq(g_hash_table_size(expected), g_hash_table_size(found));
    machine_check_directory(&machine, copy, false);
    fixture_remove(strdup(copy));
}

/* So short that nothing is merged meanwhile. */
START_TEST(test_store_journal__makes_the_same_packs_in_a_replay)
{
    struct store_journal settings = {.size = 4 * 1024 * 1024};

    machine_init(&machine, &settings, 300 + (uint32_t)_i);
    for (unsigned i = 0; i < 50; i++) {
        struct step step = machine_random_step(&machine);

        machine_step(&machine, &step);
        if (i % 10 == 9) {
            machine_step(&machine, &(struct step)SYNC);
            machine_step(&machine, &(struct step)WORK(800));
            check_same_packs();
        }
    }
    machine_release(&machine);
}
END_TEST

/* --- a journal that is damaged --- */

/* What it says from the damage on is lost; nothing else, and nothing is made of what is left. */
static void check_damaged(const char *copy, guint durable)
{
    g_autofree char *damaged = machine_copy_name(&machine);
    g_autofree char *path = g_strconcat(damaged, "/journal/0", NULL);
    struct power_host *source = power_host_new(copy);
    uint8_t octet;
    int fd;

    power_host_cut(source, damaged, POWER_WRITTEN, &machine.random);
    power_host_free(source);
    fd = open(path, O_RDWR | O_CLOEXEC);
    /* The headers are two for that reason; frames begin behind them. */
    off_t at = (off_t)(power_random(&machine.random) % (20 * POWER_BLOCK));
    ck_assert_int_eq(pread(fd, &octet, 1, at), 1);
    octet ^= (uint8_t)(1 << power_random(&machine.random) % 8);
    ck_assert_int_eq(pwrite(fd, &octet, 1, at), 1);
    close(fd);
    g_autoptr(GHashTable) state = machine_recover(damaged, machine_later());
    machine_check_state(&machine, state, durable, "damaged");
    machine_check_directory(&machine, damaged, false);
    fixture_remove(strdup(damaged));
}

START_TEST(test_store_journal__loses_no_more_than_what_is_damaged)
{
    struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};

    machine_init(&machine, &settings, 900 + (uint32_t)_i);
    for (unsigned round = 0; round < 4; round++) {
        machine_step(&machine, &(struct step){STEP_FLUSH, 0, 0, 0, 0});
        guint durable = machine.states->len - 1;
        for (unsigned i = 0; i < 5; i++) {
            machine_step(&machine, &(struct step){STEP_APPEND, i % 2, i % 3 == 0, 0, 10});
            machine_step(&machine, &(struct step){STEP_MOVE, i % 2, 0, 1, 1});
            machine_step(&machine, &(struct step)SYNC);
        }
        g_autofree char *copy = machine_copy_name(&machine);
        power_host_cut(machine.power, copy, POWER_LOST, &machine.random);
        for (unsigned i = 0; i < 30; i++) {
            check_damaged(copy, durable);
        }
        fixture_remove(strdup(copy));
    }
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
    tcase_add_loop_test(tests, test_store_journal__survives_cuts_in_random_histories, 0, 4);
    tcase_add_loop_test(tests, test_store_journal__makes_the_same_packs_in_a_replay, 0, 5);
    tcase_add_loop_test(tests, test_store_journal__loses_no_more_than_what_is_damaged, 0, 2);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
