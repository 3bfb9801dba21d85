/* A mailbox as an mbox file (mboxrd). */
#ifndef ANNAL_SERVER_EXPORT_MBOX_H
#define ANNAL_SERVER_EXPORT_MBOX_H

#include <stdbool.h>

#include "server/export.h"

/* The From_ line has the Return-Path, or MAILER-DAEMON, and the internal date in UTC. CRLF becomes
 * LF, a last line gets an end, ">" is put before "From ", ">From ", ... Flags and keywords stand in
 * Status, X-Status and X-Keywords; with uids X-UID too, and X-IMAPbase, so that Dovecot or an
 * import keeps them. Fields of these names that a message has by itself are left out. The file is
 * there as a whole in the end, or is as it was. False: told, or stopped. */
bool export_mbox(struct export_job *job, const char *path, struct mailbox *mailbox, bool uids);

/* "From joe@example.org Thu Feb  4 05:06:07 2021" and a line end. */
void export_mbox_from(GString *out, const char *sender, int64_t date);

#endif
