/* A pack's index (gitformat-pack(5), version 2) as it stands in the file, for those that look after
 * whole packs.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_INDEX_H
#define ANNAL_STORE_INTERNAL_PACK_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

/* A whole file, read-only. */
struct file_map {
    const uint8_t *data;
    size_t length;
};
/* False if it can't be opened or is empty. */
bool file_map_open(struct file_map *out, const char *directory, const char *name,
                   const char *suffix);
void file_map_close(struct file_map *map);

struct pack_index {
    struct file_map map;
    uint32_t count;
    uint32_t large_count; /* offsets of 2 GiB and more */
    const uint8_t *ids;
    const uint8_t *crcs;
    const uint8_t *offsets;
    const uint8_t *large;
};

/* Maps DIRECTORY/NAME.idx; false unless it has exactly the form (its checksum is not looked at). */
bool pack_index_open(struct pack_index *out, const char *directory, const char *name);
void pack_index_close(struct pack_index *index);

/* position is below count. */
const struct object_id *pack_index_id(const struct pack_index *index, uint32_t position);
uint32_t pack_index_crc(const struct pack_index *index, uint32_t position);
/* UINT64_MAX if the table is wrong there. */
uint64_t pack_index_offset(const struct pack_index *index, uint32_t position);

uint32_t get_be32(const uint8_t *bytes);
uint64_t get_be64(const uint8_t *bytes);
void set_be32(uint8_t *out, uint32_t value);

#endif
