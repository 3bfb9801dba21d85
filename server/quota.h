/* Quotas: how much an account may hold. What is there stays, whatever the limits are; only what
 * would add to it is refused. */
#ifndef ANNAL_SERVER_QUOTA_H
#define ANNAL_SERVER_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "server/quota_board.h"
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
    struct quota_board *board; /* where sums are noted for quota_has_room(); NULL: nowhere */
};

void quota_limits_of(const struct quota_source *source, const char *user, struct quota_limits *out);

/* False: no limit is set. */
bool quota_limits_any(const struct quota_limits *limits);

/* Reads "quota_mib=500,quota_messages=1000", a field of the password file, over limits: what it
 * does not name stays, 0 lifts a limit. False if it can't be understood. */
bool quota_limits_parse(struct quota_limits *limits, const char *text);

/* Whether so many messages with so many octets more pass no limit of the account's user. The sum is
 * noted on the board, with them if they do. On the thread of the account. An account whose usage
 * can't be read has room. */
bool quota_admits(const struct quota_source *source, struct account *account, uint64_t messages,
                  uint64_t octets);
/* The same without what comes being noted: it is a question only. */
bool quota_would_admit(const struct quota_source *source, struct account *account,
                       uint64_t messages, uint64_t octets);

/* [any] As far as that can be told without looking at the account: true, it has room; false, ask
 * quota_would_admit(). */
bool quota_has_room(const struct quota_source *source, const char *user, uint64_t messages,
                    uint64_t octets);

#endif
