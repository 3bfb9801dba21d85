/* A server in memory for tests: real sessions over a real store in a temporary directory, with a
 * clock that stands still until it is told to go on. It steps sessions, syncs and takes output
 * in the order that the edge does.
 *
 * Users are alice and bob; their passwords are their names. Passwords can't be checked at all for
 * the user "nobody".
 */
#ifndef ANNAL_TESTS_SESSION_MEMORY_H
#define ANNAL_TESTS_SESSION_MEMORY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/session.h"
#include "tests/session_script.h"

enum { MEMORY_SERVER_APPEND_LIMIT = 2 * 1024 * 1024 };

struct memory_client {
    struct session *session; /* NULL: not connected */
    enum session_status status;
    GByteArray *output; /* taken from the session, not yet received by the client */
    bool stalled;       /* the client does not read: output stays with the session */
};

struct memory_server {
    char *directory;
    struct host disk; /* the system's without its flushes: nothing here is about durability */
    struct store *store;
    int64_t now;
    struct session_settings settings; /* may be changed before a client is opened */
    struct session_host host;
    GPtrArray *log; /* char *, "session message" */
    bool octet_by_octet;
    struct session *login; /* waits for memory_server_turn() to check its password */
    char *login_user;
    char *login_password;
    struct memory_client clients[SCRIPT_CLIENTS];
};

void memory_server_init(struct memory_server *server);
/* Closes all sessions and the store, and removes the directory. */
void memory_server_release(struct memory_server *server);

/* What it offers to a script. */
struct script_transport memory_server_transport(struct memory_server *server);

/* Steps every session until nothing moves, syncs, takes the output, tells idling sessions. */
void memory_server_turn(struct memory_server *server);

/* Closes all sessions and checks every repository: false, and what was found, when one is not
 * as it should be. */
bool memory_server_verify(struct memory_server *server, GString *report);

#endif
