/* What a pack's writer remembers of each object it has written, and the index made of that. */
#ifndef ANNAL_STORE_INTERNAL_PACK_ENTRY_H
#define ANNAL_STORE_INTERNAL_PACK_ENTRY_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

struct pack_entry {
    struct object_id id;
    uint32_t crc;
    uint64_t offset;
    uint8_t type;  /* of the object */
    uint8_t depth; /* deltas down to a whole object */
};

/* The index (gitformat-pack(5), version 2) of a pack with this checksum, for g_free(). Sorts the
 * entries (struct pack_entry) by id. */
uint8_t *pack_index_make(GArray *entries, const uint8_t sum[OBJECT_ID_SIZE], size_t *length);

#endif
