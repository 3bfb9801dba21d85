/* SEARCH and UID SEARCH (RFC 3501 6.4.4, RFC 4731, RFC 7162 3.1.5): first every message of the view
 * is judged, then the answer is written; both give way in between. */
#include <inttypes.h>
#include <string.h>

#include "protocol/response.h"
#include "server/search_evaluate.h"
#include "server/session_message.h"

/* With nothing but the snapshot to look at, the clock costs as much as the search: it is asked
 * once in so many keys tested, at most; with summaries, once in so many messages. */
enum { SEARCH_CHECK_EVERY = 4096, SEARCH_CHECK_SUMMARIES = 8, SEARCH_WRITE_EVERY = 512 };

struct search_state {
    struct search *search;
    size_t position;    /* next message of the view */
    size_t check_every; /* messages */
    size_t unchecked;   /* messages judged since the clock was asked */
    GArray *found;      /* uint32_t, sequence numbers or UIDs, ascending */
    uint64_t highest_modseq;
    uint64_t first_modseq; /* of the first and the last message found */
    uint64_t last_modseq;
    bool written_start;
    size_t written;
};

static void search_state_free(void *data)
{
    struct search_state *state = data;

    search_free(state->search);
    g_array_unref(state->found);
    g_free(state);
}

static void search_begin(struct session *session, struct run *run)
{
    struct search_state *state = g_new0(struct search_state, 1);

    run->state = state;
    run->state_free = search_state_free;
    state->found = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    state->search = search_new(session, &run->command->search);
    switch (search_cost(state->search)) {
    case SEARCH_COST_SNAPSHOT:
        state->check_every = MAX(1, SEARCH_CHECK_EVERY / run->command->search.program->len);
        break;
    case SEARCH_COST_SUMMARY:
        state->check_every = SEARCH_CHECK_SUMMARIES;
        break;
    case SEARCH_COST_HEADER:
    case SEARCH_COST_TEXT:
    case SEARCH_COST_COUNT:
        state->check_every = 1;
        break;
    }
    if (search_has_modseq(state->search)) {
        session_enable_condstore(session);
    }
}

static void search_add(struct session *session, const struct run *run, struct search_state *state,
                       size_t index)
{
    bool uid = run->command->uid;
    uint32_t number = (uint32_t)(index + 1);

    if (uid || search_has_modseq(state->search)) {
        struct message message = snapshot_message(session->view, index);

        number = uid ? message.uid : number;
        state->first_modseq = state->found->len == 0 ? message.modseq : state->first_modseq;
        state->last_modseq = message.modseq;
        state->highest_modseq = MAX(state->highest_modseq, message.modseq);
    }
    g_array_append_val(state->found, number);
}

/* Judges some messages from the position on. */
static void search_judge_some(struct session *session, const struct run *run,
                              struct search_state *state)
{
    uint64_t matches;

    if (search_cost(state->search) > SEARCH_COST_SNAPSHOT) {
        if (search_matches(state->search, state->position)) {
            search_add(session, run, state, state->position);
        }
        state->position++;
        state->unchecked++;
        return;
    }
    size_t first = state->position;
    size_t judged = search_matches_many(state->search, first, &matches);
    for (; matches != 0; matches &= matches - 1) {
        search_add(session, run, state, first + (size_t)__builtin_ctzll(matches));
    }
    state->position += judged;
    state->unchecked += judged;
}

/* False: to be called again. */
static bool search_judge(struct session *session, const struct run *run, struct search_state *state)
{
    const struct search_arguments *arguments = &run->command->search;
    bool only_first = arguments->extended && arguments->returns == SEARCH_RETURN_MIN;
    size_t count = snapshot_count(session->view);

    while (state->position < count) {
        search_judge_some(session, run, state);
        if (only_first && state->found->len > 0) {
            g_array_set_size(state->found, 1);
            state->last_modseq = state->first_modseq;
            state->highest_modseq = state->first_modseq;
            state->position = count;
        }
        if (state->unchecked >= state->check_every && state->position < count) {
            state->unchecked = 0;
            if (session_should_yield(session, run)) {
                return false;
            }
        }
    }
    return true;
}

/* RFC 4731 3.2: which messages the MODSEQ of the answer speaks for. */
static uint64_t search_result_modseq(const struct search_state *state, uint32_t returns)
{
    if (returns == SEARCH_RETURN_MIN) {
        return state->first_modseq;
    }
    if (returns == SEARCH_RETURN_MAX) {
        return state->last_modseq;
    }
    if (returns == (SEARCH_RETURN_MIN | SEARCH_RETURN_MAX)) {
        return MAX(state->first_modseq, state->last_modseq);
    }
    return state->highest_modseq;
}

/* RFC 5182 2.4: all that was found, unless the client asks for the ends only. */
static void search_save(struct session *session, const struct run *run,
                        const struct search_state *state)
{
    uint32_t returns = run->command->search.returns;
    bool all = (returns & (SEARCH_RETURN_MIN | SEARCH_RETURN_MAX)) == 0 ||
               (returns & (SEARCH_RETURN_ALL | SEARCH_RETURN_COUNT)) != 0;
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    guint last = state->found->len - 1;

    for (guint i = 0; i < state->found->len; i++) {
        uint32_t uid = g_array_index(state->found, uint32_t, i);

        if (!all && !((i == 0 && (returns & SEARCH_RETURN_MIN) != 0) ||
                      (i == last && (returns & SEARCH_RETURN_MAX) != 0))) {
            continue;
        }
        if (!run->command->uid) {
            uid = snapshot_message(session->view, uid - 1).uid;
        }
        g_array_append_val(uids, uid);
    }
    session_save(session, (const uint32_t *)(void *)uids->data, uids->len);
    g_array_unref(uids);
}

static void search_write_extended(struct session *session, const struct run *run,
                                  const struct search_state *state)
{
    GString *out = session_out(session);
    uint32_t returns = run->command->search.returns & ~(uint32_t)SEARCH_RETURN_SAVE;
    const uint32_t *found = (const uint32_t *)(void *)state->found->data;
    size_t count = state->found->len;

    g_string_append(out, "* ESEARCH (TAG ");
    response_string(out, run->command->tag, strlen(run->command->tag), session->utf8);
    g_string_append(out, run->command->uid ? ") UID" : ")");
    if ((returns & SEARCH_RETURN_MIN) != 0 && count > 0) {
        g_string_append_printf(out, " MIN %" PRIu32, found[0]);
    }
    if ((returns & SEARCH_RETURN_MAX) != 0 && count > 0) {
        g_string_append_printf(out, " MAX %" PRIu32, found[count - 1]);
    }
    if ((returns & SEARCH_RETURN_COUNT) != 0) {
        g_string_append_printf(out, " COUNT %zu", count);
    }
    if ((returns & SEARCH_RETURN_ALL) != 0 && count > 0) {
        g_string_append(out, " ALL ");
        sequence_set_format(out, found, count);
    }
    if (search_has_modseq(state->search) && count > 0) {
        g_string_append_printf(out, " MODSEQ %" PRIu64, search_result_modseq(state, returns));
    }
    g_string_append(out, "\r\n");
}

/* The next numbers, at most SEARCH_WRITE_EVERY. */
static void search_write_numbers(GString *out, struct search_state *state)
{
    char text[SEARCH_WRITE_EVERY * (1 + RESPONSE_NUMBER_MAX)];
    char *to = text;
    size_t end = MIN((size_t)state->found->len, state->written + SEARCH_WRITE_EVERY);

    for (; state->written < end; state->written++) {
        *to++ = ' ';
        to = response_digits(to, g_array_index(state->found, uint32_t, state->written));
    }
    g_string_append_len(out, text, to - text);
}

/* False: to be called again. */
static bool search_write_plain(struct session *session, const struct run *run,
                               struct search_state *state)
{
    if (!state->written_start) {
        g_string_append(session_out(session), "* SEARCH");
        state->written_start = true;
    }
    while (state->written < state->found->len) {
        search_write_numbers(session_out(session), state);
        if (session_should_yield(session, run)) {
            return false;
        }
    }
    if (search_has_modseq(state->search) && state->found->len > 0) {
        g_string_append_printf(session_out(session), " (MODSEQ %" PRIu64 ")",
                               state->highest_modseq);
    }
    g_string_append(session_out(session), "\r\n");
    return true;
}

/* RFC 9051 6.4.4: IMAP4rev2 has no other answer than ESEARCH. */
static void search_answer_extended(const struct session *session,
                                   struct search_arguments *arguments)
{
    if (session->rev2 && !arguments->extended) {
        arguments->extended = true;
        arguments->returns = SEARCH_RETURN_ALL;
    }
}

enum run_status run_search(struct session *session, struct run *run)
{
    const struct search_arguments *arguments = &run->command->search;

    bool saves = (arguments->returns & SEARCH_RETURN_SAVE) != 0;

    if (arguments->bad_charset) {
        if (saves) {
            session_save(session, NULL, 0);
        }
        return session_finish(session, run, "NO", "BADCHARSET (US-ASCII UTF-8)",
                              "That charset is not known here");
    }
    if (run->state == NULL) {
        search_answer_extended(session, &run->command->search);
        search_begin(session, run);
    }
    struct search_state *state = run->state;
    if (!search_judge(session, run, state)) {
        return RUN_AGAIN;
    }
    if (saves) {
        search_save(session, run, state);
    }
    if (arguments->extended && arguments->returns != SEARCH_RETURN_SAVE) {
        search_write_extended(session, run, state);
    } else if (!arguments->extended && !search_write_plain(session, run, state)) {
        return RUN_AGAIN;
    }
    if (search_failures(state->search) > 0) {
        return session_finish(session, run, "OK", "CORRUPTION",
                              "Search completed, but some messages could not be read");
    }
    return session_finish(session, run, "OK", NULL, "Search completed");
}
