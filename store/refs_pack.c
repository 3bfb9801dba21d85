#include "store/internal/refs_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/refs.h"
#include "store/internal/refs_private.h"

#define PACKED_REFS     "packed-refs"
#define PACKED_REFS_NEW "annal-packed-refs"

enum { MICROSECONDS = 1000000 };

static bool is_old_file(const struct refs *refs, const char *name, int64_t age_seconds)
{
    struct stat status;
    char *path = ref_path(refs, name, "");
    int64_t now = refs->host->now(refs->host->data) / MICROSECONDS;
    bool old = lstat(path, &status) == 0 && S_ISREG(status.st_mode) &&
               now - status.st_mtime >= age_seconds;

    g_free(path);
    return old;
}

/* The loose references below prefix that are old enough, as struct ref_entry. */
static int find_old(struct refs *refs, const char *prefix, int64_t age_seconds, GPtrArray *out,
                    struct store_error *error)
{
    GPtrArray *entries;
    int result = refs_list(refs, prefix, &entries, error);

    if (result < 0) {
        return result;
    }
    g_ptr_array_set_free_func(entries, NULL);
    for (guint i = 0; i < entries->len; i++) {
        struct ref_entry *entry = entries->pdata[i];

        if (is_old_file(refs, entry->name, age_seconds)) {
            g_ptr_array_add(out, entry);
        } else {
            g_free(entry->name);
            g_free(entry);
        }
    }
    g_ptr_array_free(entries, TRUE);
    return 0;
}

static void entry_free(void *data)
{
    struct ref_entry *entry = data;

    g_free(entry->name);
    g_free(entry);
}

/* ---- the new text ---- */

/* Name -> what stands in packed-refs for it, with the line after it where a tag is peeled. */
static GHashTable *packed_lines(struct refs *refs, bool *fully_peeled)
{
    GHashTable *lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    gsize left = 0;
    const char *text =
        refs->packed_text != NULL ? g_bytes_get_data(refs->packed_text, &left) : NULL;

    *fully_peeled = left == 0;
    while (left > 0) {
        const char *end = memchr(text, '\n', left);
        size_t length = end != NULL ? (size_t)(end - text) + 1 : left;
        size_t line = length - (end != NULL);

        if (*text == '#') {
            *fully_peeled = *fully_peeled || memmem(text, line, " fully-peeled", 13) != NULL;
        } else if (end != NULL && line > OBJECT_ID_HEX + 1 && *text != '^') {
            size_t peeled =
                left > length && text[length] == '^' ? strcspn(text + length, "\n") + 1 : 0;
            char *name = g_strndup(text + OBJECT_ID_HEX + 1, line - OBJECT_ID_HEX - 1);

            peeled = MIN(peeled, left - length);
            g_hash_table_insert(lines, name, g_strndup(text, length + peeled));
            length += peeled;
        }
        text += length;
        left -= length;
    }
    return lines;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* packed-refs with these references (whatever it has for them now). */
static GString *make_text(struct refs *refs, const GPtrArray *entries)
{
    bool fully_peeled;
    GHashTable *lines = packed_lines(refs, &fully_peeled);
    GPtrArray *names = g_ptr_array_new();
    GString *text = g_string_new("# pack-refs with: peeled ");
    GHashTableIter iterator;
    void *name;

    g_string_append(text, fully_peeled ? "fully-peeled sorted \n" : "sorted \n");
    for (guint i = 0; i < entries->len; i++) {
        const struct ref_entry *entry = entries->pdata[i];
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(&entry->id, hex);
        g_hash_table_insert(lines, g_strdup(entry->name),
                            g_strdup_printf("%s %s\n", hex, entry->name));
    }
    g_hash_table_iter_init(&iterator, lines);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        g_ptr_array_add(names, name);
    }
    g_ptr_array_sort(names, compare_text);
    for (guint i = 0; i < names->len; i++) {
        g_string_append(text, g_hash_table_lookup(lines, names->pdata[i]));
    }
    g_ptr_array_free(names, TRUE);
    g_hash_table_destroy(lines);
    return text;
}

/* Left by a crash the new file is overwritten: only who holds the lock writes it. */
static int replace(struct refs *refs, const GString *text)
{
    const struct host *host = refs->host;
    char *new_path = ref_path(refs, PACKED_REFS_NEW, "");
    char *path = ref_path(refs, PACKED_REFS, "");
    int fd = host->open(host->data, new_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    int result = fd < 0 ? fd : 0;

    if (fd >= 0) {
        result = host->write(host->data, fd, text->str, text->len);
        if (result == 0) {
            result = host->fsync(host->data, fd);
        }
        int closed = host->close(host->data, fd);
        result = result < 0 ? result : closed;
        if (result == 0) {
            result = host->rename(host->data, new_path, path);
        }
        if (result < 0) {
            host->unlink(host->data, new_path);
        }
    }
    if (result == 0) {
        result = host->fsync_directory(host->data, refs->path);
    }
    g_free(new_path);
    g_free(path);
    return result;
}

/* ---- the loose files ---- */

/* Directories that are empty now, up to refs/SOMETHING. */
static void remove_empty_parents(const struct refs *refs, const char *name)
{
    char *directory = ref_parent(name);
    bool removed = true;

    while (removed && strchr(directory + strlen("refs/"), '/') != NULL) {
        char *path = ref_path(refs, directory, "");
        char *parent = ref_parent(directory);

        removed = rmdir(path) == 0;
        g_free(path);
        g_free(directory);
        directory = parent;
    }
    g_free(directory);
}

/* Removes the file unless it has got another value since. A lock that somebody holds means that it
 * is about to. */
static void remove_loose(struct refs *refs, const struct ref_entry *entry)
{
    struct store_error error;
    struct object_id current;
    char *path = ref_path(refs, entry->name, "");
    struct stat status;
    int fd;

    if (ref_lock_take(refs, entry->name, &fd, &error) < 0) {
        g_free(path);
        return;
    }
    refs->host->close(refs->host->data, fd);
    if (ref_current(refs, entry->name, &current, &error) == 0 &&
        object_id_equal(&current, &entry->id) && lstat(path, &status) == 0) {
        refs->host->unlink(refs->host->data, path);
    }
    ref_lock_drop(refs, entry->name);
    remove_empty_parents(refs, entry->name);
    g_free(path);
}

/* ---- all of it ---- */

static int pack_entries(struct refs *refs, const GPtrArray *entries, struct store_error *error)
{
    int fd;
    int result = ref_lock_take(refs, PACKED_REFS, &fd, error);

    if (result < 0) {
        return result;
    }
    refs->host->close(refs->host->data, fd);
    result = refs_load_packed(refs, false, error);
    if (result == 0) {
        GString *text = make_text(refs, entries);
        int replaced = text->len <= PACKED_REFS_MAX ? replace(refs, text) : -EFBIG;

        result = replaced < 0 ? host_fail(error, replaced, PACKED_REFS) : 0;
        g_string_free(text, TRUE);
    }
    ref_lock_drop(refs, PACKED_REFS);
    for (guint i = 0; i < entries->len && result == 0; i++) {
        remove_loose(refs, entries->pdata[i]);
    }
    return result;
}

int refs_pack(const char *path, const struct host *host, size_t min, int64_t age_seconds,
              size_t *packed, struct store_error *error)
{
    GPtrArray *entries = g_ptr_array_new_with_free_func(entry_free);
    struct refs *refs = NULL;
    int result = refs_open(&refs, path, host, error);

    *packed = 0;
    if (result == 0) {
        result = find_old(refs, "refs/heads/", age_seconds, entries, error);
    }
    if (result == 0) {
        result = find_old(refs, "refs/deleted/", age_seconds, entries, error);
    }
    if (result == 0 && entries->len > 0 && entries->len >= min) {
        result = pack_entries(refs, entries, error);
        *packed = result == 0 ? entries->len : 0;
    }
    refs_close(refs);
    g_ptr_array_free(entries, TRUE);
    return result;
}
