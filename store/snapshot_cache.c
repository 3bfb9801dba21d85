#include "store/internal/snapshot_cache.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/snapshot_file.h"

static char *directory_of(const struct account *account)
{
    return g_strconcat(account->cache, "/snapshots", NULL);
}

/* A branch's name is one component of a path (FORMAT.md, "Names"). */
static char *path_of(const struct mailbox *mailbox)
{
    g_autofree char *directory = directory_of(mailbox->account);

    g_assert(g_str_has_prefix(mailbox->ref, HEADS_PREFIX));
    return g_strconcat(directory, "/", mailbox->ref + strlen(HEADS_PREFIX), NULL);
}

int snapshot_cache_load(struct snapshot **out, struct mailbox *mailbox,
                        const struct object_id *commit, struct store_error *error)
{
    g_autofree char *path = path_of(mailbox);

    return snapshot_file_load(out, path, mailbox->account->objects, commit, error);
}

static bool is_due(const struct snapshot *snapshot, const struct snapshot_file_status *status)
{
    size_t leaves = snapshot_count(snapshot) / LEAF_MESSAGES + 1;
    int64_t age = (int64_t)time(NULL) - status->time;
    int64_t due = SNAPSHOT_CACHE_SECONDS + (int64_t)(status->length / SNAPSHOT_CACHE_RATE);

    return snapshot->unsaved >= leaves / SNAPSHOT_CACHE_SHARE + 1 || age < 0 || age >= due;
}

/* What is left of a branch that is gone, or of a file half written. */
static void remove_orphans(const struct account *account, const char *directory)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        g_autofree char *ref = g_strconcat(HEADS_PREFIX, entry->d_name, NULL);
        struct store_error ignored;
        struct object_id tip;

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            (strchr(entry->d_name, '~') != NULL ||
             refs_read(account->refs, ref, &tip, &ignored) == STORE_NOT_FOUND)) {
            g_autofree char *path = g_strconcat(directory, "/", entry->d_name, NULL);

            unlink(path);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

static void save_first(const struct account *account, const char *path,
                       const struct snapshot *snapshot)
{
    g_autofree char *directory = directory_of(account);
    g_autofree char *users = g_path_get_dirname(account->cache);

    mkdir(users, 0700);
    mkdir(account->cache, 0700);
    mkdir(directory, 0700);
    remove_orphans(account, directory);
    snapshot_file_save(path, snapshot);
}

void snapshot_cache_save(const struct mailbox *mailbox)
{
    struct snapshot *snapshot = mailbox->snapshot;
    g_autofree char *path = NULL;
    struct snapshot_file_status status;

    if (snapshot == NULL || mailbox->deleted || snapshot->unsaved == 0 ||
        snapshot_count(snapshot) < SNAPSHOT_CACHE_MESSAGES) {
        return;
    }
    path = path_of(mailbox);
    if (!snapshot_file_status(&status, path)) {
        save_first(mailbox->account, path, snapshot);
        snapshot->unsaved = 0;
    } else if (object_id_equal(&status.commit, &snapshot->commit)) {
        snapshot->unsaved = 0;
    } else if (is_due(snapshot, &status)) {
        snapshot_file_save(path, snapshot);
        snapshot->unsaved = 0;
    }
}

void snapshot_cache_save_open(const struct account *account)
{
    GHashTableIter iterator;
    void *mailbox;

    g_hash_table_iter_init(&iterator, account->mailboxes);
    while (g_hash_table_iter_next(&iterator, NULL, &mailbox)) {
        snapshot_cache_save(mailbox);
    }
}
