/* Sequence sets: what is accepted resolves to ascending, disjoint ranges and formats back. */
#include <stdlib.h>

#include "protocol/sequence_set.h"
#include "tests/fuzz.h"

static void check_resolved(const struct sequence_set *set, uint32_t largest)
{
    GArray *ranges = sequence_set_resolve(set, largest);
    uint64_t least = 1;

    for (size_t i = 0; i < ranges->len; i++) {
        struct sequence_range range = g_array_index(ranges, struct sequence_range, i);

        if (range.low < least || range.high < range.low ||
            !sequence_ranges_contain(ranges, range.low) ||
            !sequence_ranges_contain(ranges, range.high))
            abort();
        least = (uint64_t)range.high + 2;
    }
    g_array_unref(ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sequence_set set;

    if (sequence_set_parse(&set, (const char *)data, size, size % 2 == 0)) {
        check_resolved(&set, 0);
        check_resolved(&set, 17);
        check_resolved(&set, UINT32_MAX);
    }
    sequence_set_release(&set);
    return 0;
}
