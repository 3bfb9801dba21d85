#include "server/admin_change.h"

#include <string.h>

struct finding {
    struct change *change;
    size_t keep;
};

static int note_message(const struct history_change *message, void *data)
{
    struct finding *finding = data;
    struct change *change = finding->change;
    struct touched touched;

    if (message->before == NULL)
        change->arrived++;
    else if (message->after == NULL)
        change->gone++;
    else
        change->changed++;
    if (change->touched->len < finding->keep) {
        touched_init(&touched, message);
        g_array_append_val(change->touched, touched);
    }
    return 0;
}

static void clear_touched(void *data)
{
    touched_release(data);
}

void change_find(struct change *out, struct history_view *view, const struct history_entry *entry,
                 const GArray *ranges, size_t keep)
{
    struct finding finding = {out, keep};
    struct object_id none = {{0}};

    *out = (struct change){.entry = entry};
    out->touched = g_array_new(FALSE, FALSE, sizeof(struct touched));
    g_array_set_clear_func(out->touched, clear_touched);
    if (entry->branch->place == HISTORY_ACCOUNT || entry->cut)
        return;
    out->known = history_diff(view->history, entry->parent_count > 0 ? &entry->parents[0] : &none,
                              &entry->commit, ranges, note_message, &finding, &out->error) == 0;
}

void change_release(struct change *change)
{
    g_array_unref(change->touched);
}

size_t change_count(const struct change *change)
{
    return change->arrived + change->gone + change->changed;
}

/* NULL where nothing is missing. */
static const char *problem_of(const struct change *change)
{
    if (change->known || change->entry->branch->place == HISTORY_ACCOUNT)
        return NULL;
    return change->entry->cut ? "what was before is not kept any more" : change->error.detail;
}

static void append_messages(struct history_view *view, const struct change *change)
{
    size_t left = change_count(change) - change->touched->len;
    const char *problem = problem_of(change);

    for (guint i = 0; i < change->touched->len; i++) {
        history_append_touched(view, &g_array_index(change->touched, struct touched, i), NULL);
        history_view_relieve(view);
    }
    if (left > 0 && change->touched->len > 0)
        g_string_append_printf(view->text,
                               "    ... %zu more (in all %zu arrived, %zu gone, %zu changed)\n",
                               left, change->arrived, change->gone, change->changed);
    if (problem != NULL)
        g_string_append_printf(view->text, "    what it did can't be told: %s\n", problem);
}

void change_append_text(struct history_view *view, const struct change *change, bool with_mailbox)
{
    const struct history_entry *entry = change->entry;

    history_append_commit(view, &entry->commit, HISTORY_COMMIT_WIDTH);
    g_string_append(view->text, "  ");
    history_append_time(view->text, entry->time, entry->zone);
    g_string_append(view->text, "  ");
    if (with_mailbox || entry->branch->place != HISTORY_MAILBOX) {
        g_string_append_c(view->text, '[');
        history_append_place(view->text, entry->branch);
        g_string_append(view->text, "]  ");
    }
    g_string_append_printf(view->text, "%s\n    ", entry->subject);
    history_append_who(view->text, entry);
    g_string_append_c(view->text, '\n');
    append_messages(view, change);
}

static void append_fact(GString *out, const char *name, const char *value)
{
    if (*value != '\0')
        g_string_append_printf(out, "%-9s %s\n", name, value);
}

void change_append_full(struct history_view *view, const struct change *change)
{
    const struct history_entry *entry = change->entry;
    GString *out = view->text;

    g_string_append(out, "change    ");
    history_append_commit(view, &entry->commit, OBJECT_ID_HEX);
    for (size_t i = 0; i < entry->parent_count; i++) {
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(&entry->parents[i], hex);
        g_string_append_printf(out, "\n%-9s %s", i == 0 ? "after" : "merges", hex);
    }
    g_string_append(out, "\nmailbox   ");
    history_append_place(out, entry->branch);
    g_string_append(out, "\ntime      ");
    history_append_time(out, entry->time, entry->zone);
    g_string_append_c(out, '\n');
    append_fact(out, "who", entry->author);
    append_fact(out, "client", entry->client);
    append_fact(out, "session", entry->session);
    append_fact(out, "command", entry->command);
    append_fact(out, "what", entry->subject);
    if (change->known)
        g_string_append_printf(out, "messages  %zu arrived, %zu gone, %zu changed\n",
                               change->arrived, change->gone, change->changed);
    append_messages(view, change);
}

void change_append_json(struct history_view *view, const struct change *change)
{
    struct json json = {.out = view->text};

    json_begin_object(&json, NULL);
    history_json_entry(&json, change->entry);
    json_number(&json, "arrived", (int64_t)change->arrived);
    json_number(&json, "gone", (int64_t)change->gone);
    json_number(&json, "changed", (int64_t)change->changed);
    json_begin_array(&json, "messages");
    for (guint i = 0; i < change->touched->len; i++) {
        history_json_touched(view, &json, NULL, &g_array_index(change->touched, struct touched, i));
        json_end_object(&json);
        history_view_relieve(view);
    }
    json_end_array(&json);
    if (problem_of(change) != NULL)
        json_text(&json, "problem", problem_of(change));
    json_end_object(&json);
    g_string_append_c(view->text, '\n');
}
