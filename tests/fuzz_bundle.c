/* The head of a bundle: what is read and written again says the same. */
#include <stdlib.h>
#include <string.h>

#include "store/bundle.h"
#include "tests/fuzz.h"

static void check_again(const struct bundle *bundle)
{
    GString *text = g_string_new(NULL);
    struct store_error error;
    struct bundle again;

    bundle_encode(text, bundle);
    bundle_init(&again);
    if (bundle_decode(&again, text->str, text->len, &error) < 0 || again.length != text->len ||
        again.prerequisites->len != bundle->prerequisites->len ||
        again.references->len != bundle->references->len) {
        abort();
    }
    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);

        if (bundle_find(&again, reference->name) == NULL) {
            abort();
        }
    }
    bundle_release(&again);
    g_string_free(text, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_error error;
    struct bundle bundle;

    bundle_init(&bundle);
    if (bundle_decode(&bundle, data, size, &error) == 0) {
        if (bundle.length > size || memcmp(data + bundle.length - 2, "\n\n", 2) != 0) {
            abort();
        }
        check_again(&bundle);
    }
    bundle_release(&bundle);
    return 0;
}
