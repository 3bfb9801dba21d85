#include "server/search_program.h"

#include <assert.h>

/* A step for each key. One that is not tested (AND, OR, NOT, a set that another key has joined)
 * only leads on to entry. A target is a key's index, or one of the two beyond the last. */
struct search_step {
    uint32_t on_true;
    uint32_t on_false;
    uint32_t entry;
    uint32_t joined; /* the key that is tested for this one */
    uint8_t cost;
    bool tested;
    uint64_t waiting; /* messages to be tested, while many are judged */
};

struct search_program {
    size_t count;
    uint32_t entry;
    struct search_step steps[];
};

static bool is_leaf(enum search_key_kind kind)
{
    return kind != SEARCH_AND && kind != SEARCH_OR && kind != SEARCH_NOT;
}

/* A node costs what its dearest leaf costs: found from the end, where children come first. */
static void find_costs(struct search_program *program, const struct search_key *keys,
                       const uint32_t *parents,
                       enum search_cost (*cost)(const struct search_key *key))
{
    for (size_t i = program->count; i-- > 0;) {
        struct search_step *step = &program->steps[i];
        struct search_step *parent = &program->steps[parents[i]];

        if (is_leaf(keys[i].kind)) {
            step->tested = true;
            step->cost = (uint8_t)cost(&keys[i]);
        }
        parent->cost = MAX(parent->cost, step->cost);
    }
}

/* What the nodes of one alternative have in common: ORs within ORs are one, and so is an AND that
 * is negated, with its negated children. */
struct alternative {
    uint32_t root;
    bool negated; /* an odd number of NOTs around */
    bool any;     /* with the NOTs taken in: one child that holds is enough */
};

/* Joins the sets of each alternative into its first; the others then hold never. */
static void join_sets(struct search_program *program, const struct search_key *keys,
                      const uint32_t *parents)
{
    struct alternative *nodes = g_new0(struct alternative, program->count);
    uint32_t(*first)[2] = g_malloc0_n(program->count, sizeof(*first)); /* key + 1 */

    for (size_t i = 0; i < program->count; i++) {
        struct alternative *node = &nodes[i];
        const struct alternative *above = i > 0 ? &nodes[parents[i]] : NULL;

        *node = above != NULL ? *above : (struct alternative){0};
        program->steps[i].joined = (uint32_t)i;
        if (keys[i].kind == SEARCH_NOT) {
            node->negated = !node->negated;
        } else if (!is_leaf(keys[i].kind)) {
            node->any = (keys[i].kind == SEARCH_OR) != node->negated;
            if (above == NULL || node->any != above->any) {
                node->root = (uint32_t)i;
            }
        } else if (i > 0 && (keys[i].kind == SEARCH_SEQUENCE || keys[i].kind == SEARCH_UID) &&
                   node->any != node->negated) {
            uint32_t *leader = &first[node->root][keys[i].kind == SEARCH_UID];

            if (*leader == 0) {
                *leader = (uint32_t)i + 1;
            } else {
                program->steps[i].joined = *leader - 1;
                program->steps[i].tested = false;
            }
        }
    }
    g_free(first);
    g_free(nodes);
}

/* What is not tested is stepped over, in near linear time: each hop is made once. */
static uint32_t skip_hops(struct search_program *program, uint32_t target)
{
    uint32_t end = target;

    while (end < program->count && !program->steps[end].tested) {
        end = program->steps[end].entry;
    }
    while (target != end) {
        uint32_t next = program->steps[target].entry;

        program->steps[target].entry = end;
        target = next;
    }
    return end;
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

static uint32_t *find_parents(const struct search_key *keys, size_t count)
{
    uint32_t *parents = g_new0(uint32_t, count);

    for (size_t i = 0; i < count; i++) {
        for (size_t child = i + 1; !is_leaf(keys[i].kind) && child < keys[i].skip;
             child = keys[child].skip) {
            parents[child] = (uint32_t)i;
        }
    }
    return parents;
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
    uint32_t *parents = find_parents(keys, count);
    find_costs(program, keys, parents, cost);
    join_sets(program, keys, parents);
    g_free(parents);
    program->steps[0].on_true = (uint32_t)count;
    program->steps[0].on_false = (uint32_t)count + 1;
    for (size_t i = 0; i < count; i++) {
        if (!is_leaf(keys[i].kind)) {
            link_children(program, keys, i);
        } else if (!program->steps[i].tested) {
            program->steps[i].entry = program->steps[i].on_false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        program->steps[i].on_true = skip_hops(program, program->steps[i].on_true);
        program->steps[i].on_false = skip_hops(program, program->steps[i].on_false);
    }
    program->entry = skip_hops(program, 0);
    return program;
}

/* Where all keys cost the same, every step leads on to later ones: one pass over the steps takes
 * all messages to the end. */
static void send_on(struct search_program *program, size_t from, uint32_t target, uint64_t messages,
                    uint64_t *matches)
{
    if (target < program->count) {
        assert(target > from);
        program->steps[target].waiting |= messages;
    } else if (target == program->count) {
        *matches |= messages;
    }
}

uint64_t search_program_run_many(struct search_program *program, uint64_t messages,
                                 uint64_t (*test)(void *data, size_t key, uint64_t messages),
                                 void *data)
{
    uint64_t matches = 0;

    assert(search_program_cost(program) == SEARCH_COST_SNAPSHOT);
    if (program->entry >= program->count) {
        return program->entry == program->count ? messages : 0;
    }
    program->steps[program->entry].waiting = messages;
    for (size_t at = program->entry; at < program->count; at++) {
        struct search_step *step = &program->steps[at];
        uint64_t waiting = step->waiting;

        if (waiting == 0) {
            continue;
        }
        step->waiting = 0;
        uint64_t held = test(data, at, waiting);
        send_on(program, at, step->on_true, held, &matches);
        send_on(program, at, step->on_false, waiting & ~held, &matches);
    }
    return matches;
}

void search_program_free(struct search_program *program)
{
    g_free(program);
}

size_t search_program_joined(const struct search_program *program, size_t key)
{
    assert(key < program->count);
    return program->steps[key].joined;
}

bool search_program_run(const struct search_program *program, bool (*test)(void *data, size_t key),
                        void *data)
{
    size_t at = program->entry;

    while (at < program->count) {
        const struct search_step *step = &program->steps[at];

        at = test(data, at) ? step->on_true : step->on_false;
    }
    assert(at <= program->count + 1);
    return at == program->count;
}

enum search_cost search_program_cost(const struct search_program *program)
{
    return program->count == 0 ? SEARCH_COST_SNAPSHOT : (enum search_cost)program->steps[0].cost;
}
