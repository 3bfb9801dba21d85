/* An append-only file of small records keyed by blob id and kind, each with a checksum: results
 * that are kept because they are costly to make again. Bounded: at DERIVED_FILE_MAX the file is
 * begun anew. Whatever is torn or corrupt does not exist; nothing is believed without its checksum.
 * One writer at a time (flock); a second process works without the cache.
 *
 * What is put is written in batches, some 100 kB at a time, when the cache rests and when it is
 * closed; a crash costs what was not written yet. Putting never looks at what is there, so who only
 * puts pays for nothing else. The file is read, never mapped, so that whoever
 * cuts it does no harm. Reading in the order of putting costs a fraction of a microsecond a record.
 *
 * In memory: 10 to 15 octets a record once the cache is used, and DERIVED_BUFFERS octets.
 */
#ifndef ANNAL_STORE_INTERNAL_DERIVED_H
#define ANNAL_STORE_INTERNAL_DERIVED_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

enum {
    DERIVED_FILE_MAX = 1024 * 1024 * 1024, /* octets; below 4 GiB */
    DERIVED_MEMORY_MAX = 16 * 1024 * 1024, /* octets, where there is no file */
    DERIVED_VALUE_MAX = 1024 * 1024,       /* octets; greater values are not kept */
    DERIVED_KIND_MAX = 64,                 /* octets */
    DERIVED_BUFFERS = 256 * 1024,          /* octets, but for values that are greater */
};

struct derived;

/* Never fails: without a usable file it is a cache in memory only. directory is made if absent. */
struct derived *derived_open(const char *directory);
void derived_close(struct derived *derived); /* accepts NULL */

/* Where lookups are counted from now on; borrowed. NULL: nowhere. */
struct cache_budget;
void derived_share(struct derived *derived, struct cache_budget *budget);

/* Sets value to the one that was put last; false if there is none. */
bool derived_get(struct derived *derived, const struct object_id *blob, const char *kind,
                 GByteArray *value);
/* Whether there is one, as far as is known from what was asked and put before. */
bool derived_has(struct derived *derived, const struct object_id *blob, const char *kind);
void derived_put(struct derived *derived, const struct object_id *blob, const char *kind,
                 const void *value, size_t length);

/* To be called now and then: writes what was put, gives the buffers back, and the index, too, when
 * nothing was asked for since the last call. */
void derived_rest(struct derived *derived); /* accepts NULL */

#endif
