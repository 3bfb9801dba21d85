#include "server/found_messages.h"

#include <inttypes.h>

#include "protocol/sort_key.h"

enum {
    CHECK_EVERY = 4096, /* messages looked at in the snapshot, before the clock is asked */
    CHECK_DEAR = 8,     /* the same for those that are read */
};

void found_messages_init(struct found_messages *found, struct session *session, struct run *run)
{
    *found = (struct found_messages){
        .search = search_new(session, &run->command->search),
        .indexes = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
    };
    session_message_init(&found->message, session);
    if (search_has_modseq(found->search)) {
        session_enable_condstore(session);
    }
}

void found_messages_release(struct found_messages *found)
{
    search_free(found->search);
    session_message_release(&found->message);
    g_array_unref(found->indexes);
}

bool found_messages_check(struct found_messages *found, struct session *session,
                          const struct run *run, size_t messages, bool dear)
{
    found->unchecked += messages;
    if (found->unchecked < (dear ? CHECK_DEAR : CHECK_EVERY)) {
        return false;
    }
    found->unchecked = 0;
    return session_should_yield(session, run);
}

static void add(struct found_messages *found, struct session *session, size_t index)
{
    uint32_t number = (uint32_t)index;

    if (search_has_modseq(found->search)) {
        struct message message = snapshot_message(session->view, index);

        found->highest_modseq = MAX(found->highest_modseq, message.modseq);
    }
    g_array_append_val(found->indexes, number);
}

bool found_messages_search(struct found_messages *found, struct session *session,
                           const struct run *run)
{
    bool dear = search_cost(found->search) > SEARCH_COST_SNAPSHOT;
    size_t count = snapshot_count(session->view);

    while (found->position < count) {
        size_t first = found->position;
        uint64_t matches = 0;
        size_t judged = 1;

        if (dear) {
            matches = search_matches(found->search, first) ? 1 : 0;
        } else {
            judged = search_matches_many(found->search, first, &matches);
        }
        for (; matches != 0; matches &= matches - 1) {
            add(found, session, first + (size_t)__builtin_ctzll(matches));
        }
        found->position += judged;
        if (found_messages_check(found, session, run, judged, dear)) {
            return false;
        }
    }
    return true;
}

void found_messages_set(struct found_messages *found, struct session *session, uint32_t place)
{
    uint32_t index = g_array_index(found->indexes, uint32_t, place);
    struct message message = snapshot_message(session->view, index);

    session_message_set(&found->message, &message);
}

void found_messages_fail(struct found_messages *found, struct session *session,
                         const struct store_error *error)
{
    session_log(session, SESSION_LOG_ERROR, "event=read uid=%" PRIu32 " error=\"%s\" detail=\"%s\"",
                found->message.message.uid, store_code_name(error->code), error->detail);
    found->failures++;
}

const struct summary *found_messages_summary(struct found_messages *found, struct session *session)
{
    const struct summary *summary;
    struct store_error error;

    if (session_message_summary(&found->message, &summary, &error) != 0) {
        found_messages_fail(found, session, &error);
        return NULL;
    }
    return summary;
}

uint32_t found_messages_number(const struct found_messages *found, const struct session *session,
                               const struct run *run, uint32_t place)
{
    uint32_t index = g_array_index(found->indexes, uint32_t, place);

    return run->command->uid ? snapshot_message(session->view, index).uid : index + 1;
}

int64_t found_messages_sent(const struct message *message, const struct summary *summary)
{
    int64_t sent;

    return summary != NULL && sort_key_date(&sent, summary->envelope) ? sent
                                                                      : message->internal_date;
}

size_t found_messages_failures(const struct found_messages *found)
{
    return found->failures + search_failures(found->search);
}
