/* The file of derived results (derived.h) without its keys: records put at its end in batches, and
 * octets read from any place of it.
 *
 * The file:
 *
 *   "annal-derived 3\n"
 *   batches, one after the other without a gap; numbers are big-endian
 *      0   4  "ADB3"
 *      4   4  count of records, at least 1
 *      8   4  octets of the records, at most DERIVED_BATCH_MAX
 *     12   4  0
 *     16   8  checksum of octets 0 to 15 and the table
 *     24      the records, one after the other
 *             the table: for each record
 *                0  4  hash of its key
 *                4  4  its place, octets from the first record on
 *
 * A file that begins otherwise is begun anew; a batch whose head or table is wrong is the end of
 * the file, and the rest is cut off. Nothing is ever synced.
 */
#ifndef ANNAL_STORE_INTERNAL_DERIVED_FILE_H
#define ANNAL_STORE_INTERNAL_DERIVED_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    DERIVED_FLUSH_AT = 128 * 1024, /* octets of records that wait to be written */
    DERIVED_RECORD_MAX = 2 * 1024 * 1024,
    DERIVED_BATCH_MAX = DERIVED_FLUSH_AT + DERIVED_RECORD_MAX,
};

struct derived_file {
    int fd;            /* -1: neither file nor memory could be had */
    uint64_t end;      /* of what is written; 0: not looked at yet */
    uint64_t limit;    /* octets */
    GByteArray *batch; /* to be written at end, its head blank as yet; NULL: none */
    GByteArray *table; /* the batch's */
    uint8_t *window;   /* what was read last */
    size_t window_room;
    size_t window_length;
    uint64_t window_start;
};

/* Opens DIRECTORY/derived, which is made if absent; a file in memory if there can be none. */
void derived_file_open(struct derived_file *file, const char *directory);
/* Writes what waits. */
void derived_file_close(struct derived_file *file);

/* Makes ready to add records. False if there is no file to work with. What stands at the end of the
 * file is not looked at: where it is torn, what is added is found by nobody. */
bool derived_file_prepare(struct derived_file *file);

/* Writes what waits, then calls entry for each record, in their order, with the hash of its key;
 * cuts off what is wrong. False if there is no file to work with, then or because entry returned
 * false. entry may view. */
bool derived_file_scan(struct derived_file *file,
                       bool (*entry)(void *data, uint32_t hash, uint32_t offset), void *data);

/* Octets of records, written or not; NULL if there are not so many. Valid until the next call. */
const uint8_t *derived_file_view(struct derived_file *file, uint64_t offset, size_t length);

/* Whether a record of that size, at most DERIVED_RECORD_MAX, fits below the limit. */
bool derived_file_has_room(const struct derived_file *file, size_t size);
/* Adds a record, for which there is room: its octets are to be filled in before the next call.
 * Returns its place. */
uint32_t derived_file_add(struct derived_file *file, uint32_t hash, size_t size, uint8_t **octets);
/* Writes the records that wait, if they are many. */
void derived_file_added(struct derived_file *file);
/* Writes the records that wait and gives the buffers back. */
void derived_file_rest(struct derived_file *file);
/* Begins anew. */
bool derived_file_clear(struct derived_file *file);

/* Four lanes of eight octets. Each step can be undone, so a change within one lane never goes
 * unseen, and any other one time in 2^64; several times as fast as a CRC. */
uint64_t derived_checksum(const uint8_t *bytes, size_t length);

/* Big-endian numbers. */
static inline void derived_put32(uint8_t *out, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    memcpy(out, &value, sizeof(value));
}

static inline uint32_t derived_get32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return GUINT32_FROM_BE(value);
}

static inline void derived_put64(uint8_t *out, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    memcpy(out, &value, sizeof(value));
}

static inline uint64_t derived_get64(const uint8_t *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof(value));
    return GUINT64_FROM_BE(value);
}

#endif
