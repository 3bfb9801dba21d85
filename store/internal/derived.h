/* An append-only file of small records keyed by blob id and kind, each with a CRC: results that
 * are kept because they are costly to make again. Bounded: at DERIVED_FILE_MAX the file is begun
 * anew. A torn or corrupt record ends the file there; nothing in it is believed without its CRC.
 * One writer at a time (flock); a second process works without the cache.
 */
#ifndef ANNAL_STORE_INTERNAL_DERIVED_H
#define ANNAL_STORE_INTERNAL_DERIVED_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

enum {
    DERIVED_FILE_MAX = 256 * 1024 * 1024,  /* octets */
    DERIVED_MEMORY_MAX = 16 * 1024 * 1024, /* octets, where there is no file */
    DERIVED_VALUE_MAX = 1024 * 1024,       /* octets; greater values are not kept */
    DERIVED_KIND_MAX = 64,                 /* octets */
};

struct derived;

/* Never fails: without a usable file it is a cache in memory only. directory is made if absent. */
struct derived *derived_open(const char *directory);
void derived_close(struct derived *derived); /* accepts NULL */
bool derived_get(struct derived *derived, const struct object_id *blob, const char *kind,
                 GBytes **value);
void derived_put(struct derived *derived, const struct object_id *blob, const char *kind,
                 const void *value, size_t length);

#endif
