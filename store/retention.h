/* How long the past is kept. Older history goes in two steps: retention_cut() moves git's shallow
 * boundary, so that nobody new goes behind it, and collect_repository() later drops what only lies
 * behind it.
 *
 * The boundary of a branch is the newest commit of ours (not one that others pushed, whose date may
 * be anything) that is older than the branch keeps, on every way down: it stays as the state that
 * the kept past begins with. Where branches share history the longest one wins, and what a
 * reference that is none of ours reaches (a tag, say) stays whole. A deleted mailbox goes when it
 * was deleted for longer than its name keeps.
 */
#ifndef ANNAL_STORE_RETENTION_H
#define ANNAL_STORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"

enum {
    RETENTION_FOREVER = 0, /* seconds */
    RETENTION_DAYS_DEFAULT = 90,
    RETENTION_DAYS_MAX = 36500,
    /* Between the boundary's move and the first drop: no operation takes longer. */
    RETENTION_GRACE_SECONDS = 600,
    /* How often a server drops: each time it copies what stays. */
    RETENTION_DROP_SECONDS = 7 * 24 * 3600,
};

/* Immutable while it is used, by any number of threads. */
struct retention_policy;

/* seconds: for all mailboxes that no rule names, and for the account's own history. */
struct retention_policy *retention_policy_new(int64_t seconds);
void retention_policy_free(struct retention_policy *policy); /* accepts NULL */
/* For this mailbox, and those below it that have no rule of their own. STORE_BAD_NAME. */
int retention_policy_add(struct retention_policy *policy, const char *mailbox, int64_t seconds,
                         struct store_error *error);
/* What a mailbox keeps. */
int64_t retention_policy_of(const struct retention_policy *policy, const char *mailbox);
/* What the one that keeps its past the longest keeps. */
int64_t retention_policy_longest(const struct retention_policy *policy);
/* Whether anything ever goes. */
bool retention_policy_any(const struct retention_policy *policy);

struct retention_result {
    bool held;       /* the account is on hold (hold.h): nothing was done */
    size_t cuts;     /* commits that lost their parents */
    size_t deleted;  /* deleted mailboxes that are forgotten now */
    size_t kept;     /* commits that are kept; 0 where the policy keeps all */
    int64_t oldest;  /* second of the oldest of them; 0: none */
    int64_t waiting; /* since when (0: a purge) something waits to be dropped, seconds; INT64_MAX:
                        nothing */
};

/* Moves the boundary of the repository at path to where the policy has it. What it lets go is still
 * there and still protected. Beside a server; at any moment a crash leaves a repository that git
 * finds whole. STORE_CONFLICT when somebody else is at the boundary or moved a reference;
 * STORE_CORRUPT when history is missing: then nothing has changed. Reads every commit that is kept:
 * blocks. */
int retention_cut(const char *path, const struct host *host, const struct retention_policy *policy,
                  struct retention_result *result, struct store_error *error);

#endif
