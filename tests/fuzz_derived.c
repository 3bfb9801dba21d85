/* The file of derived results, whatever it holds: opens, and takes what is put. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/derived.h"
#include "tests/fuzz.h"

static char directory[] = "/tmp/annal-fuzz-XXXXXX";
static char file[sizeof(directory) + sizeof("/derived")];

static void clean_up(void)
{
    unlink(file);
    rmdir(directory);
}

static void write_input(const uint8_t *data, size_t size)
{
    if (file[0] == '\0') {
        if (mkdtemp(directory) == NULL) {
            abort();
        }
        snprintf(file, sizeof(file), "%s/derived", directory);
        atexit(clean_up);
    }
    FILE *stream = fopen(file, "wb");
    if (stream == NULL || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct object_id seeded = {{1, 2, 3}};
    static const struct object_id own = {{9, 9, 9}};
    GByteArray *value = g_byte_array_new();

    write_input(data, size);
    struct derived *derived = derived_open(directory);
    derived_get(derived, &seeded, "structure.1", value);
    derived_put(derived, &own, "fuzz", "value", 5);
    if (!derived_get(derived, &own, "fuzz", value) || value->len != 5) {
        abort();
    }
    g_byte_array_unref(value);
    derived_close(derived);
    return 0;
}
