/* THREAD and UID THREAD (RFC 5256): the messages that match are found, what puts them into threads
 * is gathered, and the threads are made and told. Each of these phases gives way to others.
 *
 * Subjects and dates are those of the summaries. The Message IDs are read from the message's header
 * the first time, and kept under its blob's id.
 */
#include <string.h>

#include "protocol/header.h"
#include "protocol/limits.h"
#include "protocol/message_id.h"
#include "protocol/sort_key.h"
#include "server/found_messages.h"
#include "server/thread_tree.h"

/* The record of message_id.h. Kind and version under which records are kept. */
#define THREAD_KIND "message-ids.1"

enum {
    THREAD_TEXTS_MAX = 64 * 1024 * 1024,     /* octets of subjects; and of Message IDs */
    THREAD_CONTAINERS_MAX = 4 * 1024 * 1024, /* Message IDs, and messages without */
    THREAD_HEADER_USUAL = 64 * 1024,         /* octets of a large message that are read first */
    THREAD_WRITE_EVERY = 512,
};

enum thread_phase { THREAD_FIND, THREAD_GATHER, THREAD_BUILD, THREAD_WRITE };

struct thread_state {
    enum thread_phase phase;
    struct found_messages found;
    guint gathered; /* of found */
    bool by_references;
    struct text_places subjects;
    GByteArray *record; /* of Message IDs, of the message that is looked at */
    struct thread_tree tree;
    bool begun; /* the answer */
};

static void thread_state_free(void *data)
{
    struct thread_state *state = data;

    found_messages_release(&state->found);
    text_places_release(&state->subjects);
    g_byte_array_unref(state->record);
    thread_tree_release(&state->tree);
    g_free(state);
}

static void thread_begin(struct session *session, struct run *run)
{
    struct thread_state *state = g_new0(struct thread_state, 1);

    found_messages_init(&state->found, session, run);
    state->by_references = run->command->search.thread == THREAD_REFERENCES;
    text_places_init(&state->subjects);
    text_places_add(&state->subjects, ""); /* is 0 */
    state->record = g_byte_array_new();
    thread_tree_init(&state->tree, state->by_references);
    run->state = state;
    run->state_free = thread_state_free;
}

static bool thread_find(struct session *session, const struct run *run, struct thread_state *state)
{
    return found_messages_search(&state->found, session, run);
}

/* --- gathering --- */

static void make_record(GByteArray *record, const uint8_t *data, size_t length)
{
    g_byte_array_set_size(record, 0);
    message_id_record(record, data, header_block_length(data, length));
}

/* Of a large message no more is read than its header. */
static int record_from_stream(GByteArray *record, struct message_stream *stream,
                              struct store_error *error)
{
    uint64_t length = message_stream_length(stream);
    uint64_t first = MIN(length, THREAD_HEADER_USUAL);
    GBytes *piece;
    size_t had;
    int result = message_stream_gather(stream, 0, first, &piece, error);

    if (result == 0 && first < length &&
        header_block_length(g_bytes_get_data(piece, &had), (size_t)first) == first) {
        g_bytes_unref(piece);
        result =
            message_stream_gather(stream, 0, MIN(length, LIMIT_MIME_HEADER_SIZE), &piece, error);
    }
    if (result == 0) {
        const uint8_t *data = g_bytes_get_data(piece, &had);

        make_record(record, data, had);
        g_bytes_unref(piece);
    }
    return result;
}

static int record_from_message(struct thread_state *state, struct store_error *error)
{
    struct session_message *message = &state->found.message;
    int result = session_message_open(message, error);

    if (result == 0 && message->stream != NULL) {
        result = record_from_stream(state->record, message->stream, error);
    } else if (result == 0) {
        const uint8_t *data;
        size_t length;

        result = session_message_octets(message, &data, &length, error);
        if (result == 0) {
            make_record(state->record, data, length);
        }
    }
    return result;
}

static void gather_ids(struct session *session, struct thread_state *state)
{
    const struct object_id *blob = &state->found.message.message.blob;
    GByteArray *record = state->record;
    struct store_error error;

    if (account_derived_get(session->account, blob, THREAD_KIND, record) && record->len > 0 &&
        record->data[record->len - 1] == '\0') {
        return;
    }
    if (record_from_message(state, &error) == 0) {
        account_derived_put(session->account, blob, THREAD_KIND, record->data, record->len);
        return;
    }
    found_messages_fail(&state->found, session, &error);
    g_byte_array_set_size(record, 0);
    g_byte_array_append(record, (const guint8 *)"", 1);
}

static void gather_subject(struct thread_state *state, struct thread_message *message,
                           const struct summary *summary)
{
    struct summary_text subject = summary->fields[ENVELOPE_SUBJECT];
    GString *base = g_string_new(NULL);

    if (subject.data != NULL) {
        message->replies = sort_key_subject_replies(base, subject.data, subject.length);
    }
    message->subject = text_places_add(&state->subjects, base->str);
    g_string_free(base, TRUE);
}

static void gather_one(struct session *session, struct thread_state *state)
{
    struct thread_message message = {0};
    const struct summary *summary;

    found_messages_set(&state->found, session, state->gathered);
    summary = found_messages_summary(&state->found, session);
    message.sent = found_messages_sent(&state->found.message.message, summary);
    g_byte_array_set_size(state->record, 0);
    g_byte_array_append(state->record, (const guint8 *)"", 1);
    if (summary != NULL) {
        gather_subject(state, &message, summary);
        if (state->by_references) {
            gather_ids(session, state);
        }
    }
    thread_tree_add(&state->tree, &message, (const char *)state->record->data, state->record->len);
    state->gathered++;
}

static bool is_too_much(const struct thread_state *state)
{
    return state->subjects.octets > THREAD_TEXTS_MAX ||
           thread_tree_octets(&state->tree) > THREAD_TEXTS_MAX ||
           thread_tree_containers(&state->tree) > THREAD_CONTAINERS_MAX;
}

static bool thread_gather(struct session *session, const struct run *run,
                          struct thread_state *state)
{
    while (state->gathered < state->found.indexes->len && !is_too_much(state)) {
        gather_one(session, state);
        if (found_messages_check(&state->found, session, run, 1, true)) {
            return false;
        }
    }
    return true;
}

/* --- threads --- */

static bool thread_build(struct session *session, const struct run *run, struct thread_state *state)
{
    while (!thread_tree_step(&state->tree)) {
        if (session_should_yield(session, run)) {
            return false;
        }
    }
    return true;
}

struct numbers {
    const struct session *session;
    const struct run *run;
    const struct thread_state *state;
};

static uint32_t number_of(const void *data, uint32_t message)
{
    const struct numbers *numbers = data;

    return found_messages_number(&numbers->state->found, numbers->session, numbers->run, message);
}

static bool thread_write(struct session *session, const struct run *run, struct thread_state *state)
{
    struct numbers numbers = {session, run, state};

    if (!state->begun) {
        g_string_append(session_out(session),
                        state->found.indexes->len > 0 ? "* THREAD " : "* THREAD");
        state->begun = true;
    }
    while (!thread_tree_write(&state->tree, session_out(session), THREAD_WRITE_EVERY, number_of,
                              &numbers)) {
        if (session_should_yield(session, run)) {
            return false;
        }
    }
    g_string_append(session_out(session), "\r\n");
    return true;
}

/* --- the command --- */

enum run_status run_thread(struct session *session, struct run *run)
{
    static bool (*const phases[])(struct session *, const struct run *, struct thread_state *) = {
        [THREAD_FIND] = thread_find,
        [THREAD_GATHER] = thread_gather,
        [THREAD_BUILD] = thread_build,
        [THREAD_WRITE] = thread_write,
    };
    struct thread_state *state;

    if (run->command->search.bad_charset) {
        return session_finish(session, run, "NO", "BADCHARSET (US-ASCII UTF-8)",
                              "That charset is not known here");
    }
    if (run->state == NULL) {
        thread_begin(session, run);
    }
    for (state = run->state; state->phase <= THREAD_WRITE; state->phase++) {
        if (!phases[state->phase](session, run, state)) {
            return RUN_AGAIN;
        }
        if (state->phase == THREAD_GATHER && is_too_much(state)) {
            return session_finish(session, run, "NO", "LIMIT", "There is too much to be threaded");
        }
    }
    if (found_messages_failures(&state->found) > 0) {
        return session_finish(session, run, "OK", "CORRUPTION",
                              "Thread completed, but some messages could not be read");
    }
    return session_finish(session, run, "OK", NULL, "Thread completed");
}
