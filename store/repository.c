#include "store/internal/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/pack.h"

static const char *const DIRECTORIES[] = {"",      "/objects",   "/objects/info", "/objects/pack",
                                          "/refs", "/refs/heads"};

static const struct {
    const char *name;
    const char *text;
} FILES[] = {
    {"HEAD", "ref: refs/heads/INBOX\n"},
    {"description", "Mail of one account: each branch is a mailbox.\n"},
    {"config", "[core]\n"
               "\trepositoryformatversion = 0\n"
               "\tfilemode = true\n"
               "\tbare = true\n"
               "\tlogAllRefUpdates = false\n"
               "[gc]\n"
               "\tauto = 0\n"
               "[receive]\n"
               "\tdenyNonFastForwards = true\n"
               "\tdenyDeletes = true\n"},
};

static int write_file(const struct host *host, const char *path, const char *text)
{
    int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int rc, closed;

    if (fd < 0) {
        return fd;
    }
    rc = host->write(host->data, fd, text, strlen(text));
    if (rc == 0) {
        rc = host->fsync(host->data, fd);
    }
    closed = host->close(host->data, fd);
    return rc < 0 ? rc : closed;
}

int repository_make(const char *path, const struct host *host, struct store_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < G_N_ELEMENTS(DIRECTORIES); i++) {
        g_autofree char *directory = g_strconcat(path, DIRECTORIES[i], NULL);

        rc = host->mkdir(host->data, directory, 0700);
    }
    for (size_t i = 0; rc == 0 && i < G_N_ELEMENTS(FILES); i++) {
        g_autofree char *file = g_strconcat(path, "/", FILES[i].name, NULL);

        rc = write_file(host, file, FILES[i].text);
    }
    for (size_t i = 0; rc == 0 && i < G_N_ELEMENTS(DIRECTORIES); i++) {
        g_autofree char *directory = g_strconcat(path, DIRECTORIES[i], NULL);

        rc = host->fsync_directory(host->data, directory);
    }
    return rc < 0 ? host_fail(error, rc, "making a repository") : 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void repository_remove(const char *path)
{
    enum { OPEN_DIRECTORIES = 8 };

    nftw(path, remove_one, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
