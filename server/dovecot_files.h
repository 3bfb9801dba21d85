/* The small files that Dovecot keeps in a Maildir; also Courier's courierimapuiddb and
 * courierimapsubscribed, which are their first versions. Texts are read from memory, and may be
 * damaged or cut anywhere. */
#ifndef ANNAL_SERVER_DOVECOT_FILES_H
#define ANNAL_SERVER_DOVECOT_FILES_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DOVECOT_KEYWORDS = 26,                   /* letters a to z of a file name */
    DOVECOT_FILE_MAX = 256 * 1024 * 1024,    /* octets of a file that is read */
    DOVECOT_KEYWORDS_FILE_MAX = 1024 * 1024, /* the same of dovecot-keywords */
};

/* dovecot-uidlist: which file has which UID. */
struct uidlist {
    uint32_t uid_validity;
    uint32_t uid_next; /* above all UIDs */
    GHashTable *uids;  /* char * (file name without flags) -> UID by GUINT_TO_POINTER() */
    unsigned damaged;  /* lines that were left out */
};

/* Versions 1 ("1 VALIDITY NEXT", then "UID NAME") and 3 ("3 VVALIDITY NNEXT ...", then
 * "UID [FIELD ...] :NAME"). A last line without line end was cut off and is left out. Lines that
 * are damaged, or whose UIDs do not ascend, are left out, too, and *problem is a new string then;
 * else NULL. False, with *problem: it is none, or most of it is damaged. Release out in any case.
 */
bool uidlist_parse(struct uidlist *out, const char *data, size_t length, char **problem);
void uidlist_release(struct uidlist *list);
/* The UID of a file in cur or new, whatever flags its name has; 0: it has none. */
uint32_t uidlist_find(const struct uidlist *list, const char *name);

/* dovecot-keywords ("0 NAME"): sets what letters, all NULL before, stand for; new strings. Lines
 * that can't be understood are passed over. */
void dovecot_keywords_parse(char *letters[DOVECOT_KEYWORDS], const char *data, size_t length);

/* subscriptions: appends the names with '/' between levels, in modified UTF-7 or UTF-8 as they
 * stand there, as new strings. separator: of levels in version 1. */
void dovecot_subscriptions_parse(GPtrArray *names, const char *data, size_t length, char separator);

#endif
