/* Output: pieces, the end of a command, and errors of the store as responses. */
#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "protocol/response.h"
#include "server/session_private.h"

GString *session_out(struct session *session)
{
    if (session->out == NULL)
        session->out = g_string_sized_new(256);
    return session->out;
}

static void flush_out(struct session *session)
{
    if (session->out == NULL)
        return;
    size_t length = session->out->len;
    GBytes *piece = g_string_free_to_bytes(session->out);
    session->out = NULL;
    if (length == 0) {
        g_bytes_unref(piece);
        return;
    }
    session->output_octets += length;
    g_queue_push_tail(&session->output, piece);
}

void session_out_take(struct session *session, GBytes *piece)
{
    flush_out(session);
    if (g_bytes_get_size(piece) == 0) {
        g_bytes_unref(piece);
        return;
    }
    session->output_octets += g_bytes_get_size(piece);
    g_queue_push_tail(&session->output, piece);
}

GBytes *session_output_take(struct session *session)
{
    if (g_queue_is_empty(&session->output))
        flush_out(session);
    GBytes *piece = g_queue_pop_head(&session->output);
    if (piece == NULL)
        return NULL;
    session->output_octets -= g_bytes_get_size(piece);
    session->octets_out += g_bytes_get_size(piece);
    /* A client that reads a long answer is not idle. */
    if (session->run.command != NULL && !session->idling)
        session->active = session->host->now(session->host->data);
    return piece;
}

size_t session_output_waiting(const struct session *session)
{
    return session->output_octets + (session->out == NULL ? 0 : session->out->len);
}

void session_output_cut(struct session *session, size_t waiting)
{
    flush_out(session);
    while (session->output_octets > waiting) {
        GBytes *piece = g_queue_pop_tail(&session->output);
        size_t length = g_bytes_get_size(piece);
        session->output_octets -= length;
        if (session->output_octets < waiting)
            session_out_take(session,
                             g_bytes_new_from_bytes(piece, 0, waiting - session->output_octets));
        g_bytes_unref(piece);
    }
}

void session_output_unsent(struct session *session, size_t octets)
{
    session->unsent = octets;
}

bool session_output_is_high(const struct session *session)
{
    return session_output_waiting(session) + session->unsent >= SESSION_OUTPUT_HIGH;
}

bool session_should_yield(const struct session *session, const struct run *run)
{
    return session_output_is_high(session) || session->literal.stream != NULL ||
           session->state == SESSION_STATE_LOGOUT ||
           session->host->now(session->host->data) - run->started > SESSION_SLICE;
}

void session_out_stream(struct session *session, struct message_stream *stream, uint32_t uid,
                        uint64_t offset, uint64_t length)
{
    assert(session->literal.stream == NULL && length > 0);
    session->literal = (struct literal){
        .stream = message_stream_ref(stream), .at = offset, .left = length, .uid = uid};
    session_pump(session);
}

void session_out_decoded(struct session *session, struct message_stream *stream, uint32_t uid,
                         const struct structure_content *content, uint64_t offset, uint64_t length)
{
    assert(session->literal.stream == NULL && length > 0);
    session->literal = (struct literal){.stream = message_stream_ref(stream),
                                        .at = content->range.start,
                                        .left = length,
                                        .uid = uid,
                                        .decoder = g_new(struct transfer_decoder, 1),
                                        .end = content->range.start + content->range.length,
                                        .skip = offset};
    transfer_decoder_init(session->literal.decoder, content->encoding, content->lines);
    session_pump(session);
}

void session_drop_literal(struct session *session)
{
    g_clear_pointer(&session->literal.stream, message_stream_unref);
    g_clear_pointer(&session->literal.decoder, g_free);
}

/* What the piece decodes to, of which the literal takes its share. */
static GBytes *decode_piece(struct literal *literal, GBytes *piece)
{
    GByteArray *out = g_byte_array_new();
    gsize size;
    const uint8_t *data = g_bytes_get_data(piece, &size);

    transfer_decode(literal->decoder, out, data, size);
    if (literal->at == literal->end)
        transfer_decode_end(literal->decoder, out);
    g_bytes_unref(piece);
    guint skipped = (guint)MIN(literal->skip, out->len);
    literal->skip -= skipped;
    g_byte_array_remove_range(out, 0, skipped);
    g_byte_array_set_size(out, (guint)MIN(out->len, literal->left));
    return g_byte_array_free_to_bytes(out);
}

/* The next octets that are put out, perhaps none. */
static int next_piece(struct literal *literal, GBytes **out, struct store_error *error)
{
    uint64_t max = literal->decoder != NULL ? literal->end - literal->at : literal->left;

    assert(max > 0);
    int result = message_stream_read(literal->stream, literal->at, max, out, error);
    if (result != 0)
        return result;
    literal->at += g_bytes_get_size(*out);
    if (literal->decoder != NULL)
        *out = decode_piece(literal, *out);
    literal->left -= g_bytes_get_size(*out);
    return 0;
}

void session_pump(struct session *session)
{
    struct literal *literal = &session->literal;
    struct store_error error;

    while (literal->left > 0 && !session_output_is_high(session)) {
        GBytes *piece;

        if (next_piece(literal, &piece, &error) != 0) {
            session_break(session, literal->uid, &error);
            return;
        }
        session_out_take(session, piece);
    }
    if (literal->left == 0)
        session_drop_literal(session);
}

void session_log(const struct session *session, enum session_log_level level, const char *format,
                 ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    session->host->log(session->host->data, level, session->id, line);
    g_free(line);
}

/* RFC 7162 3.2.10.2: expunges must not come where a UID SEARCH asks for message numbers. */
static bool searches_numbers(const struct command *command)
{
    if (command->kind != COMMAND_SEARCH && command->kind != COMMAND_SORT &&
        command->kind != COMMAND_THREAD)
        return false;
    const GArray *program = command->search.program;
    for (guint i = 0; program != NULL && i < program->len; i++) {
        if (g_array_index(program, struct search_key, i).kind == SEARCH_SEQUENCE)
            return true;
    }
    return false;
}

/* HIGHESTMODSEQ where a client of QRESYNC could not conclude it from MODSEQs (RFC 7162 3.2, 3.2.7).
 * Returns the tagged response's code: a new string, or NULL for that of the command. */
static char *tell_modseq(struct session *session, bool has_code)
{
    if (!session->qresync || session->mailbox == NULL || !(session->held || session->modseq_due))
        return NULL;
    char *code = g_strdup_printf("HIGHESTMODSEQ %" G_GUINT64_FORMAT, session_told_modseq(session));
    session->modseq_due = session->held;
    if (!has_code && !session->held)
        return code;
    g_string_append_printf(session_out(session), "* OK [%s] Highest told\r\n", code);
    g_free(code);
    return NULL;
}

static void write_tagged(struct session *session, const struct run *run, const char *status,
                         const char *code, const char *text)
{
    const struct command_spec *spec = run->spec;
    bool by_uid = run->command->uid && !searches_numbers(run->command);
    session_sync(session, by_uid ? spec->uid_sync : spec->sync);
    bool has_code = code != NULL || strcmp(status, "OK") != 0;
    char *modseq = tell_modseq(session, has_code);
    if (modseq != NULL)
        code = modseq;
    GString *out = session_out(session);
    g_string_append_printf(out, "%s %s ", run->command->tag, status);
    if (code != NULL) {
        g_string_append_c(out, '[');
        g_string_append(out, code);
        g_string_append(out, "] ");
    }
    response_text(out, text, session->utf8);
    g_string_append(out, "\r\n");
    g_free(modseq);
    if (session->host->command_done != NULL)
        session->host->command_done(session->host->data, run->command->kind, status,
                                    session->host->now(session->host->data) - run->begun);
}

enum run_status session_finish(struct session *session, struct run *run, const char *status,
                               const char *code, const char *text)
{
    write_tagged(session, run, status, code, text);
    if (strcmp(status, "BAD") == 0)
        session->bad_in_a_row++;
    else
        session->bad_in_a_row = 0;
    /* What is no command may be a password that went astray: it is not logged. */
    const char *verb = run->command->kind == COMMAND_UNKNOWN ? run->spec->name : run->command->verb;
    if (strcmp(status, "OK") != 0 && !run->logged)
        session_log(session, SESSION_LOG_INFO, "event=failed command=\"%s\" status=%s code=%s",
                    verb, status, code == NULL ? "-" : code);
    return RUN_DONE;
}

struct store_answer {
    const char *code;
    const char *text;
    bool ours; /* the admin has to look at it */
};

static struct store_answer answer_to(enum store_code code)
{
    switch (code) {
    case STORE_OK:
        break;
    case STORE_NOT_FOUND:
        return (struct store_answer){"NONEXISTENT", "No such mailbox", false};
    case STORE_EXISTS:
        return (struct store_answer){"ALREADYEXISTS", "That mailbox exists already", false};
    case STORE_BAD_NAME:
        return (struct store_answer){"CANNOT", "That mailbox name can't be used", false};
    case STORE_FORBIDDEN:
        return (struct store_answer){"CANNOT", "That can't be done with this mailbox", false};
    case STORE_HAS_CHILDREN:
        return (struct store_answer){"HASCHILDREN", "The name has others below it", false};
    case STORE_LIMIT:
        return (struct store_answer){"LIMIT", "That would pass a limit", false};
    case STORE_TOO_BIG:
        return (struct store_answer){"TOOBIG", "The message is too big", false};
    case STORE_BAD_MESSAGE:
        return (struct store_answer){"CANNOT", "The message holds octets that can't be kept",
                                     false};
    case STORE_CONFLICT:
        return (struct store_answer){"INUSE", "Somebody else is changing it; try again", true};
    case STORE_CORRUPT:
        return (struct store_answer){"CORRUPTION", "The mailbox is damaged", true};
    case STORE_UNSUPPORTED:
        return (struct store_answer){"CONTACTADMIN", "The mailbox's format is not known", true};
    case STORE_NO_SPACE:
        return (struct store_answer){"OVERQUOTA", "There is no room left", true};
    case STORE_NO_MEMORY:
    case STORE_IO:
        return (struct store_answer){"UNAVAILABLE", "It can't be done now; try again later", true};
    }
    assert(code != STORE_OK);
    return (struct store_answer){"SERVERBUG", "Something went wrong", true};
}

enum run_status session_fail(struct session *session, struct run *run,
                             const struct store_error *error, bool destination)
{
    struct store_answer answer = answer_to(error->code);
    if (destination && error->code == STORE_NOT_FOUND)
        answer.code = "TRYCREATE";
    write_tagged(session, run, "NO", answer.code, answer.text);
    session->bad_in_a_row = 0;
    session_log(session, answer.ours ? SESSION_LOG_ERROR : SESSION_LOG_INFO,
                "event=failed command=\"%s\" status=NO code=%s detail=\"%s\"", run->command->verb,
                answer.code, error->detail);
    return RUN_DONE;
}

void session_origin(const struct session *session, const struct run *run, struct origin *out)
{
    *out = (struct origin){
        .client = session->client,
        .session = session->id,
        .command = run->command->verb,
        .time = session->host->now(session->host->data),
    };
}

void session_write_capabilities(const struct session *session, GString *out)
{
    if (session->state == SESSION_STATE_NOT_AUTHENTICATED) {
        g_string_append(out, "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE");
        if (session->settings->offer_starttls && !session->tls)
            g_string_append(out, " STARTTLS");
        if (session->tls || session->settings->allow_cleartext_login)
            g_string_append(out, " AUTH=PLAIN");
        else
            g_string_append(out, " LOGINDISABLED");
        return;
    }
    /* Not BINARY, though its FETCH items are there (RFC 9051 has them): a message with a NUL, which
     * that lets a client append, could not be given back byte for byte as BODY[]. */
    g_string_append(out,
                    "IMAP4rev1 IMAP4rev2 LITERAL+ ENABLE IDLE ID NAMESPACE UIDPLUS MOVE UNSELECT "
                    "CHILDREN SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS "
                    "STATUS=SIZE ESEARCH SEARCHRES SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT "
                    "THREAD=REFERENCES I18NLEVEL=1 OBJECTID "
                    "CONDSTORE QRESYNC WITHIN UTF8=ACCEPT MULTIAPPEND "
                    "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE");
    g_string_append_printf(out, " APPENDLIMIT=%" G_GUINT64_FORMAT, session->settings->append_limit);
    if (!session->compressed)
        g_string_append(out, " COMPRESS=DEFLATE");
}
