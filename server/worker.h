/* The threads that run sessions. Each owns a struct store and the accounts of the users that are
 * pinned to it; all that blocks for a mailbox happens here.
 *
 *     turn: take the links that have news, and sessions whose large messages the disk has
 *           -> step every runnable session once
 *           -> if they changed anything, also those that had something to say meanwhile
 *           -> deliver mail -> tell idling sessions of the same accounts -> store_sync() once
 *           -> deliver output
 *           -> store_work() -> settling_turn() -> stand_turn()
 */
#ifndef ANNAL_SERVER_WORKER_H
#define ANNAL_SERVER_WORKER_H

#include <stdint.h>

#include "server/authenticator.h"
#include "server/delivery_desk.h"
#include "server/link.h"
#include "server/mime_pool.h"
#include "server/settle.h"
#include "server/stand.h"
#include "store/cache_budget.h"
#include "store/maintenance.h"
#include "store/store.h"

struct workers;

/* What may change while they run. */
struct workers_limits {
    uint64_t append_limit;
    int64_t idle_timeout; /* microseconds */
    int64_t login_timeout;
    unsigned connections_per_user;
};

struct workers_settings {
    unsigned count;
    bool bound;                          /* each to a processor of its own; there are as many */
    const char *data;                    /* the store's directory */
    struct store_journal journal;        /* each worker has one */
    struct authenticator *authenticator; /* borrowed, as the following */
    struct mime_pool *mime;
    struct maintenance *maintenance; /* NULL: none */
    struct cache_budget *budget;     /* of all workers' caches; NULL: none */
    struct delivery_settings delivery;
    struct quota_source quota;
    struct workers_limits limits;
};

/* Opens the stores and starts the threads. NULL with *problem (a new string). */
struct workers *workers_new(const struct workers_settings *settings, char **problem);

/* Gives a new link to a worker; its session's greeting comes back as output. */
void workers_add(struct workers *workers, struct link *link);

/* [any thread] Brings mail into an account, on the thread of its user: delivery_desk_post(). */
void workers_deliver(struct workers *workers, struct delivery *delivery, void (*done)(void *data),
                     void *data);

/* [any thread] Asks whether an account has room: delivery_desk_ask(). */
void workers_ask(struct workers *workers, struct delivery_question *question,
                 void (*done)(void *data), void *data);

/* For sessions that begin from now on; connections_per_user for every login. The event loop's
 * thread. */
void workers_set_limits(struct workers *workers, const struct workers_limits *limits);

/* Whether every worker has ended a turn since the last call (true at the first one); makes each
 * have one until the next. One thread. */
bool workers_alive(struct workers *workers);

/* What a worker has published of itself last. Times are microseconds since the Unix epoch. */
struct worker_figures {
    int64_t turn;          /* when the turn under way began; 0: it waits for news */
    uint64_t journal_size; /* octets; 0: no journal */
    uint64_t journal_used;
    unsigned waiting;      /* accounts with changes on their way into git */
    int64_t waiting_since; /* the oldest of them; 0: none */
    int64_t checkpoint;    /* the last one */
    int trouble;           /* enum store_code: why changes stay out of git; 0: they don't */
    unsigned users;        /* logged in */
    unsigned accounts;     /* open */
    unsigned packs;        /* of these */
};

/* [any thread] */
unsigned workers_count(const struct workers *workers);
void workers_figures(const struct workers *workers, unsigned index, struct worker_figures *out);

/* [any thread] Asks for what stand.h says; false: another request is under way. */
bool workers_stand(struct workers *workers, const char *user);
struct stand *workers_standing(struct workers *workers);

/* [any thread] Asks for what settle.h says, for the caller to give up; NULL if there are no
 * descriptors. */
struct settle *workers_settle(struct workers *workers, const char *user);

/* Ends all sessions without a word and all threads. Accepts NULL. */
void workers_free(struct workers *workers);

#endif
