#include "store/internal/properties.h"

#include <string.h>

#include "store/internal/text.h"
#include "store/snapshot.h"

GPtrArray *keywords_new(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

bool keywords_find(const GPtrArray *keywords, const char *keyword, size_t length, size_t *index)
{
    for (guint i = 0; i < keywords->len; i++) {
        const char *known = g_ptr_array_index(keywords, i);

        if (strlen(known) == length && g_ascii_strncasecmp(known, keyword, length) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

bool keyword_valid(const char *keyword, size_t length)
{
    if (length == 0 || length > KEYWORD_LENGTH_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (keyword[i] <= 0x20 || keyword[i] >= 0x7f || strchr("(){%*\"\\]", keyword[i]) != NULL) {
            return false;
        }
    }
    return true;
}

bool mailbox_id_valid(const char *id, size_t length)
{
    if (length == 0 || length > MAILBOX_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isalnum(id[i]) && id[i] != '-' && id[i] != '_') {
            return false;
        }
    }
    return true;
}

/* name SP number LF */
static bool take_number(struct text *text, const char *name, uint64_t min, uint64_t max,
                        uint64_t *out)
{
    return text_word(text, name) && text_octet(text, ' ') && text_number(text, max, out) &&
           *out >= min && text_octet(text, '\n');
}

static bool take_mailbox_id(struct properties *out, struct text *text)
{
    struct text line;
    size_t length;

    if (!text_word(text, "mailboxid ") || !text_line(text, &line)) {
        return false;
    }
    length = (size_t)(line.end - line.at);
    if (!mailbox_id_valid(line.at, length)) {
        return false;
    }
    memcpy(out->mailbox_id, line.at, length);
    out->mailbox_id[length] = '\0';
    return true;
}

/* "keywords" 1*(SP keyword) LF, or nothing at all where there are none. */
static bool take_keywords(struct properties *out, struct text *text)
{
    struct text line;
    size_t index;

    if (text->at == text->end) {
        return true;
    }
    if (!text_word(text, "keywords") || !text_line(text, &line) || line.at == line.end) {
        return false;
    }
    while (line.at < line.end) {
        const char *start;
        size_t length;

        if (!text_octet(&line, ' ')) {
            return false;
        }
        start = line.at;
        while (line.at < line.end && *line.at != ' ') {
            line.at++;
        }
        length = (size_t)(line.at - start);
        if (!keyword_valid(start, length) || out->keywords->len == MAILBOX_KEYWORDS_MAX ||
            keywords_find(out->keywords, start, length, &index)) {
            return false;
        }
        g_ptr_array_add(out->keywords, g_strndup(start, length));
    }
    return true;
}

int properties_decode(struct properties *out, const void *data, size_t length,
                      struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    uint64_t format, uid_validity, uid_next;

    memset(out, 0, sizeof(*out));
    out->keywords = keywords_new();
    if (length == 0 || length > PROPERTIES_FILE_MAX) {
        return store_error_set(error, STORE_CORRUPT, "properties of %zu octets", length);
    }
    if (!take_number(&text, "format", 1, UINT32_MAX, &format)) {
        return store_error_set(error, STORE_CORRUPT, "properties without a format");
    }
    if (format != STORE_FORMAT) {
        return store_error_set(error, STORE_UNSUPPORTED, "mailbox format %u", (unsigned)format);
    }
    if (!take_mailbox_id(out, &text) ||
        !take_number(&text, "uidvalidity", 1, UINT32_MAX, &uid_validity) ||
        !take_number(&text, "uidnext", 1, UINT32_MAX, &uid_next) ||
        !take_number(&text, "highestmodseq", 1, MODSEQ_MAX, &out->highest_modseq) ||
        !take_keywords(out, &text) || text.at != text.end) {
        return store_error_set(error, STORE_CORRUPT, "malformed properties at octet %zu",
                               (size_t)(text.at - (const char *)data));
    }
    out->uid_validity = (uint32_t)uid_validity;
    out->uid_next = (uint32_t)uid_next;
    return 0;
}

void properties_release(struct properties *properties)
{
    g_clear_pointer(&properties->keywords, g_ptr_array_unref);
}

void properties_encode(GString *out, const struct properties *properties)
{
    g_string_append_printf(out,
                           "format %d\nmailboxid %s\nuidvalidity %" G_GUINT32_FORMAT
                           "\nuidnext %" G_GUINT32_FORMAT "\nhighestmodseq %" G_GUINT64_FORMAT "\n",
                           STORE_FORMAT, properties->mailbox_id, properties->uid_validity,
                           properties->uid_next, properties->highest_modseq);
    if (properties->keywords->len == 0) {
        return;
    }
    g_string_append(out, "keywords");
    for (guint i = 0; i < properties->keywords->len; i++) {
        g_string_append_c(out, ' ');
        g_string_append(out, g_ptr_array_index(properties->keywords, i));
    }
    g_string_append_c(out, '\n');
}
