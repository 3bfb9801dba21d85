/* Gathering references that rarely change in packed-refs, as `git pack-refs` does. */
#ifndef ANNAL_STORE_INTERNAL_REFS_PACK_H
#define ANNAL_STORE_INTERNAL_REFS_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"

enum {
    REFS_PACK_MIN = 256,         /* loose references that make it worth its while */
    REFS_PACK_AGE_SECONDS = 600, /* since when they have not moved */
};

/* Packs the mailboxes' and deleted mailboxes' references in the repository at path whose files are
 * at least so old, if there are at least min of them: packed-refs is written under its lock and
 * durable, then each loose file removed under its own if it still has that value. *packed is how
 * many are in packed-refs now that were not (0: nothing was done). Safe beside anybody who keeps
 * git's rules. STORE_CONFLICT when packed-refs is locked; STORE_CORRUPT, STORE_NO_SPACE, STORE_IO.
 * Blocks. */
int refs_pack(const char *path, const struct host *host, size_t min, int64_t age_seconds,
              size_t *packed, struct store_error *error);

#endif
