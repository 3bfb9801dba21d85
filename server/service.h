/* Life under a service manager: it is told what the server does, the watchdog is kept quiet as long
 * as event loop and workers turn, and a server that nobody uses ends. One thread, the event loop's.
 */
#ifndef ANNAL_SERVER_SERVICE_H
#define ANNAL_SERVER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/connection.h"
#include "server/notify.h"
#include "server/worker.h"

struct event_base;
struct service;

struct service_settings {
    struct event_base *base; /* all borrowed */
    const struct notify *notify;
    struct workers *workers;
    const struct connections *connections;
    void (*idle)(void *data); /* see service_set_idle_exit() */
    void *data;
};

/* Tells that the server is ready, and starts the watchdog's timer if one is wanted. NULL if there
 * is no memory. */
struct service *service_new(const struct service_settings *settings);
/* Accepts NULL. */
void service_free(struct service *service);

/* Calls idle once when there has been no connection for so many seconds, at most a quarter later;
 * 0: never. May be called again; the time begins anew. */
void service_set_idle_exit(struct service *service, unsigned seconds);

/* Around a reading of the configuration. */
void service_reloading(const struct service *service);
void service_reloaded(const struct service *service);
/* The server has begun to stop: no more idle(). Accepts NULL. */
void service_stopping(struct service *service);

#endif
