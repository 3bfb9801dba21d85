/* What clients ask of a message again and again, made once: the answers to ENVELOPE and
 * BODYSTRUCTURE as they are sent, the header fields that SEARCH looks at, decoded and folded, and
 * the structure record for all else. Kept as a record of octets under the blob's id.
 *
 * The record, numbers big-endian:
 *
 *     0   4  "ANSM"
 *     4   1  version, 1
 *     5   1  bit 0: the answers hold for clients that take UTF-8, too
 *            bit 1: the Date field can be understood
 *     6   2  0
 *     8   8  length of the message
 *    16   4  day of the Date field: days since 1970-01-01, two's complement; else 0
 *    20   4  length of the answer to ENVELOPE
 *    24   4  the same of BODYSTRUCTURE
 *    28   4  length of the structure record (structure_tree.h); where bit 0 is set it is without
 *            the envelope of the whole message, which nobody will ask it for
 *    32  40  for each of enum envelope_field: 0 if the field is absent, else the length of its
 *            folded value plus one
 *    72      the answers, the structure record, the values in their order; nothing follows
 *
 * Any other version is malformed to this reader: the record is made again.
 */
#ifndef ANNAL_PROTOCOL_SUMMARY_H
#define ANNAL_PROTOCOL_SUMMARY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/structure.h"

/* Kind and version under which records are kept: change it with the format. */
#define SUMMARY_KIND "summary.1"

struct summary_text {
    const char *data; /* NULL: absent; not NUL-terminated */
    size_t length;
};

/* A record read: everything is borrowed from it. */
struct summary {
    bool for_utf8; /* envelope and bodystructure hold with UTF8=ACCEPT */
    bool has_sent;
    int32_t sent; /* day of the Date field, in its own zone */
    struct summary_text envelope;
    struct summary_text bodystructure;
    struct summary_text structure;                    /* a record for structure_decode() */
    struct summary_text fields[ENVELOPE_FIELD_COUNT]; /* as text_fold() makes them */
};

/* False if the record is malformed, or about a message of another length. The structure record in
 * it is not looked into. */
bool summary_read(struct summary *out, const uint8_t *record, size_t length,
                  uint64_t message_length);

/* Appends the record of a complete structure. */
void summary_write(GByteArray *out, const struct structure *structure, uint64_t message_length);

/* A field's value for SEARCH, not folded: decoded to UTF-8; addresses follow once more, on a line
 * of their own, in their bare form ("user (comment) @ host" as user@host). Appends to out. */
void summary_decode_field(GString *out, const char *value, size_t length, bool addresses);

#endif
