#include "server/lmtp_session.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "protocol/lmtp.h"
#include "store/delivered.h"

enum { SHOWN_ADDRESS_MAX = 400 }; /* octets of an address that a reply repeats */

enum lmtp_state {
    STATE_GREETED,
    STATE_READY,
    STATE_SENDER,
    STATE_RECIPIENTS,
    STATE_ASKING,
    STATE_MESSAGE,
    STATE_CHUNK,
    STATE_BETWEEN, /* chunks */
    STATE_DELIVERING,
    STATE_CLOSED,
};

/* A recipient that was accepted, in the order of the replies. */
struct lmtp_recipient {
    char *address;
    char *user;
    char *detail;   /* NULL: none */
    guint delivery; /* which of the transaction's, and which of its recipients */
    guint place;
};

struct lmtp_session {
    const struct lmtp_settings *settings;
    const struct lmtp_host *host;
    char *id;
    char *peer;
    char *client; /* as it named itself; NULL before LHLO */
    struct lmtp_parser *parser;
    GByteArray *input;
    size_t input_used;
    GString *output;
    enum lmtp_state state;
    int64_t active; /* host time of the last input */
    unsigned bad;   /* commands in a row */
    bool stopping;

    char *sender; /* NULL: no transaction */
    bool smtputf8;
    uint64_t announced;          /* octets, by SIZE; 0: not announced */
    GArray *recipients;          /* struct lmtp_recipient */
    struct lmtp_recipient asked; /* ASKING: whose account is looked at */
    struct stash *stash;
    struct delivered_sum *sum;   /* of what is in it */
    uint64_t octets;             /* of the message that came, kept or not */
    enum delivery_result failed; /* DELIVERY_OPEN: the message is good */
    bool discard;                /* a chunk that belongs to no transaction */
    bool last;                   /* the chunk under way */
};

/* --- output --- */

static void say(struct lmtp_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct lmtp_session *session, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_string_append_vprintf(session->output, format, arguments);
    va_end(arguments);
    g_string_append(session->output, "\r\n");
}

/* The code of a failure and what it means; DELIVERY_DONE and DELIVERY_AGAIN are none. */
static const char *failure(const struct lmtp_session *session, enum delivery_result result,
                           const char **text)
{
    switch (result) {
    case DELIVERY_NO_USER:
        *text = "There is no such user here";
        return "550 5.1.1";
    case DELIVERY_NO_MAILBOX:
        *text = "There is no such mailbox";
        return "550 5.2.1";
    case DELIVERY_OVER_QUOTA:
        *text = "The mailbox is full";
        return session->settings->over_quota_is_final ? "552 5.2.2" : "452 4.2.2";
    case DELIVERY_TOO_BIG:
        *text = "The message is too big";
        return "552 5.3.4";
    case DELIVERY_NO_SPACE:
        *text = "No space left";
        return "452 4.3.1";
    case DELIVERY_OPEN:
    case DELIVERY_DONE:
    case DELIVERY_AGAIN:
    case DELIVERY_TROUBLE:
    case DELIVERY_RESULT_COUNT:
        break;
    }
    *text = "It can't be stored now";
    return "451 4.3.0";
}

/* RFC 5321 4.5.3.1.5: a reply line has room for 512 octets; replies stand in the order of the
 * recipients anyway. */
static void say_of(struct lmtp_session *session, const char *code, const char *address,
                   const char *text)
{
    if (strlen(address) <= SHOWN_ADDRESS_MAX)
        say(session, "%s <%s> %s", code, address, text);
    else
        say(session, "%s %s", code, text);
}

static void reply(struct lmtp_session *session, const char *address, enum delivery_result result)
{
    const char *text;

    if (result == DELIVERY_DONE || result == DELIVERY_AGAIN) {
        char *done = g_strdup_printf("%s %s", session->id,
                                     result == DELIVERY_DONE ? "Delivered" : "Delivered before");

        say_of(session, "250 2.0.0", address, done);
        g_free(done);
    } else {
        const char *code = failure(session, result, &text);

        say_of(session, code, address, text);
    }
}

static void log_event(const struct lmtp_session *session, const char *event, const char *address)
{
    session->host->log(session->host->data, session->id, event, address);
}

/* --- the state --- */

static void set_state(struct lmtp_session *session, enum lmtp_state state)
{
    enum lmtp_state from = session->state;

    assert(from != STATE_CLOSED || state == STATE_CLOSED);
    assert(state != STATE_SENDER || from == STATE_READY || from == STATE_ASKING);
    assert(state != STATE_ASKING || from == STATE_SENDER || from == STATE_RECIPIENTS);
    assert(state != STATE_RECIPIENTS || from == STATE_SENDER || from == STATE_RECIPIENTS ||
           from == STATE_ASKING);
    assert(state != STATE_MESSAGE || from == STATE_RECIPIENTS);
    assert(state != STATE_DELIVERING || from == STATE_MESSAGE || from == STATE_CHUNK);
    (void)from;
    session->state = state;
}

static void recipient_clear(void *data)
{
    struct lmtp_recipient *recipient = data;

    g_free(recipient->address);
    g_free(recipient->user);
    g_free(recipient->detail);
}

/* Forgets the transaction. */
static void reset(struct lmtp_session *session)
{
    g_clear_pointer(&session->sender, g_free);
    g_array_set_size(session->recipients, 0);
    g_clear_pointer(&session->stash, stash_free);
    g_clear_pointer(&session->sum, delivered_sum_free);
    session->octets = 0;
    session->announced = 0;
    session->failed = DELIVERY_OPEN;
    session->smtputf8 = false;
    if (session->state != STATE_GREETED && session->state != STATE_CLOSED)
        set_state(session, STATE_READY);
}

static void finish(struct lmtp_session *session, const char *text)
{
    say(session, "%s", text);
    set_state(session, STATE_CLOSED);
}

struct lmtp_session *lmtp_session_new(const struct lmtp_settings *settings,
                                      const struct lmtp_host *host, const char *id,
                                      const char *peer)
{
    struct lmtp_session *session = g_new0(struct lmtp_session, 1);

    session->settings = settings;
    session->host = host;
    session->id = g_strdup(id);
    session->peer = g_strdup(peer);
    session->parser = lmtp_parser_new();
    session->input = g_byte_array_new();
    session->output = g_string_new(NULL);
    session->recipients = g_array_new(FALSE, TRUE, sizeof(struct lmtp_recipient));
    g_array_set_clear_func(session->recipients, recipient_clear);
    session->active = host->now(host->data);
    say(session, "220 %s LMTP Annal ready", settings->hostname);
    return session;
}

void lmtp_session_free(struct lmtp_session *session)
{
    if (session == NULL)
        return;
    lmtp_parser_free(session->parser);
    g_byte_array_unref(session->input);
    g_string_free(session->output, TRUE);
    g_array_unref(session->recipients);
    recipient_clear(&session->asked);
    stash_free(session->stash);
    delivered_sum_free(session->sum);
    g_free(session->sender);
    g_free(session->client);
    g_free(session->id);
    g_free(session->peer);
    g_free(session);
}

/* --- recipients --- */

/* Looks for the user with this name, or with this name in lower case; *found is then a new string.
 */
static enum lmtp_user look_up(const struct lmtp_session *session, const char *name, char **found)
{
    const struct lmtp_host *host = session->host;
    char *lower = g_ascii_strdown(name, -1);
    enum lmtp_user user = LMTP_USER_UNKNOWN;

    if (store_user_name_valid(name))
        user = host->user(host->data, name);
    if (user == LMTP_USER_KNOWN)
        *found = g_strdup(name);
    else if (user == LMTP_USER_UNKNOWN && strcmp(lower, name) != 0 && store_user_name_valid(lower))
        user = host->user(host->data, lower);
    if (user == LMTP_USER_KNOWN && *found == NULL)
        *found = g_strdup(lower);
    g_free(lower);
    return user;
}

/* local@host, or else local alone; but not "bob@example.org"@host for bob@example.org. */
static enum lmtp_user look_up_both(const struct lmtp_session *session, const char *local,
                                   const char *host, char **found)
{
    enum lmtp_user user = LMTP_USER_UNKNOWN;

    if (strchr(local, '@') != NULL)
        return user;
    if (host != NULL) {
        char *address = g_strdup_printf("%s@%s", local, host);

        user = look_up(session, address, found);
        g_free(address);
    }
    return user == LMTP_USER_UNKNOWN ? look_up(session, local, found) : user;
}

/* Whoever is named by the whole local part goes before the one that is named by its part before the
 * delimiter. */
static enum lmtp_user find_user(const struct lmtp_session *session,
                                const struct lmtp_command *command,
                                struct lmtp_recipient *recipient)
{
    char delimiter = session->settings->delimiter;
    const char *split = delimiter != '\0' ? strchr(command->local, delimiter) : NULL;
    enum lmtp_user user = look_up_both(session, command->local, command->host, &recipient->user);

    if (user == LMTP_USER_UNKNOWN && split != NULL && split > command->local) {
        char *base = g_strndup(command->local, (size_t)(split - command->local));

        user = look_up_both(session, base, command->host, &recipient->user);
        if (user == LMTP_USER_KNOWN)
            recipient->detail = g_strdup(split + 1);
        g_free(base);
    }
    return user;
}

/* Takes the recipient. */
static void accept_recipient(struct lmtp_session *session, const struct lmtp_recipient *recipient)
{
    g_array_append_vals(session->recipients, recipient, 1);
    set_state(session, STATE_RECIPIENTS);
    say(session, "250 2.1.5 OK");
}

/* Takes the recipient. */
static void refuse_full(struct lmtp_session *session, struct lmtp_recipient *recipient)
{
    log_event(session, "full-recipient", recipient->address);
    reply(session, recipient->address, DELIVERY_OVER_QUOTA);
    recipient_clear(recipient);
}

static bool has_account(const struct lmtp_session *session, const char *user)
{
    for (guint i = 0; i < session->recipients->len; i++)
        if (strcmp(g_array_index(session->recipients, struct lmtp_recipient, i).user, user) == 0)
            return true;
    return false;
}

/* Takes the recipient. An account that has been looked at for this message is not looked at again.
 */
static void check_room(struct lmtp_session *session, struct lmtp_recipient *recipient)
{
    const struct lmtp_host *host = session->host;
    enum lmtp_room room = LMTP_ROOM_GOOD;

    if (!has_account(session, recipient->user))
        room = host->room(host->data, session, recipient->user, MAX(session->announced, 1));
    switch (room) {
    case LMTP_ROOM_GOOD:
        accept_recipient(session, recipient);
        break;
    case LMTP_ROOM_ASKED:
        session->asked = *recipient;
        set_state(session, STATE_ASKING);
        break;
    }
}

void lmtp_session_room_told(struct lmtp_session *session, bool full)
{
    struct lmtp_recipient recipient = session->asked;

    assert(session->state == STATE_ASKING);
    session->asked = (struct lmtp_recipient){0};
    /* The client could say nothing meanwhile. */
    session->active = session->host->now(session->host->data);
    if (full) {
        set_state(session, session->recipients->len > 0 ? STATE_RECIPIENTS : STATE_SENDER);
        refuse_full(session, &recipient);
    } else {
        accept_recipient(session, &recipient);
    }
}

static void run_rcpt(struct lmtp_session *session, const struct lmtp_command *command)
{
    struct lmtp_recipient recipient = {0};

    if (session->state != STATE_SENDER && session->state != STATE_RECIPIENTS) {
        say(session, "503 5.5.1 Say MAIL first");
        return;
    }
    if (session->recipients->len >= LMTP_RECIPIENTS_MAX) {
        say(session, "452 4.5.3 Too many recipients");
        return;
    }
    if (command->is_utf8 && !session->smtputf8) {
        say(session, "553 5.6.7 This address needs SMTPUTF8");
        return;
    }
    switch (find_user(session, command, &recipient)) {
    case LMTP_USER_KNOWN:
        break;
    case LMTP_USER_UNKNOWN:
        log_event(session, "unknown-recipient", command->text);
        reply(session, command->text, DELIVERY_NO_USER);
        return;
    case LMTP_USER_TROUBLE:
        say_of(session, "451 4.3.0", command->text, "The users can't be looked up now");
        return;
    }
    recipient.address = g_strdup(command->text);
    check_room(session, &recipient);
}

/* --- the message --- */

static void append_date(GString *out, int64_t seconds)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t time = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&time, &tm) == NULL)
        memset(&tm, 0, sizeof tm);
    g_string_append_printf(out, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday % 7],
                           tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour,
                           tm.tm_min, tm.tm_sec);
}

/* address-literal, of a client that has an address. */
static void append_peer(GString *out, const char *peer)
{
    if (strchr(peer, ':') != NULL)
        g_string_append_printf(out, "[IPv6:%s]", peer);
    else if (g_ascii_isdigit(*peer))
        g_string_append_printf(out, "[%s]", peer);
    else
        g_string_append(out, peer);
}

/* RFC 5321 4.4; "for" would tell the recipients of each other. */
static char *received_field(const struct lmtp_session *session, int64_t now)
{
    GString *field = g_string_new(NULL);

    g_string_append_printf(field, "Received: from %s (", session->client);
    append_peer(field, session->peer);
    g_string_append_printf(field, ")\r\n\tby %s with %s id %s;\r\n\t", session->settings->hostname,
                           session->smtputf8 ? "UTF8LMTP" : "LMTP", session->id);
    append_date(field, now / G_USEC_PER_SEC);
    g_string_append(field, "\r\n");
    return g_string_free(field, FALSE);
}

static struct mail *make_mail(struct lmtp_session *session)
{
    int64_t now = session->host->now(session->host->data);
    struct mail *mail = mail_new(session->sender, g_steal_pointer(&session->stash), session->sum);

    mail->received = received_field(session, now);
    mail->client = g_strdup_printf("LMTP from %s (%s)", session->client, session->peer);
    mail->session = g_strdup(session->id);
    mail->command = "LMTP";
    mail->time = now;
    return mail;
}

/* One for each account. */
static GPtrArray *make_deliveries(struct lmtp_session *session, struct mail *mail)
{
    GPtrArray *deliveries = g_ptr_array_new_with_free_func((GDestroyNotify)delivery_free);
    GHashTable *users = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < session->recipients->len; i++) {
        struct lmtp_recipient *recipient =
            &g_array_index(session->recipients, struct lmtp_recipient, i);
        struct delivery *delivery;
        gpointer place;

        if (g_hash_table_lookup_extended(users, recipient->user, NULL, &place)) {
            recipient->delivery = GPOINTER_TO_UINT(place);
        } else {
            recipient->delivery = deliveries->len;
            g_ptr_array_add(deliveries, delivery_new(mail, recipient->user));
            g_hash_table_insert(users, recipient->user, GUINT_TO_POINTER(recipient->delivery));
        }
        delivery = g_ptr_array_index(deliveries, recipient->delivery);
        recipient->place = delivery->recipients->len;
        delivery_add(delivery, recipient->address, recipient->detail);
    }
    g_hash_table_unref(users);
    return deliveries;
}

static void reply_all(struct lmtp_session *session, enum delivery_result result)
{
    for (guint i = 0; i < session->recipients->len; i++)
        reply(session, g_array_index(session->recipients, struct lmtp_recipient, i).address,
              result);
}

/* The message is complete. */
static void deliver(struct lmtp_session *session)
{
    struct mail *mail;

    set_state(session, STATE_DELIVERING);
    if (session->failed != DELIVERY_OPEN) {
        reply_all(session, session->failed);
        reset(session);
        return;
    }
    mail = make_mail(session);
    session->host->deliver(session->host->data, session, make_deliveries(session, mail));
    mail_unref(mail);
}

void lmtp_session_delivered(struct lmtp_session *session, const GPtrArray *deliveries)
{
    assert(session->state == STATE_DELIVERING);
    /* The client could say nothing meanwhile. */
    session->active = session->host->now(session->host->data);
    for (guint i = 0; i < session->recipients->len; i++) {
        const struct lmtp_recipient *recipient =
            &g_array_index(session->recipients, struct lmtp_recipient, i);
        const struct delivery *delivery = g_ptr_array_index(deliveries, recipient->delivery);

        reply(session, recipient->address,
              g_array_index(delivery->recipients, struct delivery_recipient, recipient->place)
                  .result);
    }
    reset(session);
}

static void take_octets(struct lmtp_session *session)
{
    const struct lmtp_settings *settings = session->settings;
    size_t length;
    const uint8_t *octets = lmtp_parser_octets(session->parser, &length);

    session->octets += length;
    if (session->discard || session->failed != DELIVERY_OPEN) {
        /* Whoever goes on for ever is sent away. */
        if (session->octets > 4 * settings->message_limit)
            finish(session, "421 4.3.4 The message is much too big");
        return;
    }
    if (session->octets > settings->message_limit)
        session->failed = DELIVERY_TOO_BIG;
    else if (!stash_add(session->stash, octets, length))
        session->failed = errno == ENOSPC || errno == EDQUOT ? DELIVERY_NO_SPACE : DELIVERY_TROUBLE;
    if (session->failed != DELIVERY_OPEN)
        g_clear_pointer(&session->stash, stash_free);
    else
        delivered_sum_add(session->sum, octets, length);
}

static void say_failure(struct lmtp_session *session, enum delivery_result result)
{
    const char *text;
    const char *code = failure(session, result, &text);

    say(session, "%s %s", code, text);
}

static void end_chunk(struct lmtp_session *session)
{
    if (session->discard) {
        session->discard = false;
        session->octets = 0;
        say(session, "503 5.5.1 There is nobody to deliver to");
    } else if (session->last) {
        deliver(session);
    } else {
        set_state(session, STATE_BETWEEN);
        if (session->failed != DELIVERY_OPEN)
            say_failure(session, session->failed);
        else
            say(session, "250 2.0.0 %" G_GUINT64_FORMAT " octets", session->octets);
    }
}

static void take_end(struct lmtp_session *session)
{
    if (session->state == STATE_MESSAGE)
        deliver(session);
    else
        end_chunk(session);
}

/* --- commands --- */

static void run_lhlo(struct lmtp_session *session, const struct lmtp_command *command)
{
    g_free(session->client);
    session->client = g_strdup(command->text);
    if (session->state == STATE_GREETED)
        set_state(session, STATE_READY);
    reset(session);
    say(session,
        "250-%s\r\n250-PIPELINING\r\n250-SIZE %" G_GUINT64_FORMAT
        "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES",
        session->settings->hostname, session->settings->message_limit);
}

static void run_mail(struct lmtp_session *session, const struct lmtp_command *command)
{
    if (session->state == STATE_GREETED) {
        say(session, "503 5.5.1 Say LHLO first");
    } else if (session->state != STATE_READY) {
        say(session, "503 5.5.1 There is a sender already");
    } else if (command->is_utf8 && !command->smtputf8) {
        /* RFC 6531 3.5: 550 here, 553 for RCPT. */
        say(session, "550 5.6.7 This address needs SMTPUTF8");
    } else if (command->has_size && command->size > session->settings->message_limit) {
        say_failure(session, DELIVERY_TOO_BIG);
    } else {
        session->sender = g_strdup(command->text);
        session->announced = command->has_size ? command->size : 0;
        session->smtputf8 = command->smtputf8;
        session->stash = stash_new(session->settings->directory);
        session->sum = delivered_sum_new();
        set_state(session, STATE_SENDER);
        say(session, "250 2.1.0 OK");
    }
}

static void run_data(struct lmtp_session *session)
{
    if (session->state != STATE_RECIPIENTS) {
        say(session, "503 5.5.1 There is nobody to deliver to");
        return;
    }
    set_state(session, STATE_MESSAGE);
    lmtp_parser_data(session->parser);
    say(session, "354 End the message with <CR><LF>.<CR><LF>");
}

/* The octets follow whatever the answer will be. */
static void run_bdat(struct lmtp_session *session, const struct lmtp_command *command)
{
    session->discard = session->state != STATE_RECIPIENTS && session->state != STATE_BETWEEN;
    session->last = command->last;
    if (!session->discard)
        set_state(session, STATE_CHUNK);
    lmtp_parser_chunk(session->parser, command->size);
}

static bool is_malformed(struct lmtp_session *session, const struct lmtp_command *command)
{
    switch (command->problem) {
    case LMTP_GOOD:
        return false;
    case LMTP_LONG_LINE:
        say(session, "500 5.5.2 The line is too long");
        break;
    case LMTP_BAD_LINE:
        say(session, "500 5.5.2 A line ends with CR LF, and holds no others");
        break;
    case LMTP_BAD_SYNTAX:
        say(session, "501 5.5.4 Syntax error in the arguments");
        break;
    case LMTP_BAD_PATH:
        say(session, "501 %s Syntax error in the address",
            command->verb == LMTP_MAIL ? "5.1.7" : "5.1.3");
        break;
    case LMTP_BAD_PARAMETER:
        say(session, "555 5.5.4 There is no such parameter");
        break;
    case LMTP_BAD_VALUE:
        say(session, "501 5.5.4 Syntax error in a parameter");
        break;
    }
    /* Where the commands begin again after a malformed chunk can't be known. */
    if (command->verb == LMTP_BDAT)
        finish(session, "421 4.5.2 Good bye");
    return true;
}

static void run_good(struct lmtp_session *session, const struct lmtp_command *command)
{
    switch (command->verb) {
    case LMTP_LHLO:
        run_lhlo(session, command);
        break;
    case LMTP_HELLO:
        say(session, "500 5.5.1 This is LMTP: say LHLO");
        break;
    case LMTP_MAIL:
        run_mail(session, command);
        break;
    case LMTP_RCPT:
        run_rcpt(session, command);
        break;
    case LMTP_DATA:
        run_data(session);
        break;
    case LMTP_BDAT:
        run_bdat(session, command);
        break;
    case LMTP_RSET:
        reset(session);
        say(session, "250 2.0.0 OK");
        break;
    case LMTP_NOOP:
        say(session, "250 2.0.0 OK");
        break;
    case LMTP_VRFY:
        say(session, "252 2.0.0 Try RCPT");
        break;
    case LMTP_HELP:
        say(session, "214 2.0.0 RFC 2033");
        break;
    case LMTP_QUIT:
        finish(session, "221 2.0.0 Bye");
        break;
    case LMTP_UNKNOWN:
    case LMTP_VERB_COUNT:
        say(session, "500 5.5.1 There is no such command");
        break;
    }
}

static bool is_allowed_between(enum lmtp_verb verb)
{
    return verb == LMTP_BDAT || verb == LMTP_RSET || verb == LMTP_NOOP || verb == LMTP_QUIT ||
           verb == LMTP_LHLO;
}

static void run_command(struct lmtp_session *session)
{
    const struct lmtp_command *command = lmtp_parser_command(session->parser);
    bool bad = command->verb == LMTP_UNKNOWN || command->verb == LMTP_HELLO;

    if (is_malformed(session, command))
        bad = true;
    else if (session->state == STATE_BETWEEN && !is_allowed_between(command->verb))
        say(session, "503 5.5.1 There are chunks to come");
    else
        run_good(session, command);
    session->bad = bad ? session->bad + 1 : 0;
    if (session->bad >= LMTP_BAD_COMMANDS_MAX && session->state != STATE_CLOSED)
        finish(session, "421 4.7.0 Too many bad commands");
}

/* --- steps --- */

/* The host has something to tell first. */
static bool is_busy(const struct lmtp_session *session)
{
    return session->state == STATE_ASKING || session->state == STATE_DELIVERING;
}

size_t lmtp_session_room(const struct lmtp_session *session)
{
    if (session->state == STATE_CLOSED || is_busy(session))
        return 0;
    return LMTP_INPUT_MAX - (session->input->len - session->input_used);
}

void lmtp_session_input(struct lmtp_session *session, const void *data, size_t length)
{
    assert(length <= lmtp_session_room(session));
    if (session->input_used > 0) {
        g_byte_array_remove_range(session->input, 0, (guint)session->input_used);
        session->input_used = 0;
    }
    g_byte_array_append(session->input, data, (guint)length);
    session->active = session->host->now(session->host->data);
}

static void check_time(struct lmtp_session *session)
{
    if (session->stopping)
        finish(session, "421 4.3.2 The server is stopping");
    else if (session->host->now(session->host->data) >= lmtp_session_deadline(session))
        finish(session, "421 4.4.2 You have been silent for too long");
}

enum lmtp_status lmtp_session_step(struct lmtp_session *session)
{
    enum lmtp_parsed parsed = LMTP_OCTETS;

    while (parsed != LMTP_MORE && !is_busy(session) && session->state != STATE_CLOSED) {
        size_t used = 0;

        parsed = lmtp_parser_parse(session->parser, session->input->data + session->input_used,
                                   session->input->len - session->input_used, &used);
        session->input_used += used;
        if (parsed == LMTP_COMMAND)
            run_command(session);
        else if (parsed == LMTP_OCTETS)
            take_octets(session);
        else if (parsed == LMTP_END)
            take_end(session);
    }
    if (!is_busy(session) && session->state != STATE_CLOSED)
        check_time(session);
    if (session->state == STATE_CLOSED)
        return LMTP_STATUS_CLOSED;
    return is_busy(session) ? LMTP_STATUS_BUSY : LMTP_STATUS_WAITING;
}

GBytes *lmtp_session_output(struct lmtp_session *session)
{
    if (session->output->len == 0)
        return NULL;
    GString *said = session->output;

    session->output = g_string_new(NULL);
    return g_string_free_to_bytes(said);
}

int64_t lmtp_session_deadline(const struct lmtp_session *session)
{
    if (is_busy(session) || session->state == STATE_CLOSED)
        return INT64_MAX;
    return session->active + session->settings->idle_timeout;
}

void lmtp_session_shut_down(struct lmtp_session *session)
{
    session->stopping = true;
}
