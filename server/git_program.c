#include "server/git_program.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/git_progress.h"

enum {
    TELL_EVERY = 100, /* milliseconds */
    READ_PIECE = 4096,
};

/* What git needs of our environment. */
static const char *const PASSED[] = {"PATH", "TMPDIR", "TERM", "LANG"};
static const char *const FIXED[] = {
    "GIT_CONFIG_NOSYSTEM=1",    "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_NO_REPLACE_OBJECTS=1", "GIT_TERMINAL_PROMPT=0",       "GIT_OPTIONAL_LOCKS=0",
    "GIT_ATTR_NOSYSTEM=1",      "HOME=/nonexistent",           "LC_ALL=C.UTF-8",
};

/* In quotes, as a colon would begin another one. */
static char *alternates(const char *path)
{
    GString *out = g_string_new("GIT_ALTERNATE_OBJECT_DIRECTORIES=\"");

    for (; *path != '\0'; path++) {
        if (*path == '"' || *path == '\\')
            g_string_append_c(out, '\\');
        g_string_append_c(out, *path);
    }
    g_string_append(out, "/objects\"");
    return g_string_free(out, FALSE);
}

/* A repository that is named is used whoever owns it. */
static GPtrArray *environment(const struct git_program *program)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(PASSED); i++) {
        const char *value = getenv(PASSED[i]);

        if (value != NULL)
            g_ptr_array_add(out, g_strdup_printf("%s=%s", PASSED[i], value));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(FIXED); i++)
        g_ptr_array_add(out, g_strdup(FIXED[i]));
    g_ptr_array_add(out, g_strdup_printf("GIT_DIR=%s", program->path));
    if (program->objects != NULL) {
        g_ptr_array_add(out, g_strdup_printf("GIT_OBJECT_DIRECTORY=%s", program->objects));
        g_ptr_array_add(out, alternates(program->path));
    }
    g_ptr_array_add(out, NULL);
    return out;
}

static int give(posix_spawn_file_actions_t *actions, int from, int to, int flags)
{
    return from >= 0 ? posix_spawn_file_actions_adddup2(actions, from, to)
                     : posix_spawn_file_actions_addopen(actions, to, "/dev/null", flags, 0);
}

static int spawn(pid_t *child, const posix_spawn_file_actions_t *actions, char *const *arguments,
                 char *const *variables)
{
    posix_spawnattr_t attributes;
    sigset_t signals;
    int result = posix_spawnattr_init(&attributes);

    if (result != 0)
        return result;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    result = posix_spawnp(child, "git", actions, &attributes, arguments, variables);
    posix_spawnattr_destroy(&attributes);
    return result;
}

static int start(pid_t *child, const struct git_program *program, char *const *arguments,
                 int errors)
{
    GPtrArray *variables = environment(program);
    posix_spawn_file_actions_t actions;
    int result = posix_spawn_file_actions_init(&actions);

    if (result == 0) {
        result = give(&actions, program->input, STDIN_FILENO, O_RDONLY);
        if (result == 0)
            result = give(&actions, program->output, STDOUT_FILENO, O_WRONLY);
        if (result == 0)
            result = give(&actions, errors, STDERR_FILENO, O_WRONLY);
        if (result == 0)
            result = spawn(child, &actions, arguments, (char *const *)(void *)variables->pdata);
        posix_spawn_file_actions_destroy(&actions);
    }
    g_ptr_array_unref(variables);
    return result;
}

/* --- while it runs --- */

struct watch {
    const struct observer *observer;
    struct git_step step; /* the last one */
    bool began;
};

static void note_step(const struct git_step *step, void *data)
{
    struct watch *watch = data;

    watch->step = *step;
    watch->began = true;
}

static void tell_line(const char *line, void *data)
{
    (void)data;
    admin_complain("git: %s", line);
}

/* False: somebody has given up. */
static bool tell(const struct watch *watch)
{
    const struct observer *observer = watch->observer;

    if (observer != NULL && watch->began && observer->progress != NULL)
        observer->progress(watch->step.stage, watch->step.done, watch->step.total, observer->data);
    return observer_goes_on(observer);
}

/* Until git has closed its stderr. False: somebody has given up. */
static bool listen_to(int errors, const struct observer *observer)
{
    struct watch watch = {.observer = observer};
    struct git_progress progress;
    bool good = true;
    ssize_t got = 1;

    git_progress_init(&progress, note_step, tell_line, &watch);
    while (good && got != 0) {
        struct pollfd ready = {.fd = errors, .events = POLLIN};
        char piece[READ_PIECE];

        got = -1;
        if (poll(&ready, 1, TELL_EVERY) > 0)
            got = read(errors, piece, sizeof(piece));
        if (got > 0)
            git_progress_feed(&progress, piece, (size_t)got);
        good = tell(&watch);
    }
    git_progress_end(&progress);
    return good;
}

static int wait_for(pid_t child, bool given_up)
{
    int status = 0;

    if (given_up)
        kill(child, SIGTERM);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && !given_up)
        return WEXITSTATUS(status);
    if (!given_up)
        admin_complain("git was killed");
    return -1;
}

static int run(const struct git_program *program, char *const *arguments)
{
    int pipes[2];
    pid_t child;
    int status = -1;
    int result = pipe2(pipes, O_CLOEXEC) == 0 ? 0 : errno;

    if (result == 0) {
        result = start(&child, program, arguments, pipes[1]);
        close(pipes[1]);
        if (result == 0)
            status = wait_for(child, !listen_to(pipes[0], program->observer));
        close(pipes[0]);
    }
    if (result != 0)
        admin_complain("git can't be run (is it installed?): %s", strerror(result));
    return status;
}

int git_program_run(const struct git_program *program)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    GPtrArray *all = g_ptr_array_new();
    struct sigaction quit;
    int result;

    g_ptr_array_add(all, (char *)(uintptr_t) "git");
    for (size_t i = 0; program->arguments[i] != NULL; i++)
        g_ptr_array_add(all, (char *)(uintptr_t)program->arguments[i]);
    g_ptr_array_add(all, NULL);
    /* It ends git, and we clean up after it. */
    sigaction(SIGQUIT, &ignore, &quit);
    result = run(program, (char *const *)(void *)all->pdata);
    sigaction(SIGQUIT, &quit, NULL);
    g_ptr_array_unref(all);
    return result;
}
