#include "tests/power_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOUR = 3600, MICROSECONDS = 1000000 };

/* A file, whatever its names; a directory's have no content. */
struct node {
    GByteArray *now;  /* NULL: a directory */
    GByteArray *safe; /* NULL: nothing of it was ever synced */
    bool dirty;
};

/* A change of names that is not durable. */
struct naming {
    char *path;
    char *from;        /* NULL: no rename */
    struct node *node; /* NULL: the name goes */
};

struct power_host {
    struct host host;
    char *root;
    GPtrArray *nodes;   /* owned */
    GHashTable *names;  /* char *path relative to root -> struct node *, as it is */
    GHashTable *safe;   /* the same, as it is durable */
    GHashTable *ever;   /* the same: the last one that had the name */
    GPtrArray *namings; /* struct naming, in order */
    GHashTable *open;   /* int descriptor -> struct node *, of those open for writing */
    pthread_mutex_t mutex;
    power_watch watch;
    void *watch_data;
    unsigned calls;
    int64_t time;
    uint32_t random;
};

uint32_t power_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "power_host: %s: %s: %s\n", what, path, strerror(errno));
    abort();
}

/* --- names --- */

static void node_free(void *data)
{
    struct node *node = data;

    if (node->now != NULL) {
        g_byte_array_unref(node->now);
    }
    if (node->safe != NULL) {
        g_byte_array_unref(node->safe);
    }
    g_free(node);
}

static void naming_free(void *data)
{
    struct naming *naming = data;

    g_free(naming->path);
    g_free(naming->from);
    g_free(naming);
}

static struct node *node_new(struct power_host *power, bool directory)
{
    struct node *node = g_new0(struct node, 1);

    node->now = directory ? NULL : g_byte_array_new();
    g_ptr_array_add(power->nodes, node);
    return node;
}

static GHashTable *names_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static const char *relative(const struct power_host *power, const char *path)
{
    size_t length = strlen(power->root);

    if (strncmp(path, power->root, length) != 0 || (path[length] != '/' && path[length] != '\0')) {
        errno = EXDEV;
        fail("outside of the directory", path);
    }
    return path[length] == '/' ? path + length + 1 : path + length;
}

static bool is_in(const char *path, const char *directory)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;

    return path != NULL && length == strlen(directory) && memcmp(path, directory, length) == 0;
}

static void apply(GHashTable *names, const struct naming *naming)
{
    if (naming->from != NULL) {
        g_hash_table_remove(names, naming->from);
    }
    if (naming->node != NULL) {
        g_hash_table_replace(names, g_strdup(naming->path), naming->node);
    } else {
        g_hash_table_remove(names, naming->path);
    }
}

static void name(struct power_host *power, const char *path, const char *from, struct node *node)
{
    struct naming *naming = g_new(struct naming, 1);

    *naming = (struct naming){g_strdup(path), g_strdup(from), node};
    apply(power->names, naming);
    if (node != NULL) {
        g_hash_table_replace(power->ever, g_strdup(path), node);
    }
    g_ptr_array_add(power->namings, naming);
}

/* directory NULL: all. */
static void make_names_safe(struct power_host *power, const char *directory)
{
    guint i = 0;

    while (i < power->namings->len) {
        const struct naming *naming = power->namings->pdata[i];

        if (directory == NULL || is_in(naming->path, directory) || is_in(naming->from, directory)) {
            apply(power->safe, naming);
            g_ptr_array_remove_index(power->namings, i);
        } else {
            i++;
        }
    }
}

static void make_safe(struct node *node)
{
    if (node->now == NULL || !node->dirty) {
        return;
    }
    if (node->safe == NULL) {
        node->safe = g_byte_array_new();
    }
    g_byte_array_set_size(node->safe, 0);
    g_byte_array_append(node->safe, node->now->data, node->now->len);
    node->dirty = false;
}

/* --- the table --- */

static void begin(struct power_host *power)
{
    pthread_mutex_lock(&power->mutex);
    power->calls++;
    if (power->watch != NULL) {
        power->watch(power->watch_data, power->calls);
    }
}

static int end(struct power_host *power, int result)
{
    pthread_mutex_unlock(&power->mutex);
    return result;
}

static void note_open(struct power_host *power, const char *path, int flags, int fd)
{
    const char *short_path = relative(power, path);
    struct node *node = g_hash_table_lookup(power->names, short_path);

    if (node == NULL) {
        node = node_new(power, false);
        node->dirty = true;
        name(power, short_path, NULL, node);
    }
    if ((flags & O_TRUNC) != 0) {
        g_byte_array_set_size(node->now, 0);
        node->dirty = true;
    }
    g_hash_table_insert(power->open, GINT_TO_POINTER(fd), node);
}

static int power_open(void *data, const char *path, int flags, mode_t mode)
{
    struct power_host *power = data;
    bool writes = (flags & O_ACCMODE) != O_RDONLY;

    if (!writes) {
        return host_system()->open(NULL, path, flags, mode);
    }
    begin(power);
    int fd = host_system()->open(NULL, path, flags, mode);
    if (fd >= 0) {
        note_open(power, path, flags, fd);
    }
    return end(power, fd);
}

static void note_write(struct power_host *power, int fd, const void *bytes, size_t length,
                       uint64_t offset)
{
    struct node *node = g_hash_table_lookup(power->open, GINT_TO_POINTER(fd));

    if (node == NULL) {
        fail("a write to a file that is not known", "");
    }
    guint had = node->now->len;
    if (offset + length > had) {
        g_byte_array_set_size(node->now, (guint)(offset + length));
        if (offset > had) {
            memset(node->now->data + had, 0, (size_t)(offset - had));
        }
    }
    if (length > 0) {
        memcpy(node->now->data + offset, bytes, length);
    }
    node->dirty = true;
}

static int power_write(void *data, int fd, const void *bytes, size_t length)
{
    struct power_host *power = data;
    off_t offset = lseek(fd, 0, SEEK_CUR);

    begin(power);
    int result = host_system()->write(NULL, fd, bytes, length);
    if (result == 0) {
        note_write(power, fd, bytes, length, (uint64_t)offset);
    }
    return end(power, result);
}

static int power_pwrite(void *data, int fd, const void *bytes, size_t length, uint64_t offset)
{
    struct power_host *power = data;

    begin(power);
    int result = host_system()->pwrite(NULL, fd, bytes, length, offset);
    if (result == 0) {
        note_write(power, fd, bytes, length, offset);
    }
    return end(power, result);
}

static int power_fsync(void *data, int fd)
{
    struct power_host *power = data;

    begin(power);
    struct node *node = g_hash_table_lookup(power->open, GINT_TO_POINTER(fd));
    if (node != NULL) {
        make_safe(node);
    }
    return end(power, 0);
}

static int power_syncfs(void *data, int fd)
{
    struct power_host *power = data;

    (void)fd;
    begin(power);
    make_names_safe(power, NULL);
    for (guint i = 0; i < power->nodes->len; i++) {
        make_safe(power->nodes->pdata[i]);
    }
    return end(power, 0);
}

/* What was unlinked in a directory that was removed from this one since is gone with it. */
static void make_removals_safe(struct power_host *power, const char *directory)
{
    for (guint i = 0; i < power->namings->len;) {
        const struct naming *naming = power->namings->pdata[i];
        g_autofree char *parent = g_path_get_dirname(naming->path);
        g_autofree char *path = g_strdup_printf("%s/%s", power->root, parent);

        if (naming->node == NULL && is_in(parent, directory) && access(path, F_OK) != 0) {
            apply(power->safe, naming);
            g_ptr_array_remove_index(power->namings, i);
        } else {
            i++;
        }
    }
}

static int power_fsync_directory(void *data, const char *path)
{
    struct power_host *power = data;
    struct stat status;

    begin(power);
    if (stat(path, &status) < 0) {
        return end(power, -errno);
    }
    make_names_safe(power, relative(power, path));
    make_removals_safe(power, relative(power, path));
    return end(power, 0);
}

static int power_close(void *data, int fd)
{
    struct power_host *power = data;

    pthread_mutex_lock(&power->mutex);
    g_hash_table_remove(power->open, GINT_TO_POINTER(fd));
    return end(power, host_system()->close(NULL, fd));
}

static int power_rename(void *data, const char *from, const char *to)
{
    struct power_host *power = data;

    begin(power);
    int result = host_system()->rename(NULL, from, to);
    if (result == 0) {
        struct node *node = g_hash_table_lookup(power->names, relative(power, from));

        if (node == NULL || node->now == NULL) {
            fail("renamed, and not a known file", from);
        }
        name(power, relative(power, to), relative(power, from), node);
    }
    return end(power, result);
}

static int power_unlink(void *data, const char *path)
{
    struct power_host *power = data;

    begin(power);
    int result = host_system()->unlink(NULL, path);
    if (result == 0) {
        name(power, relative(power, path), NULL, NULL);
    }
    return end(power, result);
}

static int power_mkdir(void *data, const char *path, mode_t mode)
{
    struct power_host *power = data;

    begin(power);
    int result = host_system()->mkdir(NULL, path, mode);
    if (result == 0) {
        name(power, relative(power, path), NULL, node_new(power, true));
    }
    return end(power, result);
}

static int64_t power_now(void *data)
{
    return power_host_time(data);
}

static int power_octets(void *data, void *bytes, size_t length)
{
    struct power_host *power = data;
    uint8_t *next = bytes;

    for (size_t i = 0; i < length; i++) {
        next[i] = (uint8_t)power_random(&power->random);
    }
    return 0;
}

/* --- making and using --- */

static void load_file(struct node *node, const char *path)
{
    uint8_t buffer[16 * POWER_BLOCK];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    while (fd >= 0 && (got = read(fd, buffer, sizeof(buffer))) > 0) {
        g_byte_array_append(node->now, buffer, (guint)got);
    }
    if (fd < 0 || got < 0) {
        fail("reading", path);
    }
    close(fd);
    node->dirty = true;
    make_safe(node);
}

static void load(struct power_host *power, const char *path)
{
    DIR *handle = opendir(path);
    const struct dirent *entry;

    if (handle == NULL) {
        fail("opening", path);
    }
    while ((entry = readdir(handle)) != NULL) {
        g_autofree char *below = g_strconcat(path, "/", entry->d_name, NULL);
        bool directory = entry->d_type == DT_DIR;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        struct node *node = node_new(power, directory);
        name(power, relative(power, below), NULL, node);
        if (directory) {
            load(power, below);
        } else {
            load_file(node, below);
        }
    }
    closedir(handle);
}

struct power_host *power_host_new(const char *directory)
{
    struct power_host *power = g_new0(struct power_host, 1);

    power->host = (struct host){
        .data = power,
        .open = power_open,
        .write = power_write,
        .pwrite = power_pwrite,
        .fsync = power_fsync,
        .fdatasync = power_fsync,
        .syncfs = power_syncfs,
        .fsync_directory = power_fsync_directory,
        .close = power_close,
        .rename = power_rename,
        .unlink = power_unlink,
        .mkdir = power_mkdir,
        .now = power_now,
        .random = power_octets,
    };
    power->root = g_strdup(directory);
    power->nodes = g_ptr_array_new_with_free_func(node_free);
    power->names = names_new();
    power->safe = names_new();
    power->ever = names_new();
    power->namings = g_ptr_array_new_with_free_func(naming_free);
    power->open = g_hash_table_new(g_direct_hash, g_direct_equal);
    pthread_mutexattr_t recursive; /* a watch may cut */
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&power->mutex, &recursive);
    pthread_mutexattr_destroy(&recursive);
    power->time = host_system()->now(NULL) - (int64_t)HOUR * MICROSECONDS;
    power->random = 2463534242;
    load(power, directory);
    make_names_safe(power, NULL);
    return power;
}

void power_host_free(struct power_host *power)
{
    g_hash_table_unref(power->names);
    g_hash_table_unref(power->safe);
    g_hash_table_unref(power->ever);
    g_hash_table_unref(power->open);
    g_ptr_array_unref(power->namings);
    g_ptr_array_unref(power->nodes);
    pthread_mutex_destroy(&power->mutex);
    g_free(power->root);
    g_free(power);
}

const struct host *power_host_table(struct power_host *power)
{
    return &power->host;
}

void power_host_watch(struct power_host *power, power_watch watch, void *data)
{
    power->watch = watch;
    power->watch_data = data;
}

int64_t power_host_time(const struct power_host *power)
{
    return power->time;
}

void power_host_wait(struct power_host *power, int64_t microseconds)
{
    power->time += microseconds;
}

const void *power_host_content(struct power_host *power, const char *path, size_t *length)
{
    pthread_mutex_lock(&power->mutex);
    const struct node *node = g_hash_table_lookup(power->ever, path);
    pthread_mutex_unlock(&power->mutex);

    if (node == NULL || node->now == NULL) {
        return NULL;
    }
    *length = node->now->len;
    return node->now->data;
}

/* --- after a cut --- */

/* Each block as it was or as it is, the length anything between. */
static GByteArray *tear(const struct node *node, uint32_t *random)
{
    guint had = node->safe != NULL ? node->safe->len : 0;
    guint least = MIN(had, node->now->len);
    guint most = MAX(had, node->now->len);
    guint lengths[] = {had, node->now->len, least + power_random(random) % (most - least + 1)};
    GByteArray *out = g_byte_array_new();

    g_byte_array_set_size(out, lengths[power_random(random) % 3]);
    memset(out->data != NULL ? out->data : (guint8 *)"", 0, out->len);
    for (guint at = 0; at < out->len; at += POWER_BLOCK) {
        const GByteArray *from = power_random(random) % 2 == 0 ? node->now : node->safe;

        if (from != NULL && at < from->len) {
            memcpy(out->data + at, from->data + at,
                   MIN(MIN(out->len - at, from->len - at), POWER_BLOCK));
        }
    }
    return out;
}

static GByteArray *content_after(const struct node *node, enum power_cut cut, uint32_t *random)
{
    if (!node->dirty || cut == POWER_WRITTEN) {
        return g_byte_array_ref(node->now);
    }
    if (cut == POWER_TORN) {
        return tear(node, random);
    }
    return node->safe != NULL ? g_byte_array_ref(node->safe) : g_byte_array_new();
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 || host_system()->write(NULL, fd, bytes, length) < 0) {
        fail("writing", path);
    }
    close(fd);
}

static GHashTable *names_after(const struct power_host *power, enum power_cut cut, uint32_t *random)
{
    GHashTable *names = names_new();
    GHashTableIter iterator;
    void *path;
    void *node;
    /* A file system with a log has made the changes of names up to some moment; others, any. */
    guint certain = power->namings->len > 0 ? power_random(random) % power->namings->len : 0;
    bool log = power_random(random) % 2 == 0;

    g_hash_table_iter_init(&iterator, power->safe);
    while (g_hash_table_iter_next(&iterator, &path, &node)) {
        g_hash_table_insert(names, g_strdup(path), node);
    }
    for (guint i = 0; i < power->namings->len && cut != POWER_LOST; i++) {
        if (cut == POWER_WRITTEN || (log ? i < certain : power_random(random) % 2 == 0)) {
            apply(names, power->namings->pdata[i]);
        }
    }
    return names;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_parent(GHashTable *names, const char *path)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *parent = slash != NULL ? g_strndup(path, (size_t)(slash - path)) : NULL;

    return parent == NULL || g_hash_table_contains(names, parent);
}

/* What is derived may be newer than anything on the disk. */
static void copy_cache(const char *from, const char *to)
{
    DIR *handle = opendir(from);
    const struct dirent *entry;

    mkdir(to, 0700);
    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        g_autofree char *source = g_strconcat(from, "/", entry->d_name, NULL);
        g_autofree char *copy = g_strconcat(to, "/", entry->d_name, NULL);

        if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0) {
            copy_cache(source, copy);
        } else if (entry->d_type == DT_REG) {
            struct node node = {.now = g_byte_array_new()};

            load_file(&node, source);
            write_file(copy, node.now->data, node.now->len);
            g_byte_array_unref(node.now);
            g_byte_array_unref(node.safe);
        }
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

static void cut_to(const struct power_host *power, const char *to, enum power_cut cut,
                   uint32_t *random)
{
    g_autoptr(GHashTable) names = names_after(power, cut, random);
    guint count;
    g_autofree void **paths = g_hash_table_get_keys_as_array(names, &count);

    qsort(paths, count, sizeof(*paths), compare_paths);
    if (mkdir(to, 0700) < 0) {
        fail("making", to);
    }
    for (guint i = 0; i < count; i++) {
        const struct node *node = g_hash_table_lookup(names, paths[i]);
        g_autofree char *path = g_strconcat(to, "/", paths[i], NULL);

        if (!has_parent(names, paths[i]) || g_str_has_prefix(paths[i], "cache/")) {
            g_hash_table_remove(names, paths[i]);
        } else if (node->now == NULL) {
            mkdir(path, 0700);
        } else {
            GByteArray *content = content_after(node, cut, random);

            write_file(path, content->data, content->len);
            g_byte_array_unref(content);
        }
    }
    if (cut != POWER_LOST) {
        g_autofree char *cache = g_strconcat(power->root, "/cache", NULL);
        g_autofree char *copy = g_strconcat(to, "/cache", NULL);

        copy_cache(cache, copy);
    }
}

void power_host_cut(struct power_host *power, const char *to, enum power_cut cut, uint32_t *random)
{
    pthread_mutex_lock(&power->mutex);
    cut_to(power, to, cut, random);
    pthread_mutex_unlock(&power->mutex);
}
