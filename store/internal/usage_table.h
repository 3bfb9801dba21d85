/* The sums that a store keeps of its accounts (usage.h), whether these are open or not. */
#ifndef ANNAL_STORE_INTERNAL_USAGE_TABLE_H
#define ANNAL_STORE_INTERNAL_USAGE_TABLE_H

#include <glib.h>

/* User to their sums; released with g_hash_table_unref(). */
GHashTable *usage_table_new(void);

#endif
