#include "store/internal/purge_find.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/shallow.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/text.h"

struct search {
    struct objects *objects;
    const struct uid_range *uids;
    size_t count;
    struct id_set *blobs;
    struct id_set boundary;
    struct id_set commits; /* looked at */
    GHashTable *seen;      /* struct directory: looked at */
    char *mailbox_id;      /* of the state that it began with */
    uint32_t uid_validity;
    const struct observer *observer;
    uint64_t looked; /* at commits */
    uint64_t total;  /* of them, at most */
};

static guint directory_hash(const void *key)
{
    const struct directory *directory = key;

    return object_id_hash(&directory->tree) ^ directory->number;
}

static gboolean directory_equal(const void *a, const void *b)
{
    const struct directory *x = a;
    const struct directory *y = b;

    return x->number == y->number && object_id_equal(&x->tree, &y->tree);
}

static bool is_wanted(const struct search *search, uint64_t first, uint64_t last)
{
    for (size_t i = 0; i < search->count; i++) {
        if (search->uids[i].first <= last && search->uids[i].last >= first) {
            return true;
        }
    }
    return false;
}

static int look_at_leaf(struct search *search, const struct directory *leaf,
                        const GPtrArray *keywords, struct store_error *error)
{
    struct message messages[LEAF_MESSAGES];
    size_t count;
    int rc =
        leaf_load(messages, &count, search->objects, &leaf->tree, leaf->number, keywords, error);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (is_wanted(search, messages[i].uid, messages[i].uid)) {
            id_set_add(search->blobs, &messages[i].blob);
        }
    }
    return rc;
}

static int look_at_directories(struct search *search, const GArray *directories, int level,
                               const GPtrArray *keywords, struct store_error *error)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && i < directories->len; i++) {
        const struct directory *directory = &g_array_index(directories, struct directory, i);
        uint64_t first = directory->number * NODE_SPAN[level + 1];
        g_autoptr(GArray) below = NULL;

        if (!is_wanted(search, first, first + NODE_SPAN[level + 1] - 1) ||
            g_hash_table_contains(search->seen, directory)) {
            continue;
        }
        g_hash_table_add(search->seen, g_memdup2(directory, sizeof(*directory)));
        if (level == DIRECTORY_LEVELS) {
            rc = look_at_leaf(search, directory, keywords, error);
            continue;
        }
        below = g_array_new(FALSE, FALSE, sizeof(struct directory));
        rc = directory_load(below, search->objects, directory, error);
        if (rc == 0) {
            rc = look_at_directories(search, below, level + 1, keywords, error);
        }
    }
    return rc;
}

/* A state of the mailbox itself: what another one had under its UIDs is not meant. A state that is
 * malformed was never served. */
static int look_at_state(struct search *search, const struct object_id *tree,
                         struct store_error *error)
{
    g_autoptr(GArray) directories = NULL;
    struct properties properties = {0};
    int rc = root_load(&properties, &directories, search->objects, tree, error);

    if (rc == 0 && search->mailbox_id == NULL) {
        search->mailbox_id = g_strdup(properties.mailbox_id);
        search->uid_validity = properties.uid_validity;
    }
    if (rc == 0 && properties.uid_validity == search->uid_validity &&
        strcmp(properties.mailbox_id, search->mailbox_id) == 0) {
        rc = look_at_directories(search, directories, 0, properties.keywords, error);
    }
    properties_release(&properties);
    return rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED ? 0 : rc;
}

static int look_at_commit(struct search *search, const struct object_id *id, GArray *stack,
                          struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(search->objects, id, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc == STORE_NOT_FOUND
                   ? store_error_set(error, STORE_CORRUPT, "a commit of the history is missing")
                   : rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc == 0 && !id_set_has(&search->boundary, id)) {
        commit_append_parents(stack, data.data, data.length);
    }
    if (rc == 0) {
        rc = look_at_state(search, &commit.tree, error);
    }
    object_data_release(&data);
    return rc;
}

static int look_at_branch(struct search *search, const struct object_id *tip,
                          struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    g_clear_pointer(&search->mailbox_id, g_free);
    id_set_release(&search->commits);
    id_set_init(&search->commits);
    g_array_append_val(stack, *tip);
    while (rc == 0 && stack->len > 0) {
        struct object_id id = g_array_index(stack, struct object_id, stack->len - 1);

        g_array_set_size(stack, stack->len - 1);
        if (id_set_add(&search->commits, &id)) {
            rc = look_at_commit(search, &id, stack, error);
        }
        if (rc == 0) {
            rc = observer_tell(search->observer, OBSERVER_SEARCH, ++search->looked, search->total,
                               error);
        }
    }
    return rc;
}

static int look_everywhere(struct search *search, struct refs *refs, const char *mailbox,
                           struct store_error *error)
{
    g_autoptr(GPtrArray) deleted = NULL;
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    g_autofree char *prefix = NULL;
    struct object_id tip;
    int rc = account_name(&canonical, &ref, mailbox, error);

    if (rc < 0) {
        return rc;
    }
    rc = refs_read(refs, ref, &tip, error);
    if (rc == 0) {
        return look_at_branch(search, &tip, error);
    }
    if (rc != STORE_NOT_FOUND) {
        return rc;
    }
    prefix = g_strdup_printf("%s%s/", DELETED_PREFIX, ref + strlen(HEADS_PREFIX));
    rc = refs_list(refs, prefix, &deleted, error);
    if (rc == 0 && deleted->len == 0) {
        rc = store_error_set(error, STORE_NOT_FOUND, "there is no mailbox of this name");
    }
    for (guint i = 0; rc == 0 && i < deleted->len; i++) {
        rc = look_at_branch(search, &((const struct ref_entry *)deleted->pdata[i])->id, error);
    }
    return rc;
}

int purge_words(GPtrArray *words, struct objects *objects, const struct id_set *blobs,
                struct store_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i <= blobs->mask; i++) {
        g_autoptr(GString) subject = g_string_new(NULL);
        struct object_data data;

        if (object_id_is_zero(&blobs->slots[i])) {
            continue;
        }
        rc = objects_read(objects, &blobs->slots[i], OBJECT_BLOB, &data, error);
        if (rc == STORE_NOT_FOUND) {
            rc = 0;
        } else if (rc == 0) {
            subject_append_from_message(subject, data.data, data.length);
            object_data_release(&data);
        }
        if (subject->len > 0) {
            g_ptr_array_add(words, g_strdup(subject->str));
        }
    }
    return rc;
}

/* Pushes the parents of a commit; what is none has nothing to push. */
static int push_parents(GArray *stack, struct objects *objects, const struct object_id *id,
                        uint64_t *count, struct store_error *error)
{
    struct object_data data;
    int rc = objects_read(objects, id, OBJECT_COMMIT, &data, error);

    if (rc == 0) {
        commit_append_parents(stack, data.data, data.length);
        object_data_release(&data);
        ++*count;
    }
    return rc == STORE_CORRUPT || rc == STORE_NOT_FOUND ? 0 : rc;
}

static int count_from(GArray *stack, const struct id_set *boundary, struct objects *objects,
                      uint64_t *count, struct store_error *error)
{
    struct id_set seen;
    int rc = 0;

    id_set_init(&seen);
    while (rc == 0 && stack->len > 0) {
        struct object_id id = g_array_index(stack, struct object_id, stack->len - 1);

        g_array_set_size(stack, stack->len - 1);
        if (id_set_has(boundary, &id)) {
            *count += id_set_add(&seen, &id);
        } else if (id_set_add(&seen, &id)) {
            rc = push_parents(stack, objects, &id, count, error);
        }
    }
    id_set_release(&seen);
    return rc;
}

int purge_count_commits(uint64_t *out, const char *path, struct objects *objects, struct refs *refs,
                        struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    g_autoptr(GPtrArray) all = NULL;
    struct id_set boundary;
    int rc;

    *out = 0;
    id_set_init(&boundary);
    rc = shallow_read(&boundary, path, error);
    if (rc == 0) {
        rc = refs_list(refs, "refs/", &all, error);
    }
    if (rc == 0) {
        for (guint i = 0; i < all->len; i++) {
            g_array_append_val(stack, ((const struct ref_entry *)all->pdata[i])->id);
        }
        rc = count_from(stack, &boundary, objects, out, error);
    }
    id_set_release(&boundary);
    return rc;
}

int purge_find(struct id_set *blobs, GPtrArray *words, const char *path, struct objects *objects,
               struct refs *refs, const char *mailbox, const struct uid_range *uids, size_t count,
               const struct observer *observer, uint64_t total, struct store_error *error)
{
    struct search search = {.objects = objects,
                            .uids = uids,
                            .count = count,
                            .blobs = blobs,
                            .observer = observer,
                            .total = total};
    int rc;

    search.seen = g_hash_table_new_full(directory_hash, directory_equal, g_free, NULL);
    id_set_init(&search.boundary);
    id_set_init(&search.commits);
    rc = shallow_read(&search.boundary, path, error);
    if (rc == 0) {
        rc = look_everywhere(&search, refs, mailbox, error);
    }
    if (rc == 0 && blobs->count == 0) {
        rc = store_error_set(error, STORE_NOT_FOUND, "no such message, nor has there been one");
    }
    if (rc == 0) {
        rc = purge_words(words, objects, blobs, error);
    }
    g_hash_table_unref(search.seen);
    id_set_release(&search.boundary);
    id_set_release(&search.commits);
    g_free(search.mailbox_id);
    return rc;
}
