#include "store/internal/shallow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/text.h"

#define SHALLOW_FILE "shallow"
#define SHALLOW_LOCK "shallow.lock"
#define RETIRED_FILE "annal-retired"
#define PURGED_FILE  "annal-purge"
#define NEW_SUFFIX   ".tmp"

enum { LOCK_STALE_SECONDS = 3600 }; /* nobody holds the lock for so long */

/* *out: the whole file, for g_free(); NULL without one. */
static int read_file(char **out, size_t *length, const char *path, const char *name,
                     struct store_error *error)
{
    g_autofree char *file = g_strdup_printf("%s/%s", path, name);
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    ssize_t got;

    *out = NULL;
    *length = 0;
    if (fd < 0) {
        return errno == ENOENT ? 0 : host_fail(error, -errno, name);
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return store_error_set(error, STORE_CORRUPT, "%s is no file", name);
    }
    if (status.st_size > SHALLOW_FILE_MAX) {
        close(fd);
        return store_error_set(error, STORE_LIMIT, "%s is too big", name);
    }
    *out = g_malloc((gsize)status.st_size + 1);
    while ((got = read(fd, *out + *length, (size_t)status.st_size - *length)) > 0) {
        *length += (size_t)got;
    }
    close(fd);
    if (got < 0) {
        g_clear_pointer(out, g_free);
        return host_fail(error, -EIO, name);
    }
    return 0;
}

static bool take_id(struct text *line, struct object_id *out)
{
    char hex[OBJECT_ID_HEX + 1] = "";

    if (line->end - line->at != OBJECT_ID_HEX) {
        return false;
    }
    memcpy(hex, line->at, OBJECT_ID_HEX);
    return object_id_parse(out, hex) && !object_id_is_zero(out);
}

/* Also the last line may lack its end: git takes it so. */
static bool next_line(struct text *text, struct text *line)
{
    if (text->at == text->end) {
        return false;
    }
    if (!text_line(text, line)) {
        *line = *text;
        text->at = text->end;
    }
    return true;
}

static int read_ids(struct id_set *out, const char *path, const char *name,
                    struct store_error *error)
{
    g_autofree char *octets = NULL;
    size_t length;
    int rc = read_file(&octets, &length, path, name, error);
    struct text text = {octets, octets != NULL ? octets + length : NULL};
    struct text line;

    while (rc == 0 && octets != NULL && next_line(&text, &line)) {
        struct object_id id;

        if (take_id(&line, &id)) {
            id_set_add(out, &id);
        } else {
            rc = store_error_set(error, STORE_CORRUPT, "a malformed line in %s", name);
        }
    }
    return rc;
}

int shallow_read(struct id_set *out, const char *path, struct store_error *error)
{
    return read_ids(out, path, SHALLOW_FILE, error);
}

int purged_read(struct id_set *out, const char *path, struct store_error *error)
{
    return read_ids(out, path, PURGED_FILE, error);
}

int retired_read(GArray *out, const char *path, struct store_error *error)
{
    g_autofree char *octets = NULL;
    size_t length;
    int rc = read_file(&octets, &length, path, RETIRED_FILE, error);
    struct text text = {octets, octets + length};
    struct text line;

    while (rc == 0 && octets != NULL && next_line(&text, &line)) {
        struct retired_root root;
        uint64_t since;

        if (text_number(&line, INT64_MAX, &since) && text_octet(&line, ' ') &&
            take_id(&line, &root.id)) {
            root.since = (int64_t)since;
            g_array_append_val(out, root);
        } else {
            rc = store_error_set(error, STORE_CORRUPT, "a malformed line in " RETIRED_FILE);
        }
    }
    return rc;
}

int64_t retired_since(const char *path)
{
    g_autoptr(GArray) roots = g_array_new(FALSE, FALSE, sizeof(struct retired_root));
    int64_t since = INT64_MAX;
    struct store_error ignored;

    if (retired_read(roots, path, &ignored) == 0) {
        for (guint i = 0; i < roots->len; i++) {
            since = MIN(since, g_array_index(roots, struct retired_root, i).since);
        }
    }
    return since;
}

/* What a crash left; git itself would wait for it for ever. */
static void remove_stale(const struct host *host, const char *lock)
{
    struct stat status;

    if (lstat(lock, &status) == 0 && S_ISREG(status.st_mode) &&
        host->now(host->data) / 1000000 - status.st_mtime > LOCK_STALE_SECONDS) {
        host->unlink(host->data, lock);
    }
}

int shallow_lock(struct shallow_lock *lock, const char *path, const struct host *host,
                 struct store_error *error)
{
    char *name = g_strdup_printf("%s/" SHALLOW_LOCK, path);
    int fd;

    remove_stale(host, name);
    fd = host->open(host->data, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (fd < 0) {
        g_free(name);
        return fd == -EEXIST ? store_error_set(error, STORE_CONFLICT,
                                               "somebody else is changing where the history ends")
                             : host_fail(error, fd, SHALLOW_LOCK);
    }
    *lock = (struct shallow_lock){.host = host, .path = g_strdup(path), .lock = name, .fd = fd};
    return 0;
}

static void close_lock(struct shallow_lock *lock)
{
    if (lock->fd >= 0) {
        lock->host->close(lock->host->data, lock->fd);
        lock->fd = -1;
    }
}

void shallow_unlock(struct shallow_lock *lock)
{
    close_lock(lock);
    if (lock->lock != NULL) {
        lock->host->unlink(lock->host->data, lock->lock);
    }
    g_clear_pointer(&lock->lock, g_free);
    g_clear_pointer(&lock->path, g_free);
}

static int write_and_sync(const struct host *host, int fd, const GString *text)
{
    int rc = host->write(host->data, fd, text->str, text->len);

    return rc < 0 ? rc : host->fsync(host->data, fd);
}

/* Without a boundary there is no file: an empty one would still say that the repository is
 * shallow. */
static int remove_file(const struct host *host, const char *path, const char *name,
                       struct store_error *error)
{
    g_autofree char *file = g_strdup_printf("%s/%s", path, name);
    int rc = host->unlink(host->data, file);

    if (rc == -ENOENT) {
        return 0;
    }
    if (rc == 0) {
        rc = host->fsync_directory(host->data, path);
    }
    return rc < 0 ? host_fail(error, rc, name) : 0;
}

int shallow_replace(struct shallow_lock *lock, const GArray *ids, struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *file = g_strdup_printf("%s/" SHALLOW_FILE, lock->path);
    const struct host *host = lock->host;
    char hex[OBJECT_ID_HEX + 1];

    if (ids->len == 0) {
        return remove_file(host, lock->path, SHALLOW_FILE, error);
    }
    for (guint i = 0; i < ids->len; i++) {
        object_id_format(&g_array_index(ids, struct object_id, i), hex);
        g_string_append_printf(text, "%s\n", hex);
    }
    int rc = write_and_sync(host, lock->fd, text);
    close_lock(lock);
    if (rc == 0) {
        rc = host->rename(host->data, lock->lock, file);
    }
    if (rc == 0) {
        g_clear_pointer(&lock->lock, g_free);
        rc = host->fsync_directory(host->data, lock->path);
    }
    return rc < 0 ? host_fail(error, rc, SHALLOW_FILE) : 0;
}

/* The whole file under its own name at once; without text there is none. */
static int replace_file(const struct host *host, const char *path, const char *name,
                        const GString *text, struct store_error *error)
{
    g_autofree char *file = g_strdup_printf("%s/%s", path, name);
    g_autofree char *temporary = g_strdup_printf("%s" NEW_SUFFIX, file);

    if (text->len == 0) {
        return remove_file(host, path, name, error);
    }
    int fd = host->open(host->data, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? fd : write_and_sync(host, fd, text);
    if (fd >= 0) {
        int closed = host->close(host->data, fd);

        rc = rc < 0 ? rc : closed;
    }
    if (rc == 0) {
        rc = host->rename(host->data, temporary, file);
    }
    if (rc == 0) {
        rc = host->fsync_directory(host->data, path);
    }
    return rc < 0 ? host_fail(error, rc, name) : 0;
}

int retired_replace(const struct shallow_lock *lock, const GArray *roots, struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char hex[OBJECT_ID_HEX + 1];

    for (guint i = 0; i < roots->len; i++) {
        const struct retired_root *root = &g_array_index(roots, struct retired_root, i);

        object_id_format(&root->id, hex);
        g_string_append_printf(text, "%" PRId64 " %s\n", root->since, hex);
    }
    return replace_file(lock->host, lock->path, RETIRED_FILE, text, error);
}

int purged_replace(const struct id_set *ids, const char *path, const struct host *host,
                   struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char hex[OBJECT_ID_HEX + 1];

    for (size_t i = 0; i <= ids->mask; i++) {
        if (!object_id_is_zero(&ids->slots[i])) {
            object_id_format(&ids->slots[i], hex);
            g_string_append_printf(text, "%s\n", hex);
        }
    }
    return replace_file(host, path, PURGED_FILE, text, error);
}
