#include "protocol/address.h"

#include <stdbool.h>
#include <string.h>

struct reader {
    const char *data;
    const char *end;
    struct structure *structure;
    size_t room; /* addresses that may still be added */
    bool in_group;
    GString *phrase;  /* words of the element at hand, one space between those apart */
    GString *local;   /* the same without spaces: a local-part, should "@" follow */
    GString *comment; /* the last one, without its parentheses */
    bool gap;         /* white space or a comment since the last word */
};

static bool at_end(const struct reader *reader)
{
    return reader->data == reader->end;
}

/* comment = "(" *([FWS] ccontent) [FWS] ")"; they nest. Content is appended to out. */
static void read_comment(struct reader *reader, GString *out)
{
    size_t depth = 0;
    for (; !at_end(reader); reader->data++) {
        char c = *reader->data;
        if (c == ')' && --depth == 0) {
            reader->data++;
            return;
        }
        if (c == '(' && depth++ == 0) {
            continue;
        }
        if (c == '\\' && reader->end - reader->data > 1) {
            c = *++reader->data;
        }
        g_string_append_c(out, c);
    }
}

/* White space and comments. */
static void skip_cfws(struct reader *reader)
{
    while (!at_end(reader)) {
        if (*reader->data == '(') {
            g_string_truncate(reader->comment, 0);
            read_comment(reader, reader->comment);
        } else if (g_ascii_isspace(*reader->data)) {
            reader->data++;
        } else {
            return;
        }
        reader->gap = true;
    }
}

static void read_quoted(struct reader *reader, GString *out)
{
    for (reader->data++; !at_end(reader); reader->data++) {
        char c = *reader->data;
        if (c == '"') {
            reader->data++;
            return;
        }
        if (c == '\\' && reader->end - reader->data > 1) {
            c = *++reader->data;
        }
        g_string_append_c(out, c);
    }
}

/* Anything that isn't special where a word may stand; dots, brackets and strays are let pass. */
static void read_atom(struct reader *reader, GString *out)
{
    const char *start = reader->data;
    while (!at_end(reader) && !g_ascii_isspace(*reader->data) &&
           (*reader->data == '\0' || strchr("(\"<>@,:;", *reader->data) == NULL)) {
        reader->data++;
    }
    g_string_append_len(out, start, reader->data - start);
}

/* One word to the end of the phrase; false at a special. */
static bool read_word(struct reader *reader)
{
    size_t start = reader->local->len;
    if (*reader->data == '"') {
        read_quoted(reader, reader->local);
    } else {
        const char *before = reader->data;
        read_atom(reader, reader->local);
        if (reader->data == before) {
            return false;
        }
    }
    if (reader->phrase->len > 0 && reader->gap) {
        g_string_append_c(reader->phrase, ' ');
    }
    g_string_append_len(reader->phrase, reader->local->str + start,
                        (gssize)(reader->local->len - start));
    reader->gap = false;
    return true;
}

static void read_words(struct reader *reader)
{
    g_string_truncate(reader->phrase, 0);
    g_string_truncate(reader->local, 0);
    do {
        skip_cfws(reader);
    } while (!at_end(reader) && read_word(reader));
}

static struct structure_text keep(struct reader *reader, const GString *text)
{
    return structure_keep(reader->structure, text->str, text->len);
}

static struct structure_text keep_if_any(struct reader *reader, const GString *text)
{
    return text->len == 0 ? (struct structure_text){0} : keep(reader, text);
}

static void add(struct reader *reader, struct structure_address address)
{
    if (reader->room > 0) {
        reader->room--;
        g_array_append_val(reader->structure->addresses, address);
    }
}

/* domain = dot-atom / domain-literal, after "@", without comments and white space */
static void read_domain(struct reader *reader, GString *out)
{
    g_string_truncate(out, 0);
    do {
        skip_cfws(reader);
        if (!at_end(reader) && *reader->data == '[') {
            while (!at_end(reader) && *reader->data != ']') {
                g_string_append_c(out, *reader->data++);
            }
        }
        const char *before = reader->data;
        read_atom(reader, out);
        if (reader->data == before) {
            break;
        }
        skip_cfws(reader);
        /* Only a dot joins words: the rest of "a@b c" is lost. */
    } while (!at_end(reader) && (*reader->data == '.' || out->str[out->len - 1] == '.'));
}

/* To the next octet of the set, or the end. */
static void skip_until(struct reader *reader, const char *set)
{
    for (;;) {
        skip_cfws(reader);
        if (at_end(reader) || (*reader->data != '\0' && strchr(set, *reader->data) != NULL)) {
            return;
        }
        if (*reader->data == '"') {
            g_string_truncate(reader->phrase, 0);
            read_quoted(reader, reader->phrase);
        } else {
            reader->data++;
        }
    }
}

/* obs-route = obs-domain-list ":", as far as the colon; returned as it stands, spaces removed. */
static struct structure_text read_route(struct reader *reader)
{
    g_autoptr(GString) route = g_string_new(NULL);
    skip_cfws(reader);
    if (at_end(reader) || (*reader->data != '@' && *reader->data != ',')) {
        return (struct structure_text){0};
    }
    while (!at_end(reader) && strchr(":>", *reader->data) == NULL) {
        g_string_append_c(route, *reader->data++);
        skip_cfws(reader);
    }
    if (!at_end(reader) && *reader->data == ':') {
        reader->data++;
    }
    return keep(reader, route);
}

/* angle-addr = [CFWS] "<" [obs-route] addr-spec ">" [CFWS]; after a phrase, if any. */
static void read_angle(struct reader *reader)
{
    struct structure_address address = {.name = keep_if_any(reader, reader->phrase)};
    reader->data++;
    address.route = read_route(reader);
    read_words(reader);
    address.mailbox = keep(reader, reader->local);
    g_string_truncate(reader->phrase, 0);
    if (!at_end(reader) && *reader->data == '@') {
        reader->data++;
        read_domain(reader, reader->phrase);
    }
    address.host = keep(reader, reader->phrase);
    skip_until(reader, ">,;");
    if (!at_end(reader) && *reader->data == '>') {
        reader->data++;
        skip_until(reader, ",;");
    }
    if (address.mailbox.length > 0 || address.host.length > 0 || address.name.data != NULL) {
        if (address.name.data == NULL) {
            address.name = keep_if_any(reader, reader->comment);
        }
        add(reader, address);
    }
}

/* addr-spec = local-part "@" domain, at the "@", or words that never come to one. */
static void read_bare(struct reader *reader)
{
    bool has_host = !at_end(reader) && *reader->data == '@';
    struct structure_address address = {
        .mailbox = keep(reader, has_host ? reader->local : reader->phrase)};
    g_string_truncate(reader->phrase, 0);
    if (has_host) {
        reader->data++;
        read_domain(reader, reader->phrase);
    }
    address.host = keep(reader, reader->phrase);
    skip_until(reader, ",;<");
    if (!at_end(reader) && *reader->data == '<') {
        /* "a@b <c@d>": what looked like an address is a name that ought to be quoted */
        g_string_printf(reader->phrase, "%s%s%s", address.mailbox.data,
                        address.host.length > 0 ? "@" : "", address.host.data);
        read_angle(reader);
        return;
    }
    address.name = keep_if_any(reader, reader->comment);
    add(reader, address);
}

static void begin_group(struct reader *reader)
{
    reader->data++;
    if (reader->in_group || reader->room < 2) {
        return;
    }
    add(reader, (struct structure_address){.mailbox = keep(reader, reader->phrase)});
    reader->room--; /* for its end */
    reader->in_group = true;
}

static void end_group(struct reader *reader)
{
    if (reader->in_group) {
        reader->in_group = false;
        reader->room++;
        add(reader, (struct structure_address){0});
    }
}

/* One element, or what stands between two. */
static void read_element(struct reader *reader)
{
    g_string_truncate(reader->comment, 0);
    read_words(reader);
    char next = at_end(reader) ? '\0' : *reader->data;
    if (next == ':') {
        begin_group(reader);
    } else if (next == '<') {
        read_angle(reader);
    } else if (next == '@' || reader->local->len > 0) {
        read_bare(reader);
    } else if (next == ';') {
        reader->data++;
        end_group(reader);
    } else if (!at_end(reader)) {
        reader->data++; /* "," or a stray ">" */
    }
}

struct structure_span address_list_parse(struct structure *structure, const char *text,
                                         size_t length, size_t limit)
{
    struct reader reader = {
        .data = text,
        .end = text + length,
        .structure = structure,
        .room = limit,
        .phrase = g_string_new(NULL),
        .local = g_string_new(NULL),
        .comment = g_string_new(NULL),
    };
    struct structure_span span = {.first = structure->addresses->len};
    while (!at_end(&reader) && reader.room > 0) {
        read_element(&reader);
    }
    end_group(&reader);
    span.count = structure->addresses->len - span.first;
    g_string_free(reader.phrase, TRUE);
    g_string_free(reader.local, TRUE);
    g_string_free(reader.comment, TRUE);
    return span;
}
