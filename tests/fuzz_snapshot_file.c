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
#include "store/internal/snapshot_layout.h"
#include "tests/fuzz.h"

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

/* Of a leaf's entry, and of the packed leaf at *packed of those left. */
static void make_leaf_right(uint8_t *at, uint8_t **packed, uint64_t *left)
{
    struct layout_leaf leaf;

    memcpy(&leaf, at, sizeof(leaf));
    uint64_t octets = MIN(leaf.length, *left);
    leaf.crc = (uint32_t)crc32_z(0, *packed, octets);
    memcpy(at, &leaf, sizeof(leaf));
    *packed += octets;
    *left -= octets;
}

static void make_crcs_right(uint8_t *data, size_t size)
{
    struct layout_head head;
    struct layout_group group;

    if (size < sizeof(head)) {
        return;
    }
    memcpy(&head, data, sizeof(head));
    head.length = size;
    uint64_t groups = head.counts[GROUP_DEPTH - 1];
    uint64_t at = sizeof(head) + (uint64_t)head.properties_length;
    uint64_t entry = at + groups * sizeof(group) +
                     ((uint64_t)head.counts[0] + head.counts[1]) * sizeof(struct layout_inner);
    uint64_t front = entry;
    uint64_t end = entry + (uint64_t)head.counts[LEAF_DEPTH - 1] * sizeof(struct layout_leaf);
    if (end > size) {
        return;
    }
    uint8_t *packed = data + end;
    uint64_t left = size - end;
    for (; groups > 0; groups--, at += sizeof(group)) {
        memcpy(&group, data + at, sizeof(group));
        uint64_t from = entry;
        for (uint32_t i = 0; i < group.leaves && entry < end; i++) {
            make_leaf_right(data + entry, &packed, &left);
            entry += sizeof(struct layout_leaf);
        }
        group.crc = (uint32_t)crc32_z(0, data + from, entry - from);
        memcpy(data + at, &group, sizeof(group));
    }
    memcpy(data, &head, sizeof(head));
    head.crc = (uint32_t)crc32_z(0, data + LAYOUT_CRC_FROM, front - LAYOUT_CRC_FROM);
    memcpy(data, &head, sizeof(head));
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
