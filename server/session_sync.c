/* The one place that tells a client what has become of its mailbox.
 *
 * The view is the snapshot that the client knows. Bringing it up to date is the difference to the
 * newest snapshot, told in an order that keeps sequence numbers right: EXPUNGE from the last to
 * the first, so that none moves another (or one VANISHED); then EXISTS; then flags, by the new
 * numbers.
 *
 * A mailbox that was deleted stays readable here as it was; its changes fail with NONEXISTENT. So
 * does one that was deleted and made again: the new one has another UIDVALIDITY, which a session
 * can't be told of. Where it never had a message (an import gives a new account's mailboxes the
 * UIDVALIDITY that they had elsewhere) there is nothing to be read: the client is sent away and
 * finds the new one.
 */
#include <assert.h>

#include "protocol/response.h"
#include "protocol/sequence_set.h"
#include "server/session_private.h"

enum { RECENT_RANGES_MAX = 1000 };

/* --- \Recent --- */

void session_add_recent(struct session *session, uint32_t first, uint32_t end)
{
    if (session->recent == NULL)
        session->recent = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
    GArray *ranges = session->recent;
    struct sequence_range *last = NULL;
    if (ranges->len > 0) {
        last = &g_array_index(ranges, struct sequence_range, ranges->len - 1);
        first = MAX(first, last->high + 1);
    }
    if (first >= end)
        return;
    if (last != NULL && first == last->high + 1) {
        last->high = end - 1;
        return;
    }
    if (ranges->len == RECENT_RANGES_MAX)
        g_array_remove_index(ranges, 0);
    struct sequence_range range = {first, end - 1};
    g_array_append_val(ranges, range);
}

bool session_is_recent(const struct session *session, const struct message *message)
{
    return session->recent != NULL && sequence_ranges_contain(session->recent, message->uid);
}

static size_t count_recent(const struct session *session, const struct snapshot *snapshot)
{
    size_t count = 0;
    for (guint i = 0; session->recent != NULL && i < session->recent->len; i++) {
        struct sequence_range range = g_array_index(session->recent, struct sequence_range, i);
        count += snapshot_lower_bound(snapshot, range.high + 1) -
                 snapshot_lower_bound(snapshot, range.low);
    }
    return count;
}

/* Messages from old_next on are new to this session; who comes first has them as \Recent. */
static void take_recent(struct session *session, uint32_t old_next, const struct snapshot *after)
{
    uint32_t first = session->read_only ? mailbox_recent_from(session->mailbox)
                                        : mailbox_take_recent(session->mailbox);
    session_add_recent(session, MAX(first, old_next), snapshot_uid_next(after));
}

void session_write_exists(struct session *session)
{
    g_string_append_printf(session_out(session), "* %zu EXISTS\r\n", snapshot_count(session->view));
    if (!session->rev2)
        g_string_append_printf(session_out(session), "* %zu RECENT\r\n",
                               count_recent(session, session->view));
}

/* --- flags --- */

void session_write_flags(struct session *session, GString *out, const struct snapshot *snapshot,
                         const struct message *message)
{
    size_t start = out->len;
    for (unsigned flags = message->flags; flags != 0; flags &= flags - 1) {
        g_string_append_c(out, ' ');
        g_string_append(out, response_system_flags[__builtin_ctz(flags)]);
    }
    for (uint64_t keywords = message->keywords; keywords != 0; keywords &= keywords - 1) {
        size_t index = (size_t)__builtin_ctzll(keywords);
        assert(index < snapshot_keyword_count(snapshot));
        g_string_append_c(out, ' ');
        g_string_append(out, snapshot_keyword(snapshot, index));
    }
    if (!session->rev2 && session_is_recent(session, message))
        g_string_append(out, " \\Recent");
    if (out->len == start)
        g_string_append_c(out, '(');
    else
        out->str[start] = '(';
    g_string_append_c(out, ')');
}

static void write_known_flags(GString *out, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < G_N_ELEMENTS(response_system_flags); i++)
        g_string_append_printf(out, "%s%s", i == 0 ? "" : " ", response_system_flags[i]);
    for (size_t i = 0; i < snapshot_keyword_count(snapshot); i++)
        g_string_append_printf(out, " %s", snapshot_keyword(snapshot, i));
}

void session_write_mailbox_flags(struct session *session, const struct snapshot *snapshot)
{
    GString *out = session_out(session);
    g_string_append(out, "* FLAGS (");
    write_known_flags(out, snapshot);
    g_string_append(out, ")\r\n* OK [PERMANENTFLAGS (");
    if (session->read_only) {
        g_string_append(out, ")] No flags can be changed\r\n");
    } else {
        write_known_flags(out, snapshot);
        if (snapshot_keyword_count(snapshot) < MAILBOX_KEYWORDS_MAX)
            g_string_append(out, " \\*");
        g_string_append(out, ")] Flags that are kept\r\n");
    }
    session->keywords_told = snapshot_keyword_count(snapshot);
}

void session_tell_keywords(struct session *session, const struct snapshot *snapshot)
{
    if (snapshot_keyword_count(snapshot) > session->keywords_told)
        session_write_mailbox_flags(session, snapshot);
}

void session_write_fetch(struct session *session, const struct snapshot *snapshot, size_t index)
{
    struct message message = snapshot_message(snapshot, index);
    GString *out = session_out(session);
    g_string_append_printf(out, "* %zu FETCH (", index + 1);
    if (session->condstore || session->rev2)
        g_string_append_printf(out, "UID %" G_GUINT32_FORMAT " ", message.uid);
    if (session->condstore)
        g_string_append_printf(out, "MODSEQ (%" G_GUINT64_FORMAT ") ", message.modseq);
    g_string_append(out, "FLAGS ");
    session_write_flags(session, out, snapshot, &message);
    g_string_append(out, ")\r\n");
}

/* --- the difference --- */

static bool contains_uid(const uint32_t *uids, size_t count, uint32_t uid)
{
    size_t low = 0;
    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (uids[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && uids[low] == uid;
}

/* Keywords keep their place for a mailbox's life, so their bits compare across snapshots. */
static bool looks_the_same(const struct snapshot *before, const struct message *message)
{
    size_t index = 0;
    if (!snapshot_find(before, message->uid, &index))
        return false;
    struct message old = snapshot_message(before, index);
    return old.flags == message->flags && old.keywords == message->keywords;
}

static void tell_expunged(struct session *session, const struct snapshot *before,
                          const GArray *uids)
{
    if (uids->len == 0)
        return;
    GString *out = session_out(session);
    if (session->qresync) {
        g_string_append(out, "* VANISHED ");
        sequence_set_format(out, (const uint32_t *)(void *)uids->data, uids->len);
        g_string_append(out, "\r\n");
        session->modseq_due = true;
        return;
    }
    for (guint i = uids->len; i-- > 0;) {
        size_t index = 0;
        if (snapshot_find(before, g_array_index(uids, uint32_t, i), &index))
            g_string_append_printf(out, "* %zu EXPUNGE\r\n", index + 1);
    }
}

static void tell_changed(struct session *session, const struct snapshot *before,
                         const struct snapshot *after, const GArray *changed, const uint32_t *told,
                         size_t told_count)
{
    if (changed->len > 0)
        session_tell_keywords(session, after);
    for (guint i = 0; i < changed->len; i++) {
        size_t index = g_array_index(changed, size_t, i);
        struct message message = snapshot_message(after, index);
        if (contains_uid(told, told_count, message.uid))
            continue;
        if (session->condstore || !looks_the_same(before, &message))
            session_write_fetch(session, after, index);
    }
}

/* Takes the reference to after. */
static void advance(struct session *session, struct snapshot *after, const uint32_t *told,
                    size_t told_count)
{
    struct snapshot *before = session->view;
    struct snapshot_changes changes;
    snapshot_compare(&changes, before, after);
    session->view = after;
    tell_expunged(session, before, changes.expunged);
    if (changes.added > 0) {
        size_t first = snapshot_count(after) - changes.added;
        take_recent(session, snapshot_message(after, first).uid, after);
        session_write_exists(session);
    }
    tell_changed(session, before, after, changes.changed, told, told_count);
    session_tell_keywords(session, after);
    snapshot_changes_release(&changes);
    snapshot_unref(before);
}

static bool was_replaced_unused(const struct session *session)
{
    return mailbox_is_deleted(session->mailbox) && snapshot_uid_next(session->view) == 1 &&
           account_mailbox_exists(session->account, mailbox_name(session->mailbox));
}

void session_sync_quiet(struct session *session, const uint32_t *told, size_t count,
                        enum sync_mode mode)
{
    if (mode == SYNC_NONE || session->mailbox == NULL)
        return;
    struct store_error error = {STORE_OK, ""};
    if (mailbox_refresh(session->mailbox, &error) != 0)
        session_log(session, SESSION_LOG_WARNING, "event=refresh mailbox=\"%s\" detail=\"%s\"",
                    mailbox_name(session->mailbox), error.detail);
    if (was_replaced_unused(session))
        session_shut_down(session, "The mailbox is another one now; connect again");
    const struct snapshot *newest = mailbox_snapshot(session->mailbox);
    if (newest == session->view)
        return;
    assert(snapshot_uid_validity(newest) == snapshot_uid_validity(session->view));
    struct snapshot *after =
        mode == SYNC_FULL ? snapshot_ref(newest) : snapshot_keep_expunged(session->view, newest);
    session->held = after != newest;
    if (!session->held)
        session->told_modseq = snapshot_highest_modseq(newest);
    advance(session, after, told, count);
}

void session_sync(struct session *session, enum sync_mode mode)
{
    session_sync_quiet(session, NULL, 0, mode);
}

/* --- sets of messages --- */

/* A number that is not there is the client's error (RFC 3501 9, seq-number); but "n:*" is
 * understood as "from n on", which clients rely on. */
static bool numbers_exist(const struct sequence_set *set, size_t count)
{
    for (guint i = 0; i < set->ranges->len; i++) {
        struct sequence_range range = g_array_index(set->ranges, struct sequence_range, i);
        bool open = range.low == 0 || range.high == 0;
        if (!open && MAX(range.low, range.high) > count)
            return false;
    }
    return true;
}

static void append_indexes(GArray *indexes, size_t first, size_t end)
{
    guint at = indexes->len;
    if (first >= end)
        return;
    g_array_set_size(indexes, at + (guint)(end - first));
    for (size_t index = first; index < end; index++)
        g_array_index(indexes, uint32_t, at++) = (uint32_t)index;
}

GArray *session_saved(struct session *session)
{
    if (session->saved == NULL)
        session->saved = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
    return session->saved;
}

void session_save(struct session *session, const uint32_t *uids, size_t count)
{
    GArray *saved = session_saved(session);
    struct sequence_range *last = NULL;
    g_array_set_size(saved, 0);
    for (size_t i = 0; i < count; i++) {
        struct sequence_range range = {uids[i], uids[i]};
        if (last != NULL && last->high + 1 == uids[i]) {
            last->high++;
            continue;
        }
        g_array_append_val(saved, range);
        last = &g_array_index(saved, struct sequence_range, saved->len - 1);
    }
}

GArray *session_resolve(struct session *session, const struct sequence_set *set, bool uid)
{
    const struct snapshot *view = session->view;
    size_t count = snapshot_count(view);
    if (!uid && !set->saved && !numbers_exist(set, count))
        return NULL;
    uid = uid || set->saved;
    uint32_t largest = (uint32_t)count;
    if (uid)
        largest = count == 0 ? 0 : snapshot_message(view, count - 1).uid;
    GArray *ranges =
        set->saved ? g_array_ref(session_saved(session)) : sequence_set_resolve(set, largest);
    GArray *indexes = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (guint i = 0; i < ranges->len; i++) {
        struct sequence_range range = g_array_index(ranges, struct sequence_range, i);
        if (!uid)
            append_indexes(indexes, range.low - 1, MIN(range.high, count));
        else if (range.high == UINT32_MAX)
            append_indexes(indexes, snapshot_lower_bound(view, range.low), count);
        else
            append_indexes(indexes, snapshot_lower_bound(view, range.low),
                           snapshot_lower_bound(view, range.high + 1));
    }
    g_array_unref(ranges);
    return indexes;
}

/* --- leaving, CONDSTORE --- */

void session_unselect(struct session *session)
{
    if (session->mailbox == NULL)
        return;
    snapshot_unref(session->view);
    session->view = NULL;
    mailbox_unref(session->mailbox);
    session->mailbox = NULL;
    if (session->recent != NULL)
        g_array_unref(session->recent);
    session->recent = NULL;
    g_clear_pointer(&session->saved, g_array_unref);
    session->keywords_told = 0;
    session->read_only = false;
    session->held = false;
    session->modseq_due = false;
    if (session->state == SESSION_STATE_SELECTED)
        session_set_state(session, SESSION_STATE_AUTHENTICATED);
}

uint64_t session_told_modseq(const struct session *session)
{
    return session->held ? session->told_modseq : snapshot_highest_modseq(session->view);
}

void session_enable_condstore(struct session *session)
{
    if (session->condstore)
        return;
    session->condstore = true;
    if (session->mailbox != NULL)
        g_string_append_printf(session_out(session),
                               "* OK [HIGHESTMODSEQ %" G_GUINT64_FORMAT "] Highest\r\n",
                               session_told_modseq(session));
}
