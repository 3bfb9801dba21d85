/* A table of waypoints, whatever it holds: it is no table, or its MODSEQs ascend and are found. The
 * first octet says whether its CRC is made right first, so that what is behind it is reached.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "store/internal/repository.h"
#include "store/internal/snapshot_private.h"
#include "store/internal/waypoints.h"
#include "tests/fuzz.h"

enum { CRC_AT = 16, CRC_FROM = 20 };

static char directory[] = "/tmp/annal-fuzz-XXXXXX";
static char *path;
static struct snapshot snapshot = {.mailbox_id = "M1", .uid_validity = 7};

static void clean_up(void)
{
    repository_remove(directory);
    g_free(path);
}

static void set_up(void)
{
    if (mkdtemp(directory) == NULL) {
        abort();
    }
    path = g_strconcat(directory, "/table", NULL);
    atexit(clean_up);
}

static void check(const struct waypoints *table)
{
    if (table->list->len > WAYPOINTS_MAX) {
        abort();
    }
    for (guint i = 0; i < table->list->len; i++) {
        const struct waypoint *waypoint = &g_array_index(table->list, struct waypoint, i);
        guint index;

        if (waypoints_above(table, waypoint->modseq) != i + 1 || waypoint->modseq == 0 ||
            !waypoints_find(table, &waypoint->commit, waypoint->modseq, &index) || index != i) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct waypoints table;

    if (size == 0) {
        return 0;
    }
    if (path == NULL) {
        set_up();
    }
    g_autofree uint8_t *file = g_memdup2(data + 1, size - 1);
    if ((data[0] & 1) != 0 && size - 1 >= CRC_FROM) {
        uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), file + CRC_FROM, size - 1 - CRC_FROM);

        memcpy(file + CRC_AT, &crc, sizeof(crc));
    }
    if (!g_file_set_contents(path, (const char *)file, (gssize)size - 1, NULL)) {
        abort();
    }
    waypoints_load(&table, path, &snapshot);
    check(&table);
    /* What is written is read again. */
    guint count = table.list->len;
    waypoints_save(&table, path, &snapshot);
    waypoints_release(&table);
    waypoints_load(&table, path, &snapshot);
    if (table.list->len != count) {
        abort();
    }
    check(&table);
    waypoints_release(&table);
    return 0;
}
