#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/checksum.h"
#include "store/internal/snapshot_file.h"
#include "store/internal/snapshot_layout.h"
#include "store/internal/snapshot_load.h"

enum {
    FRONT_READ = 4096, /* octets that are read at once: enough for half a million messages */
    LEAF_NUMBER_MAX = MESSAGE_UID_MAX / LEAF_MESSAGES,
};

/* What a directory of leaves has in the file, for when they are made. */
struct group {
    uint64_t entries; /* struct layout_leaf: offset in the file */
    uint64_t packed;
    uint64_t length; /* of packed */
    uint32_t crc;    /* of the entries */
    uint32_t first_unseen;
    struct leaf *leaves; /* NULL: not made; the children follow them */
};

struct snapshot_map {
    unsigned references;
    int fd;        /* -1: mapped, or could not be */
    uint8_t *data; /* NULL: not mapped */
    size_t length;
    uint8_t *nodes;        /* all structures that stand for the file's directories: what follows */
    struct group *groups;  /* of each directory of leaves */
    struct inner *parents; /* these */
    size_t parent_count;
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
    if (map->data != NULL) {
        munmap(map->data, map->length);
    }
    if (map->fd >= 0) {
        close(map->fd);
    }
    for (size_t i = 0; i < map->parent_count; i++) {
        g_free(map->groups[i].leaves);
    }
    g_clear_pointer(&map->keywords, g_ptr_array_unref);
    g_clear_pointer(&map->mended, g_ptr_array_unref);
    g_free(map->nodes);
    g_free(map->path);
    g_free(map);
}

void snapshot_map_settle(struct snapshot_map *map)
{
    void *data = MAP_FAILED;
    struct stat status;

    if (map->fd < 0) {
        return;
    }
    /* Since it was opened somebody may have cut it. */
    if (fstat(map->fd, &status) == 0 && status.st_size == (off_t)map->length) {
        data = mmap(NULL, map->length, PROT_READ, MAP_SHARED, map->fd, 0);
    }
    map->data = data != MAP_FAILED ? data : NULL;
    close(map->fd);
    map->fd = -1;
}

bool snapshot_map_is_shared(const struct snapshot_map *map)
{
    return map->references > 1;
}

/* --- what is damaged --- */

static void take_mended(struct snapshot_map *map, struct leaf *leaf,
                        const struct message messages[LEAF_MESSAGES])
{
    uint8_t *packed = g_malloc(PACKED_LEAF_MAX);

    leaf->length = (uint32_t)packed_leaf_encode(packed, messages, leaf->node.count);
    leaf->packed = packed;
    leaf->checked = true;
    if (map->mended == NULL) {
        map->mended = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(map->mended, packed);
}

/* What stands for messages that are neither here nor in git: their number is right. */
static void make_lost(struct snapshot_map *map, struct leaf *leaf)
{
    struct message messages[LEAF_MESSAGES];

    leaf->lost = true;
    objects_note_loss(map->objects);
    memset(messages, 0, leaf->node.count * sizeof(messages[0]));
    for (uint32_t i = 0; i < leaf->node.count; i++) {
        messages[i].uid = leaf->node.number * LEAF_MESSAGES + i + (leaf->node.number == 0);
        messages[i].modseq = leaf->node.modseq_max;
    }
    take_mended(map, leaf, messages);
}

static void mend(struct snapshot_map *map, struct leaf *leaf)
{
    struct message messages[LEAF_MESSAGES];
    struct store_error error;
    size_t count;

    if (leaf_load(messages, &count, map->objects, &leaf->node.tree, leaf->node.number,
                  map->keywords, &error) == 0 &&
        count == leaf->node.count) {
        take_mended(map, leaf, messages);
    } else {
        make_lost(map, leaf);
    }
    unlink(map->path);
}

void snapshot_map_check(const struct leaf *leaf)
{
    struct leaf *own = (struct leaf *)(uintptr_t)leaf;
    struct snapshot_map *map = leaf->node.map;

    if (crc32_of(leaf->packed, leaf->length) != leaf->crc ||
        !packed_leaf_valid(leaf->packed, leaf->length, leaf->node.count, map->keywords->len)) {
        mend(map, own);
    }
    own->checked = true;
}

/* --- the leaves of a directory --- */

/* What a directory's leaves add up to. */
static bool sums_are(const struct node *parent, const struct node *sums)
{
    return sums->count == parent->count && sums->unseen == parent->unseen &&
           sums->deleted == parent->deleted;
}

static void add_to(struct node *sums, const struct node *node)
{
    sums->count += node->count;
    sums->unseen += node->unseen;
    sums->deleted += node->deleted;
}

static struct leaf leaf_of(struct snapshot_map *map, const struct layout_leaf *entry,
                           const uint8_t *packed)
{
    return (struct leaf){
        .node = {.number = entry->number,
                 .map = map,
                 .size = entry->size,
                 .modseq_max = entry->modseq_max,
                 .count = entry->count,
                 .unseen = entry->unseen,
                 .deleted = entry->deleted,
                 .tree = entry->tree,
                 .depth = LEAF_DEPTH},
        .crc = entry->crc,
        .length = entry->length,
        .packed = packed,
    };
}

static bool entry_is_good(const struct layout_leaf *entry, uint32_t parent, int64_t last,
                          uint64_t left)
{
    return entry->number <= LEAF_NUMBER_MAX && entry->number / NODE_CHILDREN_MAX == parent &&
           entry->number > last && entry->count > 0 &&
           entry->count <= LEAF_MESSAGES - (entry->number == 0) &&
           entry->length <= PACKED_LEAF_MAX && entry->length <= left &&
           !object_id_is_zero(&entry->tree);
}

/* False: the entries are not what was written. */
static bool make_leaves(struct snapshot_map *map, const struct inner *parent,
                        const struct group *group)
{
    struct node sums = {.count = 0};
    uint64_t at = 0;
    int64_t last = -1;

    const uint8_t *entries = map->data + group->entries;
    const uint8_t *packed = map->data + group->packed;

    if (crc32_of(entries, parent->child_count * sizeof(struct layout_leaf)) != group->crc) {
        return false;
    }
    for (uint32_t i = 0; i < parent->child_count; i++) {
        struct layout_leaf entry;

        memcpy(&entry, entries + i * sizeof(entry), sizeof(entry));
        if (!entry_is_good(&entry, parent->node.number, last, group->length - at)) {
            return false;
        }
        group->leaves[i] = leaf_of(map, &entry, packed + at);
        add_to(&sums, &group->leaves[i].node);
        last = entry.number;
        at += entry.length;
    }
    return at == group->length && sums_are(&parent->node, &sums);
}

/* The same from git. */
static bool load_leaves(struct snapshot_map *map, const struct inner *parent,
                        const struct group *group)
{
    const struct directory wanted = {parent->node.number, parent->node.tree};
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(struct directory));
    struct message messages[LEAF_MESSAGES];
    struct node sums = {.count = 0};
    struct store_error error;

    if (directory_load(found, map->objects, &wanted, &error) < 0 ||
        found->len != parent->child_count) {
        return false;
    }
    for (guint i = 0; i < found->len; i++) {
        const struct directory *directory = &g_array_index(found, struct directory, i);
        struct leaf *leaf = &group->leaves[i];
        size_t count;

        if (leaf_load(messages, &count, map->objects, &directory->tree, directory->number,
                      map->keywords, &error) < 0) {
            return false;
        }
        *leaf = (struct leaf){.node = {.number = directory->number,
                                       .map = map,
                                       .tree = directory->tree,
                                       .depth = LEAF_DEPTH}};
        node_count_messages(&leaf->node, messages, count);
        take_mended(map, leaf, messages);
        add_to(&sums, &leaf->node);
    }
    return sums_are(&parent->node, &sums);
}

/* Leaves that can't be read, which add up to what the directory has. What stands in git for them
 * is not known: with no tree, their directory can't be written anew. */
static void lose_leaves(struct snapshot_map *map, const struct inner *parent,
                        const struct group *group)
{
    struct node left = parent->node;
    /* As low as they can be, so that none comes to be above UIDNEXT; the first leaf of all has one
     * message less than others. */
    uint32_t number = left.number * NODE_CHILDREN_MAX +
                      (left.number == 0 && left.count == parent->child_count * LEAF_MESSAGES);

    for (uint32_t i = 0; i < parent->child_count; i++) {
        struct leaf *leaf = &group->leaves[i];
        uint32_t later = parent->child_count - i - 1; /* leaves, of which each has a message */
        uint32_t count = MIN(left.count - later, LEAF_MESSAGES - (number + i == 0));

        *leaf = (struct leaf){.node = {.number = number + i,
                                       .map = map,
                                       .size = i == 0 ? left.size : 0,
                                       .modseq_max = left.modseq_max,
                                       .count = count,
                                       .unseen = MIN(left.unseen, count),
                                       .deleted = MIN(left.deleted, count),
                                       .depth = LEAF_DEPTH}};
        left.count -= count;
        left.unseen -= leaf->node.unseen;
        left.deleted -= leaf->node.deleted;
        make_lost(map, leaf);
    }
}

void snapshot_map_fill(const struct inner *inner)
{
    struct snapshot_map *map = inner->node.map;
    struct group *group = &map->groups[inner - map->parents];
    struct child *children;
    uint32_t start = 0;

    group->leaves = g_malloc(inner->child_count * (sizeof(struct leaf) + sizeof(struct child)));
    children = (struct child *)(void *)(group->leaves + inner->child_count);
    snapshot_map_settle(map);
    if (map->data == NULL || !make_leaves(map, inner, group)) {
        if (!load_leaves(map, inner, group)) {
            lose_leaves(map, inner, group);
        }
        unlink(map->path);
    }
    for (uint32_t i = 0; i < inner->child_count; i++) {
        struct node *node = &group->leaves[i].node;

        children[i] = (struct child){.node = node, .number = node->number, .start = start};
        start += node->count;
    }
    ((struct inner *)(uintptr_t)inner)->children = children;
}

size_t snapshot_map_first_unseen(const struct inner *inner)
{
    const struct snapshot_map *map = inner->node.map;

    return map->groups[inner - map->parents].first_unseen;
}

/* --- the directories --- */

/* Where the parts of a file are. */
struct layout {
    struct layout_head head;
    const uint8_t *properties;
    const uint8_t *groups;
    const uint8_t *inner[GROUP_DEPTH]; /* [depth] */
    size_t front;                      /* octets before the entries of the leaves */
};

static uint64_t front_length(const struct layout_head *head)
{
    uint64_t length = sizeof(*head) + head->properties_length +
                      (uint64_t)head->counts[GROUP_DEPTH - 1] * sizeof(struct layout_group);

    for (int depth = 1; depth < GROUP_DEPTH; depth++) {
        length += (uint64_t)head->counts[depth - 1] * sizeof(struct layout_inner);
    }
    return length;
}

/* front: the beginning of the file, have octets of it, at least a head. */
static bool find_parts(struct layout *out, const uint8_t *front, size_t have,
                       struct snapshot_map *map)
{
    struct layout_head *head = &out->head;

    memcpy(head, front, sizeof(*head));
    if (memcmp(head->magic, LAYOUT_MAGIC, sizeof(head->magic)) != 0 ||
        head->version != LAYOUT_VERSION || head->order != LAYOUT_BYTE_ORDER ||
        head->length != map->length || head->properties_length > PROPERTIES_FILE_MAX) {
        return false;
    }
    uint64_t length = front_length(head);
    uint64_t entries = (uint64_t)head->counts[LEAF_DEPTH - 1] * sizeof(struct layout_leaf);

    if (length > map->length || entries > map->length - length) {
        return false;
    }
    if (length > have) {
        snapshot_map_settle(map);
        front = map->data;
    }
    if (front == NULL) {
        return false;
    }
    out->front = (size_t)length;
    out->properties = front + sizeof(*head);
    out->groups = out->properties + head->properties_length;
    const uint8_t *at = out->groups + head->counts[GROUP_DEPTH - 1] * sizeof(struct layout_group);

    for (int depth = 1; depth < GROUP_DEPTH; depth++) {
        out->inner[depth] = at;
        at += head->counts[depth - 1] * sizeof(struct layout_inner);
    }
    return crc32_of(front + LAYOUT_CRC_FROM, out->front - LAYOUT_CRC_FROM) == head->crc;
}

/* What is still to become part of the nodes above. */
struct rest {
    uint32_t leaf;    /* the next one */
    uint64_t entries; /* it and those after it: offset in the file */
    uint64_t packed;
    uint8_t *at;   /* the next node below those that are made, */
    uint32_t left; /* and how many there still are */
};

static struct inner inner_of(struct snapshot_map *map, unsigned depth, uint32_t number,
                             const struct object_id *tree)
{
    return (struct inner){
        .node = {.number = number, .map = map, .tree = *tree, .depth = (uint8_t)depth},
        .capacity = NODE_CHILDREN_MAX};
}

/* Whether there can be such a directory. */
static bool group_is_good(const struct layout_group *group, const struct snapshot_map *map,
                          const struct rest *rest, uint32_t leaves)
{
    uint64_t first = (uint64_t)group->number * NODE_CHILDREN_MAX;
    uint32_t most = group->leaves * LEAF_MESSAGES;

    if (group->leaves == 0 || group->leaves > NODE_CHILDREN_MAX ||
        group->leaves > leaves - rest->leaf || first + group->leaves - 1 > LEAF_NUMBER_MAX) {
        return false;
    }
    most -= group->number == 0 && group->leaves == NODE_CHILDREN_MAX;
    return group->count >= group->leaves && group->count <= most && group->unseen <= group->count &&
           group->deleted <= group->count && group->first_unseen < group->count &&
           group->length <= map->length - rest->packed && !object_id_is_zero(&group->tree);
}

static bool make_parent(struct snapshot_map *map, uint32_t index, const uint8_t *at,
                        uint32_t leaves, struct rest *rest)
{
    struct inner *parent = &map->parents[index];
    struct layout_group group;

    memcpy(&group, at, sizeof(group));
    if (!group_is_good(&group, map, rest, leaves)) {
        return false;
    }
    *parent = inner_of(map, GROUP_DEPTH, group.number, &group.tree);
    parent->child_count = group.leaves;
    parent->node.size = group.size;
    parent->node.modseq_max = group.modseq_max;
    parent->node.count = group.count;
    parent->node.unseen = group.unseen;
    parent->node.deleted = group.deleted;
    map->groups[index] = (struct group){.entries = rest->entries,
                                        .packed = rest->packed,
                                        .length = group.length,
                                        .crc = group.crc,
                                        .first_unseen = group.first_unseen};
    map->parent_count++;
    rest->leaf += group.leaves;
    rest->entries += group.leaves * sizeof(struct layout_leaf);
    rest->packed += group.length;
    return true;
}

static struct node *next_node(struct rest *rest)
{
    struct inner *inner = (struct inner *)(void *)rest->at;
    bool has_own = inner->node.depth < GROUP_DEPTH;

    rest->left--;
    rest->at += sizeof(*inner) + (has_own ? inner->child_count * sizeof(inner->own[0]) : 0);
    return &inner->node;
}

/* Makes a node at *at of the directories below that belong to it. */
static bool make_inner(struct snapshot_map *map, uint8_t **at, unsigned depth,
                       const struct layout_inner *entry, struct rest *rest)
{
    struct inner *inner = (struct inner *)(void *)*at;
    int64_t last = -1;

    *inner = inner_of(map, depth, entry->number, &entry->tree);
    inner->children = inner->own;
    while (rest->left > 0) {
        const struct node *child = (const struct node *)(const void *)rest->at;

        if (child->number / NODE_CHILDREN_MAX != entry->number) {
            break;
        }
        if (child->number <= last) {
            return false;
        }
        last = child->number;
        inner_add(inner, next_node(rest));
    }
    inner_sum(inner);
    *at += sizeof(*inner) + inner->child_count * sizeof(inner->own[0]);
    return depth == 0 ? rest->left == 0
                      : inner->child_count > 0 && !object_id_is_zero(&entry->tree);
}

/* The directories of leaves. */
static bool make_parents(struct snapshot_map *map, const struct layout *layout, struct rest *rest)
{
    const struct layout_head *head = &layout->head;
    uint32_t leaves = head->counts[LEAF_DEPTH - 1];

    rest->entries = layout->front;
    rest->packed = rest->entries + (uint64_t)leaves * sizeof(struct layout_leaf);
    rest->at = (uint8_t *)(void *)map->parents;
    rest->left = head->counts[GROUP_DEPTH - 1];
    for (uint32_t i = 0; i < rest->left; i++) {
        if (!make_parent(map, i, layout->groups + i * sizeof(struct layout_group), leaves, rest)) {
            return false;
        }
    }
    return rest->leaf == leaves && rest->packed == map->length;
}

/* Makes all nodes but the leaves; the root is the last. */
static bool make_nodes(struct inner **root, struct snapshot_map *map, const struct layout *layout)
{
    const uint32_t *counts = layout->head.counts;
    uint8_t *at = (uint8_t *)(void *)(map->parents + counts[GROUP_DEPTH - 1]);
    struct rest rest = {.leaf = 0};
    static const struct layout_inner no_entry;

    if (!make_parents(map, layout, &rest)) {
        return false;
    }
    for (unsigned depth = GROUP_DEPTH - 1; depth > 0; depth--) {
        uint8_t *made = at;

        for (uint32_t i = 0; i < counts[depth - 1]; i++) {
            struct layout_inner entry;

            memcpy(&entry, layout->inner[depth] + i * sizeof(entry), sizeof(entry));
            if (!make_inner(map, &at, depth, &entry, &rest)) {
                return false;
            }
        }
        if (rest.left > 0) {
            return false;
        }
        rest.at = made;
        rest.left = counts[depth - 1];
    }
    *root = (struct inner *)(void *)at;
    return make_inner(map, &at, 0, &no_entry, &rest);
}

static void reserve_nodes(struct snapshot_map *map, const struct layout_head *head)
{
    uint32_t parents = head->counts[GROUP_DEPTH - 1];
    size_t size = parents * sizeof(struct group) + sizeof(struct inner);

    for (int i = 0; i < GROUP_DEPTH; i++) {
        size += head->counts[i] * (sizeof(struct inner) + sizeof(struct child));
    }
    map->nodes = g_malloc(size);
    map->groups = (struct group *)(void *)map->nodes;
    map->parents = (struct inner *)(void *)(map->groups + parents);
}

/* --- reading --- */

/* Makes the snapshot; it holds the map's first reference. */
static struct snapshot *make_snapshot(struct snapshot_map *map, const uint8_t *front, size_t have)
{
    struct layout layout;
    struct properties properties = {0};
    struct store_error error;
    struct snapshot *out = NULL;
    struct inner *root;

    if (find_parts(&layout, front, have, map) &&
        properties_decode(&properties, layout.properties, layout.head.properties_length, &error) ==
            0) {
        reserve_nodes(map, &layout.head);
        map->keywords = g_ptr_array_ref(properties.keywords);
        if (make_nodes(&root, map, &layout) && root->node.modseq_max <= properties.highest_modseq) {
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
    uint8_t front[FRONT_READ];
    ssize_t have = -1;
    struct stat status;
    struct snapshot_map *map;
    int fd = open_file(path, &status);

    if (fd < 0) {
        return false;
    }
    map = g_new0(struct snapshot_map, 1);
    map->references = 1;
    map->fd = fd;
    map->length = (size_t)status.st_size;
    map->objects = objects;
    map->path = g_strdup(path);
    *out = NULL;
    if (status.st_size >= (off_t)sizeof(struct layout_head)) {
        have = pread(fd, front, sizeof(front), 0);
    }
    if (have >= (ssize_t)sizeof(struct layout_head)) {
        *out = make_snapshot(map, front, (size_t)have);
    }
    if (*out == NULL) {
        unlink(path);
        snapshot_map_unref(map);
    }
    return *out != NULL;
}

bool snapshot_file_status(struct snapshot_file_status *out, const char *path)
{
    struct stat status;
    struct layout_head head;
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
