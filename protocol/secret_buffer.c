#include "protocol/secret_buffer.h"

#include <glib.h>
#include <string.h>

enum { BUFFER_FIRST = 128, BUFFER_KEPT = 4096 };

static void grow(struct secret_buffer *buffer, size_t wanted)
{
    size_t allocated = MAX(buffer->allocated, (size_t)BUFFER_FIRST);
    char *data;

    while (allocated < wanted)
        allocated *= 2;
    data = g_malloc(allocated);
    if (buffer->data != NULL) {
        memcpy(data, buffer->data, buffer->length);
        explicit_bzero(buffer->data, buffer->length);
        g_free(buffer->data);
    }
    buffer->data = data;
    buffer->allocated = allocated;
}

void secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return;
    if (buffer->allocated - buffer->length < length)
        grow(buffer, buffer->length + length);
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

void secret_buffer_clear(struct secret_buffer *buffer)
{
    if (buffer->length > 0)
        explicit_bzero(buffer->data, buffer->length);
    buffer->length = 0;
    if (buffer->allocated > BUFFER_KEPT)
        secret_buffer_release(buffer);
}

void secret_buffer_release(struct secret_buffer *buffer)
{
    if (buffer->length > 0)
        explicit_bzero(buffer->data, buffer->length);
    g_free(buffer->data);
    *buffer = (struct secret_buffer){0};
}
