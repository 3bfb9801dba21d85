/* Sorting numbers in steps, so that others have their turn between them. Stable. */
#ifndef ANNAL_SERVER_MERGE_SORT_H
#define ANNAL_SERVER_MERGE_SORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct merge_sort {
    uint32_t *numbers; /* borrowed */
    uint32_t *spare;   /* as many */
    size_t count;
    size_t width; /* of the runs that are sorted */
    size_t at;    /* where the next two runs begin */
    int (*compare)(const void *data, uint32_t a, uint32_t b);
    const void *data;
};

void merge_sort_init(struct merge_sort *sort, uint32_t *numbers, size_t count,
                     int (*compare)(const void *data, uint32_t a, uint32_t b), const void *data);
void merge_sort_release(struct merge_sort *sort); /* also one that is all zeros */

/* Moves about so many numbers, or what one merge takes. True if all are sorted. */
bool merge_sort_step(struct merge_sort *sort, size_t moves);

#endif
