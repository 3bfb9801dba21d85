#include "server/import_maildir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mailbox_name.h"
#include "server/dovecot_files.h"
#include "server/folder_name.h"
#include "store/account.h"

/* --- directories --- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory but for "." and ".."; NULL with errno. */
static GPtrArray *read_names(const char *path)
{
    DIR *directory = opendir(path);
    GPtrArray *names;
    struct dirent *found;

    if (directory == NULL)
        return NULL;
    names = g_ptr_array_new_with_free_func(g_free);
    while ((found = readdir(directory)) != NULL)
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(found->d_name));
    closedir(directory);
    g_ptr_array_sort(names, compare_strings);
    return names;
}

static bool is_directory(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool has_file(const char *folder, const char *name)
{
    char *path = g_strdup_printf("%s/%s", folder, name);
    struct stat status;
    bool has = lstat(path, &status) == 0;

    g_free(path);
    return has;
}

static bool has_cur(const char *folder)
{
    char *path = g_strdup_printf("%s/cur", folder);
    bool has = is_directory(path);

    g_free(path);
    return has;
}

/* --- folders --- */

struct folder {
    char *path;
    char *mailbox; /* UTF-8 */
};

static void folder_free(void *data)
{
    struct folder *folder = data;

    g_free(folder->path);
    g_free(folder->mailbox);
    g_free(folder);
}

static void add_folder(GPtrArray *folders, const char *path, const char *wire,
                       const struct import_sink *sink)
{
    struct folder *folder = g_new0(struct folder, 1);

    folder->path = g_strdup(path);
    if (*wire == '\0')
        folder->mailbox = g_strdup("");
    else if (!mailbox_name_decode(&folder->mailbox, wire, strlen(wire), false))
        folder->mailbox = NULL;
    if (folder->mailbox != NULL) {
        g_ptr_array_add(folders, folder);
        return;
    }
    import_skip(sink, path, "its name can't be a mailbox's");
    folder_free(folder);
}

static bool is_part(const char *name)
{
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

/* A link to what might be a folder: it may lead anywhere, even back. */
static bool is_link_to_folder(const char *path)
{
    struct stat status;
    char *cur = g_strdup_printf("%s/cur", path);
    bool is = lstat(path, &status) == 0 && S_ISLNK(status.st_mode) && stat(cur, &status) == 0 &&
              S_ISDIR(status.st_mode);

    g_free(cur);
    return is;
}

/* The Maildirs in and below a directory. */
static void find_folders(GPtrArray *folders, const char *path, const char *wire, unsigned depth,
                         const struct import_sink *sink)
{
    GPtrArray *names;

    if (has_cur(path))
        add_folder(folders, path, wire, sink);
    names = depth < MAILBOX_DEPTH_MAX ? read_names(path) : NULL;
    if (names == NULL) {
        import_skip(sink, path, depth < MAILBOX_DEPTH_MAX ? strerror(errno) : "too deep");
        return;
    }
    for (unsigned i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        char *below = g_strdup_printf("%s/%s", path, name);

        if (!is_part(name) && is_directory(below)) {
            char *inner = folder_name_below(wire, name);

            find_folders(folders, below, inner, depth + 1, sink);
            g_free(inner);
        } else if (!is_part(name) && is_link_to_folder(below)) {
            import_skip(sink, below, "symbolic links are not followed");
        }
        g_free(below);
    }
    g_ptr_array_unref(names);
}

/* --- messages --- */

enum {
    RENAMES_MAX = 20,  /* of a file while it is read */
    LOOKS_IN_VAIN = 4, /* at a folder, for files that it should have */
    LOOKS_MAX = 50,
};

struct entry {
    char *name;
    const char *part; /* "cur" or "new" */
    uint64_t time;
    uint32_t uid; /* 0: none */
};

static void entry_clear(void *data)
{
    struct entry *entry = data;

    g_free(entry->name);
}

/* Those with UIDs first. */
static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;

    if (left->uid != right->uid)
        return left->uid - 1 < right->uid - 1 ? -1 : 1;
    if (left->time != right->time)
        return left->time < right->time ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* The files of a folder. */
struct listing {
    GArray *entries;     /* struct entry */
    GHashTable *by_base; /* name without flags -> its place in entries, by GUINT_TO_POINTER() */
};

/* What of a file's name stays when its flags change. */
static char *base_of(const char *name)
{
    const char *info = strchr(name, ':');

    return info != NULL ? g_strndup(name, (size_t)(info - name)) : g_strdup(name);
}

static void add_entry(struct listing *listing, const struct uidlist *list, const char *part,
                      const char *name)
{
    struct entry entry = {.part = part, .time = g_ascii_strtoull(name, NULL, 10)};
    char *base = base_of(name);
    void *place;

    if (g_hash_table_lookup_extended(listing->by_base, base, NULL, &place)) {
        struct entry *known =
            &g_array_index(listing->entries, struct entry, GPOINTER_TO_UINT(place));

        g_free(known->name);
        known->name = g_strdup(name);
        known->part = part;
        g_free(base);
        return;
    }
    entry.name = g_strdup(name);
    entry.uid = list->uids != NULL ? uidlist_find(list, name) : 0;
    g_hash_table_insert(listing->by_base, base, GUINT_TO_POINTER(listing->entries->len));
    g_array_append_val(listing->entries, entry);
}

/* False with errno. */
static bool add_entries(struct listing *listing, const struct uidlist *list, const char *folder,
                        const char *part)
{
    char *path = g_strdup_printf("%s/%s", folder, part);
    GPtrArray *names = read_names(path);

    for (unsigned i = 0; names != NULL && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);

        if (name[0] != '.')
            add_entry(listing, list, part, name);
    }
    g_free(path);
    if (names == NULL)
        return false;
    g_ptr_array_unref(names);
    return true;
}

static unsigned count_listed(const struct listing *listing)
{
    unsigned count = 0;

    for (unsigned i = 0; i < listing->entries->len; i++)
        count += g_array_index(listing->entries, struct entry, i).uid != 0;
    return count;
}

/* Reads new before cur: a server that runs moves files only that way. It also renames them, and
 * one that is renamed while the directory is read may not be seen: where the list says that there
 * are more files they are looked for again, until several times nothing more was found. */
static void list_files(struct listing *listing, const struct uidlist *list, const char *folder,
                       const struct import_sink *sink)
{
    static const char *const parts[] = {"new", "cur"};
    unsigned wanted = list->uids != NULL ? g_hash_table_size(list->uids) : 0;
    unsigned in_vain = 0;

    for (unsigned pass = 0; pass == 0 || (in_vain < LOOKS_IN_VAIN && pass < LOOKS_MAX); pass++) {
        unsigned before = listing->entries->len;

        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
            if (!add_entries(listing, list, folder, parts[i]) && pass == 0 &&
                (errno != ENOENT || i == 1)) {
                char *path = g_strdup_printf("%s/%s", folder, parts[i]);

                import_skip(sink, path, strerror(errno));
                g_free(path);
            }
        }
        if (count_listed(listing) >= wanted)
            return;
        in_vain = listing->entries->len > before ? 0 : in_vain + 1;
    }
}

/* A file that is not where it was: a server that runs has changed its flags. */
static bool find_again(struct entry *entry, const char *folder)
{
    static const char *const parts[] = {"new", "cur"};
    char *base = base_of(entry->name);
    bool found = false;

    for (size_t look = 0; !found && look < LOOKS_IN_VAIN * G_N_ELEMENTS(parts); look++) {
        size_t p = look % G_N_ELEMENTS(parts);
        char *path = g_strdup_printf("%s/%s", folder, parts[p]);
        GPtrArray *names = read_names(path);

        for (unsigned i = 0; names != NULL && i < names->len; i++) {
            const char *name = g_ptr_array_index(names, i);
            size_t length = strlen(base);

            if (strncmp(name, base, length) == 0 && (name[length] == '\0' || name[length] == ':')) {
                g_free(entry->name);
                entry->name = g_strdup(name);
                entry->part = parts[p];
                found = true;
                break;
            }
        }
        if (names != NULL)
            g_ptr_array_unref(names);
        g_free(path);
    }
    g_free(base);
    return found;
}

/* A Maildir being read. */
struct reading {
    const struct import_sink *sink;
    const struct folder *folder;     /* of it */
    char *letters[DOVECOT_KEYWORDS]; /* the folder's keywords, or NULL */
    bool exact;
    uint64_t done; /* messages */
};

/* The list of UIDs if the folder has one that can be read; list is initialised in any case. What is
 * wrong with it, or the one that can't be read: a new string, else NULL. */
static char *read_uidlist(struct uidlist *list, const char *folder)
{
    static const char *const names[] = {"dovecot-uidlist", "courierimapuiddb"};
    char *wrong = NULL;

    *list = (struct uidlist){0};
    for (size_t i = 0; i < G_N_ELEMENTS(names) && list->uids == NULL; i++) {
        char *path = g_strdup_printf("%s/%s", folder, names[i]);
        char *problem = NULL;
        char *data = NULL;
        size_t length;

        if (!import_read_file(&data, &length, path, DOVECOT_FILE_MAX, NULL)) {
            if (errno != ENOENT)
                problem = g_strdup(strerror(errno));
        } else if (!uidlist_parse(list, data, length, &problem)) {
            uidlist_release(list);
            *list = (struct uidlist){0};
        }
        if (problem != NULL) {
            g_free(wrong);
            wrong = g_strdup_printf("%s: %s", names[i], problem);
        }
        g_free(problem);
        free(data);
        g_free(path);
    }
    return wrong;
}

static void read_keywords(char *letters[DOVECOT_KEYWORDS], const char *folder)
{
    char *path = g_strdup_printf("%s/dovecot-keywords", folder);
    char *data = NULL;
    size_t length;

    if (import_read_file(&data, &length, path, DOVECOT_KEYWORDS_FILE_MAX, NULL))
        dovecot_keywords_parse(letters, data, length);
    free(data);
    g_free(path);
}

static void read_info(struct import_message *message, const char *name, char *const *letters)
{
    const char *info = strstr(name, ":2,");

    for (info = info != NULL ? info + 3 : ""; *info != '\0'; info++) {
        switch (*info) {
        case 'D':
            message->flags |= MESSAGE_DRAFT;
            break;
        case 'F':
            message->flags |= MESSAGE_FLAGGED;
            break;
        case 'P':
            g_ptr_array_add(message->keywords, g_strdup("$Forwarded"));
            break;
        case 'R':
            message->flags |= MESSAGE_ANSWERED;
            break;
        case 'S':
            message->flags |= MESSAGE_SEEN;
            break;
        case 'T':
            message->flags |= MESSAGE_DELETED;
            break;
        default:
            if (*info >= 'a' && *info <= 'z' && letters[*info - 'a'] != NULL)
                g_ptr_array_add(message->keywords, g_strdup(letters[*info - 'a']));
            break;
        }
    }
}

/* Dovecot's zlib plugin compresses files in place: no message begins as gzip, bzip2, zstd, lz4 or
 * xz do. */
static bool is_compressed(const char *data, size_t length)
{
    static const char *const magic[] = {"\x1f\x8b", "BZh", "\x28\xb5\x2f\xfd", "Dovecot-LZ4",
                                        "\3757zXZ"};

    for (size_t i = 0; i < G_N_ELEMENTS(magic); i++)
        if (length > strlen(magic[i]) && memcmp(data, magic[i], strlen(magic[i])) == 0)
            return true;
    return false;
}

/* The zone that an export has left in a file's name, in minutes; 0: none. */
static int16_t read_zone(const char *name)
{
    const char *zone = strstr(name, "," IMPORT_MAILDIR_ZONE);
    unsigned hours, minutes;
    char sign, end;

    if (zone == NULL ||
        sscanf(zone, "," IMPORT_MAILDIR_ZONE "%c%2u%2u%c", &sign, &hours, &minutes, &end) != 4 ||
        (sign != '+' && sign != '-') || (end != ':' && end != ',') || hours > 23 || minutes > 59)
        return 0;
    return (int16_t)((sign == '-' ? -1 : 1) * (int)(hours * 60 + minutes));
}

/* All but the octets. */
static void message_init(struct import_message *message, const struct reading *reading,
                         const struct entry *entry, const struct stat *status)
{
    *message = (struct import_message){
        .mailbox = reading->folder->mailbox,
        .uid = entry->uid,
        .date = status->st_mtim.tv_sec,
        .zone = reading->exact ? read_zone(entry->name) : 0,
        .exact = reading->exact,
        .keywords = g_ptr_array_new_with_free_func(g_free),
    };
    read_info(message, entry->name, reading->letters);
    g_ptr_array_add(message->keywords, NULL);
}

static bool hand_on(const struct reading *reading, const struct entry *entry,
                    const struct stat *status, const char *data, size_t length)
{
    struct import_message message;
    bool go_on;

    message_init(&message, reading, entry, status);
    message.data = data;
    message.length = length;
    go_on = reading->sink->message(reading->sink->data, &message);
    g_ptr_array_unref(message.keywords);
    return go_on;
}

static const char *why_unread(int number)
{
    return number == EINVAL || number == ELOOP ? "not a regular file"
           : number == EFBIG                   ? "too large"
                                               : strerror(number);
}

/* *gone: there is no such file. */
static bool deliver(const struct reading *reading, const struct entry *entry, const char *path,
                    bool *gone)
{
    struct stat status;
    char *data = NULL;
    size_t length;
    bool go_on = true;

    *gone = false;
    if (!import_read_file(&data, &length, path, IMPORT_MESSAGE_MAX, &status)) {
        *gone = errno == ENOENT;
        if (!*gone)
            import_skip(reading->sink, path, why_unread(errno));
        return true;
    }
    if (is_compressed(data, length))
        import_skip(reading->sink, path, "compressed: copy the mail with doveadm first");
    else
        go_on = hand_on(reading, entry, &status, data, length);
    free(data);
    return go_on;
}

/* What the sink wants of a file. */
static enum import_wish wish(const struct reading *reading, const struct entry *entry,
                             const char *path, bool *gone)
{
    struct import_message message;
    enum import_wish wanted;
    struct stat status;

    *gone = lstat(path, &status) != 0 && errno == ENOENT;
    if (entry->uid == 0 || *gone)
        return IMPORT_WANTED;
    message_init(&message, reading, entry, &status);
    wanted = reading->sink->wish(reading->sink->data, &message);
    g_ptr_array_unref(message.keywords);
    return wanted;
}

/* *wanted: IMPORT_LATER if the entry is to be offered again. A file that vanishes for good is as if
 * it had never been there. */
static bool offer(const struct reading *reading, struct entry *entry, enum import_wish *wanted)
{
    bool go_on = true;
    bool gone = true;

    for (unsigned i = 0; gone && i < RENAMES_MAX; i++) {
        char *path;

        if (i > 0 && !find_again(entry, reading->folder->path))
            return true;
        path = g_strdup_printf("%s/%s/%s", reading->folder->path, entry->part, entry->name);
        *wanted = wish(reading, entry, path, &gone);
        if (!gone && *wanted == IMPORT_WANTED)
            go_on = deliver(reading, entry, path, &gone);
        g_free(path);
    }
    if (gone)
        import_skip(reading->sink, entry->name, "is renamed again and again");
    return go_on;
}

static bool deliver_all(struct reading *reading, GArray *entries)
{
    bool go_on = true;

    /* Entries are added for those that are put off. */
    for (unsigned i = 0; go_on && i < entries->len; i++) {
        struct entry *entry = &g_array_index(entries, struct entry, i);
        enum import_wish wanted = IMPORT_WANTED;

        go_on = offer(reading, entry, &wanted);
        if (wanted == IMPORT_LATER) {
            struct entry later = *entry;

            later.name = g_strdup(entry->name);
            later.uid = 0;
            g_array_append_val(entries, later);
        } else {
            reading->done++;
        }
        reading->sink->progress(reading->sink->data, reading->done);
    }
    return go_on;
}

static bool read_files(struct reading *reading, const struct uidlist *list)
{
    struct listing listing = {
        .entries = g_array_new(FALSE, FALSE, sizeof(struct entry)),
        .by_base = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    bool go_on;

    g_array_set_clear_func(listing.entries, entry_clear);
    list_files(&listing, list, reading->folder->path, reading->sink);
    g_hash_table_unref(listing.by_base);
    g_array_sort(listing.entries, compare_entries);
    go_on = deliver_all(reading, listing.entries);
    g_array_unref(listing.entries);
    return go_on;
}

/* Dovecot writes into file names what there are letters for, and the rest into its index alone. */
static void doubt_keywords(const struct reading *reading)
{
    char *text;

    if (reading->letters[DOVECOT_KEYWORDS - 1] == NULL || reading->sink->doubtful == NULL)
        return;
    text = g_strdup_printf("%s: a Maildir has %d keywords at most: if there are others, they stand "
                           "in Dovecot's index alone and are not taken over",
                           reading->folder->path, DOVECOT_KEYWORDS);
    reading->sink->doubtful(reading->sink->data, text);
    g_free(text);
}

static bool import_folder(struct reading *reading, const struct folder *folder)
{
    struct import_mailbox mailbox = {.name = folder->mailbox};
    struct uidlist list;
    char *wrong = read_uidlist(&list, folder->path);
    bool go_on;

    mailbox.uids_lost = wrong != NULL;
    mailbox.uid_validity = list.uid_validity;
    mailbox.uid_next = list.uid_next;
    read_keywords(reading->letters, folder->path);
    reading->folder = folder;
    go_on = reading->sink->mailbox(reading->sink->data, &mailbox);
    if (go_on && wrong != NULL)
        import_skip(reading->sink, folder->path, wrong);
    if (go_on)
        doubt_keywords(reading);
    go_on = go_on && read_files(reading, &list);
    reading->sink->progress(reading->sink->data, reading->done);
    uidlist_release(&list);
    g_free(wrong);
    for (size_t i = 0; i < DOVECOT_KEYWORDS; i++)
        g_clear_pointer(&reading->letters[i], g_free);
    return go_on;
}

/* --- all of it --- */

static uint64_t count_files(const char *folder, const char *part)
{
    char *path = g_strdup_printf("%s/%s", folder, part);
    DIR *directory = opendir(path);
    const struct dirent *found;
    uint64_t count = 0;

    while (directory != NULL && (found = readdir(directory)) != NULL)
        count += found->d_name[0] != '.';
    if (directory != NULL)
        closedir(directory);
    g_free(path);
    return count;
}

static bool is_folder(const GPtrArray *folders, const char *mailbox)
{
    for (unsigned i = 0; i < folders->len; i++) {
        const struct folder *folder = g_ptr_array_index(folders, i);

        if (strcmp(folder->mailbox, mailbox) == 0)
            return true;
    }
    return false;
}

/* Names may have the namespace's prefix INBOX, though folders have it not. */
static void subscribe(const GPtrArray *folders, const char *wire, const struct import_sink *sink)
{
    char *plain = *wire != '.' ? folder_name_below("", wire) : g_strdup(wire);
    char *name = NULL;

    if (!mailbox_name_decode(&name, plain, strlen(plain), false)) {
        import_skip(sink, wire, "can't be subscribed");
        g_free(plain);
        return;
    }
    if (strncmp(name, "INBOX/", 6) == 0 && !is_folder(folders, name) &&
        is_folder(folders, name + 6))
        sink->subscribed(sink->data, name + 6);
    else
        sink->subscribed(sink->data, strcmp(name, "INBOX") == 0 ? "" : name);
    g_free(plain);
    g_free(name);
}

/* Of levels in the subscriptions: '/' where folders are directories in directories. */
static char separator_of(const GPtrArray *folders)
{
    for (unsigned i = 0; i < folders->len; i++) {
        const struct folder *folder = g_ptr_array_index(folders, i);

        if (*folder->mailbox != '\0' && strrchr(folder->path, '/')[1] != '.')
            return '/';
    }
    return '.';
}

static void read_subscriptions(const char *path, const GPtrArray *folders,
                               const struct import_sink *sink)
{
    static const char *const files[] = {"subscriptions", "courierimapsubscribed"};
    char separator = separator_of(folders);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(files) && names->len == 0; i++) {
        char *file = g_strdup_printf("%s/%s", path, files[i]);
        char *data = NULL;
        size_t length;

        if (import_read_file(&data, &length, file, DOVECOT_FILE_MAX, NULL))
            dovecot_subscriptions_parse(names, data, length, separator);
        free(data);
        g_free(file);
    }
    for (unsigned i = 0; i < names->len; i++)
        subscribe(folders, g_ptr_array_index(names, i), sink);
    g_ptr_array_unref(names);
}

bool import_maildir(const char *path, const struct import_sink *sink, char **problem)
{
    GPtrArray *folders = g_ptr_array_new_with_free_func(folder_free);
    struct reading reading = {.sink = sink, .exact = has_file(path, IMPORT_MAILDIR_EXACT)};
    uint64_t total = 0;
    bool go_on = true;

    *problem = NULL;
    find_folders(folders, path, "", 0, sink);
    if (folders->len == 0) {
        *problem = g_strdup_printf("%s: not a Maildir (there is no cur directory)", path);
        go_on = false;
    }
    for (unsigned i = 0; i < folders->len; i++) {
        const struct folder *folder = g_ptr_array_index(folders, i);

        total += count_files(folder->path, "cur") + count_files(folder->path, "new");
    }
    sink->total(sink->data, total, IMPORT_MESSAGES);
    for (unsigned i = 0; go_on && i < folders->len; i++)
        go_on = import_folder(&reading, g_ptr_array_index(folders, i));
    if (go_on)
        read_subscriptions(path, folders, sink);
    g_ptr_array_unref(folders);
    return go_on;
}
