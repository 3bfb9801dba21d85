/* The files of an import from mbox: one, or a directory of them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocol/mailbox_name.h"
#include "server/dovecot_files.h"
#include "server/folder_name.h"
#include "server/import_mbox.h"
#include "store/account.h"

struct file {
    char *path;
    char *mailbox;
    uint64_t size;
};

static void file_free(void *data)
{
    struct file *file = data;

    g_free(file->path);
    g_free(file->mailbox);
    g_free(file);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(const struct file *const *)a)->mailbox,
                  (*(const struct file *const *)b)->mailbox);
}

/* Whether it begins as an mbox does, or is empty. One that can't be read is told. */
static bool looks_like_mbox(const char *path, const struct import_sink *sink)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char start[5];
    ssize_t got = fd >= 0 ? read(fd, start, sizeof(start)) : -1;

    if (got < 0)
        import_skip(sink, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return got == 0 || (got == sizeof(start) && memcmp(start, "From ", sizeof(start)) == 0);
}

static char *without_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name);

    if (g_str_has_suffix(name, suffix) && length > strlen(suffix))
        length -= strlen(suffix);
    return g_strndup(name, length);
}

static void add_file(GPtrArray *files, const char *path, const char *wire, uint64_t size,
                     const struct import_sink *sink)
{
    struct file *file;
    char *mailbox = NULL;

    if (!mailbox_name_decode(&mailbox, wire, strlen(wire), false)) {
        import_skip(sink, path, "its name can't be a mailbox's");
        return;
    }
    file = g_new0(struct file, 1);
    file->path = g_strdup(path);
    file->mailbox = mailbox;
    file->size = size;
    g_ptr_array_add(files, file);
}

/* The mbox files in and below a directory. */
static void find_files(GPtrArray *files, const char *path, const char *parent, unsigned depth,
                       const struct import_sink *sink)
{
    DIR *directory = opendir(path);
    const struct dirent *found;

    if (directory == NULL)
        import_skip(sink, path, strerror(errno));
    while (directory != NULL && (found = readdir(directory)) != NULL) {
        const char *name = found->d_name;
        char *below = g_strdup_printf("%s/%s", path, name);
        struct stat status;

        if (name[0] != '.' && lstat(below, &status) == 0) {
            char *level = without_suffix(name, S_ISDIR(status.st_mode) ? ".sbd" : ".mbox");
            char *wire = folder_name_below(parent, level);

            if (S_ISDIR(status.st_mode) && depth < MAILBOX_DEPTH_MAX)
                find_files(files, below, wire, depth + 1, sink);
            else if (S_ISREG(status.st_mode) && looks_like_mbox(below, sink))
                add_file(files, below, wire, (uint64_t)status.st_size, sink);
            else if (S_ISLNK(status.st_mode))
                import_skip(sink, below, "symbolic links are not followed");
            else if (S_ISDIR(status.st_mode))
                import_skip(sink, below, "too deep");
            g_free(wire);
            g_free(level);
        }
        g_free(below);
    }
    if (directory != NULL)
        closedir(directory);
}

/* Keeps those away that change the file, as long as it is open: they take it from below us. */
static bool lock_file(int fd, const char *path, char **problem)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_SETLK, &lock) == 0 || (errno != EACCES && errno != EAGAIN))
        return true;
    *problem = g_strdup_printf("%s: another program is writing to it; try again", path);
    return false;
}

static bool import_open(int fd, const struct file *file, uint64_t before,
                        const struct import_mbox_options *options, const struct import_sink *sink,
                        char **problem)
{
    struct stat status;
    char *data = NULL;
    bool done;

    if (!lock_file(fd, file->path, problem))
        return false;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        *problem = g_strdup_printf("%s: not a file", file->path);
        return false;
    }
    if (status.st_size > 0)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        *problem = g_strdup_printf("%s: %s", file->path, strerror(errno));
        return false;
    }
    done = import_mbox_part(file->mailbox, data, (size_t)status.st_size, status.st_mtim.tv_sec,
                            before, options, sink, problem);
    if (!done && *problem != NULL) {
        char *what = *problem;

        *problem = g_strdup_printf("%s: %s", file->path, what);
        g_free(what);
    }
    if (data != NULL)
        munmap(data, (size_t)status.st_size);
    return done;
}

static bool import_file(const struct file *file, uint64_t before,
                        const struct import_mbox_options *options, const struct import_sink *sink,
                        char **problem)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool done;

    if (fd < 0) {
        *problem = g_strdup_printf("%s: %s", file->path, strerror(errno));
        return false;
    }
    done = import_open(fd, file, before, options, sink, problem);
    close(fd);
    return done;
}

static void read_subscriptions(const char *path, const struct import_sink *sink)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    char *file = g_strdup_printf("%s/.subscriptions", path);
    char *data = NULL;
    size_t length;

    if (import_read_file(&data, &length, file, DOVECOT_FILE_MAX, NULL))
        dovecot_subscriptions_parse(names, data, length, '/');
    for (unsigned i = 0; i < names->len; i++) {
        const char *wire = g_ptr_array_index(names, i);
        char *name = NULL;

        if (mailbox_name_decode(&name, wire, strlen(wire), false))
            sink->subscribed(sink->data, strcmp(name, "INBOX") == 0 ? "" : name);
        g_free(name);
    }
    free(data);
    g_free(file);
    g_ptr_array_unref(names);
}

bool import_mbox(const char *path, const struct import_mbox_options *options,
                 const struct import_sink *sink, char **problem)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(file_free);
    struct stat status;
    uint64_t total = 0;
    uint64_t before = 0;
    bool directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    bool go_on = true;

    *problem = NULL;
    if (directory)
        find_files(files, path, "", 1, sink);
    else
        add_file(files, path, "", stat(path, &status) == 0 ? (uint64_t)status.st_size : 0, sink);
    g_ptr_array_sort(files, compare_files);
    for (unsigned i = 0; i < files->len; i++)
        total += ((const struct file *)g_ptr_array_index(files, i))->size;
    sink->total(sink->data, total, IMPORT_OCTETS);
    if (files->len == 0) {
        *problem = g_strdup_printf("%s: there is no mbox in it", path);
        go_on = false;
    }
    for (unsigned i = 0; go_on && i < files->len; i++) {
        const struct file *file = g_ptr_array_index(files, i);

        go_on = import_file(file, before, options, sink, problem);
        before += file->size;
    }
    if (go_on && directory)
        read_subscriptions(path, sink);
    g_ptr_array_unref(files);
    return go_on;
}
