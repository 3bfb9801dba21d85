#include <assert.h>

#include "store/internal/objects_private.h"
#include "store/internal/pack_set.h"
#include "store/internal/spool_private.h"

int objects_spool(struct objects *objects, uint64_t size, struct spool **out,
                  struct store_error *error)
{
    return spool_new(out, objects->pack_directory, objects->path, objects->host, size, error);
}

int object_batch_add_spool(struct object_batch *batch, struct spool *spool,
                           struct store_error *error)
{
    const struct object_id *id = spool_id(spool);
    size_t length;

    assert(!batch->written);
    if (!spool_is_pack(spool)) {
        const uint8_t *data = spool_head(spool, &length);

        return object_batch_add_blob(batch, id, data, length, error);
    }
    for (guint i = 0; i < batch->spools->len; i++) {
        if (object_id_equal(spool_id(batch->spools->pdata[i]), id)) {
            return 0;
        }
    }
    /* One that an earlier batch has published stands on disk, but needs its .keep here, too. */
    if (spool_pack_name(spool) != NULL ||
        !object_batch_is_needless(batch, id, (size_t)spool_size(spool))) {
        g_ptr_array_add(batch->spools, spool);
    }
    return 0;
}

int object_batch_publish_spools(struct object_batch *batch, struct store_error *error)
{
    int result = 0;

    while (batch->spools->len > 0 && result == 0) {
        struct spool *spool = batch->spools->pdata[batch->spools->len - 1];

        result = spool_publish(spool, error);
        if (result == 0) {
            g_ptr_array_add(batch->published, g_strdup(spool_pack_name(spool)));
            pack_set_note(batch->objects->packs, spool_pack_name(spool), spool_id(spool));
            g_ptr_array_set_size(batch->spools, (gint)batch->spools->len - 1);
        }
    }
    return result;
}
