/* The control socket: a local admin asks a running server, in one line, and gets lines.
 *
 *   who                  a line for each session: struct control_session
 *   stats                the text of report_write()
 *   health               a line for each problem
 *   stand TAB USER       "waiting", or "busy": stand.h
 *   stand                "none", "waiting", "standing", or "failed" TAB reason
 *   settle TAB USER      nothing, once git has what the user's clients were told is done: settle.h
 *   kick TAB session TAB ID, kick TAB user TAB NAME    a line with the number of sessions
 *
 * Fields are separated by TAB; in a field TAB, LF and backslash are written as \t, \n and \\. The
 * first line of an answer is "ok" or "error" TAB reason, the last one "end".
 *
 * The socket has mode 0600, and only processes of the server's user and of root are heard. */
#ifndef ANNAL_SERVER_CONTROL_H
#define ANNAL_SERVER_CONTROL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/report.h"

struct event_base;
struct control;

enum {
    CONTROL_CLIENTS_MAX = 64,
    CONTROL_REQUEST_MAX = 1024,             /* octets */
    CONTROL_ANSWER_MAX = 256 * 1024 * 1024, /* octets that a client takes */
    CONTROL_SECONDS = 10,                   /* for a request, and between two pieces of an answer */
    CONTROL_SETTLE_SECONDS =
        8, /* for a worker that settles; fewer, so that its client hears of it */
};

/* --- the server's side: one thread, the event loop's --- */

/* Listens at this path, which a server that is gone may have left behind. connections and sources:
 * borrowed. NULL with *problem (a new string), also if another server listens there. */
struct control *control_new(struct event_base *base, const char *path,
                            struct connections *connections, const struct report_sources *sources,
                            char **problem);
void control_free(struct control *control); /* accepts NULL; removes the socket */

/* --- the admin's side: blocks --- */

enum control_result {
    CONTROL_DONE,
    CONTROL_ABSENT, /* no server listens there */
    CONTROL_SILENT, /* one listens, but does not answer within CONTROL_SECONDS */
    CONTROL_FAILED,
};

/* Sends a request (without line end) and sets *lines to the answer between its first and last
 * line: a new array of strings. On failure *problem is a new string. */
enum control_result control_ask(const char *path, const char *request, GPtrArray **lines,
                                char **problem);

/* A new string for a request: the words as fields. */
char *control_request(const char *const *words);
/* The fields of a line: a new NULL-terminated vector. */
char **control_fields(const char *line);

/* The fields of a session's line. */
enum control_session {
    CONTROL_SESSION_ID,
    CONTROL_SESSION_USER, /* empty before login */
    CONTROL_SESSION_ADDRESS,
    CONTROL_SESSION_CLIENT,     /* as its ID command says; empty: it has not */
    CONTROL_SESSION_TLS,        /* "TLSv1.3"; empty: none */
    CONTROL_SESSION_COMPRESSED, /* "yes" or "no" */
    CONTROL_SESSION_MAILBOX,    /* empty: none selected */
    CONTROL_SESSION_STATE,
    CONTROL_SESSION_SINCE, /* seconds since the Unix epoch */
    CONTROL_SESSION_IDLE,  /* seconds */
    CONTROL_SESSION_COUNT,
};

#endif
