/* The head of a git bundle (gitformat-bundle(5), version 2): what references it brings and which
 * commits whoever reads it must have already. Behind it comes a pack.
 */
#ifndef ANNAL_STORE_BUNDLE_H
#define ANNAL_STORE_BUNDLE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/account.h"
#include "store/error.h"
#include "store/follow.h"

enum {
    BUNDLE_HEAD_MAX = 64 * 1024 * 1024, /* octets */
    BUNDLE_REFERENCES_MAX = 200 * 1000, /* of either kind */
};

struct bundle {
    GArray *prerequisites; /* struct object_id */
    GPtrArray *references; /* struct follow_reference *, in the file's order; also "HEAD" */
    size_t length;         /* octets of the head: the pack begins there */
};

void bundle_init(struct bundle *bundle);
void bundle_release(struct bundle *bundle); /* accepts one that was released or never filled */

/* Appends the head. */
void bundle_encode(GString *out, const struct bundle *bundle);

/* Decodes the head that data begins with into an initialised bundle. STORE_CORRUPT for what is no
 * bundle, or one whose head does not end within length; STORE_UNSUPPORTED for another version;
 * STORE_LIMIT. */
int bundle_decode(struct bundle *out, const void *data, size_t length, struct store_error *error);

/* The same from a file; its position is at the pack afterwards. STORE_IO. */
int bundle_read(struct bundle *out, int fd, struct store_error *error);

/* NULL if there is none. */
const struct follow_reference *bundle_find(const struct bundle *bundle, const char *reference);

/* Makes an increment's prerequisites of what an earlier bundle brought: its commits, each once, as
 * far as the account has them. False if one is missing, or something was purged since: there can be
 * no increment on it. */
bool bundle_follow(struct bundle *bundle, struct account *account, const struct bundle *earlier);

#endif
