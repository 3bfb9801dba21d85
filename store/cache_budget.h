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

/* --- how much they help --- */

enum cache_kind { CACHE_OBJECTS, CACHE_DERIVED, CACHE_KIND_COUNT };

/* So many lookups found what they looked for, and so many did not. */
void cache_budget_count(struct cache_budget *budget, enum cache_kind kind, uint64_t hits,
                        uint64_t misses);
uint64_t cache_budget_hits(const struct cache_budget *budget, enum cache_kind kind);
uint64_t cache_budget_misses(const struct cache_budget *budget, enum cache_kind kind);

enum { CACHE_LOOKUPS_KEPT = 64 };

/* A cache's own, for one thread: told to the budget now and then. */
struct cache_lookups {
    unsigned hits;
    unsigned misses;
};

void cache_lookups_note(struct cache_lookups *lookups, struct cache_budget *budget,
                        enum cache_kind kind, bool hit);
/* What was noted and not told. */
void cache_lookups_tell(struct cache_lookups *lookups, struct cache_budget *budget,
                        enum cache_kind kind);

#endif
