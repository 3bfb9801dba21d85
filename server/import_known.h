/* What a mailbox has before an import into it: so that nothing comes in twice. */
#ifndef ANNAL_SERVER_IMPORT_KNOWN_H
#define ANNAL_SERVER_IMPORT_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "store/snapshot.h"

struct import_known;

/* Keeps a reference to the snapshot, and about 32 octets a message. */
struct import_known *import_known_new(const struct snapshot *snapshot);
void import_known_free(struct import_known *known); /* accepts NULL */

/* Every function takes NULL for a mailbox that has nothing. */

/* Whether there is a message of these octets and this date that was not taken yet: takes it. */
bool import_known_take(struct import_known *known, const struct object_id *blob, int64_t date);

enum import_known_uid {
    IMPORT_KNOWN_ABOVE, /* not below UIDNEXT */
    IMPORT_KNOWN_SAME,  /* of that date: takes it */
    IMPORT_KNOWN_OTHER, /* another message has the UID */
    IMPORT_KNOWN_GONE,  /* below UIDNEXT, and no message */
};
enum import_known_uid import_known_uid(struct import_known *known, uint32_t uid, int64_t date);

#endif
