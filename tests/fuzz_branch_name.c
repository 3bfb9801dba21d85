/* Branch names: what decodes encodes back to the same octets, and what encodes decodes. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/branch_name.h"
#include "tests/fuzz.h"

static void check_decode(const char *branch)
{
    struct store_error error;
    char *mailbox = NULL;
    char *again = NULL;

    if (branch_name_decode(&mailbox, branch, &error) < 0) {
        return;
    }
    if (branch_name_encode(&again, mailbox, &error) < 0 || strcmp(again, branch) != 0) {
        abort();
    }
    g_free(again);
    g_free(mailbox);
}

static void check_encode(const char *mailbox)
{
    struct store_error error;
    char *branch = NULL;
    char *back = NULL;

    if (branch_name_encode(&branch, mailbox, &error) < 0) {
        return;
    }
    if (branch_name_decode(&back, branch, &error) < 0 || g_ascii_strcasecmp(back, mailbox) != 0 ||
        strpbrk(branch, " ~^:?*[\\/\x7f") != NULL || strstr(branch, "..") != NULL ||
        branch[0] == '-' || branch[0] == '.' || g_str_has_suffix(branch, ".lock")) {
        abort();
    }
    g_free(back);
    g_free(branch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = g_strndup((const char *)data, size);

    check_decode(text);
    check_encode(text);
    g_free(text);
    return 0;
}
