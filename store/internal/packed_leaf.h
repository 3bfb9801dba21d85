/* The messages of a leaf in few octets: what snapshots hold in memory and in their files.
 *
 * Numbers are in the machine's own byte order.
 *    0  1  count of messages, 1 to LEAF_MESSAGES
 *    1  1  width of a size
 *    2  1  width of an internal date
 *    3  1  width of a zone
 *    4  1  width of a MODSEQ
 *    5  1  width of the keywords
 *    6  2  the least zone, signed
 *    8  8  the least MODSEQ
 *   16  8  the least internal date, signed
 *   24     columns, one after the other, each with a value for every message: UID modulo 100 and
 *          flags of an octet each; size, date, zone, MODSEQ and keywords of their widths (0, 1, 2,
 *          4 or 8 octets), date, zone and MODSEQ less the least one; blob ids
 */
#ifndef ANNAL_STORE_INTERNAL_PACKED_LEAF_H
#define ANNAL_STORE_INTERNAL_PACKED_LEAF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/internal/index_file.h"
#include "store/snapshot.h"

enum {
    PACKED_LEAF_HEAD = 24,
    PACKED_LEAF_MAX = PACKED_LEAF_HEAD + LEAF_MESSAGES * (2 + 4 + 8 + 2 + 8 + 8 + OBJECT_ID_SIZE)
};

/* Packs 1 to LEAF_MESSAGES messages of one leaf, UIDs ascending; returns the length. */
size_t packed_leaf_encode(uint8_t out[PACKED_LEAF_MAX], const struct message *messages,
                          size_t count);

/* True if these octets have that form, as many messages as said, UIDs that ascend, and no keyword
 * from the place `keywords` on. The functions below are for such octets only. */
bool packed_leaf_valid(const uint8_t *packed, size_t length, size_t count, size_t keywords);

/* number: of the leaf. index < count. */
void packed_leaf_message(struct message *out, const uint8_t *packed, uint32_t number, size_t index);
/* All of them; returns their count. */
size_t packed_leaf_decode(struct message out[LEAF_MESSAGES], const uint8_t *packed,
                          uint32_t number);

/* Whether two leaves have the same UIDs. */
bool packed_leaf_same_uids(const uint8_t *a, const uint8_t *b);
/* For two leaves that have the same UIDs and are packed alike: which messages differ in anything.
 * False: they are not, and there is no saying without decoding them. */
bool packed_leaf_compare(const uint8_t *a, const uint8_t *b, bool differs[LEAF_MESSAGES]);

/* The index of the first message whose UID modulo 100 is at least pair; count if there is none. */
size_t packed_leaf_lower_bound(const uint8_t *packed, unsigned pair);
/* UID modulo 100. */
unsigned packed_leaf_pair(const uint8_t *packed, size_t index);
/* The column of flags. */
const uint8_t *packed_leaf_flags(const uint8_t *packed);
/* The first message without \Seen; count if there is none. */
size_t packed_leaf_first_unseen(const uint8_t *packed);

#endif
