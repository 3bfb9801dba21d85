/* The file; numbers are in the byte order of the machine that wrote it:
 *
 *   struct head
 *   struct waypoint, MODSEQs ascending
 */
#include "store/internal/waypoints.h"

#include <string.h>

#include "store/internal/checksum.h"
#include "store/internal/properties.h"
#include "store/internal/small_file.h"

enum { FILE_VERSION = 1, BYTE_ORDER_MARK = 0x01020304 };

static const char MAGIC[8] = "annalway";

struct head {
    char magic[8];
    uint32_t version;
    uint32_t order; /* BYTE_ORDER_MARK */
    uint32_t crc;   /* of all that follows */
    uint32_t count;
    uint32_t ends; /* 0 or 1 */
    uint32_t uid_validity;
    char mailbox_id[MAILBOX_ID_MAX]; /* filled up with NUL */
};
G_STATIC_ASSERT(sizeof(struct head) == 32 + MAILBOX_ID_MAX);
G_STATIC_ASSERT(sizeof(struct waypoint) == 32);

enum {
    CRC_FROM = offsetof(struct head, count),
    LENGTH_MAX = sizeof(struct head) + WAYPOINTS_MAX * sizeof(struct waypoint),
};

static const struct waypoint *waypoint_at(const struct waypoints *waypoints, guint index)
{
    return &g_array_index(waypoints->list, struct waypoint, index);
}

static void fill_head(struct head *head, const struct snapshot *snapshot)
{
    const char *id = snapshot_mailbox_id(snapshot);

    memset(head, 0, sizeof(*head));
    memcpy(head->magic, MAGIC, sizeof(MAGIC));
    head->version = FILE_VERSION;
    head->order = BYTE_ORDER_MARK;
    head->uid_validity = snapshot_uid_validity(snapshot);
    memcpy(head->mailbox_id, id, MIN(strlen(id), sizeof(head->mailbox_id)));
}

static uint32_t crc_of(const uint8_t *bytes, size_t length)
{
    return crc32_of(bytes + CRC_FROM, length - CRC_FROM);
}

static bool decode(struct waypoints *out, const uint8_t *bytes, size_t length,
                   const struct snapshot *snapshot)
{
    struct head head, wanted;

    if (length < sizeof(head)) {
        return false;
    }
    memcpy(&head, bytes, sizeof(head));
    fill_head(&wanted, snapshot);
    wanted.crc = head.crc;
    wanted.count = head.count;
    wanted.ends = head.ends;
    if (memcmp(&head, &wanted, sizeof(head)) != 0 || head.count > WAYPOINTS_MAX || head.ends > 1 ||
        length != sizeof(head) + head.count * sizeof(struct waypoint) ||
        crc_of(bytes, length) != head.crc) {
        return false;
    }
    g_array_append_vals(out->list, bytes + sizeof(head), head.count);
    for (guint i = 0; i < out->list->len; i++) {
        if (waypoint_at(out, i)->modseq <= (i > 0 ? waypoint_at(out, i - 1)->modseq : 0)) {
            return false;
        }
    }
    out->ends = head.ends != 0;
    return true;
}

void waypoints_load(struct waypoints *out, const char *path, const struct snapshot *snapshot)
{
    g_autoptr(GByteArray) bytes = small_file_read(path, LENGTH_MAX);

    out->list = g_array_new(FALSE, TRUE, sizeof(struct waypoint));
    out->ends = false;
    if (bytes != NULL && !decode(out, bytes->data, bytes->len, snapshot)) {
        g_array_set_size(out->list, 0);
        out->ends = false;
    }
}

void waypoints_release(struct waypoints *waypoints)
{
    g_clear_pointer(&waypoints->list, g_array_unref);
}

void waypoints_save(const struct waypoints *waypoints, const char *path,
                    const struct snapshot *snapshot)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint count = waypoints->list->len;
    guint step = (count + WAYPOINTS_MAX - 1) / WAYPOINTS_MAX;
    struct head head;

    fill_head(&head, snapshot);
    head.ends = waypoints->ends;
    g_byte_array_append(bytes, (const uint8_t *)&head, sizeof(head));
    for (guint i = 0; i < count; i += step) {
        g_byte_array_append(bytes, (const uint8_t *)waypoint_at(waypoints, i),
                            sizeof(struct waypoint));
        head.count++;
    }
    memcpy(bytes->data, &head, sizeof(head));
    head.crc = crc_of(bytes->data, bytes->len);
    memcpy(bytes->data, &head, sizeof(head));
    small_file_replace(path, bytes, WAYPOINTS_DAYS);
}

guint waypoints_above(const struct waypoints *waypoints, uint64_t modseq)
{
    guint low = 0, high = waypoints->list->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (waypoint_at(waypoints, middle)->modseq <= modseq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool waypoints_find(const struct waypoints *waypoints, const struct object_id *commit,
                    uint64_t modseq, guint *index)
{
    *index = waypoints_above(waypoints, modseq - 1);
    return *index < waypoints->list->len && waypoint_at(waypoints, *index)->modseq == modseq &&
           object_id_equal(&waypoint_at(waypoints, *index)->commit, commit);
}
