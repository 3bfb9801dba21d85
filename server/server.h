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
    const GArray *lmtp;
    uint16_t metrics; /* port; 0: none */
};

struct server_hooks {
    /* See server_run(); may be NULL. */
    void (*ready)(const struct server_ready *ready, void *data);
    /* Reads the configuration again, resolved and checked. False with *problem, a new string. out
     * is to be released in any case. NULL: just the certificate is read again. */
    bool (*reread)(struct config *out, char **problem, void *data);
    void *data;
};

/* Runs until SIGTERM or SIGINT, or until nobody has used it for config->idle_exit. SIGHUP reads the
 * configuration again, with reload.h's effect on config, and the certificate; a service manager is
 * told (notify.h). ready is called once, on the calling thread, when connections are accepted.
 * Sockets that were handed over (inherited.h) by the names imaps and imap take the place of both
 * lists of the configuration. Accounts of users that log in for the first time are created. Returns
 * the process's exit status. The configuration is checked (config_check()). */
int server_run(struct config *config, const struct server_hooks *hooks);

#endif
