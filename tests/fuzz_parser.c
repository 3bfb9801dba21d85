/* The command parser: the first octet says how the rest is cut into pieces and whether the user is
 * logged in. What it makes must not depend on the cut. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz.h"
#include "tests/parser_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_settings settings = {0};
    const char *input = (const char *)data + 1;
    char *whole, *pieces;

    if (size < 1)
        return 0;
    settings.before_login = (data[0] & 0x80) != 0;
    settings.utf8 = (data[0] & 0x40) != 0;
    settings.refuse_messages = (data[0] & 0x20) != 0;
    whole = parser_trace(&settings, input, size - 1);
    settings.chunk = (data[0] & 0x1f) + 1u;
    pieces = parser_trace(&settings, input, size - 1);
    if (strcmp(whole, pieces) != 0)
        abort();
    g_free(whole);
    g_free(pieces);
    return 0;
}
