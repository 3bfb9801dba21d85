#include "server/session_message.h"

#include <string.h>

#include "protocol/mime_parse.h"

void session_message_init(struct session_message *message, struct session *session)
{
    memset(message, 0, sizeof(*message));
    message->session = session;
    message->record = g_byte_array_new();
}

static void session_message_forget(struct session_message *message)
{
    g_clear_pointer(&message->octets, g_bytes_unref);
    g_clear_pointer(&message->stream, message_stream_unref);
    g_clear_pointer(&message->structure, structure_free);
    message->has_summary = false;
    message->provisional = false;
}

void session_message_release(struct session_message *message)
{
    session_message_forget(message);
    g_clear_pointer(&message->record, g_byte_array_unref);
}

void session_message_set(struct session_message *message, const struct message *of)
{
    session_message_forget(message);
    message->message = *of;
}

static void message_bytes_free(void *data)
{
    struct message_bytes *bytes = data;

    message_bytes_release(bytes);
    g_free(bytes);
}

int session_message_octets(struct session_message *message, const uint8_t **data, size_t *length,
                           struct store_error *error)
{
    if (message->octets == NULL) {
        struct message_bytes *bytes = g_new0(struct message_bytes, 1);
        int result = mailbox_read(message->session->mailbox, &message->message.blob, bytes, error);

        if (result != 0) {
            g_free(bytes);
            return result;
        }
        message->octets =
            g_bytes_new_with_free_func(bytes->data, bytes->length, message_bytes_free, bytes);
    }
    *data = g_bytes_get_data(message->octets, length);
    return 0;
}

int session_message_open(struct session_message *message, struct store_error *error)
{
    const uint8_t *data;
    size_t length;

    if (message->message.size <= SESSION_MESSAGE_WHOLE_MAX) {
        return session_message_octets(message, &data, &length, error);
    }
    if (message->stream == NULL) {
        return mailbox_open_message(message->session->mailbox, &message->message.blob,
                                    &message->stream, error);
    }
    return 0;
}

uint64_t session_message_length(const struct session_message *message)
{
    return message->stream != NULL ? message_stream_length(message->stream)
                                   : g_bytes_get_size(message->octets);
}

void session_message_drop_octets(struct session_message *message)
{
    if (message->stream != NULL) {
        g_clear_pointer(&message->octets, g_bytes_unref);
    }
}

static bool read_record(struct session_message *message, uint64_t length)
{
    message->has_summary =
        summary_read(&message->summary, message->record->data, message->record->len, length);
    return message->has_summary;
}

/* A structure from the process that parses what is not to be parsed here; NULL if what it said
 * is nonsense. */
static struct structure *structure_from_host(struct session_message *message, const uint8_t *data,
                                             size_t length)
{
    const struct session_host *host = message->session->host;
    bool final = true;
    GBytes *record = host->structure(host->data, data, length, &final);
    struct structure *structure = structure_decode(record, length);

    g_bytes_unref(record);
    message->provisional = structure == NULL || !final;
    if (structure == NULL) {
        record = structure_plain(data, length);
        structure = structure_decode(record, length);
        g_bytes_unref(record);
    }
    return structure;
}

static int make_summary(struct session_message *message, struct store_error *error)
{
    const uint8_t *data;
    size_t length;
    int result = session_message_octets(message, &data, &length, error);

    if (result != 0) {
        return result;
    }
    g_clear_pointer(&message->structure, structure_free);
    message->structure = mime_parse(data, length, false, &mime_bounds_small);
    if (message->structure == NULL) {
        message->structure = structure_from_host(message, data, length);
    }
    if (message->structure != NULL) {
        g_byte_array_set_size(message->record, 0);
        summary_write(message->record, message->structure, length);
    }
    if (message->structure == NULL || !read_record(message, length)) {
        return store_error_set(error, STORE_UNSUPPORTED,
                               "no structure can be made of this message");
    }
    if (!message->provisional) {
        account_derived_put(message->session->account, &message->message.blob, SUMMARY_KIND,
                            message->record->data, message->record->len);
    }
    return 0;
}

int session_message_summary(struct session_message *message, const struct summary **out,
                            struct store_error *error)
{
    *out = &message->summary;
    if (message->has_summary ||
        (account_derived_get(message->session->account, &message->message.blob, SUMMARY_KIND,
                             message->record) &&
         read_record(message, message->message.size))) {
        return 0;
    }
    return make_summary(message, error);
}

int session_message_structure(struct session_message *message, const struct structure **out,
                              struct store_error *error)
{
    const struct summary *summary;
    int result = 0;

    if (message->structure == NULL) {
        result = session_message_summary(message, &summary, error);
    }
    if (result == 0 && message->structure == NULL) {
        GBytes *record = g_bytes_new(summary->structure.data, summary->structure.length);

        message->structure = structure_decode(record, message->message.size);
        g_bytes_unref(record);
    }
    if (result == 0 && message->structure == NULL) {
        result = make_summary(message, error);
    }
    *out = message->structure;
    return result;
}

void session_write_email_id(GString *out, const struct message *message)
{
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(&message->blob, hex);
    g_string_append_c(out, 'M');
    g_string_append(out, hex);
}

void session_parse_email_id(struct object_id *out, const char *text)
{
    if (*text != 'M' || !object_id_parse(out, text + 1)) {
        *out = (struct object_id){{0}};
    }
}

GArray *session_message_uids(const struct session *session, const GArray *indexes)
{
    GArray *uids = g_array_sized_new(FALSE, FALSE, sizeof(uint32_t), indexes->len);

    for (size_t i = 0; i < indexes->len; i++) {
        size_t index = g_array_index(indexes, uint32_t, i);
        uint32_t uid = snapshot_message(session->view, index).uid;

        g_array_append_val(uids, uid);
    }
    return uids;
}

bool session_messages_gone(const struct session *session, const GArray *uids)
{
    const struct snapshot *newest = mailbox_snapshot(session->mailbox);

    for (size_t i = 0; newest != session->view && i < uids->len; i++) {
        size_t index;

        if (!snapshot_find(newest, g_array_index(uids, uint32_t, i), &index)) {
            return true;
        }
    }
    return false;
}

enum run_status session_finish_bad_set(struct session *session, struct run *run)
{
    return session_finish(session, run, "BAD", NULL, "No message has that sequence number");
}
