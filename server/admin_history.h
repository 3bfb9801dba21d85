/* What the commands that show history share: their options, and how a change and a message look. */
#ifndef ANNAL_SERVER_ADMIN_HISTORY_H
#define ANNAL_SERVER_ADMIN_HISTORY_H

#include <getopt.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/admin.h"
#include "server/admin_page.h"
#include "server/headline.h"
#include "server/json.h"
#include "server/progress.h"
#include "store/history.h"
#include "store/observer.h"
#include "store/past.h"

/* --- options --- */

struct history_options {
    const char *config;
    const char *data;
    bool deleted;
    bool json;
    bool no_pager;
    enum page_color color;
};

enum {
    HISTORY_OPTION_DELETED = 256,
    HISTORY_OPTION_JSON,
    HISTORY_OPTION_NO_PAGER,
    HISTORY_OPTION_COLOR,
    HISTORY_OPTION_OWN, /* from here on: the command's */
};

#define HISTORY_LONG_OPTIONS                                                                      \
    {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},             \
        {"help", no_argument, NULL, 'h'}, {"deleted", no_argument, NULL, HISTORY_OPTION_DELETED}, \
        {"json", no_argument, NULL, HISTORY_OPTION_JSON},                                         \
        {"no-pager", no_argument, NULL, HISTORY_OPTION_NO_PAGER},                                 \
        {"color", optional_argument, NULL, HISTORY_OPTION_COLOR},                                 \
    {                                                                                             \
        "colour", optional_argument, NULL, HISTORY_OPTION_COLOR                                   \
    }

#define HISTORY_USAGE_OPTIONS                                                            \
    "  --json               JSON, an object a line (annal(1) has the members)\n"         \
    "  --color[=WHEN]       auto (on a terminal; NO_COLOR is heeded), always or never\n" \
    "  --no-pager           no $PAGER (less) on a terminal\n"                            \
    "  --data DIR, --config FILE\n"

/* Takes an option that all have; false for any other, and for a bad value, which it tells of. */
bool history_option(struct history_options *options, int letter);

/* 0 to SIZE_MAX in decimal digits; "all" is SIZE_MAX where that may be. */
bool history_number(size_t *out, const char *text, bool all_too);

/* --- a command at work --- */

enum { HISTORY_COMMIT_WIDTH = 12 }; /* digits */

struct history_view {
    struct config config;
    const struct history_options *options;
    const char *user;
    struct history *history;
    struct store *store;     /* NULL until a moment is asked for */
    struct account *account; /* likewise */
    struct page page;
    GString *text; /* of what is written next */
    struct progress *progress;
    struct observer observer; /* shows how much was read, until there is something to show */
    struct store_error error; /* why it came to an end */
};

/* Opens the user's history. False when the problem has been told. To be ended in both cases. */
bool history_view_begin(struct history_view *view, const struct history_options *options,
                        const char *user);
/* Ends the listing; tells of result, if it is negative, with view->error, and about what.
 * Returns the exit status. */
int history_view_end(struct history_view *view, int result, const char *about);

/* So many changes were looked at: a bar says so on a terminal, until something is written. */
void history_view_looked(struct history_view *view, uint64_t changes);
/* Writes view->text and empties it; false when there is no use in going on. */
bool history_view_write(struct history_view *view);
/* The same when there is much of it. */
void history_view_relieve(struct history_view *view);

/* The branch of that name: the mailbox, or with options->deleted the one that was deleted last.
 * branches, a new array, owns *out. Fills view->error. */
int history_view_branch(struct history_view *view, const char *mailbox, GPtrArray **branches,
                        const struct history_branch **out);

/* The state of a mailbox of that name at a moment, past_find(). Fills view->error. */
int history_view_past(struct history_view *view, const char *mailbox, const struct moment *moment,
                      struct past_state *out);

/* Whether it is a set of UIDs; tells if it is not. */
bool history_uids_valid(const char *set);
/* A valid set as a new array for history_diff(). "*" is the highest UID that was given in the state
 * of any of these commits (struct object_id). */
GArray *history_uids(struct history_view *view, const char *set, const struct object_id *commits,
                     size_t count);

/* --- how things look --- */

/* "2026-11-22 20:57:23 +0000". */
void history_append_time(GString *out, int64_t seconds, int zone);
/* The first width digits of a commit's id; as a rule HISTORY_COMMIT_WIDTH. */
void history_append_commit(struct history_view *view, const struct object_id *commit, int width);
/* "INBOX", "Work, deleted", "the account". */
void history_append_place(GString *out, const struct history_branch *branch);
/* "alice, Mutt 2 (192.0.2.7), session 7f3a9c". */
void history_append_who(GString *out, const struct history_entry *entry);
/* A line: the label, then what a commit did, when and by whom, then the note. A code of the store.
 */
int history_append_event(struct history_view *view, const char *label,
                         const struct object_id *commit, const char *note);

/* The beginning of a message's subject and sender; empty ones, and a note in subject, where the
 * message can't be read. Release it. */
void history_headline(struct history_view *view, const struct object_id *blob,
                      struct headline *out);

/* As much of a message as holds its header; NULL when it can't be read. A new reference. */
GBytes *history_read_head(struct history *history, const struct object_id *blob,
                          struct store_error *error);
/* "\"lunch\" from Anna <anna@example.org>", cut to the width of a line. */
void history_append_headline(GString *out, const struct headline *headline);

/* One message that a change touched, kept for later. */
struct touched {
    struct message message; /* after, or before where it is gone */
    bool was;
    bool is;
    char *flags_before;
    char *flags_after;
};
void touched_init(struct touched *touched, const struct history_change *change);
void touched_release(struct touched *touched);

/* "    + uid 8  "Re: lunch?" from Anna <anna@example.org>  \Seen", the line's end included. */
void history_append_touched(struct history_view *view, const struct touched *touched,
                            const char *note);
/* The same as an object; the caller may add members before json_end_object(). */
void history_json_touched(struct history_view *view, struct json *json, const char *key,
                          const struct touched *touched);

/* Members of a change: commit, parents, mailbox, deleted, time, who, client, ... */
void history_json_entry(struct json *json, const struct history_entry *entry);
void history_json_id(struct json *json, const char *key, const struct object_id *id);
/* "\\Seen work" as an array of texts. */
void history_json_flags(struct json *json, const char *key, const char *flags);

#endif
