#include "store/internal/derived_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/derived.h"

#define FILE_NAME   "derived"
#define FILE_HEADER "annal-derived 3\n"

enum {
    HEADER_SIZE = sizeof(FILE_HEADER) - 1,
    BATCH_HEAD = 24,
    TABLE_ENTRY = 8,
    READ_AHEAD = 128 * 1024, /* when records are read in their order */
    READ_ONE = 4096,         /* most records whole */
    LANES = 4,               /* of the checksum */
};

static uint64_t mix(uint64_t state, const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    state = (state ^ GUINT64_FROM_LE(word)) * UINT64_C(0x9e3779b97f4a7c15);
    return state ^ state >> 29;
}

uint64_t derived_checksum(const uint8_t *bytes, size_t length)
{
    uint64_t lanes[LANES] = {UINT64_C(0x243f6a8885a308d3) ^ length, UINT64_C(0x13198a2e03707344),
                             UINT64_C(0xa4093822299f31d0), UINT64_C(0x082efa98ec4e6c89)};
    uint8_t tail[8 * LANES] = {0};
    size_t whole = length - length % sizeof(tail);
    uint64_t sum = 0;

    for (size_t i = 0; i < whole; i += sizeof(tail)) {
        for (size_t lane = 0; lane < LANES; lane++) {
            lanes[lane] = mix(lanes[lane], bytes + i + 8 * lane);
        }
    }
    memcpy(tail, bytes + whole, length - whole);
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += mix(lanes[lane], tail + 8 * lane) * UINT64_C(0xc2b2ae3d27d4eb4f);
    }
    return sum ^ sum >> 32;
}

/* Fills the window from offset on; how much of length it then has. */
static size_t fill_window(struct derived_file *file, uint64_t offset, size_t length)
{
    uint64_t before = file->window_start + file->window_length;
    bool in_order = offset >= file->window_start && offset <= before + READ_ONE;
    size_t wanted = MAX(length, in_order ? (size_t)READ_AHEAD : (size_t)READ_ONE);

    if (wanted > file->window_room) {
        free(file->window);
        file->window = malloc(wanted);
        file->window_room = file->window == NULL ? 0 : wanted;
        wanted = file->window_room;
    }
    file->window_start = offset;
    file->window_length = 0;
    while (file->window_length < wanted) {
        ssize_t n = pread(file->fd, file->window + file->window_length,
                          wanted - file->window_length, (off_t)(offset + file->window_length));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        file->window_length += (size_t)n;
    }
    return MIN(length, file->window_length);
}

const uint8_t *derived_file_view(struct derived_file *file, uint64_t offset, size_t length)
{
    if (offset >= file->end) {
        uint64_t at = offset - file->end;
        size_t have = file->batch == NULL ? 0 : file->batch->len;

        return at <= have && length <= have - at ? file->batch->data + at : NULL;
    }
    if (offset < file->window_start || offset + length > file->window_start + file->window_length) {
        if (fill_window(file, offset, length) < length) {
            return NULL;
        }
    }
    return file->window + (offset - file->window_start);
}

static void close_file(struct derived_file *file)
{
    close(file->fd);
    file->fd = -1;
}

static void drop_batch(struct derived_file *file)
{
    g_clear_pointer(&file->batch, g_byte_array_unref);
    g_clear_pointer(&file->table, g_byte_array_unref);
}

/* Makes a file's bytes of the batch. */
static void seal_batch(struct derived_file *file)
{
    uint8_t *head = file->batch->data;
    size_t records = file->batch->len - BATCH_HEAD;
    uint8_t *covered = g_malloc(16 + (size_t)file->table->len);

    memcpy(head, "ADB3", 4);
    derived_put32(head + 4, file->table->len / TABLE_ENTRY);
    derived_put32(head + 8, (uint32_t)records);
    memcpy(covered, head, 16);
    memcpy(covered + 16, file->table->data, file->table->len);
    derived_put64(head + 16, derived_checksum(covered, 16 + (size_t)file->table->len));
    g_free(covered);
    g_byte_array_append(file->batch, file->table->data, file->table->len);
}

static bool write_at(int fd, const void *bytes, size_t length, uint64_t offset)
{
    size_t done = 0;

    while (done < length) {
        ssize_t n =
            pwrite(fd, (const uint8_t *)bytes + done, length - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* Where it fails the records are lost; what the index says of them is found wrong later. */
static void flush(struct derived_file *file)
{
    if (file->batch == NULL) {
        return;
    }
    seal_batch(file);
    if (write_at(file->fd, file->batch->data, file->batch->len, file->end)) {
        file->end += file->batch->len;
        file->window_length = 0; /* it may hold what stood there before */
    } else if (ftruncate(file->fd, (off_t)file->end) < 0) {
        close_file(file);
    }
    drop_batch(file);
}

/* Indexes the batch at *at and moves past it; false if it is none. */
static bool scan_batch(struct derived_file *file, uint64_t *at, uint64_t size,
                       bool (*entry)(void *data, uint32_t hash, uint32_t offset), void *data)
{
    const uint8_t *head = derived_file_view(file, *at, BATCH_HEAD);

    if (head == NULL || memcmp(head, "ADB3", 4) != 0) {
        return false;
    }
    uint32_t count = derived_get32(head + 4);
    uint32_t records = derived_get32(head + 8);
    uint64_t sum = derived_get64(head + 16);
    uint64_t left = size - *at - BATCH_HEAD;
    if (count == 0 || records > DERIVED_BATCH_MAX || count > records || records > left ||
        (uint64_t)count * TABLE_ENTRY > left - records) {
        return false;
    }
    size_t table = (size_t)count * TABLE_ENTRY;
    uint8_t *covered = g_malloc(16 + table);
    memcpy(covered, head, 16);
    const uint8_t *entries = derived_file_view(file, *at + BATCH_HEAD + records, table);
    bool good = entries != NULL;
    if (good) {
        memcpy(covered + 16, entries, table);
        good = derived_checksum(covered, 16 + table) == sum;
    }
    for (size_t i = 0; i < count && good; i++) {
        const uint8_t *one = covered + 16 + i * TABLE_ENTRY;
        uint32_t place = derived_get32(one + 4);

        good = place < records &&
               entry(data, derived_get32(one), (uint32_t)(*at + BATCH_HEAD + place));
    }
    g_free(covered);
    *at += good ? BATCH_HEAD + records + table : 0;
    return good;
}

bool derived_file_clear(struct derived_file *file)
{
    drop_batch(file);
    file->window_length = 0;
    file->end = HEADER_SIZE;
    if (ftruncate(file->fd, 0) < 0 || !write_at(file->fd, FILE_HEADER, HEADER_SIZE, 0)) {
        close_file(file);
    }
    return file->fd >= 0;
}

bool derived_file_prepare(struct derived_file *file)
{
    struct stat status;

    if (file->fd < 0 || file->end > 0) {
        return file->fd >= 0;
    }
    if (fstat(file->fd, &status) < 0) {
        close_file(file);
        return false;
    }
    file->end = (uint64_t)status.st_size;
    const uint8_t *header = derived_file_view(file, 0, HEADER_SIZE);
    if (header == NULL || memcmp(header, FILE_HEADER, HEADER_SIZE) != 0 ||
        file->end > file->limit) {
        return derived_file_clear(file);
    }
    return true;
}

bool derived_file_scan(struct derived_file *file,
                       bool (*entry)(void *data, uint32_t hash, uint32_t offset), void *data)
{
    uint64_t at = HEADER_SIZE;

    flush(file);
    file->end = 0; /* somebody may have cut it */
    if (!derived_file_prepare(file)) {
        return false;
    }
    while (at < file->end && scan_batch(file, &at, file->end, entry, data)) {
    }
    file->window_length = 0;
    if (at < file->end && ftruncate(file->fd, (off_t)at) < 0) {
        close_file(file);
    }
    file->end = at;
    return file->fd >= 0;
}

static void make_directories(const char *directory)
{
    for (const char *slash = strchr(directory + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        char *parent = g_strndup(directory, (size_t)(slash - directory));

        mkdir(parent, 0700);
        g_free(parent);
    }
    mkdir(directory, 0700);
}

static int open_file(const char *directory)
{
    struct stat status;
    char *path = g_strdup_printf("%s/" FILE_NAME, directory);

    make_directories(directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    g_free(path);
    if (fd >= 0 &&
        (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || flock(fd, LOCK_EX | LOCK_NB) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void derived_file_open(struct derived_file *file, const char *directory)
{
    *file = (struct derived_file){.fd = open_file(directory), .limit = DERIVED_FILE_MAX};
    if (file->fd < 0) {
        file->limit = DERIVED_MEMORY_MAX;
        file->fd = memfd_create("annal-derived", MFD_CLOEXEC);
    }
}

void derived_file_close(struct derived_file *file)
{
    derived_file_rest(file);
    if (file->fd >= 0) {
        close_file(file);
    }
}

void derived_file_rest(struct derived_file *file)
{
    flush(file);
    free(file->window);
    file->window = NULL;
    file->window_room = 0;
    file->window_length = 0;
}

bool derived_file_has_room(const struct derived_file *file, size_t size)
{
    uint64_t waiting = file->batch == NULL ? 0 : (uint64_t)file->batch->len + file->table->len;

    return file->end + waiting + BATCH_HEAD + size + TABLE_ENTRY <= file->limit;
}

uint32_t derived_file_add(struct derived_file *file, uint32_t hash, size_t size, uint8_t **octets)
{
    static const uint8_t blank[BATCH_HEAD];
    uint8_t entry[TABLE_ENTRY];

    if (file->batch == NULL) {
        file->batch = g_byte_array_new();
        file->table = g_byte_array_new();
        g_byte_array_append(file->batch, blank, sizeof(blank));
    }
    guint start = file->batch->len;
    derived_put32(entry, hash);
    derived_put32(entry + 4, start - BATCH_HEAD);
    g_byte_array_append(file->table, entry, sizeof(entry));
    g_byte_array_set_size(file->batch, (guint)(start + size));
    *octets = file->batch->data + start;
    return (uint32_t)(file->end + start);
}

void derived_file_added(struct derived_file *file)
{
    if (file->batch != NULL && file->batch->len >= DERIVED_FLUSH_AT) {
        flush(file);
    }
}
