/* The one way to libgit2. Its functions belong to store/ alone, its objects never change thread.
 */
#ifndef ANNAL_STORE_INTERNAL_GIT_H
#define ANNAL_STORE_INTERNAL_GIT_H

#include <git2.h>
#include <git2/sys/config.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>

#include "store/error.h"

/* Starts the library, once for the process, from any thread: without any configuration outside
 * the repositories, without owner checks (repositories are opened by path from our own data
 * directory). Call before any other function of it. */
void libgit2_start(void);

/* Fills *error from a libgit2 result (negative) and its thread's last error; returns the code:
 * STORE_NOT_FOUND, STORE_EXISTS, STORE_CONFLICT, STORE_NO_MEMORY, STORE_IO or STORE_CORRUPT. */
int libgit2_fail(struct store_error *error, int result, const char *what);

#endif
