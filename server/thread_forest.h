/* Trees of numbers that are linked and cut in any order, and never become loops. Link-cut trees
 * (Sleator and Tarjan): each call costs the logarithm of the count on the average, however deep the
 * trees are and whoever chose them. Not recursive.
 */
#ifndef ANNAL_SERVER_THREAD_FOREST_H
#define ANNAL_SERVER_THREAD_FOREST_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define THREAD_NONE UINT32_MAX

struct thread_forest {
    GArray *nodes;
};

void thread_forest_init(struct thread_forest *forest);
void thread_forest_release(struct thread_forest *forest); /* also one that is all zeros */

/* A new node without parent: its number, from 0 on. */
uint32_t thread_forest_add(struct thread_forest *forest);
/* THREAD_NONE: it has none. */
uint32_t thread_forest_parent(const struct thread_forest *forest, uint32_t node);

/* Makes child, which has no parent, a child of parent. False, and nothing is done, if that would be
 * a loop: parent is child itself, or below it. */
bool thread_forest_link(struct thread_forest *forest, uint32_t child, uint32_t parent);
/* Takes the node, which has a parent, from it. */
void thread_forest_cut(struct thread_forest *forest, uint32_t node);

#endif
