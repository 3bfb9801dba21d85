#include "store/internal/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/checksum.h"
#include "store/internal/snapshot_layout.h"
#include "store/internal/snapshot_load.h"

enum { WRITE_BUFFER = 256 * 1024 };

/* --- writing --- */

struct writer {
    GByteArray *leaves;
    GByteArray *groups;
    GByteArray *inner[GROUP_DEPTH]; /* [depth]; of 0 nothing */
    GPtrArray *order;               /* struct leaf *: as their entries */
    uint64_t packed;                /* octets */
    bool failed;
};

static void add_leaf(struct writer *writer, struct leaf *leaf, struct layout_group *group)
{
    const uint8_t *packed = leaf_packed(leaf);
    struct layout_leaf entry;

    memset(&entry, 0, sizeof(entry));
    entry.size = leaf->node.size;
    entry.modseq_max = leaf->node.modseq_max;
    entry.number = leaf->node.number;
    entry.crc = crc32_of(packed, leaf->length);
    entry.length = leaf->length;
    entry.count = (uint8_t)leaf->node.count;
    entry.unseen = (uint8_t)leaf->node.unseen;
    entry.deleted = (uint8_t)leaf->node.deleted;
    entry.tree = leaf->node.tree;
    writer->failed = writer->failed || leaf->lost || object_id_is_zero(&leaf->node.tree);
    group->length += leaf->length;
    g_byte_array_append(writer->leaves, (const uint8_t *)&entry, sizeof(entry));
    g_ptr_array_add(writer->order, leaf);
}

static void add_group(struct writer *writer, const struct inner *inner)
{
    struct layout_group group;
    guint from = writer->leaves->len;
    bool seen = inner->node.unseen == 0;

    memset(&group, 0, sizeof(group));
    group.size = inner->node.size;
    group.modseq_max = inner->node.modseq_max;
    group.number = inner->node.number;
    group.leaves = inner->child_count;
    group.count = inner->node.count;
    group.unseen = inner->node.unseen;
    group.deleted = inner->node.deleted;
    group.tree = inner->node.tree;
    for (uint32_t i = 0; i < inner->child_count; i++) {
        const struct child *child = &inner_children(inner)[i];
        struct leaf *leaf = node_leaf(child->node);

        add_leaf(writer, leaf, &group);
        if (!seen && leaf->node.unseen > 0) {
            group.first_unseen =
                child->start + (uint32_t)packed_leaf_first_unseen(leaf_packed(leaf));
            seen = true;
        }
    }
    group.crc = crc32_of(writer->leaves->data + from, writer->leaves->len - from);
    writer->packed += group.length;
    g_byte_array_append(writer->groups, (const uint8_t *)&group, sizeof(group));
}

/* The recursion is as deep as the tree. */
static void add_children(struct writer *writer, const struct inner *inner)
{
    for (uint32_t i = 0; i < inner->child_count; i++) {
        const struct inner *child = node_inner(inner_children(inner)[i].node);
        struct layout_inner entry = {child->node.number, child->node.tree};

        writer->failed = writer->failed || object_id_is_zero(&child->node.tree);
        if (child->node.depth == GROUP_DEPTH) {
            add_group(writer, child);
        } else {
            g_byte_array_append(writer->inner[child->node.depth], (const uint8_t *)&entry,
                                sizeof(entry));
            add_children(writer, child);
        }
    }
}

/* All before the packed leaves. */
static GByteArray *encode_front(const struct writer *writer, const struct snapshot *snapshot)
{
    GByteArray *out = g_byte_array_new();
    g_autoptr(GString) text = g_string_new(NULL);
    struct properties properties = {.uid_validity = snapshot->uid_validity,
                                    .uid_next = snapshot->uid_next,
                                    .highest_modseq = snapshot->highest_modseq,
                                    .keywords = snapshot->keywords};
    struct layout_head head;

    memcpy(properties.mailbox_id, snapshot->mailbox_id, sizeof(properties.mailbox_id));
    properties_encode(text, &properties);
    memset(&head, 0, sizeof(head));
    memcpy(head.magic, LAYOUT_MAGIC, sizeof(head.magic));
    head.version = LAYOUT_VERSION;
    head.order = LAYOUT_BYTE_ORDER;
    head.properties_length = (uint32_t)text->len;
    head.commit = snapshot->commit;
    head.counts[LEAF_DEPTH - 1] = writer->order->len;
    head.counts[GROUP_DEPTH - 1] = writer->groups->len / (guint)sizeof(struct layout_group);
    g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)text->str, (guint)text->len);
    g_byte_array_append(out, writer->groups->data, writer->groups->len);
    for (int depth = 1; depth < GROUP_DEPTH; depth++) {
        head.counts[depth - 1] = writer->inner[depth]->len / (guint)sizeof(struct layout_inner);
        g_byte_array_append(out, writer->inner[depth]->data, writer->inner[depth]->len);
    }
    head.length = out->len + writer->leaves->len + writer->packed;
    memcpy(out->data, &head, sizeof(head));
    head.crc = crc32_of(out->data + LAYOUT_CRC_FROM, out->len - LAYOUT_CRC_FROM);
    memcpy(out->data, &head, sizeof(head));
    g_byte_array_append(out, writer->leaves->data, writer->leaves->len);
    return out;
}

static bool write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

static bool write_packed(int fd, const GPtrArray *order)
{
    uint8_t *buffer = g_malloc(WRITE_BUFFER);
    size_t filled = 0;
    bool good = true;

    for (guint i = 0; good && i < order->len; i++) {
        const struct leaf *leaf = g_ptr_array_index(order, i);

        if (filled + leaf->length > WRITE_BUFFER) {
            good = write_all(fd, buffer, filled);
            filled = 0;
        }
        memcpy(buffer + filled, leaf->packed, leaf->length);
        filled += leaf->length;
    }
    good = good && write_all(fd, buffer, filled);
    g_free(buffer);
    return good;
}

static bool write_file(const char *path, const struct writer *writer, const GByteArray *front)
{
    g_autofree char *temporary = g_strdup_printf("%s~%ld", path, (long)getpid());
    bool good;
    int fd;

    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    good = write_all(fd, front->data, front->len) && write_packed(fd, writer->order);
    good = close(fd) == 0 && good;
    good = good && rename(temporary, path) == 0;
    if (!good) {
        unlink(temporary);
    }
    return good;
}

static void writer_init(struct writer *writer)
{
    *writer = (struct writer){
        .leaves = g_byte_array_new(), .groups = g_byte_array_new(), .order = g_ptr_array_new()};
    for (int depth = 1; depth < GROUP_DEPTH; depth++) {
        writer->inner[depth] = g_byte_array_new();
    }
}

static void writer_release(struct writer *writer)
{
    for (int depth = 1; depth < GROUP_DEPTH; depth++) {
        g_byte_array_unref(writer->inner[depth]);
    }
    g_byte_array_unref(writer->groups);
    g_byte_array_unref(writer->leaves);
    g_ptr_array_unref(writer->order);
}

bool snapshot_file_save(const char *path, const struct snapshot *snapshot)
{
    struct writer writer;
    bool good;

    writer_init(&writer);
    add_children(&writer, snapshot->root);
    good = !writer.failed && !object_id_is_zero(&snapshot->commit);
    if (good) {
        g_autoptr(GByteArray) front = encode_front(&writer, snapshot);

        good = write_file(path, &writer, front);
    }
    writer_release(&writer);
    return good;
}

/* --- loading --- */

int snapshot_file_load(struct snapshot **out, const char *path, struct objects *objects,
                       const struct object_id *commit, struct store_error *error)
{
    unsigned losses = objects_losses(objects);
    struct snapshot *known = NULL;
    bool moved = false;
    int rc;

    if (snapshot_file_read(&known, path, objects) && object_id_equal(&known->commit, commit)) {
        *out = known;
        return 0;
    }
    if (known != NULL) {
        snapshot_map_settle(known->root->node.map);
    }
    rc = snapshot_load(out, &moved, objects, commit, known, error);
    if (known != NULL && (rc < 0 || moved || objects_losses(objects) != losses)) {
        if (rc == 0) {
            snapshot_unref(*out);
            *out = NULL;
        }
        rc = snapshot_load(out, &moved, objects, commit, NULL, error);
    }
    snapshot_unref(known);
    return rc;
}
