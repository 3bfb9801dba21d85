#include "store/object_id.h"

#include <string.h>

bool object_id_equal(const struct object_id *a, const struct object_id *b)
{
    return memcmp(a->bytes, b->bytes, OBJECT_ID_SIZE) == 0;
}

bool object_id_is_zero(const struct object_id *id)
{
    static const struct object_id zero;

    return object_id_equal(id, &zero);
}

void object_id_format(const struct object_id *id, char out[OBJECT_ID_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < OBJECT_ID_SIZE; i++) {
        out[2 * i] = digits[id->bytes[i] >> 4];
        out[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    out[OBJECT_ID_HEX] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool object_id_parse(struct object_id *out, const char *text)
{
    struct object_id id;

    for (int i = 0; i < OBJECT_ID_SIZE; i++) {
        int high = digit_value(text[2 * i]);
        int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);

        if (low < 0) {
            return false;
        }
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (text[OBJECT_ID_HEX] != '\0') {
        return false;
    }
    *out = id;
    return true;
}

unsigned object_id_hash(const void *id)
{
    unsigned hash;

    memcpy(&hash, ((const struct object_id *)id)->bytes, sizeof(hash));
    return hash;
}

int object_id_equal_keys(const void *a, const void *b)
{
    return object_id_equal(a, b);
}
