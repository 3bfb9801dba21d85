/* What the files of the pack reader share: pack_file.c maps and looks up, pack_file_read.c reads.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_FILE_PRIVATE_H
#define ANNAL_STORE_INTERNAL_PACK_FILE_PRIVATE_H

#include "store/internal/pack_file.h"

enum {
    PACK_HEADER = 12,
    PACK_TRAILER = OBJECT_ID_SIZE,
};

struct pack_file {
    gint references; /* atomic */
    const uint8_t *pack;
    size_t pack_length;
    size_t end; /* of the entries */
    const uint8_t *index;
    size_t index_length;
    uint32_t count;
    const uint8_t *fanout;
    const uint8_t *ids;
    const uint8_t *crcs;
    const uint8_t *offsets;
    const uint8_t *large; /* offsets of eight octets */
    size_t large_count;
};

static inline uint32_t pack_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint32_t pack_file_crc(const struct pack_file *pack, uint32_t position);

/* Where the entry begins; false if the index says something impossible. */
bool pack_file_offset(const struct pack_file *pack, uint32_t position, size_t *offset);

#endif
