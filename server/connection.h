/* The connections of the event loop: their states, back-pressure, time-outs. What is read goes to
 * the link, what the link brings is written. One thread.
 *
 * One connection holds at most SESSION_INPUT_MAX of input and SESSION_OUTPUT_HIGH of output beside
 * the last message fetched, and what transport.h says. */
#ifndef ANNAL_SERVER_CONNECTION_H
#define ANNAL_SERVER_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/limits.h"
#include "server/lmtp_service.h"
#include "server/tls.h"
#include "server/worker.h"

struct event_base;
struct sockaddr;

enum {
    CONNECTION_HANDSHAKE_SECONDS = 30, /* for a TLS handshake */
    CONNECTION_STALL_SECONDS = 300,    /* without being able to write what waits */
    CONNECTION_CLOSE_SECONDS = 30,     /* the same, when it is the last */
    CONNECTION_KICK_SECONDS = 5,       /* for the last words to one that was kicked */
    CONNECTION_LINGER_SECONDS = 2,     /* for the peer to close after our last octet */
    CONNECTION_REFUSALS_MAX = 32,      /* that are told so at a time; others are just closed */
};

struct connections_settings {
    struct event_base *base; /* all borrowed */
    struct tls *tls;         /* NULL: no TLS */
    struct workers *workers;
    struct limits *limits;
    const GArray *trusted; /* struct network; see connections_set_trusted() */
    bool trusted_cleartext_login;
    struct lmtp_service *lmtp; /* NULL: none */
    struct limits *lmtp_limits;
    void (*empty)(void *data); /* after connections_shut_down(): the last one is gone */
    void *data;
};

struct connections;

/* NULL with *problem (a new string). */
struct connections *connections_new(const struct connections_settings *settings, char **problem);
/* Closes all at once that are not lent to a worker. Accepts NULL. */
void connections_close(struct connections *connections);
/* After connections_close(), and after the workers: they may still put links into its queue, and
 * what they were lent is closed here.
 * Accepts NULL. */
void connections_free(struct connections *connections);

/* Whoever connects from now on from one of these networks (struct network, borrowed until the next
 * call) is exempt from limits by address and user and from penalties for failed logins, and may log
 * in without TLS if cleartext_login says so. */
void connections_set_trusted(struct connections *connections, const GArray *trusted,
                             bool cleartext_login);

/* A socket that was accepted, non-blocking; takes it. tls: at once. cleartext_login: from loopback
 * it is allowed without TLS. */
void connections_open(struct connections *connections, int fd, const struct sockaddr *peer,
                      bool tls, bool cleartext_login);

/* The same, for mail that comes in by LMTP. */
void connections_open_lmtp(struct connections *connections, int fd, const struct sockaddr *peer);

unsigned connections_count(const struct connections *connections);
/* How many there have ever been. */
uint64_t connections_opened(const struct connections *connections);

/* An open connection with a session, for the admin. Times are seconds since the Unix epoch. */
struct connection_info {
    const char *id;
    const char *address;
    const char *tls; /* its version; NULL: none */
    bool compressed;
    enum session_activity activity;
    const char *user;    /* NULL before login */
    const char *client;  /* "name version (address)", or the address; NULL: not yet known */
    const char *mailbox; /* NULL: none selected */
    int64_t since;
    int64_t active; /* when something was received last */
};

/* Calls visit for each, in the order in which they came; all is valid during the call only. */
void connections_visit(const struct connections *connections,
                       void (*visit)(const struct connection_info *info, void *data), void *data);

/* Sessions by what they do, [0] without TLS and [1] with it. */
void connections_tally(const struct connections *connections,
                       unsigned out[SESSION_ACTIVITY_COUNT][2]);

/* Lets the session with this id, and all of this user, end its command, say BYE and go; cuts them
 * off if they don't soon. NULL: none. Returns how many. */
unsigned connections_kick(struct connections *connections, const char *id, const char *user);

/* Lets every session end its command, say BYE and go. */
void connections_shut_down(struct connections *connections);

#endif
