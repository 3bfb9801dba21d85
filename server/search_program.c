#include "server/search_program.h"

#include <assert.h>

/* A step for each key. Of an AND, OR or NOT only entry is used when the program runs: the first
 * child in order of cost. A target is a key's index, or one of the two beyond the last. */
struct search_step {
    uint32_t on_true;
    uint32_t on_false;
    uint32_t entry;
    uint8_t cost;
    bool leaf;
};

struct search_program {
    size_t count;
    struct search_step steps[];
};

static bool is_leaf(enum search_key_kind kind)
{
    return kind != SEARCH_AND && kind != SEARCH_OR && kind != SEARCH_NOT;
}

/* A node costs what its dearest leaf costs: found from the end, where children come first. */
static void find_costs(struct search_program *program, const struct search_key *keys,
                       enum search_cost (*cost)(const struct search_key *key))
{
    uint32_t *parents = g_new0(uint32_t, program->count);

    for (size_t i = 0; i < program->count; i++) {
        if (is_leaf(keys[i].kind)) {
            program->steps[i].leaf = true;
            program->steps[i].cost = (uint8_t)cost(&keys[i]);
            continue;
        }
        for (size_t child = i + 1; child < keys[i].skip; child = keys[child].skip) {
            parents[child] = (uint32_t)i;
        }
    }
    for (size_t i = program->count; i-- > 1;) {
        struct search_step *parent = &program->steps[parents[i]];

        parent->cost = MAX(parent->cost, program->steps[i].cost);
    }
    g_free(parents);
}

/* Chains the children of one node, the cheap ones first, otherwise as written. */
static void link_children(struct search_program *program, const struct search_key *keys,
                          size_t node)
{
    struct search_step *step = &program->steps[node];
    uint32_t on_true = keys[node].kind == SEARCH_NOT ? step->on_false : step->on_true;
    uint32_t on_false = keys[node].kind == SEARCH_NOT ? step->on_true : step->on_false;
    struct search_step *last = NULL;

    for (unsigned cost = 0; cost < SEARCH_COST_COUNT; cost++) {
        for (size_t child = node + 1; child < keys[node].skip; child = keys[child].skip) {
            struct search_step *next = &program->steps[child];

            if (next->cost != cost) {
                continue;
            }
            next->on_true = on_true;
            next->on_false = on_false;
            if (last == NULL) {
                step->entry = (uint32_t)child;
            } else if (keys[node].kind == SEARCH_OR) {
                last->on_false = (uint32_t)child;
            } else {
                last->on_true = (uint32_t)child;
            }
            last = next;
        }
    }
    if (last == NULL) { /* nothing to ask for: an empty AND holds */
        step->entry = keys[node].kind == SEARCH_AND ? on_true : on_false;
    }
}

struct search_program *search_program_new(const struct search_key *keys, size_t count,
                                          enum search_cost (*cost)(const struct search_key *key))
{
    struct search_program *program =
        g_malloc0(sizeof(*program) + count * sizeof(struct search_step));

    program->count = count;
    if (count == 0) {
        return program;
    }
    find_costs(program, keys, cost);
    program->steps[0].on_true = (uint32_t)count;
    program->steps[0].on_false = (uint32_t)count + 1;
    for (size_t i = 0; i < count; i++) {
        if (!program->steps[i].leaf) {
            link_children(program, keys, i);
        }
    }
    return program;
}

void search_program_free(struct search_program *program)
{
    g_free(program);
}

bool search_program_run(const struct search_program *program, bool (*test)(void *data, size_t key),
                        void *data)
{
    size_t at = 0;

    while (at < program->count) {
        const struct search_step *step = &program->steps[at];

        if (!step->leaf) {
            at = step->entry;
        } else {
            at = test(data, at) ? step->on_true : step->on_false;
        }
    }
    assert(at <= program->count + 1);
    return at == program->count;
}

enum search_cost search_program_cost(const struct search_program *program)
{
    return program->count == 0 ? SEARCH_COST_SNAPSHOT : (enum search_cost)program->steps[0].cost;
}
