/* APPEND (RFC 3501 6.3.11) of one or many messages (RFC 3502).
 *
 * A message's octets go to a spool as they come. What can be refused is refused when a literal is
 * announced, before its octets are asked for. A failure on the way is kept with the message, whose
 * other octets are dropped, and answered when the command is complete.
 *
 * A literal8 (RFC 3516) is stored as it is. With a NUL in it, it is refused as that RFC says:
 * BODY[] could not hand out such a message without another encoding, and so not octet by octet.
 *
 * 8-bit header fields are taken also without UTF8=ACCEPT: clients that copy mail from elsewhere
 * must not lose what they can't mend.
 */
#include <assert.h>

#include "server/message_summary.h"
#include "server/past_name.h"
#include "server/session_private.h"

/* Of all messages of one command. */
enum { APPEND_MEMORY_MAX = 32 * 1024 * 1024 };          /* octets in memory */
#define APPEND_TOTAL_MAX (UINT64_C(1024) * 1024 * 1024) /* octets in all */
/* Octets of a message sent without waiting, for which there is room is asked once, at the end. */
enum { APPEND_QUOTA_LATE_MAX = 64 * 1024 };

struct incoming {
    struct spool *spool;
    struct store_error error; /* code STORE_OK: none */
    bool is_binary;           /* it has a NUL */
};

void append_message_free(void *message)
{
    struct incoming *incoming = message;
    if (incoming == NULL)
        return;
    spool_free(incoming->spool);
    g_free(incoming);
}

static struct append_message *last_message(const struct command *command)
{
    GArray *messages = command->append.messages;
    assert(messages->len > 0);
    return &g_array_index(messages, struct append_message, messages->len - 1);
}

static bool total_is_too_big(const struct command *command)
{
    const GArray *messages = command->append.messages;
    uint64_t memory = 0;
    uint64_t total = 0;
    for (guint i = 0; i < messages->len; i++) {
        uint64_t size = g_array_index(messages, struct append_message, i).size;
        total += size;
        memory += size <= SPOOL_MEMORY_MAX ? size : 0;
        if (memory > APPEND_MEMORY_MAX || total > APPEND_TOTAL_MAX)
            return true;
    }
    return false;
}

/* RFC 9208 4.2: with all messages of the command so far. */
static bool is_over_quota(struct session *session, const struct command *command)
{
    const GArray *messages = command->append.messages;
    uint64_t total = 0;
    for (guint i = 0; i < messages->len; i++)
        total += g_array_index(messages, struct append_message, i).size;
    return session_is_over_quota(session, messages->len, total);
}

/* Whether a refusal now, rather than when the octets are there, spares somebody something. */
static bool is_asked_first(const struct session *session, const struct append_message *message)
{
    return parser_message_synchronising(session->parser) || message->size > APPEND_QUOTA_LATE_MAX;
}

/* RFC 3502 6.3.11: a message of no octets cancels the command. */
static bool refuse_message(struct session *session, struct run *run)
{
    const struct append_message *message = last_message(run->command);
    struct store_error error = {STORE_OK, ""};
    if ((run->spec->states & session->state) == 0) {
        session_finish(session, run, "BAD", NULL, "Log in first");
    } else if (message->size == 0) {
        session_finish(session, run, "NO", NULL, "A message has at least one octet");
    } else if (message->size > session->settings->append_limit) {
        session_finish(session, run, "NO", "TOOBIG", "The message is too big");
    } else if (total_is_too_big(run->command)) {
        session_finish(session, run, "NO", "LIMIT", "Too much for one command");
    } else if (message->utf8 && !session->utf8) {
        session_finish(session, run, "BAD", NULL, "UTF8 needs ENABLE UTF8=ACCEPT");
    } else if (past_name_is_past(session, run->command->append.mailbox)) {
        past_name_refuse(session, run, run->command->append.mailbox);
    } else if (run->command->append.messages->len == 1 &&
               !account_mailbox_exists(session->account, run->command->append.mailbox)) {
        store_error_set(&error, STORE_NOT_FOUND, "no mailbox to append to");
        session_fail(session, run, &error, true);
    } else if (is_asked_first(session, message) && is_over_quota(session, run->command)) {
        session_finish(session, run, "NO", "OVERQUOTA", "The account is full");
    } else {
        return false;
    }
    return true;
}

void append_message_begin(struct session *session)
{
    struct command *command = parser_message(session->parser);
    struct run run = {.command = command, .spec = command_spec(COMMAND_APPEND)};
    if (refuse_message(session, &run)) {
        parser_message_refuse(session->parser);
        return;
    }
    struct append_message *message = last_message(command);
    struct incoming *incoming = g_new0(struct incoming, 1);
    if (account_spool(session->account, message->size, &incoming->spool, &incoming->error) != 0) {
        session_fail(session, &run, &incoming->error, false);
        append_message_free(incoming);
        parser_message_refuse(session->parser);
        return;
    }
    message->message = incoming;
    if (parser_message_synchronising(session->parser))
        g_string_append(session_out(session), "+ OK\r\n");
    parser_message_accept(session->parser);
}

void append_message_data(struct session *session)
{
    struct incoming *incoming = last_message(parser_message(session->parser))->message;
    const uint8_t *data = NULL;
    size_t length = 0;
    parser_message_data(session->parser, &data, &length);
    if (incoming->error.code == STORE_OK &&
        spool_write(incoming->spool, data, length, &incoming->error) != 0) {
        spool_free(incoming->spool);
        incoming->spool = NULL;
    }
}

void append_message_end(struct session *session)
{
    struct incoming *incoming = last_message(parser_message(session->parser))->message;
    if (incoming->error.code != STORE_OK)
        return;
    if (spool_has_nul(incoming->spool)) {
        incoming->is_binary = true;
        store_error_set(&incoming->error, STORE_BAD_MESSAGE, "NUL in a literal");
    } else {
        /* The disk begins with it before the command is whole. */
        spool_is_ready(incoming->spool);
    }
}

bool append_is_ready(const struct command *command)
{
    const GArray *messages = command->append.messages;
    for (guint i = 0; i < messages->len; i++) {
        const struct incoming *incoming = g_array_index(messages, struct append_message, i).message;
        if (incoming->spool != NULL && !incoming->is_binary && !spool_is_ready(incoming->spool))
            return false;
    }
    return true;
}

/* --- the whole command --- */

static const struct incoming *first_failed(const GArray *messages)
{
    for (guint i = 0; i < messages->len; i++) {
        const struct incoming *incoming = g_array_index(messages, struct append_message, i).message;
        if (incoming->error.code != STORE_OK)
            return incoming;
    }
    return NULL;
}

static const char *const *keyword_vector(const struct command_flags *flags)
{
    size_t count = flags->keywords == NULL ? 0 : flags->keywords->len;
    const char **keywords = g_new0(const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        keywords[i] = g_ptr_array_index(flags->keywords, i);
    return keywords;
}

static struct append *make_appends(const GArray *messages, int64_t now)
{
    struct append *appends = g_new0(struct append, messages->len);
    for (guint i = 0; i < messages->len; i++) {
        const struct append_message *message = &g_array_index(messages, struct append_message, i);
        const struct incoming *incoming = message->message;
        appends[i] = (struct append){
            .spool = incoming->spool,
            .keywords = keyword_vector(&message->flags),
            .flags = message->flags.system,
            .internal_date = message->has_date ? message->date : now / G_USEC_PER_SEC,
            .zone = message->has_date ? message->zone : 0,
        };
    }
    return appends;
}

static void free_appends(struct append *appends, size_t count)
{
    for (size_t i = 0; i < count; i++)
        g_free((gpointer)appends[i].keywords);
    g_free(appends);
}

static int append_all(struct session *session, const struct run *run, struct mailbox *mailbox,
                      uint32_t *first_uid, struct store_error *error)
{
    const GArray *messages = run->command->append.messages;
    struct origin origin;
    session_origin(session, run, &origin);
    struct append *appends = make_appends(messages, origin.time);
    int code = mailbox_append(mailbox, appends, messages->len, &origin, first_uid, error);
    for (guint i = 0; i < messages->len && code == 0; i++)
        message_summary_delivered(session->account, appends[i].spool);
    free_appends(appends, messages->len);
    return code;
}

static enum run_status finish_append(struct session *session, struct run *run,
                                     const struct mailbox *mailbox, uint32_t first_uid)
{
    size_t count = run->command->append.messages->len;
    GString *code = g_string_new("APPENDUID ");
    g_string_append_printf(code, "%" G_GUINT32_FORMAT " %" G_GUINT32_FORMAT,
                           snapshot_uid_validity(mailbox_snapshot(mailbox)), first_uid);
    if (count > 1)
        g_string_append_printf(code, ":%" G_GUINT32_FORMAT, first_uid + (uint32_t)count - 1);
    session_finish(session, run, "OK", code->str, "Appended");
    g_string_free(code, TRUE);
    return RUN_DONE;
}

enum run_status run_append(struct session *session, struct run *run)
{
    const struct incoming *failed = first_failed(run->command->append.messages);
    if (failed != NULL && failed->is_binary)
        return session_finish(session, run, "NO", "UNKNOWN-CTE", "A message can't hold a NUL");
    if (failed != NULL)
        return session_fail(session, run, &failed->error, false);
    /* Others may have filled the account while the octets came. */
    if (is_over_quota(session, run->command))
        return session_finish(session, run, "NO", "OVERQUOTA", "The account is full");
    session->storing = session->farewell == NULL && !append_is_ready(run->command);
    if (session->storing)
        return RUN_WAIT;
    struct store_error error = {STORE_OK, ""};
    struct mailbox *mailbox = NULL;
    if (account_open_mailbox(session->account, run->command->append.mailbox, &mailbox, &error) != 0)
        return session_fail(session, run, &error, true);
    uint32_t first_uid = 0;
    if (append_all(session, run, mailbox, &first_uid, &error) != 0)
        session_fail(session, run, &error, error.code == STORE_NOT_FOUND);
    else
        finish_append(session, run, mailbox, first_uid);
    mailbox_unref(mailbox);
    return RUN_DONE;
}
