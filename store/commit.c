#include "store/internal/commit.h"

#include <string.h>

#include "store/internal/text.h"

enum {
    SUBJECT_UIDS_WIDTH = 60,         /* octets of a list of UIDs, about */
    SUBJECT_FIELD_MAX = 120,         /* octets of a message's own subject */
    SUBJECT_SEARCH_MAX = 256 * 1024, /* octets of a header that are searched for it */
};

/* A name or address for git's author line: without what ends either. */
static void append_ident(GString *out, const char *text)
{
    gsize start = out->len;

    text_append_harmless(out, text, strlen(text), COMMIT_TRAILER_MAX);
    for (gsize i = start; i < out->len; i++) {
        if (strchr("<>", out->str[i]) != NULL) {
            out->str[i] = '_';
        }
    }
}

static void append_person(GString *out, const char *role, const char *user, int64_t seconds)
{
    g_string_append(out, role);
    g_string_append_c(out, ' ');
    append_ident(out, user);
    g_string_append(out, " <");
    append_ident(out, user);
    if (strchr(user, '@') == NULL) {
        g_string_append(out, "@localhost");
    }
    g_string_append_printf(out, "> %" G_GINT64_FORMAT " +0000\n", seconds);
}

static void append_trailer(GString *out, const char *name, const char *value)
{
    if (value == NULL || *value == '\0') {
        return;
    }
    g_string_append(out, name);
    g_string_append(out, ": ");
    text_append_harmless(out, value, strlen(value), COMMIT_TRAILER_MAX);
    g_string_append_c(out, '\n');
}

void commit_encode(GString *out, const struct object_id *tree, const struct object_id *parent,
                   const struct object_id *other, const char *user, const struct origin *origin,
                   const char *subject)
{
    char hex[OBJECT_ID_HEX + 1];
    int64_t seconds = MAX(origin->time, 0) / 1000000;

    object_id_format(tree, hex);
    g_string_append_printf(out, "tree %s\n", hex);
    if (parent != NULL) {
        object_id_format(parent, hex);
        g_string_append_printf(out, "parent %s\n", hex);
    }
    if (other != NULL) {
        object_id_format(other, hex);
        g_string_append_printf(out, "parent %s\n", hex);
    }
    append_person(out, "author", user, seconds);
    append_person(out, "committer", user, seconds);
    g_string_append_c(out, '\n');
    text_append_harmless(out, subject, strlen(subject), COMMIT_SUBJECT_MAX);
    g_string_append(out, "\n\n");
    append_trailer(out, "User", user);
    append_trailer(out, "Client", origin->client);
    append_trailer(out, "Session", origin->session);
    append_trailer(out, "Command", origin->command);
    if (origin->sender != NULL) {
        append_trailer(out, "From", *origin->sender != '\0' ? origin->sender : "<>");
    }
    append_trailer(out, "Delivery", origin->delivery);
}

int commit_add(struct object_batch *batch, const struct object_id *tree,
               const struct object_id *parent, const struct object_id *other, const char *user,
               const struct origin *origin, const char *subject, struct object_id *id,
               struct store_error *error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    commit_encode(text, tree, parent, other, user, origin, subject);
    return object_batch_add(batch, OBJECT_COMMIT, text->str, text->len, id, error);
}

static bool take_id(struct text *line, struct object_id *out)
{
    char hex[OBJECT_ID_HEX + 1];

    if (line->end - line->at != OBJECT_ID_HEX) {
        return false;
    }
    memcpy(hex, line->at, OBJECT_ID_HEX);
    hex[OBJECT_ID_HEX] = '\0';
    return object_id_parse(out, hex);
}

/* "... <...> seconds +zone"; leaves both alone where it is something else. */
static void read_person_time(int64_t *out_time, int *out_zone, struct text line)
{
    const char *close = memrchr(line.at, '>', (size_t)(line.end - line.at));
    uint64_t seconds, zone;
    bool west;

    if (close == NULL) {
        return;
    }
    line.at = close + 1;
    if (!text_octet(&line, ' ') || !text_number(&line, INT64_MAX, &seconds) ||
        !text_octet(&line, ' ') || line.end - line.at != 5) {
        return;
    }
    west = *line.at == '-';
    line.at++;
    zone = 0;
    for (; line.at < line.end && g_ascii_isdigit(*line.at); line.at++) {
        zone = zone * 10 + (uint64_t)(*line.at - '0');
    }
    if (line.at != line.end) {
        return;
    }
    *out_time = (int64_t)seconds;
    *out_zone = (int)(zone / 100 * 60 + zone % 100) * (west ? -1 : 1);
}

int commit_decode(struct commit *out, const void *data, size_t length, struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    struct text line;
    bool first_parent = true;
    int ignored_zone;

    memset(out, 0, sizeof(*out));
    if (length == 0 || !text_word(&text, "tree ") || !text_line(&text, &line) ||
        !take_id(&line, &out->tree)) {
        return store_error_set(error, STORE_CORRUPT, "a commit without a tree");
    }
    while (text_line(&text, &line) && line.at < line.end) {
        if (text_word(&line, "parent ")) {
            struct object_id parent;

            if (!take_id(&line, &parent)) {
                return store_error_set(error, STORE_CORRUPT, "a commit with a malformed parent");
            }
            if (first_parent) {
                out->parent = parent;
                first_parent = false;
            }
        } else if (text_word(&line, "author ")) {
            read_person_time(&out->time, &out->zone, line);
        } else if (text_word(&line, "committer ")) {
            read_person_time(&out->committed, &ignored_zone, line);
        }
    }
    out->message = text.at;
    out->message_length = (size_t)(text.end - text.at);
    return 0;
}

bool commit_line_id(struct text line, const char *word, struct object_id *out)
{
    return text_word(&line, word) && take_id(&line, out);
}

void commit_append_parents(GArray *out, const void *data, size_t length)
{
    struct text text = {data, (const char *)data + length};
    struct text line;
    struct object_id parent;

    while (text_line(&text, &line) && line.at < line.end) {
        if (commit_line_id(line, "parent ", &parent)) {
            g_array_append_val(out, parent);
        }
    }
}

void subject_append_uids(GString *out, const uint32_t *uids, size_t count)
{
    gsize start = out->len;
    size_t i = 0;

    while (i < count) {
        size_t last = i;

        if (out->len - start >= SUBJECT_UIDS_WIDTH) {
            g_string_append_printf(out, ",... (%zu messages)", count);
            return;
        }
        while (last + 1 < count && uids[last + 1] == uids[last] + 1) {
            last++;
        }
        g_string_append_printf(out, "%s%" G_GUINT32_FORMAT, i > 0 ? "," : "", uids[i]);
        if (last > i) {
            g_string_append_printf(out, ":%" G_GUINT32_FORMAT, uids[last]);
        }
        i = last + 1;
    }
}

void subject_append_from_message(GString *out, const uint8_t *message, size_t length)
{
    static const char field[] = "subject:";
    const char *at = (const char *)message;
    const char *end = at + MIN(length, (size_t)SUBJECT_SEARCH_MAX);
    g_autoptr(GString) value = g_string_new(NULL);
    bool inside = false;

    while (at < end && *at != '\n' && *at != '\r') {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        const char *text_end = line_end > at && line_end[-1] == '\r' ? line_end - 1 : line_end;

        if (inside && *at != ' ' && *at != '\t') {
            break;
        }
        if (inside) {
            g_string_append_len(value, at, text_end - at);
        } else if ((size_t)(text_end - at) >= strlen(field) &&
                   g_ascii_strncasecmp(at, field, strlen(field)) == 0) {
            inside = true;
            g_string_append_len(value, at + strlen(field), text_end - at - (gssize)strlen(field));
        }
        if (newline == NULL || value->len > SUBJECT_FIELD_MAX * 2) {
            break;
        }
        at = newline + 1;
    }
    for (gsize i = 0; i < value->len; i++) {
        if (value->str[i] == '\t') {
            value->str[i] = ' ';
        }
    }
    g_strstrip(value->str);
    text_append_harmless(out, value->str, strlen(value->str), SUBJECT_FIELD_MAX);
}
