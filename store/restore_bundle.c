/* Accounts from bundles: whole ones in place of none, and views of them beside one that exists. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/commit.h"
#include "store/internal/pack.h"
#include "store/internal/purge_record.h"
#include "store/internal/refs_private.h"
#include "store/internal/repository.h"
#include "store/internal/restore_private.h"
#include "store/internal/rewrite.h"
#include "store/internal/shallow.h"
#include "store/internal/store_private.h"
#include "store/internal/text.h"
#include "store/receive.h"
#include "store/verify.h"

static const char EMPTY_DIRECTORIES[][16] = {"objects/info", "objects/pack", "objects"};

int restore_has_prerequisites(const char *path, const struct bundle *bundle, bool *has,
                              struct store_error *error)
{
    struct objects *objects;
    int rc = objects_open(&objects, path, host_system(), error);

    if (rc < 0) {
        return rc;
    }
    *has = true;
    for (guint i = 0; i < bundle->prerequisites->len && *has; i++) {
        *has = objects_exist(objects, &g_array_index(bundle->prerequisites, struct object_id, i));
    }
    objects_close(objects);
    return 0;
}

/* --- references --- */

static int make_references(struct refs *refs, struct objects *objects, const struct bundle *bundle,
                           struct store_error *error)
{
    g_autoptr(GArray) updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));

    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);
        struct ref_update update = {.name = reference->name, .after = reference->id};

        if (!g_str_has_prefix(reference->name, "refs/")) {
            continue;
        }
        if (!objects_exist(objects, &reference->id)) {
            return store_error_set(error, STORE_CORRUPT, "the bundle does not bring %s",
                                   reference->name);
        }
        g_array_append_val(updates, update);
    }
    if (updates->len == 0) {
        return store_error_set(error, STORE_CORRUPT, "the bundle has no references");
    }
    return refs_commit(refs, (const struct ref_update *)(void *)updates->data, updates->len, error);
}

/* --- where the history of a bundle ends --- */

struct boundary {
    struct objects *objects;
    struct id_set known; /* commits whose parents count as not there */
    GHashTable *seen;    /* struct object_id */
    GArray *stack;       /* the same */
    GArray *ends;        /* the same: commits whose parents are not there */
};

static void visit_parents(struct boundary *boundary, const struct object_id *id,
                          const struct object_data *data)
{
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    bool ends = false;

    commit_append_parents(parents, data->data, data->length);
    for (guint i = 0; i < parents->len; i++) {
        const struct object_id *parent = &g_array_index(parents, struct object_id, i);

        if (!objects_exist(boundary->objects, parent)) {
            ends = true;
        } else {
            g_array_append_vals(boundary->stack, parent, 1);
        }
    }
    if (ends) {
        g_array_append_val(boundary->ends, *id);
    }
}

static void visit_commits(struct boundary *boundary)
{
    while (boundary->stack->len > 0) {
        struct object_id id =
            g_array_index(boundary->stack, struct object_id, boundary->stack->len - 1);
        struct store_error ignored;
        struct object_data data;

        g_array_set_size(boundary->stack, boundary->stack->len - 1);
        if (id_set_has(&boundary->known, &id) ||
            !g_hash_table_add(boundary->seen, g_memdup2(&id, sizeof(id)))) {
            continue;
        }
        if (objects_read(boundary->objects, &id, OBJECT_COMMIT, &data, &ignored) == 0) {
            visit_parents(boundary, &id, &data);
            object_data_release(&data);
        }
    }
}

/* Those that were known, and those that were found. */
static int write_boundary(const char *path, const struct boundary *boundary,
                          struct store_error *error)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    struct id_set known;
    struct shallow_lock lock;
    int rc;

    if (boundary->ends->len == 0) {
        return 0;
    }
    rc = shallow_lock(&lock, path, host_system(), error);
    if (rc < 0) {
        return rc;
    }
    id_set_init(&known);
    rc = shallow_read(&known, path, error);
    for (size_t i = 0; rc == 0 && known.count > 0 && i <= known.mask; i++) {
        if (!object_id_is_zero(&known.slots[i])) {
            g_array_append_val(all, known.slots[i]);
        }
    }
    g_array_append_vals(all, boundary->ends->data, boundary->ends->len);
    if (rc == 0) {
        rc = shallow_replace(&lock, all, error);
    }
    id_set_release(&known);
    shallow_unlock(&lock);
    return rc;
}

int restore_extend_boundary(const char *path, struct objects *objects, const GArray *tips,
                            struct store_error *error)
{
    struct boundary boundary = {
        .objects = objects,
        .seen = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL),
        .stack = g_array_new(FALSE, FALSE, sizeof(struct object_id)),
        .ends = g_array_new(FALSE, FALSE, sizeof(struct object_id)),
    };
    int rc;

    id_set_init(&boundary.known);
    rc = shallow_read(&boundary.known, path, error);
    if (rc == 0) {
        g_array_append_vals(boundary.stack, tips->data, tips->len);
        visit_commits(&boundary);
        rc = write_boundary(path, &boundary, error);
    }
    id_set_release(&boundary.known);
    g_hash_table_unref(boundary.seen);
    g_array_unref(boundary.stack);
    g_array_unref(boundary.ends);
    return rc;
}

static int set_boundary(const char *path, struct objects *objects, const struct bundle *bundle,
                        struct store_error *error)
{
    g_autoptr(GArray) tips = g_array_new(FALSE, FALSE, sizeof(struct object_id));

    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);

        g_array_append_val(tips, reference->id);
    }
    return restore_extend_boundary(path, objects, tips, error);
}

/* --- an account where there is none --- */

int restore_begin_account(struct store *store, const char *user, char **path,
                          struct store_error *error)
{
    g_autofree char *place = NULL;
    struct stat status;
    int rc;

    if (!store_user_name_valid(user)) {
        return store_error_set(error, STORE_BAD_NAME, "not a user name");
    }
    place = store_repository_path(store, user);
    if (lstat(place, &status) == 0) {
        return store_error_set(error, STORE_EXISTS, "the account exists");
    }
    *path = store_temporary_path(store, error);
    if (*path == NULL) {
        return error->code;
    }
    rc = repository_make(*path, store->host, error);
    if (rc < 0) {
        restore_abandon_account(*path);
        g_clear_pointer(path, g_free);
    }
    return rc;
}

void restore_abandon_account(const char *path)
{
    repository_remove(path);
}

static int leave_room(struct account *account, const char *name, const struct origin *origin,
                      struct store_error *error)
{
    struct snapshot_builder *builder;
    struct transaction transaction;
    struct mailbox *mailbox;
    int rc = account_open_mailbox(account, name, &mailbox, error);

    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(mailbox->snapshot);
    builder->uid_next += (uint32_t)MIN((size_t)RESTORE_UID_GAP, snapshot_builder_room(builder));
    if (builder->modseq <= MODSEQ_MAX - RESTORE_MODSEQ_GAP) {
        builder->modseq += RESTORE_MODSEQ_GAP;
    }
    rc = transaction_begin(&transaction, account, origin, error);
    if (rc == 0) {
        rc = transaction_change(&transaction, mailbox, builder,
                                "RESTORE from a backup, with room for what it has not got", error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    snapshot_builder_free(builder);
    mailbox_unref(mailbox);
    return rc;
}

static int leave_room_everywhere(struct account *account, const struct origin *origin,
                                 struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    int rc = account_names(account, &names, error);

    for (guint i = 0; rc == 0 && i < names->len; i++) {
        rc = leave_room(account, names->pdata[i], origin, error);
        /* A branch that is no mailbox was none before. */
        if (rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED) {
            rc = 0;
        }
    }
    return rc;
}

static int fill(struct store *store, const char *user, const char *path,
                const struct bundle *bundle, bool exact, const struct origin *origin,
                struct store_error *error)
{
    g_autofree char *cache = g_strconcat(store->cache, "/", user, NULL);
    struct account *account;
    int rc = account_open(&account, store, store->host, user, path, cache, error);

    if (rc < 0) {
        return rc;
    }
    rc = set_boundary(path, account->objects, bundle, error);
    if (rc == 0) {
        rc = make_references(account->refs, account->objects, bundle, error);
    }
    if (rc == 0 && !exact) {
        rc = leave_room_everywhere(account, origin, error);
    }
    if (rc == 0) {
        rc = refs_sync(account->refs, error);
    }
    if (g_ptr_array_remove(store->changed, account)) {
        account_unref(account);
    }
    account_unref(account);
    return rc;
}

static int check(const char *path, restore_report finding, void *data, struct store_error *error)
{
    size_t findings = 0;
    int rc = verify_repository(path, finding, data, &findings, error);

    return rc == 0 && findings > 0
               ? store_error_set(error, STORE_CORRUPT, "the backup has %zu findings", findings)
               : rc;
}

static void ignore(const char *line, void *data)
{
    (void)line;
    (void)data;
}

int restore_finish_account(struct store *store, const char *user, const char *path,
                           const struct bundle *bundle, bool exact, const struct origin *origin,
                           restore_report finding, void *data, struct store_error *error)
{
    g_autofree char *place = store_repository_path(store, user);
    int rc = fill(store, user, path, bundle, exact, origin, error);

    if (rc == 0 && store->program != NULL) {
        rc = receive_install(path, store->program, store->host, error);
    }
    if (rc == 0) {
        rc = check(path, finding != NULL ? finding : ignore, data, error);
    }
    if (rc == 0) {
        rc = store_put_in_place(store, path, place, error);
    }
    if (rc < 0) {
        restore_abandon_account(path);
    }
    return rc;
}

/* --- views --- */

/* The view's repository has the account's object database for its own. */
static int borrow_objects(const char *path, const struct account *account,
                          struct store_error *error)
{
    g_autofree char *link = g_strconcat(path, "/objects", NULL);
    g_autofree char *target = g_strconcat(account->path, "/objects", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(EMPTY_DIRECTORIES); i++) {
        g_autofree char *directory = g_strconcat(path, "/", EMPTY_DIRECTORIES[i], NULL);

        if (rmdir(directory) < 0) {
            return host_fail(error, -errno, "making a view of a backup");
        }
    }
    return symlink(target, link) < 0 ? host_fail(error, -errno, "making a view of a backup") : 0;
}

struct restore_view {
    char *path;
    struct account *account;
    struct rewrite *rewrite; /* what protects its own history, if it has one */
};

static int leave_out_purged(struct restore_view *view, const struct account *account,
                            const struct bundle *bundle, struct store_error *error)
{
    struct objects *objects = view->account->objects;
    struct id_set blobs;
    int rc;

    id_set_init(&blobs);
    rc = purge_blobs_read(&blobs, objects, account->refs, error);
    if (rc == 0 && restore_has_any(objects, &blobs)) {
        rc = set_boundary(view->path, objects, bundle, error);
        if (rc == 0) {
            rc = restore_leave_out_purged(&view->rewrite, view->account, &blobs, error);
        }
    }
    id_set_release(&blobs);
    return rc;
}

static int fill_view(struct restore_view *view, struct account *account,
                     const struct bundle *bundle, struct store_error *error)
{
    struct store *store = account->store;
    g_autofree char *cache = g_strconcat(view->path, "/cache", NULL);
    int rc = repository_make(view->path, store->host, error);

    if (rc == 0) {
        rc = borrow_objects(view->path, account, error);
    }
    if (rc == 0) {
        rc = account_open(&view->account, store, store->host, account->user, view->path, cache,
                          error);
    }
    if (rc == 0) {
        rc = make_references(view->account->refs, view->account->objects, bundle, error);
    }
    return rc == 0 ? leave_out_purged(view, account, bundle, error) : rc;
}

int restore_open_view(struct account *account, const struct bundle *bundle,
                      struct restore_view **out, struct store_error *error)
{
    struct restore_view *view = g_new0(struct restore_view, 1);
    int rc;

    view->path = store_temporary_path(account->store, error);
    rc = view->path == NULL ? error->code : fill_view(view, account, bundle, error);
    if (rc < 0) {
        restore_close_view(view);
        return rc;
    }
    *out = view;
    return 0;
}

struct account *restore_view_account(struct restore_view *view)
{
    return view->account;
}

void restore_close_view(struct restore_view *view)
{
    if (view == NULL) {
        return;
    }
    rewrite_free(view->rewrite);
    account_unref(view->account);
    if (view->path != NULL) {
        repository_remove(view->path);
    }
    g_free(view->path);
    g_free(view);
}
