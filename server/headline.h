/* What a person recognises a message by: its subject and sender, decoded and fit for a terminal. */
#ifndef ANNAL_SERVER_HEADLINE_H
#define ANNAL_SERVER_HEADLINE_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEADLINE_MAX = 1000,               /* characters of a text */
    HEADLINE_SEARCH_MAX = 1024 * 1024, /* octets of a message that are looked into */
};

struct headline {
    char *subject; /* valid UTF-8 without control characters and the like; "" if there is none */
    char *from;
};

/* data: the beginning of a message, with all of its header if that fits. Release it. */
void headline_read(struct headline *out, const uint8_t *data, size_t length);
void headline_release(struct headline *headline); /* accepts one that is all zero */

/* Appends text made harmless (log_clean()) and cut at max characters, "..." at the end then. */
void headline_append(GString *out, const char *text, size_t length, size_t max);

#endif
