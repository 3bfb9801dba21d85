#include "server/search_source.h"

#include <inttypes.h>
#include <string.h>

#include "protocol/datetime.h"
#include "protocol/header.h"
#include "protocol/limits.h"
#include "protocol/plain_text.h"
#include "protocol/text_match.h"

enum { FIELD_NOT_KEPT = -1 };

struct search_field {
    char *name; /* lower case */
    int kept;   /* enum envelope_field, or FIELD_NOT_KEPT: only the header block has it */
    bool addresses;
    bool present;   /* in value */
    GString *value; /* folded; only of fields that the summary has not */
    bool has_sent;  /* of the Date field, where it comes from the header block */
    int32_t sent;
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
    source->scratch = g_string_new(NULL);
}

void search_source_release(struct search_source *source)
{
    search_source_set(source, NULL);
    g_hash_table_destroy(source->places);
    g_array_unref(source->fields);
    session_message_release(&source->message);
    g_string_free(source->scratch, TRUE);
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
    source->longest = MAX(source->longest, strlen(name));
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

static void add_field_value(struct search_source *source, struct search_field *field,
                            const char *value, size_t length)
{
    int64_t seconds;
    int16_t zone;

    if (field->present) {
        g_string_append_c(field->value, '\n');
    }
    g_string_truncate(source->scratch, 0);
    summary_decode_field(source->scratch, value, length, field->addresses);
    if (field->kept == ENVELOPE_DATE && !field->present &&
        datetime_parse_rfc5322(&seconds, &zone, source->scratch->str, source->scratch->len)) {
        field->has_sent = true;
        field->sent = date_of(seconds, zone);
    }
    text_fold(field->value, source->scratch->str, source->scratch->len);
    field->present = true;
}

static void clear_fields(struct search_source *source, bool kept)
{
    for (size_t i = 0; i < source->fields->len; i++) {
        struct search_field *field = field_at(source, i);

        if ((field->kept != FIELD_NOT_KEPT) == kept) {
            field->present = false;
            field->has_sent = false;
            g_string_truncate(field->value, 0);
        }
    }
}

/* The field of that name which some key looks at, or NULL. */
static struct search_field *find_field(struct search_source *source,
                                       const struct header_field *found)
{
    if (found->name_length == 0 || found->name_length > source->longest) {
        return NULL;
    }
    g_string_truncate(source->scratch, 0);
    g_string_append_len(source->scratch, found->name, (gssize)found->name_length);
    g_string_ascii_down(source->scratch);
    size_t place = GPOINTER_TO_SIZE(g_hash_table_lookup(source->places, source->scratch->str));
    return place == 0 ? NULL : field_at(source, place - 1);
}

/* Fills fields from the header block, in one walk: those the summary keeps, or the rest. */
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
        struct search_field *field = find_field(source, &found);

        if (field != NULL && (field->kept != FIELD_NOT_KEPT) == kept) {
            add_field_value(source, field, found.value, found.value_length);
        }
    }
}

/* From now on the summary answers, or the header block where the summary is not to be relied on. */
static void load_kept(struct search_source *source)
{
    const struct summary *summary;
    struct store_error error;

    source->kept_loaded = true;
    source->from_summary = false;
    if (session_message_summary(message_of(source), &summary, &error) != 0) {
        clear_fields(source, true);
        fail(source, &error);
    } else if (source->message.provisional) {
        load_block(source, true);
    } else {
        source->from_summary = true;
    }
}

static void load(struct search_source *source, const struct search_field *field)
{
    if (field->kept != FIELD_NOT_KEPT && !source->kept_loaded) {
        load_kept(source);
    } else if (field->kept == FIELD_NOT_KEPT && !source->block_loaded) {
        source->block_loaded = true;
        load_block(source, false);
    }
}

struct summary_text search_source_field(struct search_source *source, size_t place)
{
    const struct search_field *field = field_at(source, place);

    load(source, field);
    if (field->kept != FIELD_NOT_KEPT && source->from_summary) {
        return source->message.summary.fields[field->kept];
    }
    return field->present ? (struct summary_text){field->value->str, field->value->len}
                          : (struct summary_text){NULL, 0};
}

bool search_source_sent(struct search_source *source, size_t place, int32_t *day)
{
    const struct search_field *field = field_at(source, place);

    load(source, field);
    if (source->from_summary) {
        *day = source->message.summary.sent;
        return source->message.summary.has_sent;
    }
    *day = field->sent;
    return field->has_sent;
}

/* The text of most messages is had without the host. */
static GBytes *make_plain_text(struct search_source *source, const uint8_t *data, size_t length,
                               enum search_text which)
{
    const struct structure *structure;
    struct store_error error;

    if (length > LIMIT_SMALL_MIME_SIZE ||
        session_message_structure(&source->message, &structure, &error) != 0 ||
        source->message.provisional) {
        return NULL;
    }
    GString *text = g_string_sized_new(length);
    if (plain_text(text, data, length, structure, which != SEARCH_TEXT_BODY_ONLY,
                   which != SEARCH_TEXT_HEADER_ONLY)) {
        return g_string_free_to_bytes(text);
    }
    g_string_free(text, TRUE);
    return NULL;
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
    GBytes *text = make_plain_text(source, data, length, which);
    if (text == NULL) {
        text = host->text(host->data, data, length, which != SEARCH_TEXT_BODY_ONLY,
                          which != SEARCH_TEXT_HEADER_ONLY);
    }
    source->texts[which] = text != NULL ? text : g_bytes_ref(source->message.octets);
    return source->texts[which];
}

bool search_source_failed(const struct search_source *source)
{
    return source->failed;
}
