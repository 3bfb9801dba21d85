#include "store/internal/delta.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 8,    /* octets that are hashed */
    STEP = 4,      /* octets of the base between two that are */
    MATCH_MIN = 8, /* a copy takes up to eight octets itself, and cuts an insertion in two */
    COPY_MAX = 0x10000,
    INSERT_MAX = 127,
    TABLE_MIN = 64,
    SHIFT_MAX = 63,
};

struct output {
    GByteArray *bytes;
    size_t limit;
};

struct match {
    size_t base;
    size_t data;
    size_t length;
};

/* What is compared, and how far it has got. */
struct scan {
    const uint8_t *base;
    size_t base_length;
    const uint8_t *data;
    size_t length;
    size_t data_done; /* up to here data is expressed by the delta, ... */
    size_t base_next; /* ... and here in the base the last copy ended */
    const uint32_t *table;
    unsigned shift;
};

void delta_encoder_release(struct delta_encoder *encoder)
{
    free(encoder->table);
    *encoder = (struct delta_encoder){NULL, 0};
}

static uint64_t load(const uint8_t *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static size_t common_prefix(const uint8_t *a, const uint8_t *b, size_t length)
{
    size_t same = 0;

    while (length - same >= WINDOW && load(a + same) == load(b + same)) {
        same += WINDOW;
    }
    while (same < length && a[same] == b[same]) {
        same++;
    }
    return same;
}

/* How many octets before a and b are the same. */
static size_t common_suffix(const uint8_t *a, const uint8_t *b, size_t length)
{
    size_t same = 0;

    while (length - same >= WINDOW && load(a - same - WINDOW) == load(b - same - WINDOW)) {
        same += WINDOW;
    }
    while (same < length && a[-(ptrdiff_t)same - 1] == b[-(ptrdiff_t)same - 1]) {
        same++;
    }
    return same;
}

static void put_size(GByteArray *out, size_t size)
{
    do {
        uint8_t byte = (uint8_t)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));

        g_byte_array_append(out, &byte, 1);
        size >>= 7;
    } while (size > 0);
}

static void put_copy(GByteArray *out, size_t offset, size_t length)
{
    uint8_t bytes[8] = {0x80};
    guint used = 1;

    for (unsigned i = 0; i < 4; i++) {
        if ((offset >> 8 * i & 0xff) != 0) {
            bytes[0] |= (uint8_t)(1u << i);
            bytes[used++] = (uint8_t)(offset >> 8 * i);
        }
    }
    for (unsigned i = 0; i < 2 && length != COPY_MAX; i++) {
        if ((length >> 8 * i & 0xff) != 0) {
            bytes[0] |= (uint8_t)(0x10u << i);
            bytes[used++] = (uint8_t)(length >> 8 * i);
        }
    }
    g_byte_array_append(out, bytes, used);
}

static bool emit_insert(struct output *out, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        uint8_t block = (uint8_t)MIN(length, (size_t)INSERT_MAX);

        g_byte_array_append(out->bytes, &block, 1);
        g_byte_array_append(out->bytes, bytes, block);
        bytes += block;
        length -= block;
        if (out->bytes->len > out->limit) {
            return false;
        }
    }
    return true;
}

static bool emit_copy(struct output *out, size_t offset, size_t length)
{
    while (length > 0) {
        size_t block = MIN(length, (size_t)COPY_MAX);

        put_copy(out->bytes, offset, block);
        offset += block;
        length -= block;
    }
    return out->bytes->len <= out->limit;
}

/* What is new before the match, then the match. */
static bool emit_match(struct scan *scan, struct output *out, const struct match *match)
{
    if (!emit_insert(out, scan->data + scan->data_done, match->data - scan->data_done) ||
        !emit_copy(out, match->base, match->length)) {
        return false;
    }
    scan->data_done = match->data + match->length;
    scan->base_next = match->base + match->length;
    return true;
}

static size_t hash(uint64_t window, unsigned shift)
{
    return (size_t)((window * UINT64_C(0x9e3779b97f4a7c15)) >> shift);
}

/* Remembers where in base[from, to) windows begin (plus one; 0: none), the first of equal ones. */
static bool index_base(struct delta_encoder *encoder, struct scan *scan, size_t from, size_t to)
{
    size_t wanted = (to - from) / STEP * 2;
    size_t size = TABLE_MIN;
    unsigned bits = 6;

    for (; size < wanted; size *= 2) {
        bits++;
    }
    if (size > encoder->capacity) {
        uint32_t *table = realloc(encoder->table, size * sizeof(*table));

        if (table == NULL) {
            return false;
        }
        encoder->table = table;
        encoder->capacity = size;
    }
    memset(encoder->table, 0, size * sizeof(*encoder->table));
    scan->table = encoder->table;
    scan->shift = SHIFT_MAX + 1 - bits;
    for (size_t at = from; at + WINDOW <= to; at += STEP) {
        uint32_t *slot = &encoder->table[hash(load(scan->base + at), scan->shift)];

        if (*slot == 0) {
            *slot = (uint32_t)at + 1;
        }
    }
    return true;
}

static bool starts_match(const struct scan *scan, uint64_t window, size_t base)
{
    return base + WINDOW <= scan->base_length && load(scan->base + base) == window;
}

/* A place of the base with the eight octets at `at`: first where octets were replaced by as many,
 * or only added, since the last copy; then wherever. */
static bool find_match(const struct scan *scan, size_t at, struct match *match)
{
    uint64_t window = load(scan->data + at);
    size_t base = scan->base_next + (at - scan->data_done);

    if (!starts_match(scan, window, base)) {
        base = scan->base_next;
    }
    if (!starts_match(scan, window, base)) {
        uint32_t slot = scan->table[hash(window, scan->shift)];

        base = slot - 1;
        if (slot == 0 || !starts_match(scan, window, base)) {
            return false;
        }
    }
    size_t before =
        common_suffix(scan->base + base, scan->data + at, MIN(base, at - scan->data_done));
    size_t after = common_prefix(scan->base + base, scan->data + at,
                                 MIN(scan->base_length - base, scan->length - at));
    *match = (struct match){base - before, at - before, before + after};
    return true;
}

static bool encode_middle(struct scan *scan, struct output *out, size_t end)
{
    size_t at = scan->data_done;

    while (at + WINDOW <= end) {
        struct match match;

        if (!find_match(scan, at, &match)) {
            at++;
        } else if (!emit_match(scan, out, &match)) {
            return false;
        } else {
            at = scan->data_done;
        }
        if (at - scan->data_done > out->limit) {
            return false;
        }
    }
    return true;
}

bool delta_encode(struct delta_encoder *encoder, const uint8_t *base, size_t base_length,
                  const uint8_t *data, size_t length, size_t limit, GByteArray *out)
{
    struct output output = {out, limit};
    struct scan scan = {.base = base, .base_length = base_length, .data = data, .length = length};
    size_t shorter = MIN(base_length, length);

    if (base_length > DELTA_INPUT_MAX || length > DELTA_INPUT_MAX) {
        return false;
    }
    g_byte_array_set_size(out, 0);
    put_size(out, base_length);
    put_size(out, length);
    size_t prefix = common_prefix(base, data, shorter);
    prefix = prefix < MATCH_MIN ? 0 : prefix;
    size_t suffix = common_suffix(base + base_length, data + length, shorter - prefix);
    suffix = suffix < MATCH_MIN ? 0 : suffix;
    if (!emit_match(&scan, &output, &(struct match){0, 0, prefix})) {
        return false;
    }
    if (base_length - prefix - suffix >= MATCH_MIN && length - prefix - suffix >= MATCH_MIN) {
        if (!index_base(encoder, &scan, prefix, base_length - suffix) ||
            !encode_middle(&scan, &output, length - suffix)) {
            return false;
        }
    }
    /* The last match may reach into what both have at the end. */
    size_t tail = MIN(suffix, length - scan.data_done);
    struct match match = {base_length - tail, length - tail, tail};
    return emit_match(&scan, &output, &match);
}

static bool get_size(const uint8_t *bytes, size_t length, size_t *used, uint64_t *size)
{
    uint64_t value = 0;

    for (unsigned shift = 0; *used < length && shift <= SHIFT_MAX; shift += 7) {
        uint8_t byte = bytes[(*used)++];

        if (shift == SHIFT_MAX && (byte & 0x7f) > 1) {
            return false;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *size = value;
            return true;
        }
    }
    return false;
}

bool delta_sizes(const uint8_t *delta, size_t delta_length, uint64_t *base_length, uint64_t *length,
                 size_t *used)
{
    *used = 0;
    return get_size(delta, delta_length, used, base_length) &&
           get_size(delta, delta_length, used, length);
}

/* The octets of a number that the bits of code say are there. */
static bool get_sparse(const uint8_t **at, const uint8_t *end, unsigned code, size_t *out)
{
    *out = 0;
    for (unsigned i = 0; code >> i != 0; i++) {
        if ((code >> i & 1) != 0) {
            if (*at == end) {
                return false;
            }
            *out |= (size_t) * (*at)++ << 8 * i;
        }
    }
    return true;
}

bool delta_apply(const uint8_t *base, size_t base_length, const uint8_t *delta, size_t delta_length,
                 uint8_t *out, size_t length)
{
    uint64_t base_size;
    uint64_t size;
    size_t used;

    if (!delta_sizes(delta, delta_length, &base_size, &size, &used) || base_size != base_length ||
        size != length) {
        return false;
    }
    const uint8_t *at = delta + used;
    const uint8_t *end = delta + delta_length;
    while (at < end) {
        unsigned code = *at++;
        size_t offset = 0;
        size_t count = code;
        const uint8_t *from = at;

        if ((code & 0x80) != 0) {
            if (!get_sparse(&at, end, code & 0x0f, &offset) ||
                !get_sparse(&at, end, code >> 4 & 0x07, &count)) {
                return false;
            }
            count = count == 0 ? COPY_MAX : count;
            if (offset > base_length || count > base_length - offset) {
                return false;
            }
            from = base + offset;
        } else if (code == 0 || count > (size_t)(end - at)) {
            return false;
        } else {
            at += count;
        }
        if (count > length) {
            return false;
        }
        memcpy(out, from, count);
        out += count;
        length -= count;
    }
    return length == 0;
}
