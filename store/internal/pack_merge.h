/* Keeps the number of packs small: merges the smallest into one, takes those merged away off the
 * disk when nobody can have them open any more. */
#ifndef ANNAL_STORE_INTERNAL_PACK_MERGE_H
#define ANNAL_STORE_INTERNAL_PACK_MERGE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct objects;

enum {
    PACK_MERGE_COUNT = 40,                   /* packs that are left alone */
    PACK_MERGE_EVERY = 64,                   /* packs written between two looks */
    PACK_MERGE_BYTES_MAX = 32 * 1024 * 1024, /* octets merged in one go */
    PACK_HIDE_SECONDS = 5,     /* then a merged pack's index goes: nobody new finds it */
    PACK_RETIRE_SECONDS = 600, /* a running clone may still read the pack itself */
    PACK_RETIRED_MAX = 2000,   /* beyond: PACK_RETIRE_SECONDS_SHORT */
    PACK_RETIRE_SECONDS_SHORT = 20,
    PACK_LEFTOVER_SECONDS = 600, /* temporary and .keep files older than this are a crash's */
};

/* A pack whose objects are in another one now. Its index is unlinked first: who has it open goes on
 * reading, and lookups stay quick however many such packs there are. */
struct retired {
    int64_t since; /* second */
    bool hidden;   /* the index is gone */
};

struct pack_merge {
    GHashTable *retired; /* char *pack name -> struct retired; the pack is not unlinked yet */
    guint written;       /* packs since the last look */
    GHashTable *foreign; /* char *pack name: holds deltas or is damaged, never merged */
};

/* Counts a pack that was written; looks after all of them now and then. */
void pack_merge_count(struct objects *objects);

/* Before the database is closed, which forgets what is retired: looks after the packs once more if
 * any was written, and hides at once those merged away (their objects are elsewhere: who looks for
 * one finds it there). So short visits, however many, leave few packs behind. */
void pack_merge_close(struct objects *objects);

void pack_merge_init(struct pack_merge *merge);
void pack_merge_release(struct pack_merge *merge);

#endif
