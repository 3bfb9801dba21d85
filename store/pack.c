#include "store/internal/pack.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    BUFFER_SIZE = 128 * 1024,
    STORED_BLOCK_MAX = 65535, /* RFC 1951 3.2.4 */
    FANOUT = 256,
};

struct entry {
    struct object_id id;
    uint32_t crc;
    uint64_t offset;
};

struct pack_writer {
    const struct host *host;
    const char *directory;
    char *temp;      /* the pack's temporary path */
    GChecksum *sha1; /* of all octets so far */
    GArray *entries; /* struct entry */
    uint64_t offset; /* octets so far */
    uint32_t count;  /* announced in the header */
    uint32_t crc;    /* of the entry being written */
    int fd;          /* -1: closed */
    bool temp_exists;
    size_t buffered;
    char name[OBJECT_ID_HEX + 1];
    uint8_t buffer[BUFFER_SIZE];
};

int host_fail(struct store_error *error, int result, const char *what)
{
    enum store_code code = result == -ENOSPC || result == -EDQUOT ? STORE_NO_SPACE : STORE_IO;

    return store_error_set(error, code, "%s: %s", what, g_strerror(-result));
}

static void put_be32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static int flush(struct pack_writer *writer)
{
    int result =
        writer->host->write(writer->host->data, writer->fd, writer->buffer, writer->buffered);

    writer->buffered = 0;
    return result;
}

/* Appends to the file, but neither to the checksum nor to the entry's CRC. */
static int put_unhashed(struct pack_writer *writer, const void *bytes, size_t length)
{
    int result = 0;

    if (writer->buffered + length > BUFFER_SIZE) {
        result = flush(writer);
    }
    if (result == 0 && length > BUFFER_SIZE) {
        result = writer->host->write(writer->host->data, writer->fd, bytes, length);
    } else if (result == 0) {
        memcpy(writer->buffer + writer->buffered, bytes, length);
        writer->buffered += length;
    }
    writer->offset += length;
    return result;
}

static int put(struct pack_writer *writer, const void *bytes, size_t length)
{
    writer->crc = (uint32_t)crc32_z(writer->crc, bytes, length);
    g_checksum_update(writer->sha1, bytes, (gssize)length);
    return put_unhashed(writer, bytes, length);
}

static char *temporary_path(const struct host *host, const char *directory, int *result)
{
    uint64_t random = 0;

    *result = host->random(host->data, &random, sizeof(random));
    return g_strdup_printf("%s/" PACK_TEMP_PREFIX "%016" PRIx64 PACK_TEMP_SUFFIX, directory,
                           random);
}

static int write_header(struct pack_writer *writer)
{
    uint8_t header[12] = "PACK";

    put_be32(header + 4, 2);
    put_be32(header + 8, writer->count);
    return put(writer, header, sizeof(header));
}

int pack_writer_open(struct pack_writer **out, const char *directory, const struct host *host,
                     uint32_t count, struct store_error *error)
{
    struct pack_writer *writer = calloc(1, sizeof(*writer));
    int result = 0;

    if (writer == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "pack writer");
    }
    writer->host = host;
    writer->directory = directory;
    writer->count = count;
    writer->fd = -1;
    writer->sha1 = g_checksum_new(G_CHECKSUM_SHA1);
    writer->entries = g_array_sized_new(FALSE, FALSE, sizeof(struct entry), MIN(count, 4096));
    writer->temp = temporary_path(host, directory, &result);
    if (result == 0) {
        result = host->open(host->data, writer->temp, O_WRONLY | O_CREAT | O_EXCL, 0444);
    }
    if (result >= 0) {
        writer->fd = result;
        writer->temp_exists = true;
        result = write_header(writer);
    }
    if (result < 0) {
        pack_writer_free(writer);
        return host_fail(error, result, "pack: create");
    }
    *out = writer;
    return 0;
}

void pack_writer_free(struct pack_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->fd >= 0) {
        writer->host->close(writer->host->data, writer->fd);
    }
    if (writer->temp_exists) {
        writer->host->unlink(writer->host->data, writer->temp);
    }
    g_checksum_free(writer->sha1);
    g_array_free(writer->entries, TRUE);
    g_free(writer->temp);
    free(writer);
}

static void begin_entry(struct pack_writer *writer)
{
    assert(writer->entries->len < writer->count);
    writer->crc = (uint32_t)crc32_z(0, NULL, 0);
}

static int end_entry(struct pack_writer *writer, const struct object_id *id, uint64_t offset,
                     int result, struct store_error *error)
{
    struct entry entry = {*id, writer->crc, offset};

    if (result < 0) {
        return host_fail(error, result, "pack: write");
    }
    g_array_append_val(writer->entries, entry);
    return 0;
}

/* gitformat-pack(5): type and size, seven bits at a time after the first four. */
static int put_entry_header(struct pack_writer *writer, enum object_type type, size_t length)
{
    uint8_t header[12];
    size_t used = 0;
    uint8_t byte = (uint8_t)((unsigned)type << 4 | (length & 15));

    for (length >>= 4; length > 0; length >>= 7) {
        header[used++] = byte | 0x80;
        byte = length & 0x7f;
    }
    header[used++] = byte;
    return put(writer, header, used);
}

/* RFC 1950 and 1951: a zlib stream of stored blocks. */
static int put_stored(struct pack_writer *writer, const uint8_t *data, size_t length)
{
    static const uint8_t zlib_header[2] = {0x78, 0x01};
    uint8_t check[4];
    size_t left = length;
    int result = put(writer, zlib_header, sizeof(zlib_header));

    put_be32(check, (uint32_t)adler32_z(adler32_z(0, NULL, 0), data, length));
    do {
        size_t block = MIN(left, (size_t)STORED_BLOCK_MAX);
        uint8_t header[5] = {block == left, (uint8_t)block, (uint8_t)(block >> 8), (uint8_t)~block,
                             (uint8_t)(~block >> 8)};

        if (result == 0) {
            result = put(writer, header, sizeof(header));
        }
        if (result == 0) {
            result = put(writer, data, block);
        }
        data += block;
        left -= block;
    } while (left > 0 && result == 0);
    return result < 0 ? result : put(writer, check, sizeof(check));
}

int pack_writer_add(struct pack_writer *writer, const struct object_id *id, enum object_type type,
                    const void *data, size_t length, struct store_error *error)
{
    uint64_t offset = writer->offset;

    begin_entry(writer);
    int result = put_entry_header(writer, type, length);
    if (result == 0) {
        result = put_stored(writer, data, length);
    }
    return end_entry(writer, id, offset, result, error);
}

int pack_writer_add_raw(struct pack_writer *writer, const struct object_id *id, const void *entry,
                        size_t length, uint32_t crc, struct store_error *error)
{
    uint64_t offset = writer->offset;

    begin_entry(writer);
    g_checksum_update(writer->sha1, entry, (gssize)length);
    int result = put_unhashed(writer, entry, length);
    writer->crc = crc;
    return end_entry(writer, id, offset, result, error);
}

static int compare_entries(const void *a, const void *b)
{
    return memcmp(((const struct entry *)a)->id.bytes, ((const struct entry *)b)->id.bytes,
                  OBJECT_ID_SIZE);
}

static void append_be32(GByteArray *out, uint32_t value)
{
    uint8_t bytes[4];

    put_be32(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void append_fanout(GByteArray *out, const GArray *entries)
{
    uint32_t at = 0;

    for (unsigned first = 0; first < FANOUT; first++) {
        while (at < entries->len && g_array_index(entries, struct entry, at).id.bytes[0] <= first) {
            at++;
        }
        append_be32(out, at);
    }
}

static void append_offsets(GByteArray *out, const GArray *entries)
{
    GByteArray *large = g_byte_array_new();

    for (uint32_t i = 0; i < entries->len; i++) {
        uint64_t offset = g_array_index(entries, struct entry, i).offset;

        if (offset < 0x80000000) {
            append_be32(out, (uint32_t)offset);
        } else {
            append_be32(out, 0x80000000 | large->len / 8);
            append_be32(large, (uint32_t)(offset >> 32));
            append_be32(large, (uint32_t)offset);
        }
    }
    g_byte_array_append(out, large->data, large->len);
    g_byte_array_free(large, TRUE);
}

static void append_digest(GByteArray *out, GChecksum *sha1)
{
    uint8_t digest[OBJECT_ID_SIZE];
    gsize length = sizeof(digest);

    g_checksum_get_digest(sha1, digest, &length);
    g_byte_array_append(out, digest, sizeof(digest));
}

/* gitformat-pack(5), version 2. */
static GByteArray *make_index(struct pack_writer *writer)
{
    static const uint8_t header[8] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    GArray *entries = writer->entries;
    GByteArray *index = g_byte_array_new();

    qsort(entries->data, entries->len, sizeof(struct entry), compare_entries);
    g_byte_array_append(index, header, sizeof(header));
    append_fanout(index, entries);
    for (uint32_t i = 0; i < entries->len; i++) {
        g_byte_array_append(index, g_array_index(entries, struct entry, i).id.bytes,
                            OBJECT_ID_SIZE);
    }
    for (uint32_t i = 0; i < entries->len; i++) {
        append_be32(index, g_array_index(entries, struct entry, i).crc);
    }
    append_offsets(index, entries);
    append_digest(index, writer->sha1);
    GChecksum *sha1 = g_checksum_new(G_CHECKSUM_SHA1);
    g_checksum_update(sha1, index->data, index->len);
    append_digest(index, sha1);
    g_checksum_free(sha1);
    return index;
}

/* Creates path with these octets, durable when sync. Leaves nothing behind on failure. */
static int write_file(const struct host *host, const char *path, const void *bytes, size_t length,
                      bool sync)
{
    int fd = host->open(host->data, path, O_WRONLY | O_CREAT | O_TRUNC, 0444);

    if (fd < 0) {
        return fd;
    }
    int result = host->write(host->data, fd, bytes, length);
    if (result == 0 && sync) {
        result = host->fsync(host->data, fd);
    }
    int closed = host->close(host->data, fd);
    result = result < 0 ? result : closed;
    if (result < 0) {
        host->unlink(host->data, path);
    }
    return result;
}

static int finish_pack_file(struct pack_writer *writer, bool durable)
{
    const struct host *host = writer->host;
    uint8_t digest[OBJECT_ID_SIZE];
    gsize length = sizeof(digest);
    GChecksum *sum = g_checksum_copy(writer->sha1);

    assert(writer->entries->len == writer->count);
    g_checksum_get_digest(sum, digest, &length);
    g_checksum_free(sum);
    object_id_format((const struct object_id *)(const void *)digest, writer->name);
    int result = put_unhashed(writer, digest, sizeof(digest));
    if (result == 0) {
        result = flush(writer);
    }
    if (result == 0 && durable) {
        result = host->fsync(host->data, writer->fd);
    }
    int closed = host->close(host->data, writer->fd);
    writer->fd = -1;
    return result < 0 ? result : closed;
}

struct final_names {
    char *pack;
    char *index;
    char *keep;
    char *index_temp;
};

static void final_names_init(struct final_names *names, const struct pack_writer *writer)
{
    const char *name = writer->name;

    names->pack = g_strdup_printf("%s/pack-%s.pack", writer->directory, name);
    names->index = g_strdup_printf("%s/pack-%s.idx", writer->directory, name);
    names->keep = g_strdup_printf("%s/pack-%s.keep", writer->directory, name);
    names->index_temp = g_strdup_printf("%s.idx" PACK_TEMP_SUFFIX, writer->temp);
}

static void final_names_release(struct final_names *names)
{
    g_free(names->pack);
    g_free(names->index);
    g_free(names->keep);
    g_free(names->index_temp);
}

static int publish(struct pack_writer *writer, const struct final_names *names, unsigned flags)
{
    const struct host *host = writer->host;
    GByteArray *index = make_index(writer);
    int result =
        write_file(host, names->index_temp, index->data, index->len, (flags & PACK_DURABLE) != 0);

    g_byte_array_free(index, TRUE);
    if (result < 0) {
        return result;
    }
    /* The same objects in the same order make the same pack: what stands there already may be all
     * that somebody has of them. */
    bool there = access(names->index, F_OK) == 0;
    if ((flags & PACK_KEEP) != 0) {
        result = write_file(host, names->keep, PACK_KEEP_TEXT, strlen(PACK_KEEP_TEXT), false);
    }
    if (result == 0) {
        result = host->rename(host->data, writer->temp, names->pack);
        writer->temp_exists = result < 0;
    }
    if (result == 0) {
        result = host->rename(host->data, names->index_temp, names->index);
    }
    if (result == 0 && (flags & PACK_DURABLE) != 0) {
        result = host->fsync_directory(host->data, writer->directory);
    }
    if (result < 0) {
        /* The index goes first, as it came last. */
        if (!there) {
            host->unlink(host->data, names->index);
        }
        host->unlink(host->data, names->index_temp);
        if (!there) {
            host->unlink(host->data, names->pack);
        }
        host->unlink(host->data, names->keep);
    }
    return result;
}

int pack_writer_finish(struct pack_writer *writer, unsigned flags, struct store_error *error)
{
    int result = finish_pack_file(writer, (flags & PACK_DURABLE) != 0);

    if (result == 0) {
        struct final_names names;

        final_names_init(&names, writer);
        result = publish(writer, &names, flags);
        final_names_release(&names);
    }
    return result < 0 ? host_fail(error, result, "pack: finish") : 0;
}

const char *pack_writer_name(const struct pack_writer *writer)
{
    return writer->name;
}
