#include "store/internal/snapshot_load.h"

#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/tree.h"

/* What a commit refers to and is not there makes the commit corrupt. */
static int read_part(struct objects *objects, const struct object_id *id, enum object_type type,
                     struct object_data *out, struct store_error *error)
{
    int rc = objects_read(objects, id, type, out, error);

    if (rc == STORE_NOT_FOUND) {
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(id, hex);
        return store_error_set(error, STORE_CORRUPT, "object %s is missing", hex);
    }
    return rc;
}

static int load_properties(struct properties *out, struct objects *objects,
                           const struct object_id *id, struct store_error *error)
{
    struct object_data data;
    int rc = read_part(objects, id, OBJECT_BLOB, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = properties_decode(out, data.data, data.length, error);
    object_data_release(&data);
    return rc;
}

/* Appends sub-directories until something else comes: then *entry holds that. */
static enum tree_result take_directories(GArray *out, struct tree_reader *reader, uint32_t number,
                                         struct tree_entry *entry)
{
    enum tree_result result;
    int last = -1;

    while ((result = tree_next(reader, entry)) == TREE_ENTRY && entry->directory) {
        struct directory child = {.tree = entry->id};
        unsigned pair;

        if (!tree_pair(entry->name, &pair) || (int)pair <= last) {
            return TREE_BAD;
        }
        child.number = number * 100 + pair;
        last = (int)pair;
        g_array_append_val(out, child);
    }
    return result;
}

int root_load(struct properties *properties, GArray **directories, struct objects *objects,
              const struct object_id *tree, struct store_error *error)
{
    struct object_data data;
    struct tree_reader reader;
    struct tree_entry entry;
    struct object_id file;
    bool good;
    int rc;

    memset(properties, 0, sizeof(*properties));
    *directories = g_array_new(FALSE, FALSE, sizeof(struct directory));
    rc = read_part(objects, tree, OBJECT_TREE, &data, error);
    if (rc < 0) {
        return rc;
    }
    reader = (struct tree_reader){data.data, data.data + data.length};
    good = take_directories(*directories, &reader, 0, &entry) == TREE_ENTRY &&
           strcmp(entry.name, "mailbox") == 0;
    file = entry.id;
    good = good && tree_next(&reader, &entry) == TREE_END;
    object_data_release(&data);
    if (!good) {
        return store_error_set(error, STORE_CORRUPT, "the root tree is not that of a mailbox");
    }
    return load_properties(properties, objects, &file, error);
}

int directory_load(GArray *out, struct objects *objects, const struct directory *directory,
                   struct store_error *error)
{
    struct object_data data;
    struct tree_reader reader;
    struct tree_entry entry;
    enum tree_result result;
    int rc = read_part(objects, &directory->tree, OBJECT_TREE, &data, error);

    if (rc < 0) {
        return rc;
    }
    reader = (struct tree_reader){data.data, data.data + data.length};
    result = data.length > 0 ? take_directories(out, &reader, directory->number, &entry) : TREE_BAD;
    object_data_release(&data);
    if (result != TREE_END) {
        return store_error_set(error, STORE_CORRUPT,
                               "malformed directory of UIDs %" G_GUINT32_FORMAT, directory->number);
    }
    return 0;
}

/* The blob ids of a leaf's tree by the last two digits of their UIDs, and the index's. */
struct leaf_tree {
    struct object_id blobs[LEAF_MESSAGES];
    bool present[LEAF_MESSAGES];
    size_t count;
    struct object_id index;
};

static bool leaf_tree_decode(struct leaf_tree *out, const struct object_data *data)
{
    struct tree_reader reader = {data->data, data->data + data->length};
    struct tree_entry entry;
    int last = -1;
    unsigned pair;

    memset(out->present, 0, sizeof(out->present));
    out->count = 0;
    while (tree_next(&reader, &entry) == TREE_ENTRY && !entry.directory) {
        if (strcmp(entry.name, "index") == 0) {
            out->index = entry.id;
            return tree_next(&reader, &entry) == TREE_END;
        }
        if (!tree_pair(entry.name, &pair) || (int)pair <= last) {
            return false;
        }
        last = (int)pair;
        out->blobs[pair] = entry.id;
        out->present[pair] = true;
        out->count++;
    }
    return false;
}

int leaf_load(struct message messages[LEAF_MESSAGES], size_t *count, struct objects *objects,
              const struct object_id *tree, uint32_t number, const GPtrArray *keywords,
              struct store_error *error)
{
    struct leaf_tree leaf;
    struct object_data data;
    bool good;
    int rc = read_part(objects, tree, OBJECT_TREE, &data, error);

    if (rc < 0) {
        return rc;
    }
    good = leaf_tree_decode(&leaf, &data);
    object_data_release(&data);
    if (!good) {
        return store_error_set(error, STORE_CORRUPT, "malformed leaf %" G_GUINT32_FORMAT, number);
    }
    rc = read_part(objects, &leaf.index, OBJECT_BLOB, &data, error);
    if (rc < 0) {
        return rc;
    }
    rc = index_file_decode(messages, count, data.data, data.length, number, keywords, error);
    object_data_release(&data);
    for (size_t i = 0; rc == 0 && i < *count; i++) {
        unsigned pair = messages[i].uid % LEAF_MESSAGES;

        if (!leaf.present[pair]) {
            return store_error_set(error, STORE_CORRUPT,
                                   "index line without a message: UID %" G_GUINT32_FORMAT,
                                   messages[i].uid);
        }
        messages[i].blob = leaf.blobs[pair];
    }
    if (rc == 0 && *count != leaf.count) {
        return store_error_set(error, STORE_CORRUPT,
                               "message without an index line in leaf %" G_GUINT32_FORMAT, number);
    }
    return rc;
}

struct loader {
    struct objects *objects;
    const struct snapshot *known;
    GPtrArray *keywords;
    size_t leaves; /* that were read */
};

static int load_leaf(struct node **out, struct loader *loader, const struct directory *wanted,
                     struct store_error *error)
{
    struct message messages[LEAF_MESSAGES];
    struct leaf *leaf;
    size_t count;
    int rc = leaf_load(messages, &count, loader->objects, &wanted->tree, wanted->number,
                       loader->keywords, error);

    if (rc == 0) {
        leaf = leaf_new(wanted->number, messages, count);
        leaf->node.tree = wanted->tree;
        loader->leaves++;
        *out = &leaf->node;
    }
    return rc;
}

static int load_node(struct node **out, struct loader *loader, unsigned depth,
                     const struct directory *wanted, struct node *known, struct store_error *error);

/* Loads what the directories list into inner; known (NULL: nothing) is what was there before. */
static int load_children(struct inner *inner, struct loader *loader, const GArray *directories,
                         struct node *known, struct store_error *error)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && i < directories->len; i++) {
        const struct directory *wanted = &g_array_index(directories, struct directory, i);
        struct node *child;

        rc =
            load_node(&child, loader, inner->node.depth + 1u, wanted,
                      known != NULL ? inner_child(node_inner(known), wanted->number) : NULL, error);
        if (rc == 0) {
            inner_add(inner, child);
        }
    }
    inner_sum(inner);
    return rc;
}

/* The recursion is as deep as the tree. */
static int load_node(struct node **out, struct loader *loader, unsigned depth,
                     const struct directory *wanted, struct node *known, struct store_error *error)
{
    g_autoptr(GArray) children = NULL;
    struct inner *inner;
    int rc;

    if (known != NULL && object_id_equal(&known->tree, &wanted->tree)) {
        *out = node_ref(known);
        return 0;
    }
    if (depth == LEAF_DEPTH) {
        return load_leaf(out, loader, wanted, error);
    }
    children = g_array_new(FALSE, FALSE, sizeof(struct directory));
    rc = directory_load(children, loader->objects, wanted, error);
    if (rc < 0) {
        return rc;
    }
    inner = inner_new(depth, wanted->number, children->len);
    inner->node.tree = wanted->tree;
    rc = load_children(inner, loader, children, known, error);
    if (rc < 0) {
        node_unref(&inner->node);
    } else {
        *out = &inner->node;
    }
    return rc;
}

/* The keywords in the places of the known state, then those it did not have. */
static int merge_keywords(struct loader *loader, const struct properties *properties, bool *moved,
                          struct store_error *error)
{
    const GPtrArray *known = loader->known != NULL ? loader->known->keywords : NULL;
    size_t index;

    *moved = false;
    loader->keywords = keywords_new();
    for (guint i = 0; known != NULL && i < known->len; i++) {
        const char *keyword = g_ptr_array_index(known, i);

        *moved = *moved || i >= properties->keywords->len ||
                 strcmp(keyword, g_ptr_array_index(properties->keywords, i)) != 0;
        g_ptr_array_add(loader->keywords, g_strdup(keyword));
    }
    for (guint i = 0; i < properties->keywords->len; i++) {
        const char *keyword = g_ptr_array_index(properties->keywords, i);

        if (!keywords_find(loader->keywords, keyword, strlen(keyword), &index)) {
            g_ptr_array_add(loader->keywords, g_strdup(keyword));
        }
    }
    if (loader->keywords->len > MAILBOX_KEYWORDS_MAX) {
        return store_error_set(error, STORE_CORRUPT, "more keywords than a mailbox can have");
    }
    return 0;
}

static int check_bounds(struct inner *root, const struct properties *properties,
                        struct store_error *error)
{
    struct node *last = &root->node;
    uint32_t uid;

    if (last->count == 0) {
        return 0;
    }
    while (last->depth < LEAF_DEPTH) {
        const struct inner *inner = node_inner(last);

        last = inner_children(inner)[inner->child_count - 1].node;
    }
    uid = last->number * LEAF_MESSAGES +
          packed_leaf_pair(leaf_packed(node_leaf(last)), last->count - 1);
    if (uid >= properties->uid_next) {
        return store_error_set(error, STORE_CORRUPT,
                               "UID %" G_GUINT32_FORMAT " is not below UIDNEXT", uid);
    }
    if (root->node.modseq_max > properties->highest_modseq) {
        return store_error_set(error, STORE_CORRUPT, "a MODSEQ above HIGHESTMODSEQ");
    }
    return 0;
}

/* Takes root. */
static struct snapshot *assemble(struct loader *loader, const struct properties *properties,
                                 const struct object_id *commit, struct inner *root)
{
    struct snapshot *out = snapshot_new(root);

    memcpy(out->mailbox_id, properties->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = properties->uid_validity;
    out->uid_next = properties->uid_next;
    out->highest_modseq = properties->highest_modseq;
    out->commit = *commit;
    out->keywords = g_steal_pointer(&loader->keywords);
    out->unsaved = loader->leaves + 1 + (loader->known != NULL ? loader->known->unsaved : 0);
    return out;
}

static int read_tree_id(struct object_id *tree, struct objects *objects,
                        const struct object_id *commit, struct store_error *error)
{
    struct object_data data;
    struct commit decoded;
    int rc = read_part(objects, commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&decoded, data.data, data.length, error);
    *tree = decoded.tree;
    object_data_release(&data);
    return rc;
}

int properties_load(struct properties *out, struct objects *objects, const struct object_id *commit,
                    struct store_error *error)
{
    g_autoptr(GArray) directories = NULL;
    struct object_id tree;
    int rc = read_tree_id(&tree, objects, commit, error);

    memset(out, 0, sizeof(*out));
    return rc < 0 ? rc : root_load(out, &directories, objects, &tree, error);
}

int snapshot_load(struct snapshot **out, bool *keywords_moved, struct objects *objects,
                  const struct object_id *commit, const struct snapshot *known,
                  struct store_error *error)
{
    struct loader loader = {.objects = objects, .known = known};
    g_autoptr(GArray) directories = NULL;
    struct properties properties = {0};
    struct inner *root = NULL;
    struct object_id tree;
    int rc = read_tree_id(&tree, objects, commit, error);

    if (rc == 0) {
        rc = root_load(&properties, &directories, objects, &tree, error);
    }
    if (rc == 0) {
        rc = merge_keywords(&loader, &properties, keywords_moved, error);
    }
    if (rc == 0) {
        root = inner_new(0, 0, directories->len);
        rc = load_children(root, &loader, directories, known != NULL ? &known->root->node : NULL,
                           error);
    }
    if (rc == 0) {
        rc = check_bounds(root, &properties, error);
    }
    if (rc == 0) {
        *out = assemble(&loader, &properties, commit, root);
    } else if (root != NULL) {
        node_unref(&root->node);
    }
    g_clear_pointer(&loader.keywords, g_ptr_array_unref);
    properties_release(&properties);
    return rc;
}
