/* Everything that is counted and measured, as one text (OpenMetrics). */
#ifndef ANNAL_SERVER_REPORT_H
#define ANNAL_SERVER_REPORT_H

#include <glib.h>

#include "server/config.h"
#include "server/connection.h"
#include "server/tls.h"
#include "server/worker.h"

/* Where the numbers come from; all borrowed. */
struct report_sources {
    const struct config *config;
    const struct tls *tls; /* NULL: none */
    const struct connections *connections;
    struct workers *workers;
    struct maintenance *maintenance; /* NULL: none */
    const struct cache_budget *budget;
};

/* Appends the text. For the event loop's thread; a few milliseconds at most. */
void report_write(const struct report_sources *sources, GString *out);

#endif
