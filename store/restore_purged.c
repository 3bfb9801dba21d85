/* What was purged stays purged: backups made before have it still. */
#include "store/collect.h"
#include "store/internal/gc_lock.h"
#include "store/internal/purge_find.h"
#include "store/internal/purge_record.h"
#include "store/internal/restore_private.h"
#include "store/internal/rewrite.h"
#include "store/internal/shallow.h"

/* The blobs of all purges of the repository at path. */
static int read_purged(struct id_set *blobs, const char *path, const struct host *host,
                       bool *present, struct store_error *error)
{
    struct objects *objects;
    struct refs *refs = NULL;
    int rc = objects_open(&objects, path, host, error);

    if (rc < 0) {
        return rc;
    }
    rc = refs_open(&refs, path, host, error);
    if (rc == 0) {
        rc = purge_blobs_read(blobs, objects, refs, error);
    }
    *present = rc == 0 && restore_has_any(objects, blobs);
    refs_close(refs);
    objects_close(objects);
    return rc;
}

bool restore_has_any(struct objects *objects, const struct id_set *blobs)
{
    for (size_t i = 0; i <= blobs->mask; i++) {
        if (!object_id_is_zero(&blobs->slots[i]) && objects_exist(objects, &blobs->slots[i])) {
            return true;
        }
    }
    return false;
}

/* Notes them for collections, beside those of a purge that waits for one. gc.pid is ours. */
static int note(struct id_set *blobs, const char *path, const struct host *host,
                struct store_error *error)
{
    int rc = purged_read(blobs, path, error);

    return rc == 0 ? purged_replace(blobs, path, host, error) : rc;
}

int restore_expect_purged(const char *path, const struct host *host, struct store_error *error)
{
    struct id_set blobs;
    bool present;
    int rc;

    id_set_init(&blobs);
    rc = read_purged(&blobs, path, host, &present, error);
    if (rc == 0 && blobs.count > 0) {
        rc = gc_lock(path, host, error);
        if (rc == 0) {
            rc = note(&blobs, path, host, error);
            gc_unlock(path, host);
        }
    }
    id_set_release(&blobs);
    return rc;
}

int restore_drop_purged(const char *path, const struct host *host, unsigned settle_seconds,
                        const struct observer *observer, struct store_error *error)
{
    struct collect_settings settings = {
        .locked = true, .settle_seconds = settle_seconds, .observer = observer};
    struct collect_result collected;
    struct id_set blobs;
    bool present;
    int rc;

    id_set_init(&blobs);
    rc = read_purged(&blobs, path, host, &present, error);
    if (rc == 0 && present) {
        rc = gc_lock(path, host, error);
        if (rc == 0) {
            rc = note(&blobs, path, host, error);
            if (rc == 0) {
                rc = collect_repository(path, host, &settings, &collected, error);
            }
            gc_unlock(path, host);
        }
    }
    id_set_release(&blobs);
    return rc;
}

/* --- views --- */

static int move_refs(struct rewrite *rewrite, struct refs *refs, struct store_error *error)
{
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GArray) updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));
    int rc = refs_list(refs, "refs/", &all, error);

    for (guint i = 0; rc == 0 && i < all->len; i++) {
        const struct ref_entry *ref = all->pdata[i];
        struct ref_update update = {.name = ref->name, .before = ref->id};

        rc = rewrite_object(rewrite, &ref->id, &update.after, error);
        if (rc == 0 && !object_id_equal(&update.before, &update.after)) {
            g_array_append_val(updates, update);
        }
    }
    if (rc == 0) {
        rc = rewrite_flush(rewrite, error);
    }
    return rc < 0 || updates->len == 0
               ? rc
               : refs_commit(refs, (const struct ref_update *)(void *)updates->data, updates->len,
                             error);
}

int restore_leave_out_purged(struct rewrite **out, struct account *view, const struct id_set *blobs,
                             const struct observer *observer, struct store_error *error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    int rc = purge_words(words, view->objects, blobs, error);

    if (rc == 0) {
        rc = rewrite_new(out, view->path, view->objects, blobs, words, false, error);
    }
    if (rc == 0) {
        rewrite_observe(*out, observer, 0);
        rc = move_refs(*out, view->refs, error);
        rewrite_observe(*out, NULL, 0);
    }
    return rc;
}
