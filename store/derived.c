/* The file:
 *
 *   "annal-derived 1\n"
 *   records, one after the other without a gap; numbers are big-endian
 *      0   4  "ADR1"
 *      4   4  CRC-32 of octets 8 to 35 and the kind
 *      8   4  CRC-32 of the value
 *     12   4  length of the value, at most DERIVED_VALUE_MAX
 *     16  20  blob id
 *     36   1  length of the kind, 1 to DERIVED_KIND_MAX
 *     37      kind, value
 *
 * Of several records with one blob id and kind the last one counts. A file that begins otherwise
 * is begun anew; a record whose head is wrong is the end of the file, and the rest is cut off.
 * Nothing is ever synced: a value whose CRC is wrong does not exist.
 */
#include "store/internal/derived.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define FILE_NAME   "derived"
#define FILE_HEADER "annal-derived 1\n"

enum {
    HEADER_SIZE = sizeof(FILE_HEADER) - 1,
    HEAD_SIZE = 37,
    HEAD_MAX = HEAD_SIZE + DERIVED_KIND_MAX,
    SCAN_BUFFER = 256 * 1024,
    FIRST_READ = 4096, /* most records whole */
    SLOTS_FIRST = 1024,
};

/* Open addressing: eight octets for each record, its head is compared on the disk. */
struct slot {
    uint32_t tag;
    uint32_t offset; /* of the record; 0: free */
};

struct derived {
    int fd; /* -1: neither file nor memory could be had */
    uint64_t end;
    uint64_t limit;
    struct slot *slots;
    size_t slot_count; /* a power of two */
    size_t used;
    bool scanned; /* the index is complete; done when it is first needed */
};

/* A record as it lies in memory. */
struct record {
    struct object_id blob;
    uint32_t value_crc;
    uint32_t value_length;
    uint8_t kind_length;
    const uint8_t *kind;
};

static void put_be32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static uint32_t get_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t crc(const void *bytes, size_t length)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, length);
}

static bool kind_valid(const char *kind)
{
    size_t length = strlen(kind);

    return length > 0 && length <= DERIVED_KIND_MAX;
}

/* Of the record that begins at bytes; false unless its head is whole and right. */
static bool parse_head(struct record *out, const uint8_t *bytes, size_t length)
{
    if (length < HEAD_SIZE || memcmp(bytes, "ADR1", 4) != 0) {
        return false;
    }
    out->value_crc = get_be32(bytes + 8);
    out->value_length = get_be32(bytes + 12);
    memcpy(out->blob.bytes, bytes + 16, OBJECT_ID_SIZE);
    out->kind_length = bytes[36];
    out->kind = bytes + HEAD_SIZE;
    return out->kind_length > 0 && out->kind_length <= DERIVED_KIND_MAX &&
           out->value_length <= DERIVED_VALUE_MAX &&
           length >= (size_t)HEAD_SIZE + out->kind_length &&
           crc(bytes + 8, HEAD_SIZE - 8 + (size_t)out->kind_length) == get_be32(bytes + 4);
}

static size_t record_size(const struct record *record)
{
    return (size_t)HEAD_SIZE + record->kind_length + record->value_length;
}

static ssize_t read_at(int fd, void *out, size_t length, uint64_t offset)
{
    size_t got = 0;

    while (got < length) {
        ssize_t n = pread(fd, (uint8_t *)out + got, length - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -1 : (ssize_t)got;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
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

static uint64_t key_hash(const struct object_id *blob, const void *kind, size_t kind_length)
{
    uint64_t hash;

    memcpy(&hash, blob->bytes, sizeof(hash));
    return (hash ^ crc(kind, kind_length)) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct slot *probe(const struct derived *derived, uint64_t hash, size_t step)
{
    return &derived->slots[((hash >> 32) + step) & (derived->slot_count - 1)];
}

/* Reads the head at offset and compares. */
static bool is_record_of(const struct derived *derived, uint32_t offset,
                         const struct object_id *blob, const void *kind, size_t kind_length)
{
    uint8_t bytes[HEAD_MAX];
    struct record record;
    ssize_t length = read_at(derived->fd, bytes, sizeof(bytes), offset);

    return length > 0 && parse_head(&record, bytes, (size_t)length) &&
           object_id_equal(&record.blob, blob) && record.kind_length == kind_length &&
           memcmp(record.kind, kind, kind_length) == 0;
}

/* The key's slot, or the free one where it belongs. Place and tag are different halves of the
 * hash. */
static struct slot *find_slot(const struct derived *derived, const struct object_id *blob,
                              const void *kind, size_t kind_length)
{
    uint64_t hash = key_hash(blob, kind, kind_length);

    for (size_t step = 0;; step++) {
        struct slot *slot = probe(derived, hash, step);

        if (slot->offset == 0 || (slot->tag == (uint32_t)hash &&
                                  is_record_of(derived, slot->offset, blob, kind, kind_length))) {
            return slot;
        }
    }
}

/* Moves every slot to a table of twice the size; needs the records' keys again. */
static bool grow(struct derived *derived)
{
    struct derived bigger = *derived;

    bigger.slot_count = derived->slot_count * 2;
    bigger.slots = calloc(bigger.slot_count, sizeof(struct slot));
    if (bigger.slots == NULL) {
        return false;
    }
    bigger.used = 0;
    for (size_t i = 0; i < derived->slot_count; i++) {
        uint8_t bytes[HEAD_MAX];
        struct record record;
        uint32_t offset = derived->slots[i].offset;
        ssize_t length = offset == 0 ? 0 : read_at(derived->fd, bytes, sizeof(bytes), offset);

        if (length <= 0 || !parse_head(&record, bytes, (size_t)length)) {
            continue;
        }
        uint64_t hash = key_hash(&record.blob, record.kind, record.kind_length);
        size_t step = 0;
        while (probe(&bigger, hash, step)->offset != 0) {
            step++;
        }
        *probe(&bigger, hash, step) = derived->slots[i];
        bigger.used++;
    }
    free(derived->slots);
    *derived = bigger;
    return true;
}

static bool index_record(struct derived *derived, const struct object_id *blob, const void *kind,
                         size_t kind_length, uint64_t offset)
{
    if (derived->used * 4 >= derived->slot_count * 3 && !grow(derived)) {
        return false;
    }
    struct slot *slot = find_slot(derived, blob, kind, kind_length);
    derived->used += slot->offset == 0;
    slot->tag = (uint32_t)key_hash(blob, kind, kind_length);
    slot->offset = (uint32_t)offset;
    return true;
}

static bool begin_anew(struct derived *derived)
{
    memset(derived->slots, 0, derived->slot_count * sizeof(struct slot));
    derived->used = 0;
    derived->end = HEADER_SIZE;
    return ftruncate(derived->fd, 0) == 0 && write_at(derived->fd, FILE_HEADER, HEADER_SIZE, 0);
}

static bool header_is_right(const struct derived *derived)
{
    char header[HEADER_SIZE];

    return read_at(derived->fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
           memcmp(header, FILE_HEADER, sizeof(header)) == 0;
}

/* Indexes every record up to the end or the first that is wrong. */
static void scan_records(struct derived *derived, uint64_t size)
{
    uint8_t *buffer = g_malloc(SCAN_BUFFER);
    uint64_t start = 0; /* of what is in the buffer */
    size_t filled = 0;

    while (derived->end < size && derived->end < derived->limit) {
        struct record record;

        if (derived->end < start || derived->end + HEAD_MAX > start + filled) {
            ssize_t got = read_at(derived->fd, buffer, SCAN_BUFFER, derived->end);

            start = derived->end;
            filled = got > 0 ? (size_t)got : 0;
        }
        size_t at = (size_t)(derived->end - start);
        if (!parse_head(&record, buffer + at, filled - at) ||
            record_size(&record) > size - derived->end ||
            !index_record(derived, &record.blob, record.kind, record.kind_length, derived->end)) {
            break;
        }
        derived->end += record_size(&record);
    }
    g_free(buffer);
}

static void close_file(struct derived *derived)
{
    close(derived->fd);
    derived->fd = -1;
}

/* False if there is nothing to work with. */
static bool ensure_scanned(struct derived *derived)
{
    struct stat status;

    if (derived->scanned) {
        return derived->fd >= 0;
    }
    derived->scanned = true;
    derived->slot_count = SLOTS_FIRST;
    derived->slots = calloc(SLOTS_FIRST, sizeof(struct slot));
    if (derived->fd < 0 || derived->slots == NULL || fstat(derived->fd, &status) < 0) {
        if (derived->fd >= 0) {
            close_file(derived);
        }
        return false;
    }
    if (!header_is_right(derived)) {
        if (!begin_anew(derived)) {
            close_file(derived);
        }
        return derived->fd >= 0;
    }
    derived->end = HEADER_SIZE;
    scan_records(derived, (uint64_t)status.st_size);
    if (derived->end < (uint64_t)status.st_size &&
        ftruncate(derived->fd, (off_t)derived->end) < 0) {
        close_file(derived);
    }
    return derived->fd >= 0;
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

struct derived *derived_open(const char *directory)
{
    struct derived *derived = g_new0(struct derived, 1);

    derived->limit = DERIVED_FILE_MAX;
    derived->fd = open_file(directory);
    if (derived->fd < 0) {
        derived->limit = DERIVED_MEMORY_MAX;
        derived->fd = memfd_create("annal-derived", MFD_CLOEXEC);
    }
    return derived;
}

void derived_close(struct derived *derived)
{
    if (derived == NULL) {
        return;
    }
    if (derived->fd >= 0) {
        close(derived->fd);
    }
    free(derived->slots);
    g_free(derived);
}

/* The record at offset in one or two reads; NULL unless all of it is right. */
static GBytes *read_value(const struct derived *derived, uint32_t offset)
{
    uint8_t first[FIRST_READ];
    struct record record;
    ssize_t got = read_at(derived->fd, first, sizeof(first), offset);

    if (got <= 0 || !parse_head(&record, first, (size_t)got)) {
        return NULL;
    }
    size_t skip = (size_t)HEAD_SIZE + record.kind_length;
    size_t have = MIN((size_t)got - skip, (size_t)record.value_length);
    uint8_t *value = g_malloc((size_t)record.value_length + 1);
    memcpy(value, first + skip, have);
    ssize_t rest = read_at(derived->fd, value + have, record.value_length - have,
                           (uint64_t)offset + skip + have);
    if (rest < 0 || (size_t)rest != record.value_length - have ||
        crc(value, record.value_length) != record.value_crc) {
        g_free(value);
        return NULL;
    }
    return g_bytes_new_take(value, record.value_length);
}

bool derived_get(struct derived *derived, const struct object_id *blob, const char *kind,
                 GBytes **value)
{
    if (!kind_valid(kind) || !ensure_scanned(derived)) {
        return false;
    }
    const struct slot *slot = find_slot(derived, blob, kind, strlen(kind));
    if (slot->offset == 0) {
        return false;
    }
    *value = read_value(derived, slot->offset);
    return *value != NULL;
}

void derived_put(struct derived *derived, const struct object_id *blob, const char *kind,
                 const void *value, size_t length)
{
    if (!kind_valid(kind) || length > DERIVED_VALUE_MAX || !ensure_scanned(derived)) {
        return;
    }
    size_t kind_length = strlen(kind);
    size_t head = HEAD_SIZE + kind_length;
    if (derived->end + head + length > derived->limit && !begin_anew(derived)) {
        close_file(derived);
        return;
    }
    uint8_t *bytes = g_malloc(head + length);
    memcpy(bytes, "ADR1", 4);
    put_be32(bytes + 8, crc(value, length));
    put_be32(bytes + 12, (uint32_t)length);
    memcpy(bytes + 16, blob->bytes, OBJECT_ID_SIZE);
    bytes[36] = (uint8_t)kind_length;
    memcpy(bytes + HEAD_SIZE, kind, kind_length);
    put_be32(bytes + 4, crc(bytes + 8, head - 8));
    if (length > 0) {
        memcpy(bytes + head, value, length);
    }
    if (write_at(derived->fd, bytes, head + length, derived->end)) {
        if (index_record(derived, blob, kind, kind_length, derived->end)) {
            derived->end += head + length;
        }
    } else if (ftruncate(derived->fd, (off_t)derived->end) < 0) {
        close_file(derived);
    }
    g_free(bytes);
}
