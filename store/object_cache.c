#include "store/internal/object_cache.h"

struct cached {
    struct object_id id;
    enum object_type type;
    GBytes *content;
    GList link; /* in order; data is this */
};

struct object_cache {
    GHashTable *by_id; /* struct object_id in struct cached -> struct cached, owned */
    GQueue order;      /* most recently used first */
    size_t bytes;
    struct cache_budget *budget; /* borrowed; NULL: none */
    unsigned idle;               /* rounds since the last use */
    struct cache_lookups lookups;
};

enum { ENTRY_OVERHEAD = 160 };

static size_t cost(const struct cached *cached)
{
    return g_bytes_get_size(cached->content) + ENTRY_OVERHEAD;
}

static void cached_free(void *data)
{
    struct cached *cached = data;

    g_bytes_unref(cached->content);
    g_free(cached);
}

struct object_cache *object_cache_new(void)
{
    struct object_cache *cache = g_new0(struct object_cache, 1);

    cache->by_id = g_hash_table_new_full(object_id_hash, object_id_equal_keys, NULL, cached_free);
    g_queue_init(&cache->order);
    return cache;
}

void object_cache_free(struct object_cache *cache)
{
    if (cache != NULL) {
        cache_lookups_tell(&cache->lookups, cache->budget, CACHE_OBJECTS);
        cache_budget_change(cache->budget, -(int64_t)cache->bytes);
        g_hash_table_destroy(cache->by_id);
        g_free(cache);
    }
}

void object_cache_share(struct object_cache *cache, struct cache_budget *budget)
{
    cache_budget_change(cache->budget, -(int64_t)cache->bytes);
    cache->budget = budget;
    cache_budget_change(cache->budget, (int64_t)cache->bytes);
}

static void drop_oldest(struct object_cache *cache)
{
    GList *link = g_queue_pop_tail_link(&cache->order);
    struct cached *cached = link->data;

    cache->bytes -= cost(cached);
    cache_budget_change(cache->budget, -(int64_t)cost(cached));
    g_hash_table_remove(cache->by_id, &cached->id);
}

void object_cache_put(struct object_cache *cache, const struct object_id *id, enum object_type type,
                      GBytes *content)
{
    if (g_bytes_get_size(content) > OBJECT_CACHE_OBJECT_MAX ||
        g_hash_table_contains(cache->by_id, id)) {
        return;
    }
    struct cached *cached = g_new0(struct cached, 1);
    cached->id = *id;
    cached->type = type;
    cached->content = g_bytes_ref(content);
    cached->link.data = cached;
    g_hash_table_insert(cache->by_id, &cached->id, cached);
    g_queue_push_head_link(&cache->order, &cached->link);
    cache->bytes += cost(cached);
    cache->idle = 0;
    cache_budget_change(cache->budget, (int64_t)cost(cached));
    while (cache->bytes > OBJECT_CACHE_MAX ||
           (cache->order.length > 1 && cache_budget_is_over(cache->budget))) {
        drop_oldest(cache);
    }
}

bool object_cache_get(struct object_cache *cache, const struct object_id *id,
                      enum object_type *type, GBytes **content)
{
    struct cached *cached = g_hash_table_lookup(cache->by_id, id);

    cache_lookups_note(&cache->lookups, cache->budget, CACHE_OBJECTS, cached != NULL);
    if (cached == NULL) {
        return false;
    }
    cache->idle = 0;
    g_queue_unlink(&cache->order, &cached->link);
    g_queue_push_head_link(&cache->order, &cached->link);
    *type = cached->type;
    *content = cached->content;
    return true;
}

size_t object_cache_size(const struct object_cache *cache)
{
    return cache->bytes;
}

void object_cache_clear(struct object_cache *cache)
{
    while (cache->order.length > 0) {
        drop_oldest(cache);
    }
}

void object_cache_count_round(struct object_cache *cache)
{
    cache->idle++;
    cache_lookups_tell(&cache->lookups, cache->budget, CACHE_OBJECTS);
}

unsigned object_cache_idle(const struct object_cache *cache)
{
    return cache->idle;
}
