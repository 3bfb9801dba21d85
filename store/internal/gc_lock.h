/* gc.pid, as git has it: who rewrites a repository's packs as a whole holds it. */
#ifndef ANNAL_STORE_INTERNAL_GC_LOCK_H
#define ANNAL_STORE_INTERNAL_GC_LOCK_H

#include "store/error.h"
#include "store/host.h"

/* path: the repository. STORE_CONFLICT when a living process has it; STORE_NO_SPACE, STORE_IO. */
int gc_lock(const char *path, const struct host *host, struct store_error *error);
void gc_unlock(const char *path, const struct host *host);

#endif
