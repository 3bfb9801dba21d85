/* A journal's record: what is accepted is what record_encode() writes. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/journal_record.h"
#include "store/internal/refs_private.h"
#include "store/store.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_error error;
    struct record record;

    if (record_decode(&record, data, size, &error) < 0) {
        return 0;
    }
    g_autoptr(GByteArray) again = g_byte_array_new();
    if (!store_user_name_valid(record.user)) {
        abort();
    }
    for (guint i = 0; i < record.updates->len; i++) {
        const char *name = g_array_index(record.updates, struct ref_update, i).name;

        if (!ref_name_valid(name, strlen(name))) {
            abort();
        }
    }
    record_encode(again, record.kind, record.user,
                  (const struct ref_update *)(const void *)record.updates->data,
                  record.updates->len, record.objects);
    for (guint i = 0; i < record.objects->len; i++) {
        const struct record_object *object =
            &g_array_index(record.objects, struct record_object, i);

        g_byte_array_append(again, object->data, (guint)object->length);
    }
    if (again->len != size || memcmp(again->data, data, size) != 0) {
        abort();
    }
    record_release(&record);
    return 0;
}
