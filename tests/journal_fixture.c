#include "tests/journal_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lossy_host.h"

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

const struct host *quiet_host(void)
{
    static struct host host;

    host = *host_system();
    host.fsync = sync_nothing;
    host.fdatasync = sync_nothing;
    host.fsync_directory = sync_no_directory;
    return &host;
}

/* Octets that only this record has, its number first. */
static void fill_record(uint8_t *record, uint32_t n, size_t length)
{
    uint32_t state = n * 2654435761u | 1;

    memcpy(record, &n, sizeof(n));
    for (size_t i = sizeof(n); i < length; i++) {
        record[i] = (uint8_t)lossy_random(&state);
    }
}

int append_record(struct journal *journal, uint32_t n, size_t length, struct store_error *error)
{
    uint8_t *record = malloc(length);
    struct journal_piece pieces[] = {
        {record, length / 3}, {NULL, 0}, {record + length / 3, length - length / 3}};

    fill_record(record, n, length);
    int result = journal_append(journal, pieces, 3, error);
    free(record);
    return result;
}

int append_any(struct journal *journal, uint32_t n, struct store_error *error)
{
    uint32_t state = n * 40503u | 1;
    uint32_t kind = (lossy_random(&state), lossy_random(&state)) % 8;
    uint32_t span = kind == 0 ? 8 : kind == 1 ? 30000 : 6000;

    return append_record(journal, n, 4 + lossy_random(&state) % span, error);
}

void write_record(struct journal *journal, uint32_t n, size_t length)
{
    struct store_error error;

    ck_assert_int_eq(append_record(journal, n, length, &error), 0);
    ck_assert_int_eq(journal_sync(journal, &error), 0);
}

int collect_record(void *data, const void *record, size_t length, struct store_error *error)
{
    GArray *numbers = data;
    uint8_t *right = malloc(length);
    uint32_t n;

    (void)error;
    ck_assert_uint_ge(length, sizeof(n));
    memcpy(&n, record, sizeof(n));
    fill_record(right, n, length);
    ck_assert(memcmp(record, right, length) == 0);
    free(right);
    g_array_append_val(numbers, n);
    return 0;
}

struct journal *open_journal(const char *path, const struct host *host, GArray *numbers)
{
    struct journal *journal;
    struct store_error error = {.detail = ""};
    GArray *unused = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    int result = journal_open(&journal, path, JOURNAL_SIZE_MIN, host, &error);

    ck_assert_msg(result == 0, "%s", error.detail);
    result = journal_replay(journal, collect_record, numbers != NULL ? numbers : unused, &error);
    ck_assert_msg(result == 0, "%s", error.detail);
    g_array_free(unused, TRUE);
    return journal;
}

void check_content(const char *path, uint32_t first, uint32_t end)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    journal_close(open_journal(path, quiet_host(), numbers));
    ck_assert_uint_eq(numbers->len, end - first);
    for (guint i = 0; i < numbers->len; i++) {
        ck_assert_uint_eq(g_array_index(numbers, uint32_t, i), first + i);
    }
    g_array_free(numbers, TRUE);
}

uint8_t *read_image(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    ck_assert(fd >= 0 && fstat(fd, &status) == 0);
    uint8_t *image = malloc((size_t)status.st_size);
    ck_assert_int_eq(read(fd, image, (size_t)status.st_size), status.st_size);
    close(fd);
    *size = (size_t)status.st_size;
    return image;
}

void write_image(const char *path, const uint8_t *image, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert(fd >= 0);
    ck_assert_int_eq(write(fd, image, size), (ssize_t)size);
    close(fd);
}

uint8_t *ring_block(uint8_t *image, uint32_t block)
{
    return image + ((size_t)block + JOURNAL_HEADERS) * JOURNAL_BLOCK;
}
