#include "server/past_name.h"

#include <string.h>

#include "store/past.h"

enum { MOMENT_TEXT_MAX = 48 }; /* octets; any moment is shorter */

void past_name_parse(struct past_name *out, const char *name)
{
    size_t root = strlen(PAST_ROOT);
    char text[MOMENT_TEXT_MAX + 1];

    memset(out, 0, sizeof(*out));
    if (strncmp(name, PAST_ROOT, root) != 0 || (name[root] != '\0' && name[root] != '/')) {
        return;
    }
    if (name[root] == '\0' || name[root + 1] == '\0') {
        out->place = PAST_PLACE_ROOT;
        return;
    }
    const char *moment = name + root + 1;
    size_t length = strcspn(moment, "/");
    out->place = PAST_PLACE_BAD;
    if (length > MOMENT_TEXT_MAX) {
        return;
    }
    memcpy(text, moment, length);
    text[length] = '\0';
    if (!moment_parse(&out->moment, text)) {
        return;
    }
    out->mailbox = moment + length;
    if (*out->mailbox == '/') {
        out->mailbox++;
    }
    out->place = *out->mailbox == '\0' ? PAST_PLACE_MOMENT : PAST_PLACE_MAILBOX;
}

static bool is_in_history(const char *name)
{
    struct past_name past;

    past_name_parse(&past, name);
    return past.place != PAST_PLACE_NONE;
}

bool past_name_is_past(struct session *session, const char *name)
{
    return is_in_history(name) && !account_mailbox_exists(session->account, name);
}

bool past_name_is_future(const struct session *session, const struct moment *moment)
{
    return moment->commit[0] == '\0' &&
           moment->first > session->host->now(session->host->data) / G_USEC_PER_SEC;
}

static int open_present(struct session *session, const char *name, struct mailbox **out,
                        struct store_error *error)
{
    int code = account_open_mailbox(session->account, name, out, error);

    if (code != STORE_OK) {
        return code;
    }
    code = mailbox_refresh(*out, error);
    if (code == STORE_OK && mailbox_is_deleted(*out)) {
        code = store_error_set(error, STORE_NOT_FOUND, "mailbox %s was deleted", name);
    }
    if (code != STORE_OK) {
        mailbox_unref(*out);
        *out = NULL;
    }
    return code;
}

static int open_past(struct session *session, const struct past_name *past, struct mailbox **out,
                     struct past_progress **progress, struct store_error *error)
{
    bool whole = past->place == PAST_PLACE_MAILBOX ||
                 (past->place == PAST_PLACE_MOMENT && past->moment.commit[0] != '\0');

    if (!whole) {
        return store_error_set(error, STORE_NOT_FOUND, "no mailbox of a moment is named");
    }
    if (past_name_is_future(session, &past->moment)) {
        return store_error_set(error, STORE_NOT_FOUND, "the moment has not come yet");
    }
    return past_open(session->account, past->place == PAST_PLACE_MAILBOX ? past->mailbox : NULL,
                     &past->moment, out, progress, error);
}

int past_name_open(struct session *session, const char *name, struct mailbox **out,
                   struct past_progress **progress, struct store_error *error)
{
    struct past_name past;

    *out = NULL;
    past_name_parse(&past, name);
    if (past.place == PAST_PLACE_NONE || account_mailbox_exists(session->account, name)) {
        return open_present(session, name, out, error);
    }
    return open_past(session, &past, out, progress, error);
}

int past_name_open_commit(struct session *session, const struct object_id *commit,
                          struct mailbox **out, struct store_error *error)
{
    struct moment moment = {.first = 0};

    *out = NULL;
    object_id_format(commit, moment.commit);
    return past_open(session->account, NULL, &moment, out, NULL, error);
}

/* NULL: there is nothing more to say than that it is not there. */
static const char *why_not_found(struct session *session, const struct past_name *past)
{
    switch (past->place) {
    case PAST_PLACE_NONE:
        return NULL;
    case PAST_PLACE_ROOT:
        return "Below " PAST_ROOT " are moments, such as " PAST_ROOT "/2026-11-17/INBOX";
    case PAST_PLACE_BAD:
        return "A moment is a day (2026-11-17), a time (2026-11-17T10:00:00Z) or a commit's id";
    case PAST_PLACE_MOMENT:
        if (past->moment.commit[0] == '\0')
            return "This is a moment; the mailboxes of then are below it";
        return "No one commit of a mailbox has an id that begins so";
    case PAST_PLACE_MAILBOX:
        if (past_name_is_future(session, &past->moment))
            return "That moment has not come yet";
        return "There was no such mailbox then, as far as the history reaches back";
    }
    return NULL;
}

enum run_status past_name_not_found(struct session *session, struct run *run, const char *name,
                                    const struct store_error *error)
{
    struct past_name past;
    const char *why;

    past_name_parse(&past, name);
    why = error->code == STORE_NOT_FOUND ? why_not_found(session, &past) : NULL;
    return why != NULL ? session_finish(session, run, "NO", "NONEXISTENT", why)
                       : session_fail(session, run, error, false);
}

enum run_status past_name_refuse(struct session *session, struct run *run, const char *name)
{
    struct past_name past;

    past_name_parse(&past, name);
    if (past.place == PAST_PLACE_ROOT || past.place == PAST_PLACE_BAD) {
        return session_finish(session, run, "NO", "CANNOT",
                              "Names below " PAST_ROOT " are those of the past; choose another");
    }
    return session_finish(session, run, "NO", "NOPERM",
                          "The past can't be changed; COPY messages out of it to restore them");
}

void past_name_write_id(GString *out, const char *name, const struct mailbox *mailbox)
{
    struct past_name past;

    g_string_append(out, snapshot_mailbox_id(mailbox_snapshot(mailbox)));
    if (!mailbox_is_past(mailbox)) {
        return;
    }
    past_name_parse(&past, name);
    if (past.moment.commit[0] != '\0') {
        g_string_append_printf(out, "-c%s", past.moment.commit);
    } else {
        g_string_append_printf(out, "-%c%" G_GINT64_FORMAT,
                               past.moment.first == past.moment.last ? 't' : 'd', past.moment.last);
    }
}
