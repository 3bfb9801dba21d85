/* A change of the history and the messages that it touched, as log and show tell of it. */
#ifndef ANNAL_SERVER_ADMIN_CHANGE_H
#define ANNAL_SERVER_ADMIN_CHANGE_H

#include "server/admin_history.h"

struct change {
    const struct history_entry *entry; /* borrowed */
    size_t arrived;
    size_t gone;
    size_t changed;
    GArray *touched;          /* struct touched: the first of them, UIDs ascending */
    bool known;               /* the above holds; false for the account's own changes */
    struct store_error error; /* why it does not, for a mailbox's; detail "" if it was cut off */
};

/* ranges: for history_diff(), or NULL; keep: so many messages at most. Release it. */
void change_find(struct change *out, struct history_view *view, const struct history_entry *entry,
                 const GArray *ranges, size_t keep);
void change_release(struct change *change);
size_t change_count(const struct change *change); /* of the messages */

/* A line of what happened, one of who did it, one a message. */
void change_append_text(struct history_view *view, const struct change *change, bool with_mailbox);
/* All that is known, a line each, then the messages. */
void change_append_full(struct history_view *view, const struct change *change);
void change_append_json(struct history_view *view, const struct change *change);

#endif
