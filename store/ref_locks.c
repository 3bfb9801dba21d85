/* NAME.lock files, as git makes them, and what to do about those a crash left behind.
 *
 * Git's lock files do not say who holds them. So each struct refs writes the names of the locks
 * it is about to take into a file of its own that it holds locked (flock) as long as it lives:
 * whoever opens the repository, or waits for a lock, and finds such a file unlocked knows that its
 * owner is dead, and removes the locks named there. Lines are appended, the last one of a name
 * counts; the file is cut back to its first line when no lock is held.
 *
 *   annal-locks 1
 *   refs/heads/Sent 0                about to be taken
 *   refs/heads/INBOX 123456          name, inode of NAME.lock
 *   refs/heads/INBOX -               let go
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/refs_private.h"

#define LOCKS_PREFIX "annal-locks."
#define LOCKS_HEADER "annal-locks 1\n"

enum {
    LOCK_POLL_MSEC = 5,
    LOOK_FOR_DEAD_MSEC = 50, /* of waiting for a lock */
    OTHERS_LOCK_MSEC = 250,  /* git holds a lock it took after the crash no longer than this */
    DIRECTORY_ATTEMPTS = 5,
    LOCKS_FILE_MAX = 16 * 1024 * 1024,
};

static int open_locks_file(struct refs *refs)
{
    struct stat status;

    for (int attempt = 0; attempt < DIRECTORY_ATTEMPTS; attempt++) {
        char *path = ref_path(refs, LOCKS_PREFIX, "XXXXXX");
        int fd = mkostemp(path, O_CLOEXEC);

        if (fd < 0) {
            g_free(path);
            return -errno;
        }
        /* Somebody who cleans up may have taken it for a dead one's before it was locked. */
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &status) == 0 && status.st_nlink > 0) {
            refs->locks_path = path;
            refs->locks_fd = fd;
            return 0;
        }
        unlink(path);
        close(fd);
        g_free(path);
    }
    return -EAGAIN;
}

static void drop_locks_file(struct refs *refs)
{
    unlink(refs->locks_path);
    close(refs->locks_fd);
    g_clear_pointer(&refs->locks_path, g_free);
    refs->locks_fd = -1;
}

static void append_lock(GString *text, const struct ref_lock *lock)
{
    g_string_append_printf(text, "%s %" PRIu64 "\n", lock->name, lock->inode);
}

static bool append_text(const struct refs *refs, const GString *text)
{
    struct stat status;

    return fstat(refs->locks_fd, &status) == 0 &&
           pwrite(refs->locks_fd, text->str, text->len, status.st_size) == (ssize_t)text->len;
}

/* Appends what is now true of the name. Best effort: a disk that is full must not keep anybody
 * from deleting. Without the file a lock left by a crash stays until the machine restarts or it is
 * REF_LOCK_STALE_SECONDS old. */
static void note_lock(struct refs *refs, const char *name)
{
    const struct ref_lock *lock = NULL;
    GString *text = g_string_new(NULL);
    bool fresh = refs->locks_fd < 0;

    if (fresh && (refs->locks->len == 0 || open_locks_file(refs) < 0)) {
        g_string_free(text, TRUE);
        return;
    }
    for (guint i = refs->locks->len; i-- > 0 && lock == NULL && !fresh;) {
        const struct ref_lock *other = refs->locks->pdata[i];

        lock = strcmp(other->name, name) == 0 ? other : NULL;
    }
    if (fresh) {
        g_string_append(text, LOCKS_HEADER);
        for (guint i = 0; i < refs->locks->len; i++) {
            append_lock(text, refs->locks->pdata[i]);
        }
    } else if (lock != NULL) {
        append_lock(text, lock);
    } else {
        g_string_append_printf(text, "%s -\n", name);
    }
    bool written = refs->locks->len > 0
                       ? append_text(refs, text)
                       : ftruncate(refs->locks_fd, (off_t)strlen(LOCKS_HEADER)) == 0;
    if (!written) {
        drop_locks_file(refs);
    }
    g_string_free(text, TRUE);
}

static struct ref_lock *add_lock(struct refs *refs, const char *name)
{
    struct ref_lock *lock = g_new0(struct ref_lock, 1);

    lock->name = g_strdup(name);
    g_ptr_array_add(refs->locks, lock);
    note_lock(refs, name);
    return lock;
}

static void remove_lock(struct refs *refs, const char *name)
{
    /* From the end: one that could not be removed may stand before it under the same name. */
    for (guint i = refs->locks->len; i-- > 0;) {
        const struct ref_lock *lock = refs->locks->pdata[i];

        if (strcmp(lock->name, name) == 0) {
            char *copy = g_strdup(name);

            g_ptr_array_remove_index(refs->locks, i);
            note_lock(refs, copy);
            g_free(copy);
            return;
        }
    }
}

/* Removes the locks of processes that are no more. */
static void clean_dead(struct refs *refs);

static int make_directories(struct refs *refs, const char *name)
{
    const struct host *host = refs->host;

    for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        char *directory = g_strndup(name, (size_t)(slash - name));
        char *path = ref_path(refs, directory, "");
        int result = host->mkdir(host->data, path, 0777);

        if (result == 0) {
            refs_mark_parent_dirty(refs, path);
        }
        g_free(path);
        g_free(directory);
        if (result < 0 && result != -EEXIST) {
            return result;
        }
    }
    return 0;
}

/* A descriptor or a negative errno; waits for somebody else to let go. */
static int create_lock_file(struct refs *refs, const char *name, const char *path)
{
    const struct host *host = refs->host;
    int directories = 0;
    int waited = 0;

    for (;;) {
        int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_EXCL, 0644);

        if (fd == -EEXIST && waited < (refs->lazy ? REF_LOCK_LAZY_MSEC : REF_LOCK_WAIT_MSEC)) {
            g_usleep(LOCK_POLL_MSEC * 1000);
            waited += LOCK_POLL_MSEC;
            if (waited == LOOK_FOR_DEAD_MSEC) {
                clean_dead(refs);
            }
        } else if (fd == -ENOENT && directories < DIRECTORY_ATTEMPTS) {
            /* Again: git removes directories that it finds empty. */
            int result = make_directories(refs, name);

            if (result < 0) {
                return result;
            }
            directories++;
        } else {
            return fd;
        }
    }
}

int ref_lock_take(struct refs *refs, const char *name, int *fd, struct store_error *error)
{
    struct stat status;
    char *path = ref_path(refs, name, ".lock");
    struct ref_lock *lock = add_lock(refs, name);
    int result = create_lock_file(refs, name, path);

    g_free(path);
    if (result < 0) {
        remove_lock(refs, name);
        if (result == -EEXIST || result == -ENOTDIR) {
            return store_error_set(error, STORE_CONFLICT, "reference %s is locked", name);
        }
        return host_fail(error, result, name);
    }
    if (fstat(result, &status) == 0) {
        lock->inode = status.st_ino;
        note_lock(refs, name);
    }
    *fd = result;
    return 0;
}

void ref_lock_renamed(struct refs *refs, const char *name)
{
    remove_lock(refs, name);
}

void ref_lock_drop(struct refs *refs, const char *name)
{
    char *path = ref_path(refs, name, ".lock");
    int result = refs->host->unlink(refs->host->data, path);

    g_free(path);
    if (result == 0 || result == -ENOENT) {
        remove_lock(refs, name);
    }
}

static bool lock_stat(struct refs *refs, const char *name, uint64_t *inode, int64_t *seconds)
{
    struct stat status;
    char *path = ref_path(refs, name, ".lock");
    bool exists = lstat(path, &status) == 0;

    g_free(path);
    *inode = exists ? status.st_ino : 0;
    *seconds = exists ? status.st_mtim.tv_sec : 0;
    return exists;
}

void ref_locks_retry(struct refs *refs)
{
    for (guint i = refs->locks->len; i-- > 0;) {
        const struct ref_lock *lock = refs->locks->pdata[i];
        char *name = g_strdup(lock->name);
        uint64_t inode;
        int64_t seconds;

        if (lock_stat(refs, name, &inode, &seconds) && inode == lock->inode) {
            ref_lock_drop(refs, name);
        } else {
            remove_lock(refs, name);
        }
        g_free(name);
    }
}

void ref_locks_close(struct refs *refs)
{
    if (refs->locks_fd < 0) {
        return;
    }
    ref_locks_retry(refs);
    /* Locks that can't be removed are left to whoever opens the repository next. */
    if (refs->locks->len == 0) {
        unlink(refs->locks_path);
    }
    close(refs->locks_fd);
    refs->locks_fd = -1;
}

static void remove_lock_file(struct refs *refs, const char *name)
{
    char *path = ref_path(refs, name, ".lock");

    refs->host->unlink(refs->host->data, path);
    g_free(path);
}

/* One line of a dead one's file. If it died before it could say which inode the lock has, the
 * lock may also be git's, which is gone again soon. */
static void clean_lock(struct refs *refs, const char *name, uint64_t inode)
{
    uint64_t found;
    uint64_t later;
    int64_t seconds;

    if (!lock_stat(refs, name, &found, &seconds)) {
        return;
    }
    if (inode == 0) {
        g_usleep(OTHERS_LOCK_MSEC * 1000);
        inode = lock_stat(refs, name, &later, &seconds) && later == found ? found : 0;
    }
    if (inode == found) {
        remove_lock_file(refs, name);
    }
}

/* The last line of each name counts. */
static void clean_lines(struct refs *refs, char *text)
{
    char *line = strsep(&text, "\n");
    GHashTable *last = g_hash_table_new(g_str_hash, g_str_equal); /* name -> its inode's digits */
    GHashTableIter iterator;
    void *name;
    void *digits;

    if (line == NULL || strncmp(line, LOCKS_HEADER, strlen(LOCKS_HEADER) - 1) != 0) {
        text = NULL;
    }
    while ((line = strsep(&text, "\n")) != NULL) {
        char *space = strchr(line, ' ');

        if (space != NULL && text != NULL) {
            *space = '\0';
            g_hash_table_replace(last, line, space + 1);
        }
    }
    g_hash_table_iter_init(&iterator, last);
    while (g_hash_table_iter_next(&iterator, &name, &digits)) {
        char *end = NULL;
        uint64_t inode = g_ascii_strtoull(digits, &end, 10);

        if (end != digits && *end == '\0' &&
            (strcmp(name, "packed-refs") == 0 || ref_name_valid(name, strlen(name)))) {
            clean_lock(refs, name, inode);
        }
    }
    g_hash_table_destroy(last);
}

static void clean_locks_file(struct refs *refs, const char *file)
{
    struct stat status;
    char *path = ref_path(refs, file, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0 &&
        S_ISREG(status.st_mode) && status.st_size <= LOCKS_FILE_MAX) {
        char *text = g_malloc((size_t)status.st_size + 1);
        ssize_t length = read(fd, text, (size_t)status.st_size);

        text[length > 0 ? length : 0] = '\0';
        clean_lines(refs, text);
        g_free(text);
        refs->host->unlink(refs->host->data, path);
    }
    if (fd >= 0) {
        close(fd);
    }
    g_free(path);
}

static int64_t boot_seconds(const struct refs *refs)
{
    struct timespec since;

    if (clock_gettime(CLOCK_BOOTTIME, &since) < 0) {
        return 0;
    }
    return refs->host->now(refs->host->data) / 1000000 - since.tv_sec - 1;
}

/* Locks older than the machine's start or than any holder's patience. */
static void clean_stale(struct refs *refs, const char *name)
{
    uint64_t inode;
    int64_t seconds;

    if (lock_stat(refs, name, &inode, &seconds) &&
        (seconds < boot_seconds(refs) ||
         seconds < refs->host->now(refs->host->data) / 1000000 - REF_LOCK_STALE_SECONDS)) {
        remove_lock_file(refs, name);
    }
}

static void clean_stale_below(struct refs *refs, const char *directory, int depth)
{
    char *path = ref_path(refs, directory, "");
    DIR *handle = opendir(path);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        char *name = g_strdup_printf("%s/%s", directory, entry->d_name);

        if (g_str_has_suffix(name, ".lock")) {
            name[strlen(name) - strlen(".lock")] = '\0';
            clean_stale(refs, name);
        } else if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && depth < 4) {
            clean_stale_below(refs, name, depth + 1);
        }
        g_free(name);
    }
    if (handle != NULL) {
        closedir(handle);
    }
    g_free(path);
}

static void clean_dead(struct refs *refs)
{
    DIR *handle = opendir(refs->path);
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        if (g_str_has_prefix(entry->d_name, LOCKS_PREFIX)) {
            clean_locks_file(refs, entry->d_name);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

void ref_locks_clean(struct refs *refs)
{
    clean_dead(refs);
    clean_stale(refs, "packed-refs");
    clean_stale_below(refs, "refs/heads", 0);
    clean_stale_below(refs, "refs/deleted", 0);
    clean_stale_below(refs, "refs/annal", 0);
}
