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

#include "protocol/command.h"
#include "server/quota.h"
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

/* How a login ended. */
enum session_login {
    SESSION_LOGIN_OK,
    SESSION_LOGIN_PASSWORD,    /* unknown user, wrong password, another's account */
    SESSION_LOGIN_CLEARTEXT,   /* refused, for want of TLS */
    SESSION_LOGIN_LIMIT,       /* the user has too many sessions */
    SESSION_LOGIN_UNAVAILABLE, /* the server can't, now */
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
    /* What the user's account may hold; all zeros: as much as it likes. */
    struct quota_source quota;
    /* One structured log line; fields are key=value pairs already cleaned by the host. */
    void (*log)(void *data, enum session_log_level level, const char *session_id,
                const char *message);
    /* The version of TLS under way, "TLSv1.3", for the log; NULL if it is not known. Borrowed until
     * the next call. May be NULL. */
    const char *(*tls_version)(void *data);
    /* For statistics; both may be NULL. A command got its tagged response (status: as there) after
     * so many microseconds; COMMAND_UNKNOWN, too, for what can't be parsed. */
    void (*command_done)(void *data, enum command_kind kind, const char *status,
                         int64_t microseconds);
    void (*login_done)(void *data, enum session_login how);
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
    SESSION_WAITING,  /* for input, time, authentication, the disk, or its output to be taken */
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

/* Something may have changed in the account: an idling session tells its client (in the output), or
 * is over, and no longer idling: to be stepped. */
void session_notify(struct session *session);

/* The time, from host.now, at which session_step() should be called even without input: time-outs.
 * INT64_MAX: never. */
int64_t session_deadline(const struct session *session);

/* The server stops (or kicks): says BYE once the running command is done, then SESSION_CLOSED. */
void session_shut_down(struct session *session, const char *text);
/* Closes now, dropping output not yet taken, with BYE [UNAVAILABLE]. */
void session_abort(struct session *session);

/* What a session is doing, for the admin; the strings are borrowed until its next step. */
enum session_activity {
    SESSION_LOGGING_IN,
    SESSION_LOGGED_IN, /* no mailbox selected */
    SESSION_SELECTED,
    SESSION_IDLING,
    SESSION_ENDING,
    SESSION_DELIVERING, /* no session of IMAP: mail comes in */
    SESSION_ACTIVITY_COUNT,
};
struct session_summary {
    enum session_activity activity;
    bool tls;
    const char *user;    /* NULL before login */
    const char *client;  /* "name version (address)" after an ID, else the address */
    const char *mailbox; /* NULL: none selected */
};
void session_summarize(const struct session *session, struct session_summary *out);

/* The name of a kind of command in the protocol; "unknown" for COMMAND_UNKNOWN. */
const char *session_command_name(enum command_kind kind);

/* NULL before login; borrowed. */
const char *session_user(const struct session *session);
struct account *session_account(const struct session *session);
bool session_is_idling(const struct session *session);
/* A command waits for the disk, which another thread waits for (spool_is_ready()): to be stepped
 * when session_can_go_on(). */
bool session_is_storing(const struct session *session);
bool session_can_go_on(const struct session *session);

#endif
