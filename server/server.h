/* The server as a whole: listeners, TLS, event loop, workers, until SIGTERM or SIGINT. */
#ifndef ANNAL_SERVER_SERVER_H
#define ANNAL_SERVER_SERVER_H

#include <glib.h>
#include <stdint.h>

#include "server/config.h"

/* Where it really listens; arrays as in the configuration, with real ports. */
struct server_ready {
    const GArray *imaps; /* struct config_listen */
    const GArray *imap;
};

/* Runs until SIGTERM or SIGINT; SIGHUP reads the certificate again. ready (may be NULL) is called
 * once, on the calling thread, when connections are accepted. Sockets that were handed over
 * (inherited.h) by the names imaps and imap take the place of both lists of the configuration.
 * Accounts of users that log in for the first time are created. Returns the process's exit status.
 * The configuration is checked (config_check()). */
int server_run(const struct config *config, void (*ready)(const struct server_ready *, void *),
               void *data);

#endif
