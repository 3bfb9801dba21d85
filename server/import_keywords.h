/* The keywords that messages may take into a mailbox, which has room for some only. */
#ifndef ANNAL_SERVER_IMPORT_KEYWORDS_H
#define ANNAL_SERVER_IMPORT_KEYWORDS_H

#include <glib.h>

#include "store/snapshot.h"

struct import_keywords;

/* snapshot NULL: of a new mailbox. */
struct import_keywords *import_keywords_new(const struct snapshot *snapshot);
void import_keywords_free(struct import_keywords *keywords); /* accepts NULL */

/* Those of wanted (char *, perhaps NULL at the end; NULL: none) that are atoms, each once, as far
 * as the mailbox has them or has room for them, which is then taken: a new array of new strings
 * with NULL at its end. *left_out: the first one ever that there was no room for, borrowed from
 * wanted; else NULL. */
GPtrArray *import_keywords_choose(struct import_keywords *keywords, const GPtrArray *wanted,
                                  const char **left_out);

#endif
