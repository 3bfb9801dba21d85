/* What the journal's records say: changes that git has not got yet.
 *
 *   RECORD_CHANGE   objects, and the references that move because of them
 *   RECORD_PACKED   the account's objects since its last such record become one pack
 *   RECORD_DONE     everything about the account so far is durable in git
 *
 * All integers little-endian:
 *   kind u8, length of the user's name u8, the name
 * and for RECORD_CHANGE
 *   references u16, each: length of its name u16, the name, 20 octets before, 20 octets after
 *   objects u32, each: type u8, length u32; then the content of all of them
 * An object whose type has RECORD_DELTA added is a delta of one that stands in the journal before
 * it, with the length of the delta; then comes the 20 octets of that one's id.
 */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_RECORD_H
#define ANNAL_STORE_INTERNAL_JOURNAL_RECORD_H

#include <glib.h>
#include <stddef.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/refs.h"

enum record_kind { RECORD_CHANGE = 1, RECORD_PACKED = 2, RECORD_DONE = 3 };

enum { RECORD_DELTA = 0x80 };

struct record_object {
    enum object_type type;
    const uint8_t *data; /* borrowed */
    size_t length;
    bool is_delta;
    struct object_id base; /* of a delta */
};

/* Appends everything but the objects' content. objects: struct record_object, may be NULL. */
void record_encode(GByteArray *out, enum record_kind kind, const char *user,
                   const struct ref_update *updates, size_t count, const GArray *objects);

struct record {
    enum record_kind kind;
    char *user;
    GArray *updates; /* struct ref_update with names of their own; valid reference names */
    GArray *objects; /* struct record_object */
};

/* STORE_CORRUPT for what record_encode() would not have written. Release only after success. */
int record_decode(struct record *out, const void *data, size_t length, struct store_error *error);
void record_release(struct record *record);

#endif
