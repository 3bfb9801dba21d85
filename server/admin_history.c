#include "server/admin_history.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocol/header.h"
#include "protocol/sequence_set.h"
#include "server/admin_settle.h"
#include "server/log.h"

enum {
    SUBJECT_WIDTH = 80, /* characters of a text in a line for people */
    SENDER_WIDTH = 60,
    TEXT_HELD_MAX = 64 * 1024, /* octets that wait to be written */
};

/* --- options --- */

bool history_option(struct history_options *options, int letter)
{
    switch (letter) {
    case 'c':
        options->config = optarg;
        return true;
    case 'd':
        options->data = optarg;
        return true;
    case HISTORY_OPTION_DELETED:
        options->deleted = true;
        return true;
    case HISTORY_OPTION_JSON:
        options->json = true;
        return true;
    case HISTORY_OPTION_NO_PAGER:
        options->no_pager = true;
        return true;
    case HISTORY_OPTION_COLOR:
        if (page_color_parse(&options->color, optarg))
            return true;
        admin_complain("--color is auto, always or never");
        return false;
    default:
        return false;
    }
}

bool history_number(size_t *out, const char *text, bool all_too)
{
    size_t value = 0;

    if (all_too && strcmp(text, "all") == 0) {
        *out = SIZE_MAX;
        return true;
    }
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!g_ascii_isdigit(*text) || value > (SIZE_MAX - 9) / 10)
            return false;
        value = value * 10 + (size_t)(*text - '0');
    }
    *out = value;
    return true;
}

/* --- a command at work --- */

static void on_progress(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct history_view *view = data;

    (void)stage;
    if (view->page.written)
        return;
    progress_total(view->progress, total, "changes");
    progress_update(view->progress, done);
}

void history_view_looked(struct history_view *view, uint64_t changes)
{
    on_progress(OBSERVER_CHANGES, changes, 0, view);
}

bool history_view_begin(struct history_view *view, const struct history_options *options,
                        const char *user)
{
    char *repository;
    int result;

    *view = (struct history_view){.options = options, .user = user, .text = g_string_new(NULL)};
    if (!admin_read_config(&view->config, options->config, options->data))
        return false;
    if (!store_user_name_valid(user)) {
        admin_complain("%s can't be a user's name", user);
        return false;
    }
    admin_settle(&view->config, user);
    repository = admin_repository(&view->config, user);
    result = history_open(&view->history, repository, &view->error);
    g_free(repository);
    if (result < 0) {
        admin_fail(user, &view->error);
        return false;
    }
    view->progress = progress_new(stderr, PROGRESS_AUTO, "searching", "changes");
    view->observer = (struct observer){.progress = on_progress, .data = view};
    page_begin(&view->page, !options->no_pager, options->json ? PAGE_COLOR_NEVER : options->color);
    return true;
}

int history_view_end(struct history_view *view, int result, const char *about)
{
    bool written;

    progress_free(view->progress);
    written = page_end(&view->page);
    if (view->history == NULL)
        result = -1;
    else if (result < 0)
        admin_fail(about, &view->error);
    history_close(view->history);
    account_unref(view->account);
    store_close(view->store);
    g_string_free(view->text, TRUE);
    config_release(&view->config);
    return result < 0 || !written ? ADMIN_FAILED : ADMIN_DONE;
}

bool history_view_write(struct history_view *view)
{
    bool good = page_write(&view->page, view->text->str, view->text->len);

    g_string_truncate(view->text, 0);
    return good;
}

void history_view_relieve(struct history_view *view)
{
    if (view->text->len >= TEXT_HELD_MAX)
        history_view_write(view);
}

int history_view_branch(struct history_view *view, const char *mailbox, GPtrArray **branches,
                        const struct history_branch **out)
{
    enum history_place wanted = view->options->deleted ? HISTORY_DELETED : HISTORY_MAILBOX;
    int result = history_find(view->history, mailbox, branches, &view->error);

    if (result < 0)
        return result;
    for (guint i = 0; i < (*branches)->len; i++) {
        *out = g_ptr_array_index(*branches, i);
        if ((*out)->place == wanted)
            return 0;
    }
    return store_error_set(&view->error, STORE_NOT_FOUND,
                           view->options->deleted ? "no mailbox of that name was deleted"
                                                  : "it was deleted; --deleted shows it");
}

int history_view_past(struct history_view *view, const char *mailbox, const struct moment *moment,
                      struct past_state *out)
{
    int result = 0;

    if (view->store == NULL)
        result = store_open(&view->store, view->config.data, host_system(), &view->error);
    if (result == 0 && view->account == NULL)
        result = store_open_account(view->store, view->user, &view->account, &view->error);
    if (result == 0)
        result = past_find(view->account, mailbox, moment, out, NULL, &view->error);
    return result;
}

bool history_uids_valid(const char *set)
{
    struct sequence_set parsed;

    if (!sequence_set_parse(&parsed, set, strlen(set), false)) {
        admin_complain("--uid: %s is no set of UIDs (such as 7 or 3,5:9,120:*)", set);
        return false;
    }
    sequence_set_release(&parsed);
    return true;
}

GArray *history_uids(struct history_view *view, const char *set, const struct object_id *commits,
                     size_t count)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct uid_range));
    struct sequence_set parsed;
    struct history_state state;
    struct store_error ignored;
    uint32_t largest = 0;
    GArray *ranges;

    for (size_t i = 0; i < count; i++)
        if (history_state(view->history, &commits[i], &state, &ignored) == 0)
            largest = MAX(largest, state.uid_next - 1);
    if (!sequence_set_parse(&parsed, set, strlen(set), false))
        return out;
    ranges = sequence_set_resolve(&parsed, largest);
    for (guint i = 0; i < ranges->len; i++) {
        const struct sequence_range *from = &g_array_index(ranges, struct sequence_range, i);
        struct uid_range range = {from->low, from->high};

        g_array_append_val(out, range);
    }
    g_array_unref(ranges);
    sequence_set_release(&parsed);
    return out;
}

/* --- how things look --- */

void history_append_time(GString *out, int64_t seconds, int zone)
{
    time_t shifted = (time_t)(seconds + (int64_t)zone * 60);
    char when[40] = "?";
    unsigned minutes = (unsigned)abs(zone);
    struct tm tm;

    if (gmtime_r(&shifted, &tm) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    g_string_append_printf(out, "%s %c%02u%02u", when, zone < 0 ? '-' : '+', minutes / 60,
                           minutes % 60);
}

void history_append_commit(struct history_view *view, const struct object_id *commit, int width)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(commit, hex);
    hex[width] = '\0';
    page_style(&view->page, view->text, PAGE_COMMIT, hex);
}

void history_append_place(GString *out, const struct history_branch *branch)
{
    switch (branch->place) {
    case HISTORY_MAILBOX:
    case HISTORY_DELETED:
        headline_append(out, branch->name, strlen(branch->name), SUBJECT_WIDTH);
        break;
    case HISTORY_ACCOUNT:
        g_string_append(out, "the account");
        break;
    }
    if (branch->place == HISTORY_DELETED)
        g_string_append(out, ", deleted");
}

void history_append_who(GString *out, const struct history_entry *entry)
{
    g_string_append(out, entry->author[0] != '\0' ? entry->author : "?");
    if (entry->client[0] != '\0')
        g_string_append_printf(out, ", %s", entry->client);
    if (entry->session[0] != '\0')
        g_string_append_printf(out, ", session %s", entry->session);
}

int history_append_event(struct history_view *view, const char *label,
                         const struct object_id *commit, const char *note)
{
    struct history_entry entry;
    int result = history_entry_read(view->history, commit, &entry, &view->error);

    if (result < 0)
        return result;
    g_string_append(view->text, label);
    history_append_commit(view, commit, HISTORY_COMMIT_WIDTH);
    g_string_append(view->text, "  ");
    history_append_time(view->text, entry.time, entry.zone);
    g_string_append_printf(view->text, "  %s, ", entry.action);
    history_append_who(view->text, &entry);
    g_string_append_printf(view->text, "%s\n", note);
    return 0;
}

GBytes *history_read_head(struct history *history, const struct object_id *blob,
                          struct store_error *error)
{
    struct message_stream *stream;
    GBytes *head = NULL;
    uint64_t length;
    uint64_t first;
    gsize size;

    if (history_open_message(history, blob, &stream, error) < 0)
        return NULL;
    length = message_stream_length(stream);
    first = MIN(length, MESSAGE_STREAM_PIECE_MAX);
    if (message_stream_gather(stream, 0, first, &head, error) == 0 && first < length) {
        const uint8_t *data = g_bytes_get_data(head, &size);

        if (header_block_length(data, size) == size) {
            g_bytes_unref(head);
            message_stream_gather(stream, 0, MIN(length, HEADLINE_SEARCH_MAX), &head, error);
        }
    }
    message_stream_unref(stream);
    return head;
}

void history_headline(struct history_view *view, const struct object_id *blob, struct headline *out)
{
    struct store_error error = {0};
    GBytes *head = history_read_head(view->history, blob, &error);
    gsize size;

    if (head != NULL) {
        const uint8_t *data = g_bytes_get_data(head, &size);

        headline_read(out, data != NULL ? data : (const uint8_t *)"", size);
        g_bytes_unref(head);
    } else {
        out->subject = g_strdup_printf("(%s)", error.detail);
        out->from = g_strdup("");
    }
}

void touched_init(struct touched *touched, const struct history_change *change)
{
    *touched = (struct touched){
        .message = change->after != NULL ? *change->after : *change->before,
        .was = change->before != NULL,
        .is = change->after != NULL,
        .flags_before = g_strdup(change->flags_before),
        .flags_after = g_strdup(change->flags_after),
    };
}

void touched_release(struct touched *touched)
{
    g_free(touched->flags_before);
    g_free(touched->flags_after);
}

static bool has_flag(char **flags, const char *flag)
{
    return g_strv_contains((const char *const *)flags, flag);
}

/* "+\Seen -work". */
static void append_flag_changes(GString *out, const struct touched *touched)
{
    g_auto(GStrv) before = g_strsplit(touched->flags_before, " ", -1);
    g_auto(GStrv) after = g_strsplit(touched->flags_after, " ", -1);

    for (size_t i = 0; after[i] != NULL; i++)
        if (!has_flag(before, after[i]))
            g_string_append_printf(out, "  +%s", after[i]);
    for (size_t i = 0; before[i] != NULL; i++)
        if (!has_flag(after, before[i]))
            g_string_append_printf(out, "  -%s", before[i]);
}

void history_append_headline(GString *out, const struct headline *headline)
{
    if (headline->subject[0] == '\0')
        g_string_append(out, "(no subject)");
    else {
        g_string_append_c(out, '"');
        headline_append(out, headline->subject, strlen(headline->subject), SUBJECT_WIDTH);
        g_string_append_c(out, '"');
    }
    if (headline->from[0] != '\0') {
        g_string_append(out, " from ");
        headline_append(out, headline->from, strlen(headline->from), SENDER_WIDTH);
    }
}

void history_append_touched(struct history_view *view, const struct touched *touched,
                            const char *note)
{
    enum page_style style = !touched->was ? PAGE_ARRIVED : !touched->is ? PAGE_GONE : PAGE_CHANGED;
    const char *sign = !touched->was ? "+" : !touched->is ? "-" : "~";
    g_autofree char *name =
        g_strdup_printf("%s uid %" G_GUINT32_FORMAT, sign, touched->message.uid);
    struct headline headline;

    g_string_append(view->text, "    ");
    page_style(&view->page, view->text, style, name);
    g_string_append(view->text, "  ");
    history_headline(view, &touched->message.blob, &headline);
    history_append_headline(view->text, &headline);
    headline_release(&headline);
    if (touched->was && touched->is)
        append_flag_changes(view->text, touched);
    else if (*(touched->is ? touched->flags_after : touched->flags_before) != '\0')
        g_string_append_printf(view->text, "  %s",
                               touched->is ? touched->flags_after : touched->flags_before);
    if (note != NULL)
        g_string_append_printf(view->text, "  %s", note);
    g_string_append_c(view->text, '\n');
}

/* --- JSON --- */

void history_json_id(struct json *json, const char *key, const struct object_id *id)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(id, hex);
    json_text(json, key, hex);
}

void history_json_flags(struct json *json, const char *key, const char *flags)
{
    g_auto(GStrv) names = g_strsplit(flags, " ", -1);

    json_begin_array(json, key);
    for (size_t i = 0; names[i] != NULL; i++)
        if (names[i][0] != '\0')
            json_text(json, NULL, names[i]);
    json_end_array(json);
}

void history_json_touched(struct history_view *view, struct json *json, const char *key,
                          const struct touched *touched)
{
    struct headline headline;

    history_headline(view, &touched->message.blob, &headline);
    json_begin_object(json, key);
    json_text(json, "change", !touched->was ? "arrived" : !touched->is ? "gone" : "changed");
    json_number(json, "uid", touched->message.uid);
    history_json_id(json, "emailid", &touched->message.blob);
    json_number(json, "size", touched->message.size);
    json_time(json, "received", touched->message.internal_date);
    json_text(json, "subject", headline.subject);
    json_text(json, "from", headline.from);
    if (touched->was)
        history_json_flags(json, "flags_before", touched->flags_before);
    if (touched->is)
        history_json_flags(json, "flags_after", touched->flags_after);
    headline_release(&headline);
}

void history_json_entry(struct json *json, const struct history_entry *entry)
{
    history_json_id(json, "commit", &entry->commit);
    json_begin_array(json, "parents");
    for (size_t i = 0; i < entry->parent_count; i++)
        history_json_id(json, NULL, &entry->parents[i]);
    json_end_array(json);
    json_text(json, "mailbox",
              entry->branch->place == HISTORY_ACCOUNT ? NULL : entry->branch->name);
    json_bool(json, "deleted", entry->branch->place == HISTORY_DELETED);
    json_time(json, "time", entry->time);
    json_text(json, "who", entry->author);
    json_text(json, "client", entry->client);
    json_text(json, "session", entry->session);
    json_text(json, "command", entry->command);
    json_text(json, "action", entry->action);
    json_text(json, "text", entry->subject);
}
