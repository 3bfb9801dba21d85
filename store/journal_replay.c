#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/journal_private.h"

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

uint64_t journal_offset(uint32_t block)
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

int journal_read_header(struct journal *journal, struct store_error *error)
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

/* Reads the frame at the block into the buffer; *found if it is intact and may follow the frame of
 * that CRC there, in at most that many blocks. */
static int read_frame(struct journal *journal, struct journal_frame *frame, uint32_t block,
                      uint32_t room, uint32_t previous, bool *found, struct store_error *error)
{
    uint64_t offset = journal_offset(block);
    int result = journal_reserve(journal, JOURNAL_BLOCK, error);

    *found = false;
    if (room > journal->blocks - block) {
        room = journal->blocks - block;
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
        frame->previous != previous) {
        return 0;
    }
    if (octets == JOURNAL_OCTETS_NEWER) {
        return store_error_set(error, STORE_UNSUPPORTED, "journal %s: frame of an unknown version",
                               journal->path);
    }
    uint32_t need = journal_frame_blocks(frame->length);
    if (need > room) {
        return 0;
    }
    result = journal_reserve(journal, (size_t)need * JOURNAL_BLOCK, error);
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

int journal_read_next(struct journal *journal, struct journal_frame *frame, uint32_t *block,
                      bool *found, struct store_error *error)
{
    uint32_t room = journal->blocks - journal->used;
    uint32_t left = journal->blocks - journal->head;
    int result = read_frame(journal, frame, journal->head, room, journal->crc, found, error);

    *block = journal->head;
    if (result == 0 && *found && frame->kind == JOURNAL_FRAME_SKIP) {
        *block = 0;
        result =
            read_frame(journal, frame, 0, room > left ? room - left : 0, frame->crc, found, error);
        *found = *found && frame->kind == JOURNAL_FRAME_RECORDS;
    }
    return result;
}

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

int journal_read_all(struct journal *journal, journal_visit visit, void *data,
                     struct store_error *error)
{
    struct journal_frame frame;
    uint32_t block;
    bool found = true;

    journal_rewind(journal);
    g_array_set_size(journal->frames, 0);
    while (found) {
        int result = journal_read_next(journal, &frame, &block, &found, error);

        if (result == 0 && found) {
            result = visit_frame(journal, &frame, visit, data, error);
        }
        if (result < 0) {
            return result;
        }
        if (found) {
            journal_add_frame(journal, &frame, block);
        }
    }
    journal_clear_buffer(journal);
    return 0;
}

int journal_replay(struct journal *journal, journal_visit visit, void *data,
                   struct store_error *error)
{
    assert(!journal->replayed);

    int result = journal_read_all(journal, visit, data, error);

    if (result == 0) {
        journal_write_past_cache(journal);
        journal->replayed = true;
    }
    return result;
}
