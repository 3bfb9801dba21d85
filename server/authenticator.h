/* Checks passwords on threads of its own, since that takes tens of milliseconds, and lets those
 * that failed before wait. */
#ifndef ANNAL_SERVER_AUTHENTICATOR_H
#define ANNAL_SERVER_AUTHENTICATOR_H

#include <stdbool.h>

#include "server/link.h"
#include "server/users.h"

enum {
    AUTHENTICATOR_THREADS = 2,
    AUTHENTICATOR_QUEUE_MAX = 1000, /* checks that wait */
};

struct authenticator;

/* users: borrowed. NULL with *problem (a new string) if no thread can be made. */
struct authenticator *authenticator_new(struct users *users, char **problem);
/* [any thread] As penalty_set_delays(), for checks that come from now on. */
void authenticator_set_delays(struct authenticator *authenticator, int64_t first, int64_t max);
/* Ends the threads; checks that still wait, or come, are never answered. */
void authenticator_stop(struct authenticator *authenticator);
void authenticator_free(struct authenticator *authenticator); /* accepts NULL */

/* Any thread. The answer comes by link_post_login(). False if too many wait. */
bool authenticator_submit(struct authenticator *authenticator, struct link *link, const char *user,
                          const char *password);

#endif
