#include "store/internal/rewrite.h"

#include <string.h>

#include "store/internal/checkpoint.h"
#include "store/internal/commit.h"
#include "store/internal/git.h"
#include "store/internal/objects_private.h"
#include "store/internal/shallow.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

enum {
    MODE_GITLINK = 0160000,
    MODE_TREE = 0040000,
    MODE_TYPE = 0170000,
    OCTAL = 8,
    HASH_STEP = 31,
};

#define INDEX_NAME "index"

/* What stands for a tree or commit, and what it held: two with the same hash held the same. */
struct stand_in {
    struct object_id id; /* zero: nothing is left */
    uint32_t count;      /* of the blobs, each as often as it stood there */
    uint64_t hash;
};

struct rewrite {
    struct objects *objects;
    const struct id_set *blobs;
    const GPtrArray *words;
    struct id_set boundary;
    GArray *new_boundary;
    GHashTable *trees;   /* struct object_id -> struct stand_in, both owned by the value's block */
    GHashTable *commits; /* the same */
    GPtrArray *written;  /* struct object_batch *: in packs, protected until the end */
    GPtrArray *keeps;    /* char *: paths of .keep files of tags */
    struct object_batch *batch;
    size_t pending; /* commits in batch */
    size_t count;
    const struct observer *observer;
    uint64_t total; /* of commits, about */
    bool dry;
};

int rewrite_new(struct rewrite **out, const char *path, struct objects *objects,
                const struct id_set *blobs, const GPtrArray *words, bool dry,
                struct store_error *error)
{
    struct rewrite *rewrite = g_new0(struct rewrite, 1);

    rewrite->dry = dry;
    rewrite->objects = objects;
    rewrite->blobs = blobs;
    rewrite->words = words;
    id_set_init(&rewrite->boundary);
    rewrite->new_boundary = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    rewrite->trees = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, g_free);
    rewrite->commits = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, g_free);
    rewrite->keeps = g_ptr_array_new_with_free_func(g_free);
    rewrite->written = g_ptr_array_new_with_free_func((GDestroyNotify)object_batch_free);
    int rc = shallow_read(&rewrite->boundary, path, error);
    if (rc == 0) {
        rc = object_batch_new(&rewrite->batch, objects, error);
    }
    if (rc < 0) {
        rewrite_free(rewrite);
        return rc;
    }
    *out = rewrite;
    return 0;
}

void rewrite_free(struct rewrite *rewrite)
{
    if (rewrite == NULL) {
        return;
    }
    for (guint i = 0; i < rewrite->keeps->len; i++) {
        rewrite->objects->host->unlink(rewrite->objects->host->data, rewrite->keeps->pdata[i]);
    }
    g_ptr_array_unref(rewrite->keeps);
    object_batch_free(rewrite->batch);
    g_ptr_array_unref(rewrite->written);
    g_hash_table_unref(rewrite->trees);
    g_hash_table_unref(rewrite->commits);
    g_array_unref(rewrite->new_boundary);
    id_set_release(&rewrite->boundary);
    g_free(rewrite);
}

void rewrite_observe(struct rewrite *rewrite, const struct observer *observer, uint64_t total)
{
    rewrite->observer = observer;
    rewrite->total = total;
}

struct object_batch *rewrite_batch(struct rewrite *rewrite)
{
    return rewrite->batch;
}

size_t rewrite_count(const struct rewrite *rewrite)
{
    return rewrite->count;
}

const GArray *rewrite_boundary(const struct rewrite *rewrite)
{
    return rewrite->new_boundary;
}

int rewrite_flush(struct rewrite *rewrite, struct store_error *error)
{
    int rc = rewrite->dry ? 0 : object_batch_write(rewrite->batch, true, error);

    if (rc == 0) {
        g_ptr_array_add(rewrite->written, g_steal_pointer(&rewrite->batch));
        rewrite->pending = 0;
        rc = object_batch_new(&rewrite->batch, rewrite->objects, error);
    }
    return rc;
}

static struct stand_in *note(GHashTable *table, const struct object_id *id,
                             const struct stand_in *stand_in)
{
    struct stand_in *copy = g_memdup2(stand_in, sizeof(*stand_in));

    g_hash_table_replace(table, g_memdup2(id, sizeof(*id)), copy);
    return copy;
}

/* --- trees --- */

/* An entry of a tree of any kind. */
struct entry {
    const uint8_t *start; /* "MODE NAME" NUL ID */
    const char *name;
    const uint8_t *id;
    unsigned mode;
};

static bool next_entry(const uint8_t **at, const uint8_t *end, struct entry *out)
{
    const uint8_t *name_end = memchr(*at, '\0', (size_t)(end - *at));
    const uint8_t *space = memchr(*at, ' ', (size_t)(end - *at));

    if (name_end == NULL || space == NULL || space > name_end || end - name_end <= OBJECT_ID_SIZE) {
        return false;
    }
    out->start = *at;
    out->mode = 0;
    for (const uint8_t *digit = *at; digit < space; digit++) {
        out->mode = out->mode * OCTAL + (unsigned)(*digit - '0');
    }
    out->name = (const char *)space + 1;
    out->id = name_end + 1;
    *at = name_end + 1 + OBJECT_ID_SIZE;
    return true;
}

/* A tree that is being gone through. */
struct draft {
    GByteArray *tree;
    gsize index_at; /* where the id of its index is in tree; 0: it has none */
    struct object_id index;
    bool removed[100]; /* messages, by the last pair of their UIDs */
    bool any_removed;
    unsigned entries; /* that stay */
    struct stand_in sum;
};

static int rewrite_tree(struct rewrite *rewrite, const struct object_id *id, unsigned depth,
                        struct stand_in *out, struct store_error *error);

static void add_to_sum(struct draft *draft, const struct entry *entry, uint64_t hash,
                       uint32_t count)
{
    draft->sum.count += count;
    draft->sum.hash += (hash ^ g_str_hash(entry->name)) * HASH_STEP;
}

static int take_entry(struct rewrite *rewrite, struct draft *draft, const struct entry *entry,
                      const uint8_t *end, unsigned depth, struct store_error *error)
{
    struct stand_in below = {.count = 0};
    unsigned pair;

    memcpy(below.id.bytes, entry->id, OBJECT_ID_SIZE);
    if ((entry->mode & MODE_TYPE) == MODE_TREE) {
        struct object_id tree = below.id;
        int rc = rewrite_tree(rewrite, &tree, depth + 1, &below, error);

        if (rc < 0) {
            return rc;
        }
        if (below.count > 0) {
            add_to_sum(draft, entry, below.hash, below.count);
        }
    } else if ((entry->mode & MODE_TYPE) != MODE_GITLINK && id_set_has(rewrite->blobs, &below.id)) {
        add_to_sum(draft, entry, object_id_hash(&below.id), 1);
        if (tree_pair(entry->name, &pair)) {
            draft->removed[pair] = true;
            draft->any_removed = true;
        }
        return 0;
    }
    if (object_id_is_zero(&below.id)) {
        return 0;
    }
    g_byte_array_append(draft->tree, entry->start, (guint)(end - entry->start) - OBJECT_ID_SIZE);
    if (strcmp(entry->name, INDEX_NAME) == 0) {
        draft->index_at = draft->tree->len;
        draft->index = below.id;
    }
    g_byte_array_append(draft->tree, below.id.bytes, OBJECT_ID_SIZE);
    draft->entries++;
    return 0;
}

/* The line of a message that was removed: its UID ends in one of those pairs. */
static bool is_removed(const struct draft *draft, struct text line)
{
    unsigned pair = 0;

    for (; line.at < line.end && g_ascii_isdigit(*line.at); line.at++) {
        pair = (pair * 10 + (unsigned)(*line.at - '0')) % 100;
    }
    return line.at < line.end && *line.at == ' ' && draft->removed[pair];
}

/* The index without the lines of what was removed. */
static int rewrite_index(struct rewrite *rewrite, struct draft *draft, struct store_error *error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    struct object_data data;
    struct object_id id;
    int rc = objects_read(rewrite->objects, &draft->index, OBJECT_BLOB, &data, error);

    if (rc < 0) {
        return rc;
    }
    struct text text = {(const char *)data.data, (const char *)data.data + data.length};
    while (text.at < text.end) {
        struct text line = text;
        const char *start = text.at;

        if (!text_line(&text, &line)) {
            text.at = text.end;
        }
        if (!is_removed(draft, line)) {
            g_string_append_len(out, start, text.at - start);
        }
    }
    object_data_release(&data);
    rc = object_batch_add(rewrite->batch, OBJECT_BLOB, out->str, out->len, &id, error);
    if (rc == 0) {
        memcpy(draft->tree->data + draft->index_at, id.bytes, OBJECT_ID_SIZE);
    }
    return rc;
}

/* A leaf whose messages have all gone goes, too, and so does a directory without content. */
static int finish_tree(struct rewrite *rewrite, struct draft *draft, unsigned depth,
                       struct store_error *error)
{
    bool bare_leaf = draft->any_removed && draft->index_at > 0 && draft->entries == 1;

    if (depth > 0 && (draft->entries == 0 || bare_leaf)) {
        draft->sum.id = (struct object_id){{0}};
        return 0;
    }
    if (draft->any_removed && draft->index_at > 0) {
        int rc = rewrite_index(rewrite, draft, error);

        if (rc < 0) {
            return rc;
        }
    }
    return object_batch_add(rewrite->batch, OBJECT_TREE, draft->tree->data, draft->tree->len,
                            &draft->sum.id, error);
}

static int read_tree(struct rewrite *rewrite, const struct object_id *id,
                     const struct object_data *data, unsigned depth, struct stand_in *out,
                     struct store_error *error)
{
    g_autoptr(GByteArray) tree = g_byte_array_sized_new((guint)data->length);
    struct draft draft = {.tree = tree};
    const uint8_t *at = data->data;
    const uint8_t *end = data->data + data->length;
    int rc = 0;

    while (rc == 0 && at < end) {
        struct entry entry;

        rc = next_entry(&at, end, &entry)
                 ? take_entry(rewrite, &draft, &entry, at, depth, error)
                 : store_error_set(error, STORE_CORRUPT, "a malformed tree");
    }
    if (rc == 0 && draft.sum.count == 0) {
        draft.sum.id = *id;
    } else if (rc == 0) {
        rc = finish_tree(rewrite, &draft, depth, error);
    }
    *out = draft.sum;
    return rc;
}

static int rewrite_tree(struct rewrite *rewrite, const struct object_id *id, unsigned depth,
                        struct stand_in *out, struct store_error *error)
{
    const struct stand_in *known = g_hash_table_lookup(rewrite->trees, id);
    struct object_data data;
    int rc;

    if (known != NULL) {
        *out = *known;
        return 0;
    }
    if (depth >= REWRITE_DEPTH_MAX) {
        return store_error_set(error, STORE_LIMIT, "a tree with too many levels");
    }
    rc = objects_read(rewrite->objects, id, OBJECT_TREE, &data, error);
    if (rc < 0) {
        return rc;
    }
    rc = read_tree(rewrite, id, &data, depth, out, error);
    object_data_release(&data);
    if (rc == 0) {
        note(rewrite->trees, id, out);
    }
    return rc;
}

/* --- commits --- */

/* Pushes the parents that have not been done; returns how many. */
static guint push_parents(struct rewrite *rewrite, GArray *stack, const struct object_id *id,
                          const struct object_data *data)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    struct text line;
    struct object_id parent;
    guint before = stack->len;

    if (id_set_has(&rewrite->boundary, id)) {
        return 0;
    }
    while (text_line(&text, &line) && line.at < line.end) {
        if (commit_line_id(line, "parent ", &parent) &&
            !g_hash_table_contains(rewrite->commits, &parent)) {
            g_array_append_val(stack, parent);
        }
    }
    return stack->len - before;
}

static bool is_harmless_trailer(const struct text *line)
{
    static const char *const kept[] = {"User: ", "Client: ", "Session: ", "Command: "};

    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
        struct text rest = *line;

        if (text_word(&rest, kept[i])) {
            return true;
        }
    }
    return line->at == line->end;
}

/* The first line, without what is quoted from a message. */
static void append_subject(const struct rewrite *rewrite, GString *out, const struct text *line)
{
    g_autoptr(GString) subject = g_string_new_len(line->at, line->end - line->at);

    for (guint i = 0; i < rewrite->words->len; i++) {
        const char *words = rewrite->words->pdata[i];
        const char *found = *words != '\0' ? strstr(subject->str, words) : NULL;

        if (found != NULL) {
            gssize at = found - subject->str;

            g_string_erase(subject, at, (gssize)strlen(words));
            g_string_insert(subject, at, "(purged)");
        }
    }
    g_string_append_len(out, subject->str, (gssize)subject->len);
    g_string_append_c(out, '\n');
}

/* The message of a commit that brought in what has to go. */
static void append_message(const struct rewrite *rewrite, GString *out, struct text text)
{
    bool first = true;

    while (text.at < text.end) {
        struct text line = text;

        if (!text_line(&text, &line)) {
            text.at = text.end;
        }
        if (first) {
            append_subject(rewrite, out, &line);
        } else if (is_harmless_trailer(&line)) {
            g_string_append_len(out, line.at, line.end - line.at);
            g_string_append_c(out, '\n');
        }
        first = false;
    }
}

/* What a new commit says in its headers; *changed if that is another thing than before. */
static void append_headers(const struct rewrite *rewrite, GString *out, struct text *text,
                           const struct stand_in *tree, struct stand_in *first_parent)
{
    struct text line;
    bool skipping = false;
    bool first = true;
    char hex[OBJECT_ID_HEX + 1];

    while (text_line(text, &line) && line.at < line.end) {
        struct object_id id;
        struct text word = line;

        if (*line.at == ' ' && skipping) {
            continue;
        }
        skipping = text_word(&word, "gpgsig") || (word = line, text_word(&word, "mergetag "));
        if (skipping) {
            continue;
        }
        if (commit_line_id(line, "tree ", &id)) {
            object_id_format(&tree->id, hex);
            g_string_append_printf(out, "tree %s\n", hex);
        } else if (commit_line_id(line, "parent ", &id)) {
            const struct stand_in *parent = g_hash_table_lookup(rewrite->commits, &id);

            if (first && parent != NULL) {
                *first_parent = *parent;
            }
            first = false;
            object_id_format(parent != NULL ? &parent->id : &id, hex);
            g_string_append_printf(out, "parent %s\n", hex);
        } else {
            g_string_append_len(out, line.at, line.end - line.at);
            g_string_append_c(out, '\n');
        }
    }
    g_string_append_c(out, '\n');
}

static bool parents_moved(const struct rewrite *rewrite, struct text text)
{
    struct text line;
    struct object_id id;

    while (text_line(&text, &line) && line.at < line.end) {
        const struct stand_in *parent = NULL;

        if (commit_line_id(line, "parent ", &id)) {
            parent = g_hash_table_lookup(rewrite->commits, &id);
        }
        if (parent != NULL && !object_id_equal(&parent->id, &id)) {
            return true;
        }
    }
    return false;
}

/* All parents have been done. */
static int rewrite_commit(struct rewrite *rewrite, const struct object_id *id,
                          const struct object_data *data, struct store_error *error)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    struct text line = text;
    struct stand_in first_parent = {.count = 0};
    struct stand_in out;
    struct stand_in tree;
    struct object_id tree_id;
    int rc;

    if (!text_line(&(struct text){text.at, text.end}, &line) ||
        !commit_line_id(line, "tree ", &tree_id)) {
        return store_error_set(error, STORE_CORRUPT, "a commit without a tree");
    }
    rc = rewrite_tree(rewrite, &tree_id, 0, &tree, error);
    if (rc < 0) {
        return rc;
    }
    out = (struct stand_in){*id, tree.count, tree.hash};
    if (tree.count > 0 || parents_moved(rewrite, text)) {
        g_autoptr(GString) commit = g_string_new(NULL);

        append_headers(rewrite, commit, &text, &tree, &first_parent);
        if (tree.count > 0 && tree.hash != first_parent.hash) {
            append_message(rewrite, commit, text);
        } else {
            g_string_append_len(commit, text.at, text.end - text.at);
        }
        rc = object_batch_add(rewrite->batch, OBJECT_COMMIT, commit->str, commit->len, &out.id,
                              error);
        rewrite->count++;
        rewrite->pending++;
        if (id_set_has(&rewrite->boundary, id)) {
            g_array_append_val(rewrite->new_boundary, out.id);
        }
    }
    if (rc == 0) {
        note(rewrite->commits, id, &out);
    }
    return rc;
}

static int rewrite_commits(struct rewrite *rewrite, const struct object_id *tip,
                           struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    g_array_append_val(stack, *tip);
    while (rc == 0 && stack->len > 0) {
        struct object_id id = g_array_index(stack, struct object_id, stack->len - 1);
        struct object_data data;

        if (g_hash_table_contains(rewrite->commits, &id)) {
            g_array_set_size(stack, stack->len - 1);
            continue;
        }
        rc = objects_read(rewrite->objects, &id, OBJECT_COMMIT, &data, error);
        if (rc < 0) {
            return rc == STORE_NOT_FOUND
                       ? store_error_set(error, STORE_CORRUPT, "a commit of the history is missing")
                       : rc;
        }
        if (push_parents(rewrite, stack, &id, &data) == 0) {
            rc = rewrite_commit(rewrite, &id, &data, error);
        }
        if (rc == 0) {
            rc = observer_tell(rewrite->observer, OBSERVER_REWRITE,
                               g_hash_table_size(rewrite->commits), rewrite->total, error);
        }
        object_data_release(&data);
        if (rc == 0 && rewrite->pending >= REWRITE_BATCH) {
            rc = rewrite_flush(rewrite, error);
        }
    }
    return rc;
}

/* --- whatever a reference may name --- */

/* A tag with another object and without its signature. */
static int write_tag(struct rewrite *rewrite, const void *data, size_t length,
                     const struct object_id *object, struct object_id *out,
                     struct store_error *error)
{
    const char *signature = memmem(data, length, "-----BEGIN ", 11);
    size_t end = signature != NULL ? (size_t)(signature - (const char *)data) : length;
    struct text text = {data, (const char *)data + end};
    g_autoptr(GString) tag = g_string_new("object ");
    char hex[OBJECT_ID_HEX + 1];
    char *keep = NULL;
    struct text line;

    object_id_format(object, hex);
    g_string_append(tag, hex);
    g_string_append_c(tag, '\n');
    text_line(&text, &line);
    g_string_append_len(tag, text.at, text.end - text.at);
    if (rewrite->dry) {
        tag_hash(tag->str, tag->len, out);
        return 0;
    }
    int rc = tag_write(rewrite->objects->path, rewrite->objects->host, tag->str, tag->len, NULL,
                       out, &keep, error);
    if (rc == 0) {
        g_ptr_array_add(rewrite->keeps, keep);
    }
    return rc;
}

static int rewrite_any(struct rewrite *rewrite, git_odb *odb, const struct object_id *id,
                       unsigned depth, struct object_id *out, struct store_error *error);

static int rewrite_tag(struct rewrite *rewrite, git_odb *odb, git_odb_object *object,
                       unsigned depth, struct object_id *out, struct store_error *error)
{
    const void *data = git_odb_object_data(object);
    size_t length = git_odb_object_size(object);
    struct text text = {data, (const char *)data + length};
    struct text line;
    struct object_id target, moved;

    if (!text_line(&text, &line) || !commit_line_id(line, "object ", &target)) {
        return store_error_set(error, STORE_CORRUPT, "a tag of nothing");
    }
    int rc = rewrite_any(rewrite, odb, &target, depth + 1, &moved, error);
    if (rc < 0 || object_id_equal(&target, &moved)) {
        return rc;
    }
    if (object_id_is_zero(&moved)) {
        *out = moved;
        return 0;
    }
    return write_tag(rewrite, data, length, &moved, out, error);
}

static int rewrite_any(struct rewrite *rewrite, git_odb *odb, const struct object_id *id,
                       unsigned depth, struct object_id *out, struct store_error *error)
{
    git_odb_object *object = NULL;
    struct stand_in stand_in;
    git_oid oid;
    int rc;

    *out = *id;
    if (depth >= REWRITE_DEPTH_MAX) {
        return store_error_set(error, STORE_LIMIT, "a tag of too many tags");
    }
    git_oid_fromraw(&oid, id->bytes);
    rc = git_odb_read(&object, odb, &oid);
    if (rc < 0) {
        return libgit2_fail(error, rc, "what a reference names");
    }
    switch ((int)git_odb_object_type(object)) {
    case GIT_OBJECT_COMMIT:
        rc = rewrite_commits(rewrite, id, error);
        if (rc == 0) {
            rewrite_find(rewrite, id, out);
        }
        break;
    case GIT_OBJECT_TREE:
        rc = rewrite_tree(rewrite, id, 0, &stand_in, error);
        if (rc == 0) {
            *out = stand_in.id;
        }
        break;
    case GIT_OBJECT_TAG:
        rc = rewrite_tag(rewrite, odb, object, depth, out, error);
        break;
    default:
        if (id_set_has(rewrite->blobs, id)) {
            *out = (struct object_id){{0}};
        }
        break;
    }
    git_odb_object_free(object);
    return rc;
}

int rewrite_object(struct rewrite *rewrite, const struct object_id *id, struct object_id *out,
                   struct store_error *error)
{
    git_odb *odb = NULL;
    int rc;

    if (rewrite_find(rewrite, id, out)) {
        return 0;
    }
    rc = git_odb_open(&odb, rewrite->objects->directory);
    if (rc < 0) {
        return libgit2_fail(error, rc, "object database");
    }
    rc = rewrite_any(rewrite, odb, id, 0, out, error);
    git_odb_free(odb);
    return rc;
}

bool rewrite_find(const struct rewrite *rewrite, const struct object_id *commit,
                  struct object_id *out)
{
    const struct stand_in *known = g_hash_table_lookup(rewrite->commits, commit);

    if (known != NULL) {
        *out = known->id;
    }
    return known != NULL;
}
