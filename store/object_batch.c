#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal/git_readers.h"
#include "store/internal/object_cache.h"
#include "store/internal/object_versions.h"
#include "store/internal/objects_private.h"
#include "store/internal/pack.h"
#include "store/internal/pack_set.h"
#include "store/internal/shallow.h"

/* A batch given up because a reference moved is soon followed by another with most of the same
 * objects, which may find them in the first one's pack. Packs stay protected a little longer than
 * their batch lives, so that no `git gc` takes them away in between. Then their .keep files go many
 * at a time, and not while git reads the repository: a `git clone` of a path that has just seen one
 * fails when it is gone. While git's gc runs they go at once, for it does its work in vain on packs
 * that are kept. */
enum { KEPT_MIN = 16, KEPT_STEP = 32, KEPT_MAX = 96 };

static void pending_free(void *data)
{
    struct pending *pending = data;

    if (pending->owned != NULL) {
        g_bytes_unref(pending->owned);
    }
    if (pending->delta != NULL) {
        g_byte_array_unref(pending->delta);
    }
    g_free(pending);
}

int object_batch_new(struct object_batch **out, struct objects *objects, struct store_error *error)
{
    (void)error;
    struct object_batch *batch = g_new0(struct object_batch, 1);

    batch->objects = objects;
    batch->order = g_ptr_array_new_with_free_func(pending_free);
    batch->by_id = g_hash_table_new(object_id_hash, object_id_equal_keys);
    batch->spools = g_ptr_array_new();
    batch->published = g_ptr_array_new();
    g_ptr_array_add(objects->batches, batch);
    *out = batch;
    return 0;
}

void object_batch_repeat(struct object_batch *batch)
{
    batch->repeat = true;
}

static char *keep_path(const struct objects *objects, const char *name)
{
    return g_strdup_printf("%s/pack-%s.keep", objects->pack_directory, name);
}

void objects_release_kept(struct objects *objects, guint left)
{
    while (objects->kept->len > left) {
        char *path = keep_path(objects, objects->kept->pdata[0]);

        objects->host->unlink(objects->host->data, path);
        g_free(path);
        g_ptr_array_remove_index(objects->kept, 0);
    }
}

static bool file_exists(const struct objects *objects, const char *name)
{
    struct stat status;
    char *path = g_strdup_printf("%s/%s", objects->path, name);
    bool exists = stat(path, &status) == 0;

    g_free(path);
    return exists;
}

static void release_later(struct objects *objects, char *name)
{
    guint index;

    /* The same pack may have been written twice: its .keep is one file. */
    if (g_ptr_array_find_with_equal_func(objects->kept, name, g_str_equal, &index)) {
        g_ptr_array_remove_index(objects->kept, index);
    }
    g_ptr_array_add(objects->kept, name);
    guint more = objects->kept->len - MIN(objects->kept->len, KEPT_MIN);
    if (more > 0 && (file_exists(objects, "gc.pid") || more >= KEPT_MAX ||
                     (more % KEPT_STEP == 0 && !git_readers_any(objects->path)))) {
        objects_release_kept(objects, KEPT_MIN);
    }
}

void object_batch_free(struct object_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    g_ptr_array_remove(batch->objects->batches, batch);
    for (guint i = 0; i < batch->published->len; i++) {
        release_later(batch->objects, batch->published->pdata[i]);
        pack_merge_count(batch->objects);
    }
    if (batch->name != NULL) {
        release_later(batch->objects, batch->name);
        pack_merge_count(batch->objects);
    }
    g_hash_table_destroy(batch->by_id);
    g_ptr_array_free(batch->order, TRUE);
    g_ptr_array_free(batch->spools, TRUE);
    g_ptr_array_free(batch->published, TRUE);
    g_free(batch);
}

/* A gc is at work, or soon drops what retention has let go. */
static bool may_go(const struct objects *objects)
{
    return file_exists(objects, "gc.pid") || file_exists(objects, "annal-retired");
}

bool object_batch_is_needless(struct object_batch *batch, const struct object_id *id, size_t length)
{
    /* What was listed or mapped earlier may have been pruned since. */
    return g_hash_table_contains(batch->by_id, id) ||
           (length >= OBJECT_DEDUPLICATE_MIN && !batch->repeat && !may_go(batch->objects) &&
            pack_set_stands(batch->objects->packs, id));
}

static void add_pending(struct object_batch *batch, const struct object_id *id,
                        enum object_type type, const void *data, size_t length, GBytes *owned)
{
    struct pending *pending = g_new0(struct pending, 1);

    pending->id = *id;
    pending->type = type;
    pending->data = data;
    pending->length = length;
    pending->owned = owned;
    g_ptr_array_add(batch->order, pending);
    g_hash_table_insert(batch->by_id, &pending->id, pending);
}

int object_batch_add(struct object_batch *batch, enum object_type type, const void *data,
                     size_t length, struct object_id *id, struct store_error *error)
{
    assert(!batch->written);
    objects_hash(type, data, length, id);
    if (object_batch_is_needless(batch, id, length)) {
        return 0;
    }
    void *copy = g_try_malloc(length + 1);
    if (copy == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", length);
    }
    if (length > 0) {
        memcpy(copy, data, length);
    }
    add_pending(batch, id, type, copy, length, g_bytes_new_take(copy, length));
    return 0;
}

static int is_purged(const struct objects *objects, const struct object_id *id, bool *purged,
                     struct store_error *error)
{
    struct id_set ids;
    int rc = 0;

    *purged = false;
    if (file_exists(objects, "annal-purge")) {
        id_set_init(&ids);
        rc = purged_read(&ids, objects->path, error);
        *purged = rc == 0 && id_set_has(&ids, id);
        id_set_release(&ids);
    }
    return rc;
}

int object_batch_keep(struct object_batch *batch, const struct object_id *id,
                      struct store_error *error)
{
    struct object_data data;
    bool purged;
    int rc = is_purged(batch->objects, id, &purged, error);

    if (rc == 0 && purged) {
        return store_error_set(error, STORE_NOT_FOUND, "the message is being purged");
    }
    if (rc < 0 || g_hash_table_contains(batch->by_id, id) ||
        (!may_go(batch->objects) && pack_set_stands(batch->objects->packs, id))) {
        return rc;
    }
    rc = objects_read(batch->objects, id, OBJECT_BLOB, &data, error);
    if (rc == 0) {
        add_pending(batch, id, OBJECT_BLOB, data.data, data.length, data.owner);
    }
    return rc;
}

int object_batch_add_blob(struct object_batch *batch, const struct object_id *id, const void *data,
                          size_t length, struct store_error *error)
{
    (void)error;
    assert(!batch->written);
    if (!object_batch_is_needless(batch, id, length)) {
        add_pending(batch, id, OBJECT_BLOB, data, length, NULL);
    }
    return 0;
}

uint64_t object_batch_size(const struct object_batch *batch)
{
    uint64_t size = 0;

    for (guint i = 0; i < batch->order->len; i++) {
        const struct pending *pending = batch->order->pdata[i];

        size += pending->length;
    }
    return size;
}

int object_batch_own(struct object_batch *batch, struct store_error *error)
{
    for (guint i = 0; i < batch->order->len; i++) {
        struct pending *pending = batch->order->pdata[i];

        if (pending->owned != NULL) {
            continue;
        }
        void *copy = g_try_malloc(pending->length + 1);
        if (copy == NULL) {
            return store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", pending->length);
        }
        if (pending->length > 0) {
            memcpy(copy, pending->data, pending->length);
        }
        pending->data = copy;
        pending->owned = g_bytes_new_take(copy, pending->length);
    }
    return 0;
}

void object_batch_take(struct object_batch *batch, struct object_batch *from)
{
    assert(from->spools->len == 0);
    g_ptr_array_extend_and_steal(batch->published, g_steal_pointer(&from->published));
    from->published = g_ptr_array_new();
    g_hash_table_remove_all(from->by_id);
    for (guint i = 0; i < from->order->len; i++) {
        struct pending *pending = from->order->pdata[i];

        assert(pending->owned != NULL);
        if (g_hash_table_contains(batch->by_id, &pending->id)) {
            pending_free(pending);
        } else {
            g_ptr_array_add(batch->order, pending);
            g_hash_table_insert(batch->by_id, &pending->id, pending);
        }
        from->order->pdata[i] = NULL;
    }
    g_ptr_array_set_free_func(from->order, NULL);
    g_ptr_array_set_size(from->order, 0);
    g_ptr_array_set_free_func(from->order, pending_free);
}

static int add_all(const struct object_batch *batch, struct pack_writer *writer,
                   struct store_error *error)
{
    struct object_versions *versions = object_versions_new();
    int result = 0;

    for (guint i = 0; i < batch->order->len && result == 0; i++) {
        result = object_versions_add(versions, writer, batch->order->pdata[i], error);
    }
    object_versions_free(versions);
    return result;
}

/* Of versions the newest is what will be read; and all commits, of which listings are made. */
static bool is_worth_keeping(const struct pending *pending)
{
    return pending->length <= OBJECT_CACHE_OBJECT_MAX &&
           (!pending->is_old || pending->type == OBJECT_COMMIT);
}

static void remember_objects(struct object_batch *batch)
{
    for (guint i = 0; i < batch->order->len; i++) {
        const struct pending *pending = batch->order->pdata[i];

        if (!is_worth_keeping(pending)) {
            continue;
        }
        GBytes *content = pending->owned != NULL ? g_bytes_ref(pending->owned)
                                                 : g_bytes_new(pending->data, pending->length);
        object_cache_put(batch->objects->cache, &pending->id, pending->type, content);
        g_bytes_unref(content);
    }
    g_hash_table_remove_all(batch->by_id);
    g_ptr_array_set_size(batch->order, 0);
}

int object_batch_pack(const struct object_batch *batch, bool durable, char **name,
                      struct store_error *error)
{
    const struct objects *objects = batch->objects;
    struct pack_writer *writer = NULL;

    *name = NULL;
    if (batch->order->len == 0) {
        return 0;
    }
    int result = pack_writer_open(&writer, objects->pack_directory, objects->path, objects->host,
                                  batch->order->len, error);
    if (result == 0) {
        result = add_all(batch, writer, error);
    }
    if (result == 0) {
        result = pack_writer_finish(writer, PACK_KEEP | (durable ? PACK_DURABLE : 0), error);
    }
    if (result == 0) {
        *name = g_strdup(pack_writer_name(writer));
    }
    pack_writer_free(writer);
    return result;
}

void object_batch_packed(struct object_batch *batch, char *name)
{
    assert(!batch->written);
    batch->written = true;
    batch->name = name;
    if (name != NULL) {
        pack_set_note(batch->objects->packs, name, NULL);
    }
    remember_objects(batch);
}

int object_batch_write(struct object_batch *batch, bool durable, struct store_error *error)
{
    char *name;
    int result = object_batch_pack(batch, durable, &name, error);

    if (result == 0) {
        object_batch_packed(batch, name);
    }
    return result;
}
