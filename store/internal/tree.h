/* git's tree objects, as far as mailboxes use them: plain files and directories. */
#ifndef ANNAL_STORE_INTERNAL_TREE_H
#define ANNAL_STORE_INTERNAL_TREE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

struct tree_entry {
    const char *name; /* NUL-terminated, borrowed from the tree */
    bool directory;   /* else a plain file */
    struct object_id id;
};

struct tree_reader {
    const uint8_t *at;
    const uint8_t *end;
};

enum tree_result { TREE_ENTRY, TREE_END, TREE_BAD };

/* Reads the next entry. TREE_BAD: malformed, or a mode other than 100644 and 40000. */
enum tree_result tree_next(struct tree_reader *reader, struct tree_entry *entry);

/* Appends an entry; the caller keeps git's order. */
void tree_append(GByteArray *out, const char *name, bool directory, const struct object_id *id);

/* Reads "00" to "99". */
bool tree_pair(const char *name, unsigned *out);
void tree_pair_format(char out[3], unsigned pair);

#endif
