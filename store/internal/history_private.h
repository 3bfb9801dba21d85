/* Inside a history. */
#ifndef ANNAL_STORE_INTERNAL_HISTORY_PRIVATE_H
#define ANNAL_STORE_INTERNAL_HISTORY_PRIVATE_H

#include "store/history.h"
#include "store/internal/objects.h"
#include "store/internal/properties.h"
#include "store/internal/reachable.h"
#include "store/internal/refs.h"

/* The root of a mailbox's tree. */
struct history_root {
    unsigned references;
    struct object_id tree;
    struct properties properties;
    GArray *directories; /* struct directory */
};

struct history {
    struct objects *objects;
    struct refs *refs;
    struct id_set shallow; /* commits whose parents are not kept */
    GArray *parents;       /* struct object_id: of the entry filled last */
    GString *subject;
    GString *author;
    GString *client;
    GString *command;
    GString *session;
    struct history_root *recent[2]; /* may be NULL; looked at last */
    unsigned oldest;                /* of recent */
};

/* A commit that the history refers to: STORE_CORRUPT if it is missing. */
int history_read_commit(struct history *history, const struct object_id *commit,
                        struct object_data *out, struct store_error *error);
/* All parents that are kept; *cut where there were others. */
int history_read_parents(const struct history *history, const struct object_id *commit,
                         const struct object_data *data, GArray *parents, bool *cut,
                         struct store_error *error);
/* Fills an entry, but for branch and commit, from a commit's content. */
int history_read_words(struct history *history, const struct object_id *commit,
                       const struct object_data *data, struct history_entry *out,
                       struct store_error *error);

/* A new reference. */
int history_root_load(struct history_root **out, struct history *history,
                      const struct object_id *tree, struct store_error *error);
void history_root_unref(struct history_root *root); /* accepts NULL */

#endif
