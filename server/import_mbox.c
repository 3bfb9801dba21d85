#include "server/import_mbox.h"

#include <stdio.h>
#include <string.h>

#include "protocol/datetime.h"
#include "protocol/header.h"
#include "store/snapshot.h"

enum { FROM_LINE_MAX = 1024, FROM_TOKENS_MAX = 32, KEYWORDS_PER_MESSAGE_MAX = 64 };

static const char FROM[] = "From ";
enum { FROM_LENGTH = sizeof(FROM) - 1 };

/* The offset just past the line that begins at position. */
static size_t line_end(const char *data, size_t length, size_t position)
{
    const char *newline = memchr(data + position, '\n', length - position);

    return newline != NULL ? (size_t)(newline - data) + 1 : length;
}

static bool is_from(const char *data, size_t length, size_t position)
{
    return length - position >= FROM_LENGTH && memcmp(data + position, FROM, FROM_LENGTH) == 0;
}

static bool is_empty_line(const char *data, size_t start, size_t end)
{
    return data[end - 1] == '\n' && (end - start == 1 || (end - start == 2 && data[start] == '\r'));
}

/* ">From ", ">>From ", ... */
static bool is_quoted_from(const char *data, size_t start, size_t end)
{
    size_t position = start;

    while (position < end && data[position] == '>')
        position++;
    return position > start && is_from(data, end, position);
}

/* --- dates --- */

struct token {
    const char *text;
    size_t length;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t split_tokens(struct token *tokens, const char *line, size_t length)
{
    size_t count = 0;

    for (size_t i = 0; i < length && count < FROM_TOKENS_MAX;) {
        if (is_blank(line[i])) {
            i++;
            continue;
        }
        tokens[count].text = line + i;
        while (i < length && !is_blank(line[i]))
            i++;
        tokens[count].length = (size_t)(line + i - tokens[count].text);
        count++;
    }
    return count;
}

static bool is_digits(const struct token *token, size_t least, size_t most)
{
    if (token->length < least || token->length > most)
        return false;
    for (size_t i = 0; i < token->length; i++)
        if (!g_ascii_isdigit(token->text[i]))
            return false;
    return true;
}

static bool is_zone(const struct token *token)
{
    struct token digits = {token->text + 1, token->length - 1};

    if (token->length == 5 && (token->text[0] == '+' || token->text[0] == '-'))
        return is_digits(&digits, 4, 4);
    for (size_t i = 0; i < token->length; i++)
        if (!g_ascii_isupper(token->text[i]))
            return false;
    return token->length >= 2 && token->length <= 5;
}

/* tokens: weekday, month, day, time, and then year, zone year or year zone. */
static bool date_at(int64_t *seconds, int16_t *zone, const struct token *tokens, size_t count)
{
    const struct token *year;
    const struct token *zone_token = NULL;
    char text[96];
    int length;

    if (count < 5 || tokens[0].length != 3 || tokens[1].length != 3 ||
        !is_digits(&tokens[2], 1, 2) || memchr(tokens[3].text, ':', tokens[3].length) == NULL)
        return false;
    if (is_digits(&tokens[4], 4, 4)) {
        year = &tokens[4];
        if (count > 5 && is_zone(&tokens[5]))
            zone_token = &tokens[5];
    } else if (count > 5 && is_zone(&tokens[4]) && is_digits(&tokens[5], 4, 4)) {
        zone_token = &tokens[4];
        year = &tokens[5];
    } else {
        return false;
    }
    length = snprintf(text, sizeof(text), "%.*s %.3s %.4s %.*s %.*s", (int)tokens[2].length,
                      tokens[2].text, tokens[1].text, year->text, (int)MIN(tokens[3].length, 8),
                      tokens[3].text, zone_token != NULL ? (int)zone_token->length : 5,
                      zone_token != NULL ? zone_token->text : "+0000");
    return datetime_parse_rfc5322(seconds, zone, text, (size_t)length);
}

bool import_mbox_date(int64_t *seconds, int16_t *zone, const char *line, size_t length)
{
    struct token tokens[FROM_TOKENS_MAX];
    size_t count = split_tokens(tokens, line, MIN(length, (size_t)FROM_LINE_MAX));

    /* The sender may hold spaces: the date is looked for everywhere after it. */
    for (size_t i = 1; i < count; i++)
        if (date_at(seconds, zone, tokens + i, count - i))
            return true;
    return false;
}

/* --- messages --- */

static uint8_t status_flags(const struct header_field *field)
{
    static const struct {
        char letter;
        uint8_t flag;
    } letters[] = {
        {'R', MESSAGE_SEEN},  {'A', MESSAGE_ANSWERED}, {'F', MESSAGE_FLAGGED},
        {'T', MESSAGE_DRAFT}, {'D', MESSAGE_DELETED},
    };
    uint8_t flags = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(letters); i++)
        if (memchr(field->value, letters[i].letter, field->value_length) != NULL)
            flags |= letters[i].flag;
    return flags;
}

static void add_keywords(GPtrArray *keywords, const char *value, size_t length)
{
    GString *text = g_string_new(NULL);
    struct token tokens[FROM_TOKENS_MAX];
    size_t count;

    header_unfold(text, value, length);
    for (size_t i = 0; i < text->len; i++)
        if (text->str[i] == ',')
            text->str[i] = ' ';
    count = split_tokens(tokens, text->str, text->len);
    for (size_t i = 0; i < count && keywords->len < KEYWORDS_PER_MESSAGE_MAX; i++)
        g_ptr_array_add(keywords, g_strndup(tokens[i].text, tokens[i].length));
    g_string_free(text, TRUE);
}

static bool field_is(const struct header_field *field, const char *name)
{
    return field->name_length == strlen(name) &&
           g_ascii_strncasecmp(field->name, name, field->name_length) == 0;
}

/* Flags, keywords and (unless dated) the date from the header. */
static void read_header(struct import_message *message, bool dated)
{
    size_t block = header_block_length((const uint8_t *)message->data, message->length);
    size_t position = 0;
    struct header_field field;

    while (header_next((const uint8_t *)message->data, block, &position, &field)) {
        if (field_is(&field, "Status") || field_is(&field, "X-Status"))
            message->flags |= status_flags(&field);
        else if (field_is(&field, "X-Keywords"))
            add_keywords(message->keywords, field.value, field.value_length);
        else if (!dated && field_is(&field, "Date"))
            dated = datetime_parse_rfc5322(&message->date, &message->zone, field.value,
                                           field.value_length);
    }
}

/* The text from start to end without one '>' of each quoted "From " line. */
static void unquote(GString *out, const char *data, size_t start, size_t end)
{
    while (start < end) {
        size_t next = line_end(data, end, start);
        size_t from = is_quoted_from(data, start, next) ? start + 1 : start;

        g_string_append_len(out, data + from, (gssize)(next - from));
        start = next;
    }
}

static bool deliver(const char *data, size_t from_line, size_t start, size_t end, int64_t fallback,
                    const struct import_sink *sink)
{
    struct import_message message = {.mailbox = "", .date = fallback};
    GString *text;
    bool dated;
    bool go_on;

    if (end - start > IMPORT_MESSAGE_MAX) {
        char *what = g_strdup_printf("message at octet %zu: too large", start);

        sink->skipped(sink->data, what);
        g_free(what);
        return true;
    }
    text = g_string_sized_new(end - start + 1);
    unquote(text, data, start, end);
    message.data = text->str;
    message.length = text->len;
    message.keywords = g_ptr_array_new_with_free_func(g_free);
    dated = import_mbox_date(&message.date, &message.zone, data + from_line, start - from_line);
    read_header(&message, dated);
    g_ptr_array_add(message.keywords, NULL);
    go_on = sink->message(sink->data, &message);
    g_ptr_array_unref(message.keywords);
    g_string_free(text, TRUE);
    return go_on;
}

bool import_mbox(const char *data, size_t length, int64_t fallback, const struct import_sink *sink,
                 char **problem)
{
    size_t from_line = 0;
    size_t start;
    size_t position;
    size_t blank = 0; /* where an empty line just before position starts; else position */

    *problem = NULL;
    if (!sink->mailbox(sink->data, ""))
        return false;
    if (length == 0)
        return true;
    if (!is_from(data, length, 0)) {
        *problem = g_strdup("not an mbox: it does not begin with \"From \"");
        return false;
    }
    start = position = blank = line_end(data, length, 0);
    while (position < length) {
        size_t next = line_end(data, length, position);

        if (blank < position && is_from(data, length, position)) {
            if (!deliver(data, from_line, start, blank, fallback, sink))
                return false;
            from_line = position;
            start = position = blank = next;
            continue;
        }
        blank = is_empty_line(data, position, next) ? position : next;
        position = next;
    }
    /* The last message's own closing empty line is the format's too. */
    return deliver(data, from_line, start, blank < position ? blank : length, fallback, sink);
}
