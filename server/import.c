#include "server/import.h"

#include <string.h>

void import_crlf(GString *out, const char *data, size_t length)
{
    const char *end = data + length;

    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));

        if (newline == NULL) {
            g_string_append_len(out, data, end - data);
            return;
        }
        g_string_append_len(out, data, newline - data);
        if (newline == data || newline[-1] != '\r')
            g_string_append_c(out, '\r');
        g_string_append_c(out, '\n');
        data = newline + 1;
    }
}
