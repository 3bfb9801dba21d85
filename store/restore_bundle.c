/* Accounts from bundles: whole ones in place of none, and views of them beside one that exists. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

enum { UNPACKING_AGE = 10 }; /* seconds within which whoever makes a directory has it locked */

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
    struct id_set known;             /* commits whose parents count as not there */
    GHashTable *seen;                /* struct object_id */
    GArray *stack;                   /* the same */
    GArray *ends;                    /* the same: commits whose parents are not there */
    const struct observer *observer; /* may be NULL */
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

static int visit_commits(struct boundary *boundary, struct store_error *error)
{
    int rc = 0;

    while (rc == 0 && boundary->stack->len > 0) {
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
        rc = observer_tell(boundary->observer, OBSERVER_CHANGES, g_hash_table_size(boundary->seen),
                           0, error);
    }
    return rc;
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
                            const struct observer *observer, struct store_error *error)
{
    struct boundary boundary = {
        .objects = objects,
        .observer = observer,
        .seen = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL),
        .stack = g_array_new(FALSE, FALSE, sizeof(struct object_id)),
        .ends = g_array_new(FALSE, FALSE, sizeof(struct object_id)),
    };
    int rc;

    id_set_init(&boundary.known);
    rc = shallow_read(&boundary.known, path, error);
    if (rc == 0) {
        g_array_append_vals(boundary.stack, tips->data, tips->len);
        rc = visit_commits(&boundary, error);
    }
    if (rc == 0) {
        rc = write_boundary(path, &boundary, error);
    }
    id_set_release(&boundary.known);
    g_hash_table_unref(boundary.seen);
    g_array_unref(boundary.stack);
    g_array_unref(boundary.ends);
    return rc;
}

static int set_boundary(const char *path, struct objects *objects, const struct bundle *bundle,
                        const struct observer *observer, struct store_error *error)
{
    g_autoptr(GArray) tips = g_array_new(FALSE, FALSE, sizeof(struct object_id));

    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);

        g_array_append_val(tips, reference->id);
    }
    return restore_extend_boundary(path, objects, tips, observer, error);
}

/* --- places that are filled --- */

static void release(struct restore_begun *begun)
{
    if (begun->lock >= 0) {
        close(begun->lock);
    }
    begun->lock = -1;
    g_clear_pointer(&begun->path, g_free);
}

void restore_abandon(struct restore_begun *begun)
{
    if (begun->path != NULL) {
        repository_remove(begun->path);
    }
    release(begun);
}

int restore_begin_unpacking(const char *path, struct restore_begun *out, struct store_error *error)
{
    int rc;

    restore_remove_leftovers(path);
    *out = (struct restore_begun){
        .path = g_strconcat(path, "/objects/" RESTORE_UNPACKING_PREFIX "XXXXXX", NULL),
        .lock = -1,
    };
    if (mkdtemp(out->path) == NULL) {
        rc = host_fail(error, -errno, "making a directory to unpack into");
        release(out);
        return rc;
    }
    rc = store_hold(out->path, &out->lock, error);
    if (rc < 0) {
        restore_abandon(out);
    }
    return rc;
}

void restore_remove_leftovers(const char *path)
{
    g_autofree char *directory = g_strconcat(path, "/objects", NULL);
    DIR *entries = opendir(directory);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        g_autofree char *name = g_strconcat(directory, "/", entry->d_name, NULL);

        if (g_str_has_prefix(entry->d_name, RESTORE_UNPACKING_PREFIX) &&
            store_is_leftover(name, UNPACKING_AGE)) {
            repository_remove(name);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

/* --- an account where there is none --- */

int restore_begin_account(struct store *store, const char *user, struct restore_begun *out,
                          struct store_error *error)
{
    g_autofree char *place = NULL;
    struct stat status;
    int rc;

    *out = (struct restore_begun){.lock = -1};
    if (!store_user_name_valid(user)) {
        return store_error_set(error, STORE_BAD_NAME, "not a user name");
    }
    place = store_repository_path(store, user);
    if (lstat(place, &status) == 0) {
        return store_error_set(error, STORE_EXISTS, "the account exists");
    }
    out->path = store_temporary_path(store, error);
    if (out->path == NULL) {
        return error->code;
    }
    rc = repository_make(out->path, store->host, error);
    if (rc == 0) {
        rc = store_hold_temporary(out->path, &out->lock, error);
    }
    if (rc < 0) {
        restore_abandon(out);
    }
    return rc;
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
                                 const struct observer *observer, struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    int rc = account_names(account, &names, error);

    for (guint i = 0; rc == 0 && i < names->len; i++) {
        rc = leave_room(account, names->pdata[i], origin, error);
        /* A branch that is no mailbox was none before. */
        if (rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED) {
            rc = 0;
        }
        if (rc == 0) {
            rc = observer_tell(observer, OBSERVER_MAILBOXES, i + 1, names->len, error);
        }
    }
    return rc;
}

struct finishing {
    struct store *store;
    const char *user;
    const char *path;
    const struct bundle *bundle;
    const struct origin *origin; /* NULL: exact */
    const struct observer *observer;
};

static int fill(const struct finishing *finishing, struct store_error *error)
{
    struct store *store = finishing->store;
    g_autofree char *cache = g_strconcat(store->cache, "/", finishing->user, NULL);
    struct account *account;
    int rc =
        account_open(&account, store, store->host, finishing->user, finishing->path, cache, error);

    if (rc < 0) {
        return rc;
    }
    rc = set_boundary(finishing->path, account->objects, finishing->bundle, finishing->observer,
                      error);
    if (rc == 0) {
        rc = make_references(account->refs, account->objects, finishing->bundle, error);
    }
    if (rc == 0 && finishing->origin != NULL) {
        rc = leave_room_everywhere(account, finishing->origin, finishing->observer, error);
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

static int check(const char *path, restore_report finding, void *data,
                 const struct observer *observer, struct store_error *error)
{
    size_t findings = 0;
    int rc = verify_observed(path, finding, data, observer, &findings, error);

    return rc == 0 && findings > 0
               ? store_error_set(error, STORE_CORRUPT, "the backup has %zu findings", findings)
               : rc;
}

static void ignore(const char *line, void *data)
{
    (void)line;
    (void)data;
}

int restore_finish_account(struct store *store, const char *user, struct restore_begun *begun,
                           const struct bundle *bundle, bool exact, const struct origin *origin,
                           restore_report finding, void *data, const struct observer *observer,
                           struct store_error *error)
{
    g_autofree char *place = store_repository_path(store, user);
    struct finishing finishing = {.store = store,
                                  .user = user,
                                  .path = begun->path,
                                  .bundle = bundle,
                                  .origin = exact ? NULL : origin,
                                  .observer = observer};
    int rc = fill(&finishing, error);

    if (rc == 0 && store->program != NULL) {
        rc = receive_install(begun->path, store->program, store->host, error);
    }
    if (rc == 0) {
        rc = check(begun->path, finding != NULL ? finding : ignore, data, observer, error);
    }
    if (rc == 0) {
        rc = store_put_in_place(store, begun->path, place, error);
    }
    if (rc < 0) {
        restore_abandon(begun);
    }
    release(begun);
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
    int lock; /* on it; -1: none */
    struct account *account;
    struct rewrite *rewrite; /* what protects its own history, if it has one */
};

static int leave_out_purged(struct restore_view *view, const struct account *account,
                            const struct bundle *bundle, const struct observer *observer,
                            struct store_error *error)
{
    struct objects *objects = view->account->objects;
    struct id_set blobs;
    int rc;

    id_set_init(&blobs);
    rc = purge_blobs_read(&blobs, objects, account->refs, error);
    if (rc == 0 && restore_has_any(objects, &blobs)) {
        rc = set_boundary(view->path, objects, bundle, observer, error);
        if (rc == 0) {
            rc = restore_leave_out_purged(&view->rewrite, view->account, &blobs, observer, error);
        }
    }
    id_set_release(&blobs);
    return rc;
}

static int fill_view(struct restore_view *view, struct account *account,
                     const struct bundle *bundle, const struct observer *observer,
                     struct store_error *error)
{
    struct store *store = account->store;
    g_autofree char *cache = g_strconcat(view->path, "/cache", NULL);
    int rc = repository_make(view->path, store->host, error);

    if (rc == 0) {
        rc = store_hold_temporary(view->path, &view->lock, error);
    }
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
    return rc == 0 ? leave_out_purged(view, account, bundle, observer, error) : rc;
}

int restore_open_view(struct account *account, const struct bundle *bundle,
                      const struct observer *observer, struct restore_view **out,
                      struct store_error *error)
{
    struct restore_view *view = g_new0(struct restore_view, 1);
    int rc;

    view->lock = -1;
    view->path = store_temporary_path(account->store, error);
    rc = view->path == NULL ? error->code : fill_view(view, account, bundle, observer, error);
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
    if (view->lock >= 0) {
        close(view->lock);
    }
    g_free(view->path);
    g_free(view);
}
