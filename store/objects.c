#include "store/internal/objects.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/git.h"
#include "store/internal/object_cache.h"
#include "store/internal/objects_private.h"
#include "store/internal/pack_set.h"
#include "store/internal/sha1.h"

enum {
    READ_ATTEMPTS = 5,
    READ_RETRY_USEC = 2000,
    REST_USEC = 60 * 1000 * 1000,
};

static const char *const known_extensions[] = {"extensions.noop", "extensions.preciousobjects",
                                               "extensions.worktreeconfig", NULL};

static int check_extension(const git_config_entry *entry, void *data)
{
    struct store_error *error = data;

    /* Not a pattern given to git_config_foreach_match(): libgit2 1.5 leaks what it matches with. */
    if (!g_str_has_prefix(entry->name, "extensions.")) {
        return 0;
    }
    if (strcmp(entry->name, "extensions.objectformat") == 0) {
        if (g_ascii_strcasecmp(entry->value, "sha1") == 0) {
            return 0;
        }
    } else if (g_strv_contains(known_extensions, entry->name)) {
        return 0;
    }
    return store_error_set(error, STORE_UNSUPPORTED, "repository uses %s=%s", entry->name,
                           entry->value);
}

/* gitrepository-layout(5): refuse what we don't know rather than spoil it. */
static int check_format(const char *path, struct store_error *error)
{
    git_config *config = NULL;
    int32_t version = 0;
    char *file = g_strdup_printf("%s/config", path);
    int result = git_config_open_ondisk(&config, file);

    g_free(file);
    if (result < 0) {
        return libgit2_fail(error, result, "repository config");
    }
    result = git_config_get_int32(&version, config, "core.repositoryformatversion");
    if (result < 0 && result != GIT_ENOTFOUND) {
        result = libgit2_fail(error, result, "repository format version");
    } else if (version < 0 || version > 1) {
        result = store_error_set(error, STORE_UNSUPPORTED, "repository format version %" PRId32,
                                 version);
    } else {
        result = git_config_foreach(config, check_extension, error);
    }
    git_config_free(config);
    return result;
}

/* The library's view of the database is only made when our own reader doesn't find something. */
static int open_odb(struct objects *objects, struct store_error *error)
{
    git_odb *odb = NULL;
    int result = git_odb_open(&odb, objects->directory);

    if (result < 0) {
        return libgit2_fail(error, result, "object database");
    }
    git_odb_free(objects->odb);
    objects->odb = odb;
    return 0;
}

int objects_open(struct objects **out, const char *path, const struct host *host,
                 struct store_error *error)
{
    struct stat status;
    struct objects *objects = g_new0(struct objects, 1);

    libgit2_start();
    objects->host = host;
    objects->path = g_strdup(path);
    objects->directory = g_strdup_printf("%s/objects", path);
    objects->pack_directory = g_strdup_printf("%s/objects/pack", path);
    objects->packs = pack_set_new(objects->pack_directory);
    objects->cache = object_cache_new();
    objects->batches = g_ptr_array_new();
    objects->kept = g_ptr_array_new_with_free_func(g_free);
    pack_merge_init(&objects->merge);
    int result = 0;
    if (stat(objects->directory, &status) < 0 || !S_ISDIR(status.st_mode)) {
        result = store_error_set(error, STORE_NOT_FOUND, "no repository here");
    }
    if (result == 0) {
        result = check_format(path, error);
    }
    if (result < 0) {
        objects_close(objects);
        return result;
    }
    *out = objects;
    return 0;
}

void objects_close(struct objects *objects)
{
    if (objects == NULL) {
        return;
    }
    assert(objects->batches->len == 0);
    objects_release_kept(objects, 0);
    pack_merge_close(objects);
    git_odb_free(objects->odb);
    pack_set_free(objects->packs);
    object_cache_free(objects->cache);
    g_ptr_array_free(objects->batches, TRUE);
    g_ptr_array_free(objects->kept, TRUE);
    pack_merge_release(&objects->merge);
    g_free(objects->path);
    g_free(objects->directory);
    g_free(objects->pack_directory);
    g_free(objects);
}

void objects_note_loss(struct objects *objects)
{
    objects->losses++;
}

unsigned objects_losses(const struct objects *objects)
{
    return objects->losses;
}

void objects_rest(struct objects *objects)
{
    int64_t now = objects->host->now(objects->host->data);

    if (now - objects->rested >= REST_USEC || now < objects->rested) {
        pack_set_rest(objects->packs);
        objects->rested = now;
    }
}

void objects_let_go(struct objects *objects)
{
    /* What is not used between two calls is closed. */
    pack_set_rest(objects->packs);
    pack_set_rest(objects->packs);
}

void objects_forget(struct objects *objects)
{
    objects_release_kept(objects, 0);
    objects_let_go(objects);
    git_odb_free(objects->odb);
    objects->odb = NULL;
    object_cache_clear(objects->cache);
}

static const char *type_name(enum object_type type)
{
    switch (type) {
    case OBJECT_COMMIT:
        return "commit";
    case OBJECT_TREE:
        return "tree";
    case OBJECT_BLOB:
        return "blob";
    }
    return "";
}

void objects_hash_begin(struct sha1 *sha1, enum object_type type, uint64_t length)
{
    char header[40];
    int header_length = snprintf(header, sizeof(header), "%s %" PRIu64, type_name(type), length);

    sha1_init(sha1);
    sha1_update(sha1, header, (size_t)header_length + 1);
}

void objects_hash(enum object_type type, const void *data, size_t length, struct object_id *out)
{
    struct sha1 sha1;

    objects_hash_begin(&sha1, type, length);
    sha1_update(&sha1, data, length);
    sha1_sum(&sha1, out->bytes);
}

void object_data_release(struct object_data *data)
{
    g_bytes_unref(data->owner);
    *data = (struct object_data){0};
}

static void object_data_set(struct object_data *out, GBytes *bytes)
{
    out->data = g_bytes_get_data(bytes, &out->length);
    out->owner = bytes;
    if (out->data == NULL) {
        out->data = (const uint8_t *)"";
    }
}

static int wrong_type(const struct object_id *id, enum object_type type, struct store_error *error)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(id, hex);
    return store_error_set(error, STORE_CORRUPT, "object %s is no %s", hex, type_name(type));
}

static const struct pending *find_pending(struct objects *objects, const struct object_id *id)
{
    for (guint i = 0; i < objects->batches->len; i++) {
        struct object_batch *batch = objects->batches->pdata[i];
        const struct pending *pending = g_hash_table_lookup(batch->by_id, id);

        if (pending != NULL) {
            return pending;
        }
    }
    return NULL;
}

static int read_pending(const struct pending *pending, struct object_data *out,
                        struct store_error *error)
{
    if (pending->owned != NULL) {
        object_data_set(out, g_bytes_ref(pending->owned));
        return 0;
    }
    /* Borrowed octets may go before the reader does. */
    void *copy = g_try_malloc(pending->length + 1);
    if (copy == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", pending->length);
    }
    memcpy(copy, pending->data, pending->length);
    object_data_set(out, g_bytes_new_take(copy, pending->length));
    return 0;
}

static void free_odb_object(void *data)
{
    git_odb_object_free(data);
}

static int take_odb_object(git_odb_object *object, const struct object_id *id,
                           enum object_type type, struct object_data *out,
                           struct store_error *error)
{
    if ((int)git_odb_object_type(object) != (int)type) {
        git_odb_object_free(object);
        return wrong_type(id, type, error);
    }
    object_data_set(out, g_bytes_new_with_free_func(git_odb_object_data(object),
                                                    git_odb_object_size(object), free_odb_object,
                                                    object));
    return 0;
}

static int read_odb(struct objects *objects, const struct object_id *id, enum object_type type,
                    struct object_data *out, struct store_error *error)
{
    git_oid oid;
    git_odb_object *object = NULL;
    int result = GIT_ENOTFOUND;

    if (objects->odb == NULL) {
        int opened = open_odb(objects, error);

        if (opened < 0) {
            return opened;
        }
    }
    git_oid_fromraw(&oid, id->bytes);
    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        result = git_odb_read(&object, objects->odb, &oid);
        if (result == 0) {
            return take_odb_object(object, id, type, out, error);
        }
        /* A repack may have taken a pack away after the library listed it: look anew. */
        if (result == GIT_ENOTFOUND && attempt > 0) {
            break;
        }
        if (attempt > 0) {
            g_usleep(READ_RETRY_USEC << attempt);
        }
        int reopened = open_odb(objects, error);
        if (reopened < 0) {
            return reopened;
        }
    }
    char hex[OBJECT_ID_HEX + 1];
    object_id_format(id, hex);
    return libgit2_fail(error, result, hex);
}

int objects_read(struct objects *objects, const struct object_id *id, enum object_type type,
                 struct object_data *out, struct store_error *error)
{
    const struct pending *pending = find_pending(objects, id);
    enum object_type found;
    GBytes *content;

    if (pending != NULL) {
        return pending->type == type ? read_pending(pending, out, error)
                                     : wrong_type(id, type, error);
    }
    if (object_cache_get(objects->cache, id, &found, &content)) {
        if (found != type) {
            return wrong_type(id, type, error);
        }
        object_data_set(out, g_bytes_ref(content));
        return 0;
    }
    if (pack_set_read(objects->packs, id, &found, &content, error) == 0) {
        if (found != type) {
            g_bytes_unref(content);
            return wrong_type(id, type, error);
        }
        object_data_set(out, content);
        return 0;
    }
    return read_odb(objects, id, type, out, error);
}

bool objects_slices(struct objects *objects, const struct object_id *id, struct pack_slices *out)
{
    return find_pending(objects, id) == NULL && pack_set_slices(objects->packs, id, out);
}

struct pack_inflate *objects_inflate(struct objects *objects, const struct object_id *id)
{
    return find_pending(objects, id) != NULL ? NULL : pack_set_inflate(objects->packs, id);
}

bool objects_exist(struct objects *objects, const struct object_id *id)
{
    enum object_type type;
    GBytes *content;
    git_oid oid;
    struct store_error error;

    if (find_pending(objects, id) != NULL ||
        object_cache_get(objects->cache, id, &type, &content) || pack_set_has(objects->packs, id)) {
        return true;
    }
    git_oid_fromraw(&oid, id->bytes);
    return (objects->odb != NULL || open_odb(objects, &error) == 0) &&
           git_odb_exists(objects->odb, &oid) == 1;
}
