/* The session's own commands: CAPABILITY NOOP LOGOUT ID STARTTLS AUTHENTICATE LOGIN ENABLE
 * COMPRESS. */
#include <string.h>

#include "protocol/response.h"
#include "server/session_private.h"

enum {
    AUTHENTICATE_LINE_MAX = 4096, /* octets of base64 */
    CLIENT_NAME_MAX = 100,        /* octets of each ID field that is kept */
};

enum run_status run_capability(struct session *session, struct run *run)
{
    GString *out = session_out(session);
    g_string_append(out, "* CAPABILITY ");
    session_write_capabilities(session, out);
    g_string_append(out, "\r\n");
    return session_finish(session, run, "OK", NULL, "Capabilities listed");
}

enum run_status run_noop(struct session *session, struct run *run)
{
    return session_finish(session, run, "OK", NULL, "Done");
}

enum run_status run_logout(struct session *session, struct run *run)
{
    session_unselect(session);
    g_string_append(session_out(session), "* BYE Logging out\r\n");
    session_finish(session, run, "OK", NULL, "Logged out");
    session_set_state(session, SESSION_STATE_LOGOUT);
    return RUN_DONE;
}

/* --- ID (RFC 2971) --- */

static const char *id_value(const GArray *fields, const char *name)
{
    for (guint i = 0; fields != NULL && i < fields->len; i++) {
        const struct id_field *field = &g_array_index(fields, struct id_field, i);
        if (g_ascii_strcasecmp(field->name, name) == 0)
            return field->value;
    }
    return NULL;
}

static void append_printable(GString *out, const char *text)
{
    for (size_t i = 0; text[i] != '\0' && i < CLIENT_NAME_MAX; i++)
        g_string_append_c(out, text[i] >= ' ' && text[i] <= '~' && text[i] != '"' ? text[i] : '?');
}

enum run_status run_id(struct session *session, struct run *run)
{
    const char *name = id_value(run->command->id, "name");
    const char *version = id_value(run->command->id, "version");
    if (name != NULL) {
        GString *client = g_string_new(NULL);
        append_printable(client, name);
        if (version != NULL) {
            g_string_append_c(client, ' ');
            append_printable(client, version);
        }
        g_string_append_printf(client, " (%s)", session->peer);
        g_free(session->client);
        session->client = g_string_free(client, FALSE);
        session_log(session, SESSION_LOG_INFO, "event=id client=\"%s\"", session->client);
    }
    g_string_append(session_out(session), "* ID (\"name\" \"Annal\")\r\n");
    return session_finish(session, run, "OK", NULL, "Pleased to meet you");
}

/* --- changes of the transport --- */

static void hand_over(struct session *session, enum handover handover)
{
    parser_reset(session->parser);
    session_drop_input(session);
    session->handover = handover;
}

enum run_status run_starttls(struct session *session, struct run *run)
{
    if (session->tls)
        return session_finish(session, run, "BAD", NULL, "TLS is active already");
    if (!session->settings->offer_starttls)
        return session_finish(session, run, "BAD", NULL, "STARTTLS is not offered");
    session_finish(session, run, "OK", NULL, "Begin TLS now");
    /* What a client said before TLS may have been another's words (RFC 3501 6.2.1). */
    g_free(session->client);
    session->client = g_strdup(session->peer);
    hand_over(session, HANDOVER_STARTTLS);
    return RUN_DONE;
}

enum run_status run_compress(struct session *session, struct run *run)
{
    if (strcmp(run->command->compress, "DEFLATE") != 0)
        return session_finish(session, run, "NO", "CANNOT", "Only DEFLATE is offered");
    if (session->compressed)
        return session_finish(session, run, "NO", "COMPRESSIONACTIVE", "DEFLATE is active already");
    session_finish(session, run, "OK", NULL, "DEFLATE active");
    hand_over(session, HANDOVER_COMPRESS);
    return RUN_DONE;
}

/* --- login --- */

static enum session_login login_failure(const char *code)
{
    if (strcmp(code, "LIMIT") == 0)
        return SESSION_LOGIN_LIMIT;
    if (strcmp(code, "AUTHENTICATIONFAILED") == 0 || strcmp(code, "AUTHORIZATIONFAILED") == 0)
        return SESSION_LOGIN_PASSWORD;
    return SESSION_LOGIN_UNAVAILABLE;
}

/* The one line for each login. What others read by machine: the fields and their order stay, and
 * those that a client chooses come behind all others. */
static void log_login(const struct session *session, const struct run *run, enum session_login how)
{
    static const char *const reasons[] = {
        [SESSION_LOGIN_OK] = "-",
        [SESSION_LOGIN_PASSWORD] = "password",
        [SESSION_LOGIN_CLEARTEXT] = "cleartext",
        [SESSION_LOGIN_LIMIT] = "limit",
        [SESSION_LOGIN_UNAVAILABLE] = "unavailable",
    };
    const struct session_host *host = session->host;
    const char *version = host->tls_version != NULL ? host->tls_version(host->data) : NULL;
    char *user = g_strescape(session->login_user == NULL ? "" : session->login_user, NULL);

    if (!session->tls)
        version = "no";
    else if (version == NULL)
        version = "yes";
    session_log(session, how == SESSION_LOGIN_OK ? SESSION_LOG_INFO : SESSION_LOG_WARNING,
                "event=login result=%s reason=%s address=%s tls=%s mechanism=%s user=\"%s\" "
                "client=\"%s\"",
                how == SESSION_LOGIN_OK ? "ok" : "failed", reasons[how], session->peer, version,
                run->command->kind == COMMAND_LOGIN ? "LOGIN" : "PLAIN", user, session->client);
    g_free(user);
    if (host->login_done != NULL)
        host->login_done(host->data, how);
}

static enum run_status refuse_login(struct session *session, struct run *run, const char *code,
                                    const char *text)
{
    session->login = LOGIN_NONE;
    session->failed_logins++;
    log_login(session, run, login_failure(code));
    run->logged = true;
    session_finish(session, run, "NO", code, text);
    if (session->failed_logins >= session->settings->login_attempts)
        session_bye(session, NULL, "Too many failed logins");
    return RUN_DONE;
}

static int open_account(struct session *session, const struct run *run, struct store_error *error)
{
    int code =
        store_open_account(session->login_store, session->login_user, &session->account, error);
    if (code != STORE_NOT_FOUND)
        return code;
    struct origin origin;
    session_origin(session, run, &origin);
    code = store_create_account(session->login_store, session->login_user, &origin, error);
    if (code != STORE_OK && code != STORE_EXISTS)
        return code;
    return store_open_account(session->login_store, session->login_user, &session->account, error);
}

static enum run_status enter_account(struct session *session, struct run *run)
{
    session->login = LOGIN_NONE;
    struct store_error error = {STORE_OK, ""};
    if (open_account(session, run, &error) != 0) {
        log_login(session, run, SESSION_LOGIN_UNAVAILABLE);
        return session_fail(session, run, &error, false);
    }
    session->store = session->login_store;
    session->losses = account_losses(session->account);
    session->user = g_strdup(session->login_user);
    session->active = session->host->now(session->host->data);
    session_set_state(session, SESSION_STATE_AUTHENTICATED);
    parser_set_authenticated(session->parser, true);
    log_login(session, run, SESSION_LOGIN_OK);
    GString *code = g_string_new("CAPABILITY ");
    session_write_capabilities(session, code);
    session_finish(session, run, "OK", code->str, "Logged in");
    g_string_free(code, TRUE);
    return RUN_DONE;
}

static enum run_status finish_login(struct session *session, struct run *run)
{
    switch (session->login) {
    case LOGIN_NONE:
    case LOGIN_PENDING:
        return RUN_WAIT;
    case LOGIN_GOOD:
        return enter_account(session, run);
    case LOGIN_BAD:
        if (session->login_reason != NULL)
            return refuse_login(session, run, session->login_reason,
                                "Logging in is not possible now");
        return refuse_login(session, run, "AUTHENTICATIONFAILED", "Authentication failed");
    }
    return RUN_WAIT;
}

static enum run_status begin_login(struct session *session, struct run *run, const char *user,
                                   const char *password)
{
    g_free(session->login_user);
    session->login_user = g_strdup(user);
    g_free(session->login_reason);
    session->login_reason = NULL;
    if (*user == '\0' || *password == '\0')
        return refuse_login(session, run, "AUTHENTICATIONFAILED", "Authentication failed");
    session->login = LOGIN_PENDING;
    session->host->authenticate(session->host->data, session, user, password);
    return finish_login(session, run);
}

static bool login_is_private(const struct session *session)
{
    return session->tls || session->settings->allow_cleartext_login;
}

/* user: NULL if the client has not said. The password that may have come with it is lost anyway. */
static enum run_status refuse_cleartext(struct session *session, struct run *run, const char *user)
{
    g_free(session->login_user);
    session->login_user = g_strdup(user);
    log_login(session, run, SESSION_LOGIN_CLEARTEXT);
    run->logged = true;
    return session_finish(session, run, "NO", "PRIVACYREQUIRED",
                          "Logging in needs TLS: use STARTTLS");
}

enum run_status run_login(struct session *session, struct run *run)
{
    if (session->login != LOGIN_NONE)
        return finish_login(session, run);
    if (!login_is_private(session))
        return refuse_cleartext(session, run, run->command->login.user);
    return begin_login(session, run, run->command->login.user, run->command->login.password);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* RFC 4648 4, nothing added: no white space, whole groups, padding only at the end and over zero
 * bits. out holds at least 3/4 of the text's length. */
static bool base64_decode(char *out, size_t *length, const char *text)
{
    size_t octets = strlen(text);
    *length = 0;
    if (octets % 4 != 0)
        return false;
    for (size_t i = 0; i < octets; i += 4) {
        size_t padding = 0;
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            int digit = base64_digit(text[i + j]);
            bool last = i + 4 == octets && j >= 2;
            if (text[i + j] == '=' && last)
                padding++;
            else if (digit < 0 || padding > 0)
                return false;
            group = group << 6 | (uint32_t)(digit < 0 ? 0 : digit);
        }
        if ((group & ((1u << (8 * padding)) - 1)) != 0)
            return false;
        for (size_t j = 0; j < 3 - padding; j++)
            out[(*length)++] = (char)(group >> (16 - 8 * j));
    }
    return true;
}

/* message = [authzid] NUL authcid NUL passwd (RFC 4616 2) */
static enum run_status login_plain(struct session *session, struct run *run, const char *message,
                                   size_t length)
{
    const char *end = message + length;
    const char *user = memchr(message, '\0', length);
    const char *password = user == NULL ? NULL : memchr(user + 1, '\0', (size_t)(end - user - 1));
    if (password == NULL || memchr(password + 1, '\0', (size_t)(end - password - 1)) != NULL)
        return session_finish(session, run, "BAD", NULL, "Not a PLAIN message");
    user++;
    password++;
    if (!g_utf8_validate(user, -1, NULL) || !g_utf8_validate(password, end - password, NULL))
        return session_finish(session, run, "BAD", NULL, "Not a PLAIN message");
    if (*message != '\0' && strcmp(message, user) != 0) {
        g_free(session->login_user);
        session->login_user = g_strdup(user);
        return refuse_login(session, run, "AUTHORIZATIONFAILED",
                            "Nobody may act for somebody else");
    }
    char *secret = g_strndup(password, (size_t)(end - password));
    enum run_status status = begin_login(session, run, user, secret);
    explicit_bzero(secret, strlen(secret));
    g_free(secret);
    return status;
}

static enum run_status take_response(struct session *session, struct run *run, const char *text)
{
    if (strcmp(text, "=") == 0)
        text = "";
    size_t room = strlen(text) + 1;
    char *message = g_malloc0(room);
    size_t length = 0;
    enum run_status status;
    if (base64_decode(message, &length, text))
        status = login_plain(session, run, message, length);
    else
        status = session_finish(session, run, "BAD", NULL, "Not base64");
    explicit_bzero(message, room);
    g_free(message);
    return status;
}

enum run_status run_authenticate(struct session *session, struct run *run)
{
    if (session->login != LOGIN_NONE)
        return finish_login(session, run);
    if (run->state == NULL) {
        if (strcmp(run->command->authenticate.mechanism, "PLAIN") != 0)
            return session_finish(session, run, "NO", "CANNOT", "Only PLAIN is offered");
        if (!login_is_private(session))
            return refuse_cleartext(session, run, NULL);
        if (run->command->authenticate.initial != NULL)
            return take_response(session, run, run->command->authenticate.initial);
        g_string_append(session_out(session), "+ \r\n");
        run->state = session; /* the challenge is out; nothing to free */
    }
    const char *line = NULL;
    bool too_long = false;
    if (!session_read_line(session, AUTHENTICATE_LINE_MAX, &line, &too_long))
        return RUN_WAIT;
    if (too_long)
        return session_finish(session, run, "BAD", NULL, "The response is too long");
    if (strcmp(line, "*") == 0)
        return session_finish(session, run, "BAD", NULL, "Authentication cancelled");
    return take_response(session, run, line);
}

/* --- ENABLE (RFC 5161, RFC 9051 6.3.1) --- */

enum run_status run_enable(struct session *session, struct run *run)
{
    bool condstore = false;
    bool qresync = false;
    bool utf8 = false;
    bool rev2 = false;
    for (guint i = 0; i < run->command->enable->len; i++) {
        const char *name = g_ptr_array_index(run->command->enable, i);
        condstore = condstore || strcmp(name, "CONDSTORE") == 0;
        qresync = qresync || strcmp(name, "QRESYNC") == 0;
        utf8 = utf8 || strcmp(name, "UTF8=ACCEPT") == 0;
        rev2 = rev2 || strcmp(name, "IMAP4REV2") == 0;
    }
    g_string_append_printf(session_out(session), "* ENABLED%s%s%s%s\r\n",
                           condstore ? " CONDSTORE" : "", qresync ? " QRESYNC" : "",
                           utf8 ? " UTF8=ACCEPT" : "", rev2 ? " IMAP4rev2" : "");
    session->qresync = session->qresync || qresync;
    if (condstore || qresync)
        session_enable_condstore(session);
    session->utf8 = session->utf8 || utf8 || rev2;
    session->rev2 = session->rev2 || rev2;
    if (utf8)
        parser_set_utf8(session->parser, true);
    if (rev2)
        parser_set_rev2(session->parser, true);
    return session_finish(session, run, "OK", NULL, "Enabled");
}
