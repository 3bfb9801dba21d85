/* The open journal: shared by journal.c, which writes, and journal_replay.c, which reads. */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_PRIVATE_H
#define ANNAL_STORE_INTERNAL_JOURNAL_PRIVATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/internal/journal.h"
#include "store/internal/journal_file.h"

/* A frame of the content. */
struct journal_frame_end {
    uint32_t end; /* the block of the frame behind it */
    uint32_t crc;
};

struct journal {
    const struct host *host;
    char *path;
    int fd;
    bool replayed;
    bool direct;                  /* writes go past the kernel's cache */
    unsigned slot;                /* the header block that is durable */
    struct journal_header header; /* what it says */
    uint32_t seed;
    uint64_t run;
    uint32_t blocks;  /* of the ring */
    uint32_t head;    /* the block of the next frame */
    uint32_t used;    /* blocks between tail and head */
    uint32_t crc;     /* of the last frame */
    uint64_t written; /* its sequence number */
    GArray *frames;   /* struct journal_frame_end: header.sequence ... written */
    uint8_t *buffer;  /* the next frame: its head and payload; aligned to JOURNAL_BLOCK */
    size_t capacity;
    size_t length; /* of the payload */
    uint32_t records;
};

/* Where a block of the ring is in the file. */
uint64_t journal_offset(uint32_t block);

/* Blocks of a frame with that payload. */
uint32_t journal_frame_blocks(size_t payload);

/* Makes the buffer at least that big. STORE_NO_MEMORY. */
int journal_reserve(struct journal *journal, size_t length, struct store_error *error);

/* Empties the buffer, and gives it back if it has grown. */
void journal_clear_buffer(struct journal *journal);

/* Puts a frame of records, which stands at that block, behind the content. */
void journal_add_frame(struct journal *journal, const struct journal_frame *frame, uint32_t block);

/* From now on what is written goes past the kernel's cache where that can be done, and nothing may
 * be read by this descriptor. */
void journal_write_past_cache(struct journal *journal);

/* Back to the tail, with nothing read. */
void journal_rewind(struct journal *journal);

/* Chooses the header that counts. STORE_UNSUPPORTED, STORE_CORRUPT, STORE_IO. Blocks. */
int journal_read_header(struct journal *journal, struct store_error *error);

/* Reads the frame of records behind the content into the buffer; *found if there is one, and
 * *block is where. The errors of journal_replay(). Blocks. */
int journal_read_next(struct journal *journal, struct journal_frame *frame, uint32_t *block,
                      bool *found, struct store_error *error);

/* What journal_replay() does, without the right to append. */
int journal_read_all(struct journal *journal, journal_visit visit, void *data,
                     struct store_error *error);

#endif
