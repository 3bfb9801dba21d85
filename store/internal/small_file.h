/* A small file of derived state: read and replaced as a whole, never synced, one of many in a
 * directory of its kind.
 */
#ifndef ANNAL_STORE_INTERNAL_SMALL_FILE_H
#define ANNAL_STORE_INTERNAL_SMALL_FILE_H

#include <glib.h>
#include <stddef.h>

/* NULL if there is none, or none of at most max octets. */
GByteArray *small_file_read(const char *path, size_t max);

/* Replaces the file; its directory exists. The first one of its name makes files there be removed
 * that were not written for so many days. Nothing is lost but time if that fails. */
void small_file_replace(const char *path, const GByteArray *bytes, unsigned days);

#endif
