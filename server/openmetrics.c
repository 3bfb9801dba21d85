#include "server/openmetrics.h"

#include <assert.h>
#include <string.h>

enum { LABELS_MAX = 8 };

static const char *const type_names[] = {
    [OPENMETRICS_COUNTER] = "counter",
    [OPENMETRICS_GAUGE] = "gauge",
    [OPENMETRICS_HISTOGRAM] = "histogram",
};

void openmetrics_family(struct openmetrics *metrics, const char *name, enum openmetrics_type type,
                        const char *unit, const char *help)
{
    assert(strpbrk(help, "\\\n\"") == NULL);
    assert(unit == NULL || g_str_has_suffix(name, unit));
    metrics->name = name;
    metrics->type = type;
    g_string_append_printf(metrics->out, "# TYPE %s %s\n", name, type_names[type]);
    if (unit != NULL)
        g_string_append_printf(metrics->out, "# UNIT %s %s\n", name, unit);
    g_string_append_printf(metrics->out, "# HELP %s %s\n", name, help);
}

/* escaped-string = *escaped-char: backslash, quote and line end are escaped. */
static void append_escaped(GString *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            g_string_append(out, "\\n");
        else if (*value == '"' || *value == '\\')
            g_string_append_printf(out, "\\%c", *value);
        else
            g_string_append_c(out, *value);
    }
}

static void append_name(struct openmetrics *metrics, const char *suffix, const char *const *labels)
{
    GString *out = metrics->out;
    char separator = '{';

    g_string_append(out, metrics->name);
    g_string_append(out, suffix);
    for (size_t i = 0; labels != NULL && labels[i] != NULL; i += 2) {
        g_string_append_printf(out, "%c%s=\"", separator, labels[i]);
        append_escaped(out, labels[i + 1]);
        g_string_append_c(out, '"');
        separator = ',';
    }
    g_string_append(out, separator == ',' ? "} " : " ");
}

static const char *suffix_of(const struct openmetrics *metrics)
{
    assert(metrics->type != OPENMETRICS_HISTOGRAM);
    return metrics->type == OPENMETRICS_COUNTER ? "_total" : "";
}

void openmetrics_value(struct openmetrics *metrics, const char *const *labels, uint64_t value)
{
    append_name(metrics, suffix_of(metrics), labels);
    g_string_append_printf(metrics->out, "%" G_GUINT64_FORMAT "\n", value);
}

static void append_seconds(GString *out, int64_t microseconds)
{
    uint64_t size = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;

    g_string_append_printf(out, "%s%" G_GUINT64_FORMAT ".%06u\n", microseconds < 0 ? "-" : "",
                           size / 1000000, (unsigned)(size % 1000000));
}

void openmetrics_seconds(struct openmetrics *metrics, const char *const *labels,
                         int64_t microseconds)
{
    append_name(metrics, suffix_of(metrics), labels);
    append_seconds(metrics->out, microseconds);
}

/* Seconds as le has them: "0.0001", "3.0". */
static void write_bound(char *out, size_t size, int64_t microseconds)
{
    g_snprintf(out, (gulong)size, "%" G_GINT64_FORMAT ".%06u", microseconds / 1000000,
               (unsigned)(microseconds % 1000000));
    for (char *end = out + strlen(out) - 1; *end == '0' && end[-1] != '.'; end--)
        *end = '\0';
}

void openmetrics_histogram(struct openmetrics *metrics, const char *const *labels,
                           const struct metric_histogram *histogram)
{
    const char *all[2 * LABELS_MAX + 3] = {NULL};
    size_t count = 0;
    uint64_t below = 0;
    char bound[32];

    assert(metrics->type == OPENMETRICS_HISTOGRAM);
    while (labels != NULL && labels[count] != NULL) {
        all[count] = labels[count];
        count++;
        assert(count <= 2 * (size_t)LABELS_MAX);
    }
    all[count] = "le";
    all[count + 1] = bound;
    for (size_t i = 0; i <= METRICS_BOUNDS; i++) {
        if (i < METRICS_BOUNDS)
            write_bound(bound, sizeof bound, metrics_bounds[i]);
        else
            g_strlcpy(bound, "+Inf", sizeof bound);
        below += histogram->buckets[i];
        append_name(metrics, "_bucket", all);
        g_string_append_printf(metrics->out, "%" G_GUINT64_FORMAT "\n", below);
    }
    append_name(metrics, "_count", labels);
    g_string_append_printf(metrics->out, "%" G_GUINT64_FORMAT "\n", below);
    append_name(metrics, "_sum", labels);
    append_seconds(metrics->out, (int64_t)MIN(histogram->microseconds, (uint64_t)INT64_MAX));
}

void openmetrics_end(struct openmetrics *metrics)
{
    g_string_append(metrics->out, "# EOF\n");
}
