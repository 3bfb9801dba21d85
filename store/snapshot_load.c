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
    GArray *levels[DIRECTORY_LEVELS + 1]; /* the last one lists leaves */
    GPtrArray *leaves;
};

static bool find_known(const GArray *directories, const struct directory *wanted, guint *at)
{
    guint low = 0, high = directories->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(directories, struct directory, middle).number < wanted->number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *at = low;
    return low < directories->len &&
           g_array_index(directories, struct directory, low).number == wanted->number &&
           object_id_equal(&g_array_index(directories, struct directory, low).tree, &wanted->tree);
}

/* Appends the children of a directory that the known state has just so. */
static void copy_known(struct loader *loader, int level, uint32_t number)
{
    const struct snapshot *known = loader->known;
    GArray *out = loader->levels[level + 1];

    if (level + 1 == DIRECTORY_LEVELS) {
        size_t at = leaves_lower_bound(known->leaves, known->leaf_count, number * 100);

        for (; at < known->leaf_count && known->leaves[at]->number / 100 == number; at++) {
            struct directory leaf = {known->leaves[at]->number, known->leaves[at]->tree};

            g_array_append_val(out, leaf);
        }
    } else {
        const GArray *children = known->directories[level + 1];
        struct directory first = {.number = number * 100};
        guint at;

        find_known(children, &first, &at);
        for (; at < children->len &&
               g_array_index(children, struct directory, at).number / 100 == number;
             at++) {
            g_array_append_val(out, g_array_index(children, struct directory, at));
        }
    }
}

static int expand_level(struct loader *loader, int level, struct store_error *error)
{
    GArray *directories = loader->levels[level];
    guint at;
    int rc = 0;

    loader->levels[level + 1] = g_array_new(FALSE, FALSE, sizeof(struct directory));
    for (guint i = 0; rc == 0 && i < directories->len; i++) {
        const struct directory *directory = &g_array_index(directories, struct directory, i);

        if (loader->known != NULL &&
            find_known(loader->known->directories[level], directory, &at)) {
            copy_known(loader, level, directory->number);
        } else {
            rc = directory_load(loader->levels[level + 1], loader->objects, directory, error);
        }
    }
    return rc;
}

static struct leaf *known_leaf(const struct loader *loader, const struct directory *wanted)
{
    const struct snapshot *known = loader->known;
    size_t at;

    if (known == NULL) {
        return NULL;
    }
    at = leaves_lower_bound(known->leaves, known->leaf_count, wanted->number);
    if (at == known->leaf_count || known->leaves[at]->number != wanted->number ||
        !object_id_equal(&known->leaves[at]->tree, &wanted->tree)) {
        return NULL;
    }
    return leaf_ref(known->leaves[at]);
}

static int load_leaves(struct loader *loader, struct store_error *error)
{
    const GArray *wanted = loader->levels[DIRECTORY_LEVELS];
    struct message messages[LEAF_MESSAGES];
    size_t count;

    for (guint i = 0; i < wanted->len; i++) {
        const struct directory *entry = &g_array_index(wanted, struct directory, i);
        struct leaf *leaf = known_leaf(loader, entry);
        int rc;

        if (leaf == NULL) {
            rc = leaf_load(messages, &count, loader->objects, &entry->tree, entry->number,
                           loader->keywords, error);
            if (rc < 0) {
                return rc;
            }
            leaf = leaf_new(entry->number, count);
            memcpy(leaf->messages, messages, count * sizeof(messages[0]));
            leaf->count = (uint32_t)count;
            leaf->tree = entry->tree;
            leaf_count(leaf);
        }
        g_ptr_array_add(loader->leaves, leaf);
    }
    return 0;
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

static int check_bounds(const struct snapshot *snapshot, struct store_error *error)
{
    const struct leaf *last =
        snapshot->leaf_count > 0 ? snapshot->leaves[snapshot->leaf_count - 1] : NULL;

    if (last != NULL && last->messages[last->count - 1].uid >= snapshot->uid_next) {
        return store_error_set(error, STORE_CORRUPT,
                               "UID %" G_GUINT32_FORMAT " is not below UIDNEXT",
                               last->messages[last->count - 1].uid);
    }
    for (size_t i = 0; i < snapshot->leaf_count; i++) {
        if (snapshot->leaves[i]->modseq_max > snapshot->highest_modseq) {
            return store_error_set(error, STORE_CORRUPT,
                                   "a MODSEQ above HIGHESTMODSEQ in leaf %" G_GUINT32_FORMAT,
                                   snapshot->leaves[i]->number);
        }
    }
    return 0;
}

static struct snapshot *assemble(struct loader *loader, const struct properties *properties,
                                 const struct object_id *commit)
{
    gsize count = loader->leaves->len;
    struct snapshot *out = snapshot_new(
        (struct leaf **)g_ptr_array_free(g_steal_pointer(&loader->leaves), FALSE), count);

    memcpy(out->mailbox_id, properties->mailbox_id, sizeof(out->mailbox_id));
    out->uid_validity = properties->uid_validity;
    out->uid_next = properties->uid_next;
    out->highest_modseq = properties->highest_modseq;
    out->commit = *commit;
    out->keywords = g_steal_pointer(&loader->keywords);
    for (int i = 0; i < DIRECTORY_LEVELS; i++) {
        out->directories[i] = g_steal_pointer(&loader->levels[i]);
    }
    return out;
}

static void loader_release(struct loader *loader)
{
    for (int i = 0; i <= DIRECTORY_LEVELS; i++) {
        g_clear_pointer(&loader->levels[i], g_array_unref);
    }
    for (guint i = 0; loader->leaves != NULL && i < loader->leaves->len; i++) {
        leaf_unref(g_ptr_array_index(loader->leaves, i));
    }
    g_clear_pointer(&loader->leaves, g_ptr_array_unref);
    g_clear_pointer(&loader->keywords, g_ptr_array_unref);
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

int snapshot_load(struct snapshot **out, bool *keywords_moved, struct objects *objects,
                  const struct object_id *commit, const struct snapshot *known,
                  struct store_error *error)
{
    struct loader loader = {.objects = objects, .known = known, .leaves = g_ptr_array_new()};
    struct properties properties = {0};
    struct object_id tree;
    int rc = read_tree_id(&tree, objects, commit, error);

    if (rc == 0) {
        rc = root_load(&properties, &loader.levels[0], objects, &tree, error);
    }
    if (rc == 0) {
        rc = merge_keywords(&loader, &properties, keywords_moved, error);
    }
    for (int i = 0; rc == 0 && i < DIRECTORY_LEVELS; i++) {
        rc = expand_level(&loader, i, error);
    }
    if (rc == 0) {
        rc = load_leaves(&loader, error);
    }
    if (rc == 0) {
        struct snapshot *loaded = assemble(&loader, &properties, commit);

        rc = check_bounds(loaded, error);
        if (rc == 0) {
            *out = loaded;
        } else {
            snapshot_unref(loaded);
        }
    }
    loader_release(&loader);
    properties_release(&properties);
    return rc;
}
