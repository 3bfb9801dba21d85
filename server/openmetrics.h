/* Writes the OpenMetrics text format 1.0 (what Prometheus reads).
 *
 *     openmetrics_family() -> openmetrics_value() or openmetrics_histogram()... ->
 * openmetrics_end()
 */
#ifndef ANNAL_SERVER_OPENMETRICS_H
#define ANNAL_SERVER_OPENMETRICS_H

#include <glib.h>
#include <stdint.h>

#include "server/metrics.h"

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

enum openmetrics_type { OPENMETRICS_COUNTER, OPENMETRICS_GAUGE, OPENMETRICS_HISTOGRAM };

struct openmetrics {
    GString *out;     /* borrowed */
    const char *name; /* of the family under way */
    enum openmetrics_type type;
};

/* Begins a family; name as in "annal_logins", without "_total". unit: the name's end, or NULL. help
 * has no backslash and no line end. name is borrowed until the next family. */
void openmetrics_family(struct openmetrics *metrics, const char *name, enum openmetrics_type type,
                        const char *unit, const char *help);

/* One sample, a counter's with "_total". labels: pairs of name and value, ended by NULL; values are
 * escaped. NULL: none. */
void openmetrics_value(struct openmetrics *metrics, const char *const *labels, uint64_t value);
/* The same for a number with six decimals: microseconds as seconds. */
void openmetrics_seconds(struct openmetrics *metrics, const char *const *labels,
                         int64_t microseconds);
/* All samples of one histogram of seconds. At most 8 labels. */
void openmetrics_histogram(struct openmetrics *metrics, const char *const *labels,
                           const struct metric_histogram *histogram);

/* "# EOF" */
void openmetrics_end(struct openmetrics *metrics);

#endif
