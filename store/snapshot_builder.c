#include <string.h>

#include "store/internal/snapshot_private.h"
#include "store/internal/tree.h"

struct snapshot_builder *snapshot_builder_new(const struct snapshot *before)
{
    struct snapshot_builder *builder = g_new0(struct snapshot_builder, 1);

    builder->uid_next = 1;
    builder->modseq = 1;
    if (before == NULL) {
        builder->keywords = keywords_new();
        builder->keywords_own = true;
        builder->root = inner_new(0, 0, NODE_CHILDREN_MAX);
        return builder;
    }
    builder->before = snapshot_ref(before);
    memcpy(builder->mailbox_id, before->mailbox_id, sizeof(builder->mailbox_id));
    builder->uid_validity = before->uid_validity;
    builder->uid_next = before->uid_next;
    builder->modseq = before->highest_modseq + 1;
    builder->keywords = g_ptr_array_ref(before->keywords);
    builder->root = inner_copy(before->root, NODE_CHILDREN_MAX);
    return builder;
}

void snapshot_builder_free(struct snapshot_builder *builder)
{
    if (builder == NULL) {
        return;
    }
    if (builder->root != NULL) {
        node_unref(&builder->root->node);
    }
    g_ptr_array_unref(builder->keywords);
    snapshot_unref(builder->before);
    g_free(builder);
}

/* --- leaves --- */

/* NULL if root has none with this number. */
static const struct leaf *find_leaf(const struct snapshot_builder *builder, uint32_t number)
{
    struct node *node = &builder->root->node;

    while (node != NULL && node->depth < LEAF_DEPTH) {
        uint64_t wanted = (uint64_t)number * LEAF_MESSAGES / NODE_SPAN[node->depth + 1];

        node = inner_child(node_inner(node), (uint32_t)wanted);
    }
    return node != NULL ? node_leaf(node) : NULL;
}

/* Makes room for a child in the builder's own node. */
static void insert_child(struct inner *parent, size_t at, struct node *child)
{
    g_assert(parent->child_count < parent->capacity);
    memmove(&parent->children[at + 1], &parent->children[at],
            (parent->child_count - at) * sizeof(parent->children[0]));
    parent->children[at] = (struct child){.node = child, .number = child->number};
    parent->child_count++;
}

static void remove_child(struct inner *parent, size_t at)
{
    node_unref(parent->children[at].node);
    parent->child_count--;
    memmove(&parent->children[at], &parent->children[at + 1],
            (parent->child_count - at) * sizeof(parent->children[0]));
}

/* The child directory as one that only the builder holds, made if it is not there. */
static struct inner *own_child(struct inner *parent, uint32_t number)
{
    size_t at = inner_lower_bound(parent, number);
    struct node *child;

    if (at == parent->child_count || parent->children[at].number != number) {
        insert_child(parent, at,
                     &inner_new(parent->node.depth + 1u, number, NODE_CHILDREN_MAX)->node);
        return node_inner(parent->children[at].node);
    }
    child = parent->children[at].node;
    if (!object_id_is_zero(&child->tree)) {
        parent->children[at].node = &inner_copy(node_inner(child), NODE_CHILDREN_MAX)->node;
        node_unref(child);
    }
    return node_inner(parent->children[at].node);
}

/* Puts the leaf (taken; NULL: none) in the place of the one with this number. */
static void place_leaf(struct snapshot_builder *builder, uint32_t number, struct leaf *leaf)
{
    struct inner *parent = builder->root;
    size_t at;

    while (parent->node.depth + 1 < LEAF_DEPTH) {
        uint64_t child = (uint64_t)number * LEAF_MESSAGES / NODE_SPAN[parent->node.depth + 1];

        parent = own_child(parent, (uint32_t)child);
    }
    at = inner_lower_bound(parent, number);
    if (at < parent->child_count && parent->children[at].number == number) {
        remove_child(parent, at);
    }
    if (leaf != NULL) {
        insert_child(parent, at, &leaf->node);
    }
}

static void close_draft(struct snapshot_builder *builder)
{
    struct draft *draft = &builder->draft;

    if (draft->open) {
        place_leaf(builder, draft->number,
                   draft->count > 0 ? leaf_new(draft->number, draft->messages, draft->count)
                                    : NULL);
        draft->open = false;
    }
}

static struct draft *open_draft(struct snapshot_builder *builder, uint32_t number)
{
    struct draft *draft = &builder->draft;
    const struct leaf *leaf;

    if (draft->open && draft->number == number) {
        return draft;
    }
    close_draft(builder);
    leaf = find_leaf(builder, number);
    draft->open = true;
    draft->number = number;
    draft->count = leaf != NULL ? leaf_messages(leaf, draft->messages) : 0;
    builder->damaged = builder->damaged || (leaf != NULL && leaf->lost);
    return draft;
}

/* They ascend, so none is further behind than its UID's last two digits say. */
static struct message *find_in_draft(struct draft *draft, uint32_t uid)
{
    size_t i = MIN(uid % LEAF_MESSAGES + 1, draft->count);

    while (i > 0 && draft->messages[i - 1].uid > uid) {
        i--;
    }
    return i > 0 && draft->messages[i - 1].uid == uid ? &draft->messages[i - 1] : NULL;
}

/* --- messages --- */

size_t snapshot_builder_room(const struct snapshot_builder *builder)
{
    return builder->uid_next > MESSAGE_UID_MAX ? 0 : MESSAGE_UID_MAX - builder->uid_next + 1;
}

uint32_t snapshot_builder_append(struct snapshot_builder *builder, const struct message *message)
{
    uint32_t uid = builder->uid_next;
    struct draft *draft = open_draft(builder, uid / LEAF_MESSAGES);

    g_assert(snapshot_builder_room(builder) > 0);
    g_assert(draft->count < LEAF_MESSAGES);
    builder->damaged = builder->damaged || object_id_is_zero(&message->blob);
    draft->messages[draft->count] = *message;
    draft->messages[draft->count].uid = uid;
    draft->messages[draft->count].modseq = builder->modseq;
    draft->count++;
    builder->uid_next++;
    return uid;
}

bool snapshot_builder_find(const struct snapshot_builder *builder, uint32_t uid,
                           struct message *out)
{
    uint32_t number = uid / LEAF_MESSAGES;
    const struct leaf *leaf;
    const uint8_t *packed;
    size_t at;

    if (builder->draft.open && builder->draft.number == number) {
        const struct message *message =
            find_in_draft((struct draft *)(uintptr_t)&builder->draft, uid);

        if (message != NULL) {
            *out = *message;
        }
        return message != NULL;
    }
    leaf = find_leaf(builder, number);
    if (leaf == NULL) {
        return false;
    }
    packed = leaf_packed(leaf);
    at = packed_leaf_lower_bound(packed, uid % LEAF_MESSAGES);
    if (at == leaf->node.count || packed_leaf_pair(packed, at) != uid % LEAF_MESSAGES) {
        return false;
    }
    packed_leaf_message(out, packed, number, at);
    return true;
}

static struct message *edit(struct snapshot_builder *builder, uint32_t uid)
{
    struct message *message = find_in_draft(open_draft(builder, uid / LEAF_MESSAGES), uid);

    g_assert(message != NULL);
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
    struct draft *draft = open_draft(builder, uid / LEAF_MESSAGES);
    struct message *message = find_in_draft(draft, uid);

    g_assert(message != NULL);
    draft->count--;
    memmove(message, message + 1,
            (size_t)(&draft->messages[draft->count] - message) * sizeof(*message));
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
    g_autoptr(GString) index = g_string_sized_new(leaf->node.count * 64u);
    g_autoptr(GByteArray) tree = g_byte_array_sized_new(leaf->node.count * 32u + 40);
    struct message messages[LEAF_MESSAGES];
    struct object_id index_id;
    size_t count;
    char name[3];
    int rc;

    if (leaf->lost) {
        return store_error_set(error, STORE_CORRUPT, "leaves beside this change can't be read");
    }
    count = leaf_messages(leaf, messages);
    builder->written++;
    index_file_encode(index, messages, count, builder->keywords);
    rc = object_batch_add(batch, OBJECT_BLOB, index->str, index->len, &index_id, error);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        tree_pair_format(name, messages[i].uid % 100);
        tree_append(tree, name, false, &messages[i].blob);
    }
    tree_append(tree, "index", false, &index_id);
    return object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &leaf->node.tree, error);
}

/* A directory whose children are written, or a leaf. */
static int write_node(struct snapshot_builder *builder, struct node *node,
                      struct object_batch *batch, struct store_error *error)
{
    g_autoptr(GByteArray) tree = NULL;
    const struct inner *inner;
    char name[3];

    if (node->depth == LEAF_DEPTH) {
        return write_leaf(builder, node_leaf(node), batch, error);
    }
    inner = node_inner(node);
    tree = g_byte_array_sized_new(inner->child_count * 32u);
    for (uint32_t i = 0; i < inner->child_count; i++) {
        tree_pair_format(name, inner->children[i].number % 100);
        tree_append(tree, name, true, &inner->children[i].node->tree);
    }
    return object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &node->tree, error);
}

/* Writes what is new below the builder's own node, drops what is empty, and gives back the room
 * that is not needed. The recursion is as deep as the tree. */
static int write_children(struct snapshot_builder *builder, struct inner *inner,
                          struct object_batch *batch, struct store_error *error)
{
    uint32_t i = 0;

    while (i < inner->child_count) {
        struct node *node = inner->children[i].node;
        int rc = 0;

        if (object_id_is_zero(&node->tree)) {
            if (node->depth < LEAF_DEPTH) {
                rc = write_children(builder, node_inner(node), batch, error);
                if (rc == 0 && node_inner(node)->child_count == 0) {
                    remove_child(inner, i);
                    continue;
                }
            }
            if (rc == 0) {
                rc = write_node(builder, node, batch, error);
            }
            if (rc < 0) {
                return rc;
            }
            if (node->depth < LEAF_DEPTH) {
                inner->children[i].node = &inner_shrink(node_inner(node))->node;
            }
        }
        i++;
    }
    inner_sum(inner);
    return 0;
}

static int write_root(const struct snapshot_builder *builder, struct object_batch *batch,
                      struct object_id *root, struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct properties properties = {.uid_validity = builder->uid_validity,
                                    .uid_next = builder->uid_next,
                                    .highest_modseq = builder->modseq,
                                    .keywords = builder->keywords};
    struct object_id id;
    char name[3];
    int rc;

    memcpy(properties.mailbox_id, builder->mailbox_id, sizeof(properties.mailbox_id));
    properties_encode(text, &properties);
    rc = object_batch_add(batch, OBJECT_BLOB, text->str, text->len, &id, error);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < builder->root->child_count; i++) {
        tree_pair_format(name, builder->root->children[i].number);
        tree_append(tree, name, true, &builder->root->children[i].node->tree);
    }
    tree_append(tree, "mailbox", false, &id);
    return object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, root, error);
}

/* The version that the builder has become; takes its root. */
static struct snapshot *finish(struct snapshot_builder *builder)
{
    struct snapshot *out = snapshot_new(inner_shrink(g_steal_pointer(&builder->root)));

    memcpy(out->mailbox_id, builder->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = builder->uid_validity;
    out->uid_next = builder->uid_next;
    out->highest_modseq = builder->modseq;
    out->keywords = g_ptr_array_ref(builder->keywords);
    out->unsaved = builder->written + 1;
    if (builder->before != NULL) {
        out->unsaved += builder->before->unsaved;
    }
    return out;
}

int snapshot_builder_write(struct snapshot_builder *builder, struct object_batch *batch,
                           struct snapshot **out, struct object_id *root, struct store_error *error)
{
    int rc;

    if (builder->damaged) {
        return store_error_set(error, STORE_CORRUPT, "a message of this change can't be read");
    }
    close_draft(builder);
    rc = write_children(builder, builder->root, batch, error);
    if (rc == 0) {
        rc = write_root(builder, batch, root, error);
    }
    if (rc == 0) {
        *out = finish(builder);
    }
    return rc;
}
