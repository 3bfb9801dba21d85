/* How far a long task of the admin's is: a line on a terminal that is drawn again and again, or
 * plain lines now and then. Nothing at all is shown within the first two seconds.
 */
#ifndef ANNAL_SERVER_PROGRESS_H
#define ANNAL_SERVER_PROGRESS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum progress_mode {
    PROGRESS_AUTO,  /* a line on the stream if it is a terminal, else nothing */
    PROGRESS_PLAIN, /* a line of text every PROGRESS_PLAIN_SECONDS, without a bar */
    PROGRESS_NONE,
};

enum {
    PROGRESS_QUIET_SECONDS = 2, /* at the start */
    PROGRESS_DRAW_MILLISECONDS = 100,
    PROGRESS_PLAIN_SECONDS = 10,
    PROGRESS_WIDTH_MAX = 200, /* columns */
};

/* "auto", "plain", "none": what --progress=MODE takes. */
bool progress_mode_parse(enum progress_mode *out, const char *text);

struct progress;

/* what: e.g. "import"; unit: what is counted, e.g. "messages", or NULL for octets. Both are
 * borrowed. stream: stderr. The caller owns the result. */
struct progress *progress_new(FILE *stream, enum progress_mode mode, const char *what,
                              const char *unit);
void progress_free(struct progress *progress); /* wipes the line; accepts NULL */

/* Something else is done from now on, of which nothing is known yet; what and unit as above. */
void progress_stage(struct progress *progress, const char *what, const char *unit);
/* How much there is; 0: unknown. May change. */
void progress_total(struct progress *progress, uint64_t total, const char *unit);
/* How much is done. Cheap: to be called for each item. done may be less than before. */
void progress_update(struct progress *progress, uint64_t done);
/* Before other lines are written to the terminal: wipes the line, which is drawn again later. */
void progress_pause(struct progress *progress);

/* The same of the one that is on a terminal now, if there is one: a terminal has one at a time. */
void progress_pause_shown(void);

struct progress_state {
    const char *what;
    const char *unit; /* NULL: octets */
    uint64_t done;
    uint64_t total; /* 0: unknown */
    double seconds; /* since the start */
    double rate;    /* units a second, lately */
};

/* The line for a terminal of so many columns, without line end; never wider. A bar is in it if
 * there is room and total is known. columns 0: however wide, and without a bar. */
void progress_line(GString *out, const struct progress_state *state, unsigned columns);

#endif
