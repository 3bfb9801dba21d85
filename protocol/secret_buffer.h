/* Octets that may hold a password: what is let go of is wiped, when growing too. */
#ifndef ANNAL_PROTOCOL_SECRET_BUFFER_H
#define ANNAL_PROTOCOL_SECRET_BUFFER_H

#include <stddef.h>

struct secret_buffer { /* all zero: empty */
    char *data;        /* NULL while nothing was ever appended */
    size_t length;
    size_t allocated;
};

/* The caller has checked the length against a limit. */
void secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t length);
/* Empties and wipes it; a large allocation is given back. */
void secret_buffer_clear(struct secret_buffer *buffer);
void secret_buffer_release(struct secret_buffer *buffer);

#endif
