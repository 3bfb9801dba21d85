/* Checks an account: git's integrity and Annal's own rules (FORMAT.md). */
#ifndef ANNAL_STORE_VERIFY_H
#define ANNAL_STORE_VERIFY_H

#include <stddef.h>

#include "store/error.h"
#include "store/observer.h"

/* Called once for each finding with one line of printable text. */
typedef void (*verify_report)(const char *finding, void *data);

/* Checks the bare repository at path, which may be in use by a server: every reachable object, as
 * far as the kept history goes, is there and hashes to its name; each branch name is one of our
 * encodings; each tree follows the format; index lines match entries; UIDs are below UIDNEXT,
 * MODSEQs at most HIGHESTMODSEQ, sizes true; along each branch's first parents UIDNEXT and
 * HIGHESTMODSEQ never fall. *findings gets their number. Returns 0 also when there are findings;
 * negative if it could not look. */
int verify_repository(const char *path, verify_report report, void *data, size_t *findings,
                      struct store_error *error);
/* The same, and observer (may be NULL) is told of each object and each change of the history:
 * STORE_CONFLICT when he gives up. */
int verify_observed(const char *path, verify_report report, void *data,
                    const struct observer *observer, size_t *findings, struct store_error *error);

#endif
