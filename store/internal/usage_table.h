/* The sums that a store keeps of its accounts (usage.h), whether these are open or not. */
#ifndef ANNAL_STORE_INTERNAL_USAGE_TABLE_H
#define ANNAL_STORE_INTERNAL_USAGE_TABLE_H

#include <glib.h>

struct account;
struct mailbox;

/* User to their sums; released with g_hash_table_unref(). */
GHashTable *usage_table_new(void);
/* A mailbox has a snapshot that is new here. */
void usage_note(const struct mailbox *mailbox);
/* There are mailboxes more, or less. */
void usage_note_names(const struct account *account);

#endif
