#include "server/stash.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STASH_FIRST = 8 * 1024,  /* octets of memory to begin with */
    STASH_PIECE = 64 * 1024, /* octets read at a time */
};

struct stash {
    const char *directory;
    uint8_t *head; /* never more than STASH_MEMORY_MAX */
    size_t head_length;
    size_t head_room;
    int fd; /* of what follows the head; -1: nothing does */
    uint64_t size;
};

struct stash *stash_new(const char *directory)
{
    struct stash *stash = g_new0(struct stash, 1);

    stash->directory = directory;
    stash->fd = -1;
    return stash;
}

void stash_free(struct stash *stash)
{
    if (stash == NULL)
        return;
    if (stash->fd >= 0)
        close(stash->fd);
    free(stash->head);
    g_free(stash);
}

static bool open_file(struct stash *stash)
{
    char *path = g_strdup_printf("%s/.incoming-XXXXXX", stash->directory);

    stash->fd = mkostemp(path, O_CLOEXEC);
    if (stash->fd >= 0)
        unlink(path);
    g_free(path);
    return stash->fd >= 0;
}

static bool add_to_head(struct stash *stash, const uint8_t *octets, size_t length)
{
    size_t wanted = stash->head_length + length;

    if (wanted > stash->head_room) {
        size_t room = MAX(stash->head_room, STASH_FIRST);

        while (room < wanted)
            room *= 2;
        room = MIN(room, STASH_MEMORY_MAX);
        uint8_t *grown = realloc(stash->head, room);

        if (grown == NULL)
            return false;
        stash->head = grown;
        stash->head_room = room;
    }
    memcpy(stash->head + stash->head_length, octets, length);
    stash->head_length = wanted;
    return true;
}

static bool add_to_file(struct stash *stash, const uint8_t *octets, size_t length)
{
    if (stash->fd < 0 && !open_file(stash))
        return false;
    while (length > 0) {
        ssize_t written = write(stash->fd, octets, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        octets += written;
        length -= (size_t)written;
    }
    return true;
}

bool stash_add(struct stash *stash, const void *octets, size_t length)
{
    size_t first = MIN(length, STASH_MEMORY_MAX - stash->head_length);

    if (first > 0 && !add_to_head(stash, octets, first))
        return false;
    if (length > first && !add_to_file(stash, (const uint8_t *)octets + first, length - first))
        return false;
    stash->size += length;
    return true;
}

uint64_t stash_size(const struct stash *stash)
{
    return stash->size;
}

const uint8_t *stash_head(const struct stash *stash, size_t *length)
{
    *length = stash->head_length;
    return stash->head;
}

bool stash_read(const struct stash *stash, stash_take take, void *data)
{
    uint64_t left = stash->size - stash->head_length;
    uint8_t *piece;
    bool good = stash->head_length == 0 || take(data, stash->head, stash->head_length);

    if (!good || left == 0)
        return good;
    piece = malloc(STASH_PIECE);
    for (off_t at = 0; piece != NULL && good && left > 0;) {
        ssize_t got = pread(stash->fd, piece, (size_t)MIN(left, STASH_PIECE), at);

        if (got < 0 && errno == EINTR)
            continue;
        good = got > 0 && take(data, piece, (size_t)got);
        at += good ? got : 0;
        left -= good ? (uint64_t)got : 0;
    }
    good = good && piece != NULL;
    free(piece);
    return good;
}
