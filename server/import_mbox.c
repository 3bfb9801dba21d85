#include "server/import_mbox.h"

#include <string.h>

#include "protocol/datetime.h"
#include "protocol/header.h"
#include "store/snapshot.h"

enum { KEYWORDS_PER_MESSAGE_MAX = 64 };

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

/* Whether the line at position is a field's first one: "Name: ...". */
static bool is_field(const char *data, size_t length, size_t position)
{
    size_t at = position;

    while (at < length && data[at] > ' ' && data[at] < '\x7f' && data[at] != ':')
        at++;
    return at > position && at < length && data[at] == ':';
}

/* Whether a message begins at position. A paragraph of one may begin with "From ", too, in files
 * that quote nothing: a From_ line has a date, or a single word at most (Thunderbird's), or fields
 * follow it. */
static bool is_separator(const char *data, size_t length, size_t position)
{
    size_t end;
    size_t at = position + FROM_LENGTH;
    int64_t seconds;
    int16_t zone;

    if (!is_from(data, length, position))
        return false;
    end = line_end(data, length, position);
    while (at < end && !g_ascii_isspace(data[at]))
        at++;
    while (at < end && g_ascii_isspace(data[at]))
        at++;
    return at == end || import_mbox_date(&seconds, &zone, data + position, end - position) ||
           is_field(data, length, end);
}

static bool is_empty_line(const char *data, size_t start, size_t end)
{
    return data[end - 1] == '\n' && (end - start == 1 || (end - start == 2 && data[start] == '\r'));
}

static bool field_is(const struct header_field *field, const char *name)
{
    return field->name_length == strlen(name) &&
           g_ascii_strncasecmp(field->name, name, field->name_length) == 0;
}

/* --- numbers in fields --- */

/* The next number of a field's value: 0 if there is none, or it is too large. */
static uint64_t take_number(const char **at, const char *end, uint64_t most)
{
    uint64_t value = 0;
    const char *start;

    while (*at < end && g_ascii_isspace(**at))
        ++*at;
    start = *at;
    while (*at < end && g_ascii_isdigit(**at) && *at - start < 19)
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    return (*at == end || g_ascii_isspace(**at)) && value <= most ? value : 0;
}

static uint64_t field_number(const struct header_field *field, uint64_t most)
{
    const char *at = field->value;

    return take_number(&at, field->value + field->value_length, most);
}

/* --- where messages begin and end --- */

/* One message, as offsets. */
struct item {
    size_t from;  /* of the "From " line */
    size_t start; /* of the message */
    size_t end;   /* of it, without the empty line that parts it from the next */
    size_t next;  /* of what follows */
    bool counted; /* its end is known from Content-Length */
};

/* The end that Content-Length tells, if there is one and a "From " line or the end of the file
 * follows: else 0. */
static size_t counted_end(const char *data, size_t length, size_t start)
{
    const uint8_t *message = (const uint8_t *)data + start;
    size_t block = header_block_length(message, length - start);
    size_t position = 0;
    struct header_field field;

    while (header_next(message, block, &position, &field)) {
        size_t end;
        size_t next;

        if (!field_is(&field, "Content-Length"))
            continue;
        end = start + block + (size_t)field_number(&field, IMPORT_MESSAGE_MAX);
        if (end > length || end < start + block)
            return 0;
        next = end < length ? line_end(data, length, end) : end;
        if (next > end && !is_empty_line(data, end, next))
            return 0;
        return next == length || is_from(data, length, next) ? end : 0;
    }
    return 0;
}

/* The message whose "From " line is at from. */
static void find_item(struct item *item, const char *data, size_t length, size_t from)
{
    size_t start = line_end(data, length, from);
    size_t position = start;
    size_t blank = start; /* where an empty line just before position starts; else position */

    *item = (struct item){.from = from, .start = start};
    item->end = counted_end(data, length, start);
    if (item->end != 0) {
        item->counted = true;
        item->next = item->end < length ? line_end(data, length, item->end) : length;
        return;
    }
    while (position < length) {
        size_t next = line_end(data, length, position);

        if (blank < position && is_separator(data, length, position))
            break;
        blank = is_empty_line(data, position, next) ? position : next;
        position = next;
    }
    /* The last message's own closing empty line is the format's too. */
    item->end = MIN(blank, position);
    item->next = position;
}

/* --- one message --- */

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
    char **words;

    header_unfold(text, value, length);
    words = g_strsplit_set(text->str, ", \t", KEYWORDS_PER_MESSAGE_MAX * 2);
    for (size_t i = 0; words[i] != NULL && keywords->len < KEYWORDS_PER_MESSAGE_MAX; i++)
        if (*words[i] != '\0')
            g_ptr_array_add(keywords, g_strdup(words[i]));
    g_strfreev(words);
    g_string_free(text, TRUE);
}

/* What the fields of a message's header say. */
struct facts {
    struct import_message message;
    GPtrArray *labels;
    uint32_t uid_validity; /* of X-IMAPbase or X-IMAP; 0: none */
    uint32_t uid_last;
    bool pseudo; /* no message: only what the mailbox is (X-IMAP), or one that was expunged */
};

static void read_base(struct facts *facts, const struct header_field *field)
{
    const char *at = field->value;
    const char *end = field->value + field->value_length;

    facts->uid_validity = (uint32_t)take_number(&at, end, UINT32_MAX);
    facts->uid_last = (uint32_t)take_number(&at, end, UINT32_MAX - 1);
    facts->pseudo = field_is(field, "X-IMAP");
}

/* Thunderbird's flags, four hexadecimal digits. */
static void read_mozilla_status(struct facts *facts, const struct header_field *field)
{
    GString *text = g_string_new(NULL);
    unsigned bits;

    header_unfold(text, field->value, field->value_length);
    bits = (unsigned)g_ascii_strtoull(text->str, NULL, 16);
    facts->message.flags |= ((bits & 0x1) != 0 ? MESSAGE_SEEN : 0) |
                            ((bits & 0x2) != 0 ? MESSAGE_ANSWERED : 0) |
                            ((bits & 0x4) != 0 ? MESSAGE_FLAGGED : 0);
    if ((bits & 0x1000) != 0)
        g_ptr_array_add(facts->message.keywords, g_strdup("$Forwarded"));
    facts->pseudo = facts->pseudo || (bits & 0x8) != 0;
    g_string_free(text, TRUE);
}

static void read_field(struct facts *facts, const struct header_field *field, bool *dated)
{
    struct import_message *message = &facts->message;

    if (field_is(field, "Status") || field_is(field, "X-Status"))
        message->flags |= status_flags(field);
    else if (field_is(field, "X-Mozilla-Status"))
        read_mozilla_status(facts, field);
    else if (field_is(field, "X-Keywords") || field_is(field, "X-Mozilla-Keys"))
        add_keywords(message->keywords, field->value, field->value_length);
    else if (field_is(field, "X-UID"))
        message->uid = (uint32_t)field_number(field, UINT32_MAX - 1);
    else if (field_is(field, "X-IMAPbase") || field_is(field, "X-IMAP"))
        read_base(facts, field);
    else if (field_is(field, "X-Gmail-Labels"))
        import_labels_parse(facts->labels, field->value, field->value_length, false);
    else if (field_is(field, "X-GM-LABELS"))
        import_labels_parse(facts->labels, field->value, field->value_length, true);
    else if (!*dated && field_is(field, "Date"))
        *dated = datetime_parse_rfc5322(&message->date, &message->zone, field->value,
                                        field->value_length);
}

/* A file being read. */
struct reading {
    const char *mailbox;
    const char *data;
    size_t length;
    int64_t fallback;
    uint64_t before;   /* octets of files that were read before */
    uint32_t uid_last; /* of X-IMAPbase; 0: UIDs are not known */
    const struct import_mbox_options *options;
    const struct import_sink *sink;
};

static void facts_read(struct facts *facts, const struct reading *reading, const struct item *item)
{
    const uint8_t *message = (const uint8_t *)reading->data + item->start;
    size_t block = header_block_length(message, item->end - item->start);
    size_t position = 0;
    struct header_field field;
    bool dated;

    *facts = (struct facts){
        .message = {.mailbox = reading->mailbox, .date = reading->fallback},
        .labels = g_ptr_array_new_with_free_func(g_free),
    };
    facts->message.keywords = g_ptr_array_new_with_free_func(g_free);
    dated = import_mbox_date(&facts->message.date, &facts->message.zone, reading->data + item->from,
                             item->start - item->from);
    while (header_next(message, block, &position, &field))
        read_field(facts, &field, &dated);
}

static void facts_release(struct facts *facts)
{
    g_ptr_array_unref(facts->message.keywords);
    g_ptr_array_unref(facts->labels);
}

/* Whether a field is the mbox's, not the message's: those that Dovecot hides, and what Gmail and
 * Thunderbird add. */
static bool is_own_field(const struct header_field *field)
{
    static const char *const names[] = {
        "Content-Length",    "Status",         "X-IMAP",     "X-IMAPbase",
        "X-Keywords",        "X-Status",       "X-UID",      "X-Gmail-Labels",
        "X-GM-LABELS",       "X-GM-THRID",     "X-GM-MSGID", "X-Mozilla-Status",
        "X-Mozilla-Status2", "X-Mozilla-Keys",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (field_is(field, names[i]))
            return true;
    return false;
}

/* The text without one '>' of each quoted "From " line. */
static void unquote(GString *out, const char *data, size_t start, size_t end,
                    enum import_mbox_quoting quoting)
{
    while (start < end) {
        size_t next = line_end(data, end, start);
        size_t from = start;

        while (from < next && data[from] == '>' && (quoting == IMPORT_MBOX_RD || from == start))
            from++;
        from = from > start && is_from(data, next, from) ? start + 1 : start;
        g_string_append_len(out, data + from, (gssize)(next - from));
        start = next;
    }
}

/* The octets from start to end as the message has them. */
static void append_text(GString *out, const struct reading *reading, const struct item *item,
                        size_t start, size_t end)
{
    if (item->counted || reading->options->quoting == IMPORT_MBOX_UNQUOTED)
        g_string_append_len(out, reading->data + start, (gssize)(end - start));
    else
        unquote(out, reading->data, start, end, reading->options->quoting);
}

static GString *message_text(const struct reading *reading, const struct item *item)
{
    const uint8_t *message = (const uint8_t *)reading->data + item->start;
    size_t block = header_block_length(message, item->end - item->start);
    GString *text = g_string_sized_new(item->end - item->start + 1);
    size_t position = 0;
    size_t copied = 0;
    struct header_field field;

    while (!reading->options->keep_bytes && header_next(message, block, &position, &field)) {
        if (is_own_field(&field)) {
            append_text(text, reading, item, item->start + copied, item->start + field.start);
            copied = field.end;
        }
    }
    append_text(text, reading, item, item->start + copied, item->end);
    return text;
}

static bool hand_on_labelled(struct facts *facts, const struct reading *reading)
{
    struct import_labelled labelled;
    bool go_on = true;

    import_labels_apply(&labelled, &reading->options->map, facts->labels);
    facts->message.flags |= labelled.flags;
    for (unsigned i = 0; i < labelled.keywords->len; i++)
        g_ptr_array_insert(facts->message.keywords, 0,
                           g_strdup(g_ptr_array_index(labelled.keywords, i)));
    for (unsigned i = 0; go_on && i < labelled.mailboxes->len; i++) {
        facts->message.mailbox = g_ptr_array_index(labelled.mailboxes, i);
        go_on = reading->sink->message(reading->sink->data, &facts->message);
    }
    import_labelled_release(&labelled);
    return go_on;
}

static bool hand_on(struct facts *facts, const struct reading *reading, const struct item *item)
{
    const struct import_sink *sink = reading->sink;
    GString *text;
    bool go_on;

    if (item->end - item->start > IMPORT_MESSAGE_MAX) {
        char *what = g_strdup_printf("message at octet %zu", item->start);

        import_skip(sink, what, "too large");
        g_free(what);
        return true;
    }
    text = message_text(reading, item);
    facts->message.data = text->str;
    facts->message.length = text->len;
    g_ptr_array_add(facts->message.keywords, NULL);
    go_on = reading->options->labels ? hand_on_labelled(facts, reading)
                                     : sink->message(sink->data, &facts->message);
    g_string_free(text, TRUE);
    return go_on;
}

/* --- all messages --- */

/* Those without a UID in a file where others have one come after all others. */
struct later {
    GArray *items; /* struct item */
    uint32_t uid;  /* the last one seen */
};

static bool deliver(const struct reading *reading, const struct item *item, struct later *later)
{
    const struct import_sink *sink = reading->sink;
    struct facts facts;
    enum import_wish wish = IMPORT_WANTED;
    bool go_on = true;

    facts_read(&facts, reading, item);
    if (later == NULL || reading->uid_last == 0) {
        facts.message.uid = 0;
    } else if (facts.message.uid <= later->uid || facts.message.uid > reading->uid_last) {
        wish = IMPORT_LATER;
    } else {
        later->uid = facts.message.uid;
        wish = sink->wish(sink->data, &facts.message);
    }
    if (wish == IMPORT_WANTED && !facts.pseudo)
        go_on = hand_on(&facts, reading, item);
    else if (wish == IMPORT_LATER && !facts.pseudo)
        g_array_append_val(later->items, *item);
    facts_release(&facts);
    if (later != NULL)
        sink->progress(sink->data, reading->before + item->next);
    return go_on;
}

static bool deliver_all(const struct reading *reading)
{
    struct later later = {.items = g_array_new(FALSE, FALSE, sizeof(struct item))};
    struct item item = {0};
    bool go_on = true;

    while (go_on && item.next < reading->length) {
        find_item(&item, reading->data, reading->length, item.next);
        go_on = deliver(reading, &item, &later);
    }
    for (unsigned i = 0; go_on && i < later.items->len; i++)
        go_on = deliver(reading, &g_array_index(later.items, struct item, i), NULL);
    g_array_unref(later.items);
    return go_on;
}

/* The mailbox, with its UIDVALIDITY if the first message tells. */
static bool enter(struct reading *reading)
{
    struct import_mailbox mailbox = {.name = reading->mailbox};
    struct facts facts;
    struct item item;

    if (reading->options->labels)
        return true;
    if (reading->length > 0) {
        find_item(&item, reading->data, reading->length, 0);
        facts_read(&facts, reading, &item);
        if (facts.uid_validity != 0 && facts.uid_last != 0) {
            mailbox.uid_validity = facts.uid_validity;
            mailbox.uid_next = facts.uid_last + 1;
            reading->uid_last = facts.uid_last;
        }
        facts_release(&facts);
    }
    return reading->sink->mailbox(reading->sink->data, &mailbox);
}

bool import_mbox_part(const char *mailbox, const char *data, size_t length, int64_t fallback,
                      uint64_t before, const struct import_mbox_options *options,
                      const struct import_sink *sink, char **problem)
{
    struct reading reading = {
        .mailbox = mailbox,
        .data = data,
        .length = length,
        .fallback = fallback,
        .before = before,
        .options = options,
        .sink = sink,
    };

    *problem = NULL;
    if (length > 0 && !is_from(data, length, 0)) {
        *problem = g_strdup("not an mbox: it does not begin with \"From \"");
        return false;
    }
    return enter(&reading) && deliver_all(&reading);
}
