#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mailbox_name.h"
#include "tests/fuzz.h"

/* A name that is understood has exactly one form on the wire, but for raw UTF-8 and INBOX. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = NULL;
    if (mailbox_pattern_decode(&name, (const char *)data, size, false)) {
        GString *wire = g_string_new(NULL);
        char *again = NULL;
        mailbox_name_encode(wire, name, false);
        if (!mailbox_pattern_decode(&again, wire->str, wire->len, false) ||
            strcmp(again, name) != 0) {
            abort();
        }
        if (!mailbox_pattern_match("*", name) || !mailbox_pattern_match(name, name)) {
            abort();
        }
        g_free(again);
        g_string_free(wire, TRUE);
        g_free(name);
    }
    if (mailbox_name_decode(&name, (const char *)data, size, size % 2)) {
        g_free(name);
    }
    return 0;
}
