#include "protocol/sequence_set.h"

#include "protocol/limits.h"

/* seq-number = nz-number / "*" */
static bool parse_number(uint32_t *out, const char *text, size_t length, size_t *position)
{
    size_t start = *position;
    uint64_t number = 0;

    if (start < length && text[start] == '*') {
        *out = 0;
        *position = start + 1;
        return true;
    }
    while (*position < length && g_ascii_isdigit(text[*position])) {
        number = number * 10 + (uint64_t)(text[*position] - '0');
        if (number > UINT32_MAX)
            return false;
        (*position)++;
    }
    if (*position == start || text[start] == '0')
        return false;
    *out = (uint32_t)number;
    return true;
}

/* sequence-set = (seq-number / seq-range) ["," sequence-set] */
static bool parse_ranges(GArray *ranges, const char *text, size_t length)
{
    size_t position = 0;

    for (;;) {
        struct sequence_range range;

        if (ranges->len == LIMIT_LIST || !parse_number(&range.low, text, length, &position))
            return false;
        range.high = range.low;
        if (position < length && text[position] == ':') {
            position++;
            if (!parse_number(&range.high, text, length, &position))
                return false;
        }
        g_array_append_val(ranges, range);
        if (position == length)
            return true;
        if (text[position++] != ',')
            return false;
    }
}

bool sequence_set_parse(struct sequence_set *out, const char *text, size_t length, bool allow_saved)
{
    GArray *ranges;

    *out = (struct sequence_set){0};
    if (length == 1 && text[0] == '$') {
        out->saved = allow_saved;
        return allow_saved;
    }
    ranges = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
    if (!parse_ranges(ranges, text, length)) {
        g_array_unref(ranges);
        return false;
    }
    out->ranges = ranges;
    return true;
}

void sequence_set_release(struct sequence_set *set)
{
    if (set->ranges != NULL)
        g_array_unref(set->ranges);
    *set = (struct sequence_set){0};
}

static int compare_ranges(const void *left, const void *right)
{
    uint32_t a = ((const struct sequence_range *)left)->low;
    uint32_t b = ((const struct sequence_range *)right)->low;

    return a < b ? -1 : a > b;
}

static void append_joined(GArray *ranges, struct sequence_range range)
{
    struct sequence_range *last = NULL;

    if (ranges->len > 0)
        last = &g_array_index(ranges, struct sequence_range, ranges->len - 1);
    if (last == NULL || (range.low > last->high && range.low - last->high > 1))
        g_array_append_val(ranges, range);
    else if (range.high > last->high)
        last->high = range.high;
}

GArray *sequence_set_resolve(const struct sequence_set *set, uint32_t largest)
{
    size_t count = set->ranges == NULL ? 0 : set->ranges->len;
    GArray *sorted = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
    GArray *joined = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));

    for (size_t i = 0; i < count; i++) {
        struct sequence_range range = g_array_index(set->ranges, struct sequence_range, i);
        uint32_t low = range.low == 0 ? largest : range.low;
        uint32_t high = range.high == 0 ? largest : range.high;

        if (low == 0 || high == 0)
            continue;
        range.low = MIN(low, high);
        range.high = MAX(low, high);
        g_array_append_val(sorted, range);
    }
    g_array_sort(sorted, compare_ranges);
    for (size_t i = 0; i < sorted->len; i++)
        append_joined(joined, g_array_index(sorted, struct sequence_range, i));
    g_array_unref(sorted);
    return joined;
}

bool sequence_ranges_contain(const GArray *ranges, uint32_t number)
{
    size_t low = 0;
    size_t high = ranges->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct sequence_range *range = &g_array_index(ranges, struct sequence_range, middle);

        if (number < range->low)
            high = middle;
        else if (number > range->high)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

void sequence_set_format(GString *out, const uint32_t *numbers, size_t count)
{
    size_t i = 0;

    while (i < count) {
        size_t last = i;

        while (last + 1 < count && numbers[last + 1] - numbers[last] == 1)
            last++;
        if (i > 0)
            g_string_append_c(out, ',');
        g_string_append_printf(out, "%" G_GUINT32_FORMAT, numbers[i]);
        if (last > i)
            g_string_append_printf(out, ":%" G_GUINT32_FORMAT, numbers[last]);
        i = last + 1;
    }
}
