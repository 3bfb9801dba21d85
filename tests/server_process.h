/* A whole server in a process of its own, for tests over real sockets. Users are alice and bob;
 * their passwords are their names. The test's main() begins with
 *
 *     if (server_process_is_part(argc, argv))
 *         return server_process_part(argc, argv);
 */
#ifndef ANNAL_TESTS_SERVER_PROCESS_H
#define ANNAL_TESTS_SERVER_PROCESS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/config.h"

/* The server runs this program again for parsing messages. */
bool server_process_is_part(int argc, char **argv);
int server_process_part(int argc, char **argv);

struct server_process {
    char *directory;      /* with data/, certificate.pem, key.pem, users, log */
    struct config config; /* may be changed before the start */
    pid_t pid;            /* 0: not running */
    uint16_t imaps;
    uint16_t imap;
};

/* One port with and one without TLS on 127.0.0.1, cleartext logins allowed, 2 workers. */
void server_process_init(struct server_process *server);
void server_process_start(struct server_process *server); /* fails the test if it can't */
/* SIGTERM, and waits for at most 15 s (then SIGKILL): the wait status. */
int server_process_stop(struct server_process *server);
/* All it has logged so far: a new string. */
char *server_process_log(const struct server_process *server);
/* Stops it if it runs, and removes the directory. */
void server_process_release(struct server_process *server);

#endif
