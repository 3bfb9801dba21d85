/* Small objects written or read lately, by id: bounded, also by the process's budget for caches;
 * the least recently used go first. */
#ifndef ANNAL_STORE_INTERNAL_OBJECT_CACHE_H
#define ANNAL_STORE_INTERNAL_OBJECT_CACHE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/cache_budget.h"
#include "store/internal/objects.h"
#include "store/object_id.h"

enum {
    OBJECT_CACHE_MAX = 8 * 1024 * 1024,  /* octets in all */
    OBJECT_CACHE_OBJECT_MAX = 64 * 1024, /* octets of one object; larger ones are not kept */
};

struct object_cache;

struct object_cache *object_cache_new(void);
void object_cache_free(struct object_cache *cache); /* accepts NULL */
/* Borrowed; NULL: none. */
void object_cache_share(struct object_cache *cache, struct cache_budget *budget);
void object_cache_put(struct object_cache *cache, const struct object_id *id, enum object_type type,
                      GBytes *content);
/* content: borrowed until the next put. */
bool object_cache_get(struct object_cache *cache, const struct object_id *id,
                      enum object_type *type, GBytes **content);

/* Octets that it takes. */
size_t object_cache_size(const struct object_cache *cache);
void object_cache_clear(struct object_cache *cache);

/* How many rounds have been counted since it was last used: asked for or added to. */
void object_cache_count_round(struct object_cache *cache);
unsigned object_cache_idle(const struct object_cache *cache);

#endif
