/* A git object's name: 20 bytes of SHA-1. */
#ifndef ANNAL_STORE_OBJECT_ID_H
#define ANNAL_STORE_OBJECT_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { OBJECT_ID_SIZE = 20, OBJECT_ID_HEX = 40 };

struct object_id {
    uint8_t bytes[OBJECT_ID_SIZE];
};

bool object_id_equal(const struct object_id *a, const struct object_id *b);
bool object_id_is_zero(const struct object_id *id);

/* Writes 40 lower-case hexadecimal digits and a NUL. */
void object_id_format(const struct object_id *id, char out[OBJECT_ID_HEX + 1]);

/* Reads exactly 40 hexadecimal digits; false if text holds anything else. */
bool object_id_parse(struct object_id *out, const char *text);

/* For GHashTable keys of struct object_id. */
unsigned object_id_hash(const void *id);
int object_id_equal_keys(const void *a, const void *b);

#endif
