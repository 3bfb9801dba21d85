#include "server/dovecot_files.h"

#include <string.h>

/* What is left of a text; at <= end. */
struct cursor {
    const char *at;
    const char *end;
};

/* The next line without its end; *cut: it has none. */
static bool next_line(struct cursor *cursor, struct cursor *line, bool *cut)
{
    const char *newline;

    if (cursor->at == cursor->end)
        return false;
    newline = memchr(cursor->at, '\n', (size_t)(cursor->end - cursor->at));
    *cut = newline == NULL;
    line->at = cursor->at;
    line->end = newline != NULL ? newline : cursor->end;
    cursor->at = newline != NULL ? newline + 1 : cursor->end;
    return true;
}

/* A number from 1 to 2^32 - 1, and the space after it if there is more. */
static bool take_number(struct cursor *cursor, uint32_t *out)
{
    uint64_t value = 0;
    const char *start = cursor->at;

    while (cursor->at < cursor->end && g_ascii_isdigit(*cursor->at)) {
        value = value * 10 + (uint64_t)(*cursor->at - '0');
        if (value > UINT32_MAX)
            return false;
        cursor->at++;
    }
    if (cursor->at == start || value == 0)
        return false;
    if (cursor->at < cursor->end && *cursor->at++ != ' ')
        return false;
    *out = (uint32_t)value;
    return true;
}

/* "V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1": V and N are needed. */
static bool parse_header_3(struct uidlist *out, struct cursor *line)
{
    while (line->at < line->end) {
        const char *space = memchr(line->at, ' ', (size_t)(line->end - line->at));
        struct cursor value = {line->at + 1, space != NULL ? space : line->end};
        char key = *line->at;

        if (value.at > value.end)
            value.at = value.end;
        if (key == 'V' && !take_number(&value, &out->uid_validity))
            return false;
        if (key == 'N' && !take_number(&value, &out->uid_next))
            return false;
        line->at = space != NULL ? space + 1 : line->end;
    }
    return out->uid_validity > 0 && out->uid_next > 0;
}

static bool parse_header(struct uidlist *out, struct cursor *line, uint32_t *version)
{
    if (!take_number(line, version))
        return false;
    if (*version == 1)
        return take_number(line, &out->uid_validity) && take_number(line, &out->uid_next);
    return *version == 3 && parse_header_3(out, line);
}

/* Fields up to the file name, which a ':' begins. */
static bool skip_fields(struct cursor *line)
{
    while (line->at < line->end && *line->at != ':') {
        const char *space = memchr(line->at, ' ', (size_t)(line->end - line->at));

        if (space == NULL)
            return false;
        line->at = space + 1;
    }
    if (line->at == line->end)
        return false;
    line->at++;
    return true;
}

/* How much of a name in cur or new is the file's identity. */
static size_t base_length(const char *name, size_t length)
{
    const char *info = memchr(name, ':', length);

    return info != NULL ? (size_t)(info - name) : length;
}

/* The entries that were read last. */
struct entries {
    uint32_t before; /* the UID before last */
    uint32_t last;
    char *name; /* of last; borrowed from the table */
};

/* Takes a line. False: it is no entry, or its UID does not go with those before; *one_out: instead
 * of it the entry before was left out, whose UID was too high. */
static bool take_entry(struct uidlist *out, struct entries *entries, struct cursor line,
                       uint32_t version, bool *one_out)
{
    uint32_t uid;

    *one_out = false;
    if (!take_number(&line, &uid) || (version == 3 && !skip_fields(&line)) || line.at == line.end ||
        *line.at == ':' || uid <= entries->before)
        return false;
    if (uid <= entries->last) {
        g_hash_table_remove(out->uids, entries->name);
        entries->last = entries->before;
        *one_out = true;
    }
    entries->before = entries->last;
    entries->last = uid;
    entries->name = g_strndup(line.at, base_length(line.at, (size_t)(line.end - line.at)));
    g_hash_table_replace(out->uids, entries->name, GUINT_TO_POINTER(uid));
    return true;
}

bool uidlist_parse(struct uidlist *out, const char *data, size_t length, char **problem)
{
    struct cursor cursor = {data, data + length};
    struct entries entries = {0};
    struct cursor line;
    uint32_t version;
    unsigned number = 1;
    unsigned first_damaged = 0;
    bool cut;

    *problem = NULL;
    *out = (struct uidlist){
        .uids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    if (!next_line(&cursor, &line, &cut) || cut || !parse_header(out, &line, &version)) {
        *problem = g_strdup("line 1: not a list of UIDs of a known version");
        return false;
    }
    while (next_line(&cursor, &line, &cut) && !cut) {
        bool one_out;

        number++;
        if (!take_entry(out, &entries, line, version, &one_out) || one_out) {
            out->damaged++;
            first_damaged = first_damaged == 0 ? number - one_out : first_damaged;
        }
    }
    if (entries.last >= out->uid_next)
        out->uid_next = entries.last < UINT32_MAX ? entries.last + 1 : entries.last;
    if (out->damaged > 0)
        *problem = g_strdup_printf("line %u: not a UID, above the one before, and a file name; %u "
                                   "such lines",
                                   first_damaged, out->damaged);
    return out->damaged <= g_hash_table_size(out->uids);
}

void uidlist_release(struct uidlist *list)
{
    g_clear_pointer(&list->uids, g_hash_table_unref);
}

uint32_t uidlist_find(const struct uidlist *list, const char *name)
{
    char *base = g_strndup(name, base_length(name, strlen(name)));
    uint32_t uid = GPOINTER_TO_UINT(g_hash_table_lookup(list->uids, base));

    g_free(base);
    return uid;
}

void dovecot_keywords_parse(char *letters[DOVECOT_KEYWORDS], const char *data, size_t length)
{
    struct cursor cursor = {data, data + length};
    struct cursor line;
    bool cut;

    while (next_line(&cursor, &line, &cut)) {
        unsigned index = 0;
        const char *start = line.at;

        while (line.at < line.end && g_ascii_isdigit(*line.at) && index < DOVECOT_KEYWORDS)
            index = index * 10 + (unsigned)(*line.at++ - '0');
        if (line.at == start || index >= DOVECOT_KEYWORDS || letters[index] != NULL ||
            line.end - line.at < 2 || *line.at != ' ')
            continue;
        if (line.end[-1] == '\r')
            line.end--;
        letters[index] = g_strndup(line.at + 1, (size_t)(line.end - line.at - 1));
    }
}

/* A name of version 2: its levels are parted by tabs, and "\001t" and the like stand for what a
 * line can't hold. */
static char *unescape_name(const struct cursor *line)
{
    GString *name = g_string_new(NULL);

    for (const char *at = line->at; at < line->end; at++) {
        if (*at == '\t') {
            g_string_append_c(name, '/');
        } else if (*at != '\001' || at + 1 == line->end) {
            g_string_append_c(name, *at);
        } else {
            at++;
            g_string_append_c(name, *at == 't'   ? '\t'
                                    : *at == 'n' ? '\n'
                                    : *at == 'r' ? '\r'
                                    : *at == '1' ? '\001'
                                                 : *at);
        }
    }
    return g_string_free(name, FALSE);
}

void dovecot_subscriptions_parse(GPtrArray *names, const char *data, size_t length, char separator)
{
    static const char header[] = "V\t2";
    struct cursor cursor = {data, data + length};
    struct cursor line;
    bool second = false;
    bool first = true;
    bool cut;

    while (next_line(&cursor, &line, &cut)) {
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        if (first && (size_t)(line.end - line.at) == strlen(header) &&
            memcmp(line.at, header, strlen(header)) == 0) {
            second = true;
        } else if (line.at < line.end &&
                   memchr(line.at, '\0', (size_t)(line.end - line.at)) == NULL) {
            char *name =
                second ? unescape_name(&line) : g_strndup(line.at, (size_t)(line.end - line.at));

            for (char *at = name; !second && *at != '\0'; at++)
                if (*at == separator)
                    *at = '/';
            g_ptr_array_add(names, name);
        }
        first = false;
    }
}
