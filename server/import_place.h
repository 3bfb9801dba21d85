/* A mailbox of the account during an import: what waits to be added to it, and what is to follow
 * the source in it. */
#ifndef ANNAL_SERVER_IMPORT_PLACE_H
#define ANNAL_SERVER_IMPORT_PLACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/import.h"
#include "server/import_keywords.h"
#include "server/import_known.h"
#include "store/mailbox.h"

/* Who makes an import's changes: what the history says. */
struct origin import_origin(const char *command);

struct import_pending {
    struct spool *spool;
    GPtrArray *keywords; /* char *, then NULL */
    int64_t date;
    uint32_t uid;
    int16_t zone;
    uint8_t flags;
};

struct import_place {
    char *name;
    struct mailbox *mailbox;    /* NULL: yet to be made, or left_out */
    struct import_known *known; /* what it had when it was entered; NULL: nothing */
    struct import_keywords *keywords;
    GArray *kept;          /* struct import_pending with UIDs of the source, ascending */
    GArray *fresh;         /* the same without, to be added when all with UIDs are */
    GHashTable *follow;    /* flags as a text -> struct import_follow */
    uint32_t uid_validity; /* kept, or to be; 0: UIDs are fresh */
    uint32_t uid_next;     /* of the source, to be reached before fresh UIDs are given */
    bool left_out;         /* the account can't have one of this name */
    bool kept_done;        /* no more with UIDs */
    bool left;             /* no more at all */
    bool incomplete;       /* something of the source could not be read */
};

/* Takes the name. */
struct import_place *import_place_new(char *name);
void import_place_free(void *place); /* a GDestroyNotify */

void import_pending_clear(void *pending); /* a GDestroyNotify */

struct import_place_counts {
    uint64_t flags;   /* messages that got other ones */
    uint64_t changed; /* whose flags differ, but were changed here */
    uint64_t removed;
    uint64_t gone; /* that would be removed */
};

/* The message that the mailbox has there is in the source with these flags and (chosen) keywords:
 * takes note if it has others. */
void import_place_follow(struct import_place *place, size_t index, uint8_t flags,
                         const GPtrArray *keywords, struct import_place_counts *counts);
/* Gives messages the flags that were noted, and removes what is gone in the source if remove is
 * set. Whatever was changed here since the mailbox was entered stays. Store errors. */
int import_place_catch_up(struct import_place *place, bool remove,
                          struct import_place_counts *counts, struct store_error *error);

#endif
