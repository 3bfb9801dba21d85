/* A new account's bare repository on disk, before it holds anything. */
#ifndef ANNAL_STORE_INTERNAL_REPOSITORY_H
#define ANNAL_STORE_INTERNAL_REPOSITORY_H

#include "store/error.h"
#include "store/host.h"

/* Makes the directory (which must not exist) with all that stock git needs, durable but for its
 * own entry in the parent. */
int repository_make(const char *path, const struct host *host, struct store_error *error);

/* Removes the directory and all below it, as far as possible. */
void repository_remove(const char *path);

#endif
