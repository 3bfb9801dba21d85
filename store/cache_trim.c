/* Emptying the caches of accounts that are not used. */

#include "store/internal/account_private.h"
#include "store/internal/object_cache.h"
#include "store/internal/objects_private.h"
#include "store/internal/store_private.h"
#include "store/memory.h"

enum { GIVE_BACK_MIN = 4 * 1024 * 1024 }; /* octets freed, above which the system gets them back */

static struct object_cache *cache_of(const void *account)
{
    return ((const struct account *)account)->objects->cache;
}

void store_share_budget(struct store *store, struct account *account)
{
    object_cache_share(account->objects->cache, store->budget);
}

/* The one that was not used for longest among those that hold something; NULL: none does. */
static struct object_cache *idlest(const struct store *store)
{
    struct object_cache *found = NULL;
    GHashTableIter iterator;
    void *account;

    g_hash_table_iter_init(&iterator, store->accounts);
    while (g_hash_table_iter_next(&iterator, NULL, &account)) {
        struct object_cache *cache = cache_of(account);

        if (object_cache_size(cache) > 0 &&
            (found == NULL || object_cache_idle(cache) > object_cache_idle(found))) {
            found = cache;
        }
    }
    return found;
}

void store_trim_caches(struct store *store)
{
    GHashTableIter iterator;
    struct object_cache *cache;
    void *account;
    size_t freed = 0;

    g_hash_table_iter_init(&iterator, store->accounts);
    while (g_hash_table_iter_next(&iterator, NULL, &account)) {
        cache = cache_of(account);
        object_cache_count_round(cache);
        if (object_cache_idle(cache) >= CACHE_IDLE_ROUNDS) {
            freed += object_cache_size(cache);
            object_cache_clear(cache);
        }
    }
    while (cache_budget_is_short(store->budget) && (cache = idlest(store)) != NULL) {
        freed += object_cache_size(cache);
        object_cache_clear(cache);
    }
    if (freed >= GIVE_BACK_MIN) {
        memory_give_back();
    }
}
