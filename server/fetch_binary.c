#include "server/fetch_binary.h"

#include <assert.h>
#include <string.h>

#include "protocol/response.h"
#include "server/fetch_body.h"

/* Content of which so much at most is asked for is kept while it is measured; other content is
 * decoded again when it is sent. */
enum { FETCH_BINARY_KEPT_MAX = 256 * 1024 };

bool fetch_binary_is(const struct fetch_item *item)
{
    return item->kind == FETCH_BINARY || item->kind == FETCH_BINARY_SIZE;
}

/* False: there is no such part. */
static bool find_content(const struct session_message *message, const struct fetch_item *item,
                         struct structure_content *out)
{
    uint64_t length = session_message_length(message);

    if (item->part_count == 0) {
        *out = (struct structure_content){.range = {0, length}, .encoding = TRANSFER_IDENTITY};
        return true;
    }
    if (!structure_content(message->structure, item->parts, item->part_count, out)) {
        return false;
    }
    /* The structure may rest on a size in the index that the blob belies. */
    out->range.start = MIN(out->range.start, length);
    out->range.length = MIN(out->range.length, length - out->range.start);
    return true;
}

bool fetch_binary_can_decode(const struct session_message *message, const struct fetch_item *item)
{
    struct structure_content content;

    return !find_content(message, item, &content) || content.encoding != TRANSFER_UNKNOWN;
}

/* --- measuring --- */

/* Of the decoded octets those that are asked for. */
struct measure {
    uint64_t offset;
    uint64_t end;  /* behind the last one */
    uint64_t size; /* of all octets so far */
    bool has_nul;  /* among those that are asked for */
    GByteArray *kept;
    bool keeps;
};

static void measure_add(struct measure *measure, const GByteArray *decoded)
{
    uint64_t from = measure->offset > measure->size ? measure->offset - measure->size : 0;
    uint64_t to = measure->end > measure->size ? measure->end - measure->size : 0;

    to = MIN(to, decoded->len);
    if (from < to) {
        const uint8_t *data = decoded->data + from;

        measure->has_nul = measure->has_nul || memchr(data, '\0', (size_t)(to - from)) != NULL;
        if (measure->keeps) {
            g_byte_array_append(measure->kept, data, (guint)(to - from));
        }
    }
    measure->size += decoded->len;
}

static int read_piece(struct session_message *message, uint64_t offset, uint64_t max, GBytes **out,
                      struct store_error *error)
{
    if (message->stream != NULL) {
        return message_stream_read(message->stream, offset, max, out, error);
    }
    *out = g_bytes_new_from_bytes(message->octets, offset, max);
    return 0;
}

/* Decodes until the end of what is asked for. */
static int measure_content(struct session_message *message, const struct structure_content *content,
                           struct measure *measure, struct store_error *error)
{
    g_autoptr(GByteArray) decoded = g_byte_array_new();
    struct transfer_decoder decoder;
    uint64_t at = 0;

    transfer_decoder_init(&decoder, content->encoding, content->lines);
    while (at < content->range.length && measure->size < measure->end) {
        GBytes *piece;
        gsize size;
        int result = read_piece(message, content->range.start + at, content->range.length - at,
                                &piece, error);

        if (result != 0) {
            return result;
        }
        const uint8_t *data = g_bytes_get_data(piece, &size);
        transfer_decode(&decoder, decoded, data, size);
        g_bytes_unref(piece);
        at += size;
        measure_add(measure, decoded);
        g_byte_array_set_size(decoded, 0);
    }
    if (at == content->range.length) {
        transfer_decode_end(&decoder, decoded);
        measure_add(measure, decoded);
    }
    return 0;
}

/* --- writing --- */

/* literal8 only where there is a NUL, so that the client knows (RFC 3516 4.3). */
static void write_content(struct session_message *message, const struct structure_content *content,
                          struct measure *measure)
{
    struct session *session = message->session;
    GString *out = session_out(session);
    uint64_t end = MIN(measure->end, measure->size);
    uint64_t length = end > measure->offset ? end - measure->offset : 0;

    if (length == 0) {
        g_string_append(out, "\"\"");
        return;
    }
    if (measure->has_nul) {
        g_string_append_c(out, '~');
    }
    response_literal_header(out, length);
    if (measure->keeps) {
        session_out_take(session, g_byte_array_free_to_bytes(g_steal_pointer(&measure->kept)));
    } else {
        session_out_decoded(session, message->stream, message->message.uid, content,
                            measure->offset, length);
    }
}

static uint64_t asked_end(const struct fetch_item *item)
{
    if (!item->partial || item->length > UINT64_MAX - item->offset) {
        return UINT64_MAX;
    }
    return item->offset + item->length;
}

static void write_item(struct session_message *message, const struct fetch_item *item,
                       const struct structure_content *content)
{
    GString *out = session_out(message->session);
    struct measure measure = {.offset = item->offset, .end = asked_end(item)};
    struct store_error error;

    /* A stream is decoded again; octets in memory are few. Lines may grow to twice as many. */
    measure.keeps =
        item->kind == FETCH_BINARY &&
        (message->stream == NULL || measure.end - measure.offset <= FETCH_BINARY_KEPT_MAX ||
         content->range.length <= FETCH_BINARY_KEPT_MAX);
    measure.kept = g_byte_array_new();
    if (measure_content(message, content, &measure, &error) != 0) {
        session_break(message->session, message->message.uid, &error);
    } else if (item->kind == FETCH_BINARY_SIZE) {
        response_number(out, measure.size);
    } else {
        write_content(message, content, &measure);
    }
    g_clear_pointer(&measure.kept, g_byte_array_unref);
}

void fetch_binary_write(struct session_message *message, const struct fetch_item *item)
{
    GString *out = session_out(message->session);
    bool size_only = item->kind == FETCH_BINARY_SIZE;
    struct structure_content content;

    assert(fetch_binary_is(item) && (message->octets != NULL || message->stream != NULL));
    fetch_body_write_section(out, size_only ? "BINARY.SIZE[" : "BINARY[", item,
                             message->session->utf8);
    g_string_append_c(out, ' ');
    if (find_content(message, item, &content)) {
        write_item(message, item, &content);
    } else {
        g_string_append(out, size_only ? "0" : "NIL");
    }
}
