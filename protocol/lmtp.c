/* The end of a message by DATA, as states; the octets before it are passed on as they are, but for
 * a dot that begins a line. What has been seen of an end that may be one is held back.
 *
 *     LINE     within a line                  CR       a CR was seen
 *     START    at the beginning of a line     DOT      its first octet was a dot
 *     DOT_CR   that dot and a CR              (LF then ends the message)
 */
#include "protocol/lmtp.h"

#include <string.h>

enum lmtp_mode { MODE_COMMAND, MODE_DATA, MODE_CHUNK };

enum data_state { DATA_LINE, DATA_CR, DATA_START, DATA_DOT, DATA_DOT_CR };

struct lmtp_parser {
    enum lmtp_mode mode;
    GString *line; /* of the command under way, without its CRLF */
    bool after_cr;
    bool too_long;
    bool bad_octet;
    struct lmtp_command command;
    enum data_state state;
    uint64_t left;
    const uint8_t *octets;
    size_t octet_count;
};

struct lmtp_parser *lmtp_parser_new(void)
{
    struct lmtp_parser *parser = g_new0(struct lmtp_parser, 1);

    parser->line = g_string_new(NULL);
    return parser;
}

static void clear_command(struct lmtp_command *command)
{
    g_free(command->text);
    g_free(command->local);
    *command = (struct lmtp_command){.verb = LMTP_UNKNOWN};
}

void lmtp_parser_free(struct lmtp_parser *parser)
{
    if (parser == NULL)
        return;
    clear_command(&parser->command);
    g_string_free(parser->line, TRUE);
    g_free(parser);
}

const struct lmtp_command *lmtp_parser_command(const struct lmtp_parser *parser)
{
    return &parser->command;
}

const uint8_t *lmtp_parser_octets(const struct lmtp_parser *parser, size_t *length)
{
    *length = parser->octet_count;
    return parser->octets;
}

void lmtp_parser_data(struct lmtp_parser *parser)
{
    parser->mode = MODE_DATA;
    parser->state = DATA_START;
}

void lmtp_parser_chunk(struct lmtp_parser *parser, uint64_t size)
{
    parser->mode = MODE_CHUNK;
    parser->left = size;
}

/* --- addresses --- */

/* What is left of a line. */
struct cursor {
    const char *at;
    const char *end;
};

static bool take(struct cursor *cursor, char octet)
{
    if (cursor->at == cursor->end || *cursor->at != octet)
        return false;
    cursor->at++;
    return true;
}

/* RFC 5321 4.1.2, with UTF-8 (RFC 6531 3.3): atext and '.', in any order: an address that somebody
 * has is not refused for a dot too many. */
static bool is_local_octet(unsigned char octet)
{
    return octet > 127 || g_ascii_isalnum(octet) ||
           (octet != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", octet) != NULL);
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE */
static bool read_quoted(struct cursor *cursor, GString *local)
{
    while (cursor->at < cursor->end && *cursor->at != '"') {
        if (*cursor->at == '\\' && ++cursor->at == cursor->end)
            return false;
        if ((unsigned char)*cursor->at < ' ' || *cursor->at == 127)
            return false;
        g_string_append_c(local, *cursor->at++);
    }
    return take(cursor, '"');
}

static bool read_local(struct cursor *cursor, GString *local)
{
    if (take(cursor, '"'))
        return read_quoted(cursor, local) && local->len <= LMTP_LOCAL_MAX;
    while (cursor->at < cursor->end && is_local_octet((unsigned char)*cursor->at))
        g_string_append_c(local, *cursor->at++);
    return local->len > 0 && local->len <= LMTP_LOCAL_MAX;
}

/* Domain / address-literal: whoever sends has decided that it is ours; it only must not be able to
 * do harm in a header line. */
static bool read_domain(struct cursor *cursor)
{
    const char *start = cursor->at;

    while (cursor->at < cursor->end &&
           (g_ascii_isalnum(*cursor->at) || (unsigned char)*cursor->at > 127 ||
            strchr("-._[]:", *cursor->at) != NULL))
        cursor->at++;
    return cursor->at > start && cursor->at - start <= LMTP_DOMAIN_MAX;
}

/* A-d-l ":" : "@a,@b:", to be accepted and ignored (RFC 5321 4.1.2). */
static bool skip_route(struct cursor *cursor)
{
    if (cursor->at == cursor->end || *cursor->at != '@')
        return true;
    do {
        if (!take(cursor, '@'))
            return false;
        const char *start = cursor->at;

        while (cursor->at < cursor->end && *cursor->at != ':' &&
               strchr(",@<> ", *cursor->at) == NULL)
            cursor->at++;
        if (cursor->at == start)
            return false;
    } while (take(cursor, ','));
    return take(cursor, ':');
}

/* Path = "<" [ A-d-l ":" ] Mailbox ">". A recipient without a domain is one of ours. */
static bool read_path(struct cursor *cursor, struct lmtp_command *command, bool null_sender)
{
    GString *local = g_string_new(NULL);
    const char *domain = NULL;
    const char *start;
    bool good = take(cursor, '<') && skip_route(cursor);

    start = cursor->at;
    if (good && !(null_sender && cursor->at < cursor->end && *cursor->at == '>')) {
        good = read_local(cursor, local);
        if (good && take(cursor, '@')) {
            domain = cursor->at;
            good = read_domain(cursor);
        }
    }
    good = good && cursor->at - start <= LMTP_PATH_MAX &&
           g_utf8_validate(start, cursor->at - start, NULL);
    if (good) {
        command->text = g_strndup(start, (size_t)(cursor->at - start));
        command->host = domain != NULL ? command->text + (domain - start) : NULL;
        command->local = g_strdup(local->str);
        for (const char *c = command->text; *c != '\0'; c++)
            command->is_utf8 = command->is_utf8 || (unsigned char)*c > 127;
    }
    g_string_free(local, TRUE);
    return good && take(cursor, '>');
}

/* --- commands --- */

static void refuse(struct lmtp_command *command, enum lmtp_problem problem)
{
    if (command->problem == LMTP_GOOD)
        command->problem = problem;
}

/* Up to the next space, which is skipped with those that follow it. */
static struct cursor read_word(struct cursor *cursor)
{
    struct cursor word = *cursor;

    while (cursor->at < cursor->end && *cursor->at != ' ')
        cursor->at++;
    word.end = cursor->at;
    while (take(cursor, ' '))
        ;
    return word;
}

static bool word_is(struct cursor word, const char *text)
{
    size_t length = strlen(text);

    return (size_t)(word.end - word.at) == length &&
           g_ascii_strncasecmp(word.at, text, length) == 0;
}

static bool read_number(struct cursor word, uint64_t *out)
{
    uint64_t value = 0;

    if (word.at == word.end || word.end - word.at > 20)
        return false;
    for (; word.at < word.end; word.at++) {
        if (!g_ascii_isdigit(*word.at))
            return false;
        uint64_t digit = (uint64_t)(*word.at - '0');

        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *out = value;
    return true;
}

/* SIZE, BODY (RFC 1870, RFC 6152), SMTPUTF8. */
static void read_mail_parameter(struct lmtp_command *command, struct cursor word, bool *has_body)
{
    const char *equals = memchr(word.at, '=', (size_t)(word.end - word.at));
    struct cursor name = {word.at, equals != NULL ? equals : word.end};
    struct cursor value = {equals != NULL ? equals + 1 : word.end, word.end};

    if (word_is(name, "SIZE") && !command->has_size) {
        command->has_size = true;
        if (!read_number(value, &command->size))
            refuse(command, LMTP_BAD_VALUE);
    } else if (word_is(name, "BODY") && !*has_body) {
        *has_body = true;
        if (!word_is(value, "7BIT") && !word_is(value, "8BITMIME"))
            refuse(command, LMTP_BAD_VALUE);
    } else if (word_is(name, "SMTPUTF8") && equals == NULL && !command->smtputf8) {
        command->smtputf8 = true;
    } else {
        refuse(command, LMTP_BAD_PARAMETER);
    }
}

/* "FROM:<path>[ parameters]"; a space after the colon is forbidden and common. */
static void read_envelope(struct lmtp_command *command, struct cursor *cursor, const char *word)
{
    size_t length = strlen(word);
    bool is_mail = command->verb == LMTP_MAIL;
    bool has_body = false;

    if ((size_t)(cursor->end - cursor->at) < length ||
        g_ascii_strncasecmp(cursor->at, word, length) != 0) {
        refuse(command, LMTP_BAD_SYNTAX);
        return;
    }
    cursor->at += length;
    while (take(cursor, ' '))
        ;
    if (!read_path(cursor, command, is_mail) || (cursor->at < cursor->end && *cursor->at != ' ')) {
        refuse(command, LMTP_BAD_PATH);
        return;
    }
    while (take(cursor, ' '))
        ;
    while (cursor->at < cursor->end) {
        struct cursor parameter = read_word(cursor);

        if (is_mail)
            read_mail_parameter(command, parameter, &has_body);
        else
            refuse(command, LMTP_BAD_PARAMETER);
    }
}

/* Printable ASCII or UTF-8: it goes into a header line and the log. */
static bool is_name(struct cursor name)
{
    if (name.at == name.end || name.end - name.at > LMTP_DOMAIN_MAX ||
        !g_utf8_validate(name.at, name.end - name.at, NULL))
        return false;
    for (; name.at < name.end; name.at++)
        if ((unsigned char)*name.at <= ' ' || *name.at == 127 ||
            strchr("()<>\\\"", *name.at) != NULL)
            return false;
    return true;
}

static void read_hello(struct lmtp_command *command, struct cursor *cursor)
{
    struct cursor name = read_word(cursor);

    if (cursor->at < cursor->end || !is_name(name))
        refuse(command, LMTP_BAD_SYNTAX);
    else
        command->text = g_strndup(name.at, (size_t)(name.end - name.at));
}

/* bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] (RFC 3030) */
static void read_chunk(struct lmtp_command *command, struct cursor *cursor)
{
    struct cursor size = read_word(cursor);
    struct cursor marker = read_word(cursor);

    if (!read_number(size, &command->size) || cursor->at < cursor->end)
        refuse(command, LMTP_BAD_SYNTAX);
    command->last = word_is(marker, "LAST");
    if (!command->last && marker.at < marker.end)
        refuse(command, LMTP_BAD_SYNTAX);
}

static void read_arguments(struct lmtp_command *command, struct cursor *cursor)
{
    switch (command->verb) {
    case LMTP_LHLO:
        read_hello(command, cursor);
        break;
    case LMTP_MAIL:
        read_envelope(command, cursor, "FROM:");
        break;
    case LMTP_RCPT:
        read_envelope(command, cursor, "TO:");
        break;
    case LMTP_BDAT:
        read_chunk(command, cursor);
        break;
    case LMTP_DATA:
    case LMTP_RSET:
    case LMTP_QUIT:
        if (cursor->at < cursor->end)
            refuse(command, LMTP_BAD_SYNTAX);
        break;
    case LMTP_VRFY:
        if (cursor->at == cursor->end)
            refuse(command, LMTP_BAD_SYNTAX);
        break;
    case LMTP_HELLO:
    case LMTP_NOOP:
    case LMTP_HELP:
    case LMTP_UNKNOWN:
    case LMTP_VERB_COUNT:
        break;
    }
}

static enum lmtp_verb find_verb(struct cursor word)
{
    static const struct {
        const char *name;
        enum lmtp_verb verb;
    } verbs[] = {
        {"LHLO", LMTP_LHLO}, {"HELO", LMTP_HELLO}, {"EHLO", LMTP_HELLO}, {"MAIL", LMTP_MAIL},
        {"RCPT", LMTP_RCPT}, {"DATA", LMTP_DATA},  {"BDAT", LMTP_BDAT},  {"RSET", LMTP_RSET},
        {"NOOP", LMTP_NOOP}, {"VRFY", LMTP_VRFY},  {"HELP", LMTP_HELP},  {"QUIT", LMTP_QUIT},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (word_is(word, verbs[i].name))
            return verbs[i].verb;
    return LMTP_UNKNOWN;
}

static void read_command(struct lmtp_parser *parser)
{
    struct lmtp_command *command = &parser->command;
    struct cursor cursor = {parser->line->str, parser->line->str + parser->line->len};

    clear_command(command);
    /* RFC 5321 4.1.1: clients may send trailing spaces. */
    while (cursor.end > cursor.at && cursor.end[-1] == ' ')
        cursor.end--;
    command->verb = find_verb(read_word(&cursor));
    if (parser->too_long)
        refuse(command, LMTP_LONG_LINE);
    else if (parser->bad_octet)
        refuse(command, LMTP_BAD_LINE);
    else
        read_arguments(command, &cursor);
    g_string_truncate(parser->line, 0);
    parser->too_long = false;
    parser->bad_octet = false;
}

static void keep_octet(struct lmtp_parser *parser, uint8_t octet)
{
    if (octet == '\0' || octet == '\n' || octet == '\r')
        parser->bad_octet = true;
    if (parser->line->len + 2 >= LMTP_LINE_MAX)
        parser->too_long = true;
    else
        g_string_append_c(parser->line, (char)octet);
}

static enum lmtp_parsed parse_line(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                   size_t *used)
{
    for (size_t i = 0; i < length; i++) {
        if (parser->after_cr && input[i] == '\n') {
            parser->after_cr = false;
            *used = i + 1;
            read_command(parser);
            return LMTP_COMMAND;
        }
        if (parser->after_cr)
            keep_octet(parser, '\r');
        parser->after_cr = input[i] == '\r';
        if (!parser->after_cr)
            keep_octet(parser, input[i]);
    }
    *used = length;
    return LMTP_MORE;
}

/* --- messages --- */

static enum lmtp_parsed give(struct lmtp_parser *parser, const void *octets, size_t length)
{
    parser->octets = octets;
    parser->octet_count = length;
    return LMTP_OCTETS;
}

/* The octets up to and with the next CR, or all. */
static enum lmtp_parsed give_line(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                  size_t *used)
{
    const uint8_t *at = input;
    const uint8_t *end = input + length;

    /* A line end that no dot follows is nothing to stop at. */
    while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL && end - at > 2 &&
           (at[1] != '\n' || at[2] != '.'))
        at++;
    *used = at != NULL ? (size_t)(at - input) : length;
    if (at == NULL)
        return give(parser, input, length);
    parser->state = DATA_CR;
    (*used)++;
    return *used > 1 ? give(parser, input, *used - 1) : LMTP_MORE;
}

/* One octet where it matters what it is: the CR, or CR LF, or CR LF dot before it are held back. */
static enum lmtp_parsed step_data(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                  size_t *used)
{
    *used = 1;
    switch (parser->state) {
    case DATA_LINE:
        return give_line(parser, input, length, used);
    case DATA_CR:
        if (*input == '\n') {
            parser->state = DATA_START;
            return give(parser, "\r\n", 2);
        }
        *used = *input == '\r' ? 1 : 0;
        parser->state = *input == '\r' ? DATA_CR : DATA_LINE;
        return give(parser, "\r", 1);
    case DATA_START:
        *used = *input == '.' ? 1 : 0;
        parser->state = *input == '.' ? DATA_DOT : DATA_LINE;
        return LMTP_MORE;
    case DATA_DOT:
        *used = *input == '\r' ? 1 : 0;
        parser->state = *input == '\r' ? DATA_DOT_CR : DATA_LINE;
        return LMTP_MORE;
    case DATA_DOT_CR:
        break;
    }
    if (*input == '\n') {
        parser->mode = MODE_COMMAND;
        return LMTP_END;
    }
    /* The dot was transparency's, the CR is the line's. */
    *used = 0;
    parser->state = DATA_CR;
    return LMTP_MORE;
}

static enum lmtp_parsed parse_data(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                   size_t *used)
{
    size_t at = 0;

    while (at < length) {
        size_t step;
        enum lmtp_parsed parsed = step_data(parser, input + at, length - at, &step);

        at += step;
        if (parsed != LMTP_MORE) {
            *used = at;
            return parsed;
        }
    }
    *used = length;
    return LMTP_MORE;
}

static enum lmtp_parsed parse_chunk(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                    size_t *used)
{
    *used = (size_t)MIN(parser->left, length);
    parser->left -= *used;
    if (*used > 0)
        return give(parser, input, *used);
    if (parser->left > 0)
        return LMTP_MORE;
    parser->mode = MODE_COMMAND;
    return LMTP_END;
}

enum lmtp_parsed lmtp_parser_parse(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                   size_t *used)
{
    switch (parser->mode) {
    case MODE_COMMAND:
        break;
    case MODE_DATA:
        return parse_data(parser, input, length, used);
    case MODE_CHUNK:
        return parse_chunk(parser, input, length, used);
    }
    return parse_line(parser, input, length, used);
}
