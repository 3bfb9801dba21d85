#include "store/spool.h"

#include <assert.h>
#include <glib.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/errand.h"
#include "store/internal/pack.h"
#include "store/internal/sha1.h"
#include "store/internal/spool_private.h"

enum { SPOOLERS = 64, LATELY = 100 * 1000 /* microseconds */ };

/* When each of the process's spoolers last began or ended a message, monotonic microseconds. What
 * they share are the processors, so this is the process's. */
static _Atomic int64_t stamps[SPOOLERS];
static atomic_uint spoolers;

/* A pack that the kernel's cache still has. */
struct fresh {
    char *path;
    uint64_t size;
};

struct spool {
    const struct host *host;
    uint8_t *head; /* the first octets: head_size */
    size_t head_size;
    struct pack_writer *pack; /* of a large message, until it is published */
    char *directory;          /* of the pack */
    char *name;               /* of the published pack */
    struct spooler *spooler;  /* NULL: none */
    struct sha1 sha1;         /* of a message in memory; a pack sums up its own */
    uint64_t size;
    uint64_t written;
    struct object_id id;   /* valid when complete */
    struct errand *errand; /* completes the pack; NULL: not begun, or over */
    atomic_bool ready; /* errand has only to end: set before the wake, as errand_is_done() is not */
    bool large;
    bool has_nul;
};

static int begin_pack(struct spool *spool, const char *scratch, const struct host *host,
                      struct store_error *error)
{
    int result = pack_writer_open(&spool->pack, spool->directory, scratch, host, 1, error);

    if (result == 0) {
        result = pack_writer_begin(spool->pack, OBJECT_BLOB, (size_t)spool->size, error);
    }
    return result;
}

int spool_new(struct spool **out, const char *directory, const char *scratch,
              const struct host *host, uint64_t size, struct store_error *error)
{
    struct spool *spool = g_new0(struct spool, 1);
    int result = 0;

    spool->host = host;
    spool->size = size;
    spool->large = size > SPOOL_MEMORY_MAX;
    spool->head_size = spool->large ? SPOOL_HEAD_MAX : (size_t)size;
    spool->head = malloc(spool->head_size + 1);
    if (spool->head == NULL) {
        result = store_error_set(error, STORE_NO_MEMORY, "spool of %" PRIu64 " octets", size);
    } else if (spool->large) {
        spool->directory = g_strdup(directory);
        result = begin_pack(spool, scratch, host, error);
    }
    if (result < 0) {
        spool_free(spool);
        return result;
    }
    if (!spool->large) {
        objects_hash_begin(&spool->sha1, OBJECT_BLOB, size);
    }
    if (size == 0) {
        sha1_sum(&spool->sha1, spool->id.bytes);
    }
    *out = spool;
    return 0;
}

void spool_free(struct spool *spool)
{
    if (spool == NULL) {
        return;
    }
    if (spool->errand != NULL) {
        struct store_error unused;

        errand_wait(spool->errand, &unused);
    }
    pack_writer_free(spool->pack);
    if (spool->spooler != NULL) {
        spool->spooler->spools--;
    }
    free(spool->head);
    g_free(spool->directory);
    g_free(spool->name);
    g_free(spool);
}

/* The last octet is there. */
static int complete(struct spool *spool, struct store_error *error)
{
    if (!spool->large) {
        sha1_sum(&spool->sha1, spool->id.bytes);
        return 0;
    }
    int result = pack_writer_end(spool->pack, &spool->id, error);

    return result < 0 ? result : pack_writer_rest(spool->pack, error);
}

int spool_write(struct spool *spool, const void *bytes, size_t length, struct store_error *error)
{
    assert(length <= spool->size - spool->written);
    if (length == 0) {
        return 0;
    }
    if (spool->large) {
        int result = pack_writer_append(spool->pack, bytes, length, error);

        if (result < 0) {
            return result;
        }
    } else {
        sha1_update(&spool->sha1, bytes, length);
    }
    if (spool->written < spool->head_size) {
        size_t room = spool->head_size - (size_t)spool->written;

        memcpy(spool->head + spool->written, bytes, MIN(length, room));
    }
    spool->written += length;
    spool->has_nul = spool->has_nul || memchr(bytes, '\0', length) != NULL;
    return spool_complete(spool) ? complete(spool, error) : 0;
}

bool spool_complete(const struct spool *spool)
{
    return spool->written == spool->size;
}

bool spool_has_nul(const struct spool *spool)
{
    return spool->has_nul;
}

uint64_t spool_size(const struct spool *spool)
{
    return spool->size;
}

const uint8_t *spool_head(const struct spool *spool, size_t *length)
{
    assert(spool_complete(spool));
    *length = spool->head_size;
    return spool->head;
}

const struct object_id *spool_id(const struct spool *spool)
{
    assert(spool_complete(spool));
    return &spool->id;
}

static void stamp(struct spooler *spooler)
{
    if (spooler->number == 0) {
        spooler->number = atomic_fetch_add(&spoolers, 1) % SPOOLERS + 1;
    }
    atomic_store_explicit(&stamps[spooler->number - 1], g_get_monotonic_time(),
                          memory_order_relaxed);
}

/* Whether a spooler's thread has a processor of its own. */
static bool has_room(void)
{
    int64_t now = g_get_monotonic_time();
    unsigned busy = 0;

    for (size_t i = 0; i < SPOOLERS; i++) {
        int64_t at = atomic_load_explicit(&stamps[i], memory_order_relaxed);

        busy += at != 0 && now - at < LATELY;
    }
    return busy * 2 <= g_get_num_processors();
}

void spool_use(struct spool *spool, struct spooler *spooler)
{
    struct store_error unused;

    assert(spool->large && spool->spooler == NULL);
    spool->spooler = spooler;
    spooler->spools++;
    stamp(spooler);
    if (spooler->spools > 1 && has_room() &&
        (spooler->errands != NULL || errands_new(&spooler->errands, &unused) == 0)) {
        pack_writer_use(spool->pack, spooler->errands);
    }
}

static void fresh_free(void *data)
{
    struct fresh *fresh = data;

    g_free(fresh->path);
    g_free(fresh);
}

void spooler_release(struct spooler *spooler)
{
    assert(spooler->spools == 0);
    errands_free(spooler->errands);
    errands_free(spooler->syncs);
    g_queue_clear_full(&spooler->fresh, fresh_free);
}

enum { PUBLISHED = PACK_KEEP | PACK_DURABLE };

/* [the other thread] */
static int complete_pack(void *data, struct store_error *error)
{
    struct spool *spool = data;
    int result = pack_writer_complete(spool->pack, PUBLISHED, error);

    atomic_store(&spool->ready, true);
    spool->spooler->wake(spool->spooler->wake_data);
    return result;
}

bool spool_is_ready(struct spool *spool)
{
    struct spooler *spooler = spool->spooler;
    struct store_error unused;

    assert(spool_complete(spool));
    if (spool->errand != NULL) {
        return atomic_load(&spool->ready);
    }
    if (spool->pack == NULL || spooler == NULL || spooler->wake == NULL || spooler->spools == 1 ||
        (spooler->syncs == NULL && errands_new(&spooler->syncs, &unused) < 0)) {
        return true;
    }
    pack_writer_use(spool->pack, NULL);
    spool->errand = errand_post(spooler->syncs, complete_pack, spool);
    return false;
}

bool spool_is_pack(const struct spool *spool)
{
    return spool->large;
}

const char *spool_pack_name(const struct spool *spool)
{
    return spool->name;
}

/* That it was published before does not say that nobody pruned it since. */
static int check_published(const struct spool *spool, struct store_error *error)
{
    char *path = g_strdup_printf("%s/pack-%s.idx", spool->directory, spool->name);
    bool there = access(path, F_OK) == 0;

    g_free(path);
    return there ? 0 : store_error_set(error, STORE_IO, "spool: somebody has removed the pack");
}

/* The oldest are forgotten as new ones come. */
static void note_fresh(const struct spool *spool)
{
    struct spooler *spooler = spool->spooler;

    if (spooler == NULL) {
        return;
    }
    stamp(spooler);
    if (spool->host->forget == NULL) {
        return;
    }
    struct fresh *fresh = g_new(struct fresh, 1);
    *fresh = (struct fresh){g_strdup_printf("%s/pack-%s.pack", spool->directory, spool->name),
                            spool->size};
    g_queue_push_tail(&spooler->fresh, fresh);
    spooler->octets += fresh->size;
    while (spooler->octets > SPOOLER_CACHED_MAX) {
        fresh = g_queue_pop_head(&spooler->fresh);
        spooler->octets -= fresh->size;
        spool->host->forget(spool->host->data, fresh->path);
        fresh_free(fresh);
    }
}

int spool_publish(struct spool *spool, struct store_error *error)
{
    assert(spool->large && spool_complete(spool));
    if (spool->name != NULL) {
        return check_published(spool, error);
    }
    if (spool->pack == NULL) {
        return store_error_set(error, STORE_IO, "spool: it has failed before");
    }
    int result = spool->errand != NULL ? errand_wait(g_steal_pointer(&spool->errand), error) : 0;

    if (result == 0) {
        result = pack_writer_finish(spool->pack, PUBLISHED, error);
    }
    if (result == 0) {
        spool->name = g_strdup(pack_writer_name(spool->pack));
        note_fresh(spool);
    }
    g_clear_pointer(&spool->pack, pack_writer_free);
    return result;
}
