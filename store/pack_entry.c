#include "store/internal/pack_entry.h"

#include <stdlib.h>
#include <string.h>

#include "store/internal/pack_index.h"
#include "store/internal/sha1.h"

enum {
    FANOUT = 256,
    INDEX_HEADER = 8,
};

static int compare_entries(const void *a, const void *b)
{
    return memcmp(((const struct pack_entry *)a)->id.bytes,
                  ((const struct pack_entry *)b)->id.bytes, OBJECT_ID_SIZE);
}

static uint8_t *put_fanout(uint8_t *out, const GArray *entries)
{
    uint32_t at = 0;

    for (unsigned first = 0; first < FANOUT; first++) {
        while (at < entries->len &&
               g_array_index(entries, struct pack_entry, at).id.bytes[0] <= first) {
            at++;
        }
        set_be32(out, at);
        out += 4;
    }
    return out;
}

static bool is_large(const struct pack_entry *entry)
{
    return entry->offset >= 0x80000000;
}

/* Four octets each; a large one's are a position in a table of eight octets each, which follows. */
static uint8_t *put_offsets(uint8_t *out, const GArray *entries)
{
    uint8_t *large = out + (size_t)entries->len * 4;
    uint32_t count = 0;

    for (uint32_t i = 0; i < entries->len; i++) {
        const struct pack_entry *entry = &g_array_index(entries, struct pack_entry, i);

        if (is_large(entry)) {
            set_be32(out, 0x80000000 | count++);
            set_be32(large, (uint32_t)(entry->offset >> 32));
            set_be32(large + 4, (uint32_t)entry->offset);
            large += 8;
        } else {
            set_be32(out, (uint32_t)entry->offset);
        }
        out += 4;
    }
    return large;
}

static size_t index_size(const GArray *entries)
{
    size_t size = INDEX_HEADER + FANOUT * 4 + 2 * OBJECT_ID_SIZE;

    for (uint32_t i = 0; i < entries->len; i++) {
        size += OBJECT_ID_SIZE + 8;
        size += is_large(&g_array_index(entries, struct pack_entry, i)) ? 8 : 0;
    }
    return size;
}

uint8_t *pack_index_make(GArray *entries, const uint8_t sum[OBJECT_ID_SIZE], size_t *length)
{
    static const uint8_t header[INDEX_HEADER] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    struct sha1 sha1;

    *length = index_size(entries);
    uint8_t *index = g_malloc(*length);
    uint8_t *at = index + INDEX_HEADER;
    qsort(entries->data, entries->len, sizeof(struct pack_entry), compare_entries);
    memcpy(index, header, sizeof(header));
    at = put_fanout(at, entries);
    for (uint32_t i = 0; i < entries->len; i++, at += OBJECT_ID_SIZE) {
        memcpy(at, g_array_index(entries, struct pack_entry, i).id.bytes, OBJECT_ID_SIZE);
    }
    for (uint32_t i = 0; i < entries->len; i++, at += 4) {
        set_be32(at, g_array_index(entries, struct pack_entry, i).crc);
    }
    at = put_offsets(at, entries);
    memcpy(at, sum, OBJECT_ID_SIZE);
    at += OBJECT_ID_SIZE;
    sha1_init(&sha1);
    sha1_update(&sha1, index, (size_t)(at - index));
    sha1_sum(&sha1, at);
    return index;
}
