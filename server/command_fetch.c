/* FETCH and UID FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): one message after the other, one item
 * after the other, giving way between them. */
#include <inttypes.h>
#include <string.h>

#include "protocol/response.h"
#include "server/fetch_binary.h"
#include "server/fetch_item.h"
#include "server/resync.h"
#include "server/session_message.h"

/* Where the answer is at hand the clock costs as much as a message: it is asked once in so many. */
enum { FETCH_CHECK_EVERY = 32 };

/* Short items of a line that is put together at once. */
enum { FETCH_SHORT_ITEMS = 8 };

struct fetch_state {
    GArray *indexes; /* uint32_t, in the view */
    GArray *items;   /* struct fetch_item, shallow: what is asked, and what goes without asking */
    GArray *seen;    /* uint32_t UIDs that this command made \Seen; ascending; may be NULL */
    bool needs_octets;
    bool needs_summary;
    bool needs_structure;
    bool has_binary;
    bool has_flags;
    bool has_modseq;
    bool sets_seen;
    bool is_short; /* all items can be written the short way, and they are few */

    size_t position; /* in indexes */
    size_t item;     /* of the message under way */
    size_t seen_position;
    unsigned unchecked; /* messages since the clock was asked */
    bool line_open;     /* "* n FETCH (" is written for the message under way */
    bool first;         /* nothing follows the parenthesis yet */
    bool unreadable;
    bool unknown_encoding; /* of some part that BINARY was asked for */
    struct session_message message;
    struct resync *resync; /* with VANISHED, else NULL */

    struct store_error error; /* the first failure to read a message */
    size_t failures;
};

static void fetch_state_free(void *data)
{
    struct fetch_state *state = data;

    g_clear_pointer(&state->indexes, g_array_unref);
    g_clear_pointer(&state->items, g_array_unref);
    g_clear_pointer(&state->seen, g_array_unref);
    session_message_release(&state->message);
    resync_free(state->resync);
    g_free(state);
}

static void fetch_add_item(struct fetch_state *state, const struct fetch_item *item)
{
    bool octets = fetch_item_needs_octets(item);
    bool summary = fetch_item_needs_summary(item);
    bool structure = fetch_item_needs_structure(item);

    g_array_append_vals(state->items, item, 1);
    state->needs_octets |= octets;
    state->needs_summary |= summary;
    state->needs_structure |= structure;
    state->has_binary |= fetch_binary_is(item);
    state->has_flags |= item->kind == FETCH_FLAGS;
    state->has_modseq |= item->kind == FETCH_MODSEQ;
    state->sets_seen |= fetch_item_sets_seen(item);
    state->is_short = (state->is_short || state->items->len == 1) && fetch_item_is_short(item) &&
                      state->items->len <= FETCH_SHORT_ITEMS;
}

/* UID FETCH returns UIDs though they aren't asked for; CHANGEDSINCE adds MODSEQ. */
static void fetch_collect_items(struct fetch_state *state, const struct command *command)
{
    const struct fetch_arguments *fetch = &command->fetch;
    bool has_uid = false;

    state->items = g_array_new(FALSE, FALSE, sizeof(struct fetch_item));
    for (size_t i = 0; i < fetch->items->len; i++) {
        has_uid |= g_array_index(fetch->items, struct fetch_item, i).kind == FETCH_UID;
    }
    if (command->uid && !has_uid) {
        fetch_add_item(state, &(struct fetch_item){.kind = FETCH_UID});
    }
    for (size_t i = 0; i < fetch->items->len; i++) {
        fetch_add_item(state, &g_array_index(fetch->items, struct fetch_item, i));
    }
    if (fetch->has_changed_since && !state->has_modseq) {
        fetch_add_item(state, &(struct fetch_item){.kind = FETCH_MODSEQ});
    }
}

static void fetch_keep_changed(const struct session *session, GArray *indexes, uint64_t since)
{
    size_t kept = 0;

    for (size_t i = 0; i < indexes->len; i++) {
        uint32_t index = g_array_index(indexes, uint32_t, i);

        if (snapshot_message(session->view, index).modseq > since) {
            g_array_index(indexes, uint32_t, kept++) = index;
        }
    }
    g_array_set_size(indexes, (guint)kept);
}

/* One change for all messages, before the first answer, so that the answers carry the new flags.
 * That it fails must not keep anybody from reading their mail. */
static void fetch_set_seen(struct session *session, struct run *run, struct fetch_state *state)
{
    GArray *unseen = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    struct flag_change change = {
        .mode = FLAG_MODE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    struct store_error error;
    struct origin origin;

    for (size_t i = 0; i < state->indexes->len; i++) {
        struct message message =
            snapshot_message(session->view, g_array_index(state->indexes, uint32_t, i));

        if ((message.flags & MESSAGE_SEEN) == 0) {
            g_array_append_val(unseen, message.uid);
        }
    }
    session_origin(session, run, &origin);
    if (unseen->len == 0) {
        g_array_unref(unseen);
    } else if (mailbox_store_flags(session->mailbox, (const uint32_t *)(void *)unseen->data,
                                   unseen->len, &change, &origin, NULL, &error) != 0) {
        session_log(session, SESSION_LOG_WARNING, "event=set-seen error=\"%s\" detail=\"%s\"",
                    store_code_name(error.code), error.detail);
        g_array_unref(unseen);
    } else {
        session_sync_quiet(session, (const uint32_t *)(void *)unseen->data, unseen->len,
                           SYNC_NO_EXPUNGE);
        state->seen = unseen;
    }
}

/* False: the command is refused, with BAD. */
static bool fetch_begin(struct session *session, struct run *run)
{
    struct command *command = run->command;
    struct fetch_state *state = g_new0(struct fetch_state, 1);

    run->state = state;
    run->state_free = fetch_state_free;
    session_message_init(&state->message, session);
    state->indexes = session_resolve(session, &command->fetch.set, command->uid);
    if (state->indexes == NULL) {
        return false;
    }
    fetch_collect_items(state, command);
    if (state->has_modseq) {
        session_enable_condstore(session);
    }
    if (command->fetch.vanished && resync_begin(&state->resync, session, &command->fetch.set, 0,
                                                command->fetch.changed_since, &state->error) != 0) {
        state->failures++;
        g_array_set_size(state->indexes, 0);
    }
    if (command->fetch.has_changed_since) {
        fetch_keep_changed(session, state->indexes, command->fetch.changed_since);
    }
    if (state->sets_seen && !session->read_only) {
        fetch_set_seen(session, run, state);
    }
    return true;
}

/* Gets what the items need; a message that can't be read still answers what is known of it. */
static void fetch_load(struct session *session, struct fetch_state *state)
{
    const struct summary *summary;
    const struct structure *structure;
    struct store_error error;
    int result = 0;

    if (state->needs_octets) {
        result = session_message_open(&state->message, &error);
    }
    if (result == 0 && state->needs_summary) {
        result = session_message_summary(&state->message, &summary, &error);
    }
    if (result == 0 && state->needs_structure) {
        result = session_message_structure(&state->message, &structure, &error);
    }
    session_message_drop_octets(&state->message);
    state->unreadable = result != 0;
    if (result != 0) {
        session_log(session, SESSION_LOG_ERROR,
                    "event=read uid=%" PRIu32 " error=\"%s\" detail=\"%s\"",
                    state->message.message.uid, store_code_name(error.code), error.detail);
        if (state->failures++ == 0) {
            state->error = error;
            state->error.code = error.code == STORE_NOT_FOUND ? STORE_CORRUPT : error.code;
        }
    }
}

static void fetch_separate(struct session *session, struct fetch_state *state)
{
    if (!state->first) {
        g_string_append_c(session_out(session), ' ');
    }
    state->first = false;
}

/* Whether this command made the message \Seen (unless it is gone from the mailbox meanwhile).
 * Messages come in ascending order. */
static bool fetch_made_seen(struct fetch_state *state)
{
    uint32_t uid = state->message.message.uid;

    if (state->seen == NULL) {
        return false;
    }
    while (state->seen_position < state->seen->len &&
           g_array_index(state->seen, uint32_t, state->seen_position) < uid) {
        state->seen_position++;
    }
    return state->seen_position < state->seen->len &&
           g_array_index(state->seen, uint32_t, state->seen_position) == uid &&
           (state->message.message.flags & MESSAGE_SEEN) != 0;
}

static bool fetch_is_content(const struct fetch_item *item)
{
    return fetch_item_needs_octets(item) || fetch_item_needs_summary(item) ||
           fetch_item_needs_structure(item);
}

/* Whether the item can be answered of the message under way. */
static bool fetch_can_answer(struct fetch_state *state, const struct fetch_item *item)
{
    if (state->unreadable) {
        return !fetch_is_content(item);
    }
    if (fetch_binary_is(item) && !fetch_binary_can_decode(&state->message, item)) {
        state->unknown_encoding = true;
        return false;
    }
    return true;
}

/* Whether any item can be. */
static bool fetch_has_answer(struct fetch_state *state)
{
    bool any = !state->unreadable && !state->has_binary;

    for (size_t i = 0; i < state->items->len && !any; i++) {
        any = fetch_can_answer(state, &g_array_index(state->items, struct fetch_item, i));
    }
    return any;
}

/* Opens the line of a message; false if there is nothing to say of it. */
static bool fetch_open_line(struct session *session, struct fetch_state *state, uint32_t index)
{
    struct message message = snapshot_message(session->view, index);
    bool made_seen;

    session_message_set(&state->message, &message);
    made_seen = fetch_made_seen(state);
    fetch_load(session, state);
    if (!fetch_has_answer(state) && !made_seen) {
        return false;
    }
    g_string_append_len(session_out(session), "* ", 2);
    response_number(session_out(session), (uint64_t)index + 1);
    g_string_append_len(session_out(session), " FETCH (", 8);
    state->first = true;
    state->line_open = true;
    state->item = 0;
    if (made_seen && !state->has_flags) {
        fetch_separate(session, state);
        fetch_item_write(&state->message, &(struct fetch_item){.kind = FETCH_FLAGS});
    }
    if (made_seen && session->condstore && !state->has_modseq) {
        fetch_separate(session, state);
        fetch_item_write(&state->message, &(struct fetch_item){.kind = FETCH_MODSEQ});
    }
    return true;
}

static bool fetch_should_yield(const struct session *session, const struct run *run,
                               struct fetch_state *state)
{
    bool costly = state->message.octets != NULL || state->message.structure != NULL;

    if (!costly && !session_output_is_high(session) && ++state->unchecked < FETCH_CHECK_EVERY) {
        return false;
    }
    state->unchecked = 0;
    return session_should_yield(session, run);
}

/* The whole line of a message that has no keywords, of items that the snapshot knows. */
static bool fetch_short(struct session *session, const struct fetch_state *state, uint32_t index)
{
    char line[40 + FETCH_SHORT_ITEMS * FETCH_SHORT_MAX] = "* ";
    struct message message = snapshot_message(session->view, index);
    const struct fetch_item *items = (const struct fetch_item *)(void *)state->items->data;

    if (message.keywords != 0) {
        return false;
    }
    char *to = response_digits(line + 2, (uint64_t)index + 1);
    memcpy(to, " FETCH (", 8);
    to += 8;
    for (size_t i = 0; i < state->items->len; i++) {
        to = fetch_item_put(to, session, &message, items[i].kind);
        *to++ = ' ';
    }
    memcpy(to - 1, ")\r\n", 3);
    g_string_append_len(session_out(session), line, to + 2 - line);
    return true;
}

/* False: to be called again for the same message. */
static bool fetch_message(struct session *session, const struct run *run, struct fetch_state *state)
{
    uint32_t index = g_array_index(state->indexes, uint32_t, state->position);

    if (state->is_short && !state->line_open && fetch_short(session, state, index)) {
        return true;
    }
    if (!state->line_open && !fetch_open_line(session, state, index)) {
        return true;
    }
    while (state->item < state->items->len) {
        const struct fetch_item *item =
            &g_array_index(state->items, struct fetch_item, state->item);

        state->item++;
        if (!fetch_can_answer(state, item)) {
            continue;
        }
        fetch_separate(session, state);
        fetch_item_write(&state->message, item);
        if (fetch_is_content(item) && fetch_should_yield(session, run, state)) {
            return false;
        }
    }
    g_string_append_len(session_out(session), ")\r\n", 3);
    state->line_open = false;
    return true;
}

enum run_status run_fetch(struct session *session, struct run *run)
{
    if (run->command->fetch.vanished && !session->qresync) {
        return session_finish(session, run, "BAD", NULL, "VANISHED needs ENABLE QRESYNC");
    }
    if (run->state == NULL && !fetch_begin(session, run)) {
        return session_finish_bad_set(session, run);
    }
    struct fetch_state *state = run->state;
    if (state->resync != NULL && !resync_tell_vanished(state->resync, run)) {
        return RUN_AGAIN;
    }
    while (state->position < state->indexes->len) {
        if (!fetch_message(session, run, state)) {
            return RUN_AGAIN;
        }
        state->position++;
        if (fetch_should_yield(session, run, state)) {
            return RUN_AGAIN;
        }
    }
    if (state->failures > 0) {
        return session_fail(session, run, &state->error, false);
    }
    if (state->unknown_encoding) {
        return session_finish(session, run, "NO", "UNKNOWN-CTE",
                              "A part's transfer encoding is not known");
    }
    return session_finish(session, run, "OK", NULL, "Fetch completed");
}
