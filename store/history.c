#include "store/history.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/commit.h"
#include "store/internal/history_private.h"
#include "store/internal/message_stream_private.h"
#include "store/internal/shallow.h"
#include "store/internal/text.h"

enum { HISTORY_TEXT_MAX = 400 }; /* octets of any one text of an entry */

/* --- opening --- */

int history_open(struct history **out, const char *path, struct store_error *error)
{
    struct history *history = g_new0(struct history, 1);
    int rc;

    id_set_init(&history->shallow);
    history->parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    history->subject = g_string_new(NULL);
    history->author = g_string_new(NULL);
    history->client = g_string_new(NULL);
    history->command = g_string_new(NULL);
    history->session = g_string_new(NULL);
    rc = objects_open(&history->objects, path, host_system(), error);
    if (rc == 0) {
        rc = refs_open(&history->refs, path, host_system(), error);
    }
    if (rc == 0) {
        rc = shallow_read(&history->shallow, path, error);
    }
    if (rc < 0) {
        history_close(history);
        return rc;
    }
    *out = history;
    return 0;
}

void history_close(struct history *history)
{
    if (history == NULL) {
        return;
    }
    history_root_unref(history->recent[0]);
    history_root_unref(history->recent[1]);
    refs_close(history->refs);
    objects_close(history->objects);
    id_set_release(&history->shallow);
    g_array_unref(history->parents);
    g_string_free(history->subject, TRUE);
    g_string_free(history->author, TRUE);
    g_string_free(history->client, TRUE);
    g_string_free(history->command, TRUE);
    g_string_free(history->session, TRUE);
    g_free(history);
}

int history_open_message(struct history *history, const struct object_id *blob,
                         struct message_stream **out, struct store_error *error)
{
    return message_stream_open(out, history->objects, blob, error);
}

/* --- branches --- */

static void branch_free(void *data)
{
    struct history_branch *branch = data;

    g_free(branch->name);
    g_free(branch);
}

/* Takes name. */
static void add_branch(GPtrArray *branches, enum history_place place, char *name,
                       uint32_t uid_validity, const struct object_id *tip)
{
    struct history_branch *branch = g_new0(struct history_branch, 1);

    branch->place = place;
    branch->name = name;
    branch->uid_validity = uid_validity;
    branch->tip = *tip;
    g_ptr_array_add(branches, branch);
}

/* Mailboxes before deleted ones; INBOX first, then names, then the one deleted last. */
static int compare_branches(const void *a, const void *b)
{
    const struct history_branch *x = *(struct history_branch *const *)a;
    const struct history_branch *y = *(struct history_branch *const *)b;
    int order = (int)x->place - (int)y->place;

    if (order == 0) {
        order = (strcmp(y->name, "INBOX") == 0) - (strcmp(x->name, "INBOX") == 0);
    }
    if (order == 0) {
        order = strcmp(x->name, y->name);
    }
    return order != 0 ? order
                      : (x->uid_validity < y->uid_validity) - (x->uid_validity > y->uid_validity);
}

static int list_living(struct history *history, GPtrArray *out, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct store_error ignored;
    int rc = refs_list(history->refs, HEADS_PREFIX, &refs, error);

    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *ref = g_ptr_array_index(refs, i);
        char *name;

        if (branch_name_decode(&name, ref->name + strlen(HEADS_PREFIX), &ignored) == 0) {
            add_branch(out, HISTORY_MAILBOX, name, 0, &ref->id);
        }
    }
    return rc;
}

/* refs/deleted/NAME/UIDVALIDITY, maybe with "-2". */
static void add_deleted(GPtrArray *out, const struct ref_entry *ref)
{
    g_autofree char *branch = g_strdup(ref->name + strlen(DELETED_PREFIX));
    char *slash = strrchr(branch, '/');
    struct store_error ignored;
    struct text number;
    uint64_t validity;
    char *name;

    if (slash == NULL) {
        return;
    }
    *slash = '\0';
    number = (struct text){slash + 1, slash + 1 + strlen(slash + 1)};
    if (text_number(&number, UINT32_MAX, &validity) &&
        branch_name_decode(&name, branch, &ignored) == 0) {
        add_branch(out, HISTORY_DELETED, name, (uint32_t)validity, &ref->id);
    }
}

static int list_deleted(struct history *history, GPtrArray *out, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    int rc = refs_list(history->refs, DELETED_PREFIX, &refs, error);

    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        add_deleted(out, g_ptr_array_index(refs, i));
    }
    return rc;
}

/* Its state; what was held back from being dropped; what was purged. */
static int list_accounts_own(struct history *history, GPtrArray *out, struct store_error *error)
{
    static const char *const names[] = {ACCOUNT_REF, "refs/annal/holds", "refs/annal/purged"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct object_id tip;
        int rc = refs_read(history->refs, names[i], &tip, error);

        if (rc == 0) {
            add_branch(out, HISTORY_ACCOUNT, g_strdup(""), 0, &tip);
        } else if (rc != STORE_NOT_FOUND) {
            return rc;
        }
    }
    return 0;
}

int history_branches(struct history *history, GPtrArray **out, struct store_error *error)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(branch_free);
    int rc = list_living(history, found, error);

    if (rc == 0) {
        rc = list_deleted(history, found, error);
    }
    if (rc == 0) {
        rc = list_accounts_own(history, found, error);
    }
    if (rc < 0) {
        return rc;
    }
    g_ptr_array_sort(found, compare_branches);
    *out = g_steal_pointer(&found);
    return 0;
}

int history_find(struct history *history, const char *mailbox, GPtrArray **out,
                 struct store_error *error)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(branch_free);
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct object_id tip;
    int rc = account_name(&canonical, &ref, mailbox, error);

    if (rc == 0) {
        rc = list_deleted(history, found, error);
    }
    if (rc < 0) {
        return rc;
    }
    for (guint i = found->len; i-- > 0;) {
        const struct history_branch *branch = g_ptr_array_index(found, i);

        if (strcmp(branch->name, canonical) != 0) {
            g_ptr_array_remove_index(found, i);
        }
    }
    rc = refs_read(history->refs, ref, &tip, error);
    if (rc == 0) {
        add_branch(found, HISTORY_MAILBOX, g_strdup(canonical), 0, &tip);
    } else if (rc != STORE_NOT_FOUND || found->len == 0) {
        return rc;
    }
    g_ptr_array_sort(found, compare_branches);
    *out = g_steal_pointer(&found);
    return 0;
}

/* --- entries --- */

static const char *const actions[] = {
    "APPEND",    "COPY",        "CREATE",      "DELETE",   "EXPUNGE", "MOVE",  "RENAME",
    "STORE",     "RECONCILE",   "RESTORE",     "UNDELETE", "PURGE",   "HOLD",  "RELEASE",
    "SUBSCRIBE", "UNSUBSCRIBE", "SPECIAL-USE", "IMPORT",   "DELIVER", "OTHER", NULL};

const char *const *history_actions(void)
{
    return actions;
}

static const char *action_of(const char *subject)
{
    size_t length = strcspn(subject, " :");
    size_t i = 0;

    while (strcmp(actions[i], "OTHER") != 0 &&
           (strlen(actions[i]) != length || strncmp(actions[i], subject, length) != 0)) {
        i++;
    }
    return actions[i];
}

int history_read_commit(struct history *history, const struct object_id *commit,
                        struct object_data *out, struct store_error *error)
{
    int rc = objects_read(history->objects, commit, OBJECT_COMMIT, out, error);

    return rc == STORE_NOT_FOUND
               ? store_error_set(error, STORE_CORRUPT, "a commit of the history is missing")
               : rc;
}

int history_read_parents(const struct history *history, const struct object_id *commit,
                         const struct object_data *data, GArray *parents, bool *cut,
                         struct store_error *error)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    struct text line;

    g_array_set_size(parents, 0);
    *cut = false;
    while (text_line(&text, &line) && line.at < line.end) {
        char hex[OBJECT_ID_HEX + 1] = "";
        struct object_id parent;

        if (!text_word(&line, "parent ")) {
            continue;
        }
        if (line.end - line.at == OBJECT_ID_HEX) {
            memcpy(hex, line.at, OBJECT_ID_HEX);
        }
        if (!object_id_parse(&parent, hex)) {
            return store_error_set(error, STORE_CORRUPT, "a commit with a malformed parent");
        }
        g_array_append_val(parents, parent);
    }
    if (parents->len > 0 && id_set_has(&history->shallow, commit)) {
        g_array_set_size(parents, 0);
        *cut = true;
    }
    return 0;
}

static void take_value(GString *out, const struct text *line)
{
    g_string_truncate(out, 0);
    text_append_harmless(out, line->at, (size_t)(line->end - line->at), HISTORY_TEXT_MAX);
}

/* "author NAME <ADDRESS> ...": the name. */
static void read_author(GString *out, const struct object_data *data)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    struct text line;

    g_string_truncate(out, 0);
    while (text_line(&text, &line) && line.at < line.end) {
        if (text_word(&line, "author ")) {
            const char *end = memchr(line.at, '<', (size_t)(line.end - line.at));

            line.end = end != NULL ? end : line.end;
            while (line.end > line.at && line.end[-1] == ' ') {
                line.end--;
            }
            take_value(out, &line);
            return;
        }
    }
}

/* Subject and trailers; a message's last line may lack its newline. */
static void read_message(struct history *history, const struct commit *commit)
{
    struct text text = {commit->message, commit->message + commit->message_length};
    bool first = true;

    g_string_truncate(history->subject, 0);
    g_string_truncate(history->client, 0);
    g_string_truncate(history->command, 0);
    g_string_truncate(history->session, 0);
    while (text.at < text.end) {
        struct text line = text;

        if (!text_line(&text, &line)) {
            text.at = text.end;
        }
        if (first) {
            take_value(history->subject, &line);
            first = false;
        } else if (text_word(&line, "Client: ")) {
            take_value(history->client, &line);
        } else if (text_word(&line, "Command: ")) {
            take_value(history->command, &line);
        } else if (text_word(&line, "Session: ")) {
            take_value(history->session, &line);
        }
    }
}

int history_read_words(struct history *history, const struct object_id *commit,
                       const struct object_data *data, struct history_entry *out,
                       struct store_error *error)
{
    struct commit decoded;
    bool cut;
    int rc = commit_decode(&decoded, data->data, data->length, error);

    if (rc == 0) {
        rc = history_read_parents(history, commit, data, history->parents, &cut, error);
    }
    if (rc < 0) {
        return rc;
    }
    read_message(history, &decoded);
    read_author(history->author, data);
    *out = (struct history_entry){
        .commit = *commit,
        .parents = (const struct object_id *)(const void *)history->parents->data,
        .parent_count = history->parents->len,
        .cut = cut,
        .time = decoded.time,
        .zone = decoded.zone,
        .subject = history->subject->str,
        .action = action_of(history->subject->str),
        .author = history->author->str,
        .client = history->client->str,
        .command = history->command->str,
        .session = history->session->str,
    };
    return 0;
}

int history_entry_read(struct history *history, const struct object_id *commit,
                       struct history_entry *out, struct store_error *error)
{
    struct object_data data;
    int rc = objects_read(history->objects, commit, OBJECT_COMMIT, &data, error);

    if (rc == 0) {
        rc = history_read_words(history, commit, &data, out, error);
        object_data_release(&data);
    }
    return rc;
}
