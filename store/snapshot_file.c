/* The file; numbers are in the byte order of the machine that wrote it:
 *
 *   struct head
 *   the mailbox's properties, as in git
 *   struct leaf_entry for each leaf, numbers ascending
 *   struct inner_entry for each directory, those of depth 1 first, numbers ascending
 *   the packed leaves one after the other, in the order of their entries
 */
#include "store/internal/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/checksum.h"
#include "store/internal/snapshot_load.h"

enum {
    FILE_VERSION = 1,
    BYTE_ORDER_MARK = 0x01020304,
    WRITE_BUFFER = 256 * 1024,
};

static const char MAGIC[8] = "annalsnp";

struct head {
    char magic[8];
    uint32_t version;
    uint32_t order; /* BYTE_ORDER_MARK */
    uint32_t crc;   /* of all that follows, up to the packed leaves */
    uint32_t properties_length;
    uint64_t length;             /* of the file */
    uint32_t counts[LEAF_DEPTH]; /* nodes of depth 1 to LEAF_DEPTH */
    struct object_id commit;
    uint8_t unused[4];
};
G_STATIC_ASSERT(sizeof(struct head) == 72);

enum { CRC_FROM = offsetof(struct head, properties_length) };

struct leaf_entry {
    uint64_t size;
    uint64_t modseq_max;
    uint32_t number;
    uint32_t crc; /* of the packed leaf */
    uint32_t length;
    uint8_t count;
    uint8_t unseen;
    uint8_t deleted;
    uint8_t unused;
    struct object_id tree;
    uint8_t unused_too[4];
};
G_STATIC_ASSERT(sizeof(struct leaf_entry) == 56);

struct inner_entry {
    uint32_t number;
    struct object_id tree;
};
G_STATIC_ASSERT(sizeof(struct inner_entry) == 24);

struct snapshot_map {
    unsigned references;
    uint8_t *data;
    size_t length;
    uint8_t *nodes; /* all structures that stand for the file's nodes */
    struct objects *objects;
    GPtrArray *keywords;
    GPtrArray *mended; /* packed leaves from git, or NULL */
    char *path;
};

struct snapshot_map *snapshot_map_ref(struct snapshot_map *map)
{
    map->references++;
    return map;
}

void snapshot_map_unref(struct snapshot_map *map)
{
    if (map == NULL || --map->references > 0) {
        return;
    }
    munmap(map->data, map->length);
    g_clear_pointer(&map->keywords, g_ptr_array_unref);
    g_clear_pointer(&map->mended, g_ptr_array_unref);
    g_free(map->nodes);
    g_free(map->path);
    g_free(map);
}

static uint32_t crc_of(const void *bytes, size_t length)
{
    return crc32_of(bytes, length);
}

/* --- a leaf's first use --- */

/* What stands for messages that are neither here nor in git: their number is right. */
static void make_lost(struct leaf *leaf, struct message messages[LEAF_MESSAGES])
{
    leaf->lost = true;
    memset(messages, 0, leaf->node.count * sizeof(messages[0]));
    for (uint32_t i = 0; i < leaf->node.count; i++) {
        messages[i].uid = leaf->node.number * LEAF_MESSAGES + i + (leaf->node.number == 0);
        messages[i].modseq = leaf->node.modseq_max;
    }
}

static void mend(struct snapshot_map *map, struct leaf *leaf)
{
    struct message messages[LEAF_MESSAGES];
    uint8_t *packed = g_malloc(PACKED_LEAF_MAX);
    struct store_error error;
    size_t count;

    if (leaf_load(messages, &count, map->objects, &leaf->node.tree, leaf->node.number,
                  map->keywords, &error) < 0 ||
        count != leaf->node.count) {
        make_lost(leaf, messages);
    }
    leaf->length = (uint32_t)packed_leaf_encode(packed, messages, leaf->node.count);
    leaf->packed = packed;
    if (map->mended == NULL) {
        map->mended = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(map->mended, packed);
    unlink(map->path);
}

void snapshot_map_check(const struct leaf *leaf)
{
    struct leaf *own = (struct leaf *)(uintptr_t)leaf;
    struct snapshot_map *map = leaf->node.map;

    if (crc_of(leaf->packed, leaf->length) != leaf->crc ||
        !packed_leaf_valid(leaf->packed, leaf->length, leaf->node.count, map->keywords->len)) {
        mend(map, own);
    }
    own->checked = true;
}

/* --- reading --- */

/* Where the parts of a mapped file are. */
struct layout {
    struct head head;
    const uint8_t *properties;
    const uint8_t *leaves;
    const uint8_t *inner[LEAF_DEPTH]; /* [depth] */
    const uint8_t *packed;
};

static bool find_parts(struct layout *out, const uint8_t *data, size_t length)
{
    struct head *head = &out->head;
    uint64_t at = sizeof(*head);

    if (length < sizeof(*head)) {
        return false;
    }
    memcpy(head, data, sizeof(*head));
    if (memcmp(head->magic, MAGIC, sizeof(MAGIC)) != 0 || head->version != FILE_VERSION ||
        head->order != BYTE_ORDER_MARK || head->length != length ||
        head->properties_length > PROPERTIES_FILE_MAX) {
        return false;
    }
    out->properties = data + at;
    at += head->properties_length;
    out->leaves = data + MIN(at, length);
    at += (uint64_t)head->counts[LEAF_DEPTH - 1] * sizeof(struct leaf_entry);
    for (int depth = 1; depth < LEAF_DEPTH; depth++) {
        out->inner[depth] = data + MIN(at, length);
        at += (uint64_t)head->counts[depth - 1] * sizeof(struct inner_entry);
    }
    if (at > length) {
        return false;
    }
    out->packed = data + at;
    return crc_of(data + CRC_FROM, (size_t)at - CRC_FROM) == head->crc;
}

static bool fill_leaf(struct leaf *leaf, struct snapshot_map *map, const uint8_t *at,
                      const uint8_t **packed)
{
    struct leaf_entry entry;

    memcpy(&entry, at, sizeof(entry));
    if (entry.number > MESSAGE_UID_MAX / LEAF_MESSAGES || entry.count == 0 ||
        entry.count > LEAF_MESSAGES - (entry.number == 0) || entry.length > PACKED_LEAF_MAX ||
        entry.length > (size_t)(map->data + map->length - *packed)) {
        return false;
    }
    *leaf = (struct leaf){
        .node = {.number = entry.number,
                 .map = map,
                 .size = entry.size,
                 .modseq_max = entry.modseq_max,
                 .count = entry.count,
                 .unseen = entry.unseen,
                 .deleted = entry.deleted,
                 .tree = entry.tree,
                 .depth = LEAF_DEPTH},
        .crc = entry.crc,
        .length = entry.length,
        .packed = *packed,
    };
    *packed += entry.length;
    return true;
}

/* The nodes of one depth while those above are made. */
struct level {
    uint8_t *at;   /* the next of them */
    uint32_t left; /* how many are still to come */
};

static struct node *next_node(struct level *level)
{
    struct node *node = (struct node *)(void *)level->at;

    level->left--;
    level->at += node->depth == LEAF_DEPTH
                     ? sizeof(struct leaf)
                     : sizeof(struct inner) + node_inner(node)->child_count * sizeof(struct child);
    return node;
}

/* Makes a node at *at of those of the level below that belong to it. */
static bool fill_inner(uint8_t **at, struct snapshot_map *map, unsigned depth,
                       const struct inner_entry *entry, struct level *below)
{
    struct inner *inner = (struct inner *)(void *)*at;
    int64_t last = -1;

    *inner = (struct inner){
        .node = {.number = entry->number, .map = map, .tree = entry->tree, .depth = (uint8_t)depth},
        .capacity = NODE_CHILDREN_MAX};
    while (below->left > 0) {
        struct node *child = (struct node *)(void *)below->at;

        if (child->number / NODE_CHILDREN_MAX != entry->number) {
            break;
        }
        if (child->number <= last) {
            return false;
        }
        last = child->number;
        inner_add(inner, next_node(below));
    }
    inner_sum(inner);
    *at += sizeof(*inner) + inner->child_count * sizeof(inner->children[0]);
    return depth == 0 ? below->left == 0 : inner->child_count > 0;
}

/* Makes all nodes; the root is the last. */
static bool fill_nodes(struct inner **root, struct snapshot_map *map, const struct layout *layout)
{
    const uint32_t *counts = layout->head.counts;
    uint32_t leaves = counts[LEAF_DEPTH - 1];
    const uint8_t *packed = layout->packed;
    struct level below = {.at = map->nodes, .left = leaves};
    uint8_t *at = map->nodes + leaves * sizeof(struct leaf);
    static const struct inner_entry no_entry;

    for (uint32_t i = 0; i < leaves; i++) {
        if (!fill_leaf((struct leaf *)(void *)(map->nodes + i * sizeof(struct leaf)), map,
                       layout->leaves + i * sizeof(struct leaf_entry), &packed)) {
            return false;
        }
    }
    for (unsigned depth = LEAF_DEPTH - 1; depth > 0; depth--) {
        struct level made = {.at = at, .left = counts[depth - 1]};

        for (uint32_t i = 0; i < counts[depth - 1]; i++) {
            struct inner_entry entry;

            memcpy(&entry, layout->inner[depth] + i * sizeof(entry), sizeof(entry));
            if (!fill_inner(&at, map, depth, &entry, &below)) {
                return false;
            }
        }
        if (below.left > 0) {
            return false;
        }
        below = made;
    }
    *root = (struct inner *)(void *)at;
    return fill_inner(&at, map, 0, &no_entry, &below) && packed == map->data + map->length;
}

static size_t nodes_size(const struct head *head)
{
    size_t size = head->counts[LEAF_DEPTH - 1] * sizeof(struct leaf) + sizeof(struct inner);

    for (int i = 0; i < LEAF_DEPTH; i++) {
        size += head->counts[i] * sizeof(struct child);
        size += i + 1 < LEAF_DEPTH ? head->counts[i] * sizeof(struct inner) : 0;
    }
    return size;
}

/* Makes the snapshot; it holds the map's first reference. */
static struct snapshot *make_snapshot(struct snapshot_map *map)
{
    struct layout layout;
    struct properties properties = {0};
    struct store_error error;
    struct snapshot *out = NULL;
    struct inner *root;

    if (find_parts(&layout, map->data, map->length) &&
        properties_decode(&properties, layout.properties, layout.head.properties_length, &error) ==
            0) {
        map->nodes = g_malloc(nodes_size(&layout.head));
        map->keywords = g_ptr_array_ref(properties.keywords);
        if (fill_nodes(&root, map, &layout) && root->node.modseq_max <= properties.highest_modseq) {
            out = snapshot_new(root);
            memcpy(out->mailbox_id, properties.mailbox_id, sizeof(out->mailbox_id));
            out->uid_validity = properties.uid_validity;
            out->uid_next = properties.uid_next;
            out->highest_modseq = properties.highest_modseq;
            out->commit = layout.head.commit;
            out->keywords = g_ptr_array_ref(properties.keywords);
        }
    }
    properties_release(&properties);
    return out;
}

static int open_file(const char *path, struct stat *status)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0 && (fstat(fd, status) < 0 || !S_ISREG(status->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool snapshot_file_read(struct snapshot **out, const char *path, struct objects *objects)
{
    struct stat status;
    struct snapshot_map *map;
    void *data = MAP_FAILED;
    int fd = open_file(path, &status);

    if (fd < 0) {
        return false;
    }
    if (status.st_size >= (off_t)sizeof(struct head)) {
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    }
    close(fd);
    if (data == MAP_FAILED) {
        unlink(path);
        return false;
    }
    map = g_new0(struct snapshot_map, 1);
    map->references = 1;
    map->data = data;
    map->length = (size_t)status.st_size;
    map->objects = objects;
    map->path = g_strdup(path);
    *out = make_snapshot(map);
    if (*out == NULL) {
        unlink(path);
        snapshot_map_unref(map);
    }
    return *out != NULL;
}

bool snapshot_file_status(struct snapshot_file_status *out, const char *path)
{
    struct stat status;
    struct head head;
    int fd = open_file(path, &status);
    bool good;

    if (fd < 0) {
        return false;
    }
    good = pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head);
    close(fd);
    if (good) {
        out->commit = head.commit;
        out->length = (uint64_t)status.st_size;
        out->time = status.st_mtime;
    }
    return good;
}

/* --- writing --- */

struct writer {
    GByteArray *leaves;
    GByteArray *inner[LEAF_DEPTH]; /* [depth]; of 0 nothing */
    GPtrArray *order;              /* struct leaf *: as their entries */
    uint64_t packed;               /* octets */
    bool failed;
};

static void add_leaf(struct writer *writer, struct leaf *leaf)
{
    const uint8_t *packed = leaf_packed(leaf);
    struct leaf_entry entry;

    memset(&entry, 0, sizeof(entry));
    entry.size = leaf->node.size;
    entry.modseq_max = leaf->node.modseq_max;
    entry.number = leaf->node.number;
    entry.crc = crc_of(packed, leaf->length);
    entry.length = leaf->length;
    entry.count = (uint8_t)leaf->node.count;
    entry.unseen = (uint8_t)leaf->node.unseen;
    entry.deleted = (uint8_t)leaf->node.deleted;
    entry.tree = leaf->node.tree;
    writer->failed = writer->failed || leaf->lost;
    writer->packed += leaf->length;
    g_byte_array_append(writer->leaves, (const uint8_t *)&entry, sizeof(entry));
    g_ptr_array_add(writer->order, leaf);
}

/* The recursion is as deep as the tree. */
static void add_children(struct writer *writer, const struct inner *inner)
{
    for (uint32_t i = 0; i < inner->child_count; i++) {
        struct node *node = inner->children[i].node;
        struct inner_entry entry = {node->number, node->tree};

        writer->failed = writer->failed || object_id_is_zero(&node->tree);
        if (node->depth == LEAF_DEPTH) {
            add_leaf(writer, node_leaf(node));
        } else {
            g_byte_array_append(writer->inner[node->depth], (const uint8_t *)&entry, sizeof(entry));
            add_children(writer, node_inner(node));
        }
    }
}

/* Head, properties and tables. */
static GByteArray *encode_front(const struct writer *writer, const struct snapshot *snapshot)
{
    GByteArray *out = g_byte_array_new();
    g_autoptr(GString) text = g_string_new(NULL);
    struct properties properties = {.uid_validity = snapshot->uid_validity,
                                    .uid_next = snapshot->uid_next,
                                    .highest_modseq = snapshot->highest_modseq,
                                    .keywords = snapshot->keywords};
    struct head head;

    memcpy(properties.mailbox_id, snapshot->mailbox_id, sizeof(properties.mailbox_id));
    properties_encode(text, &properties);
    memset(&head, 0, sizeof(head));
    memcpy(head.magic, MAGIC, sizeof(MAGIC));
    head.version = FILE_VERSION;
    head.order = BYTE_ORDER_MARK;
    head.properties_length = (uint32_t)text->len;
    head.commit = snapshot->commit;
    head.counts[LEAF_DEPTH - 1] = writer->order->len;
    g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)text->str, (guint)text->len);
    g_byte_array_append(out, writer->leaves->data, writer->leaves->len);
    for (int depth = 1; depth < LEAF_DEPTH; depth++) {
        head.counts[depth - 1] = writer->inner[depth]->len / (guint)sizeof(struct inner_entry);
        g_byte_array_append(out, writer->inner[depth]->data, writer->inner[depth]->len);
    }
    head.length = out->len + writer->packed;
    memcpy(out->data, &head, sizeof(head));
    head.crc = crc_of(out->data + CRC_FROM, out->len - CRC_FROM);
    memcpy(out->data, &head, sizeof(head));
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

bool snapshot_file_save(const char *path, const struct snapshot *snapshot)
{
    struct writer writer = {.leaves = g_byte_array_new(), .order = g_ptr_array_new()};
    bool good;

    for (int depth = 1; depth < LEAF_DEPTH; depth++) {
        writer.inner[depth] = g_byte_array_new();
    }
    add_children(&writer, snapshot->root);
    good = !writer.failed && !object_id_is_zero(&snapshot->commit);
    if (good) {
        g_autoptr(GByteArray) front = encode_front(&writer, snapshot);

        good = write_file(path, &writer, front);
    }
    for (int depth = 1; depth < LEAF_DEPTH; depth++) {
        g_byte_array_unref(writer.inner[depth]);
    }
    g_byte_array_unref(writer.leaves);
    g_ptr_array_unref(writer.order);
    return good;
}

/* --- loading --- */

int snapshot_file_load(struct snapshot **out, const char *path, struct objects *objects,
                       const struct object_id *commit, struct store_error *error)
{
    struct snapshot *known = NULL;
    bool moved = false;
    int rc;

    if (snapshot_file_read(&known, path, objects) && object_id_equal(&known->commit, commit)) {
        *out = known;
        return 0;
    }
    rc = snapshot_load(out, &moved, objects, commit, known, error);
    if (known != NULL && (rc < 0 || moved)) {
        if (rc == 0) {
            snapshot_unref(*out);
        }
        rc = snapshot_load(out, &moved, objects, commit, NULL, error);
    }
    snapshot_unref(known);
    return rc;
}
