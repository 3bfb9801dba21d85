#include <stdio.h>
#include <string.h>

#include "protocol/datetime.h"
#include "server/import_mbox.h"

enum { FROM_LINE_MAX = 1024, FROM_TOKENS_MAX = 32 };

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
