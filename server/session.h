/* A session: one client's conversation, as bytes in and bytes out. No sockets, no TLS, no event
 * loop; the clock and everything that takes an outside is asked of the session's host, so that
 * whole conversations run in a test's memory.
 *
 * All calls of one session come from one thread at a time. Before login any thread will do; from
 * login on it is the thread that owns the user's account (and the struct store given in
 * session_authenticated()). Store work happens inside session_step() and blocks.
 *
 *     edge: session_input() -> session_step() ... -> store_sync() -> take output -> send
 *
 * Output that acknowledges a change must not be sent before store_sync(): the edge steps all of a
 * turn's sessions, syncs once, and only then takes their output. If the sync fails it calls
 * session_abort() on those sessions.
 */
#ifndef ANNAL_SERVER_SESSION_H
#define ANNAL_SERVER_SESSION_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

enum {
    SESSION_INPUT_MAX = 64 * 1024,    /* octets held unread; the edge stops reading beyond */
    SESSION_OUTPUT_HIGH = 256 * 1024, /* octets waiting; a session produces no more beyond */
    SESSION_SLICE = 20 * 1000,        /* microseconds a step may run before it yields */
};

struct session;

enum session_log_level {
    SESSION_LOG_DEBUG,
    SESSION_LOG_INFO,
    SESSION_LOG_WARNING,
    SESSION_LOG_ERROR
};

/* What a session asks of its surroundings. data is passed back. */
struct session_host {
    void *data;
    /* Microseconds since the Unix epoch. */
    int64_t (*now)(void *data);
    /* Begins to check a password; the answer comes later (or at once) through
     * session_authenticated() or session_authentication_failed(), at most once. Until then the
     * session takes no command. user and password are valid during the call only. */
    void (*authenticate)(void *data, struct session *session, const char *user,
                         const char *password);
    /* Makes a message's structure record (protocol/structure.h); blocking but bounded. Asked only
     * for messages beyond mime_bounds_small (protocol/mime_parse.h). Never NULL: what can't be
     * parsed gets structure_plain(). *final false: it is worth trying again later, so it must not
     * be kept. */
    GBytes *(*structure)(void *data, const uint8_t *message, size_t length, bool *final);
    /* The searchable text (mime_text() in protocol/mime.h) where plain_text() has none; NULL if it
     * can't be had. */
    GBytes *(*text)(void *data, const uint8_t *message, size_t length, bool header, bool body);
    /* One structured log line; fields are key=value pairs already cleaned by the host. */
    void (*log)(void *data, enum session_log_level level, const char *session_id,
                const char *message);
};

struct session_settings {
    uint64_t append_limit;      /* octets of a message; APPENDLIMIT */
    bool offer_starttls;        /* cleartext port with a certificate */
    bool allow_cleartext_login; /* otherwise LOGINDISABLED until TLS */
    int64_t idle_timeout;       /* microseconds; 30 minutes logged in (RFC 3501 5.4) */
    int64_t login_timeout;      /* microseconds until login must have happened */
    unsigned login_attempts;    /* failed ones before BYE */
};

/* settings and host are borrowed and outlive the session. id: unique, printable, for logs and
 * commit trailers. peer: the client's address as text. The greeting is already in the output. */
struct session *session_new(const struct session_settings *settings,
                            const struct session_host *host, const char *id, const char *peer,
                            bool tls);
void session_free(struct session *session); /* accepts NULL; releases mailbox and account */

/* Octets the session will take now: SESSION_INPUT_MAX less what it holds. */
size_t session_input_room(const struct session *session);
/* length <= session_input_room() (asserted). Copies. */
void session_input(struct session *session, const void *data, size_t length);
/* The same, but takes input, which nobody else refers to, and without a copy where it can. */
void session_input_take(struct session *session, GByteArray *input);

enum session_status {
    SESSION_WAITING,  /* for input, time, authentication, or for its output to be taken */
    SESSION_RUNNABLE, /* has more to do: step again after others had their turn */
    SESSION_STARTTLS, /* send the output, start TLS, then session_tls_started(); input after the
                         command was thrown away */
    SESSION_COMPRESS, /* send the output, then deflate both ways, then session_compressed() */
    SESSION_CLOSED,   /* send the output and close */
};
/* Runs until there is nothing to do, the output is high or the slice is over. */
enum session_status session_step(struct session *session);

void session_tls_started(struct session *session);
void session_compressed(struct session *session);

/* Answers to host.authenticate. store is the one of the thread that steps the session from now on.
 * delayed or not is the host's business. reason: a response code text such as "UNAVAILABLE", or
 * NULL for AUTHENTICATIONFAILED. */
void session_authenticated(struct session *session, struct store *store, const char *user);
void session_authentication_failed(struct session *session, const char *reason);

/* Output, as pieces in order (a literal is a piece that refers to the message's own octets). Take
 * returns an owned GBytes or NULL. waiting counts octets not yet taken; the edge reports octets
 * that it holds unsent with session_output_unsent(), which count against SESSION_OUTPUT_HIGH. */
GBytes *session_output_take(struct session *session);
size_t session_output_waiting(const struct session *session);
void session_output_unsent(struct session *session, size_t octets);

/* Something may have changed in the account: an idling session tells its client (in the output). */
void session_notify(struct session *session);

/* The time, from host.now, at which session_step() should be called even without input: time-outs.
 * INT64_MAX: never. */
int64_t session_deadline(const struct session *session);

/* The server stops (or kicks): says BYE once the running command is done, then SESSION_CLOSED. */
void session_shut_down(struct session *session, const char *text);
/* Closes now, dropping output not yet taken, with BYE [UNAVAILABLE]. */
void session_abort(struct session *session);

/* NULL before login; borrowed. */
const char *session_user(const struct session *session);
struct account *session_account(const struct session *session);
bool session_is_idling(const struct session *session);

#endif
