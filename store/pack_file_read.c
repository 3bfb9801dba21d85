#include <string.h>
#include <zlib.h>

#include "store/internal/checksum.h"
#include "store/internal/delta.h"
#include "store/internal/pack_file_private.h"

enum {
    OFS_DELTA = 6,
    REF_DELTA = 7,
    BLOCK_HEADER = 5,
    BLOCK_MAX = 65535,
    BLOCK_ALL = BLOCK_HEADER + BLOCK_MAX,
    ZLIB_HEADER = 2,
    ZLIB_TRAILER = 4,
    INFLATE_RATIO = 1032, /* RFC 1951: 258 octets of two bits, and that twice over at the most */
    INFLATE_CHUNK = 1 << 30,
};

struct entry {
    unsigned type;
    uint64_t size;                   /* inflated */
    size_t stream;                   /* where the zlib stream begins */
    size_t base;                     /* OFS_DELTA: where that entry begins */
    const struct object_id *base_id; /* REF_DELTA */
};

/* Octets in the mapping, or made of it. */
struct content {
    const uint8_t *data;
    size_t length;
    uint8_t *owned; /* NULL: in the mapping */
};

static void content_release(struct content *content)
{
    g_free(content->owned);
    *content = (struct content){NULL, 0, NULL};
}

static int damaged(struct store_error *error, const char *what)
{
    return store_error_set(error, STORE_CORRUPT, "pack: %s", what);
}

static bool parse_size(const struct pack_file *pack, size_t *at, struct entry *entry)
{
    uint8_t byte = pack->pack[(*at)++];
    unsigned shift = 4;

    entry->type = byte >> 4 & 7;
    entry->size = byte & 15;
    for (; (byte & 0x80) != 0; shift += 7) {
        if (*at == pack->end || shift > 64 - 7) {
            return false;
        }
        byte = pack->pack[(*at)++];
        entry->size |= (uint64_t)(byte & 0x7f) << shift;
    }
    return true;
}

static bool parse_distance(const struct pack_file *pack, size_t *at, uint64_t *distance)
{
    uint64_t value = 0;

    for (unsigned octets = 0; *at < pack->end && octets < 9; octets++) {
        uint8_t byte = pack->pack[(*at)++];

        value = value << 7 | (byte & 0x7f);
        if ((byte & 0x80) == 0) {
            *distance = value;
            return true;
        }
        value++;
    }
    return false;
}

/* gitformat-pack(5), "pack-*.pack files have the following format". */
static bool parse_entry(const struct pack_file *pack, size_t offset, struct entry *entry)
{
    size_t at = offset;
    uint64_t distance;

    if (offset < PACK_HEADER || offset >= pack->end || !parse_size(pack, &at, entry)) {
        return false;
    }
    if (entry->type == OFS_DELTA) {
        if (!parse_distance(pack, &at, &distance) || distance == 0 ||
            distance > offset - PACK_HEADER) {
            return false;
        }
        entry->base = offset - (size_t)distance;
    } else if (entry->type == REF_DELTA) {
        if (pack->end - at < OBJECT_ID_SIZE) {
            return false;
        }
        entry->base_id = (const struct object_id *)(const void *)(pack->pack + at);
        at += OBJECT_ID_SIZE;
    }
    entry->stream = at;
    return pack->end - at >= ZLIB_HEADER + ZLIB_TRAILER;
}

/* RFC 1950: deflate, and no dictionary. */
static bool is_zlib(const uint8_t *stream)
{
    return (stream[0] & 15) == 8 && (stream[0] << 8 | stream[1]) % 31 == 0 &&
           (stream[1] & 0x20) == 0;
}

/* RFC 1951, 3.2.4: a block that isn't compressed. */
static bool parse_block(const struct pack_file *pack, size_t at, size_t *length, bool *last)
{
    const uint8_t *block = pack->pack + at;

    if (at >= pack->end || pack->end - at < BLOCK_HEADER + ZLIB_TRAILER || (block[0] & 6) != 0) {
        return false;
    }
    unsigned count = block[1] | (unsigned)block[2] << 8;
    unsigned check = block[3] | (unsigned)block[4] << 8;
    *length = count;
    *last = (block[0] & 1) != 0;
    return (count ^ check) == 0xffff && pack->end - at - BLOCK_HEADER - ZLIB_TRAILER >= count;
}

/* Where a stream of nothing but stored blocks ends; 0 if it is none, or not of the right size. */
static size_t stored_end(const struct pack_file *pack, const struct entry *entry)
{
    size_t at = entry->stream + ZLIB_HEADER;
    uint64_t total = 0;
    size_t length;
    bool last = false;

    if (!is_zlib(pack->pack + entry->stream)) {
        return 0;
    }
    while (!last) {
        if (!parse_block(pack, at, &length, &last)) {
            return 0;
        }
        at += BLOCK_HEADER + length;
        total += length;
    }
    return total == entry->size ? at + ZLIB_TRAILER : 0;
}

static bool is_one_block(const struct pack_file *pack, const struct entry *entry)
{
    return (pack->pack[entry->stream + ZLIB_HEADER] & 1) != 0;
}

/* The content of a stream that stored_end() has measured. */
static int gather(const struct pack_file *pack, const struct entry *entry, struct content *out,
                  struct store_error *error)
{
    size_t at = entry->stream + ZLIB_HEADER;
    size_t used = 0;
    size_t length;
    bool last = is_one_block(pack, entry);

    *out = (struct content){pack->pack + at + BLOCK_HEADER, (size_t)entry->size, NULL};
    if (last) {
        return 0;
    }
    out->owned = g_try_malloc(out->length > 0 ? out->length : 1);
    out->data = out->owned;
    if (out->owned == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", out->length);
    }
    while (!last && parse_block(pack, at, &length, &last)) {
        memcpy(out->owned + used, pack->pack + at + BLOCK_HEADER, length);
        used += length;
        at += BLOCK_HEADER + length;
    }
    return 0;
}

/* Inflates all of the stream into exactly length octets (out has room for one at least); where it
 * ends, or 0. */
static size_t inflate_into(const struct pack_file *pack, size_t stream, uint8_t *out, size_t length)
{
    size_t in_left = pack->end - stream;
    size_t out_left = length;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)(pack->pack + stream), .next_out = out};
    int result = inflateInit(&z);

    while (result == Z_OK) {
        uInt in = (uInt)MIN(in_left, (size_t)INFLATE_CHUNK);
        uInt room = (uInt)MIN(out_left, (size_t)INFLATE_CHUNK);

        z.avail_in = in;
        z.avail_out = room;
        result = inflate(&z, in == in_left && room == out_left ? Z_FINISH : Z_NO_FLUSH);
        in_left -= in - z.avail_in;
        out_left -= room - z.avail_out;
        if (result == Z_BUF_ERROR && (z.avail_in < in || z.avail_out < room)) {
            result = Z_OK;
        }
    }
    inflateEnd(&z);
    return result == Z_STREAM_END && out_left == 0 ? pack->end - in_left : 0;
}

static int inflate_stream(const struct pack_file *pack, const struct entry *entry,
                          struct content *out, size_t *end, struct store_error *error)
{
    *out = (struct content){NULL, (size_t)entry->size, NULL};
    if (entry->size / INFLATE_RATIO > pack->end - entry->stream || entry->size > SIZE_MAX / 2) {
        return damaged(error, "an object larger than its octets can make it");
    }
    out->owned = g_try_malloc(out->length > 0 ? out->length : 1);
    out->data = out->owned;
    if (out->owned == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", out->length);
    }
    *end = inflate_into(pack, entry->stream, out->owned, out->length);
    if (*end == 0) {
        content_release(out);
        return damaged(error, "a stream is damaged");
    }
    return 0;
}

/* The entry's stream, whatever it stands for, and where it ends. */
static int open_stream(const struct pack_file *pack, const struct entry *entry, struct content *out,
                       size_t *end, struct store_error *error)
{
    *end = stored_end(pack, entry);
    return *end != 0 ? gather(pack, entry, out, error)
                     : inflate_stream(pack, entry, out, end, error);
}

/* Down from the entry at offset to the whole object that it is made of; the deltas' entries on the
 * way. */
static int find_base(const struct pack_file *pack, size_t offset, GArray *deltas,
                     struct entry *base, struct store_error *error)
{
    for (;;) {
        struct entry entry = {0};
        uint32_t position;

        if (!parse_entry(pack, offset, &entry)) {
            return damaged(error, "an entry is damaged");
        }
        if (entry.type != OFS_DELTA && entry.type != REF_DELTA) {
            *base = entry;
            return 0;
        }
        if (deltas->len == PACK_CHAIN_MAX) {
            return store_error_set(error, STORE_UNSUPPORTED, "pack: a chain of too many deltas");
        }
        g_array_append_val(deltas, entry);
        if (entry.type == OFS_DELTA) {
            offset = entry.base;
        } else if (!pack_file_find(pack, entry.base_id, &position)) {
            return store_error_set(error, STORE_UNSUPPORTED, "pack: a delta of another pack");
        } else if (!pack_file_offset(pack, position, &offset)) {
            return damaged(error, "the index points nowhere");
        }
    }
}

/* Replaces content by what the delta makes of it. */
static int apply(const struct pack_file *pack, const struct entry *entry, struct content *content,
                 struct store_error *error)
{
    struct content delta;
    struct content made = {NULL, 0, NULL};
    uint64_t base_length, length = 0;
    size_t used, end;
    int result = open_stream(pack, entry, &delta, &end, error);

    if (result < 0) {
        return result;
    }
    if (!delta_sizes(delta.data, delta.length, &base_length, &length, &used)) {
        result = damaged(error, "a delta is damaged");
    } else if (length > PACK_DELTA_OBJECT_MAX) {
        result = store_error_set(error, STORE_UNSUPPORTED, "pack: a delta makes too much");
    } else {
        made.length = (size_t)length;
        made.owned = g_try_malloc(made.length > 0 ? made.length : 1);
        made.data = made.owned;
    }
    if (result == 0 && made.owned == NULL) {
        result = store_error_set(error, STORE_NO_MEMORY, "object of %zu octets", made.length);
    } else if (result == 0 && !delta_apply(content->data, content->length, delta.data, delta.length,
                                           made.owned, made.length)) {
        result = damaged(error, "a delta is damaged");
    }
    content_release(&delta);
    if (result < 0) {
        content_release(&made);
        return result;
    }
    content_release(content);
    *content = made;
    return 0;
}

static int check_type(unsigned type, struct store_error *error)
{
    if (type == OBJECT_COMMIT || type == OBJECT_TREE || type == OBJECT_BLOB) {
        return 0;
    }
    return store_error_set(error, STORE_UNSUPPORTED, "pack: an object of type %u", type);
}

static int build_of_deltas(const struct pack_file *pack, size_t offset, enum object_type *type,
                           struct content *out, struct store_error *error)
{
    GArray *deltas = g_array_new(FALSE, FALSE, sizeof(struct entry));
    struct entry base;
    size_t end;
    int result = find_base(pack, offset, deltas, &base, error);

    if (result == 0) {
        result = check_type(base.type, error);
    }
    if (result == 0) {
        *type = (enum object_type)base.type;
        result = open_stream(pack, &base, out, &end, error);
    }
    for (guint i = deltas->len; i-- > 0 && result == 0;) {
        result = apply(pack, &g_array_index(deltas, struct entry, i), out, error);
        if (result < 0) {
            content_release(out);
        }
    }
    g_array_free(deltas, TRUE);
    return result;
}

static void unref_pack(void *data)
{
    pack_file_unref(data);
}

static GBytes *share(struct pack_file *pack, const uint8_t *data, size_t length)
{
    return g_bytes_new_with_free_func(data, length, unref_pack, pack_file_ref(pack));
}

static GBytes *take(struct pack_file *pack, const struct content *content)
{
    return content->owned != NULL ? g_bytes_new_take(content->owned, content->length)
                                  : share(pack, content->data, content->length);
}

static int read_whole(const struct pack_file *pack, uint32_t position, size_t offset,
                      const struct entry *entry, struct content *out, struct store_error *error)
{
    size_t end;
    int result = open_stream(pack, entry, out, &end, error);

    if (result == 0 &&
        crc32_of(pack->pack + offset, end - offset) != pack_file_crc(pack, position)) {
        content_release(out);
        result = damaged(error, "an object's CRC is wrong");
    }
    return result;
}

static int read_of_deltas(const struct pack_file *pack, uint32_t position, size_t offset,
                          enum object_type *type, struct content *out, struct store_error *error)
{
    struct object_id id;
    int result = build_of_deltas(pack, offset, type, out, error);

    if (result < 0) {
        return result;
    }
    objects_hash(*type, out->data, out->length, &id);
    if (!object_id_equal(&id, pack_file_id(pack, position))) {
        content_release(out);
        return damaged(error, "an object doesn't have the name it should");
    }
    return 0;
}

int pack_file_read(struct pack_file *pack, uint32_t position, enum object_type *type,
                   GBytes **content, struct store_error *error)
{
    struct entry entry = {0};
    struct content made;
    size_t offset;
    int result;

    if (!pack_file_offset(pack, position, &offset)) {
        return damaged(error, "the index points nowhere");
    }
    if (!parse_entry(pack, offset, &entry)) {
        return damaged(error, "an entry is damaged");
    }
    if (entry.type == OFS_DELTA || entry.type == REF_DELTA) {
        result = read_of_deltas(pack, position, offset, type, &made, error);
    } else {
        *type = (enum object_type)entry.type;
        result = check_type(entry.type, error);
        result = result == 0 ? read_whole(pack, position, offset, &entry, &made, error) : result;
    }
    if (result == 0) {
        *content = take(pack, &made);
    }
    return result;
}

/* The stored block that holds the octet at that offset, in a stream whose blocks but the last are
 * as long as can be. */
static bool find_block(const struct pack_slices *slices, uint64_t offset, size_t *at,
                       size_t *length)
{
    uint64_t block = offset / BLOCK_MAX;
    uint64_t left = slices->length - block * BLOCK_MAX;
    bool last;

    if (block > (slices->pack->end - slices->first) / BLOCK_ALL) {
        return false;
    }
    *at = slices->first + (size_t)block * BLOCK_ALL;
    return parse_block(slices->pack, *at, length, &last) &&
           *length == MIN(left, (uint64_t)BLOCK_MAX) && last == (left <= BLOCK_MAX);
}

bool pack_slices_open(struct pack_slices *out, struct pack_file *pack, uint32_t position)
{
    struct entry entry = {0};
    struct store_error error;
    size_t at, length;

    *out = (struct pack_slices){.pack = pack};
    if (!pack_file_offset(pack, position, &out->entry) || !parse_entry(pack, out->entry, &entry) ||
        check_type(entry.type, &error) < 0 || !is_zlib(pack->pack + entry.stream)) {
        return false;
    }
    out->type = (enum object_type)entry.type;
    out->length = entry.size;
    out->first = entry.stream + ZLIB_HEADER;
    out->crc_next = out->entry;
    out->expected = pack_file_crc(pack, position);
    if (!find_block(out, 0, &at, &length) ||
        (out->length > 0 && !find_block(out, out->length - 1, &at, &length))) {
        return false;
    }
    pack_file_ref(pack);
    return true;
}

void pack_slices_release(struct pack_slices *slices)
{
    pack_file_unref(slices->pack);
    slices->pack = NULL;
}

/* Takes the object's octets up to the given place into the CRC, if all before are in it. */
static bool check_slice(struct pack_slices *slices, uint64_t offset, size_t begin, size_t length)
{
    const uint8_t *pack = slices->pack->pack;

    if (offset == 0) {
        slices->next = 0;
        slices->crc = 0;
        slices->crc_next = slices->entry;
    }
    if (offset != slices->next) {
        return true;
    }
    size_t end = begin + length;
    slices->next += length;
    end += slices->next == slices->length ? ZLIB_TRAILER : 0;
    slices->crc = crc32_more(slices->crc, pack + slices->crc_next, end - slices->crc_next);
    slices->crc_next = end;
    return slices->next < slices->length || slices->crc == slices->expected;
}

int pack_slices_next(struct pack_slices *slices, uint64_t offset, size_t max, GBytes **out,
                     struct store_error *error)
{
    size_t at, length;

    if (!find_block(slices, offset, &at, &length)) {
        return damaged(error, "a block is damaged");
    }
    size_t inside = (size_t)(offset % BLOCK_MAX);
    size_t begin = at + BLOCK_HEADER + inside;
    length = MIN(length - inside, max);
    if (!check_slice(slices, offset, begin, length)) {
        return damaged(error, "an object's CRC is wrong");
    }
    *out = share(slices->pack, slices->pack->pack + begin, length);
    return 0;
}
