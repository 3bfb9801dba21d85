/* Running stock git on a repository, without a shell and without any configuration but the
 * repository's own. */
#ifndef ANNAL_SERVER_GIT_PROGRAM_H
#define ANNAL_SERVER_GIT_PROGRAM_H

#include <stdbool.h>

/* Waits for `git ARGUMENTS` (NULL-terminated, without "git" itself) in the bare repository at path.
 * input and output are its descriptors 0 and 1 (-1: /dev/null), stderr is ours. SIGINT and SIGQUIT
 * end git only. Its exit status; -1 when it can't be run or was killed, which has been told. */
int git_program_run(const char *path, const char *const *arguments, int input, int output);

#endif
