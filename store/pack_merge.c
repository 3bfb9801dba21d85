#include "store/internal/pack_merge.h"

#include "store/internal/objects_private.h"
#include "store/maintenance.h"

void pack_merge_init(struct pack_merge *merge)
{
    *merge = (struct pack_merge){.upkeep = NULL};
}

void pack_merge_release(struct pack_merge *merge)
{
    upkeep_free(merge->upkeep);
    merge->upkeep = NULL;
}

void objects_set_maintenance(struct objects *objects, struct maintenance *maintenance)
{
    objects->merge.maintenance = maintenance;
}

void objects_maintain(struct objects *objects)
{
    struct pack_merge *merge = &objects->merge;
    guint written = merge->written;

    merge->written = 0;
    objects_rest(objects);
    if (merge->maintenance != NULL) {
        if (written > 0) {
            maintenance_request(merge->maintenance, objects->path);
        }
        return;
    }
    if (merge->upkeep == NULL) {
        merge->upkeep = upkeep_new(objects->path, objects->host);
    }
    upkeep_look(merge->upkeep, false);
    while (upkeep_step(merge->upkeep, UPKEEP_BRIEF, UPKEEP_BRIEF_MAX)) {
    }
}

void pack_merge_count(struct objects *objects)
{
    if (++objects->merge.written >= PACK_MERGE_EVERY) {
        objects_maintain(objects);
    }
}

void pack_merge_close(struct objects *objects)
{
    if (objects->merge.written > 0) {
        objects_maintain(objects);
    }
    if (objects->merge.upkeep != NULL) {
        upkeep_hide_all(objects->merge.upkeep);
    }
}
