/* Reading a Maildir with its subfolders: Maildir++ (".A.B" is the folder A/B), directories in
 * directories ("A/B"), or both. */
#ifndef ANNAL_SERVER_IMPORT_MAILDIR_H
#define ANNAL_SERVER_IMPORT_MAILDIR_H

#include <stdbool.h>

#include "server/import.h"

/* In this file stands that files hold exact octets, bare LF line ends included ("annal export"
 * writes it at the root). */
#define IMPORT_MAILDIR_EXACT "annal-export"
/* And names have the zone of the date, if it is not UTC, as one of the fields that commas part:
 * ",Z=+0530". */
#define IMPORT_MAILDIR_ZONE "Z="

/* Hands every message of cur/ and new/ to the sink, by folder: those with UIDs (dovecot-uidlist, or
 * Courier's) in their order, then the others in the order of the times in their file names. The
 * date is the file's modification time in UTC, as Dovecot has it. Flags come from the name's info
 * (":2,": D F P R S T); letters a to z are keywords if the folder has a dovecot-keywords file.
 * Folder names are those of folder_name.h. Subscriptions come last. False:
 * not a Maildir or unreadable, with *problem a new string, or NULL if the sink stopped. Files that
 * vanish meanwhile are skipped silently; symbolic links are not followed. */
bool import_maildir(const char *path, const struct import_sink *sink, char **problem);

#endif
