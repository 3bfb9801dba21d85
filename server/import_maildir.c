#include "server/import_maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/mailbox_name.h"
#include "store/snapshot.h"

enum { KEYWORD_LETTERS = 26, KEYWORD_LINE_MAX = 256 };

struct entry {
    char *path; /* of the file */
    char *name; /* last component, borrowed from path */
    uint64_t time;
};

static void entry_free(void *data)
{
    struct entry *entry = data;

    g_free(entry->path);
    g_free(entry);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = *(struct entry *const *)a;
    const struct entry *right = *(struct entry *const *)b;

    if (left->time != right->time)
        return left->time < right->time ? -1 : 1;
    return strcmp(left->name, right->name);
}

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

static void add_entries(GPtrArray *entries, const char *folder, const char *part)
{
    char *path = g_strdup_printf("%s/%s", folder, part);
    GPtrArray *names = read_names(path);

    for (unsigned i = 0; names != NULL && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        struct entry *entry;

        if (name[0] == '.')
            continue;
        entry = g_new0(struct entry, 1);
        entry->path = g_strdup_printf("%s/%s", path, name);
        entry->name = strrchr(entry->path, '/') + 1;
        entry->time = g_ascii_strtoull(name, NULL, 10);
        g_ptr_array_add(entries, entry);
    }
    if (names != NULL)
        g_ptr_array_unref(names);
    g_free(path);
}

/* A folder's keyword names by letter, as new strings or NULL. */
static void read_keywords(char *letters[KEYWORD_LETTERS], const char *folder)
{
    char *path = g_strdup_printf("%s/dovecot-keywords", folder);
    FILE *file = fopen(path, "re");
    char line[KEYWORD_LINE_MAX];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *name;
        unsigned long index = strtoul(line, &name, 10);

        if (name == line || *name != ' ' || index >= KEYWORD_LETTERS || letters[index] != NULL)
            continue;
        letters[index] = g_strndup(name + 1, strcspn(name + 1, "\r\n"));
    }
    if (file != NULL)
        fclose(file);
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

static void tell_skipped(const struct import_sink *sink, const char *path, const char *why)
{
    char *what = g_strdup_printf("%s: %s", path, why);

    sink->skipped(sink->data, what);
    g_free(what);
}

/* The file's octets, mapped; an empty file is "" and nothing to unmap. NULL: skipped. */
static char *map_file(const struct entry *entry, struct stat *status,
                      const struct import_sink *sink)
{
    char *data = NULL;
    int fd = open(entry->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0) {
        if (errno != ENOENT)
            tell_skipped(sink, entry->path, strerror(errno));
        return NULL;
    }
    if (fstat(fd, status) != 0 || !S_ISREG(status->st_mode))
        tell_skipped(sink, entry->path, "not a regular file");
    else if (status->st_size > IMPORT_MESSAGE_MAX)
        tell_skipped(sink, entry->path, "too large");
    else if (status->st_size == 0)
        data = (char *)"";
    else {
        data = mmap(NULL, (size_t)status->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            tell_skipped(sink, entry->path, strerror(errno));
            data = NULL;
        }
    }
    close(fd);
    return data;
}

static bool deliver(const struct entry *entry, const char *mailbox, char *const *letters,
                    const struct import_sink *sink)
{
    struct import_message message = {.mailbox = mailbox};
    struct stat status;
    char *data = map_file(entry, &status, sink);
    bool go_on;

    if (data == NULL)
        return true;
    message.data = data;
    message.length = (size_t)status.st_size;
    message.date = status.st_mtim.tv_sec;
    message.keywords = g_ptr_array_new_with_free_func(g_free);
    read_info(&message, entry->name, letters);
    g_ptr_array_add(message.keywords, NULL);
    go_on = sink->message(sink->data, &message);
    g_ptr_array_unref(message.keywords);
    if (message.length > 0)
        munmap(data, message.length);
    return go_on;
}

static bool import_folder(const char *folder, const char *mailbox, const struct import_sink *sink)
{
    GPtrArray *entries = g_ptr_array_new_with_free_func(entry_free);
    char *letters[KEYWORD_LETTERS] = {NULL};
    bool go_on = sink->mailbox(sink->data, mailbox);

    add_entries(entries, folder, "cur");
    add_entries(entries, folder, "new");
    g_ptr_array_sort(entries, compare_entries);
    read_keywords(letters, folder);
    for (unsigned i = 0; go_on && i < entries->len; i++)
        go_on = deliver(g_ptr_array_index(entries, i), mailbox, letters, sink);
    for (size_t i = 0; i < KEYWORD_LETTERS; i++)
        g_free(letters[i]);
    g_ptr_array_unref(entries);
    return go_on;
}

static bool has_cur(const char *folder)
{
    char *path = g_strdup_printf("%s/cur", folder);
    struct stat status;
    bool has = stat(path, &status) == 0 && S_ISDIR(status.st_mode);

    g_free(path);
    return has;
}

/* ".A.B" to "A/B"; NULL if it can't be a mailbox's name. Maildir++ cannot hold a '/' inside a
 * level (modified UTF-7 can: "&AC8-"); there it becomes another level. */
static char *folder_name(const char *directory)
{
    char *wire = g_strdup(directory + 1);
    char *name = NULL;

    for (char *dot = wire; *dot != '\0'; dot++)
        if (*dot == '.')
            *dot = '/';
    if (!mailbox_name_decode(&name, wire, strlen(wire), false))
        name = NULL;
    g_free(wire);
    return name;
}

bool import_maildir(const char *path, const struct import_sink *sink, char **problem)
{
    GPtrArray *names;
    bool go_on;

    *problem = NULL;
    names = has_cur(path) ? read_names(path) : NULL;
    if (names == NULL) {
        *problem = g_strdup_printf("%s: not a Maildir (it has no cur directory)", path);
        return false;
    }
    go_on = import_folder(path, "", sink);
    for (unsigned i = 0; go_on && i < names->len; i++) {
        const char *directory = g_ptr_array_index(names, i);
        char *folder = g_strdup_printf("%s/%s", path, directory);

        if (directory[0] == '.' && has_cur(folder)) {
            char *mailbox = folder_name(directory);

            if (mailbox != NULL)
                go_on = import_folder(folder, mailbox, sink);
            else
                tell_skipped(sink, folder, "its name can't be a mailbox's");
            g_free(mailbox);
        }
        g_free(folder);
    }
    g_ptr_array_unref(names);
    return go_on;
}
