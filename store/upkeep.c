#include "store/internal/upkeep.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/collect.h"
#include "store/internal/git_readers.h"
#include "store/internal/multi_pack_index.h"
#include "store/internal/pack.h"
#include "store/internal/pack_copy.h"
#include "store/internal/pack_index.h"

enum {
    PACKS_AT_ONCE = 256,
    TIER_COUNT = 8,
    GC_PID_SECONDS = 12 * 3600, /* git, too, takes an older gc.pid for a crash's */
    LISTED_PART = 64,           /* packs with less than this part of all octets are not listed */
    LIST_GROWTH = 2,            /* listed anew when half as much as is listed has come */
    RESERVE = 64 * 1024 * 1024, /* octets that a merge leaves free on the disk */
    COMPRESS_SIZE_MIN = 1024 * 1024,
    SAMPLES = 64,
    SAMPLE_MIN = 128, /* octets of an entry */
    MICROSECONDS = 1000000,
};

struct retired {
    int64_t since; /* second */
    uint64_t size;
    bool hidden; /* the index is gone */
};

/* Tells whether a pack is the one that was looked at. */
struct stamp {
    int64_t mtime;
    uint64_t size;
};

struct job {
    struct pack_copy *copy; /* NULL: none */
    GPtrArray *names;       /* what it will replace */
};

struct upkeep {
    const struct host *host;
    char *path;           /* the repository */
    char *directory;      /* PATH/objects/pack */
    GHashTable *retired;  /* name -> struct retired */
    GHashTable *unusable; /* name -> struct stamp: damaged, or of a form that can't be copied */
    GHashTable *dense;    /* name -> struct stamp: not worth deflating */
    GHashTable *durable;  /* names of packs that merges have written */
    struct job jobs[UPKEEP_LANE_COUNT];
    int64_t compress_after;
    int64_t pause_until;
    bool patient;    /* upkeep_be_patient() */
    int64_t lull_at; /* second: when a merge begins that waits; INT64_MAX: none does */
    uint64_t in_use; /* octets of packs that readers find, at the last look */
    struct upkeep_counts counts;
};

static void found_free(void *data)
{
    struct upkeep_pack *found = data;

    g_free(found->name);
    g_free(found);
}

static GHashTable *table_of_names(GDestroyNotify free_value)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_value);
}

struct upkeep *upkeep_new(const char *path, const struct host *host)
{
    struct upkeep *upkeep = g_new0(struct upkeep, 1);

    upkeep->host = host;
    upkeep->lull_at = INT64_MAX;
    upkeep->path = g_strdup(path);
    upkeep->directory = g_strdup_printf("%s/objects/pack", path);
    upkeep->retired = table_of_names(g_free);
    upkeep->unusable = table_of_names(g_free);
    upkeep->dense = table_of_names(g_free);
    upkeep->durable = table_of_names(NULL);
    return upkeep;
}

static void job_end(struct job *job)
{
    pack_copy_free(job->copy);
    job->copy = NULL;
    g_clear_pointer(&job->names, g_ptr_array_unref);
}

void upkeep_free(struct upkeep *upkeep)
{
    if (upkeep == NULL) {
        return;
    }
    for (int lane = 0; lane < UPKEEP_LANE_COUNT; lane++) {
        job_end(&upkeep->jobs[lane]);
    }
    g_hash_table_destroy(upkeep->retired);
    g_hash_table_destroy(upkeep->unusable);
    g_hash_table_destroy(upkeep->dense);
    g_hash_table_destroy(upkeep->durable);
    g_free(upkeep->path);
    g_free(upkeep->directory);
    g_free(upkeep);
}

void upkeep_be_patient(struct upkeep *upkeep)
{
    upkeep->patient = true;
}

void upkeep_compress_after(struct upkeep *upkeep, int64_t seconds)
{
    upkeep->compress_after = seconds;
}

struct upkeep_counts upkeep_counts(const struct upkeep *upkeep)
{
    return upkeep->counts;
}

static int64_t now_seconds(const struct upkeep *upkeep)
{
    return upkeep->host->now(upkeep->host->data) / MICROSECONDS;
}

static bool stat_file(const struct upkeep *upkeep, const char *name, const char *suffix,
                      struct stat *status)
{
    char *path = g_strdup_printf("%s/%s%s", upkeep->directory, name, suffix);
    bool exists = stat(path, status) == 0;

    g_free(path);
    return exists;
}

static void unlink_file(const struct upkeep *upkeep, const char *name, const char *suffix)
{
    char *path = g_strdup_printf("%s/%s%s", upkeep->directory, name, suffix);

    upkeep->host->unlink(upkeep->host->data, path);
    g_free(path);
}

/* Somebody else is rewriting packs, or has written down in a newer way which there are. */
static bool must_stand_back(const struct upkeep *upkeep)
{
    struct stat status;
    char *path = g_strdup_printf("%s/gc.pid", upkeep->path);
    bool busy = stat(path, &status) == 0 && now_seconds(upkeep) - status.st_mtime < GC_PID_SECONDS;

    g_free(path);
    return busy || stat_file(upkeep, MULTI_PACK_INDEX ".d", "", &status);
}

/* ---- what there is ---- */

static bool is_pack_file(const char *name, const char *suffix)
{
    return strlen(name) == PACK_NAME_LENGTH + strlen(suffix) && g_str_has_prefix(name, "pack-") &&
           g_str_has_suffix(name, suffix);
}

/* That of a restore is its own as long as it is at work. */
static bool keep_is_ours(const struct upkeep *upkeep, const char *name)
{
    char text[sizeof(COLLECT_RESTORE_KEEP) + 1] = "";
    char *path = g_strdup_printf("%s/%s", upkeep->directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ours = false;

    g_free(path);
    if (fd >= 0) {
        ssize_t length = read(fd, text, sizeof(text) - 1);

        ours = length >= 0 &&
               (strcmp(text, PACK_KEEP_TEXT) == 0 ||
                (strcmp(text, COLLECT_RESTORE_KEEP) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0));
        close(fd);
    }
    return ours;
}

/* A merged pack whose index is gone, and nobody remembers when: the server was started anew. */
static bool is_forgotten(const struct upkeep *upkeep, const char *file)
{
    struct stat status;
    char *name;

    if (!is_pack_file(file, ".pack")) {
        return false;
    }
    name = g_strndup(file, PACK_NAME_LENGTH);
    bool forgotten = !g_hash_table_contains(upkeep->retired, name) &&
                     !stat_file(upkeep, name, ".idx", &status) &&
                     !stat_file(upkeep, name, ".keep", &status);
    g_free(name);
    return forgotten;
}

static bool is_old(const struct upkeep *upkeep, const struct stat *status)
{
    return now_seconds(upkeep) - status->st_mtime >= UPKEEP_LEFTOVER_SECONDS;
}

/* What a crash left: protection that nobody will lift, a lock, a pack that was merged. */
static void remove_leftover(const struct upkeep *upkeep, const char *name)
{
    struct stat status;
    bool keep = is_pack_file(name, ".keep");

    if (!keep && strcmp(name, MULTI_PACK_INDEX ".lock") != 0 && !is_forgotten(upkeep, name)) {
        return;
    }
    if (!stat_file(upkeep, name, "", &status) || !is_old(upkeep, &status)) {
        return;
    }
    if (!keep) {
        unlink_file(upkeep, name, "");
    } else if (keep_is_ours(upkeep, name)) {
        char *pack = g_strndup(name, PACK_NAME_LENGTH);

        if (!stat_file(upkeep, pack, ".idx", &status)) {
            unlink_file(upkeep, pack, ".pack");
        }
        unlink_file(upkeep, name, "");
        g_free(pack);
    }
}

/* The same of half-written files. */
static void remove_temporary(const struct upkeep *upkeep)
{
    DIR *handle = opendir(upkeep->path);
    struct dirent *entry;
    struct stat status;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        if (g_str_has_prefix(entry->d_name, PACK_TEMP_PREFIX) &&
            g_str_has_suffix(entry->d_name, PACK_TEMP_SUFFIX)) {
            char *path = g_strdup_printf("%s/%s", upkeep->path, entry->d_name);

            if (lstat(path, &status) == 0 && S_ISREG(status.st_mode) && is_old(upkeep, &status)) {
                upkeep->host->unlink(upkeep->host->data, path);
            }
            g_free(path);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

static struct upkeep_pack *find(GHashTable *table, GPtrArray *packs, const char *file)
{
    char *name = g_strndup(file, PACK_NAME_LENGTH);
    struct upkeep_pack *found = g_hash_table_lookup(table, name);

    if (found == NULL) {
        found = g_new0(struct upkeep_pack, 1);
        found->name = name;
        g_hash_table_insert(table, found->name, found);
        g_ptr_array_add(packs, found);
    } else {
        g_free(name);
    }
    return found;
}

static void note_file(GHashTable *table, GPtrArray *packs, const char *file)
{
    if (is_pack_file(file, ".idx")) {
        find(table, packs, file)->index = true;
    } else if (is_pack_file(file, ".keep")) {
        find(table, packs, file)->kept = true;
    } else if (is_pack_file(file, ".mtimes")) {
        find(table, packs, file)->cruft = true;
    }
}

static int compare_found(const void *a, const void *b)
{
    const struct upkeep_pack *left = *(const struct upkeep_pack *const *)a;
    const struct upkeep_pack *right = *(const struct upkeep_pack *const *)b;

    return left->size < right->size   ? -1
           : left->size > right->size ? 1
                                      : strcmp(left->name, right->name);
}

/* Removes leftovers, and finds the packs that readers find, smallest first. */
static GPtrArray *scan(const struct upkeep *upkeep)
{
    GPtrArray *packs = g_ptr_array_new_with_free_func(found_free);
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
    DIR *handle = opendir(upkeep->directory);
    struct dirent *entry;
    struct stat status;

    remove_temporary(upkeep);
    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        remove_leftover(upkeep, entry->d_name);
        note_file(table, packs, entry->d_name);
    }
    if (handle != NULL) {
        closedir(handle);
    }
    for (guint i = packs->len; i-- > 0;) {
        struct upkeep_pack *found = packs->pdata[i];

        if (found->index && stat_file(upkeep, found->name, ".pack", &status)) {
            found->size = (uint64_t)status.st_size;
            found->mtime = status.st_mtime;
        } else {
            g_ptr_array_remove_index_fast(packs, i);
        }
    }
    g_hash_table_destroy(table);
    g_ptr_array_sort(packs, compare_found);
    return packs;
}

static bool is_stamped(GHashTable *stamps, const struct upkeep_pack *found)
{
    const struct stamp *stamp = g_hash_table_lookup(stamps, found->name);

    return stamp != NULL && stamp->mtime == found->mtime && stamp->size == found->size;
}

static void set_stamp(GHashTable *stamps, const char *name, int64_t mtime, uint64_t size)
{
    struct stamp stamp = {mtime, size};

    g_hash_table_insert(stamps, g_strdup(name), g_memdup2(&stamp, sizeof(stamp)));
}

/* ---- the list that git reads ---- */

static bool any_gone(const struct upkeep *upkeep, GHashTable *listed)
{
    GHashTableIter iterator;
    struct stat status;
    void *name;

    g_hash_table_iter_init(&iterator, listed);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (!stat_file(upkeep, name, ".idx", &status) ||
            !stat_file(upkeep, name, ".pack", &status)) {
            return true;
        }
    }
    return false;
}

/* The packs that the multi-pack-index relies on: a new set; NULL if there is no telling. One that
 * was made while a pack of it went away is removed: git does without. */
static GHashTable *listed_packs(const struct upkeep *upkeep)
{
    GHashTable *listed = multi_pack_index_names(upkeep->directory);
    struct store_error error;

    if (listed != NULL && any_gone(upkeep, listed)) {
        if (multi_pack_index_remove(upkeep->directory, upkeep->host, &error) < 0) {
            g_clear_pointer(&listed, g_hash_table_destroy);
        } else {
            g_hash_table_remove_all(listed);
        }
    }
    return listed;
}

/* Whether git's list should have the pack: big enough, and not about to change. */
static bool is_listable(const struct upkeep *upkeep, const struct upkeep_pack *found,
                        uint64_t total)
{
    return found->size >= total / LISTED_PART && !found->kept &&
           !g_hash_table_contains(upkeep->retired, found->name) &&
           (g_hash_table_contains(upkeep->durable, found->name) ||
            now_seconds(upkeep) - found->mtime >= UPKEEP_SETTLED_SECONDS);
}

/* Of the packs that git's list should have: their names, and how many octets are new in it. */
static GPtrArray *listable(const struct upkeep *upkeep, const GPtrArray *packs, GHashTable *listed,
                           uint64_t *all, uint64_t *fresh)
{
    GPtrArray *names = g_ptr_array_new();
    uint64_t total = 0;

    *all = 0;
    *fresh = 0;
    for (guint i = 0; i < packs->len; i++) {
        total += ((const struct upkeep_pack *)packs->pdata[i])->size;
    }
    for (guint i = 0; i < packs->len; i++) {
        const struct upkeep_pack *found = packs->pdata[i];

        if (is_listable(upkeep, found, total)) {
            g_ptr_array_add(names, found->name);
            *all += found->size;
            *fresh += g_hash_table_contains(listed, found->name) ? 0 : found->size;
        }
    }
    return names;
}

/* Writes the list anew if it must be (a pack is to leave it) or should be. False: it could not. */
static bool renew_list(struct upkeep *upkeep, const GPtrArray *packs, GHashTable *listed, bool must)
{
    struct store_error error;
    uint64_t all;
    uint64_t fresh;
    GPtrArray *names = listable(upkeep, packs, listed, &all, &fresh);
    int result = 0;

    if (names->len < UPKEEP_LIST_MIN) {
        if (must) {
            result = multi_pack_index_remove(upkeep->directory, upkeep->host, &error);
            g_hash_table_remove_all(listed);
        }
    } else if (must || fresh > (all - fresh) / LIST_GROWTH) {
        result =
            multi_pack_index_write(upkeep->directory, upkeep->path, upkeep->host, names, &error);
        upkeep->counts.indexes += result == 0;
        if (result == 0) {
            g_hash_table_remove_all(listed);
            for (guint i = 0; i < names->len; i++) {
                g_hash_table_add(listed, g_strdup(names->pdata[i]));
            }
        }
    }
    g_ptr_array_free(names, TRUE);
    return result == 0;
}

/* ---- packs that were merged ---- */

static void hide(const struct upkeep *upkeep, const char *name, struct retired *retired)
{
    static const char *const suffixes[] = {".idx", ".rev", ".bitmap"};

    /* Whoever comes after us unlinks the pack by its age: that of its hiding. */
    char *pack = g_strdup_printf("%s/%s.pack", upkeep->directory, name);
    utimensat(AT_FDCWD, pack, NULL, 0);
    g_free(pack);
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        unlink_file(upkeep, name, suffixes[i]);
    }
    retired->hidden = true;
}

/* Nobody may be in the middle of reading, but for ever they don't wait. */
static bool may_hide(const struct upkeep *upkeep, const GPtrArray *due)
{
    int64_t oldest = now_seconds(upkeep);

    for (guint i = 0; i < due->len; i++) {
        const struct retired *retired = g_hash_table_lookup(upkeep->retired, due->pdata[i]);

        oldest = MIN(oldest, retired->since);
    }
    return now_seconds(upkeep) - oldest >= UPKEEP_RETIRE_SECONDS || !git_readers_any(upkeep->path);
}

/* Hides those that are due, once git's list is without them; at_once: whoever reads them. */
static void hide_due(struct upkeep *upkeep, const GPtrArray *packs, GHashTable *listed,
                     int64_t seconds, bool at_once)
{
    int64_t now = now_seconds(upkeep);
    GPtrArray *due = g_ptr_array_new();
    GHashTableIter iterator;
    struct stat status;
    bool in_list = false;
    void *name;
    void *value;

    g_hash_table_iter_init(&iterator, upkeep->retired);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        struct retired *retired = value;

        if (retired->hidden || now - retired->since < seconds) {
            continue;
        }
        if (stat_file(upkeep, name, ".keep", &status)) {
            /* Written once more, by somebody who relies on it. */
            g_hash_table_iter_remove(&iterator);
            continue;
        }
        g_ptr_array_add(due, name);
        in_list = in_list || g_hash_table_contains(listed, name);
    }
    if (due->len > 0 && (at_once || may_hide(upkeep, due)) &&
        (!in_list || renew_list(upkeep, packs, listed, true))) {
        for (guint i = 0; i < due->len; i++) {
            hide(upkeep, due->pdata[i], g_hash_table_lookup(upkeep->retired, due->pdata[i]));
        }
    }
    g_ptr_array_free(due, TRUE);
}

/* How long merged packs stay on the disk: not so long where they would fill it. */
static int64_t grace_of(const struct upkeep *upkeep)
{
    uint64_t octets = 0;
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, upkeep->retired);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        octets += ((const struct retired *)value)->size;
    }
    return g_hash_table_size(upkeep->retired) > UPKEEP_RETIRED_MAX ||
                   octets > MAX(UPKEEP_RETIRED_OCTETS, upkeep->in_use)
               ? UPKEEP_RETIRE_SECONDS_SHORT
               : UPKEEP_RETIRE_SECONDS;
}

static void unlink_due(struct upkeep *upkeep)
{
    int64_t now = now_seconds(upkeep);
    int64_t grace = grace_of(upkeep);
    GHashTableIter iterator;
    struct stat status;
    void *name;
    void *value;

    g_hash_table_iter_init(&iterator, upkeep->retired);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const struct retired *retired = value;

        if (!retired->hidden || now - retired->since < grace) {
            continue;
        }
        /* It may have been written once more since it was hidden. */
        if (!stat_file(upkeep, name, ".idx", &status) &&
            !stat_file(upkeep, name, ".keep", &status)) {
            unlink_file(upkeep, name, ".pack");
        }
        g_hash_table_iter_remove(&iterator);
    }
}

static void retire(struct upkeep *upkeep, const char *name)
{
    struct retired retired = {.since = now_seconds(upkeep)};
    struct stat status;

    retired.size = stat_file(upkeep, name, ".pack", &status) ? (uint64_t)status.st_size : 0;
    g_hash_table_insert(upkeep->retired, g_strdup(name), g_memdup2(&retired, sizeof(retired)));
}

/* ---- merging ---- */

static unsigned tier_of(uint64_t size)
{
    unsigned tier = 0;

    for (uint64_t bound = UPKEEP_SMALL_SIZE; size >= bound && tier < TIER_COUNT - 1; tier++) {
        bound *= UPKEEP_FANOUT;
    }
    return tier;
}

/* Whether a tier has enough packs to merge them now; notes when it is worth another look. */
static bool is_ripe(struct upkeep *upkeep, unsigned tier, guint count, int64_t youngest)
{
    int64_t now = now_seconds(upkeep);
    int64_t lull_at = youngest + UPKEEP_LULL_SECONDS;

    if (tier == 0) {
        return count >= UPKEEP_SMALL_COUNT;
    }
    /* A clock may have been set back. */
    if (!upkeep->patient || count < UPKEEP_FANOUT || count >= UPKEEP_FANOUT_BUSY ||
        now >= lull_at || youngest > now) {
        return count >= UPKEEP_FANOUT;
    }
    upkeep->lull_at = MIN(upkeep->lull_at, lull_at);
    return false;
}

/* How many of the smallest packs to merge: all up to the highest tier that is full, where what a
 * full tier becomes counts for the next one. */
static guint choose(struct upkeep *upkeep, const GPtrArray *packs, uint64_t limit)
{
    uint64_t sum = 0;
    guint chosen = 0;
    guint next = 0;
    bool carried = false;

    for (unsigned tier = 0; tier < TIER_COUNT && next < packs->len; tier++) {
        guint first = next;
        int64_t youngest = 0;
        bool more = true;

        while (more && next < packs->len) {
            const struct upkeep_pack *found = packs->pdata[next];

            more =
                tier_of(found->size) == tier && next < PACKS_AT_ONCE && sum + found->size <= limit;
            if (more) {
                sum += found->size;
                youngest = MAX(youngest, found->mtime);
                next++;
            }
        }
        carried = is_ripe(upkeep, tier, next - first + carried, youngest);
        chosen = carried ? next : chosen;
    }
    return chosen;
}

static bool is_busy(const struct upkeep *upkeep, const char *name)
{
    for (int lane = 0; lane < UPKEEP_LANE_COUNT; lane++) {
        const struct job *job = &upkeep->jobs[lane];

        if (job->names != NULL &&
            g_ptr_array_find_with_equal_func(job->names, name, g_str_equal, NULL)) {
            return true;
        }
    }
    return false;
}

static bool may_merge(const struct upkeep *upkeep, const struct upkeep_pack *found)
{
    return !found->kept && !found->cruft && found->size <= UPKEEP_MERGE_MAX / 2 &&
           !g_hash_table_contains(upkeep->retired, found->name) &&
           !is_stamped(upkeep->unusable, found) && !is_busy(upkeep, found->name);
}

static bool has_room(const struct upkeep *upkeep, uint64_t octets)
{
    struct statvfs status;

    return statvfs(upkeep->directory, &status) < 0 ||
           (uint64_t)status.f_bavail * status.f_frsize >= octets * 2 + RESERVE;
}

static void mark_unusable(struct upkeep *upkeep, const char *name)
{
    struct stat status;

    if (stat_file(upkeep, name, ".pack", &status)) {
        set_stamp(upkeep->unusable, name, status.st_mtime, (uint64_t)status.st_size);
    }
}

static void fail(struct upkeep *upkeep, struct job *job)
{
    const char *culprit = job->copy != NULL ? pack_copy_culprit(job->copy) : NULL;

    upkeep->counts.failures++;
    if (culprit != NULL) {
        mark_unusable(upkeep, culprit);
    } else {
        upkeep->pause_until = now_seconds(upkeep) + UPKEEP_PAUSE_SECONDS;
    }
    job_end(job);
}

static void begin(struct upkeep *upkeep, struct job *job, const GPtrArray *packs, guint count,
                  bool compress)
{
    struct store_error error;

    assert(job->copy == NULL);
    job->copy = pack_copy_new(upkeep->directory, upkeep->path, upkeep->host);
    job->names = g_ptr_array_new_with_free_func(g_free);
    if (compress) {
        pack_copy_compress(job->copy);
    }
    for (guint i = 0; i < count; i++) {
        const struct upkeep_pack *found = packs->pdata[i];
        int result = pack_copy_add(job->copy, found->name, &error);

        if (result == 0) {
            g_ptr_array_add(job->names, g_strdup(found->name));
        } else if (result == STORE_CORRUPT) {
            set_stamp(upkeep->unusable, found->name, found->mtime, found->size);
        }
    }
    if (job->names->len < (compress ? 1 : 2)) {
        job_end(job);
    } else if (pack_copy_begin(job->copy, &error) < 0) {
        fail(upkeep, job);
    }
}

static uint64_t size_of(const GPtrArray *packs, guint count)
{
    uint64_t size = 0;

    for (guint i = 0; i < count; i++) {
        size += ((const struct upkeep_pack *)packs->pdata[i])->size;
    }
    return size;
}

static void begin_merge(struct upkeep *upkeep, const GPtrArray *packs, bool long_too)
{
    bool long_free = long_too && upkeep->jobs[UPKEEP_LONG].copy == NULL;
    guint count = choose(upkeep, packs, long_free ? UPKEEP_MERGE_MAX : UPKEEP_BRIEF_MAX);
    uint64_t size = size_of(packs, count);
    struct job *job = &upkeep->jobs[size <= UPKEEP_BRIEF_MAX ? UPKEEP_BRIEF : UPKEEP_LONG];

    if (count > 1 && job->copy == NULL && has_room(upkeep, size)) {
        begin(upkeep, job, packs, count, false);
    }
}

/* ---- compressing ---- */

/* Whether the zlib stream of an entry begins with a stored block. */
static bool is_stored(const uint8_t *entry, size_t length)
{
    unsigned type = entry[0] >> 4 & 7;
    size_t at = 0;

    while (at < length && (entry[at++] & 0x80) != 0) {
    }
    if (type == 7) {
        at += OBJECT_ID_SIZE;
    } else if (type == 6) {
        while (at < length && (entry[at++] & 0x80) != 0) {
        }
    }
    return at + 2 < length && (entry[at + 2] >> 1 & 3) == 0;
}

/* Looks at a few entries, spread over the pack: worth deflating if a quarter is stored. */
static bool is_worth_compressing(const struct upkeep *upkeep, const struct upkeep_pack *found)
{
    struct pack_index index;
    struct file_map pack;
    unsigned stored = 0;

    if (!pack_index_open(&index, upkeep->directory, found->name)) {
        return false;
    }
    if (!file_map_open(&pack, upkeep->directory, found->name, ".pack")) {
        pack_index_close(&index);
        return false;
    }
    for (unsigned i = 0; i < SAMPLES && index.count > 0; i++) {
        uint64_t offset =
            pack_index_offset(&index, (uint32_t)((uint64_t)index.count * i / SAMPLES));

        if (offset < pack.length && pack.length - offset > SAMPLE_MIN) {
            stored += is_stored(pack.data + offset, SAMPLE_MIN);
        }
    }
    file_map_close(&pack);
    pack_index_close(&index);
    return stored > SAMPLES / 4;
}

/* One big old pack, the biggest first. */
static void begin_compressing(struct upkeep *upkeep, const GPtrArray *packs)
{
    int64_t now = now_seconds(upkeep);
    struct job *job = &upkeep->jobs[UPKEEP_LONG];

    for (guint i = packs->len; i-- > 0 && job->copy == NULL;) {
        struct upkeep_pack *found = packs->pdata[i];
        GPtrArray *one;

        if (found->size < COMPRESS_SIZE_MIN || now - found->mtime < upkeep->compress_after ||
            is_stamped(upkeep->dense, found) || !has_room(upkeep, found->size)) {
            continue;
        }
        set_stamp(upkeep->dense, found->name, found->mtime, found->size);
        if (!is_worth_compressing(upkeep, found)) {
            continue;
        }
        one = g_ptr_array_new();
        g_ptr_array_add(one, found);
        begin(upkeep, job, one, 1, true);
        g_ptr_array_free(one, TRUE);
    }
}

/* ---- calls ---- */

static void forget_gone(GHashTable *table, const GPtrArray *packs)
{
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, table);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        bool there = false;

        for (guint i = 0; i < packs->len && !there; i++) {
            there = strcmp(((const struct upkeep_pack *)packs->pdata[i])->name, name) == 0;
        }
        if (!there) {
            g_hash_table_iter_remove(&iterator);
        }
    }
}

static void begin_due(struct upkeep *upkeep, const GPtrArray *packs, bool long_too)
{
    GPtrArray *candidates = g_ptr_array_new();

    upkeep->lull_at = INT64_MAX;
    for (guint i = 0; i < packs->len; i++) {
        if (may_merge(upkeep, packs->pdata[i])) {
            g_ptr_array_add(candidates, packs->pdata[i]);
        }
    }
    begin_merge(upkeep, candidates, long_too);
    if (long_too && upkeep->compress_after > 0 && upkeep->jobs[UPKEEP_LONG].copy == NULL &&
        upkeep->jobs[UPKEEP_BRIEF].copy == NULL) {
        begin_compressing(upkeep, candidates);
    }
    g_ptr_array_free(candidates, TRUE);
}

void upkeep_look(struct upkeep *upkeep, bool long_too)
{
    GHashTable *listed = must_stand_back(upkeep) ? NULL : listed_packs(upkeep);
    GPtrArray *packs;

    if (listed == NULL) {
        return;
    }
    packs = scan(upkeep);
    upkeep->counts.packs = packs->len;
    upkeep->in_use = size_of(packs, packs->len);
    hide_due(upkeep, packs, listed, UPKEEP_HIDE_SECONDS, false);
    unlink_due(upkeep);
    if (now_seconds(upkeep) >= upkeep->pause_until) {
        if (!renew_list(upkeep, packs, listed, false)) {
            upkeep->pause_until = now_seconds(upkeep) + UPKEEP_PAUSE_SECONDS;
        }
        begin_due(upkeep, packs, long_too);
    }
    forget_gone(upkeep->unusable, packs);
    forget_gone(upkeep->dense, packs);
    forget_gone(upkeep->durable, packs);
    g_ptr_array_free(packs, TRUE);
    g_hash_table_destroy(listed);
}

static void finish(struct upkeep *upkeep, struct job *job)
{
    const char *name = pack_copy_name(job->copy);

    upkeep->counts.merges++;
    upkeep->counts.octets += pack_copy_written(job->copy);
    g_hash_table_add(upkeep->durable, g_strdup(name));
    /* The same objects in the same order: it is one that was here, even if it was to go. */
    g_hash_table_remove(upkeep->retired, name);
    for (guint i = 0; i < job->names->len; i++) {
        if (strcmp(job->names->pdata[i], name) != 0) {
            retire(upkeep, job->names->pdata[i]);
        }
    }
    job_end(job);
}

bool upkeep_step(struct upkeep *upkeep, enum upkeep_lane lane, size_t octets)
{
    struct job *job = &upkeep->jobs[lane];
    struct store_error error;

    if (job->copy == NULL) {
        return false;
    }
    int result = pack_copy_step(job->copy, octets, &error);
    if (result < 0) {
        fail(upkeep, job);
    } else if (result == 0) {
        finish(upkeep, job);
    }
    return job->copy != NULL;
}

bool upkeep_is_merging(const struct upkeep *upkeep, enum upkeep_lane lane)
{
    return upkeep->jobs[lane].copy != NULL;
}

void upkeep_hide_all(struct upkeep *upkeep)
{
    GHashTable *listed = g_hash_table_size(upkeep->retired) > 0 && !must_stand_back(upkeep)
                             ? listed_packs(upkeep)
                             : NULL;
    if (listed != NULL) {
        GPtrArray *packs = scan(upkeep);

        hide_due(upkeep, packs, listed, 0, false);
        g_ptr_array_free(packs, TRUE);
        g_hash_table_destroy(listed);
    }
}

GPtrArray *upkeep_packs(const struct upkeep *upkeep)
{
    return scan(upkeep);
}

bool upkeep_replace(struct upkeep *upkeep, const GPtrArray *names, bool unlink_too)
{
    GHashTable *listed = listed_packs(upkeep);
    GPtrArray *packs = listed != NULL ? scan(upkeep) : NULL;

    if (listed == NULL) {
        return false;
    }
    for (guint i = 0; i < names->len; i++) {
        retire(upkeep, names->pdata[i]);
    }
    hide_due(upkeep, packs, listed, 0, unlink_too);
    for (guint i = 0; i < names->len && unlink_too; i++) {
        const struct retired *retired = g_hash_table_lookup(upkeep->retired, names->pdata[i]);

        if (retired != NULL && retired->hidden) {
            unlink_file(upkeep, names->pdata[i], ".pack");
            unlink_file(upkeep, names->pdata[i], ".mtimes");
        }
    }
    g_ptr_array_free(packs, TRUE);
    g_hash_table_destroy(listed);
    return true;
}

int64_t upkeep_due(const struct upkeep *upkeep)
{
    int64_t due =
        upkeep->lull_at == INT64_MAX ? INT64_MAX : MAX(upkeep->lull_at, upkeep->pause_until);
    int64_t grace = grace_of(upkeep);
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, upkeep->retired);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        const struct retired *retired = value;

        due = MIN(due, retired->since + (retired->hidden ? grace : UPKEEP_HIDE_SECONDS));
    }
    return due;
}
