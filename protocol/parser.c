/* The parser's states. A line (up to LF) is collected, then worked on as a whole:
 *
 *     LINE --line end--> LINE          a command, or a syntax error, is told of
 *          --literal---> LITERAL       a small one; its octets join the arguments
 *          --message---> ANNOUNCED     waits for the session
 *          --error-----> SKIP_LITERAL  with a non-synchronising literal at the line's end
 *     LITERAL --all octets--> LINE     --NUL--> SKIP_LITERAL
 *     ANNOUNCED --accept--> MESSAGE    --refuse--> SKIP_LITERAL, or LINE (synchronising)
 *     MESSAGE --all octets--> LINE     --NUL or refuse--> SKIP_LITERAL
 *     SKIP_LITERAL --all octets--> SKIP_LINE
 *     SKIP_LINE --line end--> LINE     --non-synchronising literal--> SKIP_LITERAL
 *     any --endless line--> FATAL
 *
 * In ANNOUNCED and MESSAGE there is a command under way; when skipping there is one only if it is
 * of an unknown kind, whose arguments are skipped whatever they are.
 */
#include "protocol/parser.h"

#include <assert.h>
#include <string.h>

#include "protocol/convert.h"
#include "protocol/lexer.h"
#include "protocol/limits.h"
#include "protocol/literal_gate.h"
#include "protocol/verb.h"

enum parser_state {
    PARSER_STATE_LINE,
    PARSER_STATE_LITERAL,
    PARSER_STATE_ANNOUNCED,
    PARSER_STATE_MESSAGE,
    PARSER_STATE_SKIP_LITERAL,
    PARSER_STATE_SKIP_LINE,
    PARSER_STATE_FATAL,
};

enum { VERB_SHOWN = 32 }; /* octets of an unknown verb that are kept */

struct parser {
    enum parser_state state;
    bool authenticated;
    bool utf8; /* UTF8=ACCEPT */
    bool rev2;
    bool line_handed_out;      /* by parser_feed_line(): wiped at the next call */
    struct secret_buffer line; /* the one being collected; when skipping, its tail */
    size_t line_octets;        /* of the command so far, literals excluded */
    size_t literal_octets;     /* of its small literals */
    uint64_t remaining;        /* octets of the literal */
    bool synchronising;        /* the announced message */
    struct lexer lexer;
    struct command *command; /* under way; NULL before its first line's end */
    struct command *done;    /* to be taken */
    void (*message_free)(void *message);
    const uint8_t *data; /* of the message */
    size_t data_length;
    char tag[LIMIT_TAG + 1];
    struct parser_error error;
};

struct parser *parser_new(void)
{
    struct parser *parser = g_new0(struct parser, 1);

    lexer_init(&parser->lexer);
    return parser;
}

/* Ready for the next command. */
static void start_over(struct parser *parser)
{
    command_free(parser->command);
    parser->command = NULL;
    lexer_clear(&parser->lexer);
    secret_buffer_clear(&parser->line);
    parser->line_octets = 0;
    parser->literal_octets = 0;
    parser->state = PARSER_STATE_LINE;
}

void parser_free(struct parser *parser)
{
    if (parser == NULL)
        return;
    start_over(parser);
    command_free(parser->done);
    lexer_release(&parser->lexer);
    secret_buffer_release(&parser->line);
    g_free(parser);
}

void parser_reset(struct parser *parser)
{
    start_over(parser);
    command_free(parser->done);
    parser->done = NULL;
}

void parser_set_authenticated(struct parser *parser, bool authenticated)
{
    parser->authenticated = authenticated;
}

void parser_set_utf8(struct parser *parser, bool utf8)
{
    parser->utf8 = utf8;
}

void parser_set_rev2(struct parser *parser, bool rev2)
{
    parser->rev2 = rev2;
}

void parser_set_message_free(struct parser *parser, void (*release)(void *message))
{
    parser->message_free = release;
}

struct command *parser_take_command(struct parser *parser)
{
    return g_steal_pointer(&parser->done);
}

const struct parser_error *parser_error(const struct parser *parser)
{
    return &parser->error;
}

struct command *parser_message(struct parser *parser)
{
    return parser->command;
}

bool parser_message_synchronising(const struct parser *parser)
{
    return parser->synchronising;
}

void parser_message_data(const struct parser *parser, const uint8_t **data, size_t *length)
{
    *data = parser->data;
    *length = parser->data_length;
}

/* --- errors and skipping --- */

static void set_error(struct parser *parser, const char *text, bool too_big)
{
    parser->error = (struct parser_error){
        .tag = parser->tag[0] != '\0' ? parser->tag : "*", .text = text, .too_big = too_big};
}

static enum parser_event fatal(struct parser *parser, const char *text)
{
    set_error(parser, text, true);
    start_over(parser);
    parser->state = PARSER_STATE_FATAL;
    return PARSER_FATAL;
}

/* The octets of the literal are the client's, whatever they look like. */
static void skip_literal(struct parser *parser, uint64_t size)
{
    parser->remaining = size;
    secret_buffer_clear(&parser->line);
    parser->state = size > 0 ? PARSER_STATE_SKIP_LITERAL : PARSER_STATE_SKIP_LINE;
}

static void drop_command(struct parser *parser)
{
    size_t line_octets = parser->line_octets;

    start_over(parser);
    parser->line_octets = line_octets;
}

/* Goes on where the client will after a whole line: line may be in parser->line. */
static enum parser_event leave_line(struct parser *parser, const char *line, size_t length,
                                    enum parser_event event)
{
    uint64_t size;
    enum lexer_tail tail = lexer_tail(line, length, &size);

    if (tail == LEXER_TAIL_UNFOLLOWABLE)
        return fatal(parser, "A literal of no possible size");
    if (tail == LEXER_TAIL_NON_SYNCHRONISING) {
        drop_command(parser);
        skip_literal(parser, size);
    } else {
        start_over(parser);
    }
    return event;
}

static enum parser_event bad_line(struct parser *parser, const char *line, size_t length,
                                  const char *text, bool too_big)
{
    set_error(parser, text, too_big);
    return leave_line(parser, line, length, PARSER_BAD);
}

static enum parser_event bad_conversion(struct parser *parser, const char *line, size_t length,
                                        const struct conversion *conversion)
{
    set_error(parser, conversion->error, conversion->too_big);
    parser->error.bad_name = conversion->bad_name;
    return leave_line(parser, line, length, PARSER_BAD);
}

/* Within a literal, whose remaining octets are still to come. */
static enum parser_event bad_literal(struct parser *parser, const char *text)
{
    uint64_t remaining = parser->remaining;

    set_error(parser, text, false);
    drop_command(parser);
    skip_literal(parser, remaining);
    return PARSER_BAD;
}

static enum parser_event finish_command(struct parser *parser)
{
    parser->done = g_steal_pointer(&parser->command);
    start_over(parser);
    return PARSER_COMMAND;
}

/* --- tag and verb --- */

/* A text to be read word by word. */
struct words {
    const char *text;
    size_t length;
};

/* Up to the next space, which is left. */
static struct words next_word(struct words *words)
{
    const char *space = words->length > 0 ? memchr(words->text, ' ', words->length) : NULL;
    size_t length = space != NULL ? (size_t)(space - words->text) : words->length;
    struct words word = {words->text, length};

    words->text += length;
    words->length -= length;
    return word;
}

/* 1*<any CHAR except SP, CTL and those in except> */
static bool is_word_of(struct words word, const char *except)
{
    for (size_t i = 0; i < word.length; i++) {
        if (!g_ascii_isgraph(word.text[i]) || strchr(except, word.text[i]) != NULL)
            return false;
    }
    return word.length > 0;
}

/* tag = 1*<any ASTRING-CHAR except "+"> */
static const char *read_tag(struct parser *parser, struct words *words, bool *too_big)
{
    struct words tag = next_word(words);

    if (tag.length == 0)
        return words->length == 0 ? "The line is empty" : "The tag is missing";
    if (!is_word_of(tag, "+(){%*\"\\"))
        return "The tag holds a character that it can't";
    *too_big = tag.length > LIMIT_TAG;
    if (*too_big)
        return "The tag is too long";
    memcpy(parser->tag, tag.text, tag.length);
    parser->tag[tag.length] = '\0';
    return NULL;
}

static const char *read_verb(struct words *words, struct words *verb)
{
    if (words->length < 2)
        return "The command is missing";
    words->text++;
    words->length--;
    *verb = next_word(words);
    return is_word_of(*verb, "(){%*\"\\") ? NULL : "A command is expected";
}

static bool is_uid(struct words verb)
{
    return verb.length == 3 && g_ascii_strncasecmp(verb.text, "UID", 3) == 0;
}

/* tag SP ["UID" SP] verb; the rest stays in words. NULL, or what is wrong. */
static const char *read_head(struct parser *parser, struct words *words, bool *too_big)
{
    struct words verb;
    bool uid = false;
    const char *error = read_tag(parser, words, too_big);
    char *shown;

    if (error == NULL && memchr(words->text, '\0', words->length) != NULL)
        error = "A NUL can't stand anywhere";
    if (error == NULL)
        error = read_verb(words, &verb);
    if (error == NULL && is_uid(verb)) {
        uid = true;
        error = read_verb(words, &verb);
    }
    if (error != NULL)
        return error;
    parser->command = g_new0(struct command, 1);
    parser->command->tag = g_strdup(parser->tag);
    parser->command->uid = uid;
    parser->command->kind = verb_kind(verb.text, verb.length, uid);
    shown = g_ascii_strup(verb.text, (gssize)MIN(verb.length, VERB_SHOWN));
    parser->command->verb = g_strconcat(uid ? "UID " : "", shown, NULL);
    g_free(shown);
    if (parser->command->kind == COMMAND_APPEND)
        parser->command->append.message_free = parser->message_free;
    parser->lexer.brackets = parser->command->kind == COMMAND_FETCH;
    parser->lexer.utf8 = parser->utf8 || parser->rev2;
    return NULL;
}

/* --- the arguments --- */

static struct conversion conversion_of(struct parser *parser)
{
    struct conversion conversion = {
        .cursor = {&parser->lexer.tree, 0, parser->lexer.tree.nodes->len},
        .command = parser->command,
        .utf8 = parser->utf8 || parser->rev2,
        .no_charset = parser->utf8,
    };

    return conversion;
}

static const char *check_literal_size(const struct parser *parser)
{
    uint64_t size = parser->lexer.literal.size;

    if (size > (parser->authenticated ? LIMIT_LITERAL : LIMIT_LITERAL_BEFORE_LOGIN))
        return "The literal is too large";
    if (size > LIMIT_LITERALS - parser->literal_octets)
        return "The command's literals are too large";
    return NULL;
}

static enum parser_event begin_string(struct parser *parser)
{
    bool synchronising = parser->lexer.literal.synchronising;

    parser->remaining = parser->lexer.literal.size;
    parser->literal_octets += (size_t)parser->remaining;
    secret_buffer_clear(&parser->line);
    lexer_literal_begin(&parser->lexer);
    if (parser->remaining > 0) {
        parser->state = PARSER_STATE_LITERAL;
    } else {
        lexer_literal_end(&parser->lexer);
        parser->state = PARSER_STATE_LINE;
    }
    return synchronising ? PARSER_CONTINUE : PARSER_MORE;
}

static enum parser_event announce_message(struct parser *parser, const char *line, size_t length)
{
    const struct lexer_literal *literal = &parser->lexer.literal;
    struct conversion conversion = conversion_of(parser);

    if (!convert_append_message(&conversion, literal->size, literal->binary,
                                parser->lexer.depth > 0))
        return bad_conversion(parser, line, length, &conversion);
    parser->remaining = literal->size;
    parser->synchronising = literal->synchronising;
    secret_buffer_clear(&parser->line);
    parser->state = PARSER_STATE_ANNOUNCED;
    return PARSER_MESSAGE_BEGIN;
}

static enum parser_event begin_literal(struct parser *parser, const char *line, size_t length)
{
    const char *error;

    switch (literal_gate(parser->command->kind, &parser->lexer)) {
    case LITERAL_GATE_REFUSED:
        break;
    case LITERAL_GATE_STRING:
        error = check_literal_size(parser);
        if (error != NULL)
            return bad_line(parser, line, length, error, true);
        return begin_string(parser);
    case LITERAL_GATE_MESSAGE:
        return announce_message(parser, line, length);
    }
    return bad_line(parser, line, length, "A literal can't stand here", false);
}

static enum parser_event end_command(struct parser *parser, const char *line, size_t length)
{
    struct conversion conversion = conversion_of(parser);

    if (!convert_command(&conversion))
        return bad_conversion(parser, line, length, &conversion);
    return finish_command(parser);
}

/* An unknown command's arguments mean nothing to us; its literals are still followed. */
static enum parser_event skip_unknown(struct parser *parser, const char *line, size_t length)
{
    uint64_t size;

    switch (lexer_tail(line, length, &size)) {
    case LEXER_TAIL_NONE:
        return finish_command(parser);
    case LEXER_TAIL_SYNCHRONISING:
        return bad_line(parser, line, length, "Unknown command", false);
    case LEXER_TAIL_NON_SYNCHRONISING:
        skip_literal(parser, size);
        return PARSER_MORE;
    case LEXER_TAIL_UNFOLLOWABLE:
        break;
    }
    return fatal(parser, "A literal of no possible size");
}

/* A whole line, without its end: a command's first, or what follows a literal. */
static enum parser_event work_on_line(struct parser *parser, const char *line, size_t length)
{
    struct words words = {line, length};
    bool too_big = false;

    if (parser->command == NULL) {
        const char *error = read_head(parser, &words, &too_big);

        if (error != NULL)
            return bad_line(parser, line, length, error, too_big);
        if (parser->command->kind == COMMAND_UNKNOWN)
            return skip_unknown(parser, line, length);
    } else if (memchr(line, '\0', length) != NULL) {
        return bad_line(parser, line, length, "A NUL can't stand anywhere", false);
    }
    switch (lexer_segment(&parser->lexer, words.text, words.length)) {
    case LEXER_END:
        return end_command(parser, line, length);
    case LEXER_LITERAL:
        return begin_literal(parser, line, length);
    case LEXER_BAD:
        break;
    }
    return bad_line(parser, line, length, parser->lexer.error, parser->lexer.too_big);
}

/* --- octets --- */

/* How many octets belong to the line: its LF included, or all. */
static size_t line_share(const uint8_t *data, size_t length, bool *whole)
{
    const uint8_t *end = length > 0 ? memchr(data, '\n', length) : NULL;

    *whole = end != NULL;
    return end != NULL ? (size_t)(end - data) + 1 : length;
}

/* Its length without CRLF, or bare LF. */
static size_t without_end(const struct secret_buffer *line)
{
    size_t length = line->length - 1;

    return length > 0 && line->data[length - 1] == '\r' ? length - 1 : length;
}

static bool count_line(struct parser *parser, size_t octets)
{
    size_t limit = parser->authenticated ? LIMIT_LINE : LIMIT_LINE_BEFORE_LOGIN;

    if (octets > limit - MIN(parser->line_octets, limit))
        return false;
    parser->line_octets += octets;
    return true;
}

static enum parser_event feed_line(struct parser *parser, const uint8_t *data, size_t length,
                                   size_t *used)
{
    bool whole;

    *used = line_share(data, length, &whole);
    if (parser->command == NULL && parser->line.length == 0)
        parser->tag[0] = '\0';
    if (!count_line(parser, *used)) {
        *used = length;
        return fatal(parser, "The line is too long");
    }
    secret_buffer_append(&parser->line, data, *used);
    if (!whole)
        return PARSER_MORE;
    return work_on_line(parser, parser->line.data, without_end(&parser->line));
}

/* Keeps of the line only what its end may announce. */
static enum parser_event feed_skipped_line(struct parser *parser, const uint8_t *data,
                                           size_t length, size_t *used)
{
    enum { KEPT = LEXER_TAIL + 2 };
    char tail[KEPT];
    bool whole;
    size_t share = line_share(data, length, &whole);
    size_t from_data = MIN(share, KEPT);
    size_t from_line = MIN(parser->line.length, KEPT - from_data);

    *used = share;
    if (!count_line(parser, share)) {
        *used = length;
        return fatal(parser, "The line is too long");
    }
    if (from_line > 0)
        memcpy(tail, parser->line.data + parser->line.length - from_line, from_line);
    memcpy(tail + from_line, data + share - from_data, from_data);
    secret_buffer_clear(&parser->line);
    secret_buffer_append(&parser->line, tail, from_line + from_data);
    if (!whole)
        return PARSER_MORE;
    if (parser->command != NULL)
        return skip_unknown(parser, parser->line.data, without_end(&parser->line));
    return leave_line(parser, parser->line.data, without_end(&parser->line), PARSER_MORE);
}

/* The literal's part of the input. */
static size_t literal_share(struct parser *parser, size_t length)
{
    size_t share = parser->remaining < length ? (size_t)parser->remaining : length;

    parser->remaining -= share;
    return share;
}

static enum parser_event feed_literal(struct parser *parser, const uint8_t *data, size_t length,
                                      size_t *used)
{
    *used = literal_share(parser, length);
    if (memchr(data, '\0', *used) != NULL)
        return bad_literal(parser, "A NUL can't stand anywhere");
    lexer_literal_data(&parser->lexer, data, *used);
    if (parser->remaining == 0) {
        lexer_literal_end(&parser->lexer);
        parser->state = PARSER_STATE_LINE;
    }
    return PARSER_MORE;
}

/* literal8 of RFC 3516; what RFC 6855 wraps in UTF8 () is text. */
static bool message_may_have_nul(const struct parser *parser)
{
    const GArray *messages = parser->command->append.messages;
    const struct append_message *message =
        &g_array_index(messages, struct append_message, messages->len - 1);

    return message->binary && !message->utf8;
}

static enum parser_event feed_message(struct parser *parser, const uint8_t *data, size_t length,
                                      size_t *used)
{
    if (parser->remaining == 0) {
        *used = 0;
        lexer_message(&parser->lexer);
        parser->state = PARSER_STATE_LINE;
        return PARSER_MESSAGE_END;
    }
    if (length == 0) {
        *used = 0;
        return PARSER_MORE;
    }
    *used = literal_share(parser, length);
    if (memchr(data, '\0', *used) != NULL && !message_may_have_nul(parser))
        return bad_literal(parser, "A NUL can't stand in a message");
    parser->data = data;
    parser->data_length = *used;
    return PARSER_MESSAGE_DATA;
}

static enum parser_event feed_skipped_literal(struct parser *parser, size_t length, size_t *used)
{
    *used = literal_share(parser, length);
    if (parser->remaining == 0)
        parser->state = PARSER_STATE_SKIP_LINE;
    return PARSER_MORE;
}

static enum parser_event step(struct parser *parser, const uint8_t *data, size_t length,
                              size_t *used)
{
    *used = 0;
    switch (parser->state) {
    case PARSER_STATE_LINE:
        return feed_line(parser, data, length, used);
    case PARSER_STATE_LITERAL:
        return feed_literal(parser, data, length, used);
    case PARSER_STATE_ANNOUNCED:
        return PARSER_MORE;
    case PARSER_STATE_MESSAGE:
        return feed_message(parser, data, length, used);
    case PARSER_STATE_SKIP_LITERAL:
        return feed_skipped_literal(parser, length, used);
    case PARSER_STATE_SKIP_LINE:
        return feed_skipped_line(parser, data, length, used);
    case PARSER_STATE_FATAL:
        *used = length;
        return PARSER_FATAL;
    }
    return PARSER_FATAL;
}

static void forget_handed_out(struct parser *parser)
{
    if (parser->line_handed_out)
        secret_buffer_clear(&parser->line);
    parser->line_handed_out = false;
}

enum parser_event parser_feed(struct parser *parser, const uint8_t *data, size_t length,
                              size_t *used)
{
    enum parser_event event = PARSER_MORE;

    forget_handed_out(parser);
    command_free(parser->done);
    parser->done = NULL;
    *used = 0;
    do {
        size_t taken;

        if (*used == length && parser->state != PARSER_STATE_MESSAGE)
            break;
        event = step(parser, data + *used, length - *used, &taken);
        *used += taken;
        if (taken == 0)
            break;
    } while (event == PARSER_MORE);
    return event;
}

void parser_message_accept(struct parser *parser)
{
    assert(parser->state == PARSER_STATE_ANNOUNCED);
    parser->state = PARSER_STATE_MESSAGE;
}

void parser_message_refuse(struct parser *parser)
{
    bool sent = parser->state != PARSER_STATE_ANNOUNCED || !parser->synchronising;
    uint64_t remaining = parser->state == PARSER_STATE_LINE ? 0 : parser->remaining;

    assert(parser->command != NULL && parser->command->kind == COMMAND_APPEND);
    if (!sent) {
        start_over(parser);
        return;
    }
    drop_command(parser);
    skip_literal(parser, remaining);
}

/* --- lines that are no commands --- */

/* What an error left to be skipped comes first. False: there may be more of it. */
static bool skip_rest(struct parser *parser, const uint8_t *data, size_t length, size_t *used)
{
    *used = 0;
    while (parser->state == PARSER_STATE_SKIP_LITERAL || parser->state == PARSER_STATE_SKIP_LINE) {
        size_t taken;

        if (*used == length)
            return false;
        step(parser, data + *used, length - *used, &taken);
        *used += taken;
    }
    return parser->state == PARSER_STATE_LINE;
}

bool parser_feed_line(struct parser *parser, const uint8_t *data, size_t length, size_t limit,
                      size_t *used, const char **line, bool *too_long)
{
    size_t share, end;
    bool whole;

    forget_handed_out(parser);
    *too_long = false;
    if (!skip_rest(parser, data, length, used))
        return false;
    share = line_share(data + *used, length - *used, &whole);
    /* Room for the line's end. */
    *too_long = share > limit + 2 - MIN(parser->line.length, limit + 2);
    if (!*too_long)
        secret_buffer_append(&parser->line, data + *used, share);
    *used += share;
    if (!whole && !*too_long)
        return false;
    end = *too_long ? 0 : without_end(&parser->line);
    if (*too_long || end > limit) {
        *too_long = true;
        start_over(parser);
        parser->state = whole ? PARSER_STATE_LINE : PARSER_STATE_SKIP_LINE;
        return false;
    }
    for (size_t i = 0; i < end; i++) {
        if (parser->line.data[i] == '\0')
            parser->line.data[i] = '?';
    }
    parser->line.data[end] = '\0';
    parser->line_handed_out = true;
    *line = parser->line.data;
    return true;
}
