/* One LMTP conversation (RFC 2033, with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING and
 * ENHANCEDSTATUSCODES: RFC 2920, 1870, 6152, 6531, 3030, 2034), as bytes in and bytes out: no
 * sockets, no event loop, no store. Who a recipient is, and delivery, are the host's business.
 *
 *     GREETED    --LHLO--> READY --MAIL--> SENDER --RCPT--> RECIPIENTS
 *     SENDER, RECIPIENTS --RCPT--> ASKING --the host's answer--> RECIPIENTS, or back
 *     RECIPIENTS --DATA--> MESSAGE --CRLF.CRLF--> DELIVERING
 *     RECIPIENTS --BDAT--> CHUNK --> BETWEEN --BDAT--> CHUNK --LAST--> DELIVERING
 *     DELIVERING --a reply for each recipient--> READY
 *
 * While the host is asked, and while messages are delivered, no input is taken. All calls of one
 * session come from one thread.
 */
#ifndef ANNAL_SERVER_LMTP_SESSION_H
#define ANNAL_SERVER_LMTP_SESSION_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/delivery.h"

enum {
    LMTP_RECIPIENTS_MAX = 1000, /* of one message; RFC 5321 4.5.3.1.8 demands 100 */
    LMTP_BAD_COMMANDS_MAX = 20, /* in a row, before the connection is closed */
    LMTP_INPUT_MAX = 64 * 1024, /* octets held unread */
};

struct lmtp_session;

/* Of a user's account, for a message. */
enum lmtp_room { LMTP_ROOM_GOOD, LMTP_ROOM_ASKED };

enum lmtp_user { LMTP_USER_KNOWN, LMTP_USER_UNKNOWN, LMTP_USER_TROUBLE };

struct lmtp_host {
    void *data;
    int64_t (*now)(void *data); /* microseconds since the Unix epoch */
    enum lmtp_user (*user)(void *data, const char *name);
    /* Whether the account has room for a message of so many octets, as far as they are known.
     * LMTP_ROOM_ASKED: sooner or later, unless the session is freed before, the host calls
     * lmtp_session_room_told(). What comes of a delivery is another matter. */
    enum lmtp_room (*room)(void *data, struct lmtp_session *session, const char *user,
                           uint64_t octets);
    /* Delivers to each account; deliveries is a new array of struct delivery * that becomes the
     * host's. Sooner or later, unless the session is freed before, it calls
     * lmtp_session_delivered(). */
    void (*deliver)(void *data, struct lmtp_session *session, GPtrArray *deliveries);
    /* event: one word; address: a recipient's, as the client gave it. */
    void (*log)(void *data, const char *session_id, const char *event, const char *address);
};

struct lmtp_settings {
    const char *hostname;     /* in the greeting and in Received */
    const char *directory;    /* for large messages under way */
    uint64_t message_limit;   /* octets */
    int64_t idle_timeout;     /* microseconds */
    char delimiter;           /* between a user's name and the detail; '\0': there is none */
    bool over_quota_is_final; /* 552 in place of 452 */
};

/* settings and host are borrowed. id: unique, printable. peer: the client's address as text. The
 * greeting is already in the output. */
struct lmtp_session *lmtp_session_new(const struct lmtp_settings *settings,
                                      const struct lmtp_host *host, const char *id,
                                      const char *peer);
void lmtp_session_free(struct lmtp_session *session); /* accepts NULL */

/* Octets that it takes now. */
size_t lmtp_session_room(const struct lmtp_session *session);
void lmtp_session_input(struct lmtp_session *session, const void *data, size_t length);

enum lmtp_status {
    LMTP_STATUS_WAITING, /* for input, or until the time of lmtp_session_deadline() */
    LMTP_STATUS_BUSY,    /* for lmtp_session_room_told() or lmtp_session_delivered() */
    LMTP_STATUS_CLOSED,  /* send the output and close */
};

/* Does what can be done with the input. */
enum lmtp_status lmtp_session_step(struct lmtp_session *session);

/* The answer to the room that was asked for. */
void lmtp_session_room_told(struct lmtp_session *session, bool full);

/* The host's deliveries have their results; the same ones in the same order, still the host's. */
void lmtp_session_delivered(struct lmtp_session *session, const GPtrArray *deliveries);

/* What has been said since the last call: owned, NULL if nothing. */
GBytes *lmtp_session_output(struct lmtp_session *session);

int64_t lmtp_session_deadline(const struct lmtp_session *session);
/* The server stops: says 421 as soon as no delivery is under way. */
void lmtp_session_shut_down(struct lmtp_session *session);

#endif
