#include "server/thread_forest.h"

/* Each path from some node down is a splay tree, the upper nodes to the left. */
struct node {
    uint32_t parent; /* in the tree that is represented */
    uint32_t up;     /* in the splay tree; of its root, the node above the path */
    uint32_t side[2];
};

void thread_forest_init(struct thread_forest *forest)
{
    forest->nodes = g_array_new(FALSE, FALSE, sizeof(struct node));
}

void thread_forest_release(struct thread_forest *forest)
{
    if (forest->nodes != NULL)
        g_array_unref(forest->nodes);
    forest->nodes = NULL;
}

static struct node *nodes_of(const struct thread_forest *forest)
{
    return (struct node *)(void *)forest->nodes->data;
}

uint32_t thread_forest_add(struct thread_forest *forest)
{
    struct node node = {THREAD_NONE, THREAD_NONE, {THREAD_NONE, THREAD_NONE}};

    g_array_append_val(forest->nodes, node);
    return forest->nodes->len - 1;
}

uint32_t thread_forest_parent(const struct thread_forest *forest, uint32_t node)
{
    return nodes_of(forest)[node].parent;
}

static bool is_splay_root(const struct node *nodes, uint32_t node)
{
    uint32_t up = nodes[node].up;

    return up == THREAD_NONE || (nodes[up].side[0] != node && nodes[up].side[1] != node);
}

static void rotate(struct node *nodes, uint32_t node)
{
    uint32_t up = nodes[node].up;
    bool right = nodes[up].side[1] == node;
    uint32_t middle = nodes[node].side[!right];

    if (!is_splay_root(nodes, up))
        nodes[nodes[up].up].side[nodes[nodes[up].up].side[1] == up] = node;
    nodes[node].up = nodes[up].up;
    nodes[up].side[right] = middle;
    if (middle != THREAD_NONE)
        nodes[middle].up = up;
    nodes[node].side[!right] = up;
    nodes[up].up = node;
}

static void splay(struct node *nodes, uint32_t node)
{
    while (!is_splay_root(nodes, node)) {
        uint32_t up = nodes[node].up;

        if (!is_splay_root(nodes, up)) {
            bool same = (nodes[up].side[1] == node) == (nodes[nodes[up].up].side[1] == up);

            rotate(nodes, same ? up : node);
        }
        rotate(nodes, node);
    }
}

/* Makes the way from the root to the node one path, with the node at the root of its splay tree. */
static void expose(struct node *nodes, uint32_t node)
{
    uint32_t below = THREAD_NONE;

    for (uint32_t at = node; at != THREAD_NONE; at = nodes[at].up) {
        splay(nodes, at);
        nodes[at].side[1] = below;
        below = at;
    }
    splay(nodes, node);
}

static uint32_t root_of(struct node *nodes, uint32_t node)
{
    expose(nodes, node);
    while (nodes[node].side[0] != THREAD_NONE)
        node = nodes[node].side[0];
    splay(nodes, node);
    return node;
}

bool thread_forest_link(struct thread_forest *forest, uint32_t child, uint32_t parent)
{
    struct node *nodes = nodes_of(forest);

    if (root_of(nodes, parent) == child)
        return false;
    expose(nodes, child);
    nodes[child].up = parent;
    nodes[child].parent = parent;
    return true;
}

void thread_forest_cut(struct thread_forest *forest, uint32_t node)
{
    struct node *nodes = nodes_of(forest);
    uint32_t above;

    expose(nodes, node);
    above = nodes[node].side[0];
    nodes[above].up = THREAD_NONE;
    nodes[node].side[0] = THREAD_NONE;
    nodes[node].parent = THREAD_NONE;
}
