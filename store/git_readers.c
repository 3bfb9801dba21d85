/* A `git fsck` lists the packs when it begins and opens their indexes when it comes to them. Others
 * look again when an index is gone; it complains. */
#include "store/internal/git_readers.h"

#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 32 };

static FILE *open_of(const char *process, const char *file)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/%s", process, file);

    return fopen(path, "re");
}

static bool is_git(const char *process)
{
    char name[NAME_SIZE] = "";
    FILE *file = open_of(process, "comm");

    if (file == NULL) {
        return false;
    }
    bool read = fgets(name, sizeof(name), file) != NULL;
    fclose(file);
    return read && g_str_has_prefix(name, "git");
}

static bool is_in(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool works_in(const char *process, const char *directory)
{
    g_autofree char *link = g_strdup_printf("/proc/%s/cwd", process);
    char target[PATH_MAX];
    ssize_t length = readlink(link, target, sizeof(target) - 1);

    if (length < 0) {
        return errno == EACCES;
    }
    target[length] = '\0';
    return is_in(target, directory);
}

/* As a clone that links the files of a directory. */
static bool has_open(const char *process, const char *directory)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fd", process);
    DIR *files = opendir(path);
    const struct dirent *file;
    bool found = false;

    while (files != NULL && !found && (file = readdir(files)) != NULL) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(dirfd(files), file->d_name, target, sizeof(target) - 1);

        if (length > 0) {
            target[length] = '\0';
            found = is_in(target, directory);
        }
    }
    if (files != NULL) {
        closedir(files);
    }
    return found;
}

static bool has_mapped(const char *process, const char *directory)
{
    FILE *file = open_of(process, "maps");
    char *line = NULL;
    size_t size = 0;
    bool found = false;

    while (file != NULL && !found && getline(&line, &size, file) >= 0) {
        const char *path = strchr(line, '/');

        found = path != NULL && is_in(path, directory);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

bool git_readers_any(const char *repository)
{
    char directory[PATH_MAX];
    DIR *processes = realpath(repository, directory) != NULL ? opendir("/proc") : NULL;
    const struct dirent *process;
    bool any = false;

    while (processes != NULL && !any && (process = readdir(processes)) != NULL) {
        any = g_ascii_isdigit(process->d_name[0]) && is_git(process->d_name) &&
              (works_in(process->d_name, directory) || has_open(process->d_name, directory) ||
               has_mapped(process->d_name, directory));
    }
    if (processes != NULL) {
        closedir(processes);
    }
    return any;
}
