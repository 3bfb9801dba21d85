#include "store/internal/refs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/refs_private.h"

enum {
    SETTLE_NSEC = 100 * 1000 * 1000, /* more than any file system's clock tick but FAT's */
    DIRECTORY_DEPTH_MAX = 20,
    LOOSE_FILE_MAX = 255, /* octets; a symbolic reference may be as long as it likes */
};

struct loose_ref {
    struct ref_stamp stamp;
    struct object_id id; /* zero: not 40 digits */
    bool settled;
    uint64_t seen; /* the turn in which it was looked at last; 0: none */
};

struct ref_directory {
    struct ref_stamp stamp;
    bool settled;
    GHashTable *files; /* char *full name: the loose references in it */
};

static void directory_free(void *data)
{
    struct ref_directory *directory = data;

    g_hash_table_destroy(directory->files);
    g_free(directory);
}

static void lock_free(void *data)
{
    struct ref_lock *lock = data;

    g_free(lock->name);
    g_free(lock);
}

static int refresh(struct refs *refs, struct store_error *error);

int refs_open(struct refs **out, const char *path, const struct host *host,
              struct store_error *error)
{
    struct refs *refs = g_new0(struct refs, 1);

    refs->host = host;
    refs->path = g_strdup(path);
    refs->loose = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    refs->directories = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, directory_free);
    refs->packed = packed_refs_parse(NULL, 0);
    refs->dirty = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    refs->locks = g_ptr_array_new_with_free_func(lock_free);
    refs->locks_fd = -1;
    ref_locks_clean(refs);
    int result = refs_recover(refs, error);
    if (result == 0) {
        result = refresh(refs, error);
    }
    if (result < 0) {
        refs_close(refs);
        return result;
    }
    refs->outside = false;
    *out = refs;
    return 0;
}

uint64_t refs_turn(const struct refs *refs)
{
    return refs->turn != NULL ? *refs->turn : 0;
}

void refs_set_turn(struct refs *refs, const uint64_t *turn)
{
    refs->turn = turn;
}

void refs_close(struct refs *refs)
{
    if (refs == NULL) {
        return;
    }
    ref_locks_close(refs);
    g_hash_table_destroy(refs->loose);
    g_hash_table_destroy(refs->directories);
    g_hash_table_destroy(refs->packed);
    g_hash_table_destroy(refs->dirty);
    g_ptr_array_free(refs->locks, TRUE);
    if (refs->packed_text != NULL) {
        g_bytes_unref(refs->packed_text);
    }
    if (refs->interrupted != NULL) {
        g_array_free(refs->interrupted, TRUE);
    }
    g_free(refs->locks_path);
    g_free(refs->path);
    g_free(refs);
}

struct ref_stamp ref_stamp_of(const struct stat *status)
{
    return (struct ref_stamp){
        .mtime = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec,
        .inode = status->st_ino,
        .size = status->st_size,
    };
}

bool ref_stamp_equal(const struct ref_stamp *a, const struct ref_stamp *b)
{
    return a->mtime == b->mtime && a->inode == b->inode && a->size == b->size;
}

bool ref_stamp_settled(const struct refs *refs, const struct ref_stamp *stamp)
{
    return stamp->mtime < refs->host->now(refs->host->data) * 1000 - SETTLE_NSEC;
}

char *ref_path(const struct refs *refs, const char *name, const char *suffix)
{
    return g_strconcat(refs->path, "/", name, suffix, NULL);
}

char *ref_parent(const char *path)
{
    const char *slash = strrchr(path, '/');

    return g_strndup(path, slash != NULL ? (size_t)(slash - path) : 0);
}

/* git-check-ref-format(1), as far as files and our own text formats depend on it. */
bool ref_name_valid(const char *name, size_t length)
{
    if (length > REF_NAME_MAX || length < 6 || memcmp(name, "refs/", 5) != 0) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        bool begins = name[i] == '/';

        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f) {
            return false;
        }
        if (begins && (i + 1 == length || name[i + 1] == '/' || name[i + 1] == '.')) {
            return false;
        }
        if (name[i] == '.' && i + 1 < length && name[i + 1] == '.') {
            return false;
        }
        if (length - i >= 5 && memcmp(name + i, ".lock", 5) == 0 &&
            (length - i == 5 || name[i + 5] == '/')) {
            return false;
        }
    }
    return true;
}

void refs_mark_dirty(struct refs *refs, const char *directory)
{
    g_hash_table_add(refs->dirty, g_strdup(directory));
}

void refs_mark_parent_dirty(struct refs *refs, const char *path)
{
    g_hash_table_add(refs->dirty, ref_parent(path));
}

/* The directory that a reference's file is in, made known if it isn't. */
static struct ref_directory *directory_of(struct refs *refs, const char *name)
{
    char *parent = ref_parent(name);
    struct ref_directory *directory = g_hash_table_lookup(refs->directories, parent);

    if (directory == NULL) {
        directory = g_new0(struct ref_directory, 1);
        directory->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_hash_table_insert(refs->directories, parent, directory);
    } else {
        g_free(parent);
    }
    return directory;
}

static void remember(struct refs *refs, const char *name, const struct loose_ref *loose)
{
    g_hash_table_insert(refs->loose, g_strdup(name), g_memdup2(loose, sizeof(*loose)));
    g_hash_table_add(directory_of(refs, name)->files, g_strdup(name));
}

static void forget(struct refs *refs, const char *name)
{
    g_hash_table_remove(directory_of(refs, name)->files, name);
    g_hash_table_remove(refs->loose, name);
}

void refs_note_own(struct refs *refs, const char *name, const struct object_id *id,
                   const struct ref_stamp *stamp, bool settled)
{
    struct loose_ref loose = {.stamp = *stamp, .id = *id, .settled = settled};

    if (object_id_is_zero(id)) {
        forget(refs, name);
    } else {
        remember(refs, name, &loose);
    }
}

/* Forty digits and a line end. Anything else (a symbolic reference, an empty file) is no value. */
static struct object_id parse_value(char *text, size_t length)
{
    struct object_id id = {{0}};

    while (length > 0 && g_ascii_isspace(text[length - 1])) {
        length--;
    }
    text[length] = '\0';
    if (length != OBJECT_ID_HEX || !object_id_parse(&id, text)) {
        return (struct object_id){{0}};
    }
    return id;
}

static bool is_missing(int number)
{
    return number == ENOENT || number == ENOTDIR || number == EISDIR;
}

/* Reads the loose file. STORE_NOT_FOUND when there is none (a directory is none). */
static int read_loose(const struct refs *refs, const char *name, struct loose_ref *out,
                      struct store_error *error)
{
    char text[LOOSE_FILE_MAX + 1];
    struct stat status;
    char *path = ref_path(refs, name, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int number = fd < 0 ? errno : 0;
    ssize_t length = 0;

    g_free(path);
    if (number == 0 && fstat(fd, &status) < 0) {
        number = errno;
    }
    if (number == 0) {
        out->stamp = ref_stamp_of(&status);
        out->settled = ref_stamp_settled(refs, &out->stamp);
        length = read(fd, text, sizeof(text) - 1);
        number = length < 0 ? errno : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (is_missing(number)) {
        return store_error_set(error, STORE_NOT_FOUND, "no reference %s", name);
    }
    if (number != 0 && number != ELOOP) {
        return host_fail(error, -number, name);
    }
    out->id = number == ELOOP ? (struct object_id){{0}} : parse_value(text, (size_t)length);
    return 0;
}

/* Looks again at a loose file unless what is remembered is certain; NULL when there is none. */
static const struct loose_ref *look_at_loose(struct refs *refs, const char *name)
{
    struct loose_ref *known = g_hash_table_lookup(refs->loose, name);
    struct loose_ref fresh = {.settled = false};
    struct store_error error;
    struct stat status;
    char *path = ref_path(refs, name, "");
    bool exists = lstat(path, &status) == 0 && !S_ISDIR(status.st_mode);

    g_free(path);
    if (exists && known != NULL && known->settled) {
        struct ref_stamp stamp = ref_stamp_of(&status);

        if (ref_stamp_equal(&stamp, &known->stamp)) {
            known->seen = refs_turn(refs);
            return known;
        }
    }
    int result = exists ? read_loose(refs, name, &fresh, &error) : STORE_NOT_FOUND;
    if (result == STORE_NOT_FOUND) {
        refs->outside = refs->outside || known != NULL;
        forget(refs, name);
        return NULL;
    }
    /* Unreadable counts as without a value: the caller says that it is corrupt. */
    if (known == NULL || !object_id_equal(&known->id, &fresh.id)) {
        refs->outside = true;
    }
    fresh.seen = refs_turn(refs);
    remember(refs, name, &fresh);
    return g_hash_table_lookup(refs->loose, name);
}

/* What this turn has already seen of it; NULL: nothing. */
static const struct loose_ref *seen_in_turn(const struct refs *refs, const char *name)
{
    uint64_t turn = refs_turn(refs);
    bool believed = turn != 0 && turn != refs->doubted;
    const struct loose_ref *known = believed ? g_hash_table_lookup(refs->loose, name) : NULL;

    return known != NULL && known->seen == turn ? known : NULL;
}

static int no_value(const char *name, struct store_error *error)
{
    return store_error_set(error, STORE_CORRUPT, "reference %s is not an object id", name);
}

int ref_current(struct refs *refs, const char *name, struct object_id *out,
                struct store_error *error)
{
    struct loose_ref loose;
    int result = read_loose(refs, name, &loose, error);

    *out = (struct object_id){{0}};
    if (result == 0) {
        *out = loose.id;
        return object_id_is_zero(&loose.id) ? no_value(name, error) : 0;
    }
    if (result != STORE_NOT_FOUND) {
        return result;
    }
    result = refs_load_packed(refs, false, error);
    if (result < 0) {
        return result;
    }
    const struct object_id *packed = g_hash_table_lookup(refs->packed, name);
    if (packed != NULL) {
        *out = *packed;
    }
    return 0;
}

int refs_read(struct refs *refs, const char *name, struct object_id *out, struct store_error *error)
{
    assert(ref_name_valid(name, strlen(name)));
    int result = refs_settle(refs, error);
    if (result < 0) {
        return result;
    }
    const struct loose_ref *loose = seen_in_turn(refs, name);
    if (loose == NULL) {
        loose = look_at_loose(refs, name);
    }
    if (loose != NULL) {
        *out = loose->id;
        return object_id_is_zero(out) ? no_value(name, error) : 0;
    }
    /* Whoever packs a reference writes packed-refs first and removes the loose file then. */
    result = refs_load_packed(refs, false, error);
    if (result < 0) {
        return result;
    }
    const struct object_id *packed = g_hash_table_lookup(refs->packed, name);
    if (packed == NULL) {
        return store_error_set(error, STORE_NOT_FOUND, "no reference %s", name);
    }
    *out = *packed;
    return 0;
}

static void forget_directory(struct refs *refs, const char *name)
{
    struct ref_directory *directory = g_hash_table_lookup(refs->directories, name);

    if (directory == NULL) {
        return;
    }
    GList *files = g_hash_table_get_keys(directory->files);
    for (GList *file = files; file != NULL; file = file->next) {
        char *copy = g_strdup(file->data);

        look_at_loose(refs, copy);
        g_free(copy);
    }
    g_list_free(files);
    if (g_hash_table_size(directory->files) == 0) {
        g_hash_table_remove(refs->directories, name);
    }
}

static void scan_directory(struct refs *refs, const char *name, int depth);

static bool is_directory(const struct refs *refs, const char *name, unsigned char type)
{
    struct stat status;

    if (type != DT_UNKNOWN) {
        return type == DT_DIR;
    }
    char *path = ref_path(refs, name, "");
    bool directory = lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
    g_free(path);
    return directory;
}

/* Adds the name to seen if it is a reference's. */
static void scan_entry(struct refs *refs, const char *directory, const struct dirent *entry,
                       int depth, GHashTable *seen)
{
    char *name = g_strdup_printf("%s/%s", directory, entry->d_name);

    if (!ref_name_valid(name, strlen(name))) {
        g_free(name);
    } else if (is_directory(refs, name, entry->d_type)) {
        if (!g_hash_table_contains(refs->directories, name)) {
            scan_directory(refs, name, depth + 1);
        }
        g_free(name);
    } else {
        look_at_loose(refs, name);
        g_hash_table_add(seen, name);
    }
}

/* Names that were in the directory and have not been seen now. */
static void look_for_vanished(struct refs *refs, const struct ref_directory *directory,
                              GHashTable *seen)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, directory->files);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (!g_hash_table_contains(seen, name)) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    for (guint i = 0; i < names->len; i++) {
        look_at_loose(refs, names->pdata[i]);
    }
    g_ptr_array_free(names, TRUE);
}

static void read_directory(struct refs *refs, const char *name, struct ref_directory *directory,
                           int depth)
{
    struct dirent *entry;
    char *path = ref_path(refs, name, "");
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    DIR *handle = opendir(path);

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        scan_entry(refs, name, entry, depth, seen);
    }
    look_for_vanished(refs, directory, seen);
    if (handle != NULL) {
        closedir(handle);
    } else {
        directory->settled = false;
    }
    g_hash_table_destroy(seen);
    g_free(path);
}

/* Every reference directly in a directory that may have changed; new directories in it, too. */
static void scan_directory(struct refs *refs, const char *name, int depth)
{
    struct stat status;
    char *path = ref_path(refs, name, "");
    bool exists = stat(path, &status) == 0 && S_ISDIR(status.st_mode);

    g_free(path);
    if (depth > DIRECTORY_DEPTH_MAX || !exists) {
        forget_directory(refs, name);
        return;
    }
    char *inside = g_strdup_printf("%s/x", name);
    struct ref_directory *directory = directory_of(refs, inside);
    struct ref_stamp stamp = ref_stamp_of(&status);

    g_free(inside);
    if (!directory->settled || !ref_stamp_equal(&directory->stamp, &stamp)) {
        directory->stamp = stamp;
        directory->settled = ref_stamp_settled(refs, &stamp);
        read_directory(refs, name, directory, depth);
    }
}

/* Brings everything remembered up to date; sets outside if that changed anything. */
static int refresh(struct refs *refs, struct store_error *error)
{
    GPtrArray *known = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, refs->directories);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (strcmp(name, "refs") != 0) {
            g_ptr_array_add(known, g_strdup(name));
        }
    }
    scan_directory(refs, "refs", 0);
    for (guint i = 0; i < known->len; i++) {
        scan_directory(refs, known->pdata[i], 1);
    }
    g_ptr_array_free(known, TRUE);
    return refs_load_packed(refs, false, error);
}

bool refs_changed_outside(struct refs *refs)
{
    struct store_error error;
    /* What can't be read may have changed. */
    bool changed = refresh(refs, &error) < 0 || refs->outside;

    refs->outside = false;
    return changed;
}

static void ref_entry_free(void *data)
{
    struct ref_entry *entry = data;

    g_free(entry->name);
    g_free(entry);
}

static int compare_ref_entries(const void *a, const void *b)
{
    const struct ref_entry *left = *(const struct ref_entry *const *)a;
    const struct ref_entry *right = *(const struct ref_entry *const *)b;

    return strcmp(left->name, right->name);
}

static void add_ref_entry(GPtrArray *out, const char *name, const struct object_id *id)
{
    struct ref_entry *entry = g_new0(struct ref_entry, 1);

    entry->name = g_strdup(name);
    entry->id = *id;
    g_ptr_array_add(out, entry);
}

int refs_list(struct refs *refs, const char *prefix, GPtrArray **out, struct store_error *error)
{
    GHashTableIter iterator;
    void *name;
    void *value;
    int result = refs_settle(refs, error);

    if (result == 0) {
        result = refresh(refs, error);
    }
    if (result < 0) {
        return result;
    }
    *out = g_ptr_array_new_with_free_func(ref_entry_free);
    g_hash_table_iter_init(&iterator, refs->loose);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const struct loose_ref *loose = value;

        if (g_str_has_prefix(name, prefix) && !object_id_is_zero(&loose->id)) {
            add_ref_entry(*out, name, &loose->id);
        }
    }
    g_hash_table_iter_init(&iterator, refs->packed);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        if (g_str_has_prefix(name, prefix) && !g_hash_table_contains(refs->loose, name)) {
            add_ref_entry(*out, name, value);
        }
    }
    g_ptr_array_sort(*out, compare_ref_entries);
    return 0;
}

int refs_sync(struct refs *refs, struct store_error *error)
{
    GHashTableIter iterator;
    void *path;

    g_hash_table_iter_init(&iterator, refs->dirty);
    while (g_hash_table_iter_next(&iterator, &path, NULL)) {
        int result = refs->host->fsync_directory(refs->host->data, path);

        /* A directory that is gone has nothing to keep; its parent is marked. */
        if (result < 0 && result != -ENOENT) {
            return host_fail(error, result, "references: sync");
        }
        g_hash_table_iter_remove(&iterator);
    }
    return 0;
}
