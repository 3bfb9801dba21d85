/* git's deltas (gitformat-pack(5), "Deltified representation"): making and applying them.
 *
 * The encoder is for versions of one small file (trees, index files), where a few octets changed,
 * were added or taken away in some places: what both have at their beginning and end is found at
 * once, what is between by blocks of eight octets. The same input makes the same octets, always.
 */
#ifndef ANNAL_STORE_INTERNAL_DELTA_H
#define ANNAL_STORE_INTERNAL_DELTA_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DELTA_INPUT_MAX = 1024 * 1024 }; /* octets; larger ones are not compared */

/* Working memory that is used again; zero it first. */
struct delta_encoder {
    uint32_t *table;
    size_t capacity;
};
void delta_encoder_release(struct delta_encoder *encoder);

/* Replaces out by the delta that makes data of base. False if it would take more than limit
 * octets or an input is too large; out is then without meaning. */
bool delta_encode(struct delta_encoder *encoder, const uint8_t *base, size_t base_length,
                  const uint8_t *data, size_t length, size_t limit, GByteArray *out);

/* The sizes that a delta starts with; *used: octets they take. False if they are cut or beyond
 * 64 bits. */
bool delta_sizes(const uint8_t *delta, size_t delta_length, uint64_t *base_length, uint64_t *length,
                 size_t *used);

/* Fills all of out (length octets), or returns false: the delta is damaged or of another base or
 * length. */
bool delta_apply(const uint8_t *base, size_t base_length, const uint8_t *delta, size_t delta_length,
                 uint8_t *out, size_t length);

#endif
