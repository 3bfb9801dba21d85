#include "store/internal/packed_leaf.h"

#include <string.h>

enum column { SIZE, DATE, ZONE, MODSEQ, KEYWORDS, COLUMN_COUNT };

enum { WIDTHS_AT = 1, ZONE_AT = 6, MODSEQ_AT = 8, DATE_AT = 16, OCTET_COLUMNS = 2 };

static const uint8_t WIDTH_MAX[COLUMN_COUNT] = {4, 8, 2, 8, 8};

/* What is subtracted from a message's values. */
struct base {
    int64_t date;
    uint64_t modseq;
    int16_t zone;
};

static struct base get_base(const uint8_t *packed)
{
    struct base base;

    memcpy(&base.zone, packed + ZONE_AT, sizeof(base.zone));
    memcpy(&base.modseq, packed + MODSEQ_AT, sizeof(base.modseq));
    memcpy(&base.date, packed + DATE_AT, sizeof(base.date));
    return base;
}

static uint8_t width_of(uint64_t value)
{
    return value == 0            ? 0
           : value <= UINT8_MAX  ? 1
           : value <= UINT16_MAX ? 2
           : value <= UINT32_MAX ? 4
                                 : 8;
}

static void put(uint8_t *out, unsigned width, uint64_t value)
{
    uint8_t one = (uint8_t)value;
    uint16_t two = (uint16_t)value;
    uint32_t four = (uint32_t)value;

    switch (width) {
    case 1:
        *out = one;
        break;
    case 2:
        memcpy(out, &two, sizeof(two));
        break;
    case 4:
        memcpy(out, &four, sizeof(four));
        break;
    case 8:
        memcpy(out, &value, sizeof(value));
        break;
    default:
        break;
    }
}

static inline uint64_t get(const uint8_t *bytes, unsigned width)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    switch (width) {
    case 1:
        return *bytes;
    case 2:
        memcpy(&two, bytes, sizeof(two));
        return two;
    case 4:
        memcpy(&four, bytes, sizeof(four));
        return four;
    case 8:
        memcpy(&eight, bytes, sizeof(eight));
        return eight;
    default:
        return 0;
    }
}

static struct base least(const struct message *messages, size_t count)
{
    struct base base = {messages[0].internal_date, messages[0].modseq, messages[0].zone};

    for (size_t i = 1; i < count; i++) {
        base.date = MIN(base.date, messages[i].internal_date);
        base.modseq = MIN(base.modseq, messages[i].modseq);
        base.zone = MIN(base.zone, messages[i].zone);
    }
    return base;
}

static void values_of(uint64_t out[COLUMN_COUNT], const struct message *message,
                      const struct base *base)
{
    out[SIZE] = message->size;
    out[DATE] = (uint64_t)message->internal_date - (uint64_t)base->date;
    out[ZONE] = (uint64_t)(message->zone - base->zone);
    out[MODSEQ] = message->modseq - base->modseq;
    out[KEYWORDS] = message->keywords;
}

size_t packed_leaf_encode(uint8_t out[PACKED_LEAF_MAX], const struct message *messages,
                          size_t count)
{
    struct base base = least(messages, count);
    uint64_t values[COLUMN_COUNT], most[COLUMN_COUNT] = {0};
    uint8_t *columns[COLUMN_COUNT];
    uint8_t *at = out + PACKED_LEAF_HEAD + OCTET_COLUMNS * count;

    g_assert(count > 0 && count <= LEAF_MESSAGES);
    for (size_t i = 0; i < count; i++) {
        values_of(values, &messages[i], &base);
        for (int k = 0; k < COLUMN_COUNT; k++) {
            most[k] = MAX(most[k], values[k]);
        }
    }
    out[0] = (uint8_t)count;
    memcpy(out + ZONE_AT, &base.zone, sizeof(base.zone));
    memcpy(out + MODSEQ_AT, &base.modseq, sizeof(base.modseq));
    memcpy(out + DATE_AT, &base.date, sizeof(base.date));
    for (int k = 0; k < COLUMN_COUNT; k++) {
        out[WIDTHS_AT + k] = width_of(most[k]);
        columns[k] = at;
        at += out[WIDTHS_AT + k] * count;
    }
    for (size_t i = 0; i < count; i++) {
        values_of(values, &messages[i], &base);
        out[PACKED_LEAF_HEAD + i] = (uint8_t)(messages[i].uid % LEAF_MESSAGES);
        out[PACKED_LEAF_HEAD + count + i] = messages[i].flags;
        for (int k = 0; k < COLUMN_COUNT; k++) {
            put(columns[k] + out[WIDTHS_AT + k] * i, out[WIDTHS_AT + k], values[k]);
        }
        memcpy(at + i * OBJECT_ID_SIZE, messages[i].blob.bytes, OBJECT_ID_SIZE);
    }
    return (size_t)(at - out) + count * OBJECT_ID_SIZE;
}

static bool columns_valid(const uint8_t *packed, size_t count, size_t keywords)
{
    const uint8_t *uids = packed + PACKED_LEAF_HEAD;
    struct message message;

    for (size_t i = 0; i < count; i++) {
        if (uids[i] >= LEAF_MESSAGES || (i > 0 && uids[i] <= uids[i - 1]) ||
            (uids[count + i] & ~MESSAGE_FLAGS_ALL) != 0) {
            return false;
        }
        if (packed[WIDTHS_AT + KEYWORDS] > 0 && keywords < MAILBOX_KEYWORDS_MAX) {
            packed_leaf_message(&message, packed, 0, i);
            if (message.keywords >> keywords != 0) {
                return false;
            }
        }
    }
    return true;
}

bool packed_leaf_valid(const uint8_t *packed, size_t length, size_t count, size_t keywords)
{
    size_t each = OCTET_COLUMNS + OBJECT_ID_SIZE;

    if (length < PACKED_LEAF_HEAD || count == 0 || count > LEAF_MESSAGES || packed[0] != count) {
        return false;
    }
    for (int k = 0; k < COLUMN_COUNT; k++) {
        uint8_t width = packed[WIDTHS_AT + k];

        if (width > WIDTH_MAX[k] || (width & (width - 1u)) != 0) {
            return false;
        }
        each += width;
    }
    return length == PACKED_LEAF_HEAD + count * each && columns_valid(packed, count, keywords);
}

bool packed_leaf_same_uids(const uint8_t *a, const uint8_t *b)
{
    return a[0] == b[0] && memcmp(a + PACKED_LEAF_HEAD, b + PACKED_LEAF_HEAD, a[0]) == 0;
}

/* Marks where the values of one column differ. */
static void compare_column(const uint8_t *a, const uint8_t *b, size_t width, size_t count,
                           bool *differs)
{
    if (memcmp(a, b, width * count) == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        differs[i] = differs[i] || memcmp(a + i * width, b + i * width, width) != 0;
    }
}

bool packed_leaf_compare(const uint8_t *a, const uint8_t *b, bool differs[LEAF_MESSAGES])
{
    size_t count = a[0];
    size_t at = PACKED_LEAF_HEAD + count;

    if (memcmp(a, b, PACKED_LEAF_HEAD) != 0 || !packed_leaf_same_uids(a, b)) {
        return false;
    }
    memset(differs, 0, count * sizeof(*differs));
    compare_column(a + at, b + at, 1, count, differs);
    at += count;
    for (int k = 0; k < COLUMN_COUNT; k++) {
        size_t width = a[WIDTHS_AT + k];

        compare_column(a + at, b + at, width, count, differs);
        at += width * count;
    }
    compare_column(a + at, b + at, OBJECT_ID_SIZE, count, differs);
    return true;
}

void packed_leaf_message(struct message *out, const uint8_t *packed, uint32_t number, size_t index)
{
    size_t count = packed[0];
    const uint8_t *widths = packed + WIDTHS_AT;
    const uint8_t *at = packed + PACKED_LEAF_HEAD;
    struct base base = get_base(packed);

    out->uid = number * LEAF_MESSAGES + at[index];
    at += count;
    out->flags = at[index];
    at += count;
    out->size = (uint32_t)get(at + widths[SIZE] * index, widths[SIZE]);
    at += widths[SIZE] * count;
    out->internal_date =
        (int64_t)((uint64_t)base.date + get(at + widths[DATE] * index, widths[DATE]));
    at += widths[DATE] * count;
    out->zone = (int16_t)(base.zone + (int)get(at + widths[ZONE] * index, widths[ZONE]));
    at += widths[ZONE] * count;
    out->modseq = base.modseq + get(at + widths[MODSEQ] * index, widths[MODSEQ]);
    at += widths[MODSEQ] * count;
    out->keywords = get(at + widths[KEYWORDS] * index, widths[KEYWORDS]);
    at += widths[KEYWORDS] * count;
    memcpy(out->blob.bytes, at + index * OBJECT_ID_SIZE, OBJECT_ID_SIZE);
}

size_t packed_leaf_decode(struct message out[LEAF_MESSAGES], const uint8_t *packed, uint32_t number)
{
    for (size_t i = 0; i < packed[0]; i++) {
        packed_leaf_message(&out[i], packed, number, i);
    }
    return packed[0];
}

size_t packed_leaf_lower_bound(const uint8_t *packed, unsigned pair)
{
    const uint8_t *uids = packed + PACKED_LEAF_HEAD;
    size_t low = 0, high = packed[0];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (uids[middle] < pair) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

unsigned packed_leaf_pair(const uint8_t *packed, size_t index)
{
    return packed[PACKED_LEAF_HEAD + index];
}

const uint8_t *packed_leaf_flags(const uint8_t *packed)
{
    return packed + PACKED_LEAF_HEAD + packed[0];
}

size_t packed_leaf_first_unseen(const uint8_t *packed)
{
    const uint8_t *flags = packed_leaf_flags(packed);
    size_t i = 0;

    while (i < packed[0] && (flags[i] & MESSAGE_SEEN) != 0) {
        i++;
    }
    return i;
}
