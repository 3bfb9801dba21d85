#include "server/merge_sort.h"

#include <glib.h>
#include <string.h>

void merge_sort_init(struct merge_sort *sort, uint32_t *numbers, size_t count,
                     int (*compare)(const void *data, uint32_t a, uint32_t b), const void *data)
{
    *sort = (struct merge_sort){
        .numbers = numbers,
        .spare = g_new(uint32_t, count),
        .count = count,
        .width = 1,
        .compare = compare,
        .data = data,
    };
}

void merge_sort_release(struct merge_sort *sort)
{
    g_clear_pointer(&sort->spare, g_free);
}

/* [first, middle) and [middle, end) become one run. */
static void merge(struct merge_sort *sort, size_t first, size_t middle, size_t end)
{
    uint32_t *numbers = sort->numbers;
    size_t left = 0, right = middle, to = first, count = middle - first;

    if (middle == end || sort->compare(sort->data, numbers[middle - 1], numbers[middle]) <= 0)
        return;
    memcpy(sort->spare, numbers + first, count * sizeof *numbers);
    while (left < count && right < end) {
        bool take_right = sort->compare(sort->data, sort->spare[left], numbers[right]) > 0;

        numbers[to++] = take_right ? numbers[right++] : sort->spare[left++];
    }
    memcpy(numbers + to, sort->spare + left, (count - left) * sizeof *numbers);
}

bool merge_sort_step(struct merge_sort *sort, size_t moves)
{
    for (size_t moved = 0; sort->width < sort->count && moved < moves;) {
        size_t middle = MIN(sort->at + sort->width, sort->count);
        size_t end = MIN(middle + sort->width, sort->count);

        merge(sort, sort->at, middle, end);
        moved += end - sort->at;
        sort->at = end;
        if (end == sort->count) {
            sort->at = 0;
            sort->width *= 2;
        }
    }
    return sort->width >= sort->count;
}
