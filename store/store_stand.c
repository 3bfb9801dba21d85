/* Standing still for a purge. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

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

struct store_journals {
    GPtrArray *open; /* struct journal * */
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

int store_wipe_journals(struct store *store, struct store_journals **out, struct store_error *error)
{
    DIR *entries = opendir(store->journal);
    const struct dirent *entry;
    int rc = 0;

    if (entries == NULL) {
        return host_fail(error, -errno, "opening the directory of journals");
    }
    *out = g_new0(struct store_journals, 1);
    (*out)->open = g_ptr_array_new_with_free_func(close_journal);
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        g_autofree char *path = g_strconcat(store->journal, "/", entry->d_name, NULL);

        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name)) {
            rc = wipe(store, path, (*out)->open, error);
        }
    }
    closedir(entries);
    if (rc < 0) {
        store_release_journals(*out);
        *out = NULL;
    }
    return rc;
}

void store_release_journals(struct store_journals *journals)
{
    if (journals != NULL) {
        g_ptr_array_unref(journals->open);
        g_free(journals);
    }
}
