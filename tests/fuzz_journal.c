/* A journal's file: whatever is in it, it is refused or replayed, and then goes on as a journal.
 *
 * The input is a list of pieces laid over an empty journal: what (1), block of the file (1), octets
 * (2, big-endian), the octets. what: 0 as they are; 1 a header, whose CRC is made right; 2 a frame,
 * whose magic and CRCs are made right; 3 the same, which also follows the frame before it.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/internal/journal.h"
#include "store/internal/journal_file.h"
#include "tests/fuzz.h"

enum {
    BLOCKS = JOURNAL_SIZE_MIN / JOURNAL_BLOCK,
    PIECE_HEAD = 4,
};

struct image {
    uint8_t octets[JOURNAL_SIZE_MIN];
    uint32_t seed;
    uint32_t previous;
    uint64_t sequence;
};

struct seen {
    uint64_t records;
    uint64_t octets;
    uint32_t crc;
};

static int sync_nothing(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int sync_no_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

static void put(uint8_t *out, uint64_t value, size_t octets)
{
    for (size_t i = 0; i < octets; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void finish_header(struct image *image, uint8_t *block)
{
    struct journal_header header;

    memcpy(block, "annaljnl", 8);
    put(block + 12, journal_crc(0, block + 16, JOURNAL_BLOCK - 16), 4);
    if (journal_header_get(&header, block) == JOURNAL_OCTETS_INTACT) {
        image->seed = journal_seed(&header);
        image->sequence = header.sequence;
        image->previous = header.previous;
    }
}

static void finish_frame(struct image *image, uint8_t *block, bool follows)
{
    size_t room = (size_t)(image->octets + sizeof(image->octets) - block) - JOURNAL_FRAME_HEAD;
    uint32_t length = get32(block + 24);

    memcpy(block, "aJFr", 4);
    if (follows) {
        put(block + 4, JOURNAL_VERSION, 2);
        put(block + 8, image->sequence, 8);
        put(block + 32, image->previous, 4);
    }
    if (length <= room) {
        put(block + 36, journal_crc(image->seed, block + JOURNAL_FRAME_HEAD, length), 4);
    }
    image->previous = journal_crc(image->seed, block, 40);
    image->sequence += block[6] == 0;
    put(block + 40, image->previous, 4);
}

static void make_image(struct image *image, const uint8_t *data, size_t size)
{
    struct journal_header header = {.size = JOURNAL_SIZE_MIN, .generation = 1, .sequence = 1};

    memset(image, 0, sizeof(*image));
    image->seed = journal_seed(&header);
    image->sequence = 1;
    journal_header_put(&header, image->octets);
    journal_header_put(&header, image->octets + JOURNAL_BLOCK);
    while (size >= PIECE_HEAD) {
        size_t block = data[1] % BLOCKS;
        uint8_t *at = image->octets + block * JOURNAL_BLOCK;
        size_t length = (size_t)data[2] << 8 | data[3];
        uint8_t what = data[0] % 4;

        data += PIECE_HEAD;
        size -= PIECE_HEAD;
        if (length > size) {
            length = size;
        }
        if (length > (BLOCKS - block) * JOURNAL_BLOCK) {
            length = (BLOCKS - block) * JOURNAL_BLOCK;
        }
        memcpy(at, data, length);
        data += length;
        size -= length;
        if (what == 1) {
            finish_header(image, at);
        } else if (what > 1) {
            finish_frame(image, at, what == 3);
        }
    }
}

static int see(void *data, const void *record, size_t length, struct store_error *error)
{
    struct seen *seen = data;

    (void)error;
    seen->records++;
    seen->octets += JOURNAL_RECORD_HEAD + length;
    seen->crc = journal_crc(seen->crc + (uint32_t)length, record, length);
    return 0;
}

/* Opens and replays it; NULL if it is refused. */
static struct journal *open_image(const char *path, const struct host *host, struct seen *seen)
{
    struct journal *journal;
    struct store_error error;

    *seen = (struct seen){0};
    if (journal_open(&journal, path, JOURNAL_SIZE_MIN, host, &error) < 0) {
        return NULL;
    }
    if (journal_replay(journal, see, seen, &error) < 0) {
        journal_close(journal);
        return NULL;
    }
    if (seen->octets > journal_used(journal) ||
        journal_used(journal) + journal_room(journal) >
            (uint64_t)(BLOCKS - JOURNAL_HEADERS) * JOURNAL_BLOCK) {
        abort();
    }
    return journal;
}

/* A journal that was accepted goes on: the next record is behind the others, and a checkpoint
 * leaves none. */
static void check_goes_on(const char *path, const struct host *host)
{
    struct journal_piece piece = {"abc", 3};
    struct store_error error;
    struct seen seen, again;
    struct journal *journal = open_image(path, host, &seen);

    if (journal == NULL) {
        return;
    }
    bool full = journal_append(journal, &piece, 1, &error) < 0;
    if (!full) {
        see(&seen, piece.data, piece.length, &error);
    }
    if (journal_sync(journal, &error) < 0) {
        abort();
    }
    uint64_t written = journal_written(journal);
    journal_close(journal);
    journal = open_image(path, host, &again);
    if (journal == NULL || seen.records != again.records || seen.crc != again.crc ||
        journal_written(journal) != written || journal_checkpoint(journal, written, &error) < 0 ||
        journal_used(journal) != 0) {
        abort();
    }
    journal_close(journal);
    journal = open_image(path, host, &again);
    if (journal == NULL || again.records != 0 || journal_written(journal) != written) {
        abort();
    }
    journal_close(journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image image;
    struct host host = *host_system();
    char path[64];
    int fd = memfd_create("journal", MFD_CLOEXEC);

    host.fsync = host.fdatasync = sync_nothing;
    host.fsync_directory = sync_no_directory;
    make_image(&image, data, size);
    if (fd < 0 || pwrite(fd, image.octets, sizeof(image.octets), 0) != sizeof(image.octets)) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    check_goes_on(path, &host);
    close(fd);
    return 0;
}
