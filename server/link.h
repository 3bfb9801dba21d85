/* What joins a connection and its session: bytes and a few marks, under one lock, and two queues.
 *
 *     connection (event loop)                    session (a worker)
 *     link_send()          -- input, marks -->   link_receive()
 *     link_collect()       <-- output, state --  link_deliver()
 *
 * Whoever puts something in queues the link for the other side, once. The worker may change while
 * the session lives (at login it moves to the user's), the event loop does not. Functions marked
 * [any] may be called by any thread.
 */
#ifndef ANNAL_SERVER_LINK_H
#define ANNAL_SERVER_LINK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/card.h"
#include "server/session.h"

enum { LINK_RESUME_BELOW = SESSION_OUTPUT_HIGH / 2 }; /* octets */

struct link;
struct transport;

/* --- the queue of links that have something for a thread --- */

struct link_queue;

/* NULL if there are no descriptors. */
struct link_queue *link_queue_new(void);
void link_queue_free(struct link_queue *queue); /* accepts NULL; drops the links in it */
/* Readable while the queue is not empty. */
int link_queue_fd(const struct link_queue *queue);
/* Takes all: a new array of owned links, NULL if there is none. */
GPtrArray *link_queue_take(struct link_queue *queue);
/* [any] Makes the descriptor readable for once without a link. */
void link_queue_wake(struct link_queue *queue);

/* --- the link --- */

struct link_settings {
    const char *id;
    const char *peer;        /* address as text */
    const char *penalty_key; /* what failed logins count for: the address or its network */
    bool tls;                /* implicit TLS, already there */
    bool starttls;           /* may be offered */
    bool cleartext_login;
    bool trusted;     /* exempt from limits by user and from penalties */
    void *connection; /* for the event loop */
    struct link_queue *event_loop;
};

/* One reference, the connection's. */
struct link *link_new(const struct link_settings *settings);
struct link *link_ref(struct link *link);
void link_unref(struct link *link); /* accepts NULL */

/* Constant: [any]. */
const char *link_id(const struct link *link);
const char *link_peer(const struct link *link);
const char *link_penalty_key(const struct link *link);
bool link_is_tls(const struct link *link);
bool link_offers_starttls(const struct link *link);
bool link_allows_cleartext_login(const struct link *link);
bool link_is_trusted(const struct link *link);
struct card *link_card(const struct link *link);
/* For the event loop only; NULL once it has been forgotten. */
void *link_connection(const struct link *link);
void link_forget_connection(struct link *link);

/* --- the connection's side --- */

/* Octets that link_send() would take now, SESSION_INPUT_MAX less what waits here. If it is 0, the
 * link is queued for the event loop once there is room. */
size_t link_room(struct link *link);
void link_send(struct link *link, const void *data, size_t length);
void link_send_end(struct link *link);       /* the peer sends no more, but still listens */
void link_send_gone(struct link *link);      /* the connection is lost: nobody listens */
void link_send_shut_down(struct link *link); /* the server stops */
void link_send_kicked(struct link *link);    /* the admin wants the session to end */
/* TLS has begun, or compression; input from before is thrown away. */
void link_send_tls_started(struct link *link);
void link_send_compressed(struct link *link);
/* Octets of output that have been collected but not sent. */
void link_report_unsent(struct link *link, size_t octets);

/* What comes after the output collected so far. */
enum link_after { LINK_AFTER_NOTHING, LINK_AFTER_STARTTLS, LINK_AFTER_COMPRESS, LINK_AFTER_CLOSE };

/* Moves the output to the queue out: owned GBytes in order. */
enum link_after link_collect(struct link *link, GQueue *out);

/* --- the worker's side --- */

/* [any] The worker that gets the link from now on; queues it there. */
void link_assign(struct link *link, struct link_queue *worker);
/* The queue that it was assigned to. */
struct link_queue *link_assigned(struct link *link);

enum link_login { LINK_LOGIN_NONE, LINK_LOGIN_OK, LINK_LOGIN_FAILED };

struct link_news {
    bool end;
    bool gone;
    bool shut_down;
    bool kicked;
    bool tls_started;
    bool compressed;
    enum link_login login; /* the result of a password check */
    char *user;            /* its user, owned by the receiver */
    size_t unsent;         /* octets delivered but not sent */
    bool has_input;
    struct transport *lent; /* the worker has it from now on; NULL: nothing new */
};

/* [any] The result of a password check. */
void link_post_login(struct link *link, enum link_login login, const char *user);

/* [any] Queues the link for the worker's side without news. */
void link_wake(struct link *link);

/* [any] The connection is lost. */
bool link_is_gone(struct link *link);

/* Takes the marks (each is seen once, end and gone stay), and leaves the input. */
void link_receive(struct link *link, struct link_news *news);
/* Takes at most max octets of input: owned by the caller, NULL if there are none. A password may be
 * in them. */
GByteArray *link_take_input(struct link *link, size_t max);
/* Hands over pieces (taken from the queue, which is empty afterwards). With resume, the link is
 * queued for the worker again once less than LINK_RESUME_BELOW is unsent. Returns the octets
 * unsent; *has_input: there is input that the session has not taken. */
size_t link_deliver(struct link *link, GQueue *pieces, enum link_after after, bool resume,
                    bool *has_input);

/* --- the loan ---
 *
 * Between a command and its answer no other thread should have to be woken: once a session has
 * logged in, the connection lends its transport to the worker, which then reads and writes the
 * socket itself. It gives the transport back with whatever is not plain going on: output that the
 * socket does not take at once, a change of the transport, the end of the session or of the peer.
 * Then all goes through the link, until the connection lends it again. */

/* The worker's: whether it wants the loan, now and whenever it was given back; at first not. The
 * connection sees it with the next output. */
void link_want_loan(struct link *link, bool wanted);
/* The connection's: it is wanted, and no output waits here. */
bool link_wants_loan(struct link *link);
/* The connection's. False, and it is not lent: the worker has just put output in here. */
bool link_lend(struct link *link, struct transport *transport);

enum link_return {
    LINK_RETURN_NOT,
    LINK_RETURN_OPEN, /* as it was lent */
    LINK_RETURN_END,  /* the peer sends no more */
    LINK_RETURN_LOST, /* of no use any more; a failure to read was logged */
};
/* The worker's, which must not touch the transport any more. In it are so many octets unsent;
 * for after and resume see link_deliver(). */
void link_give_back(struct link *link, enum link_return how, enum link_after after, size_t unsent,
                    bool resume);
/* The connection's, before link_collect(): whether it was given back, or the worker put output in
 * here before it saw the loan. */
enum link_return link_take_back(struct link *link);

/* The worker's own, moves with the session. After the session's end the link is over for good,
 * whatever may still come. */
void link_set_member(struct link *link, void *member);
void *link_member(const struct link *link);
void link_set_over(struct link *link);
bool link_is_over(const struct link *link);

#endif
