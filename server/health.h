/* Whether the server can do what it is for. */
#ifndef ANNAL_SERVER_HEALTH_H
#define ANNAL_SERVER_HEALTH_H

#include <glib.h>

#include "server/report.h"

enum {
    HEALTH_TURN_SECONDS = 60, /* a worker's turn that takes longer is stuck */
    HEALTH_JOURNAL_PERCENT = 90,
};

/* Why not: lines for people, a new array of owned strings; empty: all is well. */
GPtrArray *health_problems(const struct report_sources *sources);

/* Whether the file system of this directory has as much free as the admin wants; otherwise
 * *problem is a new string. */
bool health_disk(const char *directory, unsigned free_min_mib, char **problem);

#endif
