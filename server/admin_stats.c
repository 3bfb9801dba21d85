/* annal stats: the numbers of a running server */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_control.h"
#include "server/commands.h"
#include "server/json.h"

static const char USAGE[] =
    "usage: annal stats [--json] [--data DIR] [--config FILE]\n"
    "Shows the numbers of the running server, those of its metrics page: what is 0 is left out,\n"
    "and times are shown as how many there were, their mean, and how long half and 99 of 100 took\n"
    "at most. With --json, all of them as they are.\n";

/* A line of the metrics page: name{key="value",...} number */
struct sample {
    char *name;
    GPtrArray *labels; /* char *: key, value, key, ... */
    char *value;
};

static void sample_free(void *data)
{
    struct sample *sample = data;

    g_free(sample->name);
    g_ptr_array_unref(sample->labels);
    g_free(sample->value);
    g_free(sample);
}

/* A label's value behind its first quote; sets *end behind the last. NULL if there is none. */
static char *read_value(const char *text, const char **end)
{
    GString *out = g_string_new(NULL);

    for (; *text != '\0' && *text != '"'; text++) {
        if (*text == '\\' && text[1] != '\0') {
            text++;
            g_string_append_c(out, *text == 'n' ? '\n' : *text);
        } else {
            g_string_append_c(out, *text);
        }
    }
    *end = text + 1;
    return g_string_free(out, *text != '"');
}

/* From behind the brace; behind the closing one, or NULL. */
static const char *read_labels(const char *text, GPtrArray *labels)
{
    while (*text != '}') {
        const char *equals = strstr(text, "=\"");
        char *value;

        if (equals == NULL)
            return NULL;
        g_ptr_array_add(labels, g_strndup(text, (size_t)(equals - text)));
        value = read_value(equals + 2, &text);
        if (value == NULL)
            return NULL;
        g_ptr_array_add(labels, value);
        if (*text == ',')
            text++;
    }
    return text + 1;
}

static bool is_number(const char *text)
{
    return *text != '\0' && strspn(text, "-0123456789.") == strlen(text);
}

/* NULL for a comment. */
static struct sample *read_sample(const char *line)
{
    size_t length = strcspn(line, "{ ");
    struct sample *sample;
    const char *rest = line + length;

    if (*line == '#' || length == 0 || *rest == '\0')
        return NULL;
    sample = g_new0(struct sample, 1);
    sample->name = g_strndup(line, length);
    sample->labels = g_ptr_array_new_with_free_func(g_free);
    if (*rest == '{')
        rest = read_labels(rest + 1, sample->labels);
    if (rest != NULL && *rest == ' ' && is_number(rest + 1)) {
        sample->value = g_strdup(rest + 1);
        return sample;
    }
    sample_free(sample);
    return NULL;
}

static GPtrArray *read_samples(const GPtrArray *lines)
{
    GPtrArray *samples = g_ptr_array_new_with_free_func(sample_free);

    for (guint i = 0; i < lines->len; i++) {
        struct sample *sample = read_sample(g_ptr_array_index(lines, i));

        if (sample != NULL)
            g_ptr_array_add(samples, sample);
    }
    return samples;
}

/* --- JSON --- */

static void write_json(GString *out, const GPtrArray *samples)
{
    struct json json = {.out = out};

    json_begin_array(&json, NULL);
    for (guint i = 0; i < samples->len; i++) {
        const struct sample *sample = g_ptr_array_index(samples, i);

        json_begin_object(&json, NULL);
        json_text(&json, "name", sample->name);
        json_begin_object(&json, "labels");
        for (guint j = 0; j + 1 < sample->labels->len; j += 2)
            json_text(&json, g_ptr_array_index(sample->labels, j),
                      g_ptr_array_index(sample->labels, j + 1));
        json_end_object(&json);
        g_string_append_printf(out, ",\"value\":%s", sample->value);
        json_end_object(&json);
    }
    json_end_array(&json);
    g_string_append_c(out, '\n');
}

/* --- for people --- */

static const char *label(const struct sample *sample, const char *key)
{
    for (guint i = 0; i + 1 < sample->labels->len; i += 2) {
        if (strcmp(g_ptr_array_index(sample->labels, i), key) == 0)
            return g_ptr_array_index(sample->labels, i + 1);
    }
    return NULL;
}

static char *format_octets(double octets)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;

    while (octets >= 1024 && unit + 1 < G_N_ELEMENTS(units)) {
        octets /= 1024;
        unit++;
    }
    return g_strdup_printf(unit == 0 ? "%.0f %s" : "%.1f %s", octets, units[unit]);
}

static char *format_seconds(double seconds)
{
    if (seconds < 0.001)
        return g_strdup_printf("%.0f us", seconds * 1e6);
    if (seconds < 1)
        return g_strdup_printf("%.1f ms", seconds * 1e3);
    return g_strdup_printf("%.1f s", seconds);
}

static char *format_time(double seconds)
{
    time_t time = (time_t)seconds;
    char text[40] = "?";
    struct tm tm;

    if (gmtime_r(&time, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return g_strdup(text);
}

static char *format_value(const struct sample *sample)
{
    double value = g_ascii_strtod(sample->value, NULL);

    if (strcmp(sample->name, "annal_healthy") == 0)
        return g_strdup(value > 0 ? "yes" : "no");
    if (strstr(sample->name, "_timestamp_") != NULL)
        return format_time(value);
    if (strstr(sample->name, "_bytes") != NULL)
        return format_octets(value);
    if (strstr(sample->name, "_seconds") != NULL)
        return format_seconds(value);
    return g_strdup(sample->value);
}

/* "annal_commands_total" and its labels: "commands FETCH ok". The value tells its unit. */
static char *title(const struct sample *sample)
{
    static const char *const suffixes[] = {"_bucket", "_total", "_seconds", "_bytes", "_timestamp"};
    const char *name =
        g_str_has_prefix(sample->name, "annal_") ? sample->name + strlen("annal_") : sample->name;
    GString *out = g_string_new(name);

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++)
        if (g_str_has_suffix(out->str, suffixes[i]))
            g_string_truncate(out, out->len - strlen(suffixes[i]));
    g_strdelimit(out->str, "_", ' ');
    for (guint i = 0; i + 1 < sample->labels->len; i += 2) {
        const char *key = g_ptr_array_index(sample->labels, i);

        if (strcmp(key, "le") == 0)
            continue;
        /* A number, or yes or no, says nothing by itself. */
        if (strcmp(key, "worker") == 0 || strcmp(key, "tls") == 0)
            g_string_append_printf(out, " %s", key);
        g_string_append_printf(out, " %s", (const char *)g_ptr_array_index(sample->labels, i + 1));
    }
    return g_string_free(out, FALSE);
}

/* The bound of the bucket within which this share of all lies. */
static char *quantile(const GPtrArray *samples, guint first, guint last, double share)
{
    const struct sample *all = g_ptr_array_index(samples, last);
    double wanted = share * g_ascii_strtod(all->value, NULL);
    guint i = first;

    while (i < last &&
           g_ascii_strtod(((const struct sample *)samples->pdata[i])->value, NULL) < wanted)
        i++;
    const char *bound = label(g_ptr_array_index(samples, i), "le");

    if (bound == NULL || strcmp(bound, "+Inf") == 0)
        return g_strdup("longer");
    return format_seconds(g_ascii_strtod(bound, NULL));
}

/* The histogram whose first bucket is at i; returns the index behind it. */
static guint write_histogram(GString *out, const GPtrArray *samples, guint i)
{
    const struct sample *first = g_ptr_array_index(samples, i);
    guint last = i;

    while (last + 1 < samples->len &&
           g_strcmp0(label(g_ptr_array_index(samples, last), "le"), "+Inf") != 0)
        last++;
    double count = g_ascii_strtod(((const struct sample *)samples->pdata[last])->value, NULL);
    double sum =
        last + 2 < samples->len
            ? g_ascii_strtod(((const struct sample *)samples->pdata[last + 2])->value, NULL)
            : 0;

    if (count > 0) {
        char *name = title(first);
        char *mean = format_seconds(sum / count);
        char *half = quantile(samples, i, last, 0.5);
        char *most = quantile(samples, i, last, 0.99);

        g_string_append_printf(out, "%-40s %.0f, mean %s, half <= %s, 99%% <= %s\n", name, count,
                               mean, half, most);
        g_free(name);
        g_free(mean);
        g_free(half);
        g_free(most);
    }
    return last + 3;
}

static bool is_shown(const struct sample *sample)
{
    return strspn(sample->value, "0.") != strlen(sample->value) ||
           strcmp(sample->name, "annal_healthy") == 0;
}

static void write_text(GString *out, const GPtrArray *samples)
{
    guint i = 0;

    while (i < samples->len) {
        const struct sample *sample = g_ptr_array_index(samples, i);

        if (g_str_has_suffix(sample->name, "_bucket")) {
            i = write_histogram(out, samples, i);
            continue;
        }
        if (is_shown(sample)) {
            char *name = title(sample);
            char *value = format_value(sample);

            g_string_append_printf(out, "%-40s %s\n", name, value);
            g_free(name);
            g_free(value);
        }
        i++;
    }
}

int command_stats(int argc, char **argv)
{
    static const char *const request[] = {"stats", NULL};
    struct admin_control_options options;
    int status = admin_control_parse(&options, argc, argv, USAGE);

    if (status >= 0)
        return status;
    if (optind != argc) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    GPtrArray *lines = admin_control_ask(&options, request);

    if (lines == NULL)
        return ADMIN_FAILED;
    GPtrArray *samples = read_samples(lines);
    GString *out = g_string_new(NULL);

    if (options.json)
        write_json(out, samples);
    else
        write_text(out, samples);
    status = fputs(out->str, stdout) >= 0 && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
    g_string_free(out, TRUE);
    g_ptr_array_unref(samples);
    g_ptr_array_unref(lines);
    return status;
}
