/* The file `index` of a leaf: a line for each of its up to 100 messages. FORMAT.md, "Index". */
#ifndef ANNAL_STORE_INTERNAL_INDEX_FILE_H
#define ANNAL_STORE_INTERNAL_INDEX_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/snapshot.h"

enum {
    LEAF_MESSAGES = 100,              /* UIDs n * 100 to n * 100 + 99 */
    INDEX_FILE_MAX = 1024 * 1024,     /* octets; 100 lines with every keyword fit */
    INDEX_ZONE_MAX = 99 * 60 + 59,    /* minutes either way */
    MESSAGE_UID_MAX = UINT32_MAX - 1, /* so that UIDNEXT fits 32 bits */
};

/* True for a date that fits: years 1 to 9999 as seen in that zone. */
bool index_date_valid(int64_t seconds, int zone);

/* Appends a line for each message. Keyword bits name elements of keywords. */
void index_file_encode(GString *out, const struct message *messages, size_t count,
                       const GPtrArray *keywords);

/* Decodes the index of leaf number (UID / 100) into out, *count of them. Blob ids are left zero.
 * STORE_CORRUPT unless every line is as index_file_encode() writes it (flags in any order) and
 * UIDs ascend. */
int index_file_decode(struct message out[LEAF_MESSAGES], size_t *count, const void *data,
                      size_t length, uint32_t number, const GPtrArray *keywords,
                      struct store_error *error);

/* "\Seen"; the flag's bit by position 0 to 4 in the order in which lines name them. */
const char *message_flag_name(unsigned position, uint8_t *bit);

#endif
