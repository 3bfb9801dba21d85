/* Small objects written or read lately, by id: bounded, the least recently used go first. */
#ifndef ANNAL_STORE_INTERNAL_OBJECT_CACHE_H
#define ANNAL_STORE_INTERNAL_OBJECT_CACHE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/internal/objects.h"
#include "store/object_id.h"

enum {
    OBJECT_CACHE_MAX = 8 * 1024 * 1024,  /* octets in all */
    OBJECT_CACHE_OBJECT_MAX = 64 * 1024, /* octets of one object; larger ones are not kept */
};

struct object_cache;

struct object_cache *object_cache_new(void);
void object_cache_free(struct object_cache *cache); /* accepts NULL */
void object_cache_put(struct object_cache *cache, const struct object_id *id, enum object_type type,
                      GBytes *content);
/* content: borrowed until the next put. */
bool object_cache_get(struct object_cache *cache, const struct object_id *id,
                      enum object_type *type, GBytes **content);

#endif
