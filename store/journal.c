#include "store/internal/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/journal_private.h"

enum {
    BUFFER_MIN = 64 * 1024,        /* octets at first */
    BUFFER_KEPT = 4 * 1024 * 1024, /* above this it is given back after use */
};

/* What reading and writing share */

int journal_reserve(struct journal *journal, size_t length, struct store_error *error)
{
    size_t capacity = journal->capacity > 0 ? journal->capacity : (size_t)BUFFER_MIN;

    while (capacity < length) {
        capacity *= 2;
    }
    if (capacity == journal->capacity) {
        return 0;
    }
    uint8_t *buffer = aligned_alloc(JOURNAL_BLOCK, capacity);
    if (buffer == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s: %zu octets", journal->path,
                               capacity);
    }
    if (journal->buffer != NULL) {
        memcpy(buffer, journal->buffer, journal->capacity);
        free(journal->buffer);
    }
    journal->buffer = buffer;
    journal->capacity = capacity;
    return 0;
}

void journal_clear_buffer(struct journal *journal)
{
    journal->length = 0;
    journal->records = 0;
    if (journal->capacity > BUFFER_KEPT) {
        free(journal->buffer);
        journal->buffer = NULL;
        journal->capacity = 0;
    }
}

uint32_t journal_frame_blocks(size_t payload)
{
    return (uint32_t)((JOURNAL_FRAME_HEAD + payload + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK);
}

void journal_add_frame(struct journal *journal, const struct journal_frame *frame, uint32_t block)
{
    uint32_t skipped = block == journal->head ? 0 : journal->blocks - journal->head;
    uint32_t length = journal_frame_blocks(frame->length);
    struct journal_frame_end end = {(block + length) % journal->blocks, frame->crc};

    journal->used += skipped + length;
    journal->head = end.end;
    journal->crc = end.crc;
    journal->written = frame->sequence;
    g_array_append_val(journal->frames, end);
}

void journal_rewind(struct journal *journal)
{
    journal->seed = journal_seed(&journal->header);
    journal->blocks = journal_ring_blocks(journal->header.size);
    journal->head = journal->header.tail;
    journal->used = 0;
    journal->crc = journal->header.previous;
    journal->written = journal->header.sequence - 1;
}

/* Opening and closing */

static uint64_t allowed_size(uint64_t size)
{
    size -= size % JOURNAL_BLOCK;
    if (size < JOURNAL_SIZE_MIN) {
        return JOURNAL_SIZE_MIN;
    }
    return size > JOURNAL_SIZE_MAX ? (uint64_t)JOURNAL_SIZE_MAX : size;
}

static int make(struct journal *journal, uint64_t size, bool replace, struct store_error *error)
{
    int old = journal->fd;

    journal->header.size = size;
    int result = journal_file_make(&journal->fd, journal->path, replace, &journal->header,
                                   journal->host, error);
    if (result == 0 && old >= 0) {
        journal->host->close(journal->host->data, old);
    }
    return result;
}

/* After a write that failed, memory may show what the disk has not: read from the disk. */
static int forget_cached(struct journal *journal, struct store_error *error)
{
    int result = journal->host->fdatasync(journal->host->data, journal->fd);

    if (result < 0) {
        return journal_file_fail(error, result, journal->path, "sync");
    }
    posix_fadvise(journal->fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

static int resize_if_empty(struct journal *journal, uint64_t size, struct store_error *error)
{
    struct journal_frame frame;
    uint32_t block;
    bool found;

    journal_rewind(journal);
    if (size == journal->header.size) {
        return 0;
    }
    int result = journal_read_next(journal, &frame, &block, &found, error);
    if (result < 0 || found) {
        return result;
    }
    result = make(journal, size, true, error);
    if (result == 0) {
        journal->slot = 0;
        journal_rewind(journal);
    }
    return result;
}

static int open_file(struct journal *journal, uint64_t size, struct store_error *error)
{
    int result = journal_file_open(&journal->fd, journal->path, journal->host, error);

    if (result == STORE_NOT_FOUND) {
        journal->header.sequence = 1;
        result = make(journal, allowed_size(size), false, error);
    } else if (result == 0) {
        result = forget_cached(journal, error);
        if (result == 0) {
            result = journal_read_header(journal, error);
        }
    }
    if (result == 0) {
        result =
            resize_if_empty(journal, size > 0 ? allowed_size(size) : journal->header.size, error);
    }
    return result;
}

int journal_open(struct journal **out, const char *path, uint64_t size, const struct host *host,
                 struct store_error *error)
{
    struct journal *journal = calloc(1, sizeof(*journal));

    if (journal == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s", path);
    }
    journal->host = host;
    journal->fd = -1;
    journal->path = g_strdup(path);
    journal->frames = g_array_new(FALSE, FALSE, sizeof(struct journal_frame_end));

    int result = host->random(host->data, &journal->run, sizeof(journal->run));

    if (result < 0) {
        result = journal_file_fail(error, result, path, "random octets");
    } else {
        result = open_file(journal, size, error);
    }
    if (result < 0) {
        journal_close(journal);
        return result;
    }
    *out = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    if (journal->fd >= 0) {
        journal->host->close(journal->host->data, journal->fd);
    }
    g_array_free(journal->frames, TRUE);
    free(journal->buffer);
    g_free(journal->path);
    free(journal);
}

enum { WIPE_BLOCKS = 256 }; /* in one write */

/* Writing */

/* The blocks that are free behind the head, and those at the ring's start, which a skip frame at
 * the head leads to. */
static void find_free(const struct journal *journal, uint32_t *behind, uint32_t *start)
{
    uint32_t tail = journal->header.tail;
    bool around = journal->used > 0 && journal->head <= tail;

    *behind = around ? journal->blocks - journal->used : journal->blocks - journal->head;
    *start = around ? 0 : tail;
}

/* Finds the place of a frame of that many blocks. */
static bool find_place(const struct journal *journal, uint32_t need, uint32_t *block)
{
    uint32_t behind, start;

    find_free(journal, &behind, &start);
    *block = need <= behind ? journal->head : 0;
    return need <= behind || need <= start;
}

static size_t place_max(const struct journal *journal)
{
    /* An empty ring whose head is in the middle has two places of this size. */
    return (size_t)(journal->blocks / 2) * JOURNAL_BLOCK - JOURNAL_FRAME_HEAD;
}

size_t journal_record_max(const struct journal *journal)
{
    return place_max(journal) - JOURNAL_RECORD_HEAD;
}

int journal_append(struct journal *journal, const struct journal_piece *pieces, size_t count,
                   struct store_error *error)
{
    size_t max = (size_t)journal->blocks * JOURNAL_BLOCK;
    size_t length = 0;
    uint32_t unused;

    assert(journal->replayed);
    for (size_t i = 0; i < count; i++) {
        length = pieces[i].length > max - length ? max : length + pieces[i].length;
    }
    size_t payload = journal->length + JOURNAL_RECORD_HEAD + length;
    uint32_t need = journal_frame_blocks(payload);
    if (!find_place(journal, need, &unused)) {
        return store_error_set(error, STORE_LIMIT, "journal %s: no room for %zu octets",
                               journal->path, length);
    }
    int result = journal_reserve(journal, (size_t)need * JOURNAL_BLOCK, error);
    if (result < 0) {
        return result;
    }
    uint8_t *next = journal->buffer + JOURNAL_FRAME_HEAD + journal->length;
    for (size_t i = 0; i < JOURNAL_RECORD_HEAD; i++) {
        *next++ = (uint8_t)(length >> (8 * i));
    }
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].length > 0) {
            memcpy(next, pieces[i].data, pieces[i].length);
            next += pieces[i].length;
        }
    }
    journal->length = payload;
    journal->records++;
    return 0;
}

size_t journal_waiting(const struct journal *journal)
{
    uint32_t need = journal_frame_blocks(journal->length);
    uint32_t block;

    if (journal->records == 0) {
        return 0;
    }
    bool skips = find_place(journal, need, &block) && block != journal->head;
    return (size_t)(need + (skips ? 1 : 0)) * JOURNAL_BLOCK;
}

void journal_write_past_cache(struct journal *journal)
{
    int flags = fcntl(journal->fd, F_GETFL);

    journal->direct = flags >= 0 && fcntl(journal->fd, F_SETFL, flags | O_DIRECT) == 0;
}

/* Whole blocks, aligned to JOURNAL_BLOCK. */
static int write_at(struct journal *journal, const void *bytes, size_t length, uint64_t offset)
{
    const struct host *host = journal->host;
    int result = host->pwrite(host->data, journal->fd, bytes, length, offset);

    /* A disk with blocks that are larger than ours. */
    if (result == -EINVAL && journal->direct) {
        journal->direct = false;
        fcntl(journal->fd, F_SETFL, fcntl(journal->fd, F_GETFL) & ~O_DIRECT);
        result = host->pwrite(host->data, journal->fd, bytes, length, offset);
    }
    return result;
}

static int write_skip(struct journal *journal, struct journal_frame *skip)
{
    alignas(JOURNAL_BLOCK) uint8_t block[JOURNAL_BLOCK] = {0};

    *skip = (struct journal_frame){
        .kind = JOURNAL_FRAME_SKIP,
        .sequence = journal->written + 1,
        .run = journal->run,
        .previous = journal->crc,
        .payload_crc = journal->seed,
    };
    journal_frame_put(skip, journal->seed, block);
    return write_at(journal, block, sizeof(block), journal_offset(journal->head));
}

/* Fills in the head of the gathered frame, which comes behind the last one or behind skip. */
static void finish_frame(struct journal *journal, struct journal_frame *frame,
                         const struct journal_frame *skip)
{
    size_t end = JOURNAL_FRAME_HEAD + journal->length;
    size_t padded = (size_t)journal_frame_blocks(journal->length) * JOURNAL_BLOCK;

    *frame = (struct journal_frame){
        .kind = JOURNAL_FRAME_RECORDS,
        .sequence = journal->written + 1,
        .run = journal->run,
        .length = (uint32_t)journal->length,
        .records = journal->records,
        .previous = skip != NULL ? skip->crc : journal->crc,
        .payload_crc =
            journal_crc(journal->seed, journal->buffer + JOURNAL_FRAME_HEAD, journal->length),
    };
    journal_frame_put(frame, journal->seed, journal->buffer);
    memset(journal->buffer + end, 0, padded - end);
}

int journal_sync(struct journal *journal, struct store_error *error)
{
    struct journal_frame skip, frame;
    uint32_t need = journal_frame_blocks(journal->length);
    uint32_t block = 0;
    int result = 0;

    assert(journal->replayed);
    if (journal->records == 0) {
        return 0;
    }
    /* There was room when the last record was appended, and a checkpoint only makes more. */
    bool placed = find_place(journal, need, &block);
    bool skips = block != journal->head;
    assert(placed);
    if (!placed) {
        return store_error_set(error, STORE_LIMIT, "journal %s: no room", journal->path);
    }
    if (skips) {
        result = write_skip(journal, &skip);
    }
    if (result == 0) {
        finish_frame(journal, &frame, skips ? &skip : NULL);
        result =
            write_at(journal, journal->buffer, (size_t)need * JOURNAL_BLOCK, journal_offset(block));
    }
    if (result == 0) {
        result = journal->host->fdatasync(journal->host->data, journal->fd);
    }
    if (result < 0) {
        return journal_file_fail(error, result, journal->path, "sync");
    }
    journal_add_frame(journal, &frame, block);
    journal_clear_buffer(journal);
    return 0;
}

uint64_t journal_written(const struct journal *journal)
{
    return journal->written;
}

uint64_t journal_size(const struct journal *journal)
{
    return (uint64_t)journal->blocks * JOURNAL_BLOCK;
}

uint64_t journal_used(const struct journal *journal)
{
    return (uint64_t)journal->used * JOURNAL_BLOCK;
}

uint64_t journal_room(const struct journal *journal)
{
    uint32_t behind, start;

    find_free(journal, &behind, &start);
    return (uint64_t)(behind > start ? behind : start) * JOURNAL_BLOCK;
}

static int write_header(struct journal *journal, const struct journal_header *header, unsigned slot)
{
    alignas(JOURNAL_BLOCK) uint8_t block[JOURNAL_BLOCK];

    journal_header_put(header, block);
    return write_at(journal, block, sizeof(block), (uint64_t)slot * JOURNAL_BLOCK);
}

int journal_checkpoint(struct journal *journal, uint64_t sequence, struct store_error *error)
{
    struct journal_header *header = &journal->header;

    assert(journal->replayed && sequence <= journal->written);
    if (sequence < header->sequence) {
        return 0;
    }
    guint count = (guint)(sequence - header->sequence + 1);
    struct journal_frame_end last =
        g_array_index(journal->frames, struct journal_frame_end, count - 1);
    struct journal_header next = *header;
    unsigned slot = 1 - journal->slot;

    next.generation++;
    next.sequence = sequence + 1;
    next.tail = last.end;
    next.previous = last.crc;
    int result = write_header(journal, &next, slot);
    if (result == 0) {
        result = journal->host->fdatasync(journal->host->data, journal->fd);
    }
    if (result < 0) {
        return journal_file_fail(error, result, journal->path, "checkpoint");
    }
    /* The other one too, so that the loss of a block loses nothing: durable with what is synced
     * next, and no reason to fail. */
    write_header(journal, &next, journal->slot);
    *header = next;
    journal->slot = slot;
    g_array_remove_range(journal->frames, 0, count);
    /* Not full: a frame was taken away. */
    journal->used = (journal->head + journal->blocks - next.tail) % journal->blocks;
    return 0;
}

int journal_wipe(struct journal *journal, struct store_error *error)
{
    const struct host *host = journal->host;
    uint32_t left = journal->blocks - journal->used;
    uint32_t block = journal->head % journal->blocks;
    uint8_t *zeros = aligned_alloc(JOURNAL_BLOCK, (size_t)WIPE_BLOCKS * JOURNAL_BLOCK);
    int result = 0;

    assert(journal->replayed);
    if (zeros == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s", journal->path);
    }
    memset(zeros, 0, (size_t)WIPE_BLOCKS * JOURNAL_BLOCK);
    while (left > 0 && result == 0) {
        uint32_t count = MIN(MIN(left, journal->blocks - block), (uint32_t)WIPE_BLOCKS);

        result = write_at(journal, zeros, (size_t)count * JOURNAL_BLOCK, journal_offset(block));
        block = (block + count) % journal->blocks;
        left -= count;
    }
    if (result == 0) {
        result = host->fdatasync(host->data, journal->fd);
    }
    free(zeros);
    return result < 0 ? journal_file_fail(error, result, journal->path, "wipe") : 0;
}
