#include "store/internal/snapshot_cache.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/snapshot_file.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/store_private.h"
#include "store/memory.h"

static char *directory_of(const struct account *account)
{
    return g_strconcat(account->cache, "/snapshots", NULL);
}

/* A branch's name is one component of a path (FORMAT.md, "Names"). */
static char *path_of_branch(const struct account *account, const char *ref)
{
    g_autofree char *directory = directory_of(account);

    g_assert(g_str_has_prefix(ref, HEADS_PREFIX));
    return g_strconcat(directory, "/", ref + strlen(HEADS_PREFIX), NULL);
}

static char *path_of(const struct mailbox *mailbox)
{
    return path_of_branch(mailbox->account, mailbox->ref);
}

static bool much_has_changed(const struct snapshot *snapshot)
{
    size_t leaves = snapshot_count(snapshot) / LEAF_MESSAGES / SNAPSHOT_CACHE_SHARE;

    return snapshot->unsaved > MAX(leaves, SNAPSHOT_CACHE_LEAVES);
}

static bool is_old(const struct snapshot_file_status *status)
{
    int64_t age = (int64_t)time(NULL) - status->time;

    return age < 0 ||
           age >= SNAPSHOT_CACHE_SECONDS + (int64_t)(status->length / SNAPSHOT_CACHE_RATE);
}

/* What is left of a branch that is gone, or of a file half written. */
static void remove_orphans(const struct account *account, const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        g_autofree char *ref = g_strconcat(HEADS_PREFIX, entry->d_name, NULL);
        struct store_error ignored;
        struct object_id tip;

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            (strchr(entry->d_name, '~') != NULL ||
             refs_read(account->refs, ref, &tip, &ignored) == STORE_NOT_FOUND)) {
            g_autofree char *path = g_strconcat(directory, "/", entry->d_name, NULL);

            unlink(path);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

static bool save_first(const struct account *account, const char *path,
                       const struct snapshot *snapshot)
{
    g_autofree char *directory = directory_of(account);
    g_autofree char *users = g_path_get_dirname(account->cache);

    mkdir(users, 0700);
    mkdir(account->cache, 0700);
    mkdir(directory, 0700);
    remove_orphans(account, directory);
    return snapshot_file_save(path, snapshot);
}

/* patient: only when much has changed. True if the file is now the snapshot's. */
static bool save(const struct mailbox *mailbox, struct snapshot *snapshot, bool patient)
{
    g_autofree char *path = NULL;
    struct snapshot_file_status status;
    bool saved = false;

    if (snapshot->unsaved == 0 || snapshot_count(snapshot) < SNAPSHOT_CACHE_MESSAGES ||
        (patient && !much_has_changed(snapshot))) {
        return false;
    }
    path = path_of(mailbox);
    if (!snapshot_file_status(&status, path)) {
        saved = save_first(mailbox->account, path, snapshot);
    } else if (object_id_equal(&status.commit, &snapshot->commit)) {
        saved = true;
    } else if (much_has_changed(snapshot) || is_old(&status)) {
        saved = snapshot_file_save(path, snapshot);
    } else {
        return false;
    }
    snapshot->unsaved = 0;
    return saved;
}

/* In place of what was read from git; gives back the memory that reading took. */
static void use_file(struct snapshot **snapshot, const char *path, struct objects *objects)
{
    struct snapshot *mapped;

    if (!snapshot_file_read(&mapped, path, objects)) {
        return;
    }
    if (!object_id_equal(&mapped->commit, &(*snapshot)->commit)) {
        snapshot_unref(mapped);
        return;
    }
    snapshot_unref(*snapshot);
    *snapshot = mapped;
    objects_let_go(objects);
    memory_give_back();
}

void snapshot_cache_settle(struct store *store)
{
    for (guint i = 0; i < store->unmapped->len; i++) {
        struct snapshot_map *map = g_ptr_array_index(store->unmapped, i);

        if (snapshot_map_is_shared(map)) {
            snapshot_map_settle(map);
        }
    }
    g_ptr_array_set_size(store->unmapped, 0);
}

/* To be mapped later, if it is a file's. */
static void put_off(struct store *store, const struct snapshot *snapshot)
{
    struct snapshot_map *map = snapshot->root->node.map;

    if (map == NULL) {
        return;
    }
    if (store->unmapped->len == SNAPSHOT_CACHE_UNMAPPED_MAX) {
        snapshot_cache_settle(store);
    }
    g_ptr_array_add(store->unmapped, snapshot_map_ref(map));
}

int snapshot_cache_load(struct snapshot **out, const struct mailbox *mailbox,
                        const struct object_id *commit, struct store_error *error)
{
    g_autofree char *path = path_of(mailbox);
    struct objects *objects = mailbox->account->objects;
    int rc = snapshot_file_load(out, path, objects, commit, error);

    if (rc == 0 && save(mailbox, *out, true)) {
        use_file(out, path, objects);
    }
    if (rc == 0) {
        put_off(mailbox->account->store, *out);
    }
    return rc;
}

/* Whether no message has a keyword from this place on. */
static bool has_no_keyword_from(struct node *node, size_t keywords)
{
    if (node->depth == LEAF_DEPTH) {
        const struct leaf *leaf = node_leaf(node);
        const uint8_t *packed = leaf_packed(leaf);

        return packed_leaf_valid(packed, leaf->length, leaf->node.count, keywords);
    }
    const struct inner *inner = node_inner(node);

    for (uint32_t i = 0; i < inner->child_count; i++) {
        if (!has_no_keyword_from(inner_children(inner)[i].node, keywords)) {
            return false;
        }
    }
    return true;
}

/* The commit's own keywords are the first of those that were known when it was read: what came
 * later is taken off again. Its leaves that were known, too, may have that all the same if somebody
 * else made it. The recursion is as deep as the tree. */
static bool cut_keywords(struct snapshot *snapshot, struct objects *objects)
{
    struct properties properties;
    struct store_error ignored;
    bool first = properties_load(&properties, objects, &snapshot->commit, &ignored) == 0 &&
                 properties.keywords->len <= snapshot->keywords->len;

    for (guint i = 0; first && i < properties.keywords->len; i++) {
        first = strcmp(g_ptr_array_index(properties.keywords, i),
                       g_ptr_array_index(snapshot->keywords, i)) == 0;
    }
    first = first && has_no_keyword_from(&snapshot->root->node, properties.keywords->len);
    if (first) {
        g_ptr_array_set_size(snapshot->keywords, (gint)properties.keywords->len);
    }
    properties_release(&properties);
    return first;
}

static int load_beside(struct snapshot **out, const char *path, struct objects *objects,
                       const struct object_id *commit, struct store_error *error)
{
    unsigned losses = objects_losses(objects);
    struct snapshot *known = NULL;
    bool moved = false;
    int rc;

    if (snapshot_file_read(&known, path, objects)) {
        snapshot_map_settle(known->root->node.map);
    }
    if (known != NULL && object_id_equal(&known->commit, commit)) {
        *out = known;
        return 0;
    }
    rc = snapshot_load(out, &moved, objects, commit, known, error);
    if (known != NULL &&
        (rc < 0 || (moved && !cut_keywords(*out, objects)) || objects_losses(objects) != losses)) {
        if (rc == 0) {
            snapshot_unref(*out);
            *out = NULL;
        }
        rc = snapshot_load(out, &moved, objects, commit, NULL, error);
    }
    snapshot_unref(known);
    return rc;
}

int snapshot_cache_load_past(struct snapshot **out, struct account *account, const char *ref,
                             const struct object_id *commit, struct store_error *error)
{
    g_autofree char *path = NULL;
    bool moved;
    int rc;

    if (ref == NULL || !g_str_has_prefix(ref, HEADS_PREFIX)) {
        rc = snapshot_load(out, &moved, account->objects, commit, NULL, error);
    } else {
        path = path_of_branch(account, ref);
        rc = load_beside(out, path, account->objects, commit, error);
    }
    if (rc == 0 && much_has_changed(*out)) {
        objects_let_go(account->objects);
        memory_give_back();
    }
    return rc;
}

void snapshot_cache_save(const struct mailbox *mailbox)
{
    if (mailbox->snapshot != NULL && !mailbox->deleted && !mailbox->past) {
        save(mailbox, mailbox->snapshot, false);
    }
}

void snapshot_cache_save_open(const struct account *account)
{
    GHashTableIter iterator;
    void *mailbox;

    g_hash_table_iter_init(&iterator, account->mailboxes);
    while (g_hash_table_iter_next(&iterator, NULL, &mailbox)) {
        snapshot_cache_save(mailbox);
    }
}
