#include "server/resync.h"

#include <inttypes.h>

enum {
    RESYNC_LINE_RANGES = 500,  /* ranges of UIDs in one response */
    RESYNC_CHECK_EVERY = 1000, /* messages between two looks at the clock */
    RESYNC_TRIES = 1024,       /* to get to the end of a long history */
};

struct resync {
    struct session *session;
    uint64_t since;
    uint32_t match;   /* all that vanished up to this UID is known */
    unsigned tries;   /* left to find out exactly what vanished; 0: done */
    GArray *known;    /* struct sequence_range, ascending */
    GArray *vanished; /* struct uid_range, ascending: to be told */
    guint told;       /* of vanished */
    guint range;      /* of known, for the flags */
    size_t index;     /* in the view: the next message to look at */
};

void resync_free(struct resync *resync)
{
    if (resync == NULL)
        return;
    g_clear_pointer(&resync->known, g_array_unref);
    g_clear_pointer(&resync->vanished, g_array_unref);
    g_free(resync);
}

/* What both lists have, above match. */
static GArray *intersect(const GArray *known, const GArray *vanished, uint32_t match)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct uid_range));
    guint i = 0;
    guint k = 0;
    while (i < known->len && k < vanished->len) {
        struct sequence_range a = g_array_index(known, struct sequence_range, i);
        struct uid_range b = g_array_index(vanished, struct uid_range, k);
        struct uid_range both = {MAX(a.low, b.first), MIN(a.high, b.last)};
        if (both.last > match && both.first <= both.last) {
            both.first = MAX(both.first, match + 1);
            g_array_append_val(out, both);
        }
        if (a.high < b.last)
            i++;
        else
            k++;
    }
    return out;
}

/* "*" is the last UID that there ever was: what vanished may be above all that is left. */
static GArray *resolve_known(struct session *session, const struct sequence_set *known)
{
    uint32_t last = snapshot_uid_next(session->view) - 1;
    if (known != NULL && known->saved)
        return g_array_ref(session_saved(session));
    if (known != NULL)
        return sequence_set_resolve(known, last);
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
    struct sequence_range range = {1, last};
    if (last > 0)
        g_array_append_val(all, range);
    return all;
}

/* On failure what was found before stays: it is more than need be told, never less. */
static int find_vanished(struct resync *resync, struct store_error *error)
{
    struct session *session = resync->session;
    enum vanished answer = VANISHED_MORE;
    GArray *vanished = NULL;
    int code =
        mailbox_vanished(session->mailbox, session->view, resync->since, &vanished, &answer, error);
    resync->tries = code == STORE_OK && answer == VANISHED_UNFINISHED ? resync->tries - 1 : 0;
    if (code != STORE_OK)
        return code;
    g_clear_pointer(&resync->vanished, g_array_unref);
    resync->vanished = intersect(resync->known, vanished, resync->match);
    g_array_unref(vanished);
    if (resync->tries == 0)
        session_log(session, SESSION_LOG_DEBUG,
                    "event=resync since=%" PRIu64 " exact=%s vanished-ranges=%u", resync->since,
                    answer == VANISHED_EXACT ? "yes" : "no", resync->vanished->len);
    return STORE_OK;
}

int resync_begin(struct resync **out, struct session *session, const struct sequence_set *known,
                 uint32_t match, uint64_t since, struct store_error *error)
{
    struct resync *resync = g_new0(struct resync, 1);
    resync->session = session;
    resync->since = since;
    resync->match = match;
    resync->tries = RESYNC_TRIES;
    resync->known = resolve_known(session, known);
    int code = find_vanished(resync, error);
    if (code != STORE_OK) {
        resync_free(resync);
        return code;
    }
    *out = resync;
    return STORE_OK;
}

bool resync_tell_vanished(struct resync *resync, const struct run *run)
{
    struct store_error error;
    while (resync->tries > 0) {
        if (session_should_yield(resync->session, run))
            return false;
        if (find_vanished(resync, &error) != STORE_OK)
            session_log(resync->session, SESSION_LOG_WARNING, "event=resync detail=\"%s\"",
                        error.detail);
    }
    while (resync->told < resync->vanished->len) {
        GString *out = session_out(resync->session);
        guint end = MIN(resync->told + RESYNC_LINE_RANGES, resync->vanished->len);
        const char *separator = "* VANISHED (EARLIER) ";
        for (; resync->told < end; resync->told++) {
            struct uid_range range =
                g_array_index(resync->vanished, struct uid_range, resync->told);
            g_string_append_printf(out, "%s%" PRIu32, separator, range.first);
            if (range.last > range.first)
                g_string_append_printf(out, ":%" PRIu32, range.last);
            separator = ",";
        }
        g_string_append(out, "\r\n");
        if (session_should_yield(resync->session, run))
            return false;
    }
    return true;
}

/* Moves the index on to the next known message; false: there is none. */
static bool next_known(struct resync *resync)
{
    const struct snapshot *view = resync->session->view;
    while (resync->range < resync->known->len && resync->index < snapshot_count(view)) {
        struct sequence_range range =
            g_array_index(resync->known, struct sequence_range, resync->range);
        uint32_t uid = snapshot_message(view, resync->index).uid;
        if (uid < range.low)
            resync->index = snapshot_lower_bound(view, range.low);
        else if (uid > range.high)
            resync->range++;
        else
            return true;
    }
    return false;
}

bool resync_tell_flags(struct resync *resync, const struct run *run)
{
    struct session *session = resync->session;
    for (unsigned looked = 1; next_known(resync); looked++) {
        size_t index = resync->index++;
        bool changed = snapshot_message(session->view, index).modseq > resync->since;
        if (changed)
            session_write_fetch(session, session->view, index);
        if ((changed || looked % RESYNC_CHECK_EVERY == 0) && session_should_yield(session, run))
            return false;
    }
    return true;
}

/* --- message numbers that the client gave --- */

/* Of count pairs from these on the highest UID that is right; 0: none. UIDs rise at least as fast
 * as numbers do, so how far they are ahead never falls. */
static uint32_t match_run(const struct snapshot *view, uint32_t number, uint32_t uid,
                          uint64_t count)
{
    uint64_t low = 0;
    uint64_t high = count;
    if (number > snapshot_count(view))
        return 0;
    high = MIN(high, (uint64_t)snapshot_count(view) - number + 1);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (snapshot_message(view, number - 1 + middle).uid <= uid + middle)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || snapshot_message(view, number - 1 + (low - 1)).uid != uid + (low - 1))
        return 0;
    return (uint32_t)(uid + (low - 1));
}

uint32_t resync_match(const struct session *session, const struct sequence_set *numbers,
                      const struct sequence_set *uids)
{
    uint32_t matched = 0;
    guint i = 0;
    guint k = 0;
    uint64_t number_at = 0; /* of the present range, how many are done */
    uint64_t uid_at = 0;
    while (i < numbers->ranges->len && k < uids->ranges->len) {
        struct sequence_range number = g_array_index(numbers->ranges, struct sequence_range, i);
        struct sequence_range uid = g_array_index(uids->ranges, struct sequence_range, k);
        uint64_t number_left = (uint64_t)number.high - number.low + 1 - number_at;
        uint64_t uid_left = (uint64_t)uid.high - uid.low + 1 - uid_at;
        uint64_t count = MIN(number_left, uid_left);
        matched = MAX(matched, match_run(session->view, (uint32_t)(number.low + number_at),
                                         (uint32_t)(uid.low + uid_at), count));
        number_at = count == number_left ? 0 : number_at + count;
        i += count == number_left;
        uid_at = count == uid_left ? 0 : uid_at + count;
        k += count == uid_left;
    }
    return matched;
}
