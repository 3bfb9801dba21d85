/* LMTP's parser: the first octet says how the rest is cut into pieces, on which nothing that it
 * makes may depend. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz.h"
#include "tests/lmtp_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *whole;
    char *pieces;

    if (size < 1)
        return 0;
    whole = lmtp_trace(data + 1, size - 1, 0, 0);
    pieces = lmtp_trace(data + 1, size - 1, 0, (data[0] & 0x3f) + 1u);
    if (strcmp(whole, pieces) != 0)
        abort();
    g_free(whole);
    g_free(pieces);
    return 0;
}
