#include "server/git_program.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/admin.h"

/* What git needs of our environment. */
static const char *const PASSED[] = {"PATH", "TMPDIR", "TERM", "LANG"};
static const char *const FIXED[] = {
    "GIT_CONFIG_NOSYSTEM=1",    "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_NO_REPLACE_OBJECTS=1", "GIT_TERMINAL_PROMPT=0",       "GIT_OPTIONAL_LOCKS=0",
    "GIT_ATTR_NOSYSTEM=1",      "HOME=/nonexistent",           "LC_ALL=C.UTF-8",
};

/* A repository that is named is used whoever owns it. */
static GPtrArray *environment(const char *path)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(PASSED); i++) {
        const char *value = getenv(PASSED[i]);

        if (value != NULL)
            g_ptr_array_add(out, g_strdup_printf("%s=%s", PASSED[i], value));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(FIXED); i++)
        g_ptr_array_add(out, g_strdup(FIXED[i]));
    g_ptr_array_add(out, g_strdup_printf("GIT_DIR=%s", path));
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

static int start(pid_t *child, const char *path, char *const *arguments, int input, int output)
{
    GPtrArray *variables = environment(path);
    posix_spawn_file_actions_t actions;
    int result = posix_spawn_file_actions_init(&actions);

    if (result == 0) {
        result = give(&actions, input, STDIN_FILENO, O_RDONLY);
        if (result == 0)
            result = give(&actions, output, STDOUT_FILENO, O_WRONLY);
        if (result == 0)
            result = spawn(child, &actions, arguments, (char *const *)(void *)variables->pdata);
        posix_spawn_file_actions_destroy(&actions);
    }
    g_ptr_array_unref(variables);
    return result;
}

int git_program_run(const char *path, const char *const *arguments, int input, int output)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    GPtrArray *all = g_ptr_array_new();
    struct sigaction interrupt;
    struct sigaction quit;
    pid_t child = -1;
    int status = 0;
    int result;

    g_ptr_array_add(all, (char *)(uintptr_t) "git");
    for (size_t i = 0; arguments[i] != NULL; i++)
        g_ptr_array_add(all, (char *)(uintptr_t)arguments[i]);
    g_ptr_array_add(all, NULL);
    /* The terminal's signals end git, and we clean up after it. */
    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &quit);
    result = start(&child, path, (char *const *)(void *)all->pdata, input, output);
    while (result == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &quit, NULL);
    g_ptr_array_unref(all);
    if (result != 0) {
        admin_complain("git can't be run (is it installed?): %s", strerror(result));
        return -1;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    admin_complain("git was killed");
    return -1;
}
