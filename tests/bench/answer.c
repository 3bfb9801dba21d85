#include "answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void keep(struct answer_reader *reader, const char *bytes, size_t length)
{
    size_t head = smaller(length, ANSWER_HEAD - reader->head_length);
    size_t tail = smaller(length, ANSWER_TAIL);
    size_t old = smaller(reader->tail_length, ANSWER_TAIL - tail);

    memcpy(reader->head + reader->head_length, bytes, head);
    reader->head_length += head;
    memmove(reader->tail, reader->tail + reader->tail_length - old, old);
    memcpy(reader->tail + old, bytes + length - tail, tail);
    reader->tail_length = old + tail;
}

/* True if the line ends with "{N}". */
static bool ends_with_literal(const struct answer_reader *reader, uint64_t *length)
{
    char digits[ANSWER_TAIL + 1];
    size_t end = reader->tail_length, start;

    if (end > 0 && reader->tail[end - 1] == '\r')
        end--;
    if (end < 3 || reader->tail[end - 1] != '}')
        return false;
    start = --end;
    while (start > 0 && isdigit((unsigned char)reader->tail[start - 1]))
        start--;
    if (start == end || start == 0 || reader->tail[start - 1] != '{')
        return false;
    memcpy(digits, reader->tail + start, end - start);
    digits[end - start] = '\0';
    *length = strtoull(digits, NULL, 10);
    return true;
}

static bool is_exists(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && strncmp(text + digits, " EXISTS", 7) == 0;
}

static struct answer classify(char *text)
{
    struct answer answer = {.kind = ANSWER_STRANGE, .text = text};
    char *end;

    if (text[0] == '*' && text[1] == ' ') {
        answer.kind = is_exists(text + 2) ? ANSWER_EXISTS : ANSWER_UNTAGGED;
        answer.ok = strncmp(text + 2, "OK", 2) == 0;
    } else if (text[0] == '+') {
        answer.kind = ANSWER_CONTINUATION;
    } else if (text[0] == 'A' && isdigit((unsigned char)text[1])) {
        answer.tag = strtoull(text + 1, &end, 10);
        answer.ok = strncmp(end, " OK", 3) == 0;
        if (*end == ' ')
            answer.kind = ANSWER_TAGGED;
    }
    return answer;
}

static void end_line(struct answer_reader *reader, answer_found found, void *data)
{
    bool literal = ends_with_literal(reader, &reader->literal_left);

    if (!reader->continued && !literal) {
        struct answer answer;

        if (reader->head_length > 0 && reader->head[reader->head_length - 1] == '\r')
            reader->head_length--;
        reader->head[reader->head_length] = '\0';
        answer = classify(reader->head);
        found(&answer, data);
    }
    reader->continued = literal;
    reader->head_length = reader->tail_length = 0;
}

void answer_feed(struct answer_reader *reader, const char *bytes, size_t length, answer_found found,
                 void *data)
{
    const char *end = bytes + length;

    while (bytes < end) {
        const char *newline;

        if (reader->literal_left > 0) {
            uint64_t left = (uint64_t)(end - bytes);
            uint64_t skip = reader->literal_left < left ? reader->literal_left : left;

            reader->literal_left -= skip;
            bytes += skip;
            continue;
        }
        newline = memchr(bytes, '\n', (size_t)(end - bytes));
        keep(reader, bytes, (size_t)((newline != NULL ? newline : end) - bytes));
        if (newline == NULL)
            return;
        bytes = newline + 1;
        end_line(reader, found, data);
    }
}
