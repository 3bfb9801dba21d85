#include <string.h>

#include "store/internal/snapshot_private.h"
#include "store/internal/tree.h"

struct snapshot_builder *snapshot_builder_new(const struct snapshot *before)
{
    struct snapshot_builder *builder = g_new0(struct snapshot_builder, 1);

    builder->leaves = g_ptr_array_new();
    builder->uid_next = 1;
    builder->modseq = 1;
    if (before == NULL) {
        builder->keywords = keywords_new();
        builder->keywords_own = true;
        return builder;
    }
    builder->before = snapshot_ref(before);
    memcpy(builder->mailbox_id, before->mailbox_id, sizeof(builder->mailbox_id));
    builder->uid_validity = before->uid_validity;
    builder->uid_next = before->uid_next;
    builder->modseq = before->highest_modseq + 1;
    builder->keywords = g_ptr_array_ref(before->keywords);
    g_ptr_array_set_size(builder->leaves, (gint)before->leaf_count);
    for (size_t i = 0; i < before->leaf_count; i++) {
        builder->leaves->pdata[i] = leaf_ref(before->leaves[i]);
    }
    return builder;
}

void snapshot_builder_free(struct snapshot_builder *builder)
{
    if (builder == NULL) {
        return;
    }
    for (guint i = 0; i < builder->leaves->len; i++) {
        leaf_unref(builder->leaves->pdata[i]);
    }
    g_ptr_array_unref(builder->leaves);
    g_ptr_array_unref(builder->keywords);
    snapshot_unref(builder->before);
    g_free(builder);
}

static size_t find_leaf(const struct snapshot_builder *builder, uint32_t uid)
{
    return leaves_lower_bound((struct leaf *const *)builder->leaves->pdata, builder->leaves->len,
                              uid / LEAF_MESSAGES);
}

/* The leaf at this position as one that only the builder holds. */
static struct leaf *own_leaf(struct snapshot_builder *builder, size_t position)
{
    struct leaf *shared = builder->leaves->pdata[position];
    struct leaf *own;

    builder->changed = true;
    if (shared->references == 1) {
        return shared;
    }
    own = leaf_new(shared->number, LEAF_MESSAGES);
    own->count = shared->count;
    memcpy(own->messages, shared->messages, shared->count * sizeof(shared->messages[0]));
    leaf_unref(shared);
    builder->leaves->pdata[position] = own;
    return own;
}

size_t snapshot_builder_room(const struct snapshot_builder *builder)
{
    return builder->uid_next > MESSAGE_UID_MAX ? 0 : MESSAGE_UID_MAX - builder->uid_next + 1;
}

uint32_t snapshot_builder_append(struct snapshot_builder *builder, const struct message *message)
{
    uint32_t uid = builder->uid_next;
    guint leaves = builder->leaves->len;
    struct leaf *leaf;

    g_assert(snapshot_builder_room(builder) > 0);
    if (find_leaf(builder, uid) == leaves) {
        g_ptr_array_add(builder->leaves, leaf_new(uid / LEAF_MESSAGES, LEAF_MESSAGES));
        leaves++;
    }
    leaf = own_leaf(builder, leaves - 1);
    leaf->messages[leaf->count] = *message;
    leaf->messages[leaf->count].uid = uid;
    leaf->messages[leaf->count].modseq = builder->modseq;
    leaf->count++;
    builder->uid_next++;
    return uid;
}

/* Position of the leaf and place in it. */
static bool locate(const struct snapshot_builder *builder, uint32_t uid, size_t *position,
                   uint32_t *place)
{
    const struct leaf *leaf;

    *position = find_leaf(builder, uid);
    if (*position == builder->leaves->len) {
        return false;
    }
    leaf = builder->leaves->pdata[*position];
    for (*place = 0; *place < leaf->count && leaf->messages[*place].uid < uid;) {
        ++*place;
    }
    return *place < leaf->count && leaf->messages[*place].uid == uid;
}

bool snapshot_builder_find(const struct snapshot_builder *builder, uint32_t uid,
                           struct message *out)
{
    size_t position;
    uint32_t place;

    if (!locate(builder, uid, &position, &place)) {
        return false;
    }
    *out = ((const struct leaf *)builder->leaves->pdata[position])->messages[place];
    return true;
}

static struct message *edit(struct snapshot_builder *builder, uint32_t uid)
{
    size_t position;
    uint32_t place;
    struct message *message;
    bool found = locate(builder, uid, &position, &place);

    g_assert(found);
    message = &own_leaf(builder, position)->messages[place];
    message->modseq = builder->modseq;
    return message;
}

void snapshot_builder_touch(struct snapshot_builder *builder, uint32_t uid)
{
    edit(builder, uid);
}

void snapshot_builder_set_flags(struct snapshot_builder *builder, uint32_t uid, uint8_t flags,
                                uint64_t keywords)
{
    struct message *message = edit(builder, uid);

    message->flags = flags;
    message->keywords = keywords;
}

void snapshot_builder_remove(struct snapshot_builder *builder, uint32_t uid)
{
    size_t position;
    uint32_t place;
    struct leaf *leaf;
    bool found = locate(builder, uid, &position, &place);

    g_assert(found);
    leaf = own_leaf(builder, position);
    leaf->count--;
    memmove(&leaf->messages[place], &leaf->messages[place + 1],
            (leaf->count - place) * sizeof(leaf->messages[0]));
}

int snapshot_builder_keyword(struct snapshot_builder *builder, const char *keyword, size_t *index,
                             struct store_error *error)
{
    GPtrArray *own;
    size_t length = strlen(keyword);

    if (!keyword_valid(keyword, length)) {
        return length > KEYWORD_LENGTH_MAX
                   ? store_error_set(error, STORE_LIMIT, "a keyword of %zu octets", length)
                   : store_error_set(error, STORE_BAD_MESSAGE, "not a keyword: %s", keyword);
    }
    if (keywords_find(builder->keywords, keyword, length, index)) {
        return 0;
    }
    if (builder->keywords->len >= MAILBOX_KEYWORDS_MAX) {
        return store_error_set(error, STORE_LIMIT, "more than %d keywords in a mailbox",
                               MAILBOX_KEYWORDS_MAX);
    }
    if (!builder->keywords_own) {
        own = keywords_new();
        for (guint i = 0; i < builder->keywords->len; i++) {
            g_ptr_array_add(own, g_strdup(g_ptr_array_index(builder->keywords, i)));
        }
        g_ptr_array_unref(builder->keywords);
        builder->keywords = own;
        builder->keywords_own = true;
    }
    *index = builder->keywords->len;
    g_ptr_array_add(builder->keywords, g_strdup(keyword));
    return 0;
}

/* --- writing --- */

static int write_leaf(struct snapshot_builder *builder, struct leaf *leaf,
                      struct object_batch *batch, struct store_error *error)
{
    g_autoptr(GString) index = g_string_sized_new(leaf->count * 64u);
    g_autoptr(GByteArray) tree = g_byte_array_sized_new(leaf->count * 32u + 40);
    struct object_id index_id;
    char name[3];
    int rc;

    index_file_encode(index, leaf->messages, leaf->count, builder->keywords);
    rc = object_batch_add(batch, OBJECT_BLOB, index->str, index->len, &index_id, error);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < leaf->count; i++) {
        tree_pair_format(name, leaf->messages[i].uid % 100);
        tree_append(tree, name, false, &leaf->messages[i].blob);
    }
    tree_append(tree, "index", false, &index_id);
    leaf_count(leaf);
    return object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &leaf->tree, error);
}

/* Writes every leaf that only the builder holds, drops empty ones, and lists the numbers of the
 * directories above what changed. */
static int write_leaves(struct snapshot_builder *builder, struct object_batch *batch,
                        GArray *touched, struct store_error *error)
{
    guint kept = 0;
    int rc = 0;

    for (guint i = 0; i < builder->leaves->len; i++) {
        struct leaf *leaf = builder->leaves->pdata[i];
        uint32_t parent = leaf->number / 100;

        if (leaf->references == 1 &&
            (touched->len == 0 || g_array_index(touched, uint32_t, touched->len - 1) != parent)) {
            g_array_append_val(touched, parent);
        }
        if (leaf->count == 0) {
            leaf_unref(leaf);
            continue;
        }
        if (rc == 0 && leaf->references == 1) {
            rc = write_leaf(builder, leaf, batch, error);
            leaf = g_realloc(leaf, sizeof(*leaf) + leaf->count * sizeof(leaf->messages[0]));
        }
        builder->leaves->pdata[kept++] = leaf;
    }
    g_ptr_array_set_size(builder->leaves, (gint)kept);
    return rc;
}

static size_t directories_lower_bound(const GArray *directories, uint32_t number)
{
    size_t low = 0, high = directories->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (g_array_index(directories, struct directory, middle).number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Appends the entries of the directories (or leaves, where lower is NULL) from first, for as long
 * as they are below the directory `number`. */
static void append_children(GByteArray *tree, const struct snapshot_builder *builder,
                            const GArray *lower, uint32_t number)
{
    size_t count = lower != NULL ? lower->len : builder->leaves->len;
    size_t at = lower != NULL ? directories_lower_bound(lower, number * 100)
                              : leaves_lower_bound((struct leaf *const *)builder->leaves->pdata,
                                                   builder->leaves->len, number * 100);
    char name[3];

    for (; at < count; at++) {
        const struct leaf *leaf = lower == NULL ? builder->leaves->pdata[at] : NULL;
        const struct directory *directory =
            lower != NULL ? &g_array_index(lower, struct directory, at) : NULL;
        uint32_t child = leaf != NULL ? leaf->number : directory->number;

        if (child / 100 != number) {
            break;
        }
        tree_pair_format(name, child % 100);
        tree_append(tree, name, true, leaf != NULL ? &leaf->tree : &directory->tree);
    }
}

static void replace_directory(GArray *directories, uint32_t number, const struct object_id *tree)
{
    size_t at = directories_lower_bound(directories, number);
    bool found =
        at < directories->len && g_array_index(directories, struct directory, at).number == number;
    struct directory directory = {.number = number};

    if (tree == NULL) {
        if (found) {
            g_array_remove_index(directories, (guint)at);
        }
        return;
    }
    directory.tree = *tree;
    if (found) {
        g_array_index(directories, struct directory, at) = directory;
    } else {
        g_array_insert_val(directories, (guint)at, directory);
    }
}

static GArray *directories_copy(const struct snapshot *before, int level)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct directory));

    if (before != NULL && before->directories[level]->len > 0) {
        g_array_append_vals(out, before->directories[level]->data, before->directories[level]->len);
    }
    return out;
}

/* Writes the touched directories of one level; touched becomes those of the level above. */
static int write_level(struct snapshot_builder *builder, const GArray *lower, GArray *level,
                       GArray *touched, struct object_batch *batch, struct store_error *error)
{
    guint parents = 0;

    for (guint i = 0; i < touched->len; i++) {
        g_autoptr(GByteArray) tree = g_byte_array_new();
        uint32_t number = g_array_index(touched, uint32_t, i);
        uint32_t parent = number / 100;
        struct object_id id;
        int rc;

        append_children(tree, builder, lower, number);
        if (tree->len > 0) {
            rc = object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &id, error);
            if (rc < 0) {
                return rc;
            }
        }
        replace_directory(level, number, tree->len > 0 ? &id : NULL);
        if (parents == 0 || g_array_index(touched, uint32_t, parents - 1) != parent) {
            g_array_index(touched, uint32_t, parents++) = parent;
        }
    }
    g_array_set_size(touched, parents);
    return 0;
}

static int write_root(const struct snapshot_builder *builder, const GArray *top,
                      struct object_batch *batch, struct object_id *root, struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct properties properties = {.uid_validity = builder->uid_validity,
                                    .uid_next = builder->uid_next,
                                    .highest_modseq = builder->modseq,
                                    .keywords = builder->keywords};
    struct object_id id;
    int rc;

    memcpy(properties.mailbox_id, builder->mailbox_id, sizeof(properties.mailbox_id));
    properties_encode(text, &properties);
    rc = object_batch_add(batch, OBJECT_BLOB, text->str, text->len, &id, error);
    if (rc < 0) {
        return rc;
    }
    append_children(tree, builder, top, 0);
    tree_append(tree, "mailbox", false, &id);
    return object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, root, error);
}

/* The version that the builder has become; takes its leaves and these directories. */
static struct snapshot *finish(struct snapshot_builder *builder,
                               GArray *directories[DIRECTORY_LEVELS])
{
    size_t count = builder->leaves->len;
    struct leaf **leaves = g_new(struct leaf *, count);
    struct snapshot *out;

    if (count > 0) {
        memcpy(leaves, builder->leaves->pdata, count * sizeof(leaves[0]));
    }
    g_ptr_array_set_size(builder->leaves, 0);
    out = snapshot_new(leaves, count);
    memcpy(out->mailbox_id, builder->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = builder->uid_validity;
    out->uid_next = builder->uid_next;
    out->highest_modseq = builder->modseq;
    out->keywords = g_ptr_array_ref(builder->keywords);
    for (int i = 0; i < DIRECTORY_LEVELS; i++) {
        out->directories[i] = g_array_ref(directories[i]);
    }
    return out;
}

int snapshot_builder_write(struct snapshot_builder *builder, struct object_batch *batch,
                           struct snapshot **out, struct object_id *root, struct store_error *error)
{
    g_autoptr(GArray) touched = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    GArray *directories[DIRECTORY_LEVELS];
    int rc = write_leaves(builder, batch, touched, error);

    for (int i = 0; i < DIRECTORY_LEVELS; i++) {
        directories[i] = directories_copy(builder->before, i);
    }
    for (int i = DIRECTORY_LEVELS - 1; rc == 0 && i >= 0; i--) {
        const GArray *lower = i + 1 < DIRECTORY_LEVELS ? directories[i + 1] : NULL;

        rc = write_level(builder, lower, directories[i], touched, batch, error);
    }
    if (rc == 0) {
        rc = write_root(builder, directories[0], batch, root, error);
    }
    if (rc == 0) {
        *out = finish(builder, directories);
    }
    for (int i = 0; i < DIRECTORY_LEVELS; i++) {
        g_array_unref(directories[i]);
    }
    return rc;
}
