#include "store/history.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/text.h"

enum { HISTORY_TEXT_MAX = 400 }; /* octets of any one text of an entry */

/* The texts of one entry. */
struct words {
    GString *subject;
    GString *client;
    GString *command;
    GString *session;
};

static void take_value(GString *out, const struct text *line)
{
    g_string_truncate(out, 0);
    text_append_harmless(out, line->at, (size_t)(line->end - line->at), HISTORY_TEXT_MAX);
}

/* Subject and trailers; a message's last line may lack its newline. */
static void read_words(struct words *words, const struct commit *commit)
{
    struct text text = {commit->message, commit->message + commit->message_length};
    bool first = true;

    g_string_truncate(words->subject, 0);
    g_string_truncate(words->client, 0);
    g_string_truncate(words->command, 0);
    g_string_truncate(words->session, 0);
    while (text.at < text.end) {
        struct text line = text;

        if (!text_line(&text, &line)) {
            text.at = text.end;
        }
        if (first) {
            take_value(words->subject, &line);
            first = false;
        } else if (text_word(&line, "Client: ")) {
            take_value(words->client, &line);
        } else if (text_word(&line, "Command: ")) {
            take_value(words->command, &line);
        } else if (text_word(&line, "Session: ")) {
            take_value(words->session, &line);
        }
    }
}

static int visit_commit(struct objects *objects, struct words *words, struct history_entry *entry,
                        struct object_id *parent, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(objects, &entry->commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc == STORE_NOT_FOUND
                   ? store_error_set(error, STORE_CORRUPT, "a commit of the history is missing")
                   : rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc == 0) {
        read_words(words, &commit);
        entry->time = commit.time;
        entry->zone = commit.zone;
        *parent = commit.parent;
    }
    object_data_release(&data);
    entry->subject = words->subject->str;
    entry->client = words->client->str;
    entry->command = words->command->str;
    entry->session = words->session->str;
    return rc;
}

static int walk(struct objects *objects, const struct object_id *tip, size_t limit,
                history_visit visit, void *data, struct store_error *error)
{
    g_autoptr(GString) subject = g_string_new(NULL);
    g_autoptr(GString) client = g_string_new(NULL);
    g_autoptr(GString) command = g_string_new(NULL);
    g_autoptr(GString) session = g_string_new(NULL);
    struct words words = {subject, client, command, session};
    struct object_id next = *tip;

    for (size_t i = 0; !object_id_is_zero(&next) && (limit == 0 || i < limit); i++) {
        struct history_entry entry = {.commit = next};
        int rc = visit_commit(objects, &words, &entry, &next, error);

        if (rc < 0) {
            return rc;
        }
        if (visit(&entry, data) != 0) {
            break;
        }
    }
    return 0;
}

int history_walk(const char *path, const char *mailbox, size_t limit, history_visit visit,
                 void *data, struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct objects *objects = NULL;
    struct refs *refs = NULL;
    struct object_id tip;
    int rc = account_name(&canonical, &ref, mailbox, error);

    if (rc == 0) {
        rc = objects_open(&objects, path, host_system(), error);
    }
    if (rc == 0) {
        rc = refs_open(&refs, path, host_system(), error);
    }
    if (rc == 0) {
        rc = refs_read(refs, ref, &tip, error);
    }
    if (rc == 0) {
        rc = walk(objects, &tip, limit, visit, data, error);
    }
    refs_close(refs);
    objects_close(objects);
    return rc;
}
