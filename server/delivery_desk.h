/* Where deliveries come in that belong to one worker's accounts, from any thread, and questions
 * whether they would have room.
 *
 *     delivery_desk_post() [any thread] -> delivery_desk_run() -> store_sync()
 *                                       -> delivery_desk_settle() -> done() for each
 *     delivery_desk_ask() [any thread]  -> delivery_desk_run() -> done()
 *
 * Accounts that mail came for stay open for a while, so that the next message finds them open.
 */
#ifndef ANNAL_SERVER_DELIVERY_DESK_H
#define ANNAL_SERVER_DELIVERY_DESK_H

#include <glib.h>
#include <stdbool.h>

#include "server/delivery.h"

enum {
    DELIVERY_DESK_AT_ONCE = 32,             /* deliveries in one turn; then others have theirs */
    DELIVERY_DESK_OCTETS = 4 * 1024 * 1024, /* likewise, with one that passes it */
    DELIVERY_DESK_QUESTIONS = 128,          /* likewise */
    DELIVERY_DESK_ACCOUNTS = 256,           /* that stay open */
    DELIVERY_DESK_REST = 10,                /* seconds that they stay open unused */
};

struct delivery_desk;

/* Whether an account has room for a message. */
struct delivery_question {
    char *user;
    uint64_t octets; /* of the message, as far as they are known */
    bool full;       /* the answer; an account that can't be opened is not full */
};

/* settings are borrowed. */
struct delivery_desk *delivery_desk_new(const struct delivery_settings *settings);
/* Accepts NULL. Accounts are closed; what was not delivered is settled as failed for now. */
void delivery_desk_free(struct delivery_desk *desk);

/* [any] delivery is borrowed until done(data), which is called by the worker's thread when the
 * results are there and durable. */
void delivery_desk_post(struct delivery_desk *desk, struct delivery *delivery,
                        void (*done)(void *data), void *data);

/* [any] question is borrowed until done(data), which is called by the worker's thread. */
void delivery_desk_ask(struct delivery_desk *desk, struct delivery_question *question,
                       void (*done)(void *data), void *data);

/* Answers and delivers what has come in (now: microseconds), as much as one turn takes; true if
 * there was anything to deliver. *left: there is more. */
bool delivery_desk_run(struct delivery_desk *desk, struct store *store, int64_t now, bool *left);
/* The users that mail came for in the last run; borrowed until it is settled. */
const GPtrArray *delivery_desk_users(const struct delivery_desk *desk);
/* Tells those who wait; durable: store_sync() was good. */
void delivery_desk_settle(struct delivery_desk *desk, bool durable);
/* Whether accounts are open. */
bool delivery_desk_is_used(const struct delivery_desk *desk);
/* Closes accounts that were not used for a while: once a second or so. now: microseconds. */
void delivery_desk_rest(struct delivery_desk *desk, int64_t now);

#endif
