/* Putting an account's repository in order as a whole: one pack, no rubbish, references packed. The
 * work of `annal gc`; a server may be running, as beside a `git gc`.
 */
#ifndef ANNAL_STORE_COLLECT_H
#define ANNAL_STORE_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/observer.h"

enum {
    COLLECT_GRACE_SECONDS = 14 * 24 * 3600, /* what nothing refers to stays for so long */
    COLLECT_GRACE_SECONDS_NOW = 600,        /* no operation takes longer */
    COLLECT_SETTLE_SECONDS = 2,
};

/* What the .keep of a pack holds that a restore brings, which is locked (flock(2), shared) as long
 * as it is at work: one that nobody has locked is a crash's, and does not protect for ever. */
#define COLLECT_RESTORE_MESSAGE "annal restore"
#define COLLECT_RESTORE_KEEP    COLLECT_RESTORE_MESSAGE "\n"

struct collect_settings {
    bool now;      /* the shorter grace, and replaced packs go at once: a running clone may fail */
    bool compress; /* deflate what is stored */
    /* What retention let go (retention.h) goes at once, not only RETENTION_GRACE_SECONDS later: for
     * whoever has just moved the boundary himself. */
    bool history;
    bool locked; /* the caller has gc.pid */
    /* To wait for operations that began before gc.pid was there: COLLECT_SETTLE_SECONDS; 0 where
     * nobody else is at work. */
    unsigned settle_seconds;
    const struct observer *observer; /* may be NULL */
};

struct collect_result {
    uint64_t octets_before; /* of all packs and loose objects */
    uint64_t octets_after;
    size_t packs_before;
    size_t packs_after;
    size_t loose;            /* objects that were in files of their own */
    size_t objects;          /* in the new pack */
    size_t dropped;          /* that nothing refers to */
    size_t references;       /* newly in packed-refs */
    size_t kept;             /* packs left alone: somebody protects them with a .keep */
    size_t unusable;         /* packs left alone: damaged, or of a form that can't be copied */
    uint64_t octets_waiting; /* of replaced packs that a running clone may still read */
    size_t purged;           /* blobs of a purge that are in no pack any more */
    size_t protected;        /* of them, still in a pack with a .keep */
    bool incomplete;         /* something that is referred to is missing: nothing was dropped */
};

/* Finishes a purge (purge.h), if one has moved the references: then what nothing refers to goes
 * whatever its age, replaced packs go at once, and reflogs, too. Otherwise:
 *
 * Merges everything into one pack (but for packs with a .keep), drops what no reference, HEAD or
 * reflog reaches and is older than the grace (of what retention let go: whatever its age), removes
 * leftovers of crashes, packs references. Holds git's gc.pid meanwhile. STORE_CONFLICT when
 * somebody else does (a `git gc` is running), or the observer gives up; STORE_NOT_FOUND,
 * STORE_UNSUPPORTED, STORE_LIMIT, STORE_NO_SPACE, STORE_IO; after a failure everything is there as
 * before. Blocks for long. */
int collect_repository(const char *path, const struct host *host,
                       const struct collect_settings *settings, struct collect_result *result,
                       struct store_error *error);

#endif
