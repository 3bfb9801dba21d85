#include "tests/ordered_host.h"

#include <check.h>
#include <string.h>

/* What moves several references as one. */
#define TRANSACTION_FILE "/annal-transaction"

static bool may_be_lost(const char *path)
{
    return g_str_has_suffix(path, ".lock") || g_str_has_suffix(path, ".keep") ||
           strstr(path, "/annal-locks.") != NULL || strstr(path, "/cache/") != NULL;
}

static void note_name(struct ordered_host *ordered, const char *path)
{
    const char *slash = strrchr(path, '/');

    g_hash_table_add(ordered->named, g_strndup(path, (size_t)(slash - path)));
}

static int ordered_open(void *data, const char *path, int flags, mode_t mode)
{
    struct ordered_host *ordered = data;
    int fd = host_system()->open(NULL, path, flags, mode);

    if (fd >= 0)
        g_hash_table_insert(ordered->files, GINT_TO_POINTER(fd), g_strdup(path));
    if (fd >= 0 && g_str_has_suffix(path, TRANSACTION_FILE)) {
        note_name(ordered, path);
        ordered->unrecorded = true;
    }
    return fd;
}

static int ordered_write(void *data, int fd, const void *bytes, size_t length)
{
    struct ordered_host *ordered = data;
    const char *path = g_hash_table_lookup(ordered->files, GINT_TO_POINTER(fd));

    if (path != NULL)
        g_hash_table_add(ordered->written, g_strdup(path));
    return host_system()->write(NULL, fd, bytes, length);
}

static int ordered_fsync(void *data, int fd)
{
    struct ordered_host *ordered = data;
    const char *path = g_hash_table_lookup(ordered->files, GINT_TO_POINTER(fd));

    if (path != NULL)
        g_hash_table_remove(ordered->written, path);
    return host_system()->fsync(NULL, fd);
}

static int ordered_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    struct ordered_host *ordered = data;
    const char *path = g_hash_table_lookup(ordered->files, GINT_TO_POINTER(fd));

    if (path != NULL)
        g_hash_table_add(ordered->written, g_strdup(path));
    return host_system()->pwrite(NULL, fd, bytes, length, offset);
}

static int ordered_syncfs(void *data, int fd)
{
    struct ordered_host *ordered = data;

    (void)fd;
    g_hash_table_remove_all(ordered->written);
    g_hash_table_remove_all(ordered->named);
    return 0;
}

static int ordered_fsync_directory(void *data, const char *path)
{
    struct ordered_host *ordered = data;

    g_autofree char *record = g_strconcat(path, TRANSACTION_FILE, NULL);

    g_hash_table_remove(ordered->named, path);
    /* A new account's repository has another name until it is complete. */
    if (g_file_test(record, G_FILE_TEST_EXISTS))
        ordered->unrecorded = false;
    return host_system()->fsync_directory(NULL, path);
}

static int ordered_close(void *data, int fd)
{
    struct ordered_host *ordered = data;

    g_hash_table_remove(ordered->files, GINT_TO_POINTER(fd));
    return host_system()->close(NULL, fd);
}

/* Whatever a reference leads to, and the record of what moves with it, must be on the disk. */
static void check_before_reference(const struct ordered_host *ordered, const char *to)
{
    GHashTableIter iterator;
    void *path;

    ck_assert_msg(!ordered->unrecorded, "the record of the transaction is not synced when %s moves",
                  to);
    g_hash_table_iter_init(&iterator, ordered->written);
    while (g_hash_table_iter_next(&iterator, &path, NULL))
        ck_assert_msg(may_be_lost(path), "%s is not synced when %s moves", (char *)path, to);
    g_hash_table_iter_init(&iterator, ordered->named);
    while (g_hash_table_iter_next(&iterator, &path, NULL))
        ck_assert_msg(strstr(path, "/objects") == NULL, "names in %s are not synced when %s moves",
                      (char *)path, to);
}

static int ordered_rename(void *data, const char *from, const char *to)
{
    struct ordered_host *ordered = data;

    ck_assert_msg(!g_hash_table_contains(ordered->written, from), "%s is not synced when it is %s",
                  from, to);
    if (strstr(to, "/refs/") != NULL) {
        check_before_reference(ordered, to);
        ordered->moved++;
    }
    note_name(ordered, to);
    return host_system()->rename(NULL, from, to);
}

static int ordered_unlink(void *data, const char *path)
{
    struct ordered_host *ordered = data;

    g_hash_table_remove(ordered->written, path);
    if (strstr(path, "/refs/") != NULL && !may_be_lost(path))
        note_name(ordered, path);
    return host_system()->unlink(NULL, path);
}

static int ordered_mkdir(void *data, const char *path, mode_t mode)
{
    int result = host_system()->mkdir(NULL, path, mode);

    if (result == 0)
        note_name(data, path);
    return result;
}

static int64_t ordered_now(void *data)
{
    (void)data;
    return host_system()->now(NULL);
}

static int ordered_random(void *data, void *bytes, size_t length)
{
    (void)data;
    return host_system()->random(NULL, bytes, length);
}

void ordered_host_init(struct ordered_host *ordered)
{
    *ordered = (struct ordered_host){
        .host =
            {
                .data = ordered,
                .open = ordered_open,
                .write = ordered_write,
                .pwrite = ordered_pwrite,
                .fsync = ordered_fsync,
                .fdatasync = ordered_fsync,
                .syncfs = ordered_syncfs,
                .fsync_directory = ordered_fsync_directory,
                .close = ordered_close,
                .rename = ordered_rename,
                .unlink = ordered_unlink,
                .mkdir = ordered_mkdir,
                .now = ordered_now,
                .random = ordered_random,
            },
        .files = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free),
        .written = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        .named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
}

void ordered_host_release(struct ordered_host *ordered)
{
    g_hash_table_unref(ordered->files);
    g_hash_table_unref(ordered->written);
    g_hash_table_unref(ordered->named);
}

void ordered_host_check(const struct ordered_host *ordered)
{
    GHashTableIter iterator;
    void *path;

    g_hash_table_iter_init(&iterator, ordered->written);
    while (g_hash_table_iter_next(&iterator, &path, NULL))
        ck_assert_msg(may_be_lost(path), "%s was never synced", (char *)path);
    g_hash_table_iter_init(&iterator, ordered->named);
    while (g_hash_table_iter_next(&iterator, &path, NULL))
        ck_assert_msg(may_be_lost(path), "names in %s were never synced", (char *)path);
}
