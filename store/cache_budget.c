#include "store/cache_budget.h"

#include <glib.h>
#include <stdatomic.h>

struct cache_budget {
    uint64_t limit;
    atomic_int_least64_t used;
    atomic_uint_least64_t hits[CACHE_KIND_COUNT];
    atomic_uint_least64_t misses[CACHE_KIND_COUNT];
};

struct cache_budget *cache_budget_new(uint64_t limit)
{
    struct cache_budget *budget = g_new0(struct cache_budget, 1);

    budget->limit = limit;
    atomic_init(&budget->used, 0);
    return budget;
}

void cache_budget_free(struct cache_budget *budget)
{
    g_free(budget);
}

void cache_budget_change(struct cache_budget *budget, int64_t change)
{
    if (budget != NULL) {
        atomic_fetch_add_explicit(&budget->used, change, memory_order_relaxed);
    }
}

uint64_t cache_budget_used(const struct cache_budget *budget)
{
    return budget == NULL ? 0 : (uint64_t)atomic_load_explicit(&budget->used, memory_order_relaxed);
}

bool cache_budget_is_over(const struct cache_budget *budget)
{
    return budget != NULL && cache_budget_used(budget) > budget->limit;
}

bool cache_budget_is_short(const struct cache_budget *budget)
{
    return budget != NULL && cache_budget_used(budget) > budget->limit - budget->limit / 8;
}

void cache_budget_count(struct cache_budget *budget, enum cache_kind kind, uint64_t hits,
                        uint64_t misses)
{
    if (budget != NULL) {
        atomic_fetch_add_explicit(&budget->hits[kind], hits, memory_order_relaxed);
        atomic_fetch_add_explicit(&budget->misses[kind], misses, memory_order_relaxed);
    }
}

uint64_t cache_budget_hits(const struct cache_budget *budget, enum cache_kind kind)
{
    return budget == NULL ? 0 : atomic_load_explicit(&budget->hits[kind], memory_order_relaxed);
}

uint64_t cache_budget_misses(const struct cache_budget *budget, enum cache_kind kind)
{
    return budget == NULL ? 0 : atomic_load_explicit(&budget->misses[kind], memory_order_relaxed);
}

void cache_lookups_note(struct cache_lookups *lookups, struct cache_budget *budget,
                        enum cache_kind kind, bool hit)
{
    if (hit) {
        lookups->hits++;
    } else {
        lookups->misses++;
    }
    if (lookups->hits + lookups->misses >= CACHE_LOOKUPS_KEPT) {
        cache_lookups_tell(lookups, budget, kind);
    }
}

void cache_lookups_tell(struct cache_lookups *lookups, struct cache_budget *budget,
                        enum cache_kind kind)
{
    if (lookups->hits + lookups->misses > 0) {
        cache_budget_count(budget, kind, lookups->hits, lookups->misses);
    }
    *lookups = (struct cache_lookups){0};
}
