#include "protocol/encoded_word.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "protocol/base64.h"
#include "protocol/charset.h"

struct encoded_word {
    const char *charset;
    size_t charset_length;
    char encoding; /* 'B' or 'Q' */
    const char *text;
    size_t text_length;
    const char *end;
};

/* encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" (RFC 2231 5).
 * No step looks past the next '?', so a text of nothing but "=?" costs no more than its length. */
static bool parse_word(struct encoded_word *out, const char *text, const char *end)
{
    const char *charset = text + 2;
    const char *mark = memchr(charset, '?', (size_t)(end - charset));
    if (mark == NULL || mark == charset || end - mark < 3 || mark[2] != '?') {
        return false;
    }
    out->encoding = g_ascii_toupper(mark[1]);
    out->text = mark + 3;
    const char *text_end = memchr(out->text, '?', (size_t)(end - out->text));
    if ((out->encoding != 'B' && out->encoding != 'Q') || text_end == NULL || end - text_end < 2 ||
        text_end[1] != '=') {
        return false;
    }
    const char *language = memchr(charset, '*', (size_t)(mark - charset));
    out->charset = charset;
    out->charset_length = (size_t)((language == NULL ? mark : language) - charset);
    out->text_length = (size_t)(text_end - out->text);
    out->end = text_end + 2;
    return true;
}

static void decode_base64(GString *out, const char *text, size_t length)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < length; i++) {
        int value = base64_value(text[i]);
        if (text[i] == '=') {
            count = 0; /* senders glue padded pieces together within one word, too */
        }
        if (value < 0) {
            continue;
        }
        bits = (bits << 6) | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            g_string_append_c(out, (char)(bits >> count));
        }
    }
}

static void decode_q(GString *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '_') {
            g_string_append_c(out, ' ');
        } else if (text[i] == '=' && length - i > 2 && g_ascii_isxdigit(text[i + 1]) &&
                   g_ascii_isxdigit(text[i + 2])) {
            int octet = g_ascii_xdigit_value(text[i + 1]) * 16 + g_ascii_xdigit_value(text[i + 2]);
            g_string_append_c(out, (char)octet);
            i += 2;
        } else {
            g_string_append_c(out, text[i]);
        }
    }
}

/* Adjacent words of one charset, decoded so far. */
struct run {
    struct encoded_word first;
    const char *start; /* NULL: there is no run */
    const char *end;
    GString *octets;
};

static void run_flush(struct run *run, GString *out)
{
    if (run->start == NULL) {
        return;
    }
    if (!charset_append(out, run->first.charset, run->first.charset_length, run->octets->str,
                        run->octets->len)) {
        charset_append_valid(out, run->start, (size_t)(run->end - run->start));
    }
    g_string_truncate(run->octets, 0);
    run->start = NULL;
}

static void run_add(struct run *run, GString *out, const char *start,
                    const struct encoded_word *word)
{
    if (run->start != NULL &&
        (run->first.charset_length != word->charset_length ||
         g_ascii_strncasecmp(run->first.charset, word->charset, word->charset_length) != 0)) {
        run_flush(run, out);
    }
    if (run->start == NULL) {
        run->first = *word;
        run->start = start;
    }
    if (word->encoding == 'B') {
        decode_base64(run->octets, word->text, word->text_length);
    } else {
        decode_q(run->octets, word->text, word->text_length);
    }
    run->end = word->end;
}

static bool is_white(const char *start, const char *end)
{
    while (start < end && g_ascii_isspace(*start)) {
        start++;
    }
    return start == end;
}

void encoded_words_decode(GString *out, const char *text, size_t length)
{
    const char *end = text + length;
    const char *plain = text; /* start of what is not yet written and not in the run */
    struct run run = {.octets = g_string_new(NULL)};
    for (const char *p = text; p < end;) {
        const char *start = memmem(p, (size_t)(end - p), "=?", 2);
        struct encoded_word word;
        if (start == NULL) {
            break;
        }
        if (!parse_word(&word, start, end)) {
            p = start + 2;
            continue;
        }
        /* White space between two encoded-words is not shown (RFC 2047 6.2). */
        if (run.start == NULL || !is_white(plain, start)) {
            run_flush(&run, out);
            charset_append_valid(out, plain, (size_t)(start - plain));
        }
        run_add(&run, out, start, &word);
        p = word.end;
        plain = p;
    }
    run_flush(&run, out);
    charset_append_valid(out, plain, (size_t)(end - plain));
    g_string_free(run.octets, TRUE);
}
