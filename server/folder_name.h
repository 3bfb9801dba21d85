/* Mailbox names as directories and files of a Maildir or of mboxes: modified UTF-7, as Dovecot
 * writes them. What a layout can't hold stands as a backslash and two hexadecimal digits, which
 * Dovecot's listescape plugin reads. */
#ifndef ANNAL_SERVER_FOLDER_NAME_H
#define ANNAL_SERVER_FOLDER_NAME_H

#include <glib.h>
#include <stdbool.h>

enum folder_layout {
    FOLDER_MAILDIRPP, /* ".A.B": one directory for all levels */
    FOLDER_FS,        /* "A/B": a directory for each level */
};

bool folder_layout_parse(enum folder_layout *out, const char *text); /* "maildir++", "fs" */

/* The relative path of a mailbox, a new string; with the leading '.' of FOLDER_MAILDIRPP. */
char *folder_name_path(const char *mailbox, enum folder_layout layout);

/* The other way, level by level: the name in modified UTF-7 with '/' between levels of a directory
 * or file below parent, which has such a name, too ("" at the top). One that begins with a '.' has
 * its dots as levels. A new string, to be decoded by mailbox_name_decode(). */
char *folder_name_below(const char *parent, const char *entry);

#endif
