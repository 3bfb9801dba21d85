/* STORE and UID STORE (RFC 3501 6.4.6, RFC 7162 3.1.3): one change of the mailbox, then the
 * answers, giving way between them. */
#include "protocol/response.h"
#include "server/session_message.h"

enum { LOOK_EVERY = 16 }; /* answers between two looks at the clock */

enum store_tell { STORE_TELL_FLAGS = 1 << 0, STORE_TELL_MODSEQ = 1 << 1 };

struct store_answer {
    uint32_t uid;
    unsigned tell; /* enum store_tell */
};

struct store_state {
    GArray *uids;      /* uint32_t, ascending: what was asked for */
    GArray *unchanged; /* uint32_t UIDs that failed UNCHANGEDSINCE; may be NULL */
    GArray *answers;   /* struct store_answer, ascending */
    size_t answered;
    bool gone; /* some of the messages were expunged by others */
};

static void store_state_free(void *data)
{
    struct store_state *state = data;

    g_clear_pointer(&state->uids, g_array_unref);
    g_clear_pointer(&state->unchanged, g_array_unref);
    g_clear_pointer(&state->answers, g_array_unref);
    g_free(state);
}

static enum flag_mode flag_mode_of(enum store_mode mode)
{
    switch (mode) {
    case STORE_MODE_REPLACE:
        return FLAG_MODE_REPLACE;
    case STORE_MODE_ADD:
        return FLAG_MODE_ADD;
    case STORE_MODE_REMOVE:
        return FLAG_MODE_REMOVE;
    }
    return FLAG_MODE_REPLACE;
}

static int store_change(struct session *session, struct run *run, struct store_state *state,
                        struct store_error *error)
{
    const struct store_arguments *store = &run->command->store;
    const GPtrArray *keywords = store->flags.keywords;
    GPtrArray *list = g_ptr_array_new();
    struct origin origin;

    for (size_t i = 0; keywords != NULL && i < keywords->len; i++) {
        g_ptr_array_add(list, g_ptr_array_index(keywords, i));
    }
    g_ptr_array_add(list, NULL);
    struct flag_change change = {
        .mode = flag_mode_of(store->mode),
        .flags = store->flags.system,
        .keywords = (const char *const *)list->pdata,
        .unchanged_since = store->has_unchanged_since ? store->unchanged_since : UINT64_MAX,
    };
    session_origin(session, run, &origin);
    int result = mailbox_store_flags(session->mailbox, (const uint32_t *)(void *)state->uids->data,
                                     state->uids->len, &change, &origin,
                                     store->has_unchanged_since ? &state->unchanged : NULL, error);
    g_ptr_array_free(list, TRUE);
    return result;
}

/* The command's keywords as a snapshot's bits. */
static uint64_t keyword_bits(const struct snapshot *snapshot, const GPtrArray *keywords)
{
    uint64_t bits = 0;

    for (size_t i = 0; keywords != NULL && i < keywords->len; i++) {
        size_t index;

        if (snapshot_keyword_find(snapshot, g_ptr_array_index(keywords, i), &index)) {
            bits |= UINT64_C(1) << index;
        }
    }
    return bits;
}

static uint64_t apply(enum store_mode mode, uint64_t before, uint64_t bits)
{
    switch (mode) {
    case STORE_MODE_REPLACE:
        return bits;
    case STORE_MODE_ADD:
        return before | bits;
    case STORE_MODE_REMOVE:
        return before & ~bits;
    }
    return before;
}

static bool uid_in(const GArray *uids, size_t *position, uint32_t uid)
{
    if (uids == NULL) {
        return false;
    }
    while (*position < uids->len && g_array_index(uids, uint32_t, *position) < uid) {
        (*position)++;
    }
    return *position < uids->len && g_array_index(uids, uint32_t, *position) == uid;
}

/* What the client is told of one message that passed: with .SILENT it knows the flags by itself,
 * unless somebody else has changed them too since it was last told of them. */
static unsigned store_tell_of(const struct session *session, const struct store_arguments *store,
                              const struct message *before, const struct message *after,
                              uint64_t bits)
{
    unsigned modseq = session->condstore ? STORE_TELL_MODSEQ : 0;

    if (!store->silent || after->flags != apply(store->mode, before->flags, store->flags.system) ||
        after->keywords != apply(store->mode, before->keywords, bits)) {
        return STORE_TELL_FLAGS | modseq;
    }
    return store->has_unchanged_since || after->modseq != before->modseq ? modseq : 0;
}

/* Decides what is told of each message, and moves the view. */
static void store_collect_answers(struct session *session, const struct run *run,
                                  struct store_state *state)
{
    const struct store_arguments *store = &run->command->store;
    const struct snapshot *newest = mailbox_snapshot(session->mailbox);
    uint64_t bits = keyword_bits(newest, store->flags.keywords);
    GArray *told = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    size_t unchanged = 0;

    for (size_t i = 0; i < state->uids->len; i++) {
        struct store_answer answer = {.uid = g_array_index(state->uids, uint32_t, i)};
        size_t before;
        size_t after;

        if (!snapshot_find(newest, answer.uid, &after)) {
            state->gone = true;
            continue;
        }
        if (uid_in(state->unchanged, &unchanged, answer.uid)) {
            answer.tell = STORE_TELL_FLAGS | STORE_TELL_MODSEQ;
        } else if (snapshot_find(session->view, answer.uid, &before)) {
            struct message old = snapshot_message(session->view, before);
            struct message new = snapshot_message(newest, after);

            answer.tell = store_tell_of(session, store, &old, &new, bits);
        }
        g_array_append_val(told, answer.uid);
        if (answer.tell != 0) {
            g_array_append_val(state->answers, answer);
        }
    }
    session_tell_keywords(session, newest);
    session_sync_quiet(session, (const uint32_t *)(void *)told->data, told->len, SYNC_NO_EXPUNGE);
    g_array_unref(told);
}

static void store_write_answer(struct session *session, const struct store_answer *answer, bool uid)
{
    GString *out = session_out(session);
    size_t index;

    if (!snapshot_find(session->view, answer->uid, &index)) {
        return;
    }
    struct message message = snapshot_message(session->view, index);
    const char *separator = "";
    g_string_append(out, "* ");
    response_number(out, index + 1);
    g_string_append(out, " FETCH (");
    if (uid || session->condstore) { /* RFC 7162 3.2.4 */
        g_string_append(out, "UID ");
        response_number(out, message.uid);
        separator = " ";
    }
    if ((answer->tell & STORE_TELL_MODSEQ) != 0) {
        g_string_append(out, separator);
        g_string_append(out, "MODSEQ (");
        response_number(out, message.modseq);
        g_string_append_c(out, ')');
        separator = " ";
    }
    if ((answer->tell & STORE_TELL_FLAGS) != 0) {
        g_string_append(out, separator);
        g_string_append(out, "FLAGS ");
        session_write_flags(session, out, session->view, &message);
    }
    g_string_append(out, ")\r\n");
}

/* MODIFIED and its set: sequence numbers, or UIDs for UID STORE. */
static void modified_code(GString *out, const struct session *session, const GArray *unchanged,
                          bool uid)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (size_t i = 0; i < unchanged->len; i++) {
        uint32_t number = g_array_index(unchanged, uint32_t, i);
        size_t index;

        if (!uid && snapshot_find(session->view, number, &index)) {
            number = (uint32_t)(index + 1);
        }
        g_array_append_val(numbers, number);
    }
    g_string_append(out, "MODIFIED ");
    sequence_set_format(out, (const uint32_t *)(void *)numbers->data, numbers->len);
    g_array_unref(numbers);
}

static enum run_status store_finish(struct session *session, struct run *run,
                                    const struct store_state *state)
{
    const struct command *command = run->command;
    bool modified = state->unchanged != NULL && state->unchanged->len > 0;
    /* A UID that is not there is no error (RFC 3501 6.4.8). */
    bool gone = state->gone && !command->uid;
    GString *code = g_string_new(NULL);

    if (modified) {
        modified_code(code, session, state->unchanged, command->uid);
    } else if (gone) {
        g_string_append(code, "EXPUNGEISSUED");
    }
    enum run_status status =
        session_finish(session, run, gone && !command->store.silent ? "NO" : "OK",
                       code->len > 0 ? code->str : NULL,
                       gone       ? "Some of the messages have been deleted"
                       : modified ? "Conditional store failed for some of the messages"
                                  : "Store completed");
    g_string_free(code, TRUE);
    return status;
}

/* NULL: answered; *status then says how. */
static struct store_state *store_begin(struct session *session, struct run *run,
                                       enum run_status *status)
{
    const struct command *command = run->command;
    struct store_state *state = g_new0(struct store_state, 1);
    struct store_error error;

    run->state = state;
    run->state_free = store_state_free;
    GArray *indexes = session_resolve(session, &command->store.set, command->uid);
    if (indexes == NULL) {
        *status = session_finish_bad_set(session, run);
        return NULL;
    }
    state->uids = session_message_uids(session, indexes);
    state->answers = g_array_new(FALSE, FALSE, sizeof(struct store_answer));
    g_array_unref(indexes);
    if (command->store.has_unchanged_since) {
        session_enable_condstore(session);
    }
    if (state->uids->len > 0 && store_change(session, run, state, &error) != 0) {
        *status = session_fail(session, run, &error, false);
        return NULL;
    }
    store_collect_answers(session, run, state);
    return state;
}

enum run_status run_store(struct session *session, struct run *run)
{
    struct store_state *state = run->state;
    enum run_status status;

    if (state == NULL) {
        state = store_begin(session, run, &status);
        if (state == NULL) {
            return status;
        }
    }
    while (state->answered < state->answers->len) {
        store_write_answer(session,
                           &g_array_index(state->answers, struct store_answer, state->answered++),
                           run->command->uid);
        /* The clock costs a good part of what an answer does. */
        if (session_output_is_high(session) ||
            (state->answered % LOOK_EVERY == 0 && session_should_yield(session, run))) {
            return RUN_AGAIN;
        }
    }
    return store_finish(session, run, state);
}
