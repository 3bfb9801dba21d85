/* The process's housekeeping: a thread of low priority that keeps the packs and references of
 * repositories few, for all worker threads, so that none of them waits for it.
 *
 * It takes at most a share of one processor and a rate of the disk: what is left over waits. Brief
 * merges come first, one long one at a time is done in slices between them. Once a day it lets each
 * account's old history go (retention.h), and every RETENTION_DROP_SECONDS gives its space back;
 * and it signs checkpoints (signing.h).
 */
#ifndef ANNAL_STORE_MAINTENANCE_H
#define ANNAL_STORE_MAINTENANCE_H

#include <stdint.h>

#include "store/error.h"
#include "store/host.h"

enum {
    MAINTENANCE_CPU_PERCENT = 15, /* of one processor */
    /* Where packs come faster than that: of one processor, for an account with so many packs. */
    MAINTENANCE_CPU_PERCENT_PRESSED = 50,
    MAINTENANCE_PACKS_PRESSED = 300,     /* more than wait for a lull, and those merged last */
    MAINTENANCE_RATE = 48 * 1024 * 1024, /* octets written a second */
    MAINTENANCE_REFS_SECONDS = 300,      /* between two looks at a repository's references */
    MAINTENANCE_RETAIN_AFTER = 600,      /* seconds from the start to the first retention */
    MAINTENANCE_RETAIN_EVERY = 24 * 3600,
    MAINTENANCE_SIGN_EVERY = 1800, /* seconds between two looks for checkpoints that are due */
    MAINTENANCE_SIGN_AGAIN = 300,  /* the same where some could not be signed */
};

struct retention_policy;
struct signing_key;

struct maintenance_settings {
    const struct host *host; /* borrowed; called from the thread */
    int64_t compress_after;  /* seconds until packs that nobody changes are deflated; 0: never */
    /* How long all accounts below mail ("DATA/mail") keep their past; borrowed. NULL: for ever. */
    const struct retention_policy *retention;
    const char *mail;
    int64_t retain_after; /* seconds: MAINTENANCE_RETAIN_AFTER, or a test's */
    /* Signs the heads of all of them (signing.h) every so many seconds; borrowed. NULL: never. */
    const struct signing_key *signing_key;
    int64_t sign_every;
    /* Called by the thread, once for all accounts, when some could not be signed: how many, and the
     * last of them. They are tried again MAINTENANCE_SIGN_AGAIN seconds later. May be NULL. */
    void (*unsigned_accounts)(unsigned count, const char *user, const struct store_error *error,
                              void *data);
    void *data;
};

struct maintenance;

/* Starts the thread. NULL when there can be none: accounts then look after themselves. */
struct maintenance *maintenance_new(const struct maintenance_settings *settings);

/* Ends it within a moment, whatever it does: what it was merging is given up. To be called when no
 * account uses it any more. Accepts NULL. */
void maintenance_free(struct maintenance *maintenance);

/* There is something to do in the repository with this path. From any thread; never blocks long. */
void maintenance_request(struct maintenance *maintenance, const char *path);

struct maintenance_counts {
    uint64_t merges;
    uint64_t octets;      /* written by merges */
    uint64_t indexes;     /* multi-pack-indexes written */
    uint64_t failures;    /* of merges */
    uint64_t references;  /* packed */
    uint64_t cuts;        /* of accounts' history */
    uint64_t drops;       /* of what was cut off */
    uint64_t checkpoints; /* signed */
    uint64_t signing_failures;
    uint64_t failing;      /* accounts of which the last one could not: not so far, but now */
    uint64_t microseconds; /* of processor time */
};
/* So far. From any thread. */
struct maintenance_counts maintenance_counts(struct maintenance *maintenance);

#endif
