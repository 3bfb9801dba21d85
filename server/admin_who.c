/* annal who, annal kick: the sessions of a running server */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_control.h"
#include "server/commands.h"
#include "server/control.h"
#include "server/json.h"
#include "server/log.h"

static const char WHO_USAGE[] =
    "usage: annal who [USER] [--json] [--data DIR] [--config FILE]\n"
    "Shows the sessions of the running server: who, from where, with which program, doing what.\n";

static const char KICK_USAGE[] =
    "usage: annal kick USER|SESSION [--data DIR] [--config FILE]\n"
    "Ends all sessions of a user, or the one with this id (annal who shows it). A command that\n"
    "runs is done first. The user may log in again: change the password to keep them out.\n";

/* --- who --- */

enum { COLUMNS = 9, CELL_MAX = 40 };

static void write_json(GString *out, const GPtrArray *sessions)
{
    struct json json = {.out = out};

    json_begin_array(&json, NULL);
    for (guint i = 0; i < sessions->len; i++) {
        char *const *fields = g_ptr_array_index(sessions, i);
        const char *user = fields[CONTROL_SESSION_USER];
        const char *client = fields[CONTROL_SESSION_CLIENT];
        const char *tls = fields[CONTROL_SESSION_TLS];
        const char *mailbox = fields[CONTROL_SESSION_MAILBOX];

        json_begin_object(&json, NULL);
        json_text(&json, "session", fields[CONTROL_SESSION_ID]);
        json_text(&json, "user", *user != '\0' ? user : NULL);
        json_text(&json, "address", fields[CONTROL_SESSION_ADDRESS]);
        json_text(&json, "client", *client != '\0' ? client : NULL);
        json_text(&json, "tls", *tls != '\0' ? tls : NULL);
        json_bool(&json, "compressed", strcmp(fields[CONTROL_SESSION_COMPRESSED], "yes") == 0);
        json_text(&json, "mailbox", *mailbox != '\0' ? mailbox : NULL);
        json_text(&json, "state", fields[CONTROL_SESSION_STATE]);
        json_time(&json, "since", g_ascii_strtoll(fields[CONTROL_SESSION_SINCE], NULL, 10));
        json_number(&json, "idle_seconds", g_ascii_strtoll(fields[CONTROL_SESSION_IDLE], NULL, 10));
        json_end_object(&json);
    }
    json_end_array(&json);
    g_string_append_c(out, '\n');
}

/* "2026-11-17 10:00" in the admin's zone. */
static char *format_time(const char *seconds)
{
    time_t time = (time_t)g_ascii_strtoll(seconds, NULL, 10);
    char text[32] = "?";
    struct tm tm;

    if (localtime_r(&time, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    return g_strdup(text);
}

static char *format_idle(const char *text)
{
    gint64 seconds = g_ascii_strtoll(text, NULL, 10);

    if (seconds < 60)
        return g_strdup_printf("%ds", (int)seconds);
    if (seconds < 3600)
        return g_strdup_printf("%dm", (int)(seconds / 60));
    return g_strdup_printf("%" G_GINT64_FORMAT "h%02dm", seconds / 3600, (int)(seconds / 60 % 60));
}

/* Harmless and not too long; "-" for nothing. Takes text. */
static char *cell(char *text)
{
    if (*text == '\0') {
        g_free(text);
        return g_strdup("-");
    }
    if (!g_utf8_validate(text, -1, NULL)) {
        char *valid = g_utf8_make_valid(text, -1);

        g_free(text);
        text = valid;
    }
    log_clean(text);
    if (g_utf8_strlen(text, -1) <= CELL_MAX)
        return text;
    char *start = g_utf8_substring(text, 0, CELL_MAX - 3);
    char *cut = g_strconcat(start, "...", NULL);

    g_free(start);
    g_free(text);
    return cut;
}

static char **row_of(char *const *fields)
{
    char **row = g_new0(char *, COLUMNS + 1);

    row[0] = cell(g_strdup(fields[CONTROL_SESSION_USER]));
    row[1] = cell(g_strdup(fields[CONTROL_SESSION_ID]));
    row[2] = cell(g_strdup(fields[CONTROL_SESSION_ADDRESS]));
    row[3] = cell(g_strdup(fields[CONTROL_SESSION_TLS]));
    row[4] = cell(g_strdup(fields[CONTROL_SESSION_STATE]));
    row[5] = cell(format_idle(fields[CONTROL_SESSION_IDLE]));
    row[6] = cell(format_time(fields[CONTROL_SESSION_SINCE]));
    row[7] = cell(g_strdup(fields[CONTROL_SESSION_MAILBOX]));
    row[8] = cell(g_strdup(fields[CONTROL_SESSION_CLIENT]));
    return row;
}

static void drop_fields(void *fields)
{
    g_strfreev(fields);
}

static void write_table(GString *out, const GPtrArray *sessions)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func(drop_fields);
    glong width[COLUMNS] = {0};

    g_ptr_array_add(
        rows, g_strsplit("USER SESSION ADDRESS TLS STATE IDLE SINCE MAILBOX CLIENT", " ", COLUMNS));
    for (guint i = 0; i < sessions->len; i++)
        g_ptr_array_add(rows, row_of(g_ptr_array_index(sessions, i)));
    for (guint i = 0; i < rows->len; i++) {
        char *const *row = g_ptr_array_index(rows, i);

        for (size_t j = 0; j < COLUMNS; j++)
            width[j] = MAX(width[j], g_utf8_strlen(row[j], -1));
    }
    for (guint i = 0; i < rows->len; i++) {
        char *const *row = g_ptr_array_index(rows, i);

        for (size_t j = 0; j < COLUMNS; j++) {
            glong padding = j + 1 < COLUMNS ? width[j] - g_utf8_strlen(row[j], -1) + 2 : 0;

            g_string_append_printf(out, "%s%*s", row[j], (int)padding, "");
        }
        g_string_append_c(out, '\n');
    }
    g_ptr_array_unref(rows);
}

/* Those of one user; NULL: all. */
static GPtrArray *sessions_of(const GPtrArray *lines, const char *user)
{
    GPtrArray *sessions = g_ptr_array_new_with_free_func(drop_fields);

    for (guint i = 0; i < lines->len; i++) {
        char **fields = control_fields(g_ptr_array_index(lines, i));

        if (g_strv_length(fields) == CONTROL_SESSION_COUNT &&
            (user == NULL || strcmp(user, fields[CONTROL_SESSION_USER]) == 0))
            g_ptr_array_add(sessions, fields);
        else
            g_strfreev(fields);
    }
    return sessions;
}

int command_who(int argc, char **argv)
{
    static const char *const request[] = {"who", NULL};
    struct admin_control_options options;
    int status = admin_control_parse(&options, argc, argv, WHO_USAGE);

    if (status >= 0)
        return status;
    if (argc - optind > 1) {
        fputs(WHO_USAGE, stderr);
        return ADMIN_USAGE;
    }
    GPtrArray *lines = admin_control_ask(&options, request);

    if (lines == NULL)
        return ADMIN_FAILED;
    GPtrArray *sessions = sessions_of(lines, optind < argc ? argv[optind] : NULL);
    GString *out = g_string_new(NULL);

    if (options.json)
        write_json(out, sessions);
    else
        write_table(out, sessions);
    status = fputs(out->str, stdout) >= 0 && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
    g_string_free(out, TRUE);
    g_ptr_array_unref(sessions);
    g_ptr_array_unref(lines);
    return status;
}

/* --- kick --- */

/* How many sessions were told; -1 when the problem has been told. */
static gint64 kick(const struct admin_control_options *options, const char *kind, const char *name)
{
    const char *const request[] = {"kick", kind, name, NULL};
    GPtrArray *lines = admin_control_ask(options, request);
    gint64 count = 0;

    if (lines == NULL)
        return -1;
    if (lines->len > 0)
        count = g_ascii_strtoll(g_ptr_array_index(lines, 0), NULL, 10);
    g_ptr_array_unref(lines);
    return count;
}

int command_kick(int argc, char **argv)
{
    struct admin_control_options options;
    int status = admin_control_parse(&options, argc, argv, KICK_USAGE);

    if (status >= 0)
        return status;
    if (argc - optind != 1 || options.json) {
        fputs(KICK_USAGE, stderr);
        return ADMIN_USAGE;
    }
    const char *name = argv[optind];
    gint64 users = kick(&options, "user", name);
    gint64 sessions = users == 0 ? kick(&options, "session", name) : 0;

    if (users < 0 || sessions < 0)
        return ADMIN_FAILED;
    if (users + sessions == 0) {
        admin_complain("nobody called %s is logged in, and no session has this id", name);
        return ADMIN_FAILED;
    }
    printf("%" G_GINT64_FORMAT " session%s told to end\n", users + sessions,
           users + sessions == 1 ? "" : "s");
    return fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}
