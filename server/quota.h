/* Quotas: how much an account may hold. What is there stays, whatever the limits are; only what
 * would add to it is refused. */
#ifndef ANNAL_SERVER_QUOTA_H
#define ANNAL_SERVER_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "store/account.h"

struct quota_limits {
    uint64_t octets; /* 0: no limit */
    uint64_t messages;
    bool count_history; /* octets are those of the repository, with all that is past */
};

/* Where limits come from; limits NULL: there are none. Called by any thread. */
struct quota_source {
    void (*limits)(void *data, const char *user, struct quota_limits *out);
    void *data;
};

void quota_limits_of(const struct quota_source *source, const char *user, struct quota_limits *out);

/* Reads "quota_mib=500,quota_messages=1000", a field of the password file, over limits: what it
 * does not name stays, 0 lifts a limit. False if it can't be understood. */
bool quota_limits_parse(struct quota_limits *limits, const char *text);

/* Whether so many messages with so many octets more would pass a limit. An account whose usage
 * can't be read is not over. */
bool quota_is_over(const struct quota_limits *limits, struct account *account, uint64_t messages,
                   uint64_t octets);

#endif
