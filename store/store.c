#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "store/internal/git.h"
#include "store/internal/objects_private.h"
#include "store/internal/pack.h"
#include "store/internal/pack_merge.h"
#include "store/internal/pack_set.h"
#include "store/internal/repository.h"
#include "store/internal/snapshot_cache.h"
#include "store/internal/snapshot_file.h"
#include "store/internal/spool_private.h"
#include "store/internal/store_private.h"
#include "store/internal/text.h"
#include "store/internal/usage_table.h"
#include "store/receive.h"

enum {
    LEFTOVER_AGE = 60, /* seconds within which whoever makes a directory holds it */
    JOURNALS_MAX = 1000,
};

static const char TEMPORARY_PREFIX[] = ".tmp-";

bool store_user_name_valid(const char *user)
{
    size_t length = strlen(user);

    if (length == 0 || length > USER_NAME_MAX || *user == '.' || *user == '-' ||
        strchr(user, '/') != NULL) {
        return false;
    }
    return text_is_harmless(user, length);
}

static int make_directory(const struct host *host, const char *path, struct store_error *error)
{
    int rc = host->mkdir(host->data, path, 0700);

    return rc < 0 && rc != -EEXIST ? host_fail(error, rc, "making a directory") : 0;
}

/* The repository's own directory is what transactions lock. */
static char *held_part(const char *path)
{
    return g_strconcat(path, "/refs", NULL);
}

int store_hold(const char *directory, int *out, struct store_error *error)
{
    *out = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *out < 0 || flock(*out, LOCK_SH | LOCK_NB) < 0
               ? host_fail(error, -errno, "locking a directory that is filled")
               : 0;
}

int store_hold_temporary(const char *path, int *out, struct store_error *error)
{
    g_autofree char *part = held_part(path);

    return store_hold(part, out, error);
}

bool store_is_leftover(const char *directory, unsigned age)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    bool leftover = fd >= 0 && fstat(fd, &status) == 0 &&
                    status.st_mtime <= time(NULL) - (time_t)age &&
                    flock(fd, LOCK_EX | LOCK_NB) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return leftover;
}

/* Removes what makers left that came to a sudden end: repositories begun, perhaps without that
 * part. */
static void remove_leftovers(const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        g_autofree char *path = g_strconcat(directory, "/", entry->d_name, NULL);
        g_autofree char *part = held_part(path);

        if (g_str_has_prefix(entry->d_name, TEMPORARY_PREFIX) &&
            store_is_leftover(access(part, F_OK) == 0 ? part : path, LEFTOVER_AGE)) {
            repository_remove(path);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

int store_open(struct store **out, const char *directory, const struct host *host,
               struct store_error *error)
{
    struct store *store = g_new0(struct store, 1);
    int rc = make_directory(host, directory, error);

    store->host = host;
    store->mail = g_strconcat(directory, "/mail", NULL);
    store->cache = g_strconcat(directory, "/cache", NULL);
    store->journal = g_strconcat(directory, "/journal", NULL);
    store->accounts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    store->usage = usage_table_new();
    store->changed = g_ptr_array_new();
    store->unmapped = g_ptr_array_new_with_free_func((GDestroyNotify)snapshot_map_unref);
    if (rc == 0) {
        rc = make_directory(host, store->mail, error);
    }
    if (rc == 0) {
        rc = make_directory(host, store->cache, error);
    }
    if (rc == 0) {
        rc = make_directory(host, store->journal, error);
    }
    if (rc == 0) {
        rc = host->fsync_directory(host->data, directory);
        rc = rc < 0 ? host_fail(error, rc, "the data directory") : 0;
    }
    if (rc == 0) {
        rc = store_recover(store, error);
    }
    if (rc < 0) {
        store_close(store);
        return rc;
    }
    remove_leftovers(store->mail);
    *out = store;
    return 0;
}

void store_close(struct store *store)
{
    struct store_error ignored;

    if (store == NULL) {
        return;
    }
    store_sync(store, &ignored);
    journaling_free(g_steal_pointer(&store->journaling));
    while (store->changed->len > 0) {
        account_unref(g_ptr_array_steal_index(store->changed, store->changed->len - 1));
    }
    g_assert(g_hash_table_size(store->accounts) == 0);
    g_ptr_array_unref(store->changed);
    g_ptr_array_unref(store->unmapped);
    g_hash_table_unref(store->accounts);
    g_hash_table_unref(store->usage);
    g_free(store->mail);
    g_free(store->cache);
    g_free(store->journal);
    g_free(store->program);
    g_free(store);
}

char *store_repository_path(const struct store *store, const char *user)
{
    return g_strconcat(store->mail, "/", user, ".git", NULL);
}

int store_open_account(struct store *store, const char *user, struct account **out,
                       struct store_error *error)
{
    g_autofree char *path = NULL;
    g_autofree char *cache = NULL;
    struct account *account;
    struct stat status;
    int rc;

    if (!store_user_name_valid(user)) {
        return store_error_set(error, STORE_NOT_FOUND, "no user can have this name");
    }
    account = g_hash_table_lookup(store->accounts, user);
    if (account != NULL) {
        *out = account_ref(account);
        return 0;
    }
    path = store_repository_path(store, user);
    cache = g_strconcat(store->cache, "/", user, NULL);
    if (stat(path, &status) < 0) {
        return errno == ENOENT ? store_error_set(error, STORE_NOT_FOUND, "%s has no mail", user)
                               : host_fail(error, -errno, "opening a repository");
    }
    rc = account_open(&account, store, store->host, user, path, cache, error);
    if (rc == STORE_NOT_FOUND) {
        return store_error_set(error, STORE_CORRUPT, "no repository in %s", path);
    }
    if (rc < 0) {
        return rc;
    }
    /* What can't be written now may be the next time: the repository is safe without, too. */
    if (store->program != NULL) {
        struct store_error ignored;

        receive_install(path, store->program, store->host, &ignored);
    }
    objects_set_maintenance(account->objects, store->maintenance);
    store_share_budget(store, account);
    g_hash_table_insert(store->accounts, g_strdup(user), account);
    *out = account;
    return 0;
}

void store_set_program(struct store *store, const char *program)
{
    g_free(store->program);
    store->program = g_strdup(program);
}

void store_forget_account(struct store *store, struct account *account)
{
    if (g_hash_table_lookup(store->accounts, account->user) == account) {
        g_hash_table_remove(store->accounts, account->user);
    }
}

void store_mark_changed(struct store *store, struct account *account)
{
    if (!g_ptr_array_find(store->changed, account, NULL)) {
        g_ptr_array_add(store->changed, account_ref(account));
    }
}

int store_sync_references(struct store *store, struct store_error *error)
{
    while (store->changed->len > 0) {
        struct account *account = g_ptr_array_index(store->changed, store->changed->len - 1);
        int rc = refs_sync(account->refs, error);

        if (rc < 0) {
            return rc;
        }
        g_ptr_array_set_size(store->changed, (gint)store->changed->len - 1);
        account_unref(account);
    }
    return 0;
}

int store_sync(struct store *store, struct store_error *error)
{
    int rc = store_sync_references(store, error);

    return rc == 0 && store->journaling != NULL ? journaling_sync(store->journaling, error) : rc;
}

bool store_is_sync_due(const struct store *store)
{
    return store->changed->len > 0 ||
           (store->journaling != NULL && journaling_is_sync_due(store->journaling));
}

/* The first that nobody has; replayed. */
static int take_journal(struct journal **out, struct store *store, uint64_t size,
                        struct store_error *error)
{
    struct journal *journal = NULL;
    int rc = STORE_CONFLICT;

    for (unsigned number = 0; rc == STORE_CONFLICT && number < JOURNALS_MAX; number++) {
        g_autofree char *path = g_strdup_printf("%s/%u", store->journal, number);

        rc = journal_open(&journal, path, size, store->host, error);
    }
    if (rc == 0) {
        rc = store_replay(store, journal, error);
        if (rc < 0) {
            journal_close(journal);
        }
    }
    *out = journal;
    return rc;
}

int store_open_journal(struct store *store, const struct store_journal *settings,
                       struct store_error *error)
{
    uint64_t size = settings->size != 0 ? settings->size : JOURNAL_SIZE_DEFAULT;
    struct journal *journal = NULL;
    int lock;
    int rc = store_lock_journals(store, false, &lock, error);

    g_assert(store->journaling == NULL && g_hash_table_size(store->accounts) == 0);
    /* It reads certificates, for some milliseconds: not while the first client waits. */
    libgit2_start();
    if (rc == 0) {
        rc = take_journal(&journal, store, size, error);
        store_unlock_journals(store, lock);
    }
    return rc < 0 ? rc : journaling_new(&store->journaling, store, journal, settings, error);
}

int64_t store_work(struct store *store, bool idle)
{
    snapshot_cache_settle(store);
    return store->journaling != NULL ? journaling_work(store->journaling, idle) : INT64_MAX;
}

const struct store_error *store_trouble(const struct store *store)
{
    return store->journaling != NULL ? journaling_trouble(store->journaling) : NULL;
}

void store_figures(const struct store *store, struct store_figures *out)
{
    *out = (struct store_figures){.accounts = g_hash_table_size(store->accounts)};
    if (store->journaling != NULL) {
        journaling_figures(store->journaling, out);
    }
}

uint64_t store_written(const struct store *store)
{
    return store->journaling != NULL ? journaling_written(store->journaling) : 0;
}

void store_turn(struct store *store, bool moved)
{
    int64_t now = g_get_monotonic_time();

    if (moved || now - store->turn_begun >= STORE_TURN_MIN) {
        store->turn++;
        store->turn_begun = now;
    }
}

unsigned store_packs(const struct store *store)
{
    GHashTableIter iterator;
    void *account;
    unsigned packs = 0;

    g_hash_table_iter_init(&iterator, store->accounts);
    while (g_hash_table_iter_next(&iterator, NULL, &account)) {
        packs += pack_set_count(((const struct account *)account)->objects->packs);
    }
    return packs;
}

int store_settle(struct store *store, const char *user, struct store_error *error)
{
    struct account *account = g_hash_table_lookup(store->accounts, user);

    return account != NULL ? journaling_materialize(store, account, error) : 0;
}

int store_flush(struct store *store, struct store_error *error)
{
    int rc = store_sync(store, error);

    return rc == 0 && store->journaling != NULL ? journaling_checkpoint(store->journaling, error)
                                                : rc;
}

void store_set_wake(struct store *store, void (*wake)(void *data), void *data)
{
    struct spooler *spooler = journaling_spooler(store);

    if (spooler != NULL) {
        spooler->wake = wake;
        spooler->wake_data = data;
    }
}

void store_set_maintenance(struct store *store, struct maintenance *maintenance)
{
    store->maintenance = maintenance;
}

void store_set_cache_budget(struct store *store, struct cache_budget *budget)
{
    store->budget = budget;
}

void store_maintain(struct store *store)
{
    GHashTableIter iterator;
    void *account;

    store_trim_caches(store);
    g_hash_table_iter_init(&iterator, store->accounts);
    while (g_hash_table_iter_next(&iterator, NULL, &account)) {
        account_rest(account);
        objects_maintain(((struct account *)account)->objects);
        snapshot_cache_save_open(account);
        past_keep_up(account);
        derived_rest(((struct account *)account)->derived);
    }
}

/* --- creating an account --- */

char *store_temporary_path(const struct store *store, struct store_error *error)
{
    uint64_t number;
    int rc = store->host->random(store->host->data, &number, sizeof(number));

    if (rc < 0) {
        host_fail(error, rc, "random octets");
        return NULL;
    }
    return g_strdup_printf("%s/%s%016" G_GINT64_MODIFIER "x", store->mail, TEMPORARY_PREFIX,
                           number);
}

/* Fills the repository with its first mailboxes. */
static int fill(struct store *store, const char *user, const char *path,
                const struct origin *origin, struct store_error *error)
{
    struct account *account;
    int rc = account_open(&account, store, store->host, user, path, store->cache, error);

    if (rc < 0) {
        return rc;
    }
    rc = account_initialize(account, origin, error);
    if (rc == 0) {
        rc = refs_sync(account->refs, error);
    }
    if (g_ptr_array_remove(store->changed, account)) {
        account_unref(account);
    }
    account_unref(account);
    return rc;
}

int store_put_in_place(const struct store *store, const char *from, const char *to,
                       struct store_error *error)
{
    const struct host *host = store->host;
    int rc = host->rename(host->data, from, to);

    if (rc == -ENOTEMPTY || rc == -EEXIST || rc == -ENOTDIR) {
        return store_error_set(error, STORE_EXISTS, "the account exists");
    }
    if (rc == 0) {
        rc = host->fsync_directory(host->data, store->mail);
    }
    return rc < 0 ? host_fail(error, rc, "creating an account") : 0;
}

int store_create_account(struct store *store, const char *user, const struct origin *origin,
                         struct store_error *error)
{
    g_autofree char *path = NULL;
    g_autofree char *temporary = NULL;
    struct stat status;
    int lock = -1;
    int rc;

    if (!store_user_name_valid(user)) {
        return store_error_set(error, STORE_BAD_NAME, "not a user name");
    }
    path = store_repository_path(store, user);
    if (lstat(path, &status) == 0) {
        return store_error_set(error, STORE_EXISTS, "the account exists");
    }
    temporary = store_temporary_path(store, error);
    if (temporary == NULL) {
        return error->code;
    }
    rc = repository_make(temporary, store->host, error);
    if (rc == 0) {
        rc = store_hold_temporary(temporary, &lock, error);
    }
    if (rc == 0) {
        rc = fill(store, user, temporary, origin, error);
    }
    if (rc == 0 && store->program != NULL) {
        rc = receive_install(temporary, store->program, store->host, error);
    }
    if (rc == 0) {
        rc = store_put_in_place(store, temporary, path, error);
    }
    if (rc < 0) {
        repository_remove(temporary);
    }
    if (lock >= 0) {
        close(lock);
    }
    return rc;
}
