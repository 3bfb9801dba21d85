/* Giving up, for good, what a process that parses strangers' messages has no need of. */
#ifndef ANNAL_SERVER_CONFINE_H
#define ANNAL_SERVER_CONFINE_H

#include <stdbool.h>

/* Limits memory, files and core dumps; no new privileges; ends with its parent; sees read-only
 * system files alone; makes only the system calls that parsing needs. What the kernel lacks
 * (Landlock, seccomp) is left out. False with errno if a basic limit can't be set. */
bool confine_self(void);

#endif
