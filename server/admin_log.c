/* annal log USER [MAILBOX]: what happened, the newest first */
#include <stdio.h>
#include <string.h>

#include "server/admin_change.h"
#include "server/admin_history.h"
#include "server/admin_moment.h"
#include "server/commands.h"

static const char USAGE[] =
    "usage: annal log USER [MAILBOX] [options]\n"
    "Shows who changed what and when, the newest change first, of one mailbox or of the whole\n"
    "account: + arrived, - gone, ~ changed. MAILBOX is UTF-8 with '/' between levels.\n"
    "  -n N, --limit N      so many changes at most\n"
    "  --uid SET            only what touched these messages, such as 7 or 3,5:9 (with MAILBOX)\n"
    "  --since T, --until T only what happened from T on, up to T\n"
    "  --action A,B         only these, see below\n"
    "  --deleted            deleted mailboxes, too\n"
    "  --messages N         so many messages of each change at most (5; "
    "\"all\")\n" HISTORY_USAGE_OPTIONS ADMIN_MOMENT_FORMS;

enum {
    OPTION_UID = HISTORY_OPTION_OWN,
    OPTION_SINCE,
    OPTION_UNTIL,
    OPTION_ACTION,
    OPTION_MESSAGES,

    MESSAGES_SHOWN = 5,
    /* Clocks are set back, and others write dates of their own: so many older changes in a row, by
     * more than a day, are the end of what is not. */
    OLD_CHANGES = 256,
    OLD_SECONDS = 24 * 60 * 60,
};

struct log_options {
    struct history_options common;
    const char *user;
    const char *mailbox; /* or NULL */
    const char *uids;    /* or NULL */
    size_t limit;
    size_t messages;
    bool has_since;
    bool has_until;
    struct moment since;
    struct moment until;
    GPtrArray *actions; /* names; NULL: all */
};

struct log {
    const struct log_options *options;
    struct history_view *view;
    GPtrArray *branches;
    GArray *ranges; /* or NULL */
    size_t old;     /* changes in a row that are too old */
};

/* --- the walk --- */

static bool is_wanted(const struct log *log, const struct history_entry *entry)
{
    const struct log_options *options = log->options;
    bool wanted = options->actions == NULL;

    for (guint i = 0; !wanted && i < options->actions->len; i++)
        wanted = strcmp(g_ptr_array_index(options->actions, i), entry->action) == 0;
    return wanted && (!options->has_since || entry->time >= options->since.first) &&
           (!options->has_until || entry->time <= options->until.last);
}

static bool is_past_the_end(struct log *log, const struct history_entry *entry)
{
    bool old = log->options->has_since && entry->time < log->options->since.first - OLD_SECONDS;

    log->old = old ? log->old + 1 : 0;
    return log->old >= OLD_CHANGES;
}

/* Returns 1 if it was shown, 0 if not, and -1 when there is no use in going on. */
static int show_entry(struct log *log, const struct history_entry *entry)
{
    struct change change;
    int shown = 0;

    if (!is_wanted(log, entry))
        return 0;
    change_find(&change, log->view, entry, log->ranges, log->options->messages);
    if (log->ranges == NULL || change_count(&change) > 0) {
        if (log->options->common.json)
            change_append_json(log->view, &change);
        else
            change_append_text(log->view, &change, log->options->mailbox == NULL);
        shown = history_view_write(log->view) ? 1 : -1;
    }
    change_release(&change);
    return shown;
}

static int walk(struct log *log, struct history_walk *walk)
{
    struct history_entry entry;
    uint64_t looked = 0;
    size_t shown = 0;
    bool more = true;

    while (more && shown < log->options->limit) {
        int result = history_next(walk, &entry, &more, &log->view->error);
        int seen;

        if (result < 0)
            return result;
        if (!more || is_past_the_end(log, &entry))
            break;
        history_view_looked(log->view, ++looked);
        seen = show_entry(log, &entry);
        if (seen < 0)
            break;
        shown += (size_t)seen;
    }
    return 0;
}

/* A deleted mailbox's last change is that it was deleted: of the account, that is told always. */
static int add_branches(struct log *log, struct history_walk *walking)
{
    bool with_deleted = log->options->common.deleted;
    bool found = false;
    int result = 0;

    for (guint i = 0; result == 0 && i < log->branches->len; i++) {
        const struct history_branch *branch = g_ptr_array_index(log->branches, i);
        bool deleted = branch->place == HISTORY_DELETED;

        if (deleted && !with_deleted && log->options->mailbox != NULL)
            continue;
        found = true;
        result = history_walk_add(walking, branch, !deleted || with_deleted, &log->view->error);
    }
    return found || result < 0 ? result
                               : store_error_set(&log->view->error, STORE_NOT_FOUND,
                                                 "it was deleted; --deleted shows it");
}

static GArray *uids_of(struct log *log)
{
    g_autoptr(GArray) tips = g_array_new(FALSE, FALSE, sizeof(struct object_id));

    for (guint i = 0; i < log->branches->len; i++) {
        const struct history_branch *branch = g_ptr_array_index(log->branches, i);

        g_array_append_val(tips, branch->tip);
    }
    return history_uids(log->view, log->options->uids,
                        (const struct object_id *)(const void *)tips->data, tips->len);
}

static int run(struct log *log)
{
    struct history_view *view = log->view;
    const struct log_options *options = log->options;
    struct history_walk *walking;
    int result = options->mailbox != NULL
                     ? history_find(view->history, options->mailbox, &log->branches, &view->error)
                     : history_branches(view->history, &log->branches, &view->error);

    if (result < 0)
        return result;
    if (options->uids != NULL)
        log->ranges = uids_of(log);
    walking = history_walk_new(view->history);
    result = add_branches(log, walking);
    if (result == 0)
        result = walk(log, walking);
    history_walk_free(walking);
    return result;
}

static int show(const struct log_options *options)
{
    struct history_view view;
    struct log log = {.options = options, .view = &view};
    int result = 0;

    if (history_view_begin(&view, &options->common, options->user))
        result = run(&log);
    if (log.branches != NULL)
        g_ptr_array_unref(log.branches);
    if (log.ranges != NULL)
        g_array_unref(log.ranges);
    return history_view_end(&view, result,
                            options->mailbox != NULL ? options->mailbox : options->user);
}

/* --- arguments --- */

static bool parse_actions(struct log_options *options, const char *text)
{
    g_auto(GStrv) names = g_strsplit(*text != '\0' ? text : ",", ",", -1);

    if (options->actions == NULL)
        options->actions = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; names[i] != NULL; i++) {
        g_autofree char *name = g_ascii_strup(names[i], -1);

        if (!g_strv_contains(history_actions(), name)) {
            admin_complain("--action: %s is none; see --help", names[i]);
            return false;
        }
        g_ptr_array_add(options->actions, g_steal_pointer(&name));
    }
    return true;
}

static bool parse_option(struct log_options *options, int letter)
{
    switch (letter) {
    case 'n':
        if (history_number(&options->limit, optarg, false)) {
            options->limit = options->limit == 0 ? SIZE_MAX : options->limit;
            return true;
        }
        admin_complain("--limit: %s is no number", optarg);
        return false;
    case OPTION_MESSAGES:
        if (history_number(&options->messages, optarg, true))
            return true;
        admin_complain("--messages: %s is no number, nor \"all\"", optarg);
        return false;
    case OPTION_UID:
        options->uids = optarg;
        return history_uids_valid(optarg);
    case OPTION_SINCE:
        options->has_since = true;
        return admin_moment_argument(&options->since, "--since", optarg, false);
    case OPTION_UNTIL:
        options->has_until = true;
        return admin_moment_argument(&options->until, "--until", optarg, false);
    case OPTION_ACTION:
        return parse_actions(options, optarg);
    default:
        return history_option(&options->common, letter);
    }
}

static void print_usage(FILE *stream)
{
    const char *const *actions = history_actions();

    fputs(USAGE, stream);
    fputs("Actions:", stream);
    for (size_t i = 0; actions[i] != NULL; i++)
        fprintf(stream, "%s%s", i == 0 ? " " : i % 9 == 0 ? ",\n" : ", ", actions[i]);
    fputs(".\n", stream);
}

static bool take_names(struct log_options *options, int argc, char **argv)
{
    int count = argc - optind;

    if (count < 1 || count > 2) {
        print_usage(stderr);
        return false;
    }
    options->user = argv[optind];
    options->mailbox = count > 1 ? argv[optind + 1] : NULL;
    if (options->uids != NULL && options->mailbox == NULL) {
        admin_complain("--uid: name a mailbox, too");
        return false;
    }
    return true;
}

int command_log(int argc, char **argv)
{
    static const struct option long_options[] = {
        HISTORY_LONG_OPTIONS,
        {"limit", required_argument, NULL, 'n'},
        {"uid", required_argument, NULL, OPTION_UID},
        {"since", required_argument, NULL, OPTION_SINCE},
        {"until", required_argument, NULL, OPTION_UNTIL},
        {"action", required_argument, NULL, OPTION_ACTION},
        {"messages", required_argument, NULL, OPTION_MESSAGES},
        {NULL, 0, NULL, 0}};
    struct log_options options = {.limit = SIZE_MAX, .messages = MESSAGES_SHOWN};
    int status = -1;
    int letter;

    while (status < 0 && (letter = getopt_long(argc, argv, "c:d:n:h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            print_usage(stdout);
            status = ADMIN_DONE;
        } else if (!parse_option(&options, letter))
            status = ADMIN_USAGE;
    }
    if (status < 0 && !take_names(&options, argc, argv))
        status = ADMIN_USAGE;
    if (status < 0)
        status = show(&options);
    if (options.actions != NULL)
        g_ptr_array_unref(options.actions);
    return status;
}
