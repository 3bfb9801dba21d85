#include "tests/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32 };

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    abort();
}

char *fixture_path(const char *directory, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", directory, name) < 0) {
        fail("memory");
    }
    return path;
}

char *fixture_directory(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = fixture_path(parent != NULL ? parent : "/tmp", "annal-test-XXXXXX");

    if (mkdtemp(path) == NULL) {
        fail(path);
    }
    return path;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void fixture_remove(char *directory)
{
    if (directory != NULL) {
        nftw(directory, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
        free(directory);
    }
}

static void exec_git(const char *directory, const char *const *arguments)
{
    const char *full[ARGUMENTS_MAX + 4] = {"git", "-C", directory};
    size_t count = 3;

    for (; *arguments != NULL && count < ARGUMENTS_MAX; arguments++) {
        full[count++] = *arguments;
    }
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    setenv("GIT_AUTHOR_NAME", "Test", 1);
    setenv("GIT_AUTHOR_EMAIL", "test@example.org", 1);
    setenv("GIT_COMMITTER_NAME", "Test", 1);
    setenv("GIT_COMMITTER_EMAIL", "test@example.org", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    execvp("git", (char *const *)full);
    _exit(127);
}

static char *read_all(int fd)
{
    size_t length = 0;
    size_t size = 4096;
    char *text = malloc(size);

    while (text != NULL) {
        ssize_t got = read(fd, text + length, size - length - 1);

        if (got <= 0) {
            text[length] = '\0';
            return text;
        }
        length += (size_t)got;
        if (size - length < 2) {
            size *= 2;
            text = realloc(text, size);
        }
    }
    fail("memory");
    return NULL;
}

/* Output of both kinds together; *good: it exited with 0. */
static char *run_git(const char *directory, const char *const *arguments, bool errors, bool *good)
{
    int ends[2];
    int status = 0;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        fail("pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (errors) {
            dup2(ends[1], STDERR_FILENO);
        }
        exec_git(directory, arguments);
    }
    close(ends[1]);
    char *text = read_all(ends[0]);
    close(ends[0]);
    if (waitpid(pid, &status, 0) != pid) {
        fail("wait");
    }
    *good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return text;
}

bool git_run(const char *directory, const char *const *arguments)
{
    bool good;
    char *text = run_git(directory, arguments, true, &good);

    if (!good) {
        fprintf(stderr, "git %s: %s\n", arguments[0], text);
    }
    free(text);
    return good;
}

char *git_output(const char *directory, const char *const *arguments)
{
    bool good;
    char *text = run_git(directory, arguments, false, &good);

    if (!good) {
        free(text);
        return NULL;
    }
    return text;
}

void fixture_make_repository(const char *path)
{
    if (!GIT("/", "init", "-q", "--bare", "--initial-branch=INBOX", path)) {
        abort();
    }
}

static int skip_fsync(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int skip_fsync_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

struct host fixture_host_without_syncs(void)
{
    struct host host = *host_system();

    host.fsync = skip_fsync;
    host.fsync_directory = skip_fsync_directory;
    return host;
}

void fixture_damage_end(const char *path)
{
    FILE *file = fopen(path, "r+");
    int last = EOF;

    if (file != NULL && fseek(file, -1, SEEK_END) == 0) {
        last = fgetc(file);
    }
    if (last == EOF || fseek(file, -1, SEEK_END) != 0 || fputc(last ^ 1, file) == EOF ||
        fclose(file) != 0) {
        fail(path);
    }
}

void fixture_lose_object(const char *repository, const char *name)
{
    static const char script[] =
        "alias.lose=!id=$(git rev-parse --verify \"$1\") && mv objects/pack packs &&"
        " for pack in packs/*.pack; do git unpack-objects -q < \"$pack\" || exit 1; done &&"
        " rm -rf packs && mkdir objects/pack &&"
        " rm -f objects/$(echo $id | cut -c 1-2)/$(echo $id | cut -c 3-) && true";

    if (!GIT(repository, "-c", script, "lose", name)) {
        fail(name);
    }
}
