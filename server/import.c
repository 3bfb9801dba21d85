#include "server/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void import_crlf(GString *out, const char *data, size_t length)
{
    const char *end = data + length;

    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));

        if (newline == NULL) {
            g_string_append_len(out, data, end - data);
            return;
        }
        g_string_append_len(out, data, newline - data);
        if (newline == data || newline[-1] != '\r')
            g_string_append_c(out, '\r');
        g_string_append_c(out, '\n');
        data = newline + 1;
    }
}

/* Up to room octets, fewer where the file has become shorter. */
static bool read_all(char *data, size_t *length, int fd, size_t room)
{
    *length = 0;
    while (*length < room) {
        ssize_t got = read(fd, data + *length, room - *length);

        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return false;
        *length += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool read_descriptor(char **data, size_t *length, int fd, size_t limit, struct stat *status)
{
    if (fstat(fd, status) != 0)
        return false;
    if (!S_ISREG(status->st_mode) || (uint64_t)status->st_size > limit) {
        errno = S_ISREG(status->st_mode) ? EFBIG : EINVAL;
        return false;
    }
    *data = malloc((size_t)status->st_size + 1);
    if (*data == NULL)
        return false;
    if (!read_all(*data, length, fd, (size_t)status->st_size)) {
        free(*data);
        *data = NULL;
        return false;
    }
    (*data)[*length] = '\0';
    return true;
}

bool import_read_file(char **data, size_t *length, const char *path, size_t limit,
                      struct stat *status)
{
    struct stat own;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool done = fd >= 0 && read_descriptor(data, length, fd, limit, status != NULL ? status : &own);
    int problem = errno;

    if (fd >= 0)
        close(fd);
    errno = problem;
    return done;
}

static bool can_be_stored(int64_t date, int16_t zone)
{
    static const int64_t first = INT64_C(-62135596800); /* 0001-01-01T00:00:00 */
    static const int64_t last = INT64_C(253402300799);  /* 9999-12-31T23:59:59 */

    return zone > -24 * 60 && zone < 24 * 60 && date >= first + 24 * 60 * 60 &&
           date <= last - 24 * 60 * 60;
}

int64_t import_date(int64_t date, int16_t zone)
{
    return can_be_stored(date, zone) ? date : 0;
}

int16_t import_zone(int64_t date, int16_t zone)
{
    return can_be_stored(date, zone) ? zone : 0;
}

void import_skip(const struct import_sink *sink, const char *path, const char *why)
{
    char *what = g_strdup_printf("%s: %s", path, why);

    sink->skipped(sink->data, what);
    g_free(what);
}
