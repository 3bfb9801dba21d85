#include "server/git_program.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
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
            result = posix_spawnp(child, "git", &actions, NULL, arguments,
                                  (char *const *)(void *)variables->pdata);
        posix_spawn_file_actions_destroy(&actions);
    }
    g_ptr_array_unref(variables);
    return result;
}

int git_program_run(const char *path, const char *const *arguments, int input, int output)
{
    GPtrArray *all = g_ptr_array_new();
    pid_t child = -1;
    int status = 0;
    int result;

    g_ptr_array_add(all, (char *)(uintptr_t) "git");
    for (size_t i = 0; arguments[i] != NULL; i++)
        g_ptr_array_add(all, (char *)(uintptr_t)arguments[i]);
    g_ptr_array_add(all, NULL);
    result = start(&child, path, (char *const *)(void *)all->pdata, input, output);
    g_ptr_array_unref(all);
    if (result != 0) {
        admin_complain("git can't be run (is it installed?): %s", strerror(result));
        return -1;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    admin_complain("git was killed");
    return -1;
}
