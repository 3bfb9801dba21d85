#include "store/internal/pack.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/checksum.h"
#include "store/internal/delta.h"
#include "store/internal/errand.h"
#include "store/internal/pack_entry.h"
#include "store/internal/sha1.h"

enum {
    BUFFER_SIZE = 128 * 1024,
    STORED_BLOCK_MAX = 65535, /* RFC 1951 3.2.4 */
    OFS_DELTA = 6,            /* gitformat-pack(5), object types */
    ENTRY_HEADER_MAX = 24,    /* octets of type, size and distance */
    WRITE_BEHIND = 256 * 1024,
    GC_LOOK_NSEC = 20 * 1000 * 1000,
    FIND_MIN = 64, /* slots of the table of entries by id */
    /* The rest of a block and what begins after that. */
    CONTENT_RUNS_MAX = 1 + (BUFFER_SIZE + STORED_BLOCK_MAX - 1) / STORED_BLOCK_MAX,
};

/* Octets that wait to be summed up and written. */
struct outgoing {
    uint8_t *octets;  /* BUFFER_SIZE, and the pack's sum, which comes last; NULL: not needed now */
    size_t length;    /* of octets that are there */
    size_t crc_begin; /* the entry's CRC is taken up to here */
    /* Where the octets of an object that comes piece by piece are among them. */
    struct {
        size_t begin;
        size_t length;
    } content[CONTENT_RUNS_MAX];
    size_t content_runs;
};

/* An object that comes piece by piece. */
struct coming {
    struct pack_entry entry;
    struct sha1 sha1;
    uint64_t behind; /* the file up to here is on its way to the disk */
    size_t left;     /* octets of the object */
    size_t block;    /* octets that the stored block at hand still takes */
    uint32_t adler;
};

/* Octets on their way out of the buffer, perhaps in another thread. */
struct pour {
    struct errands *errands; /* NULL: it is done at once */
    struct errand *errand;   /* under way; NULL: none is, and the writer is whole */
    struct outgoing out;
    int result; /* of all so far: 0, or the errno that ended it */
};

/* Octets wait in the buffer to be written; the sum of all, that of an object that comes piece by
 * piece and the CRC of the entry at hand are taken as they leave it, many at a time. */
struct pack_writer {
    const struct host *host;
    const char *directory;
    const char *scratch;
    char *temp; /* the pack's temporary path */
    struct sha1 sha1;
    GArray *entries;  /* struct pack_entry */
    uint32_t *find;   /* by id: position in entries plus one, open addressing; NULL: not yet */
    size_t find_size; /* a power of two */
    guint found;      /* entries that are in find */
    uint64_t offset;  /* octets so far */
    uint32_t count;   /* announced in the header */
    uint32_t crc;     /* of the entry being written, but for what follows out.crc_begin */
    int fd;           /* -1: closed */
    bool temp_exists;
    bool is_complete; /* but not visible: the index has a temporary file, too */
    struct delta_encoder encoder;
    GByteArray *delta;
    struct coming coming;
    uint64_t poured; /* octets that have left the buffer */
    struct pour pour;
    uint8_t sum[OBJECT_ID_SIZE]; /* of all octets, once finished */
    char name[OBJECT_ID_HEX + 1];
    struct outgoing out;
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

static void take_crc(struct pack_writer *writer, struct outgoing *out)
{
    if (out->length > out->crc_begin) {
        writer->crc =
            crc32_more(writer->crc, out->octets + out->crc_begin, out->length - out->crc_begin);
        out->crc_begin = out->length;
    }
}

/* Takes all sums of what goes out. The object's octets lag a little behind the pack's. */
static void sum_up(struct pack_writer *writer, struct outgoing *out)
{
    const uint8_t *at = out->octets;
    size_t left = out->length;

    take_crc(writer, out);
    for (size_t i = 0; i < out->content_runs; i++) {
        size_t length = out->content[i].length;

        sha1_update_two(&writer->sha1, at, length, &writer->coming.sha1,
                        out->octets + out->content[i].begin, length);
        at += length;
        left -= length;
    }
    sha1_update(&writer->sha1, at, left);
    out->content_runs = 0;
}

static int write_out(struct pack_writer *writer, const uint8_t *bytes, size_t length)
{
    writer->poured += length;
    return writer->host->write(writer->host->data, writer->fd, bytes, length);
}

static int write_buffer(struct pack_writer *writer)
{
    int result = write_out(writer, writer->out.octets, writer->out.length);

    writer->out.length = 0;
    writer->out.crc_begin = 0;
    return result;
}

/* The disk works while the rest of an object comes. */
static void write_behind(struct pack_writer *writer, uint64_t at_least)
{
    const struct host *host = writer->host;
    uint64_t behind = writer->coming.behind;

    if (host->write_behind != NULL && writer->poured - behind >= at_least) {
        host->write_behind(host->data, writer->fd, behind, (size_t)(writer->poured - behind));
        writer->coming.behind = writer->poured;
    }
}

static int flush(struct pack_writer *writer)
{
    sum_up(writer, &writer->out);
    return write_buffer(writer);
}

/* [the other thread] The same of what pass_on() gave away. The writer's own thread leaves alone
 * what this touches until settle(). */
static int pour_out(void *data, struct store_error *error)
{
    struct pack_writer *writer = data;
    struct outgoing *out = &writer->pour.out;

    (void)error; /* the result goes with the writer */
    sum_up(writer, out);
    writer->pour.result = write_out(writer, out->octets, out->length);
    write_behind(writer, WRITE_BEHIND);
    free(out->octets);
    return 0;
}

/* Waits for what the other thread has in hand. */
static int settle(struct pack_writer *writer)
{
    struct store_error unused;

    if (writer->pour.errand != NULL) {
        errand_wait(writer->pour.errand, &unused);
        writer->pour.errand = NULL;
    }
    return writer->pour.result;
}

/* Gives the full buffer to the other thread. */
static int pass_on(struct pack_writer *writer)
{
    struct pour *next = &writer->pour;
    int result = settle(writer);

    if (result < 0) {
        return result;
    }
    next->out = writer->out;
    writer->out = (struct outgoing){0};
    next->errand = errand_post(next->errands, pour_out, writer);
    return 0;
}

static int need_buffer(struct pack_writer *writer)
{
    if (writer->out.octets == NULL) {
        writer->out.octets = malloc(BUFFER_SIZE + OBJECT_ID_SIZE);
    }
    return writer->out.octets == NULL ? -ENOMEM : 0;
}

/* The next length octets belong to the object that comes piece by piece. */
static void note_content(struct outgoing *out, size_t length)
{
    size_t last = out->content_runs - 1;

    if (out->content_runs > 0 &&
        out->content[last].begin + out->content[last].length == out->length) {
        out->content[last].length += length;
    } else {
        assert(out->content_runs < CONTENT_RUNS_MAX);
        out->content[out->content_runs].begin = out->length;
        out->content[out->content_runs++].length = length;
    }
}

static int put_octets(struct pack_writer *writer, const void *bytes, size_t length, bool content)
{
    const uint8_t *at = bytes;

    writer->offset += length;
    while (length > 0) {
        size_t room = MIN(length, BUFFER_SIZE - writer->out.length);

        if (need_buffer(writer) < 0) {
            return -ENOMEM;
        }
        if (content) {
            note_content(&writer->out, room);
        }
        memcpy(writer->out.octets + writer->out.length, at, room);
        writer->out.length += room;
        at += room;
        length -= room;
        if (writer->out.length == BUFFER_SIZE) {
            int result = writer->pour.errands != NULL ? pass_on(writer) : flush(writer);

            if (result < 0) {
                return result;
            }
        }
    }
    return 0;
}

static int put(struct pack_writer *writer, const void *bytes, size_t length)
{
    return put_octets(writer, bytes, length, false);
}

char *pack_temporary_path(const char *scratch, const struct host *host, int *result)
{
    uint64_t random = 0;

    *result = host->random(host->data, &random, sizeof(random));
    return g_strdup_printf("%s/" PACK_TEMP_PREFIX "%016" PRIx64 PACK_TEMP_SUFFIX, scratch, random);
}

static int write_header(struct pack_writer *writer)
{
    uint8_t header[12] = "PACK";

    put_be32(header + 4, 2);
    put_be32(header + 8, writer->count);
    return put(writer, header, sizeof(header));
}

int pack_writer_open(struct pack_writer **out, const char *directory, const char *scratch,
                     const struct host *host, uint32_t count, struct store_error *error)
{
    struct pack_writer *writer = calloc(1, sizeof(*writer));
    int result = 0;

    if (writer == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "pack writer");
    }
    writer->host = host;
    writer->directory = directory;
    writer->scratch = scratch;
    writer->count = count;
    writer->fd = -1;
    writer->delta = g_byte_array_new();
    sha1_init(&writer->sha1);
    writer->entries = g_array_sized_new(FALSE, FALSE, sizeof(struct pack_entry), MIN(count, 4096));
    writer->temp = pack_temporary_path(scratch, host, &result);
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

static char *index_temporary_path(const struct pack_writer *writer)
{
    return g_strdup_printf("%s.idx" PACK_TEMP_SUFFIX, writer->temp);
}

void pack_writer_free(struct pack_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    settle(writer);
    if (writer->fd >= 0) {
        writer->host->close(writer->host->data, writer->fd);
    }
    if (writer->temp_exists) {
        writer->host->unlink(writer->host->data, writer->temp);
    }
    if (writer->is_complete) {
        g_autofree char *index = index_temporary_path(writer);

        writer->host->unlink(writer->host->data, index);
    }
    delta_encoder_release(&writer->encoder);
    g_byte_array_free(writer->delta, TRUE);
    g_array_free(writer->entries, TRUE);
    free(writer->find);
    free(writer->out.octets);
    g_free(writer->temp);
    free(writer);
}

static void begin_entry(struct pack_writer *writer)
{
    assert(writer->entries->len < writer->count);
    writer->crc = CRC32_START;
    writer->out.crc_begin = writer->out.length;
}

static int end_entry(struct pack_writer *writer, struct pack_entry *entry, int result,
                     struct store_error *error)
{
    int settled = settle(writer);

    result = result < 0 ? result : settled;
    if (result < 0) {
        return host_fail(error, result, "pack: write");
    }
    take_crc(writer, &writer->out);
    entry->crc = writer->crc;
    g_array_append_vals(writer->entries, entry, 1);
    return 0;
}

/* gitformat-pack(5): type and size, seven bits at a time after the first four. */
static size_t entry_header(uint8_t *out, unsigned type, size_t length)
{
    size_t used = 0;
    uint8_t byte = (uint8_t)(type << 4 | (length & 15));

    for (length >>= 4; length > 0; length >>= 7) {
        out[used++] = byte | 0x80;
        byte = length & 0x7f;
    }
    out[used++] = byte;
    return used;
}

/* The same page: the distance to the base, seven bits at a time, highest first, where each octet
 * that is followed by another counts one more. */
static size_t distance_header(uint8_t *out, uint64_t distance)
{
    uint8_t reversed[10];
    size_t count = 0;

    reversed[count++] = distance & 0x7f;
    while ((distance >>= 7) > 0) {
        reversed[count++] = 0x80 | (--distance & 0x7f);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = reversed[count - 1 - i];
    }
    return count;
}

/* RFC 1950 and 1951: a zlib stream of stored blocks; here its head. */
static int put_stream_head(struct pack_writer *writer)
{
    static const uint8_t zlib_header[2] = {0x78, 0x01};

    return put(writer, zlib_header, sizeof(zlib_header));
}

/* The next block, with left octets of the stream's content to come. */
static int put_block_head(struct pack_writer *writer, size_t left, size_t *block)
{
    *block = MIN(left, (size_t)STORED_BLOCK_MAX);
    uint8_t header[5] = {*block == left, (uint8_t)*block, (uint8_t)(*block >> 8), (uint8_t) ~*block,
                         (uint8_t)(~*block >> 8)};

    return put(writer, header, sizeof(header));
}

static int put_stream_end(struct pack_writer *writer, uint32_t adler)
{
    uint8_t check[4];

    put_be32(check, adler);
    return put(writer, check, sizeof(check));
}

static int put_stored(struct pack_writer *writer, const uint8_t *data, size_t length)
{
    uint32_t adler = adler32_of(data, length);
    size_t left = length;
    int result = put_stream_head(writer);

    do {
        size_t block = 0;

        if (result == 0) {
            result = put_block_head(writer, left, &block);
        }
        if (result == 0) {
            result = put(writer, data, block);
        }
        data += block;
        left -= block;
    } while (left > 0 && result == 0);
    return result < 0 ? result : put_stream_end(writer, adler);
}

int pack_writer_add(struct pack_writer *writer, const struct object_id *id, enum object_type type,
                    const void *data, size_t length, struct store_error *error)
{
    struct pack_entry entry = {.id = *id, .offset = writer->offset, .type = (uint8_t)type};
    uint8_t header[ENTRY_HEADER_MAX];

    begin_entry(writer);
    int result = put(writer, header, entry_header(header, type, length));
    if (result == 0) {
        result = put_stored(writer, data, length);
    }
    return end_entry(writer, &entry, result, error);
}

void pack_writer_use(struct pack_writer *writer, struct errands *errands)
{
    writer->pour.errands = errands;
}

int pack_writer_begin(struct pack_writer *writer, enum object_type type, size_t length,
                      struct store_error *error)
{
    struct coming *coming = &writer->coming;
    uint8_t header[ENTRY_HEADER_MAX];

    assert(length > 0 && coming->left == 0);
    *coming = (struct coming){.entry = {.offset = writer->offset, .type = (uint8_t)type},
                              .left = length,
                              .adler = ADLER32_START};
    objects_hash_begin(&coming->sha1, type, length);
    begin_entry(writer);
    int result = put(writer, header, entry_header(header, type, length));
    if (result == 0) {
        result = put_stream_head(writer);
    }
    return result < 0 ? host_fail(error, result, "pack: write") : 0;
}

int pack_writer_append(struct pack_writer *writer, const void *data, size_t length,
                       struct store_error *error)
{
    struct coming *coming = &writer->coming;
    const uint8_t *at = data;
    int result = 0;

    assert(length <= coming->left);
    coming->adler = adler32_more(coming->adler, at, length);
    while (length > 0 && result == 0) {
        if (coming->block == 0) {
            result = put_block_head(writer, coming->left, &coming->block);
        }
        size_t piece = MIN(length, coming->block);
        if (result == 0) {
            result = put_octets(writer, at, piece, true);
        }
        at += piece;
        length -= piece;
        coming->left -= piece;
        coming->block -= piece;
    }
    if (writer->pour.errands == NULL) {
        write_behind(writer, WRITE_BEHIND);
    }
    return result < 0 ? host_fail(error, result, "pack: write") : 0;
}

int pack_writer_end(struct pack_writer *writer, struct object_id *id, struct store_error *error)
{
    struct coming *coming = &writer->coming;

    assert(coming->left == 0);
    int result = put_stream_end(writer, coming->adler);
    int settled = settle(writer);
    result = result < 0 ? result : settled;
    if (result == 0) {
        result = flush(writer);
        sha1_sum(&coming->sha1, coming->entry.id.bytes);
        *id = coming->entry.id;
    }
    return end_entry(writer, &coming->entry, result, error);
}

int pack_writer_rest(struct pack_writer *writer, struct store_error *error)
{
    int result = settle(writer);

    if (result == 0 && writer->out.length > 0) {
        result = flush(writer);
    }
    write_behind(writer, 1);
    free(writer->out.octets);
    writer->out.octets = NULL;
    return result < 0 ? host_fail(error, result, "pack: write") : 0;
}

static uint32_t *find_slot(struct pack_writer *writer, const struct object_id *id)
{
    size_t at = object_id_hash(id) & (writer->find_size - 1);

    while (writer->find[at] != 0 &&
           !object_id_equal(
               &g_array_index(writer->entries, struct pack_entry, writer->find[at] - 1).id, id)) {
        at = (at + 1) & (writer->find_size - 1);
    }
    return &writer->find[at];
}

/* The table is made when first asked for, and follows the entries from then on. */
static const struct pack_entry *find_entry(struct pack_writer *writer, const struct object_id *id)
{
    size_t size = FIND_MIN;

    while (size < (size_t)writer->entries->len * 2) {
        size *= 2;
    }
    if (size > writer->find_size) {
        free(writer->find);
        writer->found = 0;
        writer->find_size = size * 2;
        writer->find = calloc(writer->find_size, sizeof(*writer->find));
        if (writer->find == NULL) {
            writer->find_size = 0;
            return NULL;
        }
    }
    for (; writer->found < writer->entries->len; writer->found++) {
        const struct pack_entry *entry =
            &g_array_index(writer->entries, struct pack_entry, writer->found);

        *find_slot(writer, &entry->id) = writer->found + 1;
    }
    uint32_t slot = *find_slot(writer, id);
    return slot == 0 ? NULL : &g_array_index(writer->entries, struct pack_entry, slot - 1);
}

/* An entry against base, up to where its zlib stream begins. */
static int put_delta_header(struct pack_writer *writer, struct pack_entry *entry,
                            const struct pack_entry *base, size_t length)
{
    uint8_t header[ENTRY_HEADER_MAX];
    size_t used = entry_header(header, OFS_DELTA, length);

    used += distance_header(header + used, writer->offset - base->offset);
    entry->offset = writer->offset;
    entry->type = base->type;
    entry->depth = (uint8_t)MIN(base->depth + 1u, UINT8_MAX);
    begin_entry(writer);
    return put(writer, header, used);
}

/* NULL: there is none that is short enough. */
static const GByteArray *delta_of(struct pack_writer *writer, const struct pack_version *version)
{
    size_t limit = version->length / 3 * 2;

    if (version->delta != NULL) {
        return version->delta->len <= limit ? version->delta : NULL;
    }
    return delta_encode(&writer->encoder, version->base_data, version->base_length, version->data,
                        version->length, limit, writer->delta)
               ? writer->delta
               : NULL;
}

int pack_writer_add_version(struct pack_writer *writer, const struct pack_version *version,
                            struct store_error *error)
{
    const struct pack_entry *base =
        version->length < PACK_DELTA_MIN ? NULL : find_entry(writer, &version->base_id);
    struct pack_entry entry = {.id = version->id};
    const GByteArray *delta = NULL;

    if (base != NULL && base->type == version->type && base->depth < PACK_DELTA_DEPTH) {
        delta = delta_of(writer, version);
    }
    if (delta == NULL) {
        return pack_writer_add(writer, &version->id, version->type, version->data, version->length,
                               error);
    }
    int result = put_delta_header(writer, &entry, base, delta->len);
    if (result == 0) {
        result = put_stored(writer, delta->data, delta->len);
    }
    return end_entry(writer, &entry, result, error);
}

uint64_t pack_writer_offset(const struct pack_writer *writer)
{
    return writer->offset;
}

int pack_writer_add_raw(struct pack_writer *writer, const struct object_id *id, const void *entry,
                        size_t length, uint32_t crc, struct store_error *error)
{
    const uint8_t *bytes = entry;
    struct pack_entry added = {
        .id = *id, .offset = writer->offset, .type = length > 0 ? bytes[0] >> 4 & 7 : 0};

    assert(writer->pour.errands == NULL);
    begin_entry(writer);
    int result = put(writer, entry, length);
    take_crc(writer, &writer->out);
    if (result == 0 && writer->crc != crc) {
        return store_error_set(error, STORE_CORRUPT, "pack: an entry's CRC is wrong");
    }
    return end_entry(writer, &added, result, error);
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

/* The pack is whole, and has its name. */
static int seal(struct pack_writer *writer)
{
    assert(writer->entries->len == writer->count && writer->pour.errand == NULL);
    if (need_buffer(writer) < 0) {
        return -ENOMEM;
    }
    sha1_update(&writer->sha1, writer->out.octets, writer->out.length);
    sha1_sum(&writer->sha1, writer->sum);
    object_id_format((const struct object_id *)(const void *)writer->sum, writer->name);
    memcpy(writer->out.octets + writer->out.length, writer->sum, OBJECT_ID_SIZE);
    writer->out.length += OBJECT_ID_SIZE;
    return write_buffer(writer);
}

static int sync_and_close(struct pack_writer *writer, unsigned flags)
{
    const struct host *host = writer->host;
    int result = (flags & PACK_DURABLE) != 0 ? host->fsync(host->data, writer->fd) : 0;
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
    names->index_temp = index_temporary_path(writer);
}

static void final_names_release(struct final_names *names)
{
    g_free(names->pack);
    g_free(names->index);
    g_free(names->keep);
    g_free(names->index_temp);
}

/* At its end `git gc` removes indexes without a pack. It reads the directory piece by piece: a pack
 * whose name came behind its back, and then the index before its eyes, are such a pair. So they
 * come one after the other while it runs. */
static void let_gc_look(const struct pack_writer *writer)
{
    const struct timespec pause = {.tv_nsec = GC_LOOK_NSEC};
    char *path = g_strdup_printf("%s/gc.pid", writer->scratch);

    if (access(path, F_OK) == 0) {
        nanosleep(&pause, NULL);
    }
    g_free(path);
}

struct index_work {
    struct pack_writer *writer;
    const char *path;
    bool sync;
    int result;
};

static int write_index(void *data, struct store_error *error)
{
    struct index_work *work = data;
    const struct pack_writer *writer = work->writer;
    size_t length;
    uint8_t *index = pack_index_make(writer->entries, writer->sum, &length);

    (void)error; /* the result goes with the work */
    work->result = write_file(writer->host, work->path, index, length, work->sync);
    g_free(index);
    return 0;
}

/* Pack and index are complete, at the same time where another thread has nothing else to do. */
static int complete(struct pack_writer *writer, const struct final_names *names, unsigned flags)
{
    struct index_work work = {writer, names->index_temp, (flags & PACK_DURABLE) != 0, 0};
    struct errands *errands = writer->pour.errands;
    struct store_error unused;
    struct errand *errand = errands != NULL && errands_are_idle(errands)
                                ? errand_post(errands, write_index, &work)
                                : NULL;
    int result = sync_and_close(writer, flags);

    if (errand != NULL) {
        errand_wait(errand, &unused);
    } else if (result == 0) {
        write_index(&work, &unused);
    }
    if (result < 0 && errand != NULL && work.result == 0) {
        writer->host->unlink(writer->host->data, names->index_temp);
    }
    return result < 0 ? result : work.result;
}

static int publish(struct pack_writer *writer, const struct final_names *names, unsigned flags)
{
    const struct host *host = writer->host;
    int result = 0;

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
        let_gc_look(writer);
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

int pack_writer_complete(struct pack_writer *writer, unsigned flags, struct store_error *error)
{
    int result = seal(writer);

    if (result == 0) {
        struct final_names names;

        final_names_init(&names, writer);
        result = complete(writer, &names, flags);
        final_names_release(&names);
    }
    writer->is_complete = result == 0;
    free(writer->out.octets);
    writer->out.octets = NULL;
    return result < 0 ? host_fail(error, result, "pack: finish") : 0;
}

int pack_writer_finish(struct pack_writer *writer, unsigned flags, struct store_error *error)
{
    struct final_names names;
    int result = writer->is_complete ? 0 : pack_writer_complete(writer, flags, error);

    if (result < 0) {
        return result;
    }
    final_names_init(&names, writer);
    result = publish(writer, &names, flags);
    final_names_release(&names);
    writer->is_complete = false;
    return result < 0 ? host_fail(error, result, "pack: finish") : 0;
}

const char *pack_writer_name(const struct pack_writer *writer)
{
    return writer->name;
}
