/* The state machine of a session.
 *
 *     NOT_AUTHENTICATED --login--> AUTHENTICATED <--select, unselect--> SELECTED
 *              |                        |                                  |
 *              +------------------------+-----------> LOGOUT <-------------+
 *
 * session_step() takes from the input what belongs to the next command (take_event()), runs it
 * (step_run()) until it is done, and goes on so until there is no input, the output is high, the
 * slice is over, or the transport has to change (handover). One command runs at a time, so what
 * RFC 3501 5.5 says of ambiguity can't arise: a pipelined command sees its predecessor's state.
 *
 * Invariants: account is not NULL from AUTHENTICATED on; mailbox and view are not NULL exactly in
 * SELECTED; run.command is not NULL exactly while a command is under way.
 */
#include "server/session.h"

#include <assert.h>
#include <string.h>

#include "protocol/response.h"
#include "server/session_private.h"

enum {
    BAD_BEFORE_LOGIN_MAX = 10, /* commands in a row answered with BAD */
    BAD_MAX = 50,
};

static int64_t now(const struct session *session)
{
    return session->host->now(session->host->data);
}

static void greet(struct session *session)
{
    GString *out = session_out(session);
    g_string_append(out, "* OK [CAPABILITY ");
    session_write_capabilities(session, out);
    g_string_append(out, "] Annal ready\r\n");
}

struct session *session_new(const struct session_settings *settings,
                            const struct session_host *host, const char *id, const char *peer,
                            bool tls)
{
    struct session *session = g_new0(struct session, 1);
    session->settings = settings;
    session->host = host;
    session->id = g_strdup(id);
    session->peer = g_strdup(peer);
    session->client = g_strdup(peer);
    session->tls = tls;
    session->state = SESSION_STATE_NOT_AUTHENTICATED;
    session->parser = parser_new();
    parser_set_message_free(session->parser, append_message_free);
    session->ran = RUN_DONE;
    g_queue_init(&session->output);
    session->created = now(session);
    session->active = session->created;
    greet(session);
    return session;
}

static void clear_run(struct session *session)
{
    struct run *run = &session->run;
    if (run->state_free != NULL && run->state != NULL)
        run->state_free(run->state);
    command_free(run->command);
    memset(run, 0, sizeof *run);
    session->ran = RUN_DONE;
    session->storing = false;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    session_log(session, SESSION_LOG_INFO,
                "event=closed reason=%s commands=%" G_GUINT64_FORMAT " in=%" G_GUINT64_FORMAT
                " out=%" G_GUINT64_FORMAT,
                session->sent_away                       ? "bye"
                : session->state == SESSION_STATE_LOGOUT ? "logout"
                                                         : "disconnect",
                session->commands, session->octets_in, session->octets_out);
    clear_run(session);
    session_unselect(session);
    parser_free(session->parser);
    session_drop_input(session);
    session_drop_literal(session);
    g_queue_clear_full(&session->output, (GDestroyNotify)g_bytes_unref);
    if (session->out != NULL)
        g_string_free(session->out, TRUE);
    account_unref(session->account);
    g_free(session->user);
    g_free(session->login_user);
    g_free(session->login_reason);
    g_free(session->farewell);
    g_free(session->client);
    g_free(session->peer);
    g_free(session->id);
    g_free(session);
}

void session_set_state(struct session *session, enum session_state state)
{
    enum session_state from = session->state;
    assert(from != SESSION_STATE_LOGOUT);
    assert(state != SESSION_STATE_NOT_AUTHENTICATED);
    assert(state != SESSION_STATE_SELECTED || from != SESSION_STATE_NOT_AUTHENTICATED);
    assert(state == SESSION_STATE_LOGOUT || session->account != NULL);
    session->state = state;
}

static void send_away(struct session *session)
{
    session_drop_literal(session);
    session->idling = false;
    session->storing = false;
    session->sent_away = true;
    session_unselect(session);
    session_set_state(session, SESSION_STATE_LOGOUT);
}

void session_bye(struct session *session, const char *code, const char *text)
{
    if (session->state == SESSION_STATE_LOGOUT)
        return;
    /* In a literal it would be taken for octets of the message. */
    if (session->literal.stream == NULL) {
        GString *out = session_out(session);
        g_string_append(out, "* BYE ");
        if (code != NULL)
            g_string_append_printf(out, "[%s] ", code);
        response_text(out, text, session->utf8);
        g_string_append(out, "\r\n");
    }
    send_away(session);
}

void session_break(struct session *session, uint32_t uid, const struct store_error *error)
{
    session_log(session, SESSION_LOG_ERROR,
                "event=broken-off uid=%" G_GUINT32_FORMAT " error=\"%s\" detail=\"%s\"", uid,
                store_code_name(error->code), error->detail);
    send_away(session);
}

/* --- input --- */

static size_t input_length(const struct session *session)
{
    return session->input == NULL ? 0 : session->input->len - session->input_parsed;
}

size_t session_input_room(const struct session *session)
{
    return SESSION_INPUT_MAX - input_length(session);
}

void session_drop_input(struct session *session)
{
    if (session->input == NULL)
        return;
    /* A password may have been in it. */
    explicit_bzero(session->input->data, session->input->len);
    g_byte_array_unref(session->input);
    session->input = NULL;
    session->input_parsed = 0;
}

/* Frees or moves what is parsed. Pointers into the input end here. */
static void compact_input(struct session *session)
{
    if (session->input == NULL || session->input_parsed == 0)
        return;
    size_t rest = input_length(session);
    if (rest == 0) {
        session_drop_input(session);
        return;
    }
    memmove(session->input->data, session->input->data + session->input_parsed, rest);
    explicit_bzero(session->input->data + rest, session->input->len - rest);
    g_byte_array_set_size(session->input, (guint)rest);
    session->input_parsed = 0;
}

/* False: what comes between STARTTLS or COMPRESS and the change of the transport is not ours. */
static bool note_input(struct session *session, size_t length)
{
    assert(length <= session_input_room(session));
    session->octets_in += length;
    session->active = now(session);
    if (session->handover != HANDOVER_NONE || session->state == SESSION_STATE_LOGOUT || length == 0)
        return false;
    compact_input(session);
    return true;
}

void session_input(struct session *session, const void *data, size_t length)
{
    if (!note_input(session, length))
        return;
    if (session->input == NULL)
        session->input = g_byte_array_sized_new((guint)length);
    g_byte_array_append(session->input, data, (guint)length);
}

void session_input_take(struct session *session, GByteArray *input)
{
    bool ours = note_input(session, input->len);

    if (ours && session->input == NULL) {
        session->input = input;
        return;
    }
    if (ours)
        g_byte_array_append(session->input, input->data, input->len);
    explicit_bzero(input->data, input->len);
    g_byte_array_unref(input);
}

bool session_read_line(struct session *session, size_t limit, const char **line, bool *too_long)
{
    *too_long = false;
    if (input_length(session) == 0)
        return false;
    size_t used = 0;
    bool whole = parser_feed_line(session->parser, session->input->data + session->input_parsed,
                                  input_length(session), limit, &used, line, too_long);
    session->input_parsed += used;
    return whole || *too_long;
}

/* --- running commands --- */

static void refuse_state(struct session *session)
{
    const char *text = "The mailbox must be selected first";
    if (session->state == SESSION_STATE_NOT_AUTHENTICATED)
        text = "Log in first";
    else if (session->run.spec->states == SESSION_STATE_NOT_AUTHENTICATED)
        text = "Already logged in";
    session_finish(session, &session->run, "BAD", NULL, text);
    clear_run(session);
}

static void begin_run(struct session *session, struct command *command)
{
    struct run *run = &session->run;
    run->command = command;
    run->spec = command_spec(command->kind);
    run->started = session->slice;
    run->begun = now(session);
    session->commands++;
    session->ran = RUN_AGAIN;
    if ((run->spec->states & session->state) == 0) {
        refuse_state(session);
    } else if (run->spec->changes && session->read_only) {
        session_finish(session, run, "NO", "READ-ONLY",
                       mailbox_is_past(session->mailbox)
                           ? "The past can't be changed; COPY messages out of it to restore them"
                           : "The mailbox is open for reading only");
        clear_run(session);
    }
}

static void step_run(struct session *session)
{
    session->ran = session->run.spec->run(session, &session->run);
    if (session->ran == RUN_DONE)
        clear_run(session);
}

static void refuse_syntax(struct session *session, bool fatal)
{
    const struct parser_error *error = parser_error(session->parser);
    if (fatal) {
        session_bye(session, error->too_big ? "TOOBIG" : NULL, error->text);
        return;
    }
    GString *out = session_out(session);
    g_string_append_printf(out, "%s %s ", error->tag, error->bad_name ? "NO" : "BAD");
    if (error->bad_name)
        g_string_append(out, "[CANNOT] ");
    if (error->too_big)
        g_string_append(out, "[TOOBIG] ");
    response_text(out, error->text, session->utf8);
    g_string_append(out, "\r\n");
    session->bad_in_a_row++;
    if (session->host->command_done != NULL)
        session->host->command_done(session->host->data, COMMAND_UNKNOWN, "BAD", 0);
    session_log(session, SESSION_LOG_DEBUG, "event=syntax text=\"%s\"", error->text);
}

/* Parses on. False when more input is needed. */
static bool take_event(struct session *session)
{
    if (input_length(session) == 0)
        return false;
    size_t used = 0;
    enum parser_event event =
        parser_feed(session->parser, session->input->data + session->input_parsed,
                    input_length(session), &used);
    session->input_parsed += used;
    switch (event) {
    case PARSER_MORE:
        return input_length(session) > 0;
    case PARSER_COMMAND:
        begin_run(session, parser_take_command(session->parser));
        return true;
    case PARSER_CONTINUE:
        g_string_append(session_out(session), "+ OK\r\n");
        return true;
    case PARSER_MESSAGE_BEGIN:
        append_message_begin(session);
        return true;
    case PARSER_MESSAGE_DATA:
        append_message_data(session);
        return true;
    case PARSER_MESSAGE_END:
        append_message_end(session);
        return true;
    case PARSER_BAD:
    case PARSER_FATAL:
        refuse_syntax(session, event == PARSER_FATAL);
        return true;
    }
    return false;
}

/* What may end the conversation, or has. */
static void check_end(struct session *session)
{
    bool before = session->state == SESSION_STATE_NOT_AUTHENTICATED;
    bool running = session->run.command != NULL && (session->ran == RUN_AGAIN || session->storing);
    if (session->farewell != NULL && !running)
        session_bye(session, NULL, session->farewell);
    else if (session->bad_in_a_row >= (before ? BAD_BEFORE_LOGIN_MAX : BAD_MAX))
        session_bye(session, NULL, "Too many bad commands");
}

static bool is_over(struct session *session, enum session_status *status)
{
    check_end(session);
    if (session->state == SESSION_STATE_LOGOUT)
        *status = SESSION_CLOSED;
    else if (session->handover == HANDOVER_STARTTLS)
        *status = SESSION_STARTTLS;
    else if (session->handover == HANDOVER_COMPRESS)
        *status = SESSION_COMPRESS;
    else if (session_output_is_high(session))
        *status = SESSION_WAITING;
    else if (session->ran == RUN_AGAIN && now(session) - session->slice > SESSION_SLICE)
        *status = SESSION_RUNNABLE;
    else
        return false;
    return true;
}

static enum session_status step(struct session *session)
{
    enum session_status status = SESSION_WAITING;
    while (!is_over(session, &status)) {
        if (session->literal.stream != NULL) {
            session_pump(session);
        } else if (session->run.command != NULL) {
            step_run(session);
            if (session->ran == RUN_WAIT) {
                if (session->farewell == NULL)
                    return SESSION_WAITING;
            } else if (session->ran == RUN_AGAIN) {
                return session_output_is_high(session) ? SESSION_WAITING : SESSION_RUNNABLE;
            }
        } else if (!take_event(session)) {
            return SESSION_WAITING;
        } else if (now(session) - session->slice > SESSION_SLICE) {
            return SESSION_RUNNABLE;
        }
    }
    return status;
}

/* What was put out since then of messages that the store found lost meanwhile is not sent, and the
 * session is over. */
static bool is_damaged(struct session *session, size_t waiting)
{
    if (session->account == NULL || account_losses(session->account) == session->losses)
        return false;
    session_output_cut(session, waiting);
    if (session->state != SESSION_STATE_LOGOUT) {
        session_log(session, SESSION_LOG_ERROR,
                    "event=broken-off detail=\"a mailbox is damaged, on the "
                    "disk and in its cache; annal verify tells which\"");
        send_away(session);
    }
    return true;
}

enum session_status session_step(struct session *session)
{
    size_t waiting = session_output_waiting(session);
    session->slice = now(session);
    session->run.started = session->slice;
    if (session->slice >= session_deadline(session))
        session_bye(session, NULL,
                    session->state == SESSION_STATE_NOT_AUTHENTICATED
                        ? "Too long without a login"
                        : "Too long without a command");
    enum session_status status = step(session);
    if (is_damaged(session, waiting))
        status = SESSION_CLOSED;
    compact_input(session);
    return status;
}

int64_t session_deadline(const struct session *session)
{
    if (session->state == SESSION_STATE_LOGOUT)
        return INT64_MAX;
    if (session->state == SESSION_STATE_NOT_AUTHENTICATED)
        return session->created + session->settings->login_timeout;
    return session->active + session->settings->idle_timeout;
}

/* --- events from outside --- */

void session_tls_started(struct session *session)
{
    assert(session->handover == HANDOVER_STARTTLS);
    session->handover = HANDOVER_NONE;
    session->tls = true;
}

void session_compressed(struct session *session)
{
    assert(session->handover == HANDOVER_COMPRESS);
    session->handover = HANDOVER_NONE;
    session->compressed = true;
}

void session_authenticated(struct session *session, struct store *store, const char *user)
{
    if (session->state == SESSION_STATE_LOGOUT)
        return;
    assert(session->login == LOGIN_PENDING);
    session->login = LOGIN_GOOD;
    session->login_store = store;
    g_free(session->login_user);
    session->login_user = g_strdup(user);
}

void session_authentication_failed(struct session *session, const char *reason)
{
    if (session->state == SESSION_STATE_LOGOUT)
        return;
    assert(session->login == LOGIN_PENDING);
    session->login = LOGIN_BAD;
    session->login_reason = g_strdup(reason);
}

void session_notify(struct session *session)
{
    if (!session->idling || session_output_is_high(session))
        return;
    size_t waiting = session_output_waiting(session);
    session_sync(session, SYNC_FULL);
    is_damaged(session, waiting);
}

void session_shut_down(struct session *session, const char *text)
{
    if (session->farewell == NULL)
        session->farewell = g_strdup(text);
}

void session_abort(struct session *session)
{
    if (session->out != NULL) {
        g_string_free(session->out, TRUE);
        session->out = NULL;
    }
    g_queue_clear_full(&session->output, (GDestroyNotify)g_bytes_unref);
    session->output_octets = 0;
    session_bye(session, "UNAVAILABLE", "The server can't go on; try again later");
}

static enum session_activity activity_of(const struct session *session)
{
    if (session->idling)
        return SESSION_IDLING;
    switch (session->state) {
    case SESSION_STATE_NOT_AUTHENTICATED:
        return SESSION_LOGGING_IN;
    case SESSION_STATE_AUTHENTICATED:
        return SESSION_LOGGED_IN;
    case SESSION_STATE_SELECTED:
        return SESSION_SELECTED;
    case SESSION_STATE_LOGOUT:
        break;
    }
    return SESSION_ENDING;
}

void session_summarize(const struct session *session, struct session_summary *out)
{
    *out = (struct session_summary){
        .activity = activity_of(session),
        .tls = session->tls,
        .user = session->user,
        .client = session->client,
        .mailbox = session->mailbox != NULL ? mailbox_name(session->mailbox) : NULL,
    };
}

const char *session_user(const struct session *session)
{
    return session->user;
}

struct account *session_account(const struct session *session)
{
    return session->account;
}

bool session_is_idling(const struct session *session)
{
    return session->idling;
}

bool session_is_storing(const struct session *session)
{
    return session->storing;
}

bool session_can_go_on(const struct session *session)
{
    return session->storing && append_is_ready(session->run.command);
}
