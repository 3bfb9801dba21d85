/* Gmail's labels, as its exports have them in a field of each message: to mailboxes, flags and
 * keywords. */
#ifndef ANNAL_SERVER_IMPORT_LABELS_H
#define ANNAL_SERVER_IMPORT_LABELS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMPORT_LABELS_MAX = 200 }; /* of one message; further ones are left out */

/* Appends the labels in a field's raw value as new strings, valid UTF-8: encoded-words are decoded,
 * commas part labels, quotation marks keep a comma inside one. spaces: they part labels, too (as in
 * IMAP's X-GM-LABELS). */
void import_labels_parse(GPtrArray *labels, const char *value, size_t length, bool spaces);

/* How labels are understood. Zeroed, it is Gmail's own in English, German, French and Spanish. */
struct import_label_map {
    GHashTable *own; /* label -> what it is, as given to import_label_map_add(); may be NULL */
    bool keywords;   /* one mailbox for each message; users' labels become keywords */
};

/* "NAME=WHAT": WHAT is a mailbox; or Gmail's English name after a backslash ("\Unread"); or
 * nothing, and the label is ignored. False: not of that form, or no such name. */
bool import_label_map_add(struct import_label_map *map, const char *text);
void import_label_map_release(struct import_label_map *map);

struct import_labelled {
    GPtrArray *mailboxes; /* char *, at least one; "" is INBOX */
    GPtrArray *keywords;  /* char * */
    uint8_t flags;        /* enum message_flag of the store */
};

/* What the labels of a message say: \Seen without Unread, \Flagged with Starred, \Draft with
 * Drafts, $Important with Important; Archive where no label is a mailbox. Mailboxes in the order of
 * labels, each once; with map->keywords the first of Trash, Junk, Drafts, Sent, INBOX, Archive. */
void import_labels_apply(struct import_labelled *out, const struct import_label_map *map,
                         const GPtrArray *labels);
void import_labelled_release(struct import_labelled *labelled);

#endif
