/* What SORT takes from a kept answer to ENVELOPE, and from a subject: the first octet says which.
 */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/sort_key.h"
#include "tests/fuzz.h"

static void read_envelope(const char *text, size_t length)
{
    struct summary_text envelope = {text, length};
    GString *out = g_string_new(NULL);
    int64_t seconds;

    for (enum envelope_field list = ENVELOPE_FROM; list <= ENVELOPE_BCC; list++) {
        sort_key_address(out, envelope, list, false);
        sort_key_address(out, envelope, list, true);
    }
    sort_key_date(&seconds, envelope);
    g_string_free(out, TRUE);
}

/* What is left has nothing more to be taken off. */
static void read_subject(const char *text, size_t length)
{
    GString *once = g_string_new(NULL);
    GString *twice = g_string_new(NULL);

    sort_key_subject(once, text, length);
    sort_key_subject(twice, once->str, once->len);
    if (once->len > SORT_KEY_MAX || (length < SORT_KEY_MAX && !g_string_equal(once, twice)))
        abort();
    g_string_free(once, TRUE);
    g_string_free(twice, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = g_memdup2(data + 1, size - 1);
    if (data[0] % 2 == 0)
        read_envelope(text, size - 1);
    else
        read_subject(text != NULL ? text : "", size - 1);
    g_free(text);
    return 0;
}
