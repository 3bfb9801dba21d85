/* Who reads a repository with stock git at this moment, as far as /proc tells. */
#ifndef ANNAL_STORE_INTERNAL_GIT_READERS_H
#define ANNAL_STORE_INTERNAL_GIT_READERS_H

#include <stdbool.h>

/* Whether a process of git's works in the repository's directory or has one of its files open or
 * mapped, or is one of which that can't be known. A few milliseconds at most. */
bool git_readers_any(const char *repository);

#endif
