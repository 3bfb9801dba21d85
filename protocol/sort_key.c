#include "protocol/sort_key.h"

#include <string.h>

#include "protocol/datetime.h"
#include "protocol/encoded_word.h"
#include "protocol/text_match.h"

/* --- base subjects --- */

struct text {
    const char *at;
    const char *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_space(struct text *text)
{
    while (text->at < text->end && is_space(*text->at))
        text->at++;
}

static bool skip_word(struct text *text, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(text->end - text->at) < length || g_ascii_strncasecmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP */
static bool skip_blob(struct text *text)
{
    const char *c = text->at;

    if (c == text->end || *c != '[')
        return false;
    for (c++; c < text->end && *c != '[' && *c != ']'; c++)
        ;
    if (c == text->end || *c != ']')
        return false;
    text->at = c + 1;
    skip_space(text);
    return true;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool skip_reply(struct text *text)
{
    struct text rest = *text;

    if (!skip_word(&rest, "re") && !skip_word(&rest, "fwd") && !skip_word(&rest, "fw"))
        return false;
    skip_space(&rest);
    skip_blob(&rest);
    if (!skip_word(&rest, ":"))
        return false;
    *text = rest;
    return true;
}

/* subj-leader = (*subj-blob subj-refwd) / WSP */
static bool skip_leader(struct text *text, bool *replies)
{
    struct text rest = *text;

    if (rest.at < rest.end && is_space(*rest.at)) {
        skip_space(text);
        return true;
    }
    while (skip_blob(&rest))
        ;
    if (!skip_reply(&rest))
        return false;
    *replies = true;
    *text = rest;
    return true;
}

/* A blob that leaves something. */
static bool skip_first_blob(struct text *text)
{
    struct text rest = *text;

    if (!skip_blob(&rest) || rest.at == rest.end)
        return false;
    *text = rest;
    return true;
}

/* subj-trailer = "(fwd)" / WSP */
static bool drop_trailer(struct text *text, bool *replies)
{
    static const char forwarded[] = "(fwd)";
    size_t length = sizeof forwarded - 1;

    if (text->at < text->end && is_space(text->end[-1])) {
        text->end--;
        return true;
    }
    if ((size_t)(text->end - text->at) < length ||
        g_ascii_strncasecmp(text->end - length, forwarded, length) != 0)
        return false;
    *replies = true;
    text->end -= length;
    return true;
}

/* subj-fwd = subj-fwd-hdr subject subj-fwd-trl: "[fwd:" and "]" */
static bool open_forwarded(struct text *text, bool *replies)
{
    struct text rest = *text;

    if (!skip_word(&rest, "[fwd:") || rest.at == rest.end || rest.end[-1] != ']')
        return false;
    rest.end--;
    *replies = true;
    *text = rest;
    return true;
}

static void append_with_single_spaces(GString *out, const struct text *text)
{
    bool space = false;

    for (const char *c = text->at; c < text->end; c++) {
        if (!is_space(*c))
            g_string_append_c(out, *c);
        else if (!space)
            g_string_append_c(out, ' ');
        space = is_space(*c);
    }
}

bool sort_key_subject_replies(GString *out, const char *subject, size_t length)
{
    const char *line_end = memchr(subject, '\n', MIN(length, SORT_KEY_MAX));
    struct text text = {subject, line_end != NULL ? line_end : subject + MIN(length, SORT_KEY_MAX)};
    bool replies = false;

    do {
        while (drop_trailer(&text, &replies))
            ;
        while (skip_leader(&text, &replies) || skip_first_blob(&text))
            ;
    } while (open_forwarded(&text, &replies));
    append_with_single_spaces(out, &text);
    return replies;
}

void sort_key_subject(GString *out, const char *subject, size_t length)
{
    sort_key_subject_replies(out, subject, length);
}

/* --- the answer to ENVELOPE --- */

/* The content of a literal whose "{" was read. */
static bool take_literal(struct text *text, GString *out)
{
    size_t length = 0;

    for (; text->at < text->end && g_ascii_isdigit(*text->at); text->at++)
        length = MIN(length * 10 + (size_t)(*text->at - '0'), (size_t)UINT32_MAX);
    if (!skip_word(text, "}\r\n") || length > (size_t)(text->end - text->at))
        return false;
    if (out != NULL)
        g_string_append_len(out, text->at, (gssize)MIN(length, SORT_KEY_MAX));
    text->at += length;
    return true;
}

static bool take_quoted(struct text *text, GString *out)
{
    size_t room = SORT_KEY_MAX;

    for (; text->at < text->end && *text->at != '"'; text->at++) {
        if (*text->at == '\\' && text->at + 1 < text->end)
            text->at++;
        if (out != NULL && room > 0) {
            g_string_append_c(out, *text->at);
            room--;
        }
    }
    return skip_word(text, "\"");
}

/* nstring; out NULL: it is passed over. *present: it was not NIL. */
static bool take_nstring(struct text *text, GString *out, bool *present)
{
    *present = true;
    if (skip_word(text, "\""))
        return take_quoted(text, out);
    if (skip_word(text, "{"))
        return take_literal(text, out);
    *present = false;
    return skip_word(text, "NIL");
}

/* A string, NIL or a list of such. */
static bool skip_value(struct text *text)
{
    unsigned depth = 0;
    bool present;

    do {
        if (skip_word(text, "(")) {
            depth++;
        } else if (depth > 0 && skip_word(text, ")")) {
            depth--;
        } else if (!take_nstring(text, NULL, &present)) {
            return false;
        }
        while (depth > 0 && skip_word(text, " "))
            ;
    } while (depth > 0);
    return true;
}

static bool find_field(struct text *text, struct summary_text envelope, enum envelope_field field)
{
    if (envelope.data == NULL)
        return false;
    *text = (struct text){envelope.data, envelope.data + envelope.length};
    if (!skip_word(text, "("))
        return false;
    for (int i = 0; i < (int)field; i++) {
        if (!skip_value(text) || !skip_word(text, " "))
            return false;
    }
    return true;
}

/* The mailbox, with its host where there is one. */
static bool take_address(struct text *text, GString *name, GString *mailbox, GString *host)
{
    bool present;

    return take_nstring(text, name, &present) && skip_word(text, " ") &&
           take_nstring(text, NULL, &present) && skip_word(text, " ") &&
           take_nstring(text, mailbox, &present) && skip_word(text, " ") &&
           take_nstring(text, host, &present);
}

void sort_key_address(GString *out, struct summary_text envelope, enum envelope_field list,
                      bool display)
{
    GString *name = g_string_new(NULL);
    GString *mailbox = g_string_new(NULL);
    GString *host = g_string_new(NULL);
    GString *decoded = g_string_new(NULL);
    struct text text;

    if (find_field(&text, envelope, list) && skip_word(&text, "((") &&
        take_address(&text, name, mailbox, host)) {
        if (display && host->len > 0)
            g_string_append_printf(mailbox, "@%s", host->str);
        if (display && name->len > 0)
            encoded_words_decode(decoded, name->str, name->len);
        if (decoded->len == 0)
            g_string_append_len(decoded, mailbox->str, (gssize)mailbox->len);
        text_fold(out, decoded->str, decoded->len);
    }
    g_string_free(name, TRUE);
    g_string_free(mailbox, TRUE);
    g_string_free(host, TRUE);
    g_string_free(decoded, TRUE);
}

bool sort_key_date(int64_t *seconds, struct summary_text envelope)
{
    GString *date = g_string_new(NULL);
    struct text text;
    bool present;
    int16_t zone;
    bool known = find_field(&text, envelope, ENVELOPE_DATE) &&
                 take_nstring(&text, date, &present) && present &&
                 datetime_parse_rfc5322(seconds, &zone, date->str, date->len);

    g_string_free(date, TRUE);
    return known;
}
