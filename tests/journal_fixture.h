/* What tests of the journal share: records that tell which they are, and files to damage. */
#ifndef ANNAL_TESTS_JOURNAL_FIXTURE_H
#define ANNAL_TESTS_JOURNAL_FIXTURE_H

#include <glib.h>
#include <stdint.h>

#include "store/internal/journal.h"
#include "store/internal/journal_file.h"

enum {
    RING_BLOCKS = JOURNAL_SIZE_MIN / JOURNAL_BLOCK - JOURNAL_HEADERS,
    RING_OCTETS = RING_BLOCKS * JOURNAL_BLOCK,
    /* A frame with this record takes one block. */
    RECORD_ONE_BLOCK = JOURNAL_BLOCK - JOURNAL_FRAME_HEAD - JOURNAL_RECORD_HEAD,
};

/* The system's, which waits for no disk: nothing that uses it is about power cuts. */
const struct host *quiet_host(void);

/* Record number n with that length (at least 4), in pieces. */
int append_record(struct journal *journal, uint32_t n, size_t length, struct store_error *error);
/* The same, with a length from 4 to several blocks that comes from n. */
int append_any(struct journal *journal, uint32_t n, struct store_error *error);

/* A frame of its own for the record; all must succeed. */
void write_record(struct journal *journal, uint32_t n, size_t length);

/* journal_visit: appends the number of the record to data, a GArray of uint32_t; aborts unless all
 * its octets are right. */
int collect_record(void *data, const void *record, size_t length, struct store_error *error);

/* Opens and replays, must succeed; fills numbers, if not NULL. */
struct journal *open_journal(const char *path, const struct host *host, GArray *numbers);

/* The content must be first ... end - 1. */
void check_content(const char *path, uint32_t first, uint32_t end);

/* The whole file; for free(). */
uint8_t *read_image(const char *path, size_t *size);
void write_image(const char *path, const uint8_t *image, size_t size);

/* Where that block of the ring is in an image. */
uint8_t *ring_block(uint8_t *image, uint32_t block);

#endif
