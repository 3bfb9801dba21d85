#include "store/collect.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/hold.h"
#include "store/internal/gc_lock.h"
#include "store/internal/gentle_host.h"
#include "store/internal/git.h"
#include "store/internal/objects.h"
#include "store/internal/pack.h"
#include "store/internal/pack_copy.h"
#include "store/internal/pack_index.h"
#include "store/internal/reachable.h"
#include "store/internal/refs.h"
#include "store/internal/refs_pack.h"
#include "store/internal/repository.h"
#include "store/internal/restore_private.h"
#include "store/internal/shallow.h"
#include "store/internal/upkeep.h"
#include "store/retention.h"

enum {
    STEP = 4 * 1024 * 1024, /* octets between two reports */
    GIT_LEFTOVER_SECONDS = 24 * 3600,
    REFS_AGE_SECONDS = 60,
    MICROSECONDS = 1000000,
    SETTLE_STEPS = 20, /* a second: when to be told to give up */
    PUSH_SECONDS = 60,
};

struct collect {
    const struct host *host;
    struct gentle_host gentle;
    const char *path;
    char *directory; /* PATH/objects/pack */
    const struct collect_settings *settings;
    struct collect_result *result;
    struct upkeep *upkeep;
    struct refs *refs;
    uint64_t expected; /* objects, about */
    struct id_set wanted;
    struct id_set seen;     /* in any pack that is copied */
    struct id_set purge;    /* blobs that must be in no pack */
    bool purging;           /* there are any that nothing refers to */
    struct id_set released; /* what only the past that retention let go has reached */
    GArray *retired;        /* struct retired_root: what waits to be dropped */
    int64_t released_until; /* those let go up to this second are */
    GPtrArray *packs;       /* struct upkeep_pack: as they were when it began */
    GPtrArray *sources;     /* char *: those that are copied, borrowed from packs */
    GPtrArray *loose; /* char *: paths of loose objects that are in a pack now, or not wanted */
    char *loose_pack; /* the pack they are in; NULL: none */
    int64_t rest;     /* mtime of the newest file that keeps something only for the grace */
};

static int64_t now_seconds(const struct collect *collect)
{
    return collect->host->now(collect->host->data) / MICROSECONDS;
}

static int64_t grace(const struct collect *collect)
{
    return collect->settings->now ? COLLECT_GRACE_SECONDS_NOW : COLLECT_GRACE_SECONDS;
}

/* ---- what is wanted ---- */

static bool report_walk(uint64_t seen, void *data)
{
    const struct collect *collect = data;
    struct store_error ignored;

    return observer_tell(collect->settings->observer, OBSERVER_OBJECTS, seen, collect->expected,
                         &ignored) == 0;
}

static bool is_young(const struct collect *collect, int64_t mtime)
{
    return collect->result->incomplete || now_seconds(collect) - mtime < grace(collect);
}

/* A purge leaves nothing in a pack that nothing refers to: what is on its way there has a .keep. In
 * a file of its own it may be a push that moves its reference next. */
static bool is_young_loose(const struct collect *collect, const struct object_id *id, int64_t mtime)
{
    return !collect->purging
               ? is_young(collect, mtime)
               : !id_set_has(&collect->purge, id) && now_seconds(collect) - mtime < PUSH_SECONDS;
}

/* What a young pack has stays though nothing refers to it. */
static void want_young(struct collect *collect, const struct upkeep_pack *pack)
{
    struct pack_index index;

    if (!pack_index_open(&index, collect->directory, pack->name)) {
        return;
    }
    for (uint32_t i = 0; i < index.count; i++) {
        const struct object_id *id = pack_index_id(&index, i);

        if (!id_set_has(&collect->released, id) && id_set_add(&collect->wanted, id)) {
            collect->rest = MAX(collect->rest, pack->mtime);
        }
    }
    pack_index_close(&index);
}

/* What a purge has taken out of the history. Blobs that something still refers to (it did not come
 * to that, or the message has come again) stay. */
static int find_purge(struct collect *collect, struct store_error *error)
{
    struct id_set all;
    int result;

    id_set_init(&all);
    result = purged_read(&all, collect->path, error);
    for (size_t i = 0; result == 0 && i <= all.mask; i++) {
        if (!object_id_is_zero(&all.slots[i]) && !id_set_has(&collect->wanted, &all.slots[i])) {
            id_set_add(&collect->purge, &all.slots[i]);
        }
    }
    collect->purging = collect->purge.count > 0 && !hold_is_set(collect->refs);
    id_set_release(&all);
    return result;
}

/* What retention let go a while ago is free to go; the rest is still wanted. */
static int find_released(struct collect *collect, struct store_error *error)
{
    GArray *old = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    GArray *young = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int result = retired_read(collect->retired, collect->path, error);

    collect->released_until =
        hold_is_set(collect->refs)
            ? INT64_MIN
            : now_seconds(collect) -
                  (collect->settings->history || collect->purging ? 0 : RETENTION_GRACE_SECONDS);
    for (guint i = 0; i < collect->retired->len; i++) {
        const struct retired_root *root = &g_array_index(collect->retired, struct retired_root, i);

        g_array_append_val(root->since <= collect->released_until ? old : young, root->id);
    }
    if (result == 0) {
        result = reachable_add_from(&collect->wanted, NULL, collect->path, young, report_walk,
                                    collect, error);
    }
    if (result == 0) {
        result = reachable_add_from(&collect->released, &collect->wanted, collect->path, old,
                                    report_walk, collect, error);
    }
    g_array_unref(old);
    g_array_unref(young);
    return result;
}

/* They are gone, and the rest has yet to wait. Nobody else adds to it while the lock is ours. */
static void forget_released(const struct collect *collect)
{
    GArray *roots = g_array_new(FALSE, FALSE, sizeof(struct retired_root));
    struct shallow_lock lock;
    struct store_error ignored;

    /* What can't be forgotten now is looked for in vain the next time. */
    if (collect->retired->len > 0 && !collect->result->incomplete &&
        shallow_lock(&lock, collect->path, collect->host, &ignored) == 0) {
        if (retired_read(roots, collect->path, &ignored) == 0) {
            for (guint i = roots->len; i-- > 0;) {
                if (g_array_index(roots, struct retired_root, i).since <= collect->released_until) {
                    g_array_remove_index_fast(roots, i);
                }
            }
            retired_replace(&lock, roots, &ignored);
        }
        shallow_unlock(&lock);
    }
    g_array_unref(roots);
}

static int find_wanted(struct collect *collect, struct store_error *error)
{
    size_t missing;
    int result = reachable_add(&collect->wanted, collect->path, collect->refs, &missing,
                               report_walk, collect, error);

    collect->result->incomplete = missing > 0;
    if (result == 0) {
        result = find_purge(collect, error);
    }
    if (result == 0 && missing == 0) {
        result = find_released(collect, error);
    }
    for (guint i = 0; result == 0 && i < collect->packs->len; i++) {
        const struct upkeep_pack *pack = collect->packs->pdata[i];

        if (!collect->purging && is_young(collect, pack->mtime)) {
            want_young(collect, pack);
        }
    }
    return result;
}

/* ---- objects in files of their own ---- */

struct loose_object {
    struct object_id id;
    char *path;
    uint64_t size;
    int64_t mtime; /* seconds */
    bool wanted;
};

static void loose_clear(void *data)
{
    g_free(((struct loose_object *)data)->path);
}

static void find_loose_in(const struct collect *collect, const char *fan, GArray *out)
{
    char *path = g_strdup_printf("%s/objects/%s", collect->path, fan);
    DIR *handle = opendir(path);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        char hex[OBJECT_ID_HEX + 1];
        struct loose_object object;
        struct stat status;

        if (strlen(entry->d_name) != OBJECT_ID_HEX - 2) {
            continue;
        }
        memcpy(hex, fan, 2);
        memcpy(hex + 2, entry->d_name, OBJECT_ID_HEX - 1);
        object.path = g_strdup_printf("%s/%s", path, entry->d_name);
        if (object_id_parse(&object.id, hex) && stat(object.path, &status) == 0) {
            object.size = (uint64_t)status.st_size;
            object.mtime = status.st_mtime;
            object.wanted = id_set_has(&collect->wanted, &object.id) ||
                            (is_young_loose(collect, &object.id, status.st_mtime) &&
                             !id_set_has(&collect->released, &object.id));
            g_array_append_val(out, object);
        } else {
            g_free(object.path);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
    g_free(path);
}

static int pack_loose(const struct collect *collect, git_odb *odb, struct pack_writer *writer,
                      const struct loose_object *loose, struct store_error *error)
{
    char hex[OBJECT_ID_HEX + 1];
    git_odb_object *object = NULL;
    git_oid oid;

    (void)collect;
    object_id_format(&loose->id, hex);
    git_oid_fromraw(&oid, loose->id.bytes);
    int result = git_odb_read(&object, odb, &oid);
    if (result < 0) {
        return libgit2_fail(error, result, hex);
    }
    /* The writer takes git's numbers of types, of which a tag's is one more than ours. */
    result = pack_writer_add(writer, &loose->id, (enum object_type)git_odb_object_type(object),
                             git_odb_object_data(object), git_odb_object_size(object), error);
    git_odb_object_free(object);
    return result;
}

static int write_loose(struct collect *collect, const GArray *loose, uint32_t count,
                       struct store_error *error)
{
    char *objects = g_strdup_printf("%s/objects", collect->path);
    struct pack_writer *writer = NULL;
    git_odb *odb = NULL;
    int result = git_odb_open(&odb, objects);

    result = result < 0 ? libgit2_fail(error, result, "object database")
                        : pack_writer_open(&writer, collect->directory, collect->path,
                                           &collect->gentle.host, count, error);
    for (guint i = 0; i < loose->len && result == 0; i++) {
        const struct loose_object *object = &g_array_index(loose, struct loose_object, i);

        if (object->wanted) {
            result = pack_loose(collect, odb, writer, object, error);
        }
    }
    if (result == 0) {
        result = pack_writer_finish(writer, PACK_DURABLE, error);
    }
    if (result == 0) {
        collect->loose_pack = g_strdup_printf("pack-%s", pack_writer_name(writer));
    }
    pack_writer_free(writer);
    git_odb_free(odb);
    g_free(objects);
    return result;
}

/* Loose objects go into a pack of their own, which is one of the sources then. */
static int gather_loose(struct collect *collect, struct store_error *error)
{
    GArray *loose = g_array_new(FALSE, FALSE, sizeof(struct loose_object));
    uint32_t wanted = 0;
    int result = 0;

    g_array_set_clear_func(loose, loose_clear);
    for (unsigned first = 0; first < 256; first++) {
        char fan[3];

        snprintf(fan, sizeof(fan), "%02x", first);
        find_loose_in(collect, fan, loose);
    }
    for (guint i = 0; i < loose->len; i++) {
        struct loose_object *object = &g_array_index(loose, struct loose_object, i);

        wanted += object->wanted;
        collect->result->dropped += !object->wanted;
        collect->result->octets_before += object->size;
        if (object->wanted && id_set_add(&collect->wanted, &object->id)) {
            collect->rest = MAX(collect->rest, object->mtime);
        }
    }
    collect->result->loose = loose->len;
    if (wanted > 0) {
        result = write_loose(collect, loose, wanted, error);
    }
    for (guint i = 0; i < loose->len && result == 0; i++) {
        struct loose_object *object = &g_array_index(loose, struct loose_object, i);

        g_ptr_array_add(collect->loose, g_steal_pointer(&object->path));
    }
    g_array_unref(loose);
    return result;
}

static void remove_loose(const struct collect *collect)
{
    for (guint i = 0; i < collect->loose->len; i++) {
        char *path = collect->loose->pdata[i];

        collect->host->unlink(collect->host->data, path);
        *strrchr(path, '/') = '\0';
        rmdir(path);
    }
}

/* ---- one pack ---- */

static bool is_wanted(const struct object_id *id, void *data)
{
    return id_set_has(data, id);
}

static bool is_purged(const struct object_id *id, void *data)
{
    return id_set_has(&((struct collect *)data)->purge, id);
}

/* For what is a delta of something that goes. */
static int read_whole(const struct object_id *id, enum object_type *type, GBytes **content,
                      void *data, struct store_error *error)
{
    struct collect *collect = data;
    char *objects = g_strdup_printf("%s/objects", collect->path);
    git_odb_object *object = NULL;
    git_odb *odb = NULL;
    git_oid oid;
    int result = git_odb_open(&odb, objects);

    git_oid_fromraw(&oid, id->bytes);
    if (result == 0) {
        result = git_odb_read(&object, odb, &oid);
    }
    if (result == 0) {
        *type = (enum object_type)git_odb_object_type(object);
        *content = g_bytes_new(git_odb_object_data(object), git_odb_object_size(object));
    }
    git_odb_object_free(object);
    git_odb_free(odb);
    g_free(objects);
    return result < 0 ? libgit2_fail(error, result, "an object as a whole") : 0;
}

static struct pack_copy *open_copy(struct collect *collect, struct store_error *error, int *result)
{
    struct pack_copy *copy =
        pack_copy_new(collect->directory, collect->path, &collect->gentle.host);

    pack_copy_only(copy, is_wanted, &collect->wanted);
    if (collect->purging) {
        pack_copy_never(copy, is_purged, read_whole, collect);
    }
    if (collect->settings->compress) {
        pack_copy_compress(copy);
    }
    *result = 0;
    for (guint i = 0; i < collect->sources->len && *result == 0; i++) {
        *result = pack_copy_add(copy, collect->sources->pdata[i], error);
        if (*result == STORE_CORRUPT) {
            g_ptr_array_remove_index(collect->sources, i--);
            collect->result->unusable++;
            *result = 0;
        }
    }
    return copy;
}

/* Copies all sources into one. A pack that can't be copied is left out, and it begins anew. */
static int copy_sources(struct collect *collect, struct pack_copy **out, struct store_error *error)
{
    uint64_t total = collect->result->octets_before;
    int result;

    for (;;) {
        struct pack_copy *copy = open_copy(collect, error, &result);
        uint32_t all = pack_copy_objects(copy);

        *out = copy;
        if (result == 0) {
            result = observer_tell(collect->settings->observer, OBSERVER_COPY, 0, total, error);
        }
        if (result == 0) {
            result = pack_copy_begin(copy, error);
        }
        collect->result->objects = result == 0 ? pack_copy_objects(copy) : all;
        while (result == 0 && (result = pack_copy_step(copy, STEP, error)) == 1) {
            result = observer_tell(collect->settings->observer, OBSERVER_COPY,
                                   pack_copy_written(copy), total, error);
        }
        const char *culprit = pack_copy_culprit(copy);
        guint index;
        if (result == 0 || culprit == NULL ||
            !g_ptr_array_find_with_equal_func(collect->sources, culprit, g_str_equal, &index)) {
            return result;
        }
        g_ptr_array_remove_index(collect->sources, index);
        collect->result->unusable++;
        pack_copy_free(copy);
        *out = NULL;
    }
}

/* How many objects there were, each counted once, that the new pack does not have. */
static void count_dropped(struct collect *collect)
{
    for (guint i = 0; i < collect->sources->len; i++) {
        struct pack_index index;

        if (!pack_index_open(&index, collect->directory, collect->sources->pdata[i])) {
            continue;
        }
        for (uint32_t at = 0; at < index.count; at++) {
            const struct object_id *id = pack_index_id(&index, at);

            if (!id_set_has(&collect->wanted, id)) {
                collect->result->dropped += id_set_add(&collect->seen, id);
            }
        }
        pack_index_close(&index);
    }
}

static uint64_t octets_of(const struct collect *collect, const GPtrArray *names)
{
    uint64_t octets = 0;

    for (guint i = 0; i < names->len; i++) {
        char *path = g_strdup_printf("%s/%s.pack", collect->directory, (char *)names->pdata[i]);
        struct stat status;

        octets += stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
        g_free(path);
    }
    return octets;
}

/* git's table of commits, which must not name any that are gone. Git does without. */
static void remove_commit_graph(const struct collect *collect)
{
    char *one = g_strdup_printf("%s/objects/info/commit-graph", collect->path);
    char *many = g_strdup_printf("%s/objects/info/commit-graphs", collect->path);

    if (access(one, F_OK) == 0) {
        collect->host->unlink(collect->host->data, one);
    }
    repository_remove(many);
    g_free(one);
    g_free(many);
}

/* Takes the place of the sources. What only the grace keeps goes on ageing: the new pack is as old
 * as the youngest that had any of it. */
static int put_in_place(struct collect *collect, const char *name, struct store_error *error)
{
    GPtrArray *gone = g_ptr_array_new();
    int result = 0;

    for (guint i = 0; i < collect->sources->len; i++) {
        if (strcmp(collect->sources->pdata[i], name) != 0) {
            g_ptr_array_add(gone, collect->sources->pdata[i]);
        }
    }
    if (collect->result->dropped > 0) {
        remove_commit_graph(collect);
    }
    if (!collect->settings->now && !collect->purging) {
        collect->result->octets_waiting = octets_of(collect, gone);
    }
    if (collect->rest > 0) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = collect->rest}};
        char *path = g_strdup_printf("%s/%s.pack", collect->directory, name);

        utimensat(AT_FDCWD, path, times, 0);
        g_free(path);
    }
    if (!upkeep_replace(collect->upkeep, gone, collect->settings->now || collect->purging)) {
        result = store_error_set(error, STORE_CONFLICT, "git's list of packs can't be changed");
    }
    g_ptr_array_free(gone, TRUE);
    return result;
}

static void choose_sources(struct collect *collect)
{
    for (guint i = 0; i < collect->packs->len; i++) {
        struct upkeep_pack *pack = collect->packs->pdata[i];

        collect->result->octets_before += pack->size;
        collect->result->packs_before++;
        if (pack->kept) {
            collect->result->kept++;
        } else {
            g_ptr_array_add(collect->sources, pack->name);
        }
    }
}

static int merge_sources(struct collect *collect, struct store_error *error)
{
    struct pack_copy *copy = NULL;

    if (collect->loose_pack != NULL) {
        g_ptr_array_add(collect->sources, collect->loose_pack);
    }
    count_dropped(collect);
    if (collect->sources->len == 0 ||
        (!collect->purging && collect->sources->len == 1 && collect->result->dropped == 0 &&
         !collect->settings->compress)) {
        return 0;
    }
    int result = copy_sources(collect, &copy, error);
    if (result == 0) {
        result = put_in_place(collect, pack_copy_name(copy), error);
    }
    pack_copy_free(copy);
    return result;
}

/* ---- all of it ---- */

/* What a git that was killed left behind. */
static void remove_git_leftovers(const struct collect *collect)
{
    DIR *handle = opendir(collect->directory);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        char *path = g_strdup_printf("%s/%s", collect->directory, entry->d_name);
        struct stat status;

        if ((g_str_has_prefix(entry->d_name, "tmp_") || g_str_has_prefix(entry->d_name, ".tmp-")) &&
            lstat(path, &status) == 0 && S_ISREG(status.st_mode) &&
            now_seconds(collect) - status.st_mtime >
                (collect->purging ? COLLECT_GRACE_SECONDS_NOW : GIT_LEFTOVER_SECONDS)) {
            collect->host->unlink(collect->host->data, path);
        }
        g_free(path);
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

static void count_after(struct collect *collect)
{
    GPtrArray *packs = upkeep_packs(collect->upkeep);

    for (guint i = 0; i < packs->len; i++) {
        collect->result->octets_after += ((const struct upkeep_pack *)packs->pdata[i])->size;
    }
    collect->result->packs_after = packs->len;
    g_ptr_array_free(packs, TRUE);
}

/* ---- a purge ---- */

/* Packs without an index. */
static GPtrArray *list_unlisted(const char *path)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    DIR *handle = opendir(path);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        size_t length = strlen(entry->d_name);

        if (g_str_has_prefix(entry->d_name, "pack-") && g_str_has_suffix(entry->d_name, ".pack")) {
            char *name = g_strndup(entry->d_name, length - strlen(".pack"));
            char *index = g_strdup_printf("%s/%s.idx", path, name);
            char *keep = g_strdup_printf("%s/%s.keep", path, name);

            if (access(index, F_OK) != 0 && access(keep, F_OK) != 0) {
                g_ptr_array_add(names, g_strdup(name));
            }
            g_free(name);
            g_free(index);
            g_free(keep);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
    return names;
}

/* Packs that were merged and wait for their readers have no index any more; one that somebody is
 * just making gets its own within a moment. */
static void remove_unlisted(const struct collect *collect)
{
    GPtrArray *names = list_unlisted(collect->directory);

    if (names->len > 0 && collect->settings->settle_seconds > 0) {
        g_usleep(MICROSECONDS);
    }
    for (guint i = 0; i < names->len; i++) {
        char *pack = g_strdup_printf("%s/%s.pack", collect->directory, (char *)names->pdata[i]);
        char *index = g_strdup_printf("%s/%s.idx", collect->directory, (char *)names->pdata[i]);

        if (access(index, F_OK) != 0) {
            collect->host->unlink(collect->host->data, pack);
        }
        g_free(pack);
        g_free(index);
    }
    g_ptr_array_unref(names);
}

/* How many blobs of the purge are still in packs. */
static size_t count_left(struct collect *collect)
{
    GPtrArray *packs = upkeep_packs(collect->upkeep);
    size_t left = 0;

    for (guint i = 0; i < packs->len; i++) {
        struct pack_index index;

        if (!pack_index_open(&index, collect->directory,
                             ((const struct upkeep_pack *)packs->pdata[i])->name)) {
            continue;
        }
        for (uint32_t at = 0; at < index.count; at++) {
            left += id_set_has(&collect->purge, pack_index_id(&index, at));
        }
        pack_index_close(&index);
    }
    g_ptr_array_free(packs, TRUE);
    return left;
}

/* Also what the purge wanted and is referred to again is done with. */
static int finish_purge(struct collect *collect, struct store_error *error)
{
    struct id_set none;
    int result = 0;

    remove_unlisted(collect);
    collect->result->protected = count_left(collect);
    collect->result->purged = collect->purge.count - collect->result->protected;
    if (collect->result->protected == 0) {
        id_set_init(&none);
        result = purged_replace(&none, collect->path, collect->host, error);
        id_set_release(&none);
    }
    return result;
}

/* gc.pid is ours. The packs are listed before the references are read: what comes later is not
 * touched, and what a reference gets later from a pack of before was protected by a .keep then. */
static int collect_all(struct collect *collect, struct store_error *error)
{
    struct store_error ignored;

    collect->expected = observer_objects(collect->path);
    for (unsigned i = 0; i <= collect->settings->settle_seconds * SETTLE_STEPS; i++) {
        int given_up = observer_tell(collect->settings->observer, OBSERVER_OBJECTS, 0,
                                     collect->expected, error);

        if (given_up < 0) {
            return given_up;
        }
        if (i > 0) {
            g_usleep(MICROSECONDS / SETTLE_STEPS);
        }
    }
    remove_git_leftovers(collect);
    restore_remove_leftovers(collect->path);
    collect->packs = upkeep_packs(collect->upkeep);
    choose_sources(collect);
    int result = find_wanted(collect, error);
    if (result == 0 && collect->purging && collect->result->incomplete) {
        result = store_error_set(error, STORE_CORRUPT,
                                 "something that is referred to is missing: see annal verify");
    }
    if (result == 0) {
        result = gather_loose(collect, error);
    }
    if (result == 0) {
        result = merge_sources(collect, error);
    }
    if (result == 0) {
        remove_loose(collect);
    }
    if (result == 0 && collect->purging) {
        result = finish_purge(collect, error);
    }
    if (result == 0) {
        forget_released(collect);
        count_after(collect);
        /* Somebody who has packed-refs locked does the same. */
        refs_pack(collect->path, collect->host, 2, REFS_AGE_SECONDS, &collect->result->references,
                  &ignored);
    }
    return result;
}

int collect_repository(const char *path, const struct host *host,
                       const struct collect_settings *settings, struct collect_result *result,
                       struct store_error *error)
{
    struct collect collect = {.host = host, .path = path, .settings = settings, .result = result};
    struct objects *objects = NULL;

    *result = (struct collect_result){0};
    /* Whether it is a repository that we understand. */
    int code = objects_open(&objects, path, host, error);
    objects_close(objects);
    if (code == 0) {
        code = refs_open(&collect.refs, path, host, error);
    }
    if (code < 0) {
        return code;
    }
    gentle_host_init(&collect.gentle, host);
    collect.directory = g_strdup_printf("%s/objects/pack", path);
    collect.upkeep = upkeep_new(path, host);
    collect.sources = g_ptr_array_new();
    collect.loose = g_ptr_array_new_with_free_func(g_free);
    id_set_init(&collect.wanted);
    id_set_init(&collect.seen);
    id_set_init(&collect.released);
    id_set_init(&collect.purge);
    collect.retired = g_array_new(FALSE, FALSE, sizeof(struct retired_root));
    code = settings->locked ? 0 : gc_lock(path, host, error);
    if (code == 0) {
        code = collect_all(&collect, error);
        if (!settings->locked) {
            gc_unlock(path, host);
        }
    }
    refs_close(collect.refs);
    upkeep_free(collect.upkeep);
    if (collect.packs != NULL) {
        g_ptr_array_unref(collect.packs);
    }
    g_ptr_array_unref(collect.sources);
    g_ptr_array_unref(collect.loose);
    id_set_release(&collect.wanted);
    id_set_release(&collect.seen);
    id_set_release(&collect.released);
    id_set_release(&collect.purge);
    g_array_unref(collect.retired);
    g_free(collect.loose_pack);
    g_free(collect.directory);
    return code;
}
