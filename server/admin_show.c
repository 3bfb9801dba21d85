/* annal show USER MAILBOX COMMIT: one change in full; with --uid N: one message as it was */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocol/header.h"
#include "server/admin_change.h"
#include "server/admin_history.h"
#include "server/admin_moment.h"
#include "server/commands.h"

static const char USAGE[] =
    "usage: annal show USER MAILBOX COMMIT [options]\n"
    "       annal show USER MAILBOX --uid N [--at T] [--raw] [options]\n"
    "Shows one change with all the messages that it touched (COMMIT: at least 4 digits), or one\n"
    "message as it was: its header, flags, when it came and who last touched it.\n"
    "  --uid N              the message's UID; without --at as it is, or was before it went\n"
    "  --at T               as it was then; MAILBOX is what it was called then\n"
    "  --raw                the message's exact octets and nothing else\n"
    "  --force              --raw on a terminal, too, whatever the octets do to it\n"
    "  --deleted            of the mailbox that was deleted last under this "
    "name\n" HISTORY_USAGE_OPTIONS ADMIN_MOMENT_FORMS;

enum {
    OPTION_UID = HISTORY_OPTION_OWN,
    OPTION_AT,
    OPTION_RAW,
    OPTION_FORCE,

    COMMIT_DIGITS_MIN = 4,
};

struct show_options {
    struct history_options common;
    const char *user;
    const char *mailbox;
    const char *commit; /* digits; or NULL */
    uint32_t uid;       /* 0: a change is wanted */
    bool has_at;
    bool raw;
    bool force;
    struct moment at;
};

/* --- a change --- */

/* Looks for the only commit of any mailbox of that name whose id begins so; *found has its place
 * then. */
static int find_commit(struct history_view *view, const char *digits, const GPtrArray *branches,
                       struct history_entry *found)
{
    struct history_walk *walk = history_walk_new(view->history);
    g_autofree char *wanted = g_ascii_strdown(digits, -1);
    struct history_entry entry;
    size_t matches = 0;
    bool more = true;
    int result = 0;

    for (guint i = 0; result == 0 && i < branches->len; i++)
        result = history_walk_add(walk, g_ptr_array_index(branches, i), true, &view->error);
    while (result == 0 && more && !(matches == 1 && strlen(wanted) == OBJECT_ID_HEX)) {
        char hex[OBJECT_ID_HEX + 1];

        result = history_next(walk, &entry, &more, &view->error);
        if (result < 0 || !more)
            break;
        object_id_format(&entry.commit, hex);
        if (g_str_has_prefix(hex, wanted)) {
            found->commit = entry.commit;
            found->branch = entry.branch;
            matches++;
        }
    }
    history_walk_free(walk);
    if (result < 0 || matches == 1)
        return result;
    return store_error_set(&view->error, STORE_NOT_FOUND,
                           matches == 0 ? "no change of this mailbox begins with %s"
                                        : "more than one change begins with %s",
                           wanted);
}

static int show_change(struct history_view *view, const struct show_options *options)
{
    g_autoptr(GPtrArray) branches = NULL;
    struct history_entry found = {0};
    struct history_entry entry;
    struct change change;
    int result = history_find(view->history, options->mailbox, &branches, &view->error);

    if (result == 0)
        result = find_commit(view, options->commit, branches, &found);
    if (result == 0)
        result = history_entry_read(view->history, &found.commit, &entry, &view->error);
    if (result < 0)
        return result;
    entry.branch = found.branch;
    change_find(&change, view, &entry, NULL, SIZE_MAX);
    if (options->common.json)
        change_append_json(view, &change);
    else
        change_append_full(view, &change);
    change_release(&change);
    history_view_write(view);
    return 0;
}

/* --- a message --- */

struct wanted {
    struct object_id state; /* the commit in whose state it is */
    struct object_id gone;  /* the change with which it went; zero: it is there */
    struct touched message;
    struct object_id changed;
    struct object_id arrived;
    bool changed_before;
    bool arrived_before;
    bool found;
};

static int note_message(const struct history_blame *blame, void *data)
{
    struct wanted *wanted = data;
    struct history_change change = {
        .after = blame->message, .flags_before = "", .flags_after = blame->flags};

    touched_init(&wanted->message, &change);
    wanted->changed = blame->changed;
    wanted->arrived = blame->arrived;
    wanted->changed_before = blame->changed_before;
    wanted->arrived_before = blame->arrived_before;
    wanted->found = true;
    return 1;
}

static int note_gone(const struct history_change *change, void *data)
{
    bool *gone = data;

    *gone = change->after == NULL;
    return 1;
}

/* Goes back to the change that took it away. */
static int find_gone(struct history_view *view, const struct history_branch *branch,
                     const GArray *ranges, struct wanted *wanted)
{
    struct history_walk *walk = history_walk_new(view->history);
    struct history_entry entry;
    uint64_t looked = 0;
    bool gone = false;
    bool more = true;
    int result = history_walk_add(walk, branch, true, &view->error);

    while (result == 0 && more && !gone) {
        struct store_error ignored;

        result = history_next(walk, &entry, &more, &view->error);
        history_view_looked(view, ++looked);
        if (result == 0 && more && entry.parent_count > 0)
            history_diff(view->history, &entry.parents[0], &entry.commit, ranges, note_gone, &gone,
                         &ignored);
    }
    if (result == 0 && gone) {
        wanted->gone = entry.commit;
        wanted->state = entry.parents[0];
    }
    history_walk_free(walk);
    if (result == 0 && !gone)
        result = store_error_set(&view->error, STORE_NOT_FOUND,
                                 "no message had that UID, as far as the history is kept");
    return result;
}

static int find_message(struct history_view *view, const struct show_options *options,
                        struct wanted *wanted)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(struct uid_range));
    g_autoptr(GPtrArray) branches = NULL;
    struct uid_range range = {options->uid, options->uid};
    const struct history_branch *branch = NULL;
    struct past_state past = {0};
    int result;

    g_array_append_val(ranges, range);
    if (options->has_at) {
        result = history_view_past(view, options->mailbox, &options->at, &past);
        wanted->state = past.commit;
    } else {
        result = history_view_branch(view, options->mailbox, &branches, &branch);
        if (result == 0)
            wanted->state = branch->tip;
    }
    past_state_clear(&past);
    if (result == 0)
        result = history_blame(view->history, &wanted->state, ranges, note_message, wanted,
                               &view->observer, &view->error);
    if (result == 0 && !wanted->found && branch != NULL) {
        result = find_gone(view, branch, ranges, wanted);
        if (result == 0)
            result = history_blame(view->history, &wanted->state, ranges, note_message, wanted,
                                   &view->observer, &view->error);
    }
    if (result == 0 && !wanted->found)
        result = store_error_set(&view->error, STORE_NOT_FOUND, "no message had that UID then");
    return result;
}

/* Every field of the header, decoded. */
static int append_header(struct history_view *view, const struct object_id *blob)
{
    struct header_field field;
    size_t position = 0;
    GBytes *head = history_read_head(view->history, blob, &view->error);

    if (head == NULL)
        return view->error.code;
    gsize size;
    const uint8_t *data = g_bytes_get_data(head, &size);
    size_t block = data != NULL ? header_block_length(data, size) : 0;

    g_string_append_c(view->text, '\n');
    while (header_next(data, block, &position, &field)) {
        g_autoptr(GString) decoded = g_string_new(NULL);

        if (field.name == NULL)
            continue;
        header_decode(decoded, field.value, field.value_length);
        headline_append(view->text, field.name, field.name_length, HEADLINE_MAX);
        g_string_append(view->text, ": ");
        headline_append(view->text, decoded->str, decoded->len, HEADLINE_MAX);
        g_string_append_c(view->text, '\n');
    }
    g_bytes_unref(head);
    return 0;
}

static int append_facts(struct history_view *view, const struct show_options *options,
                        const struct wanted *wanted)
{
    const struct message *message = &wanted->message.message;
    GString *out = view->text;
    char blob[OBJECT_ID_HEX + 1];
    int result;

    object_id_format(&message->blob, blob);
    g_string_append(out, "message   UID ");
    g_string_append_printf(out, "%" G_GUINT32_FORMAT " in ", message->uid);
    headline_append(out, options->mailbox, strlen(options->mailbox), HEADLINE_MAX);
    g_string_append_printf(out,
                           "\nemailid   %s\nsize      %" G_GUINT32_FORMAT " octets\nreceived  ",
                           blob, message->size);
    history_append_time(out, message->internal_date, message->zone);
    g_string_append_printf(out, "\nflags     %s\nmodseq    %" G_GUINT64_FORMAT "\n",
                           *wanted->message.flags_after != '\0' ? wanted->message.flags_after
                                                                : "(none)",
                           message->modseq);
    result = options->has_at ? history_append_event(view, "as of     ", &wanted->state, "") : 0;
    if (result == 0)
        result = history_append_event(view, "arrived   ", &wanted->arrived,
                                      wanted->arrived_before ? " (or before)" : "");
    if (result == 0 && !object_id_equal(&wanted->arrived, &wanted->changed))
        result = history_append_event(view, "changed   ", &wanted->changed,
                                      wanted->changed_before ? " (or before)" : "");
    if (result == 0 && !object_id_is_zero(&wanted->gone))
        result = history_append_event(view, "gone      ", &wanted->gone, "");
    return result < 0 ? result : append_header(view, &message->blob);
}

static void append_message_json(struct history_view *view, const struct show_options *options,
                                const struct wanted *wanted)
{
    const struct message *message = &wanted->message.message;
    struct json json = {.out = view->text};
    struct headline headline;

    history_headline(view, &message->blob, &headline);
    json_begin_object(&json, NULL);
    json_text(&json, "mailbox", options->mailbox);
    json_number(&json, "uid", message->uid);
    history_json_id(&json, "state", &wanted->state);
    history_json_id(&json, "emailid", &message->blob);
    json_number(&json, "size", message->size);
    json_number(&json, "modseq", (int64_t)message->modseq);
    json_time(&json, "received", message->internal_date);
    json_text(&json, "subject", headline.subject);
    json_text(&json, "from", headline.from);
    history_json_flags(&json, "flags", wanted->message.flags_after);
    history_json_id(&json, "arrived", &wanted->arrived);
    history_json_id(&json, "changed", &wanted->changed);
    if (object_id_is_zero(&wanted->gone))
        json_text(&json, "gone", NULL);
    else
        history_json_id(&json, "gone", &wanted->gone);
    json_end_object(&json);
    g_string_append_c(view->text, '\n');
    headline_release(&headline);
}

static int write_raw(struct history_view *view, const struct object_id *blob)
{
    struct message_stream *stream;
    uint64_t at = 0;
    int result = history_open_message(view->history, blob, &stream, &view->error);

    if (result < 0)
        return result;
    while (result == 0 && at < message_stream_length(stream)) {
        GBytes *piece;
        gsize size;

        result = message_stream_read(stream, at, MESSAGE_STREAM_PIECE_MAX, &piece, &view->error);
        if (result < 0)
            break;
        const void *data = g_bytes_get_data(piece, &size);
        bool good = page_write(&view->page, data, size);

        g_bytes_unref(piece);
        at += size;
        if (!good)
            break;
    }
    message_stream_unref(stream);
    return result;
}

static int show_message(struct history_view *view, const struct show_options *options)
{
    struct wanted wanted = {0};
    int result = find_message(view, options, &wanted);

    if (result == 0 && options->raw)
        result = write_raw(view, &wanted.message.message.blob);
    else if (result == 0 && options->common.json)
        append_message_json(view, options, &wanted);
    else if (result == 0)
        result = append_facts(view, options, &wanted);
    if (result == 0)
        history_view_write(view);
    if (wanted.found)
        touched_release(&wanted.message);
    return result;
}

/* --- arguments --- */

static bool parse_uid(struct show_options *options, const char *text)
{
    size_t number;

    if (!history_number(&number, text, false) || number < 1 || number >= UINT32_MAX) {
        admin_complain("--uid: %s is no UID", text);
        return false;
    }
    options->uid = (uint32_t)number;
    return true;
}

static bool parse_option(struct show_options *options, int letter)
{
    switch (letter) {
    case OPTION_UID:
        return parse_uid(options, optarg);
    case OPTION_AT:
        options->has_at = true;
        return admin_moment_argument(&options->at, "--at", optarg, true);
    case OPTION_RAW:
        options->raw = true;
        return true;
    case OPTION_FORCE:
        options->force = true;
        return true;
    default:
        return history_option(&options->common, letter);
    }
}

static bool is_commit(const char *text)
{
    size_t length = strlen(text);

    return length >= COMMIT_DIGITS_MIN && length <= OBJECT_ID_HEX &&
           strspn(text, "0123456789abcdefABCDEF") == length;
}

static bool take_names(struct show_options *options, int argc, char **argv)
{
    if (argc - optind != (options->uid == 0 ? 3 : 2) ||
        (options->uid == 0 && (options->has_at || options->raw)) ||
        (options->raw && options->common.json) || (options->has_at && options->common.deleted)) {
        fputs(USAGE, stderr);
        return false;
    }
    options->user = argv[optind];
    options->mailbox = argv[optind + 1];
    if (options->uid == 0) {
        options->commit = argv[optind + 2];
        if (!is_commit(options->commit)) {
            admin_complain("%s is no commit's id: 4 to 40 hexadecimal digits", options->commit);
            return false;
        }
    }
    return true;
}

static int show(struct show_options *options)
{
    struct history_view view;
    int result = 0;

    if (options->raw && !options->force && isatty(STDOUT_FILENO) == 1) {
        admin_complain("not to a terminal: a message's octets may do anything to it. Send them "
                       "elsewhere (> FILE, | less), or say --force");
        return ADMIN_FAILED;
    }
    options->common.no_pager = options->common.no_pager || options->raw;
    if (history_view_begin(&view, &options->common, options->user))
        result = options->uid == 0 ? show_change(&view, options) : show_message(&view, options);
    return history_view_end(&view, result, options->mailbox);
}

int command_show(int argc, char **argv)
{
    static const struct option long_options[] = {HISTORY_LONG_OPTIONS,
                                                 {"uid", required_argument, NULL, OPTION_UID},
                                                 {"at", required_argument, NULL, OPTION_AT},
                                                 {"raw", no_argument, NULL, OPTION_RAW},
                                                 {"force", no_argument, NULL, OPTION_FORCE},
                                                 {NULL, 0, NULL, 0}};
    struct show_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(USAGE, stdout);
            return ADMIN_DONE;
        }
        if (!parse_option(&options, letter))
            return ADMIN_USAGE;
    }
    return take_names(&options, argc, argv) ? show(&options) : ADMIN_USAGE;
}
