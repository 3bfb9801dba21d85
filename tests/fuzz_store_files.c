/* The store's text files: whatever is accepted is written back the same but for the order of flags
 * and the case of keywords, which a second round trip then keeps. The first octet picks the file.
 */
#include <stdlib.h>
#include <string.h>

#include "store/internal/account_file.h"
#include "store/internal/index_file.h"
#include "store/internal/properties.h"
#include "tests/fuzz.h"

static void expect(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void index_file(const uint8_t *data, size_t size)
{
    g_autoptr(GPtrArray) keywords = keywords_new();
    g_autoptr(GString) text = g_string_new(NULL);
    struct message messages[LEAF_MESSAGES], again[LEAF_MESSAGES];
    struct store_error error;
    size_t count, count_again;

    g_ptr_array_add(keywords, g_strdup("$Forwarded"));
    g_ptr_array_add(keywords, g_strdup("k"));
    if (index_file_decode(messages, &count, data, size, 120, keywords, &error) < 0) {
        return;
    }
    index_file_encode(text, messages, count, keywords);
    expect(text->len == size);
    expect(index_file_decode(again, &count_again, text->str, text->len, 120, keywords, &error) ==
           0);
    expect(count == count_again);
    expect(memcmp(messages, again, count * sizeof(messages[0])) == 0);
}

static void properties(const uint8_t *data, size_t size)
{
    g_autoptr(GString) text = g_string_new(NULL);
    struct properties decoded;
    struct store_error error;

    if (properties_decode(&decoded, data, size, &error) == 0) {
        properties_encode(text, &decoded);
        expect(text->len == size && memcmp(text->str, data, size) == 0);
    }
    properties_release(&decoded);
}

static void account_files(uint8_t which, const uint8_t *data, size_t size)
{
    struct account_state *state = account_state_new();
    g_autoptr(GString) text = g_string_new(NULL);
    struct store_error error;
    bool good;

    if (which == 0) {
        good = account_file_decode(state, data, size, &error) == 0;
        account_file_encode(text, state);
    } else if (which == 1) {
        good = subscriptions_file_decode(state, data, size, &error) == 0;
        subscriptions_file_encode(text, state);
    } else {
        good = special_use_file_decode(state, data, size, &error) == 0;
        special_use_file_encode(text, state);
    }
    expect(!good || (text->len == size && memcmp(text->str, data, size) == 0));
    account_state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 'i':
        index_file(data + 1, size - 1);
        break;
    case 'p':
        properties(data + 1, size - 1);
        break;
    case 'a':
        account_files(0, data + 1, size - 1);
        break;
    case 's':
        account_files(1, data + 1, size - 1);
        break;
    default:
        account_files(2, data + 1, size - 1);
        break;
    }
    return 0;
}
