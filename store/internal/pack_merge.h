/* Keeps the number of packs small: merges the smallest into one, takes those merged away off the
 * disk when nobody can have them open any more. */
#ifndef ANNAL_STORE_INTERNAL_PACK_MERGE_H
#define ANNAL_STORE_INTERNAL_PACK_MERGE_H

#include <glib.h>
#include <stdint.h>

struct objects;

enum {
    PACK_MERGE_COUNT = 40,                   /* packs that are left alone */
    PACK_MERGE_BYTES_MAX = 32 * 1024 * 1024, /* octets merged in one go */
    PACK_RETIRE_SECONDS = 600,               /* a running clone may read a merged pack */
    PACK_RETIRED_MAX = 2000,                 /* beyond: PACK_RETIRE_SECONDS_SHORT */
    PACK_RETIRE_SECONDS_SHORT = 60,
    PACK_LEFTOVER_SECONDS = 600, /* temporary and .keep files older than this are a crash's */
};

struct pack_merge {
    GHashTable
        *retired; /* char *pack name -> int64_t second it was merged away; not unlinked yet */
    GHashTable *foreign; /* char *pack name: holds deltas or is damaged, never merged */
};

void pack_merge_init(struct pack_merge *merge);
void pack_merge_release(struct pack_merge *merge);

#endif
