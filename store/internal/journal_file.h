/* The journal's file: its layout, making it and locking it. For journal.c and its tests.
 *
 *   block 0, 1      the header, twice
 *   block 2...      the ring
 *
 * A block is JOURNAL_BLOCK octets; numbers are little-endian; what is not named is zero.
 *
 * Header:
 *    0  8  magic "annaljnl"          24 16  id of the file, random
 *    8  4  version, 1                40  8  octets of the file
 *   12  4  CRC-32 of 16...4095       48  8  generation, rises with each header written
 *   16  8  (zero)                    56  8  sequence number of the first frame of the content
 *                                    64  4  tail: its block, counted from the ring's start
 *                                    68  4  CRC of the frame before it; 0 before the first of all
 *
 * Sequence numbers begin at 1 and stay below 2^63. The newest of the readable ones counts. One of
 * them is always durable while the other is written. The first 16 octets mean the same in all
 * versions; a newer version is refused.
 *
 * Frame: one or more whole blocks of the ring, never across its end.
 *    0  4  magic "aJFr"              24  4  octets of the payload
 *    4  2  version, 1                28  4  records in the payload
 *    6  2  kind: 0 records, 1 skip   32  4  CRC of the frame before
 *    8  8  sequence number           36  4  CRC of the payload
 *   16  8  run: random, of the       40  4  CRC of 0...39
 *          opening that wrote it     44     payload: for each record its length (4), its octets
 *
 * A skip frame has no payload and one block that counts; the next frame is at the ring's start, as
 * it is behind a frame that ends where the ring ends. It has the sequence number of that next frame
 * and is nothing without it. Both CRCs of a frame are CRC-32 of the file's id and then the octets,
 * so frames of another file are never taken for this file's, nor what somebody who chooses the
 * octets of records makes look like one. A frame belongs to the content if it stands where it
 * should, is intact, has the next sequence number, and names the CRC of the frame before it: one
 * that an earlier opening left unfinished does not fit behind what later ones wrote, as the run is
 * part of the CRC. An intact frame of a newer version or unknown kind is refused.
 */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_FILE_H
#define ANNAL_STORE_INTERNAL_JOURNAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"

enum {
    JOURNAL_VERSION = 1,
    JOURNAL_ID_SIZE = 16,
    JOURNAL_HEADERS = 2, /* blocks before the ring */
    JOURNAL_FRAME_HEAD = 44,
    JOURNAL_RECORD_HEAD = 4,
};

struct journal_header {
    uint8_t id[JOURNAL_ID_SIZE];
    uint64_t size;
    uint64_t generation;
    uint64_t sequence;
    uint32_t tail;
    uint32_t previous;
};

enum journal_frame_kind {
    JOURNAL_FRAME_RECORDS = 0,
    JOURNAL_FRAME_SKIP = 1,
};

struct journal_frame {
    enum journal_frame_kind kind;
    uint64_t sequence;
    uint64_t run;
    uint32_t length;
    uint32_t records;
    uint32_t previous;
    uint32_t payload_crc;
    uint32_t crc;
};

/* What octets of a file are. */
enum journal_octets {
    JOURNAL_OCTETS_INTACT,
    JOURNAL_OCTETS_BROKEN, /* or never were that */
    JOURNAL_OCTETS_NEWER,  /* intact, of a version we don't know */
};

/* Fills a block. */
void journal_header_put(const struct journal_header *header, uint8_t *block);

/* Reads a block, and checks all its fields against each other. */
enum journal_octets journal_header_get(struct journal_header *header, const uint8_t *block);

/* With what the CRCs of this file's frames begin. */
uint32_t journal_seed(const struct journal_header *header);

/* Continues a CRC, or begins with the seed. */
uint32_t journal_crc(uint32_t crc, const void *bytes, size_t length);

/* Fills JOURNAL_FRAME_HEAD octets; sets frame->crc. */
void journal_frame_put(struct journal_frame *frame, uint32_t seed, uint8_t *bytes);

/* Reads JOURNAL_FRAME_HEAD octets; the payload and its length's bounds are the caller's to check.
 */
enum journal_octets journal_frame_get(struct journal_frame *frame, uint32_t seed,
                                      const uint8_t *bytes);

/* Blocks of the ring of a file of that size. */
uint32_t journal_ring_blocks(uint64_t size);

/* Opens and locks the file and makes its name durable; *out is the caller's to close.
 * STORE_NOT_FOUND when there is none, STORE_CONFLICT when it is locked or just being replaced;
 * STORE_IO. Blocks. */
int journal_file_open(int *out, const char *path, const struct host *host,
                      struct store_error *error);

/* Makes the file under a temporary name, pre-written with zeros and durable, locks it and renames
 * it into place: over the one that is there, which the caller has locked, or, without replace,
 * only if there is none. Takes size and sequence from *header and sets all else in it.
 * STORE_CONFLICT when somebody else is at it; STORE_NO_SPACE, STORE_NO_MEMORY, STORE_IO. Blocks. */
int journal_file_make(int *out, const char *path, bool replace, struct journal_header *header,
                      const struct host *host, struct store_error *error);

/* Sets the error for a call of the host that returned this; what says which. */
int journal_file_fail(struct store_error *error, int result, const char *path, const char *what);

#endif
