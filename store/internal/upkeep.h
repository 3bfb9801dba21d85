/* Looks after the packs of one repository: merges those of like size so that there are few, keeps
 * git's multi-pack-index true, takes merged packs off the disk when nobody can have them open any
 * more, and removes what crashes left.
 *
 * It works on files alone, like a `git gc` beside the server: whoever reads or writes the
 * repository, in whatever thread or process, need not know of it. Belongs to one thread.
 *
 * A merged pack goes in three steps: the new one is durable; after UPKEEP_HIDE_SECONDS, not in the
 * multi-pack-index any more, and when no git process is seen in the repository (or after
 * UPKEEP_RETIRE_SECONDS), its index is unlinked (nobody new finds it); after
 * UPKEEP_RETIRE_SECONDS the pack itself (a running clone may still read it).
 *
 * Packs are merged by tiers: UPKEEP_SMALL_COUNT packs of the lowest, or UPKEEP_FANOUT of any other,
 * become one, so that each octet is copied a logarithmic number of times in its life (2.3 times for
 * 4,000 packs of 16 kB; with a fan-out of 4 it was 3.0). A patient one waits
 * while more packs of a tier come, until UPKEEP_FANOUT_BUSY are there: merging them is work for the
 * time after, and less of it the more it has at once (200 messages of 1 MB in a row are copied once
 * instead of 1.8 times). While gc.pid says that git's gc runs nothing is merged or removed.
 *
 * The multi-pack-index has the few packs that hold nearly all of a repository. Git finds an object
 * in 400 packs in 1 us with it and in 7 us without, in fewer than 40 it makes no difference: so it
 * is written rarely, and never for the smallest packs.
 */
#ifndef ANNAL_STORE_INTERNAL_UPKEEP_H
#define ANNAL_STORE_INTERNAL_UPKEEP_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/host.h"

enum {
    UPKEEP_SMALL_COUNT = 24,        /* packs of the lowest tier that are left alone */
    UPKEEP_SMALL_SIZE = 256 * 1024, /* octets: the lowest tier's packs are smaller */
    UPKEEP_FANOUT = 8,              /* packs of a higher tier, each of which is 8 times as big */
    UPKEEP_FANOUT_BUSY = 128,       /* if the youngest of them is younger than */
    UPKEEP_LULL_SECONDS = 3,
    UPKEEP_BRIEF_MAX = 32 * 1024 * 1024, /* octets of a brief merge */
    UPKEEP_HIDE_SECONDS = 10,
    UPKEEP_RETIRE_SECONDS = 600,
    /* With more of them, or where they are bigger than UPKEEP_RETIRED_OCTETS and than all packs
     * that are in use: UPKEEP_RETIRE_SECONDS_SHORT. */
    UPKEEP_RETIRED_MAX = 2000,
    UPKEEP_RETIRE_SECONDS_SHORT = 60,
    UPKEEP_LEFTOVER_SECONDS = 600, /* temporary and .keep files older than this are a crash's */
    UPKEEP_SETTLED_SECONDS = 60,   /* packs as young as this are not yet listed for git */
    UPKEEP_PAUSE_SECONDS = 60,     /* after a failure */
    UPKEEP_LIST_MIN = 4,           /* packs that make a multi-pack-index worth its while */
};
#define UPKEEP_RETIRED_OCTETS ((uint64_t)1024 * 1024 * 1024)
#define UPKEEP_MERGE_MAX      ((uint64_t)2 * 1024 * 1024 * 1024) /* octets; bigger packs stay */

struct upkeep;

/* path: the repository. host is borrowed. */
struct upkeep *upkeep_new(const char *path, const struct host *host);
/* Gives up merges under way. Accepts NULL. What is retired is remembered no more: those not hidden
 * yet are merged again some day, hidden ones unlinked as leftovers. */
void upkeep_free(struct upkeep *upkeep);

/* For one who looks again whenever upkeep_due() says so: tiers may wait for more packs. */
void upkeep_be_patient(struct upkeep *upkeep);

/* Packs untouched for so long are written anew, deflated; 0: never. */
void upkeep_compress_after(struct upkeep *upkeep, int64_t seconds);

/* What a merge belongs to: a brief one is of at most UPKEEP_BRIEF_MAX octets. One of each may be
 * under way. */
enum upkeep_lane { UPKEEP_BRIEF, UPKEEP_LONG, UPKEEP_LANE_COUNT };

/* Does what is due (a few milliseconds, with a few fsyncs if a multi-pack-index must be written);
 * begins merges, long ones only when long_too. */
void upkeep_look(struct upkeep *upkeep, bool long_too);

/* Goes on with the lane's merge for about this many octets; false when none is under way. */
bool upkeep_step(struct upkeep *upkeep, enum upkeep_lane lane, size_t octets);
bool upkeep_is_merging(const struct upkeep *upkeep, enum upkeep_lane lane);

/* All of the packs that are to be hidden, at once: for whoever will not be there when they are due
 * (who looks for an object in one finds it in another). */
void upkeep_hide_all(struct upkeep *upkeep);

/* A pack as the directory shows it, with its index. */
struct upkeep_pack {
    char *name; /* "pack-..." without suffix */
    uint64_t size;
    int64_t mtime; /* seconds */
    bool index;
    bool kept;  /* has a .keep */
    bool cruft; /* git keeps the times of its objects in a file beside it */
};

/* Removes what crashes left and tells which packs readers find, smallest first: a new array of
 * struct upkeep_pack with a free function set. */
GPtrArray *upkeep_packs(const struct upkeep *upkeep);

/* For a collection that has written all of these packs (char *) anew, whether or not gc.pid (its
 * own) is there: hides them, and unlinks them if nobody is to be waited for. False: it could not,
 * and they stay. */
bool upkeep_replace(struct upkeep *upkeep, const GPtrArray *names, bool unlink_too);

/* Seconds (as host->now()) when there will be something to do though nobody writes; INT64_MAX:
 * never, it may be freed without loss. */
int64_t upkeep_due(const struct upkeep *upkeep);

struct upkeep_counts {
    uint64_t merges;
    uint64_t octets;  /* written by merges */
    uint64_t indexes; /* multi-pack-indexes written */
    uint64_t failures;
    unsigned packs; /* that readers find, at the last look */
};
struct upkeep_counts upkeep_counts(const struct upkeep *upkeep);

#endif
