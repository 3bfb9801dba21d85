#include "protocol/summary.h"

#include <string.h>

#include "protocol/datetime.h"
#include "protocol/header.h"
#include "protocol/structure_tree.h"
#include "protocol/text_match.h"

enum {
    OFFSET_FLAGS = 5,
    OFFSET_MESSAGE_LENGTH = 8,
    OFFSET_SENT = 16,
    OFFSET_ENVELOPE = 20,
    OFFSET_BODYSTRUCTURE = 24,
    OFFSET_STRUCTURE = 28,
    OFFSET_FIELDS = 32,
    HEAD_SIZE = OFFSET_FIELDS + 4 * ENVELOPE_FIELD_COUNT,

    FLAG_FOR_UTF8 = 1 << 0,
    FLAG_SENT = 1 << 1,
};

static const uint8_t magic[5] = {'A', 'N', 'S', 'M', 1};

static void put_be32(uint8_t *out, uint32_t number)
{
    number = GUINT32_TO_BE(number);
    memcpy(out, &number, sizeof number);
}

static void put_be64(uint8_t *out, uint64_t number)
{
    number = GUINT64_TO_BE(number);
    memcpy(out, &number, sizeof number);
}

static uint32_t get_be32(const uint8_t *octets)
{
    uint32_t number;
    memcpy(&number, octets, sizeof number);
    return GUINT32_FROM_BE(number);
}

static uint64_t get_be64(const uint8_t *octets)
{
    uint64_t number;
    memcpy(&number, octets, sizeof number);
    return GUINT64_FROM_BE(number);
}

struct reader {
    const char *data;
    size_t left;
    bool failed;
};

static struct summary_text take(struct reader *reader, size_t length)
{
    struct summary_text text = {reader->data, length};
    if (length > reader->left) {
        reader->failed = true;
        return (struct summary_text){NULL, 0};
    }
    reader->data += length;
    reader->left -= length;
    return text;
}

bool summary_read(struct summary *out, const uint8_t *record, size_t length,
                  uint64_t message_length)
{
    if (length < HEAD_SIZE || memcmp(record, magic, sizeof magic) != 0 ||
        get_be64(record + OFFSET_MESSAGE_LENGTH) != message_length) {
        return false;
    }
    struct reader reader = {(const char *)record + HEAD_SIZE, length - HEAD_SIZE, false};
    out->for_utf8 = (record[OFFSET_FLAGS] & FLAG_FOR_UTF8) != 0;
    out->has_sent = (record[OFFSET_FLAGS] & FLAG_SENT) != 0;
    out->sent = (int32_t)get_be32(record + OFFSET_SENT);
    out->envelope = take(&reader, get_be32(record + OFFSET_ENVELOPE));
    out->bodystructure = take(&reader, get_be32(record + OFFSET_BODYSTRUCTURE));
    out->structure = take(&reader, get_be32(record + OFFSET_STRUCTURE));
    for (size_t i = 0; i < ENVELOPE_FIELD_COUNT; i++) {
        uint32_t number = get_be32(record + OFFSET_FIELDS + 4 * i);
        out->fields[i] =
            number == 0 ? (struct summary_text){NULL, 0} : take(&reader, (size_t)number - 1);
    }
    return !reader.failed && reader.left == 0;
}

/* Appends the value that begins at start once more, on a line of its own, without comments and
 * without space around '@' and '.'. */
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

void summary_decode_field(GString *out, const char *value, size_t length, bool addresses)
{
    size_t start = out->len;

    header_decode(out, value, length);
    if (addresses && strpbrk(out->str + start, "(@") != NULL) {
        append_bare_addresses(out, start);
    }
}

/* Writes the answers; true if they are the same for a client that takes UTF-8. */
static bool write_answers(GString *out, const struct structure *structure, uint32_t lengths[2])
{
    size_t start = out->len;

    structure_envelope(structure, out, false);
    lengths[0] = (uint32_t)(out->len - start);
    structure_body(structure, out, false, true);
    lengths[1] = (uint32_t)(out->len - start - lengths[0]);
    for (size_t i = start; i < out->len; i++) {
        if ((unsigned char)out->str[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static void write_fields(GByteArray *out, const struct structure *structure, size_t head)
{
    GString *decoded = g_string_new(NULL);
    GString *folded = g_string_new(NULL);

    for (int field = 0; field < ENVELOPE_FIELD_COUNT; field++) {
        size_t length;
        const char *value = structure_field(structure, (enum envelope_field)field, &length);
        int64_t seconds;
        int16_t zone;

        if (value == NULL) {
            continue;
        }
        g_string_truncate(decoded, 0);
        g_string_truncate(folded, 0);
        summary_decode_field(decoded, value, length,
                             field >= ENVELOPE_FROM && field <= ENVELOPE_BCC);
        if (field == ENVELOPE_DATE &&
            datetime_parse_rfc5322(&seconds, &zone, decoded->str, decoded->len)) {
            out->data[head + OFFSET_FLAGS] |= FLAG_SENT;
            put_be32(out->data + head + OFFSET_SENT, (uint32_t)date_of(seconds, zone));
        }
        text_fold(folded, decoded->str, decoded->len);
        put_be32(out->data + head + OFFSET_FIELDS + 4 * (size_t)field, (uint32_t)folded->len + 1);
        g_byte_array_append(out, (const guint8 *)folded->str, (guint)folded->len);
    }
    g_string_free(folded, TRUE);
    g_string_free(decoded, TRUE);
}

void summary_write(GByteArray *out, const struct structure *structure, uint64_t message_length)
{
    size_t head = out->len;
    uint32_t lengths[2];
    GString *answers = g_string_new(NULL);
    bool for_utf8 = write_answers(answers, structure, lengths);
    GBytes *record = for_utf8 ? structure_encode_parts(structure, message_length)
                              : structure_encode(structure, message_length);

    g_byte_array_set_size(out, (guint)(head + HEAD_SIZE));
    memset(out->data + head, 0, HEAD_SIZE);
    memcpy(out->data + head, magic, sizeof magic);
    out->data[head + OFFSET_FLAGS] = for_utf8 ? FLAG_FOR_UTF8 : 0;
    put_be64(out->data + head + OFFSET_MESSAGE_LENGTH, message_length);
    put_be32(out->data + head + OFFSET_ENVELOPE, lengths[0]);
    put_be32(out->data + head + OFFSET_BODYSTRUCTURE, lengths[1]);
    put_be32(out->data + head + OFFSET_STRUCTURE, (uint32_t)g_bytes_get_size(record));
    g_byte_array_append(out, (const guint8 *)answers->str, (guint)answers->len);
    g_byte_array_append(out, g_bytes_get_data(record, NULL), (guint)g_bytes_get_size(record));
    write_fields(out, structure, head);
    g_bytes_unref(record);
    g_string_free(answers, TRUE);
}
