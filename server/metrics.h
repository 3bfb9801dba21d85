/* What the server counts. Counting costs some nanoseconds and takes no lock: each thread adds to
 * counters of its own, and who asks gets their sum, which never falls. The counters are the
 * process's, as the log sink is.
 *
 * [any thread] */
#ifndef ANNAL_SERVER_METRICS_H
#define ANNAL_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/command.h"

enum metric {
    METRIC_CONNECTIONS, /* accepted */
    METRIC_REFUSED_ALL, /* connections beyond a limit */
    METRIC_REFUSED_ADDRESS,
    METRIC_TLS_OK, /* handshakes */
    METRIC_TLS_FAILED,
    METRIC_RECEIVED, /* octets, without TLS and before expansion */
    METRIC_SENT,
    METRIC_KICKED,
    METRIC_LOGIN_OK,
    METRIC_LOGIN_PASSWORD, /* failed: an unknown user or a wrong password */
    METRIC_LOGIN_CLEARTEXT,
    METRIC_LOGIN_LIMIT,
    METRIC_LOGIN_UNAVAILABLE,
    METRIC_SYNC_FAILED,
    METRIC_DELIVERY_CONNECTIONS,
    METRIC_DELIVERY_ACCEPTED, /* recipients of messages */
    METRIC_DELIVERY_REJECTED, /* for good (5xx) */
    METRIC_DELIVERY_DEFERRED, /* to be tried again (4xx) */
    METRIC_DELIVERY_OCTETS,   /* of messages accepted */
    METRIC_COUNT,
};

/* Distributions of times. */
enum metric_time {
    METRIC_TIME_SYNC,     /* store_sync() of a turn that had something to write */
    METRIC_TIME_PASSWORD, /* the check of a password, without what it had to wait for */
    METRIC_TIME_DELIVERY, /* of a message, from its end to its answers */
    METRIC_TIME_COUNT,
};

/* How a command ended. */
enum metric_result { METRIC_RESULT_OK, METRIC_RESULT_NO, METRIC_RESULT_BAD, METRIC_RESULT_COUNT };

void metrics_count(enum metric metric, uint64_t n);
/* A negative time (a clock was set back) counts as none. */
void metrics_time(enum metric_time which, int64_t microseconds);
/* The time is counted as metrics_time() does, but for IDLE, which takes as long as it likes. */
void metrics_command(enum command_kind kind, enum metric_result result, int64_t microseconds);

/* --- reading --- */

enum { METRICS_BOUNDS = 11 };

/* Upper bounds of the buckets in microseconds, ascending; the bucket after the last has none. */
extern const int64_t metrics_bounds[METRICS_BOUNDS];

struct metric_histogram {
    uint64_t buckets[METRICS_BOUNDS + 1]; /* times above the bound before and up to the own */
    uint64_t microseconds;                /* the sum of all times */
};

uint64_t metrics_read(enum metric metric);
void metrics_read_time(enum metric_time which, struct metric_histogram *out);
uint64_t metrics_read_commands(enum command_kind kind, enum metric_result result);
void metrics_read_command_time(enum command_kind kind, struct metric_histogram *out);

/* The bucket that a time belongs into. */
size_t metrics_bucket(int64_t microseconds);

#endif
