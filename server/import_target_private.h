/* Inside the target of an import. */
#ifndef ANNAL_SERVER_IMPORT_TARGET_PRIVATE_H
#define ANNAL_SERVER_IMPORT_TARGET_PRIVATE_H

#include "server/import_target.h"

struct import_target {
    struct store *store;
    struct account *account;
    const struct import_target_options *options;
    void (*complain)(const char *text);
    struct history *history; /* NULL until needed, or can't be read */
    GPtrArray *places;       /* struct import_place: those with work to do */
    GHashTable *by_name;     /* relative name -> place of places, for messages to come */
    GHashTable *entered;     /* char *: names in the account that were entered or used */
    GPtrArray *subscribed;   /* char *: names in the account */
    struct import_place *current;
    struct import_counts counts;
    unsigned waiting;
    size_t waiting_octets;
    size_t known; /* messages that places have */
};

/* Tells what has failed; returns false. */
bool import_target_fail(struct import_target *target, const char *what,
                        const struct store_error *error);
void import_target_tell(struct import_target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The mailbox exists and is open: goes on with the source's UIDVALIDITY where it can have it, else
 * with fresh UIDs. False: told; the import ends. */
bool import_target_take_over(struct import_target *target, struct import_place *place);

#endif
