/* A mailbox's history in brief, whatever it holds: it is none, or one that can be read on and
 * searched without harm. The first octet says whether its CRC is made right first, so that what is
 * behind it is reached.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/internal/timeline.h"
#include "tests/fuzz.h"

enum { CRC_AT = 16, CRC_FROM = 20 };

static void check(const struct timeline *timeline)
{
    if (timeline->stretches->len == 0 || timeline->stretches->len > TIMELINE_MAX ||
        timeline->days->len > TIMELINE_DAYS_MAX || timeline->names->len > TIMELINE_NAMES_MAX + 1 ||
        timeline->name == TIMELINE_GONE || timeline->name >= timeline->names->len) {
        abort();
    }
    for (guint i = 0; i < timeline->stretches->len; i++) {
        const struct stretch *stretch = &g_array_index(timeline->stretches, struct stretch, i);

        if (stretch->count == 0 || stretch->name >= timeline->names->len ||
            !timeline_reaches(timeline, stretch->earliest)) {
            abort();
        }
    }
    for (guint i = 1; i < timeline->days->len; i++) {
        if (g_array_index(timeline->days, int32_t, i) <=
            g_array_index(timeline->days, int32_t, i - 1)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct timeline timeline;

    if (size == 0) {
        return 0;
    }
    g_autofree uint8_t *file = g_memdup2(data + 1, size - 1);
    size_t length = size - 1;
    if ((data[0] & 1) != 0 && length >= CRC_FROM) {
        uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), file + CRC_FROM, length - CRC_FROM);

        memcpy(file + CRC_AT, &crc, sizeof(crc));
    }
    timeline_init(&timeline);
    if (timeline_decode(&timeline, file, length)) {
        g_autoptr(GByteArray) again = g_byte_array_new();

        check(&timeline);
        /* What is written is what was read. */
        timeline_encode(again, &timeline);
        if (again->len != length || memcmp(again->data, file, length) != 0) {
            abort();
        }
    }
    timeline_release(&timeline);
    return 0;
}
