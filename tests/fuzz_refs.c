/* packed-refs and the transaction file: only well-formed names come out. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/refs_private.h"
#include "tests/fuzz.h"

static void check_packed(const char *text, size_t size)
{
    GHashTable *table = packed_refs_parse(text, size);
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, table);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (!ref_name_valid(name, strlen(name))) {
            abort();
        }
    }
    g_hash_table_destroy(table);
}

static void check_transaction(const char *text, size_t size)
{
    GArray *changes = ref_transaction_parse(text, size);

    for (guint i = 0; changes != NULL && i < changes->len; i++) {
        const char *name = g_array_index(changes, struct ref_change, i).name;

        if (!ref_name_valid(name, strlen(name)) || strstr(name, "..") != NULL) {
            abort();
        }
    }
    if (changes != NULL) {
        g_array_free(changes, TRUE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_packed((const char *)data, size);
    check_transaction((const char *)data, size);
    return 0;
}
