/* Standing still for a purge. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "store/internal/account_private.h"
#include "store/internal/pack.h"
#include "store/internal/store_private.h"

int store_stand(struct store *store, const char *user, struct store_error *error)
{
    struct account *account = g_hash_table_lookup(store->accounts, user);
    int rc = store_sync(store, error);

    if (rc == 0 && store->journaling != NULL) {
        rc = journaling_wipe(store->journaling, error);
    }
    if (rc == 0 && account != NULL) {
        derived_close(account->derived);
        account->derived = NULL;
        objects_forget(account->objects);
    }
    return rc;
}

/* --- journals --- */

enum { POLL_MICROSECONDS = 5 * 1000, SECOND = 1000 * 1000 };

int store_lock_journals(const struct store *store, bool exclusive, int *out,
                        struct store_error *error)
{
    const struct host *host = store->host;
    g_autofree char *path = g_strconcat(store->journal, "/lock", NULL);
    int operation = (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
    int fd = host->open(host->data, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    int64_t waited = 0;

    if (fd < 0) {
        return host_fail(error, fd, "opening the lock of the journals");
    }
    while (flock(fd, operation) < 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited >= JOURNALS_WAIT_SECONDS * SECOND) {
            int rc = errno == EWOULDBLOCK
                         ? store_error_set(error, STORE_CONFLICT,
                                           "the journals are locked for too long: somebody starts, "
                                           "or purges messages")
                         : host_fail(error, -errno, "locking the journals");

            host->close(host->data, fd);
            return rc;
        }
        g_usleep(POLL_MICROSECONDS);
        waited += POLL_MICROSECONDS;
    }
    *out = fd;
    return 0;
}

void store_unlock_journals(const struct store *store, int lock)
{
    store->host->close(store->host->data, lock);
}

struct store_journals {
    const struct store *store;
    GPtrArray *open; /* struct journal * */
    int lock;
};

static int wipe(struct store *store, const char *path, GPtrArray *open, struct store_error *error)
{
    struct journal *journal;
    int rc = journal_open(&journal, path, 0, store->host, error);

    if (rc < 0) {
        return rc;
    }
    g_ptr_array_add(open, journal);
    rc = store_replay(store, journal, error);
    return rc == 0 ? journal_wipe(journal, error) : rc;
}

static void close_journal(void *data)
{
    journal_close(data);
}

/* Those that somebody has are passed over, and told at the end. */
static int wipe_all(struct store *store, GPtrArray *open, struct store_error *error)
{
    DIR *entries = opendir(store->journal);
    const struct dirent *entry;
    struct store_error one;
    bool others = false;
    int rc = 0;

    if (entries == NULL) {
        return host_fail(error, -errno, "opening the directory of journals");
    }
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        g_autofree char *path = g_strconcat(store->journal, "/", entry->d_name, NULL);

        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name)) {
            rc = wipe(store, path, open, &one);
        }
        if (rc < 0) {
            *error = one;
            others = others || rc == STORE_CONFLICT;
            rc = rc == STORE_CONFLICT ? 0 : rc;
        }
    }
    closedir(entries);
    return rc == 0 && others ? STORE_CONFLICT : rc;
}

int store_wipe_journals(struct store *store, struct store_journals **out, struct store_error *error)
{
    int lock;
    int rc = store_lock_journals(store, true, &lock, error);

    *out = NULL;
    if (rc < 0) {
        return rc;
    }
    *out = g_new0(struct store_journals, 1);
    (*out)->store = store;
    (*out)->lock = lock;
    (*out)->open = g_ptr_array_new_with_free_func(close_journal);
    return wipe_all(store, (*out)->open, error);
}

void store_release_journals(struct store_journals *journals)
{
    if (journals != NULL) {
        g_ptr_array_unref(journals->open);
        store_unlock_journals(journals->store, journals->lock);
        g_free(journals);
    }
}
