/* The worker's side of a transport that was lent to it (link.h): reading and writing a session's
 * socket without another thread. Belongs to the worker.
 *
 * The socket is watched edge-triggered: once the worker was told that it is readable, it stays so
 * here until a read says that it is not. */
#ifndef ANNAL_SERVER_LOAN_H
#define ANNAL_SERVER_LOAN_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/link.h"

/* Octets of output that a worker sends itself; more is for the event loop, which encrypts and sends
 * it while the worker makes the next. */
enum { LOAN_WRITE_MAX = 64 * 1024 };

struct loan {
    struct transport *transport; /* NULL: not lent */
    int epoll;
    bool readable;
    bool hung_up; /* the peer's end is to be read */
    bool silent;  /* something was read, nothing written since */
    enum link_return how;
};

/* Watches it: events for owner in epoll. Where that fails, the next loan_write() gives it back for
 * good. */
void loan_take(struct loan *loan, struct link *link, struct transport *transport, int epoll,
               void *owner, uint8_t *scratch);
/* What epoll told. */
void loan_notice(struct loan *loan, uint32_t events);
/* At most max octets (above 0), owned by the caller: NULL if there are none now. */
GByteArray *loan_read(struct loan *loan, struct link *link, size_t max);
/* Sends the pieces (taken from the queue) and says whether the loan goes on; if not, it was given
 * back, and *unsent octets are still to be sent. after and resume as with link_deliver(). */
bool loan_write(struct loan *loan, struct link *link, GQueue *pieces, enum link_after after,
                bool resume, size_t *unsent);

#endif
