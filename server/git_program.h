/* Running stock git on a repository, without a shell and without any configuration but the
 * repository's own. */
#ifndef ANNAL_SERVER_GIT_PROGRAM_H
#define ANNAL_SERVER_GIT_PROGRAM_H

#include <stdbool.h>

#include "store/observer.h"

struct git_program {
    const char *path;                /* of the bare repository */
    const char *const *arguments;    /* NULL-terminated, without "git" itself */
    const char *objects;             /* where it writes objects; NULL: among the repository's */
    int input, output;               /* its descriptors 0 and 1; -1: /dev/null */
    const struct observer *observer; /* may be NULL: is told what git says of its progress, and
                                        that again ten times a second */
};

/* Waits for git. What else it says on stderr is told (admin_complain()). When the observer gives
 * up, or SIGINT comes from the terminal, git ends without having done it. Its exit status; -1 when
 * it can't be run, or was ended by a signal: both have been told, the latter only if nobody has
 * given up. */
int git_program_run(const struct git_program *program);

#endif
