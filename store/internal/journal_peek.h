/* Reading the journals of running servers, without a lock and without a change to them. */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_PEEK_H
#define ANNAL_STORE_INTERNAL_JOURNAL_PEEK_H

#include <glib.h>

#include "store/error.h"
#include "store/internal/refs.h"

/* A reference that moves because of a change in a journal. */
struct peeked_move {
    guint change; /* moves of one change have one number; later changes have higher ones */
    struct ref_update update;
};

/* Appends what the journals in the directory say about the user, as long as they do not say that
 * it is durable in git: a new array of struct peeked_move with the names, in the order of the
 * changes. All that was durable in a journal when this was called is in it. STORE_CORRUPT,
 * STORE_UNSUPPORTED, STORE_NO_MEMORY, STORE_IO. Blocks. */
int journal_peek(GArray **out, const char *directory, const char *user, struct store_error *error);

#endif
