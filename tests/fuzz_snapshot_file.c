/* A snapshot file, whatever it holds: it is refused, or every message of it can be looked at. The
 * first octet says whether its CRCs are made right first, so that what is behind them is reached.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "store/internal/repository.h"
#include "store/internal/snapshot_file.h"
#include "tests/fuzz.h"

/* Octets of the head and of a leaf's entry, and where their numbers are. */
enum {
    HEAD = 72,
    HEAD_CRC = 16,
    HEAD_PROPERTIES = 20,
    HEAD_LENGTH = 24,
    HEAD_COUNTS = 32,
    LEAF_ENTRY = 56,
    LEAF_ENTRY_CRC = 20,
    LEAF_ENTRY_LENGTH = 24,
    INNER_ENTRY = 24,
};

static char directory[] = "/tmp/annal-fuzz-XXXXXX";
static char *repository;
static char *path;
static struct objects *objects;

static void clean_up(void)
{
    objects_close(objects);
    repository_remove(directory);
    g_free(repository);
    g_free(path);
}

static void set_up(void)
{
    struct store_error error;

    if (mkdtemp(directory) == NULL) {
        abort();
    }
    repository = g_strconcat(directory, "/r.git", NULL);
    path = g_strconcat(directory, "/file", NULL);
    if (repository_make(repository, host_system(), &error) != 0 ||
        objects_open(&objects, repository, host_system(), &error) != 0) {
        abort();
    }
    atexit(clean_up);
}

static void write_file(const uint8_t *data, size_t size)
{
    FILE *stream = fopen(path, "wb");

    if (stream == NULL || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) {
        abort();
    }
}

static uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

static void put_crc(uint8_t *out, const uint8_t *bytes, size_t length)
{
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, length);

    memcpy(out, &crc, sizeof(crc));
}

static void make_crcs_right(uint8_t *data, size_t size)
{
    uint64_t length = size;
    uint64_t leaves, at, packed;

    if (size < HEAD) {
        return;
    }
    memcpy(data + HEAD_LENGTH, &length, sizeof(length));
    leaves = get32(data + HEAD_COUNTS + 12);
    at = HEAD + (uint64_t)get32(data + HEAD_PROPERTIES);
    packed = at + leaves * LEAF_ENTRY;
    for (int i = 0; i < 3; i++) {
        packed += (uint64_t)get32(data + HEAD_COUNTS + 4 * i) * INNER_ENTRY;
    }
    if (packed > size) {
        return;
    }
    for (uint64_t next = packed; leaves > 0 && next < size; leaves--, at += LEAF_ENTRY) {
        uint64_t octets = MIN(get32(data + at + LEAF_ENTRY_LENGTH), size - next);

        put_crc(data + at + LEAF_ENTRY_CRC, data + next, octets);
        next += octets;
    }
    put_crc(data + HEAD_CRC, data + HEAD_PROPERTIES, packed - HEAD_PROPERTIES);
}

/* All that a session may do with it, and a change of a message. */
static void use(const struct snapshot *snapshot)
{
    struct snapshot_builder *builder = snapshot_builder_new(snapshot);
    size_t count = snapshot_count(snapshot);
    size_t index;
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        struct message message = snapshot_message(snapshot, i);

        sum += message.modseq + message.keywords + message.size;
        if (snapshot_builder_find(builder, message.uid, &message)) {
            snapshot_builder_remove(builder, message.uid);
        }
        if (message.keywords != 0 &&
            (uint64_t)message.keywords >> (snapshot_keyword_count(snapshot) - 1) > 1) {
            abort();
        }
    }
    snapshot_first_unseen(snapshot, &index);
    snapshot_lower_bound(snapshot, (uint32_t)sum);
    snapshot_builder_free(builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot *snapshot;
    uint8_t *copy;

    if (objects == NULL) {
        set_up();
    }
    if (size == 0) {
        return 0;
    }
    copy = g_malloc(size);
    memcpy(copy, data + 1, size - 1);
    if ((data[0] & 1) != 0) {
        make_crcs_right(copy, size - 1);
    }
    write_file(copy, size - 1);
    g_free(copy);
    if (snapshot_file_read(&snapshot, path, objects)) {
        use(snapshot);
        snapshot_unref(snapshot);
    }
    return 0;
}
