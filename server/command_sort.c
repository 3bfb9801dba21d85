/* SORT and UID SORT (RFC 5256, RFC 5957), also with RETURN (RFC 5267): the messages that match are
 * found, what they are sorted by is gathered, and their numbers are put in order and told. Texts
 * are kept once each and compared once: after that they are their rank among all of them. Each of
 * these phases gives way to others.
 */
#include <inttypes.h>
#include <string.h>

#include "protocol/response.h"
#include "protocol/sort_key.h"
#include "server/found_messages.h"
#include "server/merge_sort.h"
#include "server/text_places.h"

enum {
    SORT_MOVES = 64 * 1024,
    SORT_WRITE_EVERY = 512,
    SORT_TEXTS_MAX = 64 * 1024 * 1024, /* octets of texts of one command */
};

enum sort_phase { SORT_FIND, SORT_GATHER, SORT_RANK, SORT_ORDER, SORT_WRITE };

struct sort_state {
    enum sort_phase phase;
    struct found_messages found;
    guint gathered; /* of found */
    GArray *keys;   /* int64_t: for each message one for each criterion; a text by its place */
    struct text_places texts;

    struct merge_sort merge;
    bool merging;
    uint32_t *ranks;  /* of texts, by their place */
    uint32_t *order;  /* of texts, then of found */
    const GArray *by; /* struct sort_criterion, borrowed */
    size_t written;
};

static void sort_state_free(void *data)
{
    struct sort_state *state = data;

    found_messages_release(&state->found);
    g_array_unref(state->keys);
    text_places_release(&state->texts);
    merge_sort_release(&state->merge);
    g_free(state->ranks);
    g_free(state->order);
    g_free(state);
}

static void sort_begin(struct session *session, struct run *run)
{
    struct sort_state *state = g_new0(struct sort_state, 1);

    found_messages_init(&state->found, session, run);
    state->by = run->command->search.sort;
    state->keys = g_array_new(FALSE, FALSE, sizeof(int64_t));
    text_places_init(&state->texts);
    run->state = state;
    run->state_free = sort_state_free;
}

static const struct sort_criterion *criterion(const struct sort_state *state, guint index)
{
    return &g_array_index(state->by, struct sort_criterion, index);
}

static bool sort_find(struct session *session, const struct run *run, struct sort_state *state)
{
    return found_messages_search(&state->found, session, run);
}

/* --- gathering --- */

static bool is_text(enum sort_key key)
{
    return key != SORT_ARRIVAL && key != SORT_DATE && key != SORT_SIZE;
}

static bool needs_summary(const struct sort_state *state)
{
    bool needs = false;

    for (guint i = 0; i < state->by->len; i++) {
        enum sort_key key = criterion(state, i)->key;

        needs = needs || is_text(key) || key == SORT_DATE;
    }
    return needs;
}

static int64_t text_key(struct sort_state *state, enum sort_key key, const struct summary *summary)
{
    static const enum envelope_field lists[] = {
        [SORT_CC] = ENVELOPE_CC,        [SORT_FROM] = ENVELOPE_FROM,
        [SORT_TO] = ENVELOPE_TO,        [SORT_DISPLAYFROM] = ENVELOPE_FROM,
        [SORT_DISPLAYTO] = ENVELOPE_TO,
    };
    GString *text = g_string_new(NULL);
    int64_t place;

    if (summary != NULL && key == SORT_SUBJECT) {
        struct summary_text subject = summary->fields[ENVELOPE_SUBJECT];

        if (subject.data != NULL) {
            sort_key_subject(text, subject.data, subject.length);
        }
    } else if (summary != NULL) {
        sort_key_address(text, summary->envelope, lists[key],
                         key == SORT_DISPLAYFROM || key == SORT_DISPLAYTO);
    }
    place = text_places_add(&state->texts, text->str);
    g_string_free(text, TRUE);
    return place;
}

/* summary NULL: it can't be had. */
static int64_t make_key(struct sort_state *state, enum sort_key key, const struct message *message,
                        const struct summary *summary)
{
    if (is_text(key)) {
        return text_key(state, key, summary);
    }
    if (key == SORT_SIZE) {
        return (int64_t)message->size;
    }
    return key == SORT_DATE ? found_messages_sent(message, summary) : message->internal_date;
}

static void gather_one(struct session *session, struct sort_state *state, bool dear)
{
    const struct summary *summary;

    found_messages_set(&state->found, session, state->gathered);
    summary = dear ? found_messages_summary(&state->found, session) : NULL;
    for (guint i = 0; i < state->by->len; i++) {
        int64_t key =
            make_key(state, criterion(state, i)->key, &state->found.message.message, summary);

        g_array_append_val(state->keys, key);
    }
    state->gathered++;
}

static bool sort_gather(struct session *session, const struct run *run, struct sort_state *state)
{
    bool dear = needs_summary(state);

    while (state->gathered < state->found.indexes->len && state->texts.octets <= SORT_TEXTS_MAX) {
        gather_one(session, state, dear);
        if (found_messages_check(&state->found, session, run, 1, dear)) {
            return false;
        }
    }
    return true;
}

/* --- putting in order --- */

static bool merge_on(struct session *session, const struct run *run, struct sort_state *state)
{
    while (!merge_sort_step(&state->merge, SORT_MOVES)) {
        if (session_should_yield(session, run)) {
            return false;
        }
    }
    merge_sort_release(&state->merge);
    state->merging = false;
    return true;
}

static void merge_begin(struct sort_state *state, size_t count,
                        int (*compare)(const void *data, uint32_t a, uint32_t b))
{
    g_free(state->order);
    state->order = g_new(uint32_t, count);
    for (size_t i = 0; i < count; i++) {
        state->order[i] = (uint32_t)i;
    }
    merge_sort_init(&state->merge, state->order, count, compare, state);
    state->merging = true;
}

static int compare_texts(const void *data, uint32_t a, uint32_t b)
{
    const struct sort_state *state = data;

    return strcmp(text_places_text(&state->texts, a), text_places_text(&state->texts, b));
}

static bool sort_rank(struct session *session, const struct run *run, struct sort_state *state)
{
    if (!state->merging) {
        merge_begin(state, text_places_count(&state->texts), compare_texts);
    }
    if (!merge_on(session, run, state)) {
        return false;
    }
    state->ranks = g_new(uint32_t, text_places_count(&state->texts));
    for (guint i = 0; i < text_places_count(&state->texts); i++) {
        state->ranks[state->order[i]] = i;
    }
    return true;
}

/* Of equal messages the one with the lower number comes first, which the stable sort sees to. */
static int compare_messages(const void *data, uint32_t a, uint32_t b)
{
    const struct sort_state *state = data;
    const int64_t *keys = (const int64_t *)(void *)state->keys->data;

    for (guint i = 0; i < state->by->len; i++) {
        int64_t x = keys[a * state->by->len + i];
        int64_t y = keys[b * state->by->len + i];

        if (x == y) {
            continue;
        }
        if (is_text(criterion(state, i)->key)) {
            x = state->ranks[x];
            y = state->ranks[y];
        }
        return (x < y) == criterion(state, i)->reverse ? 1 : -1;
    }
    return 0;
}

static bool sort_order(struct session *session, const struct run *run, struct sort_state *state)
{
    if (!state->merging) {
        merge_begin(state, state->found.indexes->len, compare_messages);
    }
    return merge_on(session, run, state);
}

/* --- the answer --- */

/* The number to be told of the one at this place of the order. */
static uint32_t number_at(const struct session *session, const struct run *run,
                          const struct sort_state *state, size_t place)
{
    return found_messages_number(&state->found, session, run, state->order[place]);
}

static uint64_t modseq_at(const struct session *session, const struct sort_state *state,
                          size_t place)
{
    uint32_t index = g_array_index(state->found.indexes, uint32_t, state->order[place]);

    return snapshot_message(session->view, index).modseq;
}

/* As SEARCH has it (RFC 4731 3.2), first and last being those of the order. */
static uint64_t answer_modseq(const struct session *session, const struct sort_state *state,
                              uint32_t returns)
{
    uint64_t first = modseq_at(session, state, 0);
    uint64_t last = modseq_at(session, state, state->found.indexes->len - 1);

    if ((returns & (SEARCH_RETURN_ALL | SEARCH_RETURN_COUNT)) != 0) {
        return state->found.highest_modseq;
    }
    return MAX((returns & SEARCH_RETURN_MIN) != 0 ? first : 0,
               (returns & SEARCH_RETURN_MAX) != 0 ? last : 0);
}

/* A set that keeps the order. */
static void write_set(struct session *session, const struct run *run,
                      const struct sort_state *state)
{
    GString *out = session_out(session);
    size_t count = state->found.indexes->len;

    for (size_t i = 0; i < count;) {
        uint32_t first = number_at(session, run, state, i);
        uint32_t last = first;
        const char *separator = i == 0 ? " ALL " : ",";

        for (i++; i < count && number_at(session, run, state, i) == last + 1; i++) {
            last++;
        }
        g_string_append_printf(out, "%s%" PRIu32, separator, first);
        if (last > first) {
            g_string_append_printf(out, ":%" PRIu32, last);
        }
    }
}

static void write_extended(struct session *session, const struct run *run,
                           const struct sort_state *state)
{
    GString *out = session_out(session);
    uint32_t returns = run->command->search.returns & ~(uint32_t)SEARCH_RETURN_SAVE;
    size_t count = state->found.indexes->len;

    g_string_append(out, "* ESEARCH (TAG ");
    response_string(out, run->command->tag, strlen(run->command->tag), session->utf8);
    g_string_append(out, run->command->uid ? ") UID" : ")");
    if ((returns & SEARCH_RETURN_MIN) != 0 && count > 0) {
        g_string_append_printf(out, " MIN %" PRIu32, number_at(session, run, state, 0));
    }
    if ((returns & SEARCH_RETURN_MAX) != 0 && count > 0) {
        g_string_append_printf(out, " MAX %" PRIu32, number_at(session, run, state, count - 1));
    }
    if ((returns & SEARCH_RETURN_COUNT) != 0) {
        g_string_append_printf(out, " COUNT %zu", count);
    }
    if ((returns & SEARCH_RETURN_ALL) != 0) {
        write_set(session, run, state);
    }
    if (search_has_modseq(state->found.search) && count > 0) {
        g_string_append_printf(out, " MODSEQ %" PRIu64, answer_modseq(session, state, returns));
    }
    g_string_append(out, "\r\n");
}

static bool write_plain(struct session *session, const struct run *run, struct sort_state *state)
{
    GString *out = session_out(session);
    size_t count = state->found.indexes->len;

    if (state->written == 0) {
        g_string_append(out, "* SORT");
    }
    while (state->written < count) {
        out = session_out(session);
        g_string_append_printf(out, " %" PRIu32, number_at(session, run, state, state->written));
        state->written++;
        if (state->written % SORT_WRITE_EVERY == 0 && state->written < count &&
            session_should_yield(session, run)) {
            return false;
        }
    }
    if (search_has_modseq(state->found.search) && count > 0) {
        g_string_append_printf(out, " (MODSEQ %" PRIu64 ")", state->found.highest_modseq);
    }
    g_string_append(out, "\r\n");
    return true;
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void save(struct session *session, const struct run *run, const struct sort_state *state)
{
    uint32_t returns = run->command->search.returns;
    bool ends = (returns & (SEARCH_RETURN_MIN | SEARCH_RETURN_MAX)) != 0 &&
                (returns & (SEARCH_RETURN_ALL | SEARCH_RETURN_COUNT)) == 0;
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    size_t last = state->found.indexes->len;

    for (size_t i = 0; i < state->found.indexes->len; i++) {
        bool is_end = (i == 0 && (returns & SEARCH_RETURN_MIN) != 0) ||
                      (i + 1 == last && (returns & SEARCH_RETURN_MAX) != 0);
        uint32_t index = g_array_index(state->found.indexes, uint32_t, state->order[i]);
        uint32_t uid = snapshot_message(session->view, index).uid;

        if (!ends || is_end) {
            g_array_append_val(uids, uid);
        }
    }
    g_array_sort(uids, compare_uids);
    session_save(session, (const uint32_t *)(void *)uids->data, uids->len);
    g_array_unref(uids);
}

static bool sort_write(struct session *session, const struct run *run, struct sort_state *state)
{
    const struct search_arguments *arguments = &run->command->search;

    if (!arguments->extended) {
        return write_plain(session, run, state);
    }
    if (arguments->returns != SEARCH_RETURN_SAVE) {
        write_extended(session, run, state);
    }
    if ((arguments->returns & SEARCH_RETURN_SAVE) != 0) {
        save(session, run, state);
    }
    return true;
}

/* --- the command --- */

/* NO: nothing is saved, either (RFC 5182 2.1). */
static enum run_status refuse(struct session *session, struct run *run, const char *code,
                              const char *text)
{
    if ((run->command->search.returns & SEARCH_RETURN_SAVE) != 0) {
        session_save(session, NULL, 0);
    }
    return session_finish(session, run, "NO", code, text);
}

enum run_status run_sort(struct session *session, struct run *run)
{
    static bool (*const phases[])(struct session *, const struct run *, struct sort_state *) = {
        [SORT_FIND] = sort_find,   [SORT_GATHER] = sort_gather, [SORT_RANK] = sort_rank,
        [SORT_ORDER] = sort_order, [SORT_WRITE] = sort_write,
    };
    struct sort_state *state;

    if (run->command->search.bad_charset) {
        return refuse(session, run, "BADCHARSET (US-ASCII UTF-8)",
                      "That charset is not known here");
    }
    if (run->state == NULL) {
        sort_begin(session, run);
    }
    for (state = run->state; state->phase <= SORT_WRITE; state->phase++) {
        if (!phases[state->phase](session, run, state)) {
            return RUN_AGAIN;
        }
        if (state->texts.octets > SORT_TEXTS_MAX) {
            return refuse(session, run, "LIMIT", "There is too much to be sorted");
        }
    }
    if (found_messages_failures(&state->found) > 0) {
        return session_finish(session, run, "OK", "CORRUPTION",
                              "Sort completed, but some messages could not be read");
    }
    return session_finish(session, run, "OK", NULL, "Sort completed");
}
