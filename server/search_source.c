#include "server/search_source.h"

#include <inttypes.h>
#include <string.h>

#include "protocol/header.h"

enum { FIELD_NOT_KEPT = -1 };

struct search_field {
    char *name; /* lower case */
    int kept;   /* enum envelope_field, or FIELD_NOT_KEPT: only the header block has it */
    bool addresses;
    bool present;
    GString *value;
};

static const struct {
    const char *name;
    enum envelope_field field;
    bool addresses;
} kept_fields[] = {
    {"bcc", ENVELOPE_BCC, true},
    {"cc", ENVELOPE_CC, true},
    {"date", ENVELOPE_DATE, false},
    {"from", ENVELOPE_FROM, true},
    {"in-reply-to", ENVELOPE_IN_REPLY_TO, false},
    {"message-id", ENVELOPE_MESSAGE_ID, false},
    {"reply-to", ENVELOPE_REPLY_TO, true},
    {"sender", ENVELOPE_SENDER, true},
    {"subject", ENVELOPE_SUBJECT, false},
    {"to", ENVELOPE_TO, true},
};

static void search_field_clear(void *data)
{
    struct search_field *field = data;

    g_free(field->name);
    g_string_free(field->value, TRUE);
}

static struct search_field *field_at(const struct search_source *source, size_t place)
{
    return &g_array_index(source->fields, struct search_field, place);
}

void search_source_init(struct search_source *source, struct session *session)
{
    memset(source, 0, sizeof(*source));
    session_message_init(&source->message, session);
    source->fields = g_array_new(FALSE, FALSE, sizeof(struct search_field));
    g_array_set_clear_func(source->fields, search_field_clear);
    source->places = g_hash_table_new(g_str_hash, g_str_equal);
}

void search_source_release(struct search_source *source)
{
    search_source_set(source, NULL);
    g_hash_table_destroy(source->places);
    g_array_unref(source->fields);
    session_message_release(&source->message);
}

bool search_source_keeps(const char *header)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kept_fields); i++) {
        if (g_ascii_strcasecmp(kept_fields[i].name, header) == 0) {
            return true;
        }
    }
    return false;
}

size_t search_source_use(struct search_source *source, const char *header)
{
    char *name = g_ascii_strdown(header, -1);
    size_t place = GPOINTER_TO_SIZE(g_hash_table_lookup(source->places, name));

    if (place != 0) {
        g_free(name);
        return place - 1;
    }
    struct search_field field = {.name = name, .kept = FIELD_NOT_KEPT, .value = g_string_new(NULL)};
    for (size_t i = 0; i < G_N_ELEMENTS(kept_fields); i++) {
        if (strcmp(kept_fields[i].name, name) == 0) {
            field.kept = (int)kept_fields[i].field;
            field.addresses = kept_fields[i].addresses;
        }
    }
    g_array_append_val(source->fields, field);
    g_hash_table_insert(source->places, name, GSIZE_TO_POINTER(source->fields->len));
    return source->fields->len - 1;
}

void search_source_set(struct search_source *source, const struct message *message)
{
    if (source->message_set) {
        for (size_t i = 0; i < SEARCH_TEXTS; i++) {
            g_clear_pointer(&source->texts[i], g_bytes_unref);
        }
        session_message_release(&source->message);
    }
    source->at = message;
    source->message_set = false;
    source->kept_loaded = false;
    source->block_loaded = false;
    source->failed = false;
}

static struct session_message *message_of(struct search_source *source)
{
    if (!source->message_set) {
        session_message_set(&source->message, source->at);
        source->message_set = true;
    }
    return &source->message;
}

static void fail(struct search_source *source, const struct store_error *error)
{
    if (!source->failed) {
        session_log(source->message.session, SESSION_LOG_ERROR,
                    "event=read uid=%" PRIu32 " error=\"%s\" detail=\"%s\"", source->at->uid,
                    store_code_name(error->code), error->detail);
    }
    source->failed = true;
}

/* "user (comment) @ host" is looked for as user@host too. Appends the value that begins at start
 * once more, on a line of its own, without comments and without space around '@' and '.'. */
static void append_bare_addresses(GString *out, size_t start)
{
    size_t end = out->len;
    unsigned depth = 0;
    bool quoted = false;

    g_string_append_c(out, '\n');
    for (size_t i = start; i < end; i++) {
        char c = out->str[i];

        if (c == '\\' && i + 1 < end && (quoted || depth > 0)) {
            c = out->str[++i];
        } else if (c == '"' && depth == 0) {
            quoted = !quoted;
        } else if (c == '(' && !quoted) {
            depth++;
        } else if (c == ')' && depth > 0) {
            depth--;
            continue;
        }
        if (depth > 0) {
            continue;
        }
        if (!quoted && (c == ' ' || c == '\t')) {
            if (strchr("@. \n", out->str[out->len - 1]) == NULL) {
                g_string_append_c(out, ' ');
            }
            continue;
        }
        if (!quoted && (c == '@' || c == '.') && out->str[out->len - 1] == ' ') {
            g_string_truncate(out, out->len - 1);
        }
        g_string_append_c(out, c);
    }
}

static void add_field_value(struct search_field *field, const char *value, size_t length)
{
    size_t start;

    if (field->present) {
        g_string_append_c(field->value, '\n');
    }
    start = field->value->len;
    field->present = true;
    header_decode(field->value, value, length);
    if (field->addresses && strpbrk(field->value->str + start, "(@") != NULL) {
        append_bare_addresses(field->value, start);
    }
}

static void clear_fields(struct search_source *source, bool kept)
{
    for (size_t i = 0; i < source->fields->len; i++) {
        struct search_field *field = field_at(source, i);

        if ((field->kept != FIELD_NOT_KEPT) == kept) {
            field->present = false;
            g_string_truncate(field->value, 0);
        }
    }
}

/* Fills fields from the header block, in one walk: those the structure keeps, or the rest. */
static void load_block(struct search_source *source, bool kept)
{
    const uint8_t *data;
    size_t length;
    size_t position = 0;
    struct header_field found;
    struct store_error error;

    clear_fields(source, kept);
    if (session_message_octets(message_of(source), &data, &length, &error) != 0) {
        fail(source, &error);
        return;
    }
    length = header_block_length(data, length);
    while (header_next(data, length, &position, &found)) {
        char *name = g_ascii_strdown(found.name, (gssize)found.name_length);
        size_t place = found.name_length == 0
                           ? 0
                           : GPOINTER_TO_SIZE(g_hash_table_lookup(source->places, name));

        g_free(name);
        if (place != 0 && (field_at(source, place - 1)->kept != FIELD_NOT_KEPT) == kept) {
            add_field_value(field_at(source, place - 1), found.value, found.value_length);
        }
    }
}

static void load_kept(struct search_source *source)
{
    const struct structure *structure;
    struct store_error error;

    if (session_message_structure(message_of(source), &structure, &error) != 0) {
        clear_fields(source, true);
        fail(source, &error);
        return;
    }
    if (!source->message.structure_final) {
        load_block(source, true);
        return;
    }
    clear_fields(source, true);
    for (size_t i = 0; i < source->fields->len; i++) {
        struct search_field *field = field_at(source, i);
        size_t length;

        if (field->kept != FIELD_NOT_KEPT) {
            const char *value =
                structure_field(structure, (enum envelope_field)field->kept, &length);

            if (value != NULL) {
                add_field_value(field, value, length);
            }
        }
    }
}

const GString *search_source_field(struct search_source *source, size_t place)
{
    const struct search_field *field = field_at(source, place);

    if (field->kept != FIELD_NOT_KEPT && !source->kept_loaded) {
        source->kept_loaded = true;
        load_kept(source);
    } else if (field->kept == FIELD_NOT_KEPT && !source->block_loaded) {
        source->block_loaded = true;
        load_block(source, false);
    }
    return field->present ? field->value : NULL;
}

GBytes *search_source_text(struct search_source *source, enum search_text which)
{
    const struct session_host *host = source->message.session->host;
    const uint8_t *data;
    size_t length;
    struct store_error error;

    if (source->texts[which] != NULL) {
        return source->texts[which];
    }
    if (session_message_octets(message_of(source), &data, &length, &error) != 0) {
        fail(source, &error);
        return NULL;
    }
    GBytes *text = host->text(host->data, data, length, which != SEARCH_TEXT_BODY_ONLY,
                              which != SEARCH_TEXT_HEADER_ONLY);
    source->texts[which] = text != NULL ? text : g_bytes_ref(source->message.octets);
    return source->texts[which];
}

bool search_source_failed(const struct search_source *source)
{
    return source->failed;
}
