#include "server/ref_watch.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    DIRECTORIES = 2,    /* that of branches, and the repository's own, which has packed-refs */
    READS_MAX = 64,     /* of events, before the rest waits */
    BUFFER_EVENTS = 64, /* of the longest kind */
};

static const char *const DIRECTORY[DIRECTORIES] = {"refs/heads", "."};

struct entry {
    char *user;
    int watches[DIRECTORIES]; /* -1: could not be set */
    bool kept;
    bool noticed;
    bool gone; /* a directory was replaced: to be set anew */
};

struct ref_watch {
    int fd;
    GHashTable *entries; /* char *user -> struct entry */
    GHashTable *watches; /* number -> struct entry */
};

static void entry_free(void *data)
{
    struct entry *entry = data;

    g_free(entry->user);
    g_free(entry);
}

struct ref_watch *ref_watch_new(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    struct ref_watch *watch;

    if (fd < 0)
        return NULL;
    watch = g_new0(struct ref_watch, 1);
    watch->fd = fd;
    watch->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    watch->watches = g_hash_table_new(NULL, NULL);
    return watch;
}

void ref_watch_free(struct ref_watch *watch)
{
    if (watch == NULL)
        return;
    close(watch->fd);
    g_hash_table_unref(watch->watches);
    g_hash_table_unref(watch->entries);
    g_free(watch);
}

int ref_watch_fd(const struct ref_watch *watch)
{
    return watch != NULL ? watch->fd : -1;
}

void ref_watch_begin(struct ref_watch *watch)
{
    GHashTableIter iterator;
    void *entry;

    if (watch == NULL)
        return;
    g_hash_table_iter_init(&iterator, watch->entries);
    while (g_hash_table_iter_next(&iterator, NULL, &entry))
        ((struct entry *)entry)->kept = false;
}

/* A reference moves when its lock file gets its name, or goes. */
static void add(struct ref_watch *watch, const char *user, const char *path)
{
    struct entry *entry = g_new0(struct entry, 1);

    entry->user = g_strdup(user);
    entry->kept = true;
    for (size_t i = 0; i < DIRECTORIES; i++) {
        char *directory = g_strdup_printf("%s/%s", path, DIRECTORY[i]);

        entry->watches[i] =
            inotify_add_watch(watch->fd, directory, IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
        if (entry->watches[i] >= 0)
            g_hash_table_insert(watch->watches, GINT_TO_POINTER(entry->watches[i]), entry);
        g_free(directory);
    }
    g_hash_table_insert(watch->entries, entry->user, entry);
}

static void drop(struct ref_watch *watch, const struct entry *entry)
{
    for (size_t i = 0; i < DIRECTORIES; i++)
        if (entry->watches[i] >= 0) {
            g_hash_table_remove(watch->watches, GINT_TO_POINTER(entry->watches[i]));
            inotify_rm_watch(watch->fd, entry->watches[i]);
        }
}

void ref_watch_keep(struct ref_watch *watch, const char *user, const char *path)
{
    struct entry *entry;

    if (watch == NULL)
        return;
    entry = g_hash_table_lookup(watch->entries, user);
    if (entry != NULL && entry->gone) {
        drop(watch, entry);
        g_hash_table_remove(watch->entries, user);
        entry = NULL;
    }
    if (entry != NULL)
        entry->kept = true;
    else
        add(watch, user, path);
}

void ref_watch_end(struct ref_watch *watch)
{
    GHashTableIter iterator;
    void *entry;

    if (watch == NULL)
        return;
    g_hash_table_iter_init(&iterator, watch->entries);
    while (g_hash_table_iter_next(&iterator, NULL, &entry))
        if (!((struct entry *)entry)->kept) {
            drop(watch, entry);
            g_hash_table_iter_remove(&iterator);
        }
}

static void notice(struct entry *entry, GPtrArray *users)
{
    if (entry == NULL || entry->noticed)
        return;
    entry->noticed = true;
    g_ptr_array_add(users, entry->user);
}

static void notice_all(struct ref_watch *watch, GPtrArray *users)
{
    GHashTableIter iterator;
    void *entry;

    g_hash_table_iter_init(&iterator, watch->entries);
    while (g_hash_table_iter_next(&iterator, NULL, &entry))
        notice(entry, users);
}

static void notice_event(struct ref_watch *watch, const struct inotify_event *event,
                         GPtrArray *users)
{
    struct entry *entry = g_hash_table_lookup(watch->watches, GINT_TO_POINTER(event->wd));

    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        notice_all(watch, users);
    } else if ((event->mask & IN_IGNORED) != 0 && entry != NULL) {
        /* The directory is gone; git may make it anew: all of it is set again. */
        notice(entry, users);
        g_hash_table_remove(watch->watches, GINT_TO_POINTER(event->wd));
        entry->gone = true;
    } else {
        notice(entry, users);
    }
}

GPtrArray *ref_watch_take(struct ref_watch *watch)
{
    _Alignas(struct inotify_event) char
        buffer[BUFFER_EVENTS * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    GPtrArray *users = g_ptr_array_new();
    ssize_t length = 1;

    for (int i = 0; watch != NULL && length > 0 && i < READS_MAX; i++) {
        length = read(watch->fd, buffer, sizeof(buffer));
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event = (const void *)(buffer + at);

            notice_event(watch, event, users);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    for (guint i = 0; i < users->len; i++)
        ((struct entry *)g_hash_table_lookup(watch->entries, users->pdata[i]))->noticed = false;
    return users;
}
