/* The file; numbers are in the byte order of the machine that wrote it:
 *
 *   struct head
 *   struct stretch, the newest first
 *   int32_t days, ascending
 *   names, but for the first, each with a NUL
 */
#include <string.h>

#include "store/internal/checksum.h"
#include "store/internal/small_file.h"
#include "store/internal/timeline.h"

enum { FILE_VERSION = 1, BYTE_ORDER_MARK = 0x01020304 };

static const char MAGIC[8] = "annaltim";

struct head {
    char magic[8];
    uint32_t version;
    uint32_t order; /* BYTE_ORDER_MARK */
    uint32_t crc;   /* of all that follows */
    uint32_t stretches;
    uint32_t days;
    uint32_t names; /* octets */
    uint32_t name;
    struct object_id next;
    struct object_id oldest;
    uint32_t unused; /* 0 */
    int64_t boundary;
};
G_STATIC_ASSERT(sizeof(struct head) == 88);
G_STATIC_ASSERT(sizeof(struct stretch) == 40);

enum {
    CRC_FROM = offsetof(struct head, stretches),
    NAMES_LENGTH_MAX = TIMELINE_NAMES_MAX * (TIMELINE_NAME_MAX + 1),
    LENGTH_MAX = sizeof(struct head) + TIMELINE_MAX * sizeof(struct stretch) +
                 TIMELINE_DAYS_MAX * sizeof(int32_t) + NAMES_LENGTH_MAX,
};

static uint32_t crc_of(const uint8_t *bytes, size_t length)
{
    return crc32_of(bytes + CRC_FROM, length - CRC_FROM);
}

void timeline_encode(GByteArray *out, const struct timeline *timeline)
{
    struct head head = {.version = FILE_VERSION,
                        .order = BYTE_ORDER_MARK,
                        .stretches = timeline->stretches->len,
                        .days = timeline->days->len,
                        .name = timeline->name,
                        .next = timeline->next,
                        .oldest = timeline->oldest,
                        .boundary = timeline->boundary};
    guint from;

    memcpy(head.magic, MAGIC, sizeof(MAGIC));
    g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)timeline->stretches->data,
                        head.stretches * (guint)sizeof(struct stretch));
    g_byte_array_append(out, (const uint8_t *)timeline->days->data,
                        head.days * (guint)sizeof(int32_t));
    from = out->len;
    for (guint i = 1; i < timeline->names->len; i++) {
        const char *name = g_ptr_array_index(timeline->names, i);

        g_byte_array_append(out, (const uint8_t *)name, (guint)strlen(name) + 1);
    }
    head.names = out->len - from;
    memcpy(out->data, &head, sizeof(head));
    head.crc = crc_of(out->data, out->len);
    memcpy(out->data, &head, sizeof(head));
}

static bool take_names(struct timeline *out, const char *at, size_t length)
{
    const char *end = at + length;

    while (at < end) {
        const char *close = memchr(at, '\0', (size_t)(end - at));

        if (close == NULL || close - at > TIMELINE_NAME_MAX ||
            out->names->len > TIMELINE_NAMES_MAX ||
            !g_utf8_validate(at, (gssize)(close - at), NULL)) {
            return false;
        }
        g_ptr_array_add(out->names, g_strdup(at));
        at = close + 1;
    }
    return true;
}

static bool is_sound(const struct timeline *timeline)
{
    for (guint i = 0; i < timeline->stretches->len; i++) {
        const struct stretch *stretch = &g_array_index(timeline->stretches, struct stretch, i);

        if (stretch->count == 0 || stretch->name >= timeline->names->len ||
            object_id_is_zero(&stretch->newest)) {
            return false;
        }
    }
    for (guint i = 1; i < timeline->days->len; i++) {
        if (g_array_index(timeline->days, int32_t, i) <=
            g_array_index(timeline->days, int32_t, i - 1)) {
            return false;
        }
    }
    return timeline->name > TIMELINE_GONE && timeline->name < timeline->names->len &&
           (timeline->days->len == 0 || g_array_index(timeline->days, int32_t, 0) >= 0);
}

bool timeline_decode(struct timeline *out, const uint8_t *bytes, size_t length)
{
    struct head head;
    size_t stretches, days;

    if (length < sizeof(head)) {
        return false;
    }
    memcpy(&head, bytes, sizeof(head));
    if (memcmp(head.magic, MAGIC, sizeof(MAGIC)) != 0 || head.version != FILE_VERSION ||
        head.order != BYTE_ORDER_MARK || head.unused != 0 || head.stretches == 0 ||
        head.stretches > TIMELINE_MAX || head.days > TIMELINE_DAYS_MAX ||
        head.names > NAMES_LENGTH_MAX) {
        return false;
    }
    stretches = head.stretches * sizeof(struct stretch);
    days = head.days * sizeof(int32_t);
    if (length != sizeof(head) + stretches + days + head.names ||
        crc_of(bytes, length) != head.crc) {
        return false;
    }
    bytes += sizeof(head);
    g_array_append_vals(out->stretches, bytes, head.stretches);
    g_array_append_vals(out->days, bytes + stretches, head.days);
    out->next = head.next;
    out->oldest = head.oldest;
    out->boundary = head.boundary;
    out->name = head.name;
    return take_names(out, (const char *)bytes + stretches + days, head.names) && is_sound(out);
}

void timeline_load(struct timeline *out, const char *path)
{
    g_autoptr(GByteArray) bytes = path != NULL ? small_file_read(path, LENGTH_MAX) : NULL;

    timeline_init(out);
    if (bytes != NULL && !timeline_decode(out, bytes->data, bytes->len)) {
        timeline_release(out);
        timeline_init(out);
    }
}

void timeline_save(struct timeline *timeline, const char *path)
{
    g_autoptr(GByteArray) bytes = NULL;

    if (timeline->stretches->len == 0) {
        return;
    }
    bytes = g_byte_array_new();
    timeline_encode(bytes, timeline);
    small_file_replace(path, bytes, TIMELINE_FILES_DAYS);
    timeline->read = 0;
}
