#include "store/internal/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/journal_file.h"

enum {
    BUFFER_MIN = 64 * 1024,        /* octets at first */
    BUFFER_KEPT = 4 * 1024 * 1024, /* above this it is given back after use */
};

/* A frame of the content. */
struct frame_end {
    uint32_t end; /* the block of the frame behind it */
    uint32_t crc;
};

struct journal {
    const struct host *host;
    char *path;
    int fd;
    bool replayed;
    unsigned slot;                /* the header block that is durable */
    struct journal_header header; /* what it says, except for the generation: the last used */
    uint32_t seed;
    uint64_t run;
    uint32_t blocks;  /* of the ring */
    uint32_t head;    /* the block of the next frame */
    uint32_t used;    /* blocks between tail and head */
    uint32_t crc;     /* of the last frame */
    uint64_t written; /* its sequence number */
    GArray *frames;   /* struct frame_end: header.sequence ... written */
    uint8_t *buffer;  /* the next frame: its head and payload */
    size_t capacity;  /* whole blocks */
    size_t length;    /* without the head: 0 */
    uint32_t records;
};

/* Reading */

/* Up to the end of the file; *got tells how much. */
static int read_at(const struct journal *journal, void *out, size_t length, uint64_t offset,
                   size_t *got, struct store_error *error)
{
    uint8_t *next = out;

    *got = 0;
    while (*got < length) {
        ssize_t piece =
            pread(journal->fd, next + *got, length - *got, (off_t)(offset + (uint64_t)*got));

        if (piece < 0 && errno == EINTR) {
            continue;
        }
        if (piece < 0) {
            return journal_file_fail(error, -errno, journal->path, "read");
        }
        if (piece == 0) {
            break;
        }
        *got += (size_t)piece;
    }
    return 0;
}

static uint64_t block_offset(uint32_t block)
{
    return ((uint64_t)block + JOURNAL_HEADERS) * JOURNAL_BLOCK;
}

static int read_ring(const struct journal *journal, uint8_t *out, size_t length, uint64_t offset,
                     struct store_error *error)
{
    size_t got;
    int result = read_at(journal, out, length, offset, &got, error);

    if (result == 0 && got < length) {
        return store_error_set(error, STORE_CORRUPT, "journal %s: was cut off", journal->path);
    }
    return result;
}

static int read_header(struct journal *journal, struct store_error *error)
{
    bool found = false;
    struct stat status;
    uint8_t block[JOURNAL_BLOCK];

    for (unsigned i = 0; i < JOURNAL_HEADERS; i++) {
        struct journal_header header;
        size_t got;
        int result =
            read_at(journal, block, sizeof(block), (uint64_t)i * JOURNAL_BLOCK, &got, error);

        if (result < 0) {
            return result;
        }
        memset(block + got, 0, sizeof(block) - got);
        switch (journal_header_get(&header, block)) {
        case JOURNAL_OCTETS_NEWER:
            return store_error_set(error, STORE_UNSUPPORTED, "journal %s: of an unknown version",
                                   journal->path);
        case JOURNAL_OCTETS_BROKEN:
            break;
        case JOURNAL_OCTETS_INTACT:
            if (!found || header.generation > journal->header.generation) {
                journal->header = header;
                journal->slot = i;
                found = true;
            }
            break;
        }
    }
    if (!found) {
        return store_error_set(error, STORE_CORRUPT, "journal %s: no readable header",
                               journal->path);
    }
    if (fstat(journal->fd, &status) < 0) {
        return journal_file_fail(error, -errno, journal->path, "stat");
    }
    if ((uint64_t)status.st_size < journal->header.size) {
        return store_error_set(error, STORE_CORRUPT, "journal %s: was cut off", journal->path);
    }
    return 0;
}

static int reserve(struct journal *journal, size_t length, struct store_error *error)
{
    size_t capacity = journal->capacity > 0 ? journal->capacity : (size_t)BUFFER_MIN;

    while (capacity < length) {
        capacity *= 2;
    }
    if (capacity == journal->capacity) {
        return 0;
    }
    uint8_t *buffer = realloc(journal->buffer, capacity);
    if (buffer == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s: %zu octets", journal->path,
                               capacity);
    }
    journal->buffer = buffer;
    journal->capacity = capacity;
    return 0;
}

/* Empties the buffer, and gives it back if it has grown. */
static void clear_buffer(struct journal *journal)
{
    journal->length = 0;
    journal->records = 0;
    if (journal->capacity > BUFFER_KEPT) {
        free(journal->buffer);
        journal->buffer = NULL;
        journal->capacity = 0;
    }
}

static uint32_t frame_blocks(size_t payload)
{
    return (uint32_t)((JOURNAL_FRAME_HEAD + payload + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK);
}

/* Reads the frame at the head into the buffer; *found if it is the next one of the content. */
static int read_frame(struct journal *journal, struct journal_frame *frame, bool *found,
                      struct store_error *error)
{
    uint64_t offset = block_offset(journal->head);
    uint32_t room = journal->blocks - journal->head;
    int result = reserve(journal, JOURNAL_BLOCK, error);

    *found = false;
    if (room > journal->blocks - journal->used) {
        room = journal->blocks - journal->used;
    }
    if (result < 0 || room == 0) {
        return result;
    }
    result = read_ring(journal, journal->buffer, JOURNAL_BLOCK, offset, error);
    if (result < 0) {
        return result;
    }
    enum journal_octets octets = journal_frame_get(frame, journal->seed, journal->buffer);
    if (octets == JOURNAL_OCTETS_BROKEN || frame->sequence != journal->written + 1 ||
        frame->previous != journal->crc) {
        return 0;
    }
    if (octets == JOURNAL_OCTETS_NEWER) {
        return store_error_set(error, STORE_UNSUPPORTED, "journal %s: frame of an unknown version",
                               journal->path);
    }
    uint32_t need = frame_blocks(frame->length);
    if (need > room) {
        return 0;
    }
    result = reserve(journal, (size_t)need * JOURNAL_BLOCK, error);
    if (result == 0 && need > 1) {
        result = read_ring(journal, journal->buffer + JOURNAL_BLOCK,
                           (size_t)(need - 1) * JOURNAL_BLOCK, offset + JOURNAL_BLOCK, error);
    }
    if (result == 0) {
        *found = journal_crc(journal->seed, journal->buffer + JOURNAL_FRAME_HEAD, frame->length) ==
                 frame->payload_crc;
    }
    return result;
}

/* Puts a frame behind the content, blocks long or, if it skips, up to the ring's end. */
static void add_frame(struct journal *journal, const struct journal_frame *frame)
{
    uint32_t length = frame->kind == JOURNAL_FRAME_SKIP ? journal->blocks - journal->head
                                                        : frame_blocks(frame->length);

    journal->head += length;
    if (journal->head == journal->blocks) {
        journal->head = 0;
    }
    journal->used += length;
    journal->crc = frame->crc;
    journal->written = frame->sequence;

    struct frame_end end = {.end = journal->head, .crc = frame->crc};

    g_array_append_val(journal->frames, end);
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

/* Begins at the tail. */
static void rewind_ring(struct journal *journal)
{
    journal->seed = journal_seed(&journal->header);
    journal->blocks = journal_ring_blocks(journal->header.size);
    journal->head = journal->header.tail;
    journal->used = 0;
    journal->crc = journal->header.previous;
    journal->written = journal->header.sequence - 1;
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
    bool found;

    rewind_ring(journal);
    if (size == journal->header.size) {
        return 0;
    }
    int result = read_frame(journal, &frame, &found, error);
    if (result < 0 || found) {
        return result;
    }
    result = make(journal, size, true, error);
    if (result == 0) {
        journal->slot = 0;
        rewind_ring(journal);
    }
    return result;
}

static int open_file(struct journal *journal, uint64_t size, struct store_error *error)
{
    int result = journal_file_open(&journal->fd, journal->path, journal->host, error);

    if (result == STORE_NOT_FOUND) {
        journal->header.sequence = 1;
        result = make(journal, size, false, error);
    } else if (result == 0) {
        result = forget_cached(journal, error);
        if (result == 0) {
            result = read_header(journal, error);
        }
    }
    return result < 0 ? result : resize_if_empty(journal, size, error);
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
    journal->frames = g_array_new(FALSE, FALSE, sizeof(struct frame_end));

    int result = host->random(host->data, &journal->run, sizeof(journal->run));

    if (result < 0) {
        result = journal_file_fail(error, result, path, "random octets");
    } else {
        result = open_file(journal, allowed_size(size), error);
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

/* Replay */

static uint32_t get_length(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static bool records_fit(const uint8_t *payload, const struct journal_frame *frame)
{
    size_t at = 0;

    for (uint32_t i = 0; i < frame->records; i++) {
        if (frame->length - at < JOURNAL_RECORD_HEAD) {
            return false;
        }
        size_t length = get_length(payload + at);
        at += JOURNAL_RECORD_HEAD;
        if (length > frame->length - at) {
            return false;
        }
        at += length;
    }
    return at == frame->length;
}

static int visit_frame(const struct journal *journal, const struct journal_frame *frame,
                       journal_visit visit, void *data, struct store_error *error)
{
    const uint8_t *payload = journal->buffer + JOURNAL_FRAME_HEAD;
    int result = 0;

    if (!records_fit(payload, frame)) {
        return store_error_set(error, STORE_CORRUPT,
                               "journal %s: frame %" PRIu64 ": records don't add up", journal->path,
                               frame->sequence);
    }
    for (uint32_t i = 0; i < frame->records && result == 0; i++) {
        size_t length = get_length(payload);

        result = visit(data, payload + JOURNAL_RECORD_HEAD, length, error);
        payload += JOURNAL_RECORD_HEAD + length;
    }
    return result;
}

int journal_replay(struct journal *journal, journal_visit visit, void *data,
                   struct store_error *error)
{
    struct journal_frame frame;
    bool found = true;

    assert(!journal->replayed);
    rewind_ring(journal);
    g_array_set_size(journal->frames, 0);
    while (found) {
        int result = read_frame(journal, &frame, &found, error);

        if (result == 0 && found) {
            result = visit_frame(journal, &frame, visit, data, error);
        }
        if (result < 0) {
            return result;
        }
        if (found) {
            add_frame(journal, &frame);
        }
    }
    clear_buffer(journal);
    journal->replayed = true;
    return 0;
}

/* Writing */

/* Finds the place of a frame of that many blocks. */
static bool find_place(const struct journal *journal, uint32_t need, uint32_t *block)
{
    uint32_t tail = journal->header.tail;
    bool around = journal->used > 0 && journal->head <= tail;
    uint32_t behind = around ? journal->blocks - journal->used : journal->blocks - journal->head;

    if (need <= behind) {
        *block = journal->head;
        return true;
    }
    /* A skip frame takes the place behind the head. */
    *block = 0;
    return !around && need <= tail;
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
    uint32_t need = frame_blocks(payload);
    if (!find_place(journal, need, &unused)) {
        return store_error_set(error, STORE_LIMIT, "journal %s: no room for %zu octets",
                               journal->path, length);
    }
    int result = reserve(journal, (size_t)need * JOURNAL_BLOCK, error);
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
    uint32_t need = frame_blocks(journal->length);
    uint32_t block;

    if (journal->records == 0) {
        return 0;
    }
    bool skips = find_place(journal, need, &block) && block != journal->head;
    return (size_t)(need + (skips ? 1 : 0)) * JOURNAL_BLOCK;
}

static int write_at(const struct journal *journal, const void *bytes, size_t length,
                    uint64_t offset)
{
    return journal->host->pwrite(journal->host->data, journal->fd, bytes, length, offset);
}

static int write_skip(const struct journal *journal, struct journal_frame *skip)
{
    uint8_t block[JOURNAL_BLOCK] = {0};

    *skip = (struct journal_frame){
        .kind = JOURNAL_FRAME_SKIP,
        .sequence = journal->written + 1,
        .run = journal->run,
        .previous = journal->crc,
        .payload_crc = journal->seed,
    };
    journal_frame_put(skip, journal->seed, block);
    return write_at(journal, block, sizeof(block), block_offset(journal->head));
}

/* Fills in the head of the gathered frame, which comes behind the last one or behind skip. */
static void finish_frame(struct journal *journal, struct journal_frame *frame,
                         const struct journal_frame *skip)
{
    size_t end = JOURNAL_FRAME_HEAD + journal->length;
    size_t padded = (size_t)frame_blocks(journal->length) * JOURNAL_BLOCK;

    *frame = (struct journal_frame){
        .kind = JOURNAL_FRAME_RECORDS,
        .sequence = (skip != NULL ? skip->sequence : journal->written) + 1,
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
    uint32_t need = frame_blocks(journal->length);
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
            write_at(journal, journal->buffer, (size_t)need * JOURNAL_BLOCK, block_offset(block));
    }
    if (result == 0) {
        result = journal->host->fdatasync(journal->host->data, journal->fd);
    }
    if (result < 0) {
        return journal_file_fail(error, result, journal->path, "sync");
    }
    if (skips) {
        add_frame(journal, &skip);
    }
    add_frame(journal, &frame);
    clear_buffer(journal);
    return 0;
}

uint64_t journal_written(const struct journal *journal)
{
    return journal->written;
}

uint64_t journal_used(const struct journal *journal)
{
    return (uint64_t)journal->used * JOURNAL_BLOCK;
}

uint64_t journal_room(const struct journal *journal)
{
    return (uint64_t)journal->blocks * JOURNAL_BLOCK;
}

static int write_header(const struct journal *journal, const struct journal_header *header,
                        unsigned slot)
{
    uint8_t block[JOURNAL_BLOCK];

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
    struct frame_end last = g_array_index(journal->frames, struct frame_end, count - 1);
    struct journal_header next = *header;
    unsigned slot = 1 - journal->slot;

    /* Also if it fails: the octets may get there, and are then not to be mixed up with others. */
    next.generation = ++header->generation;
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
    /* The other one too, so that the loss of a block loses nothing: durable with what comes next,
     * and no reason to fail. */
    write_header(journal, &next, journal->slot);
    *header = next;
    journal->slot = slot;
    g_array_remove_range(journal->frames, 0, count);
    journal->used = journal->frames->len == 0
                        ? 0
                        : (journal->head + journal->blocks - next.tail) % journal->blocks;
    return 0;
}
