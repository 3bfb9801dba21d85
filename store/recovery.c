/* Replaying a journal: the same objects become the same packs again, so that whatever a crash left
 * of them is replaced by the whole; then each branch that still stands somewhere on its way is
 * moved to the way's end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/journal_versions.h"
#include "store/internal/object_versions.h"
#include "store/internal/pack.h"
#include "store/internal/store_private.h"

enum { ANCESTORS_MAX = 100 * 1000 }; /* commits looked at for one that is known */

/* One branch's way. */
struct way {
    GHashTable *stops; /* set of struct object_id: where it was and was to be */
    struct object_id start;
    struct object_id end;
};

struct replayed {
    struct store *store;
    char *user;
    struct account *account; /* NULL: the account is gone */
    struct object_batch *batch;
    struct journal_versions *versions;
    GPtrArray *batches; /* struct object_batch *, each a pack */
    GHashTable *ways;   /* char *ref -> struct way * */
};

struct replay {
    struct store *store;
    GHashTable *accounts; /* char *user -> struct replayed * */
};

static void way_free(void *data)
{
    struct way *way = data;

    g_hash_table_unref(way->stops);
    g_free(way);
}

static void batch_free(void *data)
{
    object_batch_free(data);
}

static void replayed_free(void *data)
{
    struct replayed *replayed = data;

    object_batch_free(replayed->batch);
    journal_versions_free(replayed->versions);
    g_ptr_array_unref(replayed->batches);
    g_hash_table_unref(replayed->ways);
    account_unref(replayed->account);
    g_free(replayed->user);
    g_free(replayed);
}

/* --- records --- */

static int find_account(struct replay *replay, const char *user, struct replayed **out,
                        struct store_error *error)
{
    *out = g_hash_table_lookup(replay->accounts, user);
    if (*out != NULL) {
        return 0;
    }
    struct account *account = NULL;
    int rc = store_open_account(replay->store, user, &account, error);

    /* An account that was removed takes with it what was on its way there. */
    if (rc < 0 && rc != STORE_NOT_FOUND) {
        return rc;
    }
    struct replayed *replayed = g_new0(struct replayed, 1);
    replayed->store = replay->store;
    replayed->user = g_strdup(user);
    replayed->account = account;
    replayed->versions = journal_versions_new();
    replayed->batches = g_ptr_array_new_with_free_func(batch_free);
    replayed->ways = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, way_free);
    g_hash_table_insert(replay->accounts, replayed->user, replayed);
    *out = replayed;
    return 0;
}

static int write_batch(struct replayed *replayed, struct store_error *error)
{
    if (replayed->batch == NULL) {
        return 0;
    }
    int rc = object_batch_write(replayed->batch, false, error);
    if (rc == 0) {
        g_ptr_array_add(replayed->batches, g_steal_pointer(&replayed->batch));
    }
    return rc;
}

/* The content of an object that is a delta. */
static int apply_delta(const struct replayed *replayed, const struct record_object *object,
                       GByteArray *out, struct store_error *error)
{
    const struct pending *base = journal_versions_find(replayed->versions, &object->base);
    uint64_t base_length;
    uint64_t length;
    size_t used;

    if (base == NULL || base->type != object->type ||
        !delta_sizes(object->data, object->length, &base_length, &length, &used) ||
        base_length != base->length || length > DELTA_INPUT_MAX) {
        return store_error_set(error, STORE_CORRUPT, "a journal's delta has no base");
    }
    g_byte_array_set_size(out, (guint)length);
    if (!delta_apply(base->data, base->length, object->data, object->length, out->data,
                     (size_t)length)) {
        return store_error_set(error, STORE_CORRUPT, "a journal's delta is malformed");
    }
    return 0;
}

static int add_object(struct replayed *replayed, const struct record_object *object,
                      struct store_error *error)
{
    g_autoptr(GByteArray) whole = g_byte_array_new();
    struct pending version = {.type = object->type, .data = object->data, .length = object->length};
    int rc = 0;

    if (object->is_delta) {
        rc = apply_delta(replayed, object, whole, error);
        version.data = whole->data;
        version.length = whole->len;
    }
    if (rc == 0) {
        rc = object_batch_add(replayed->batch, version.type, version.data, version.length,
                              &version.id, error);
    }
    if (rc == 0 && object_has_versions(&version)) {
        version.owned = g_bytes_new(version.data, version.length);
        version.data = g_bytes_get_data(version.owned, NULL);
        journal_versions_note(replayed->versions, &version, 0);
        g_bytes_unref(version.owned);
    }
    return rc;
}

static int add_objects(struct replayed *replayed, const struct record *record,
                       struct store_error *error)
{
    int rc = 0;

    if (replayed->batch == NULL) {
        rc = object_batch_new(&replayed->batch, replayed->account->objects, error);
        if (rc < 0) {
            return rc;
        }
        object_batch_repeat(replayed->batch);
    }
    for (guint i = 0; i < record->objects->len && rc == 0; i++) {
        rc = add_object(replayed, &g_array_index(record->objects, struct record_object, i), error);
    }
    return rc;
}

static void add_update(struct replayed *replayed, const struct ref_update *update)
{
    struct way *way = g_hash_table_lookup(replayed->ways, update->name);

    if (way == NULL) {
        way = g_new0(struct way, 1);
        way->stops = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
        way->start = update->before;
        g_hash_table_insert(replayed->ways, g_strdup(update->name), way);
    }
    g_hash_table_add(way->stops, g_memdup2(&update->before, sizeof(update->before)));
    g_hash_table_add(way->stops, g_memdup2(&update->after, sizeof(update->after)));
    way->end = update->after;
}

static int take_record(struct replayed *replayed, const struct record *record,
                       struct store_error *error)
{
    int rc = 0;

    if (replayed->account == NULL) {
        return 0;
    }
    switch (record->kind) {
    case RECORD_CHANGE:
        rc = add_objects(replayed, record, error);
        for (guint i = 0; i < record->updates->len && rc == 0; i++) {
            add_update(replayed, &g_array_index(record->updates, struct ref_update, i));
        }
        break;
    case RECORD_PACKED:
        rc = write_batch(replayed, error);
        break;
    case RECORD_DONE:
        rc = write_batch(replayed, error);
        g_hash_table_remove_all(replayed->ways);
        break;
    }
    return rc;
}

static int visit(void *data, const void *bytes, size_t length, struct store_error *error)
{
    struct replayed *replayed;
    struct record record;
    int rc = record_decode(&record, bytes, length, error);

    if (rc < 0) {
        return rc;
    }
    rc = find_account(data, record.user, &replayed, error);
    if (rc == 0) {
        rc = take_record(replayed, &record, error);
    }
    record_release(&record);
    return rc;
}

/* --- branches --- */

/* The first parent of a commit; zero when there is none, or it can't be read. */
static struct object_id parent_of(struct objects *objects, const struct object_id *id)
{
    struct commit commit = {.time = 0};
    struct object_data data;
    struct store_error ignored;

    if (objects_read(objects, id, OBJECT_COMMIT, &data, &ignored) < 0) {
        return commit.parent;
    }
    if (commit_decode(&commit, data.data, data.length, &ignored) < 0) {
        memset(&commit.parent, 0, sizeof(commit.parent));
    }
    object_data_release(&data);
    return commit.parent;
}

/* The last stop that a commit comes after: from there somebody else went on. */
static struct object_id last_stop(struct objects *objects, const struct way *way,
                                  const struct object_id *commit)
{
    struct object_id at = *commit;

    for (unsigned i = 0; i < ANCESTORS_MAX && !object_id_is_zero(&at); i++) {
        if (g_hash_table_contains(way->stops, &at)) {
            return at;
        }
        at = parent_of(objects, &at);
    }
    return way->start;
}

static int go_to_end(struct account *account, const char *name, const struct way *way,
                     struct store_error *error)
{
    struct object_id now;
    int rc = refs_read(account->refs, name, &now, error);

    /* The file's content was lost, and only we can have written it without making it durable.
     * What packed-refs has is older. */
    if (rc == STORE_CORRUPT) {
        return refs_mend(account->refs, name, &way->end, error);
    }
    if (rc < 0 && rc != STORE_NOT_FOUND) {
        return rc;
    }
    if (rc == 0 && g_hash_table_contains(way->stops, &now)) {
        struct ref_update update = {name, now, way->end};

        return object_id_equal(&now, &way->end) ? 0 : refs_commit(account->refs, &update, 1, error);
    }
    struct object_id base = way->start;
    if (rc == 0) {
        base = last_stop(account->objects, way, &now);
        if (object_id_equal(&base, &way->end)) {
            return 0;
        }
    }
    pending_restore(account, name, &base, &way->end);
    rc = pending_tip(account, name, &now, error);
    return rc == STORE_NOT_FOUND ? 0 : rc;
}

static int finish_account(struct replayed *replayed, struct store_error *error)
{
    GHashTableIter iterator;
    void *name;
    void *way;
    int rc = write_batch(replayed, error);

    g_hash_table_iter_init(&iterator, replayed->ways);
    while (rc == 0 && g_hash_table_iter_next(&iterator, &name, &way)) {
        rc = go_to_end(replayed->account, name, way, error);
    }
    return rc;
}

/* --- journals --- */

static int sync_everything(struct store *store, struct store_error *error)
{
    const struct host *host = store->host;
    int fd = host->open(host->data, store->mail, O_RDONLY | O_DIRECTORY, 0);
    int result = fd;

    if (fd >= 0) {
        result = host->syncfs(host->data, fd);
        host->close(host->data, fd);
    }
    return result < 0 ? host_fail(error, result, "syncing what was replayed") : 0;
}

int store_replay(struct store *store, struct journal *journal, struct store_error *error)
{
    struct replay replay = {.store = store};
    GHashTableIter iterator;
    void *replayed;

    replay.accounts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, replayed_free);
    int rc = journal_replay(journal, visit, &replay, error);
    bool any = g_hash_table_size(replay.accounts) > 0;

    g_hash_table_iter_init(&iterator, replay.accounts);
    while (rc == 0 && g_hash_table_iter_next(&iterator, NULL, &replayed)) {
        rc = finish_account(replayed, error);
    }
    if (rc == 0 && any) {
        rc = store_sync(store, error);
    }
    if (rc == 0 && any) {
        rc = sync_everything(store, error);
    }
    if (rc == 0 && any) {
        rc = journal_checkpoint(journal, journal_written(journal), error);
    }
    g_hash_table_unref(replay.accounts);
    return rc;
}

/* One that somebody has is his to replay. */
static int recover(struct store *store, const char *path, bool remove, struct store_error *error)
{
    struct journal *journal;
    int rc = journal_open(&journal, path, 0, store->host, error);

    if (rc < 0) {
        return rc == STORE_CONFLICT ? 0 : rc;
    }
    rc = store_replay(store, journal, error);
    if (rc == 0 && remove) {
        int result = store->host->unlink(store->host->data, path);

        rc = result < 0 ? host_fail(error, result, "removing a journal") : 0;
    }
    journal_close(journal);
    return rc;
}

static bool is_number(const char *name)
{
    return *name != '\0' && strspn(name, "0123456789") == strlen(name);
}

static int recover_all(struct store *store, bool remove, struct store_error *error)
{
    DIR *entries = opendir(store->journal);
    const struct dirent *entry;
    int rc = 0;

    if (entries == NULL) {
        return host_fail(error, -errno, "opening the directory of journals");
    }
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        g_autofree char *path = g_strconcat(store->journal, "/", entry->d_name, NULL);

        if (is_number(entry->d_name)) {
            rc = recover(store, path, remove, error);
        }
    }
    closedir(entries);
    return rc;
}

static int lock_and_recover(struct store *store, bool remove, struct store_error *error)
{
    int lock;
    int rc = store_lock_journals(store, remove, &lock, error);

    if (rc == 0) {
        rc = recover_all(store, remove, error);
        store_unlock_journals(store, lock);
    }
    return rc;
}

int store_recover(struct store *store, struct store_error *error)
{
    return lock_and_recover(store, false, error);
}

int store_remove_journals(struct store *store, struct store_error *error)
{
    return lock_and_recover(store, true, error);
}
