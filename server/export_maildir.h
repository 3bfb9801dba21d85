/* Mailboxes as a Maildir that Dovecot can take over: flags in file names, dovecot-keywords, and
 * dovecot-uidlist, so that clients keep what they have downloaded. */
#ifndef ANNAL_SERVER_EXPORT_MAILDIR_H
#define ANNAL_SERVER_EXPORT_MAILDIR_H

#include <stdbool.h>

#include "server/export.h"
#include "server/folder_name.h"

/* Makes the directory, or takes one that an earlier export has made (and left IMPORT_MAILDIR_EXACT
 * in): messages that are there as files are not written again, only renamed where their flags
 * differ. Any other directory that is not empty is refused. */
bool export_maildir_begin(const struct export_job *job, const char *directory);

/* The mailbox of that name: INBOX is the directory itself. Octets are exact; a file's modification
 * time is the internal date, and its zone stands in the name (IMPORT_MAILDIR_ZONE). Keywords beyond
 * the 26 that a folder's file names have letters for are told and left out. False: told, or
 * stopped. */
bool export_maildir_mailbox(struct export_job *job, const char *directory,
                            enum folder_layout layout, struct mailbox *mailbox, const char *name);

/* The subscriptions (char *), in the end; and everything reaches the disk. */
bool export_maildir_end(const struct export_job *job, const char *directory,
                        enum folder_layout layout, const GPtrArray *subscriptions);

#endif
