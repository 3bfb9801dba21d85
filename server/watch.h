/* Pages for whoever watches the server, over HTTP: /metrics (OpenMetrics) and /health (200 "ok", or
 * 503 and the reasons). They name no user. One thread, the event loop's. */
#ifndef ANNAL_SERVER_WATCH_H
#define ANNAL_SERVER_WATCH_H

#include <stdint.h>

#include "server/report.h"

struct event_base;
struct watch;

/* Listens as sources->config->metrics says; sources: borrowed. NULL with *problem (a new string).
 */
struct watch *watch_new(struct event_base *base, const struct report_sources *sources,
                        char **problem);
void watch_free(struct watch *watch); /* accepts NULL */

/* Of the first address; 0: none is configured. */
uint16_t watch_port(const struct watch *watch);

#endif
