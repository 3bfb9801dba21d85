/* Reading a Maildir with Maildir++ subfolders (".A.B" is the folder A/B). */
#ifndef ANNAL_SERVER_IMPORT_MAILDIR_H
#define ANNAL_SERVER_IMPORT_MAILDIR_H

#include <stdbool.h>

#include "server/import.h"

/* Hands every message of cur/ and new/ to the sink, by folder, in the order of the times in their
 * file names. The date is the file's modification time in UTC. Flags come from the name's info
 * (":2,": D F P R S T); letters a to z are keywords if the folder has a dovecot-keywords file.
 * Folder names are modified UTF-7 or UTF-8. False: not a Maildir or unreadable, with *problem a new
 * string, or NULL if the sink stopped. Files that vanish meanwhile are skipped silently. */
bool import_maildir(const char *path, const struct import_sink *sink, char **problem);

#endif
