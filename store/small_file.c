#include "store/internal/small_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS_A_DAY = 24 * 60 * 60 };

GByteArray *small_file_read(const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    GByteArray *out = NULL;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (size_t)status.st_size <= max) {
        out = g_byte_array_sized_new((guint)status.st_size);
        g_byte_array_set_size(out, (guint)status.st_size);
        if (read(fd, out->data, out->len) != (ssize_t)out->len) {
            g_clear_pointer(&out, g_byte_array_unref);
        }
    }
    close(fd);
    return out;
}

static void remove_old(const char *path, unsigned days)
{
    g_autofree char *directory = g_path_get_dirname(path);
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    struct stat status;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode) &&
            time(NULL) - status.st_mtime > (time_t)days * SECONDS_A_DAY) {
            unlinkat(dirfd(entries), entry->d_name, 0);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

static bool write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);

        if (n <= 0) {
            return false;
        }
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

void small_file_replace(const char *path, const GByteArray *bytes, unsigned days)
{
    g_autofree char *temporary = g_strdup_printf("%s~%ld", path, (long)getpid());
    bool good;
    int fd;

    if (access(path, F_OK) != 0) {
        remove_old(path, days);
    }
    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return;
    }
    good = write_all(fd, bytes->data, bytes->len);
    good = close(fd) == 0 && good;
    if (!good || rename(temporary, path) != 0) {
        unlink(temporary);
    }
}
