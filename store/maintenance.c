#include "store/maintenance.h"

#include <dirent.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "store/collect.h"
#include "store/internal/gentle_host.h"
#include "store/internal/refs_pack.h"
#include "store/internal/upkeep.h"
#include "store/retention.h"
#include "store/signing.h"

enum {
    SLICE = 1024 * 1024,  /* octets of a merge between two looks at the time */
    FORGET_SECONDS = 120, /* repositories that nobody asked for and where nothing is to do */
    NICE = 10,
    IOPRIO_LOWEST = 2 << 13 | 7, /* ioprio_set(2): best effort, the last of its levels */
    MICROSECONDS = 1000000,
};

/* A repository that is looked after; belongs to the thread. */
struct charge {
    char *path;
    struct upkeep *upkeep;
    bool asked;
    int64_t asked_at;   /* seconds */
    int64_t refs_after; /* seconds: not before */
    struct upkeep_counts before;
};

struct maintenance {
    struct maintenance_settings settings;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex: */
    GHashTable *asked; /* char *path */
    bool stop;
    struct maintenance_counts counts;
    /* The thread's: */
    struct gentle_host host;
    GHashTable *charges; /* char *path -> struct charge */
    int64_t worked;      /* microseconds of processor time when it last paused */
    int64_t paused_at;   /* microseconds, monotonic */
    uint64_t written;    /* octets then */
    GPtrArray *retain;   /* char *: repositories whose history is still to be looked at */
    int64_t retain_at;   /* seconds: when all of them are again */
    GPtrArray *sign;     /* the same for checkpoints */
    int64_t sign_at;
    unsigned failing; /* accounts that could not be signed in this look */
    char *failed;     /* the last of them; NULL: none */
    struct store_error failure;
};

static int64_t clock_microseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * MICROSECONDS + now.tv_nsec / 1000;
}

static int64_t now_seconds(const struct maintenance *maintenance)
{
    const struct host *host = maintenance->settings.host;

    return host->now(host->data) / MICROSECONDS;
}

/* ---- waiting ---- */

/* Sleeps until the monotonic time, or until it is to stop; with asked, also until somebody asks for
 * something. False: stop. */
static bool sleep_until(struct maintenance *maintenance, int64_t until, bool asked)
{
    struct timespec time = {.tv_sec = until / MICROSECONDS, .tv_nsec = until % MICROSECONDS * 1000};
    int result = 0;

    pthread_mutex_lock(&maintenance->mutex);
    while (!maintenance->stop && result == 0 &&
           !(asked && g_hash_table_size(maintenance->asked) > 0)) {
        result = pthread_cond_timedwait(&maintenance->changed, &maintenance->mutex, &time);
    }
    bool go_on = !maintenance->stop;
    pthread_mutex_unlock(&maintenance->mutex);
    return go_on;
}

/* After a piece of work: rests for as long as its cost demands. False: stop. */
static bool pace(struct maintenance *maintenance, int64_t share)
{
    int64_t worked = clock_microseconds(CLOCK_THREAD_CPUTIME_ID);
    uint64_t written = maintenance->host.written;
    int64_t for_work = (worked - maintenance->worked) * 100 / share;
    int64_t for_disk =
        (int64_t)((written - maintenance->written) * MICROSECONDS / MAINTENANCE_RATE);
    int64_t until = maintenance->paused_at + MAX(for_work, for_disk);
    bool go_on = sleep_until(maintenance, until, false);

    pthread_mutex_lock(&maintenance->mutex);
    maintenance->counts.microseconds += (uint64_t)(worked - maintenance->worked);
    pthread_mutex_unlock(&maintenance->mutex);
    maintenance->worked = worked;
    maintenance->written = written;
    maintenance->paused_at = clock_microseconds(CLOCK_MONOTONIC);
    return go_on;
}

static int64_t share_of(const struct charge *charge)
{
    return upkeep_counts(charge->upkeep).packs > MAINTENANCE_PACKS_PRESSED
               ? MAINTENANCE_CPU_PERCENT_PRESSED
               : MAINTENANCE_CPU_PERCENT;
}

/* ---- work ---- */

static void charge_free(void *data)
{
    struct charge *charge = data;

    upkeep_free(charge->upkeep);
    g_free(charge->path);
    g_free(charge);
}

static void take_asked(struct maintenance *maintenance)
{
    int64_t now = now_seconds(maintenance);
    GHashTableIter iterator;
    void *path;

    pthread_mutex_lock(&maintenance->mutex);
    g_hash_table_iter_init(&iterator, maintenance->asked);
    while (g_hash_table_iter_next(&iterator, &path, NULL)) {
        struct charge *charge = g_hash_table_lookup(maintenance->charges, path);

        if (charge == NULL) {
            charge = g_new0(struct charge, 1);
            charge->path = g_strdup(path);
            charge->upkeep = upkeep_new(path, &maintenance->host.host);
            upkeep_be_patient(charge->upkeep);
            upkeep_compress_after(charge->upkeep, maintenance->settings.compress_after);
            g_hash_table_insert(maintenance->charges, charge->path, charge);
        }
        charge->asked = true;
        charge->asked_at = now;
    }
    g_hash_table_remove_all(maintenance->asked);
    pthread_mutex_unlock(&maintenance->mutex);
}

static void tell_counts(struct maintenance *maintenance, struct charge *charge, uint64_t references)
{
    struct upkeep_counts counts = upkeep_counts(charge->upkeep);

    pthread_mutex_lock(&maintenance->mutex);
    maintenance->counts.merges += counts.merges - charge->before.merges;
    maintenance->counts.octets += counts.octets - charge->before.octets;
    maintenance->counts.indexes += counts.indexes - charge->before.indexes;
    maintenance->counts.failures += counts.failures - charge->before.failures;
    maintenance->counts.references += references;
    pthread_mutex_unlock(&maintenance->mutex);
    charge->before = counts;
}

static uint64_t pack_references(struct maintenance *maintenance, struct charge *charge)
{
    int64_t now = now_seconds(maintenance);
    struct store_error error;
    size_t packed = 0;

    if (now < charge->refs_after) {
        return 0;
    }
    charge->refs_after = now + MAINTENANCE_REFS_SECONDS;
    /* What fails now is tried again the next time; nobody waits for it. */
    refs_pack(charge->path, &maintenance->host.host, REFS_PACK_MIN, REFS_PACK_AGE_SECONDS, &packed,
              &error);
    return packed;
}

static bool any_long(const struct maintenance *maintenance)
{
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        if (upkeep_is_merging(((struct charge *)value)->upkeep, UPKEEP_LONG)) {
            return true;
        }
    }
    return false;
}

/* Looks after a repository and completes its brief merge. False: stop. */
static bool attend(struct maintenance *maintenance, struct charge *charge)
{
    bool more = true;
    bool go_on = true;

    charge->asked = false;
    upkeep_look(charge->upkeep, !any_long(maintenance));
    uint64_t references = pack_references(maintenance, charge);
    while (more && go_on) {
        more = upkeep_step(charge->upkeep, UPKEEP_BRIEF, SLICE);
        go_on = pace(maintenance, share_of(charge));
    }
    tell_counts(maintenance, charge, references);
    return go_on;
}

static bool is_due(const struct maintenance *maintenance, const struct charge *charge)
{
    return charge->asked || upkeep_due(charge->upkeep) <= now_seconds(maintenance);
}

/* One round over all repositories. False: stop. */
static bool go_round(struct maintenance *maintenance)
{
    GHashTableIter iterator;
    void *value;
    bool go_on = true;

    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (go_on && g_hash_table_iter_next(&iterator, NULL, &value)) {
        struct charge *charge = value;

        if (is_due(maintenance, charge)) {
            go_on = attend(maintenance, charge);
        } else if (upkeep_due(charge->upkeep) == INT64_MAX &&
                   !upkeep_is_merging(charge->upkeep, UPKEEP_LONG) &&
                   now_seconds(maintenance) - charge->asked_at > FORGET_SECONDS) {
            g_hash_table_iter_remove(&iterator);
        }
    }
    return go_on;
}

static void ask_all(struct maintenance *maintenance)
{
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        ((struct charge *)value)->asked = true;
    }
}

/* A slice of the long merge, if there is one under way. False: stop. */
static bool go_on_long(struct maintenance *maintenance)
{
    GHashTableIter iterator;
    void *value;
    bool go_on = true;

    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (go_on && g_hash_table_iter_next(&iterator, NULL, &value)) {
        struct charge *charge = value;

        if (!upkeep_is_merging(charge->upkeep, UPKEEP_LONG)) {
            continue;
        }
        /* What came meanwhile, or what this leaves behind, may make the next one due; and others
         * may have waited for their turn. */
        if (!upkeep_step(charge->upkeep, UPKEEP_LONG, SLICE)) {
            ask_all(maintenance);
        }
        tell_counts(maintenance, charge, 0);
        go_on = pace(maintenance, share_of(charge));
    }
    return go_on;
}

/* ---- the past ---- */

static void list_repositories(const struct maintenance *maintenance, GPtrArray *out)
{
    DIR *handle = opendir(maintenance->settings.mail);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        if (entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, ".git")) {
            g_ptr_array_add(out,
                            g_strdup_printf("%s/%s", maintenance->settings.mail, entry->d_name));
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

/* A collection takes long: the others are looked after meanwhile. */
static bool attend_others(void *data)
{
    struct maintenance *maintenance = data;

    take_asked(maintenance);
    return go_round(maintenance) && pace(maintenance, MAINTENANCE_CPU_PERCENT);
}

/* What fails here (somebody else is at it) is tried again the next day. */
static void retain(struct maintenance *maintenance, const char *path)
{
    struct observer observer = {.go_on = attend_others, .data = maintenance};
    struct collect_settings settings = {.settle_seconds = COLLECT_SETTLE_SECONDS,
                                        .observer = &observer};
    struct retention_result cut;
    struct collect_result collected;
    struct store_error error;
    const struct host *host = &maintenance->host.host;
    bool good =
        retention_cut(path, host, maintenance->settings.retention, &cut, &error) == 0 && !cut.held;
    bool due = good && cut.waiting <= now_seconds(maintenance) - RETENTION_DROP_SECONDS;
    bool dropped = due && collect_repository(path, host, &settings, &collected, &error) == 0;

    pthread_mutex_lock(&maintenance->mutex);
    maintenance->counts.cuts += good && cut.cuts + cut.deleted > 0;
    maintenance->counts.drops += dropped;
    pthread_mutex_unlock(&maintenance->mutex);
}

/* One repository's past. False: stop. */
static bool retain_next(struct maintenance *maintenance)
{
    if (maintenance->settings.retention == NULL) {
        return true;
    }
    if (maintenance->retain->len == 0 && now_seconds(maintenance) >= maintenance->retain_at) {
        maintenance->retain_at = now_seconds(maintenance) + MAINTENANCE_RETAIN_EVERY;
        list_repositories(maintenance, maintenance->retain);
    }
    if (maintenance->retain->len == 0) {
        return true;
    }
    g_autofree char *path =
        g_ptr_array_steal_index_fast(maintenance->retain, maintenance->retain->len - 1);
    retain(maintenance, path);
    return pace(maintenance, MAINTENANCE_CPU_PERCENT);
}

static void sign(struct maintenance *maintenance, const char *path)
{
    const struct maintenance_settings *settings = &maintenance->settings;
    g_autofree char *user = g_path_get_basename(path);
    struct store_error error;
    bool made = false;

    user[strlen(user) - strlen(".git")] = '\0';
    int rc =
        checkpoint_make(path, settings->host, settings->signing_key, user, settings->sign_every,
                        settings->retention != NULL ? retention_policy_longest(settings->retention)
                                                    : RETENTION_FOREVER,
                        &made, &error);
    /* An account that was removed meanwhile needs none. */
    if (rc < 0 && access(path, F_OK) == 0) {
        maintenance->failing++;
        maintenance->failure = error;
        g_free(maintenance->failed);
        maintenance->failed = g_steal_pointer(&user);
    }
    pthread_mutex_lock(&maintenance->mutex);
    maintenance->counts.checkpoints += made;
    pthread_mutex_unlock(&maintenance->mutex);
}

/* All have been looked at. */
static void end_signing(struct maintenance *maintenance)
{
    const struct maintenance_settings *settings = &maintenance->settings;

    if (maintenance->failing > 0) {
        maintenance->sign_at =
            MIN(maintenance->sign_at, now_seconds(maintenance) + MAINTENANCE_SIGN_AGAIN);
    }
    if (maintenance->failing > 0 && settings->unsigned_accounts != NULL) {
        settings->unsigned_accounts(maintenance->failing, maintenance->failed,
                                    &maintenance->failure, settings->data);
    }
    pthread_mutex_lock(&maintenance->mutex);
    maintenance->counts.signing_failures += maintenance->failing;
    maintenance->counts.failing = maintenance->failing;
    pthread_mutex_unlock(&maintenance->mutex);
}

/* One repository's checkpoint. False: stop. */
static bool sign_next(struct maintenance *maintenance)
{
    const struct maintenance_settings *settings = &maintenance->settings;

    if (settings->signing_key == NULL) {
        return true;
    }
    if (maintenance->sign->len == 0 && now_seconds(maintenance) >= maintenance->sign_at) {
        maintenance->sign_at =
            now_seconds(maintenance) + MIN(settings->sign_every, MAINTENANCE_SIGN_EVERY);
        maintenance->failing = 0;
        list_repositories(maintenance, maintenance->sign);
    }
    if (maintenance->sign->len == 0) {
        return true;
    }
    g_autofree char *path =
        g_ptr_array_steal_index_fast(maintenance->sign, maintenance->sign->len - 1);
    sign(maintenance, path);
    if (maintenance->sign->len == 0) {
        end_signing(maintenance);
    }
    return pace(maintenance, MAINTENANCE_CPU_PERCENT);
}

/* Monotonic microseconds until when there is nothing to do. */
static int64_t next_due(const struct maintenance *maintenance)
{
    int64_t left = FORGET_SECONDS;
    int64_t now = now_seconds(maintenance);
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        const struct charge *charge = value;
        int64_t due = charge->asked ? now : upkeep_due(charge->upkeep);

        left = due == INT64_MAX ? left : MIN(left, due - now);
    }
    if (maintenance->settings.retention != NULL) {
        left = MIN(left, maintenance->retain_at - now);
    }
    if (maintenance->settings.signing_key != NULL) {
        left = MIN(left, maintenance->sign_at - now);
    }
    /* What is due and could not be done (a `git gc` is running) is tried once a second. */
    left = MAX(left, 1) * MICROSECONDS;
    return any_long(maintenance) || maintenance->retain->len > 0 || maintenance->sign->len > 0
               ? 0
               : clock_microseconds(CLOCK_MONOTONIC) + left;
}

static void *run(void *data)
{
    struct maintenance *maintenance = data;
    GHashTableIter iterator;
    void *value;
    bool go_on = true;

    /* Both are a courtesy to others: without them it is merely less polite. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    syscall(SYS_ioprio_set, 1, 0, IOPRIO_LOWEST);
    maintenance->paused_at = clock_microseconds(CLOCK_MONOTONIC);
    while (go_on) {
        take_asked(maintenance);
        go_on = go_round(maintenance) && go_on_long(maintenance) && retain_next(maintenance) &&
                sign_next(maintenance) && sleep_until(maintenance, next_due(maintenance), true);
    }
    g_hash_table_iter_init(&iterator, maintenance->charges);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        upkeep_hide_all(((struct charge *)value)->upkeep);
    }
    return NULL;
}

/* ---- calls ---- */

static void release(struct maintenance *maintenance)
{
    g_hash_table_destroy(maintenance->charges);
    g_hash_table_destroy(maintenance->asked);
    g_ptr_array_unref(maintenance->retain);
    g_ptr_array_unref(maintenance->sign);
    g_free(maintenance->failed);
    pthread_cond_destroy(&maintenance->changed);
    pthread_mutex_destroy(&maintenance->mutex);
    g_free(maintenance);
}

struct maintenance *maintenance_new(const struct maintenance_settings *settings)
{
    struct maintenance *maintenance = g_new0(struct maintenance, 1);
    pthread_condattr_t attributes;

    maintenance->settings = *settings;
    maintenance->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    maintenance->charges = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, charge_free);
    maintenance->retain = g_ptr_array_new_with_free_func(g_free);
    gentle_host_init(&maintenance->host, settings->host);
    maintenance->retain_at = now_seconds(maintenance) + settings->retain_after;
    maintenance->sign = g_ptr_array_new_with_free_func(g_free);
    pthread_mutex_init(&maintenance->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&maintenance->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&maintenance->thread, NULL, run, maintenance) != 0) {
        release(maintenance);
        return NULL;
    }
    return maintenance;
}

void maintenance_free(struct maintenance *maintenance)
{
    if (maintenance == NULL) {
        return;
    }
    pthread_mutex_lock(&maintenance->mutex);
    maintenance->stop = true;
    pthread_cond_signal(&maintenance->changed);
    pthread_mutex_unlock(&maintenance->mutex);
    pthread_join(maintenance->thread, NULL);
    release(maintenance);
}

void maintenance_request(struct maintenance *maintenance, const char *path)
{
    pthread_mutex_lock(&maintenance->mutex);
    if (g_hash_table_add(maintenance->asked, g_strdup(path))) {
        pthread_cond_signal(&maintenance->changed);
    }
    pthread_mutex_unlock(&maintenance->mutex);
}

struct maintenance_counts maintenance_counts(struct maintenance *maintenance)
{
    pthread_mutex_lock(&maintenance->mutex);
    struct maintenance_counts counts = maintenance->counts;
    pthread_mutex_unlock(&maintenance->mutex);
    return counts;
}
