#include "server/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    COLUMNS_DEFAULT = 80,
    BAR_MIN = 10, /* columns between its brackets */
    BAR_MAX = 40,
};

struct progress {
    FILE *stream;
    enum progress_mode mode;
    struct progress_state state;
    int64_t started; /* milliseconds, monotonic */
    int64_t drawn;
    int64_t measured; /* when rate was */
    uint64_t measured_done;
    bool on_screen;
};

static struct progress *shown; /* that is on_screen */

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool progress_mode_parse(enum progress_mode *out, const char *text)
{
    static const char *const names[] = {"auto", "plain", "none"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum progress_mode)i;
            return true;
        }
    }
    return false;
}

struct progress *progress_new(FILE *stream, enum progress_mode mode, const char *what,
                              const char *unit)
{
    struct progress *progress = g_new0(struct progress, 1);

    progress->stream = stream;
    progress->mode = mode == PROGRESS_AUTO && isatty(fileno(stream)) != 1 ? PROGRESS_NONE : mode;
    progress->state.what = what;
    progress->state.unit = unit;
    progress->started = progress->measured = milliseconds();
    progress->drawn = progress->started - PROGRESS_PLAIN_SECONDS * 1000;
    return progress;
}

void progress_pause(struct progress *progress)
{
    if (!progress->on_screen)
        return;
    fputs("\r\033[K", progress->stream);
    fflush(progress->stream);
    progress->on_screen = false;
    shown = NULL;
}

void progress_pause_shown(void)
{
    if (shown != NULL)
        progress_pause(shown);
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    progress_pause(progress);
    g_free(progress);
}

void progress_stage(struct progress *progress, const char *what, const char *unit)
{
    progress->state = (struct progress_state){.what = what, .unit = unit};
    progress->measured = milliseconds();
    progress->measured_done = 0;
}

void progress_total(struct progress *progress, uint64_t total, const char *unit)
{
    progress->state.total = total;
    progress->state.unit = unit;
}

/* --- the line --- */

/* 1234567 is "1,234,567"; octets are MB. */
static void append_amount(GString *out, uint64_t amount, const char *unit)
{
    char digits[24];
    int length;

    if (unit == NULL) {
        g_string_append_printf(out, "%.1f MB", (double)amount / 1e6);
        return;
    }
    length = g_snprintf(digits, sizeof(digits), "%" G_GUINT64_FORMAT, amount);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            g_string_append_c(out, ',');
        g_string_append_c(out, digits[i]);
    }
}

static void append_time(GString *out, double seconds)
{
    uint64_t whole = (uint64_t)(seconds + 0.5);

    if (whole >= 3600)
        g_string_append_printf(out, "%" G_GUINT64_FORMAT ":%02u:%02u", whole / 3600,
                               (unsigned)(whole / 60 % 60), (unsigned)(whole % 60));
    else
        g_string_append_printf(out, "%u:%02u", (unsigned)(whole / 60), (unsigned)(whole % 60));
}

/* "1,200 of 4,000 messages  350/s  0:08 left" */
static void append_figures(GString *out, const struct progress_state *state)
{
    append_amount(out, state->done, state->unit);
    if (state->total > 0) {
        g_string_append(out, " of ");
        append_amount(out, state->total, state->unit);
    }
    if (state->unit != NULL)
        g_string_append_printf(out, " %s", state->unit);
    if (state->rate > 0) {
        g_string_append(out, "  ");
        append_amount(out, (uint64_t)state->rate, state->unit);
        g_string_append(out, "/s");
    }
    g_string_append(out, "  ");
    if (state->total > state->done && state->rate > 0) {
        append_time(out, (double)(state->total - state->done) / state->rate);
        g_string_append(out, " left");
    } else {
        append_time(out, state->seconds);
    }
}

static unsigned percent_of(const struct progress_state *state)
{
    return (unsigned)((double)MIN(state->done, state->total) * 100 / (double)state->total);
}

static void append_bar(GString *out, const struct progress_state *state, size_t width)
{
    size_t filled = percent_of(state) * width / 100;

    g_string_append_c(out, '[');
    for (size_t i = 0; i < width; i++)
        g_string_append_c(out, i < filled ? '=' : i == filled ? '>' : ' ');
    g_string_append(out, "]  ");
}

void progress_line(GString *out, const struct progress_state *state, unsigned columns)
{
    gsize start = out->len;
    GString *figures = g_string_new(NULL);
    gsize used;

    append_figures(figures, state);
    g_string_append_printf(out, "%s  ", state->what);
    if (state->total > 0)
        g_string_append_printf(out, "%3u%%  ", percent_of(state));
    used = out->len - start + figures->len + strlen("[]  ");
    if (state->total > 0 && used + BAR_MIN <= columns)
        append_bar(out, state, MIN(columns - used, (gsize)BAR_MAX));
    g_string_append_len(out, figures->str, (gssize)figures->len);
    if (columns > 0 && out->len - start > columns)
        g_string_truncate(out, start + columns);
    g_string_free(figures, TRUE);
}

/* --- drawing --- */

static unsigned columns_of(FILE *stream)
{
    struct winsize size;

    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col < 2)
        return COLUMNS_DEFAULT;
    return MIN(size.ws_col - 1u, (unsigned)PROGRESS_WIDTH_MAX);
}

/* The rate follows what happens within some seconds. */
static void measure(struct progress *progress, int64_t now)
{
    struct progress_state *state = &progress->state;
    double seconds = (double)(now - progress->measured) / 1000;
    double latest;

    state->seconds = (double)(now - progress->started) / 1000;
    if (seconds < 1 || state->done < progress->measured_done)
        return;
    latest = (double)(state->done - progress->measured_done) / seconds;
    state->rate = state->rate > 0 ? state->rate * 0.8 + latest * 0.2 : latest;
    progress->measured = now;
    progress->measured_done = state->done;
}

static void draw(struct progress *progress)
{
    GString *line = g_string_new(NULL);

    progress_line(line, &progress->state,
                  progress->mode == PROGRESS_PLAIN ? 0 : columns_of(progress->stream));
    if (progress->mode == PROGRESS_PLAIN)
        fprintf(progress->stream, "%s\n", line->str);
    else
        fprintf(progress->stream, "\r%s\033[K", line->str);
    fflush(progress->stream);
    progress->on_screen = progress->mode == PROGRESS_AUTO;
    shown = progress->on_screen ? progress : shown;
    g_string_free(line, TRUE);
}

void progress_update(struct progress *progress, uint64_t done)
{
    int64_t interval = progress->mode == PROGRESS_PLAIN ? PROGRESS_PLAIN_SECONDS * 1000
                                                        : PROGRESS_DRAW_MILLISECONDS;
    int64_t now;

    progress->state.done = done;
    if (progress->mode == PROGRESS_NONE)
        return;
    now = milliseconds();
    measure(progress, now);
    if (now - progress->started < PROGRESS_QUIET_SECONDS * 1000 || now - progress->drawn < interval)
        return;
    progress->drawn = now;
    draw(progress);
}
