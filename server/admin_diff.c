/* annal diff USER MAILBOX --from T1 --to T2: what is another between two moments */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/admin_history.h"
#include "server/admin_moment.h"
#include "server/commands.h"

static const char USAGE[] =
    "usage: annal diff USER MAILBOX --from T [--to T] [options]\n"
    "Counts and lists what arrived (+), went (-) or has other flags (~) in a mailbox between two\n"
    "moments; of what went, where it is then. MAILBOX is what it was called then. T may be a\n"
    "commit, too (at least 7 digits).\n"
    "  --from T             before\n"
    "  --to T               after (now)\n" HISTORY_USAGE_OPTIONS ADMIN_MOMENT_FORMS;

enum { OPTION_FROM = HISTORY_OPTION_OWN, OPTION_TO };

struct diff_options {
    struct history_options common;
    const char *user;
    const char *mailbox;
    bool has_from;
    struct moment from;
    struct moment to;
};

/* One of the two. */
struct side {
    bool is_there;
    struct past_state past;
    struct history_state state;
};

struct diff {
    struct history_view *view;
    const struct diff_options *options;
    struct side before;
    struct side after;
    size_t arrived;
    size_t gone;
    size_t changed;
    GHashTable *places;   /* struct object_id: blobs that went -> GPtrArray of struct place * */
    const char *searched; /* the mailbox that is searched for them */
};

struct place {
    char *mailbox;
    uint32_t uid;
};

static void place_free(void *data)
{
    struct place *place = data;

    g_free(place->mailbox);
    g_free(place);
}

static void places_free(void *data)
{
    g_ptr_array_unref(data);
}

/* --- finding --- */

/* That flags were set and taken back is no difference. */
static bool is_same(const struct history_change *change)
{
    return change->before != NULL && change->after != NULL &&
           strcmp(change->flags_before, change->flags_after) == 0 &&
           change->before->internal_date == change->after->internal_date &&
           object_id_equal(&change->before->blob, &change->after->blob);
}

static int count_one(const struct history_change *change, void *data)
{
    struct diff *diff = data;

    if (is_same(change))
        return 0;
    if (change->before == NULL)
        diff->arrived++;
    else if (change->after != NULL)
        diff->changed++;
    else {
        diff->gone++;
        if (!g_hash_table_contains(diff->places, &change->before->blob))
            g_hash_table_insert(diff->places,
                                g_memdup2(&change->before->blob, sizeof(struct object_id)),
                                g_ptr_array_new_with_free_func(place_free));
    }
    return 0;
}

static int note_place(const struct history_change *change, void *data)
{
    struct diff *diff = data;
    GPtrArray *places = g_hash_table_lookup(diff->places, &change->after->blob);

    if (places != NULL) {
        struct place *place = g_new0(struct place, 1);

        place->mailbox = g_strdup(diff->searched);
        place->uid = change->after->uid;
        g_ptr_array_add(places, place);
    }
    return 0;
}

/* Looks for what went in all mailboxes of then. One that can't be read has nothing. */
static int find_places(struct diff *diff)
{
    struct history_view *view = diff->view;
    g_autoptr(GPtrArray) mailboxes = NULL;
    struct object_id none = {{0}};
    struct store_error ignored;
    int result = 0;

    if (g_hash_table_size(diff->places) > 0)
        result = past_list(view->account, &diff->options->to, &mailboxes, NULL, &view->error);
    for (guint i = 0; result == 0 && mailboxes != NULL && i < mailboxes->len; i++) {
        const struct past_state *state = g_ptr_array_index(mailboxes, i);

        diff->searched = state->name;
        history_diff(view->history, &none, &state->commit, NULL, note_place, diff, &ignored);
    }
    return result;
}

static int find_side(struct diff *diff, struct side *side, const struct moment *moment)
{
    struct history_view *view = diff->view;
    int result = history_view_past(view, diff->options->mailbox, moment, &side->past);

    if (result == 0)
        result = history_state(view->history, &side->past.commit, &side->state, &view->error);
    side->is_there = result == 0;
    return result;
}

/* A mailbox that was not there before had nothing. */
static int find_sides(struct diff *diff)
{
    int result = find_side(diff, &diff->after, &diff->options->to);

    if (result == 0)
        result = find_side(diff, &diff->before, &diff->options->from);
    return result == STORE_NOT_FOUND && diff->after.is_there &&
                   diff->options->from.commit[0] == '\0'
               ? 0
               : result;
}

/* --- telling --- */

static void append_side(struct history_view *view, const char *name, const struct side *side)
{
    g_string_append_printf(view->text, "%-6s ", name);
    if (side->is_there) {
        history_append_commit(view, &side->past.commit, HISTORY_COMMIT_WIDTH);
        g_string_append(view->text, "  ");
        history_append_time(view->text, side->past.time, 0);
    } else
        g_string_append(view->text, "no such mailbox, as far as the history is kept");
    g_string_append_c(view->text, '\n');
}

static bool is_another(const struct diff *diff)
{
    return diff->before.is_there &&
           diff->before.state.uid_validity != diff->after.state.uid_validity;
}

static void append_summary(struct diff *diff)
{
    struct history_view *view = diff->view;

    append_side(view, "from", &diff->before);
    append_side(view, "to", &diff->after);
    g_string_append_printf(view->text, "%zu arrived, %zu gone, %zu changed\n", diff->arrived,
                           diff->gone, diff->changed);
    if (is_another(diff))
        g_string_append(view->text, "    UIDVALIDITY is another: before and after, UIDs name "
                                    "different messages\n");
}

static void side_json(struct json *json, const char *key, const struct side *side)
{
    if (!side->is_there) {
        json_text(json, key, NULL);
        return;
    }
    json_begin_object(json, key);
    history_json_id(json, "commit", &side->past.commit);
    json_time(json, "time", side->past.time);
    json_number(json, "uidvalidity", side->state.uid_validity);
    json_number(json, "uidnext", side->state.uid_next);
    json_number(json, "highestmodseq", (int64_t)side->state.highest_modseq);
    json_end_object(json);
}

static void append_summary_json(struct diff *diff)
{
    struct json json = {.out = diff->view->text};

    json_begin_object(&json, NULL);
    json_text(&json, "mailbox", diff->options->mailbox);
    side_json(&json, "before", &diff->before);
    side_json(&json, "after", &diff->after);
    json_number(&json, "arrived", (int64_t)diff->arrived);
    json_number(&json, "gone", (int64_t)diff->gone);
    json_number(&json, "changed", (int64_t)diff->changed);
    json_end_object(&json);
    g_string_append_c(diff->view->text, '\n');
}

/* "now in Archive (uid 7)"; NULL for what is nowhere, or did not go. */
static char *place_text(const struct diff *diff, const struct history_change *change)
{
    const GPtrArray *places =
        change->after == NULL ? g_hash_table_lookup(diff->places, &change->before->blob) : NULL;
    GString *out;

    if (places == NULL || places->len == 0)
        return NULL;
    out = g_string_new("now in ");
    for (guint i = 0; i < places->len; i++) {
        const struct place *place = g_ptr_array_index(places, i);

        g_string_append(out, i > 0 ? ", " : "");
        headline_append(out, place->mailbox, strlen(place->mailbox), HEADLINE_MAX);
        g_string_append_printf(out, " (uid %" G_GUINT32_FORMAT ")", place->uid);
    }
    return g_string_free(out, FALSE);
}

static void append_json(struct diff *diff, const struct history_change *change,
                        const struct touched *touched)
{
    struct json json = {.out = diff->view->text};

    history_json_touched(diff->view, &json, NULL, touched);
    if (change->after == NULL) {
        const GPtrArray *places = g_hash_table_lookup(diff->places, &change->before->blob);

        json_begin_array(&json, "now_in");
        for (guint i = 0; places != NULL && i < places->len; i++) {
            const struct place *place = g_ptr_array_index(places, i);

            json_begin_object(&json, NULL);
            json_text(&json, "mailbox", place->mailbox);
            json_number(&json, "uid", place->uid);
            json_end_object(&json);
        }
        json_end_array(&json);
    }
    json_end_object(&json);
    g_string_append_c(diff->view->text, '\n');
}

static int show_one(const struct history_change *change, void *data)
{
    struct diff *diff = data;
    struct touched touched;

    if (is_same(change))
        return 0;
    touched_init(&touched, change);
    if (diff->options->common.json)
        append_json(diff, change, &touched);
    else {
        g_autofree char *note = place_text(diff, change);

        history_append_touched(diff->view, &touched, note);
    }
    touched_release(&touched);
    return !history_view_write(diff->view);
}

/* Twice over the difference: first to count. */
static int run(struct diff *diff)
{
    struct history_view *view = diff->view;
    int result = find_sides(diff);
    const struct object_id *before = &diff->before.past.commit;

    if (result == 0)
        result = history_diff(view->history, before, &diff->after.past.commit, NULL, count_one,
                              diff, &view->error);
    if (result == 0)
        result = find_places(diff);
    if (result < 0)
        return result;
    if (diff->options->common.json)
        append_summary_json(diff);
    else
        append_summary(diff);
    if (!history_view_write(view))
        return 0;
    return history_diff(view->history, before, &diff->after.past.commit, NULL, show_one, diff,
                        &view->error);
}

static int show(const struct diff_options *options)
{
    struct history_view view;
    struct diff diff = {.view = &view, .options = options};
    int result = 0;

    diff.places = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, places_free);
    if (history_view_begin(&view, &options->common, options->user))
        result = run(&diff);
    past_state_clear(&diff.before.past);
    past_state_clear(&diff.after.past);
    g_hash_table_destroy(diff.places);
    return history_view_end(&view, result, options->mailbox);
}

/* --- arguments --- */

static bool parse_option(struct diff_options *options, int letter)
{
    switch (letter) {
    case OPTION_FROM:
        options->has_from = true;
        return admin_moment_argument(&options->from, "--from", optarg, true);
    case OPTION_TO:
        return admin_moment_argument(&options->to, "--to", optarg, true);
    case HISTORY_OPTION_DELETED:
        admin_complain("--deleted is for other commands: here a deleted mailbox is found by the "
                       "times at which it was there");
        return false;
    default:
        return history_option(&options->common, letter);
    }
}

int command_diff(int argc, char **argv)
{
    static const struct option long_options[] = {HISTORY_LONG_OPTIONS,
                                                 {"from", required_argument, NULL, OPTION_FROM},
                                                 {"to", required_argument, NULL, OPTION_TO},
                                                 {NULL, 0, NULL, 0}};
    struct diff_options options = {.to = {.first = time(NULL), .last = time(NULL)}};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(USAGE, stdout);
            return ADMIN_DONE;
        }
        if (!parse_option(&options, letter))
            return ADMIN_USAGE;
    }
    if (argc - optind != 2 || !options.has_from) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    options.user = argv[optind];
    options.mailbox = argv[optind + 1];
    return show(&options);
}
