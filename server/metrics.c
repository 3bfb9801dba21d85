#include "server/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SLOTS = 64, /* threads beyond share them */
    LINE = 64,  /* octets that processors hand to each other */
};

const int64_t metrics_bounds[METRICS_BOUNDS] = {
    100, 300, 1000, 3000, 10000, 30000, 100000, 300000, 1000000, 3000000, 10000000,
};

struct histogram {
    atomic_uint_least64_t buckets[METRICS_BOUNDS + 1];
    atomic_uint_least64_t microseconds;
};

struct slot {
    _Alignas(LINE) atomic_uint_least64_t counters[METRIC_COUNT];
    struct histogram times[METRIC_TIME_COUNT];
    atomic_uint_least64_t results[COMMAND_COUNT][METRIC_RESULT_COUNT];
    struct histogram commands[COMMAND_COUNT];
};

static struct slot slots[SLOTS];
static atomic_uint threads;                  /* that have come so far */
static _Thread_local struct slot *this_slot; /* NULL: not yet chosen */

static struct slot *own_slot(void)
{
    if (this_slot == NULL)
        this_slot = &slots[atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SLOTS];
    return this_slot;
}

static void add(atomic_uint_least64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

size_t metrics_bucket(int64_t microseconds)
{
    size_t bucket = 0;

    while (bucket < METRICS_BOUNDS && microseconds > metrics_bounds[bucket])
        bucket++;
    return bucket;
}

static void add_time(struct histogram *histogram, int64_t microseconds)
{
    add(&histogram->buckets[metrics_bucket(microseconds)], 1);
    if (microseconds > 0)
        add(&histogram->microseconds, (uint64_t)microseconds);
}

void metrics_count(enum metric metric, uint64_t n)
{
    assert(metric < METRIC_COUNT);
    add(&own_slot()->counters[metric], n);
}

void metrics_time(enum metric_time which, int64_t microseconds)
{
    assert(which < METRIC_TIME_COUNT);
    add_time(&own_slot()->times[which], microseconds);
}

void metrics_command(enum command_kind kind, enum metric_result result, int64_t microseconds)
{
    struct slot *slot = own_slot();

    assert(kind < COMMAND_COUNT && result < METRIC_RESULT_COUNT);
    add(&slot->results[kind][result], 1);
    if (kind != COMMAND_IDLE)
        add_time(&slot->commands[kind], microseconds);
}

/* --- reading --- */

static uint64_t sum(const atomic_uint_least64_t *first)
{
    uint64_t total = 0;
    size_t offset = (size_t)((const char *)first - (const char *)&slots[0]);

    for (size_t i = 0; i < SLOTS; i++) {
        const atomic_uint_least64_t *here =
            (const atomic_uint_least64_t *)(const void *)((const char *)&slots[i] + offset);

        total += atomic_load_explicit(here, memory_order_relaxed);
    }
    return total;
}

static void sum_histogram(const struct histogram *first, struct metric_histogram *out)
{
    for (size_t i = 0; i <= METRICS_BOUNDS; i++)
        out->buckets[i] = sum(&first->buckets[i]);
    out->microseconds = sum(&first->microseconds);
}

uint64_t metrics_read(enum metric metric)
{
    return sum(&slots[0].counters[metric]);
}

void metrics_read_time(enum metric_time which, struct metric_histogram *out)
{
    sum_histogram(&slots[0].times[which], out);
}

uint64_t metrics_read_commands(enum command_kind kind, enum metric_result result)
{
    return sum(&slots[0].results[kind][result]);
}

void metrics_read_command_time(enum command_kind kind, struct metric_histogram *out)
{
    sum_histogram(&slots[0].commands[kind], out);
}
