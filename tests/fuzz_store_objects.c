/* git's objects as the store reads them: trees that are accepted are written back the same, commits
 * are cut into parts that lie within them, text from outside becomes harmless. */
#include <stdlib.h>
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"
#include "tests/fuzz.h"

static void expect(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void tree(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    struct tree_reader reader = {data, data + size};
    struct tree_entry entry;
    enum tree_result result;

    while ((result = tree_next(&reader, &entry)) == TREE_ENTRY) {
        tree_append(again, entry.name, entry.directory, &entry.id);
    }
    expect(result == TREE_BAD ||
           (again->len == size && (size == 0 || memcmp(again->data, data, size) == 0)));
}

static void commit(const uint8_t *data, size_t size)
{
    struct commit decoded;
    struct store_error error;

    if (commit_decode(&decoded, data, size, &error) == 0) {
        expect(decoded.message >= (const char *)data);
        expect(decoded.message + decoded.message_length == (const char *)data + size);
    }
}

static void harmless(const uint8_t *data, size_t size)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) subject = g_string_new(NULL);

    text_append_harmless(text, (const char *)data, size, 100);
    expect(text->len <= 103 && text_is_harmless(text->str, text->len));
    subject_append_from_message(subject, data, size);
    expect(text_is_harmless(subject->str, subject->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tree(data, size);
    commit(data, size);
    harmless(data, size);
    return 0;
}
