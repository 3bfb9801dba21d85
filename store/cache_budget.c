#include "store/cache_budget.h"

#include <glib.h>
#include <stdatomic.h>

struct cache_budget {
    uint64_t limit;
    atomic_int_least64_t used;
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
