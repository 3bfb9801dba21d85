/* How much memory all caches of a process may take together, whatever store, thread and account
 * they belong to. What can be made again from git is a cache: dropping it costs time and nothing
 * else.
 *
 * A cache tells what it takes and gives back. One that grows beyond the budget makes room in itself
 * at once; store_maintain() empties the caches of the accounts that have not been used for longest,
 * until others fit again, and those of accounts that have not been used for CACHE_IDLE_ROUNDS of
 * its calls.
 *
 * [any thread]
 */
#ifndef ANNAL_STORE_CACHE_BUDGET_H
#define ANNAL_STORE_CACHE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CACHE_IDLE_ROUNDS = 12,
    CACHE_BUDGET_DEFAULT = 256 * 1024 * 1024, /* octets */
    CACHE_BUDGET_MIN = 1024 * 1024,
};

struct cache_budget;

/* limit: octets. It outlives the stores that share it. */
struct cache_budget *cache_budget_new(uint64_t limit);
void cache_budget_free(struct cache_budget *budget); /* accepts NULL */

/* A cache has grown by so many octets, or shrunk by as many where change is negative. All accept
 * NULL: no budget. */
void cache_budget_change(struct cache_budget *budget, int64_t change);
uint64_t cache_budget_used(const struct cache_budget *budget);
bool cache_budget_is_over(const struct cache_budget *budget);
/* Less than an eighth is left: time to empty what nobody uses. */
bool cache_budget_is_short(const struct cache_budget *budget);

#endif
