/* annal blame USER MAILBOX: which change brought each message, and which last touched it */
#include <stdio.h>
#include <string.h>

#include "server/admin_history.h"
#include "server/admin_moment.h"
#include "server/commands.h"

static const char USAGE[] =
    "usage: annal blame USER MAILBOX [--uid SET] [--at T] [options]\n"
    "Tells of each message when it arrived and which change last touched it or its flags, and who\n"
    "made it with which program.\n"
    "  --uid SET            only these messages, such as 7 or 3,5:9 or 120:*\n"
    "  --at T               of the mailbox as it was then; MAILBOX is what it was called then\n"
    "  --deleted            of the mailbox that was deleted last under this "
    "name\n" HISTORY_USAGE_OPTIONS ADMIN_MOMENT_FORMS;

enum { OPTION_UID = HISTORY_OPTION_OWN, OPTION_AT };

struct blame_options {
    struct history_options common;
    const char *user;
    const char *mailbox;
    const char *uids; /* or NULL */
    bool has_at;
    struct moment at;
};

struct blaming {
    struct history_view *view;
    int result;
};

static int append_text(struct history_view *view, const struct history_blame *blame)
{
    struct headline headline;
    int result;

    g_string_append_printf(view->text, "uid %" G_GUINT32_FORMAT "  ", blame->message->uid);
    history_headline(view, &blame->message->blob, &headline);
    history_append_headline(view->text, &headline);
    headline_release(&headline);
    g_string_append_printf(view->text, "%s%s\n", *blame->flags != '\0' ? "  " : "", blame->flags);
    result = history_append_event(view, "    arrived  ", &blame->arrived,
                                  blame->arrived_before ? " (or before)" : "");
    if (result == 0 && !object_id_equal(&blame->arrived, &blame->changed))
        result = history_append_event(view, "    changed  ", &blame->changed,
                                      blame->changed_before ? " (or before)" : "");
    return result;
}

static int append_event_json(struct history_view *view, struct json *json, const char *key,
                             const struct object_id *commit, bool before)
{
    struct history_entry entry;
    int result = history_entry_read(view->history, commit, &entry, &view->error);

    if (result < 0)
        return result;
    json_begin_object(json, key);
    history_json_id(json, "commit", commit);
    json_time(json, "time", entry.time);
    json_text(json, "who", entry.author);
    json_text(json, "client", entry.client);
    json_text(json, "session", entry.session);
    json_text(json, "command", entry.command);
    json_text(json, "action", entry.action);
    json_text(json, "text", entry.subject);
    json_bool(json, "or_before", before);
    json_end_object(json);
    return 0;
}

static int append_json(struct history_view *view, const struct history_blame *blame)
{
    struct json json = {.out = view->text};
    struct headline headline;
    int result;

    history_headline(view, &blame->message->blob, &headline);
    json_begin_object(&json, NULL);
    json_number(&json, "uid", blame->message->uid);
    history_json_id(&json, "emailid", &blame->message->blob);
    json_number(&json, "size", blame->message->size);
    json_number(&json, "modseq", (int64_t)blame->message->modseq);
    json_time(&json, "received", blame->message->internal_date);
    json_text(&json, "subject", headline.subject);
    json_text(&json, "from", headline.from);
    history_json_flags(&json, "flags", blame->flags);
    headline_release(&headline);
    result = append_event_json(view, &json, "arrived", &blame->arrived, blame->arrived_before);
    if (result == 0)
        result = append_event_json(view, &json, "changed", &blame->changed, blame->changed_before);
    json_end_object(&json);
    g_string_append_c(view->text, '\n');
    return result;
}

static int show_one(const struct history_blame *blame, void *data)
{
    struct blaming *blaming = data;
    struct history_view *view = blaming->view;

    blaming->result = view->options->json ? append_json(view, blame) : append_text(view, blame);
    return blaming->result < 0 || !history_view_write(view);
}

static int find_state(struct history_view *view, const struct blame_options *options,
                      struct object_id *commit)
{
    g_autoptr(GPtrArray) branches = NULL;
    const struct history_branch *branch;
    struct past_state past = {0};
    int result;

    if (options->has_at) {
        result = history_view_past(view, options->mailbox, &options->at, &past);
        *commit = past.commit;
        past_state_clear(&past);
        return result;
    }
    result = history_view_branch(view, options->mailbox, &branches, &branch);
    if (result == 0)
        *commit = branch->tip;
    return result;
}

static int run(struct history_view *view, const struct blame_options *options)
{
    struct blaming blaming = {.view = view};
    g_autoptr(GArray) ranges = NULL;
    struct object_id commit;
    int result = find_state(view, options, &commit);

    if (result < 0)
        return result;
    if (options->uids != NULL)
        ranges = history_uids(view, options->uids, &commit, 1);
    result = history_blame(view->history, &commit, ranges, show_one, &blaming, &view->observer,
                           &view->error);
    return result < 0 ? result : blaming.result;
}

static bool parse_option(struct blame_options *options, int letter)
{
    switch (letter) {
    case OPTION_UID:
        options->uids = optarg;
        return history_uids_valid(optarg);
    case OPTION_AT:
        options->has_at = true;
        return admin_moment_argument(&options->at, "--at", optarg, true);
    default:
        return history_option(&options->common, letter);
    }
}

int command_blame(int argc, char **argv)
{
    static const struct option long_options[] = {HISTORY_LONG_OPTIONS,
                                                 {"uid", required_argument, NULL, OPTION_UID},
                                                 {"at", required_argument, NULL, OPTION_AT},
                                                 {NULL, 0, NULL, 0}};
    struct blame_options options = {0};
    struct history_view view;
    int result = 0;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(USAGE, stdout);
            return ADMIN_DONE;
        }
        if (!parse_option(&options, letter))
            return ADMIN_USAGE;
    }
    if (argc - optind != 2 || (options.has_at && options.common.deleted)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    options.user = argv[optind];
    options.mailbox = argv[optind + 1];
    if (history_view_begin(&view, &options.common, options.user))
        result = run(&view, &options);
    return history_view_end(&view, result, options.mailbox);
}
