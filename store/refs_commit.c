/* Moving references.
 *
 * One reference: lock, compare, write the lock file, fsync, rename. Several: every lock first, in
 * the order of names, and what has moved before becomes durable; then
 *
 *   1. annal-transaction is written, fsynced, and its directory: from here on the change happens
 *   2. packed-refs is renamed into place (deletions), then each lock file, or the file unlinked
 *   3. the directories are fsynced
 *   4. annal-transaction is removed
 *
 * Where there are many, the file system is synced once in place of each lock file.
 *
 * Whoever deletes holds packed-refs.lock all the while, as git does: else `git pack-refs` could
 * read the loose file before it goes and write it down after.
 *
 * A crash before 1 leaves nothing but lock files. After it refs_open() moves each reference that
 * is still at its old value; one that is at neither value has been moved on by somebody since. A
 * process that lives on finishes it, too, before it moves a reference that still waits for it.
 * A failure in a living process takes all of it back instead, and as long as that does not
 * succeed either, the struct refs does nothing else. The repository's directory is locked (flock)
 * from before 1 to after 4, so that nobody takes a living transaction for a crashed one.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/refs_private.h"

#define TRANSACTION_FILE "annal-transaction"
#define PACKED_REFS      "packed-refs"
#define PACKED_REFS_NEW  "annal-packed-refs"

enum {
    MANY = 32, /* references whose lock files are not fsynced one by one */
    TRANSACTION_WAIT_MSEC = 2000,
    TRANSACTION_POLL_MSEC = 5,
};

/* One reference of a commit under way. */
struct move {
    const struct ref_update *update;
    struct ref_stamp stamp; /* of the lock file with the new content */
    int fd;                 /* of the lock file; -1: closed */
    bool locked;
};

struct commit {
    struct refs *refs;
    struct move *moves; /* by name */
    size_t count;
    GBytes *packed; /* what packed-refs will be; NULL: it stays */
    bool packed_locked;
    bool packed_written; /* packed is in a file of its own */
    bool lazy;           /* refs_commit_lazily() */
    bool many;           /* lock files become durable together */
};

/* ---- locking and comparing ---- */

static bool is_delete(const struct move *move)
{
    return object_id_is_zero(&move->update->after);
}

/* Whether packed-refs has something in the way: a reference can't be a directory, too. */
static bool packed_in_the_way(struct refs *refs, const char *name)
{
    GHashTableIter iterator;
    void *other;
    size_t length = strlen(name);

    g_hash_table_iter_init(&iterator, refs->packed);
    while (g_hash_table_iter_next(&iterator, &other, NULL)) {
        size_t other_length = strlen(other);

        if (other_length > length
                ? strncmp(other, name, length) == 0 && ((const char *)other)[length] == '/'
                : strncmp(name, other, other_length) == 0 && name[other_length] == '/') {
            return true;
        }
    }
    return false;
}

/* A directory where a new reference's file is to be; one that others left empty is removed. */
static bool directory_in_the_way(struct refs *refs, const char *name)
{
    struct stat status;
    char *path = ref_path(refs, name, "");
    bool blocked = lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && rmdir(path) < 0;

    g_free(path);
    return blocked;
}

static int compare_value(struct refs *refs, const struct ref_update *update,
                         struct store_error *error)
{
    struct object_id current;
    int result = ref_current(refs, update->name, &current, error);

    if (result < 0) {
        return result;
    }
    if (!object_id_equal(&current, &update->before)) {
        return store_error_set(error, STORE_CONFLICT, "reference %s has moved", update->name);
    }
    if (object_id_is_zero(&update->before) && !object_id_is_zero(&update->after) &&
        (directory_in_the_way(refs, update->name) || packed_in_the_way(refs, update->name))) {
        return store_error_set(error, STORE_CONFLICT, "another reference is in the way of %s",
                               update->name);
    }
    return 0;
}

static int close_lock(struct commit *commit, struct move *move)
{
    const struct host *host = commit->refs->host;
    int fd = move->fd;

    move->fd = -1;
    return fd < 0 ? 0 : host->close(host->data, fd);
}

/* The new value, durable (unless that comes later), in the lock file. */
static int write_value(struct commit *commit, struct move *move)
{
    const struct host *host = commit->refs->host;
    char text[OBJECT_ID_HEX + 1];
    struct stat status;

    object_id_format(&move->update->after, text);
    text[OBJECT_ID_HEX] = '\n';
    int result = host->write(host->data, move->fd, text, sizeof(text));
    if (result == 0 && !commit->lazy && !commit->many) {
        result = host->fsync(host->data, move->fd);
    }
    if (result == 0 && fstat(move->fd, &status) < 0) {
        result = -errno;
    }
    if (result == 0) {
        move->stamp = ref_stamp_of(&status);
        result = close_lock(commit, move);
    }
    return result;
}

static int prepare_move(struct commit *commit, struct move *move, struct store_error *error)
{
    struct refs *refs = commit->refs;
    int result = ref_lock_take(refs, move->update->name, &move->fd, error);

    if (result < 0) {
        return result;
    }
    move->locked = true;
    result = compare_value(refs, move->update, error);
    if (result == 0 && !is_delete(move)) {
        int written = write_value(commit, move);

        result = written < 0 ? host_fail(error, written, move->update->name) : 0;
    }
    return result;
}

/* packed-refs without these references (and what their tags peel to). */
static GBytes *packed_without(struct refs *refs, GHashTable *names)
{
    gsize left;
    const char *text = g_bytes_get_data(refs->packed_text, &left);
    GString *out = g_string_sized_new(left);
    bool dropped = false;

    while (left > 0) {
        const char *end = memchr(text, '\n', left);
        size_t line = end != NULL ? (size_t)(end - text) + 1 : left;

        if (*text != '^') {
            size_t name_length = line - (end != NULL);
            char *name = name_length > OBJECT_ID_HEX + 1
                             ? g_strndup(text + OBJECT_ID_HEX + 1, name_length - OBJECT_ID_HEX - 1)
                             : NULL;

            dropped = *text != '#' && name != NULL && g_hash_table_contains(names, name);
            g_free(name);
        }
        if (!dropped) {
            g_string_append_len(out, text, (gssize)line);
        }
        text += line;
        left -= line;
    }
    return g_string_free_to_bytes(out);
}

/* Left by a crash it is overwritten: only who holds packed-refs.lock writes it. */
static int write_packed(struct commit *commit)
{
    const struct host *host = commit->refs->host;
    gsize length;
    const void *text = g_bytes_get_data(commit->packed, &length);
    char *path = ref_path(commit->refs, PACKED_REFS_NEW, "");
    int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    int result = fd < 0 ? fd : host->write(host->data, fd, text, length);

    g_free(path);
    if (fd < 0) {
        return result;
    }
    commit->packed_written = true;
    if (result == 0) {
        result = host->fsync(host->data, fd);
    }
    int closed = host->close(host->data, fd);
    return result < 0 ? result : closed;
}

/* packed-refs without what is deleted, if any of that is in it. */
static int rewrite_packed(struct commit *commit, struct store_error *error)
{
    struct refs *refs = commit->refs;
    GHashTable *names = g_hash_table_new(g_str_hash, g_str_equal);
    int result = refs_load_packed(refs, false, error);

    for (size_t i = 0; i < commit->count && result == 0; i++) {
        const char *name = commit->moves[i].update->name;

        if (is_delete(&commit->moves[i]) && g_hash_table_contains(refs->packed, name)) {
            g_hash_table_add(names, (char *)(uintptr_t)name);
        }
    }
    if (result == 0 && g_hash_table_size(names) > 0) {
        commit->packed = packed_without(refs, names);
        int written = write_packed(commit);
        result = written < 0 ? host_fail(error, written, PACKED_REFS) : 0;
    }
    g_hash_table_destroy(names);
    return result;
}

/* If something is deleted: the lock of packed-refs, and what the file will be. */
static int prepare_packed(struct commit *commit, struct store_error *error)
{
    struct refs *refs = commit->refs;
    bool deletes = false;
    int fd;

    for (size_t i = 0; i < commit->count; i++) {
        deletes = deletes || is_delete(&commit->moves[i]);
    }
    if (!deletes) {
        return 0;
    }
    int result = ref_lock_take(refs, PACKED_REFS, &fd, error);
    if (result < 0) {
        return result;
    }
    commit->packed_locked = true;
    int closed = refs->host->close(refs->host->data, fd);
    return closed < 0 ? host_fail(error, closed, PACKED_REFS) : rewrite_packed(commit, error);
}

static int prepare(struct commit *commit, struct store_error *error)
{
    int result = 0;

    for (size_t i = 0; i < commit->count && result == 0; i++) {
        result = prepare_move(commit, &commit->moves[i], error);
    }
    return result == 0 ? prepare_packed(commit, error) : result;
}

/* ---- making it visible ---- */

static int replace_packed(struct commit *commit)
{
    struct refs *refs = commit->refs;
    struct store_error error;
    char *path = ref_path(refs, PACKED_REFS, "");
    char *written = ref_path(refs, PACKED_REFS_NEW, "");
    int result = refs->host->rename(refs->host->data, written, path);

    if (result == 0) {
        commit->packed_written = false;
        refs_mark_parent_dirty(refs, path);
        /* If it can't be read now it will be later, and then seems somebody else's change. */
        refs_load_packed(refs, true, &error);
    }
    g_free(written);
    g_free(path);
    return result;
}

/* Directories that deletion emptied, up to refs/SOMETHING. */
static void remove_empty_parents(struct refs *refs, const char *name)
{
    char *directory = ref_parent(name);

    while (strchr(directory + strlen("refs/"), '/') != NULL) {
        char *path = ref_path(refs, directory, "");
        bool removed = rmdir(path) == 0;

        if (removed) {
            refs_mark_parent_dirty(refs, path);
        }
        g_free(path);
        char *parent = ref_parent(directory);
        g_free(directory);
        directory = parent;
        if (!removed) {
            break;
        }
    }
    g_free(directory);
}

static int apply_delete(struct commit *commit, struct move *move)
{
    struct refs *refs = commit->refs;
    const char *name = move->update->name;
    char *path = ref_path(refs, name, "");
    struct stat status;
    int result = 0;

    if (lstat(path, &status) == 0) {
        result = refs->host->unlink(refs->host->data, path);
    }
    if (result == 0) {
        refs_note_own(refs, name, &move->update->after, &move->stamp, false);
        refs_mark_parent_dirty(refs, path);
        close_lock(commit, move);
        ref_lock_drop(refs, name);
        move->locked = false;
        remove_empty_parents(refs, name);
    }
    g_free(path);
    return result;
}

static int apply_set(struct commit *commit, struct move *move)
{
    struct refs *refs = commit->refs;
    const char *name = move->update->name;
    char *path = ref_path(refs, name, "");
    char *lock = ref_path(refs, name, ".lock");
    int result = refs->host->rename(refs->host->data, lock, path);

    if (result == 0) {
        move->locked = false;
        ref_lock_renamed(refs, name);
        refs_note_own(refs, name, &move->update->after, &move->stamp, commit->lazy);
        if (!commit->lazy) {
            refs_mark_parent_dirty(refs, path);
        }
    }
    g_free(lock);
    g_free(path);
    return result;
}

static int apply(struct commit *commit, struct store_error *error)
{
    int result = commit->packed != NULL ? replace_packed(commit) : 0;

    for (size_t i = 0; i < commit->count && result == 0; i++) {
        struct move *move = &commit->moves[i];

        result = is_delete(move) ? apply_delete(commit, move) : apply_set(commit, move);
    }
    return result < 0 ? host_fail(error, result, "references: move") : 0;
}

static void release(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct move *move = &commit->moves[i];

        close_lock(commit, move);
        if (move->locked) {
            ref_lock_drop(commit->refs, move->update->name);
            move->locked = false;
        }
    }
    if (commit->packed_written) {
        char *path = ref_path(commit->refs, PACKED_REFS_NEW, "");

        commit->refs->host->unlink(commit->refs->host->data, path);
        commit->packed_written = false;
        g_free(path);
    }
    if (commit->packed_locked) {
        ref_lock_drop(commit->refs, PACKED_REFS);
        commit->packed_locked = false;
    }
}

static int compare_moves(const void *a, const void *b)
{
    return strcmp(((const struct move *)a)->update->name, ((const struct move *)b)->update->name);
}

static void commit_init(struct commit *commit, struct refs *refs, const struct ref_update *updates,
                        size_t count)
{
    *commit = (struct commit){.refs = refs, .count = count};
    commit->moves = g_new0(struct move, count);
    for (size_t i = 0; i < count; i++) {
        commit->moves[i].update = &updates[i];
        commit->moves[i].fd = -1;
    }
    qsort(commit->moves, count, sizeof(struct move), compare_moves);
}

static void commit_release(struct commit *commit)
{
    release(commit);
    if (commit->packed != NULL) {
        g_bytes_unref(commit->packed);
    }
    g_free(commit->moves);
}

/* For recovery itself: whatever the transaction file says. */
static int commit_one(struct refs *refs, const struct ref_update *update, struct store_error *error)
{
    struct commit commit;

    commit_init(&commit, refs, update, 1);
    int result = prepare(&commit, error);
    if (result == 0) {
        result = apply(&commit, error);
    }
    commit_release(&commit);
    return result;
}

/* ---- several as one ---- */

/* Locks the repository against other transactions. A descriptor, or a code. */
static int lock_repository(struct refs *refs, struct store_error *error)
{
    int fd = open(refs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return host_fail(error, -errno, "repository");
    }
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += TRANSACTION_POLL_MSEC) {
        if (waited >= TRANSACTION_WAIT_MSEC) {
            close(fd);
            return store_error_set(error, STORE_CONFLICT, "another transaction is under way");
        }
        g_usleep(TRANSACTION_POLL_MSEC * 1000);
    }
    return fd;
}

static int write_transaction(struct refs *refs, const struct ref_update *updates, size_t count)
{
    const struct host *host = refs->host;
    char *path = ref_path(refs, TRANSACTION_FILE, "");
    GString *text = ref_transaction_text(updates, count);
    int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int result = fd < 0 ? fd : 0;

    if (fd >= 0) {
        result = host->write(host->data, fd, text->str, text->len);
        if (result == 0) {
            result = host->fsync(host->data, fd);
        }
        int closed = host->close(host->data, fd);
        result = result < 0 ? result : closed;
    }
    if (result == 0) {
        result = host->fsync_directory(host->data, refs->path);
    }
    g_string_free(text, TRUE);
    g_free(path);
    return result;
}

/* What has been done must be durable before the record of what was to be done goes. */
static int remove_transaction(struct refs *refs, struct store_error *error)
{
    char *path = ref_path(refs, TRANSACTION_FILE, "");
    int result = refs_sync(refs, error);

    if (result == 0) {
        int unlinked = refs->host->unlink(refs->host->data, path);

        if (unlinked < 0 && unlinked != -ENOENT) {
            result = host_fail(error, unlinked, TRANSACTION_FILE);
        }
        refs_mark_dirty(refs, refs->path);
    }
    g_free(path);
    return result;
}

/* Moves those that are at their old value. One that is at neither is somebody else's now. Also
 * what whoever is no more has moved already may not be durable yet. */
static int force(struct refs *refs, const GArray *changes, bool back, struct store_error *error)
{
    for (guint i = 0; i < changes->len; i++) {
        const struct ref_change *change = &g_array_index(changes, struct ref_change, i);
        const struct ref_update update = {change->name, back ? change->after : change->before,
                                          back ? change->before : change->after};
        struct object_id current;
        char *path = ref_path(refs, change->name, "");
        int result = ref_current(refs, change->name, &current, error);

        refs_mark_parent_dirty(refs, path);
        g_free(path);
        if (result == STORE_CORRUPT) {
            continue;
        }
        if (result == 0 && object_id_equal(&current, &update.before)) {
            result = commit_one(refs, &update, error);
        }
        if (result < 0) {
            return result;
        }
    }
    refs_mark_dirty(refs, refs->path);
    return remove_transaction(refs, error);
}

int refs_settle(struct refs *refs, struct store_error *error)
{
    if (refs->interrupted == NULL) {
        return 0;
    }
    ref_locks_retry(refs);
    int fd = lock_repository(refs, error);
    if (fd < 0) {
        return fd;
    }
    int result = force(refs, refs->interrupted, true, error);
    if (result == 0) {
        g_array_free(refs->interrupted, TRUE);
        refs->interrupted = NULL;
    }
    close(fd);
    return result;
}

static GArray *changes_of(const struct ref_update *updates, size_t count)
{
    GArray *changes = ref_changes_new();

    for (size_t i = 0; i < count; i++) {
        ref_changes_add(changes, updates[i].name, strlen(updates[i].name), &updates[i].before,
                        &updates[i].after);
    }
    return changes;
}

static int apply_together(struct commit *commit, const struct ref_update *updates,
                          struct store_error *error)
{
    struct refs *refs = commit->refs;
    int result = write_transaction(refs, updates, commit->count);

    if (result < 0) {
        result = host_fail(error, result, TRANSACTION_FILE);
    } else {
        result = apply(commit, error);
    }
    if (result == 0) {
        result = remove_transaction(refs, error);
    }
    if (result < 0) {
        struct store_error ignored;

        release(commit);
        refs->interrupted = changes_of(updates, commit->count);
        if (force(refs, refs->interrupted, true, &ignored) == 0) {
            g_array_free(refs->interrupted, TRUE);
            refs->interrupted = NULL;
        }
    }
    return result;
}

/* What the transaction file says. *exists: there is one; *changes is NULL then if it is torn. */
static int read_transaction(struct refs *refs, bool *exists, GArray **changes,
                            struct store_error *error)
{
    char *path = ref_path(refs, TRANSACTION_FILE, "");
    struct stat status;
    int result = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int number = errno;

    g_free(path);
    *changes = NULL;
    *exists = fd >= 0;
    if (fd < 0) {
        return number == ENOENT ? 0 : host_fail(error, -number, TRANSACTION_FILE);
    }
    if (fstat(fd, &status) == 0 && status.st_size <= REF_TRANSACTION_MAX) {
        char *text = g_malloc((size_t)status.st_size + 1);
        ssize_t length = read(fd, text, (size_t)status.st_size);

        if (length < 0) {
            result = host_fail(error, -errno, TRANSACTION_FILE);
        } else {
            *changes = ref_transaction_parse(text, (size_t)length);
        }
        g_free(text);
    }
    close(fd);
    return result;
}

/* Completes the transaction of a process that is no more; the repository is locked. */
static int complete_transaction(struct refs *refs, struct store_error *error)
{
    GArray *changes;
    bool exists;
    int result = read_transaction(refs, &exists, &changes, error);

    if (result < 0 || !exists) {
        return result;
    }
    if (changes == NULL) {
        /* Torn: it was never durable, so nothing has moved. */
        return remove_transaction(refs, error);
    }
    result = force(refs, changes, false, error);
    g_array_free(changes, TRUE);
    return result;
}

int refs_recover(struct refs *refs, struct store_error *error)
{
    struct stat status;
    char *path = ref_path(refs, TRANSACTION_FILE, "");
    bool exists = lstat(path, &status) == 0;

    g_free(path);
    if (!exists) {
        return 0;
    }
    int fd = lock_repository(refs, error);
    if (fd < 0) {
        /* Its owner lives and will finish it. */
        return fd == STORE_CONFLICT ? 0 : fd;
    }
    int result = complete_transaction(refs, error);
    close(fd);
    return result;
}

static int commit_many(struct refs *refs, const struct ref_update *updates, size_t count,
                       struct store_error *error)
{
    struct commit commit;
    int fd = lock_repository(refs, error);

    if (fd < 0) {
        return fd;
    }
    int result = complete_transaction(refs, error);
    commit_init(&commit, refs, updates, count);
    commit.many = count >= MANY;
    if (result == 0) {
        result = prepare(&commit, error);
    }
    if (result == 0 && commit.many) {
        int synced = refs->host->syncfs(refs->host->data, fd);

        result = synced < 0 ? host_fail(error, synced, "references: sync") : 0;
    }
    /* The values before must not be lost when the record of the change is not: a reference at
     * neither value would be taken for somebody else's. */
    if (result == 0) {
        result = refs_sync(refs, error);
    }
    if (result == 0) {
        result = apply_together(&commit, updates, error);
    }
    commit_release(&commit);
    close(fd);
    return result;
}

/* Whether a transaction has yet to move the reference, whose lock we hold. Its owner had the lock
 * from before it wrote the file, so it must be dead. */
static int check_unclaimed(struct refs *refs, const struct ref_update *update,
                           struct store_error *error)
{
    GArray *changes;
    bool exists;
    int result = read_transaction(refs, &exists, &changes, error);

    for (guint i = 0; changes != NULL && i < changes->len && result == 0; i++) {
        const struct ref_change *change = &g_array_index(changes, struct ref_change, i);

        if (strcmp(change->name, update->name) == 0 &&
            object_id_equal(&change->before, &update->before)) {
            result = store_error_set(error, STORE_CONFLICT, "an interrupted transaction has %s",
                                     update->name);
        }
    }
    if (changes != NULL) {
        g_array_free(changes, TRUE);
    }
    return result;
}

static int commit_single(struct refs *refs, const struct ref_update *update, bool lazy,
                         struct store_error *error)
{
    struct store_error ignored;
    struct commit commit;

    commit_init(&commit, refs, update, 1);
    commit.lazy = lazy;
    int result = prepare(&commit, error);
    int claimed = result == 0 ? check_unclaimed(refs, update, error) : 0;
    if (result == 0) {
        result = claimed == 0 ? apply(&commit, error) : claimed;
    }
    commit_release(&commit);
    if (claimed == STORE_CONFLICT) {
        /* If this fails the next attempt comes here again. */
        refs_recover(refs, &ignored);
    }
    return result;
}

static int begin(struct refs *refs, struct store_error *error)
{
    refs->doubted = refs_turn(refs);
    int result = refs_settle(refs, error);

    if (result == 0) {
        ref_locks_retry(refs);
    }
    return result;
}

int refs_commit(struct refs *refs, const struct ref_update *updates, size_t count,
                struct store_error *error)
{
    for (size_t i = 0; i < count; i++) {
        assert(ref_name_valid(updates[i].name, strlen(updates[i].name)));
    }
    if (count == 0) {
        return 0;
    }
    int result = begin(refs, error);
    if (result < 0) {
        return result;
    }
    return count == 1 ? commit_single(refs, updates, false, error)
                      : commit_many(refs, updates, count, error);
}

int refs_commit_lazily(struct refs *refs, const struct ref_update *update,
                       struct store_error *error)
{
    assert(!object_id_is_zero(&update->before) && !object_id_is_zero(&update->after));
    int result = begin(refs, error);

    if (result == 0) {
        refs->lazy = true;
        result = commit_single(refs, update, true, error);
        refs->lazy = false;
    }
    return result;
}

static int mend(struct commit *commit, struct store_error *error)
{
    struct move *move = commit->moves;
    const char *name = move->update->name;
    struct object_id current;
    int result = ref_lock_take(commit->refs, name, &move->fd, error);

    if (result < 0) {
        return result;
    }
    move->locked = true;
    result = ref_current(commit->refs, name, &current, error);
    if (result != STORE_CORRUPT) {
        return result < 0 ? result : store_error_set(error, STORE_CONFLICT, "%s has moved", name);
    }
    int written = write_value(commit, move);
    return written < 0 ? host_fail(error, written, name) : apply(commit, error);
}

int refs_mend(struct refs *refs, const char *name, const struct object_id *id,
              struct store_error *error)
{
    struct ref_update update = {.name = name, .after = *id};
    struct commit commit;
    int result = begin(refs, error);

    if (result < 0) {
        return result;
    }
    commit_init(&commit, refs, &update, 1);
    result = mend(&commit, error);
    commit_release(&commit);
    return result;
}
