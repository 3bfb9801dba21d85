#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/search_program.h"

enum { LEAVES = 5, KEYS_MAX = 64, DEEP = 20000 };

/* A tree as text, in prefix order: '&' and '|' with children up to '.', '!' with one child, and
 * leaves 'a' to 'e' of rising cost ('e' costs as 'd'), or 'A' to 'E' for sets that cost nothing. */
struct tree {
    struct search_key keys[KEYS_MAX];
    size_t count;
};

static size_t tree_parse(struct tree *tree, const char **text)
{
    size_t at = tree->count++;
    char c = *(*text)++;

    ck_assert_uint_lt(at, KEYS_MAX);
    if (c == '&' || c == '|') {
        tree->keys[at].kind = c == '&' ? SEARCH_AND : SEARCH_OR;
        while (**text != '.') {
            tree_parse(tree, text);
        }
        (*text)++;
    } else if (c == '!') {
        tree->keys[at].kind = SEARCH_NOT;
        tree_parse(tree, text);
    } else {
        tree->keys[at].kind = c >= 'a' ? SEARCH_FLAG : SEARCH_UID;
        tree->keys[at].number = (uint64_t)(c - (c >= 'a' ? 'a' : 'A'));
    }
    tree->keys[at].skip = (uint32_t)tree->count;
    return at;
}

/* The plain meaning of a tree, to compare with. */
static bool tree_holds(const struct tree *tree, size_t at, unsigned values)
{
    const struct search_key *key = &tree->keys[at];
    bool all = true;
    bool any = false;

    if (key->kind == SEARCH_FLAG || key->kind == SEARCH_UID) {
        return (values >> key->number & 1) != 0;
    }
    for (size_t child = at + 1; child < key->skip; child = tree->keys[child].skip) {
        bool holds = tree_holds(tree, child, values);

        all = all && holds;
        any = any || holds;
    }
    return key->kind == SEARCH_AND ? all : key->kind == SEARCH_OR ? any : !any;
}

static enum search_cost cost_of(const struct search_key *key)
{
    return key->kind == SEARCH_UID           ? SEARCH_COST_SNAPSHOT
           : key->number < SEARCH_COST_COUNT ? (enum search_cost)key->number
                                             : SEARCH_COST_TEXT;
}

struct asked {
    const struct search_key *keys;
    const struct search_program *program;
    size_t key_count;
    unsigned values;
    unsigned times[DEEP + 1];
    size_t order[KEYS_MAX];
    size_t count;
};

static bool answer(void *data, size_t at)
{
    struct asked *asked = data;

    asked->times[at]++;
    if (asked->count < KEYS_MAX) {
        asked->order[asked->count++] = at;
    }
    for (size_t i = 0; i < asked->key_count; i++) {
        if (search_program_joined(asked->program, i) == at &&
            (asked->values >> asked->keys[i].number & 1) != 0) {
            return true;
        }
    }
    return false;
}

static const char *const trees[] = {
    "a",
    "&.",
    "&ab.",
    "|ab.",
    "!a",
    "!!a",
    "!&ab.",
    "!|ab.",
    "&a|bc.d.",
    "|a&bc.d.",
    "&!ab!c.",
    "|!&a!b.!|cd..",
    "&|ab.|cd.!e.",
    "|d&eca.!b.",
    "&e|dc.!&ba..",
    "!|!a&b!c..",
    "|!!!a!!b.",
    "&&&&a.b.c.d.",
    "|a|b|c|de....",
    "&d&c&b&a......",
    "|AB.",
    "&AB.",
    "|A|B|C|DE....",
    "&!A!B!C!D.",
    "!&!A!|BC..",
    "|A!&!Ba.!B.",
    "&|Aa.|BC.!|DE..",
    "|&AB.&CD.!E!A.",
    "!|!A!B&CD.!|ab..",
    "|A&.B|..",
    "&A|.!&!B&...",
};

START_TEST(holds_when_the_tree_does)
{
    const char *text = trees[_i];
    struct tree tree = {.count = 0};
    struct asked *asked = calloc(1, sizeof(*asked));

    tree_parse(&tree, &text);
    struct search_program *program = search_program_new(tree.keys, tree.count, cost_of);
    for (unsigned values = 0; values < 1u << LEAVES; values++) {
        memset(asked, 0, sizeof(*asked));
        asked->keys = tree.keys;
        asked->key_count = tree.count;
        asked->program = program;
        asked->values = values;
        ck_assert_msg(search_program_run(program, answer, asked) == tree_holds(&tree, 0, values),
                      "%s with %x", trees[_i], values);
        for (size_t i = 0; i < tree.count; i++) {
            ck_assert_uint_le(asked->times[i], 1);
        }
    }
    search_program_free(program);
    free(asked);
}
END_TEST

static enum search_cost cost_of_nothing(const struct search_key *key)
{
    (void)key;
    return SEARCH_COST_SNAPSHOT;
}

/* Message i is one whose values are i. */
static uint64_t answer_many(void *data, size_t at, uint64_t messages)
{
    struct asked *asked = data;
    uint64_t held = 0;

    asked->times[at]++;
    for (size_t message = 0; message < 1u << LEAVES; message++) {
        bool holds = false;

        for (size_t i = 0; i < asked->key_count; i++) {
            holds = holds || (search_program_joined(asked->program, i) == at &&
                              (message >> asked->keys[i].number & 1) != 0);
        }
        held |= (uint64_t)holds << message;
    }
    return held & messages;
}

START_TEST(holds_for_many_as_for_each)
{
    const char *text = trees[_i];
    struct tree tree = {.count = 0};
    struct asked *asked = calloc(1, sizeof(*asked));

    tree_parse(&tree, &text);
    struct search_program *program = search_program_new(tree.keys, tree.count, cost_of_nothing);
    asked->keys = tree.keys;
    asked->key_count = tree.count;
    asked->program = program;
    for (int round = 0; round < 3; round++) {
        static const uint64_t sets[] = {UINT32_MAX, 1, 0xa5a5a5a5};
        uint64_t expected = 0;

        memset(asked->times, 0, sizeof(asked->times));
        for (unsigned values = 0; values < 1u << LEAVES; values++) {
            expected |= (uint64_t)tree_holds(&tree, 0, values) << values;
        }
        ck_assert_uint_eq(search_program_run_many(program, sets[round], answer_many, asked),
                          expected & sets[round]);
        for (size_t i = 0; i < tree.count; i++) {
            ck_assert_uint_le(asked->times[i], 1);
        }
    }
    search_program_free(program);
    free(asked);
}
END_TEST

START_TEST(asks_the_cheap_first)
{
    static const struct {
        const char *tree;
        unsigned values;
        const char *order;
    } cases[] = {
        {"&dcba.", 0x1f, "abcd"}, {"|dcba.", 0, "abcd"},     {"&dcba.", 0, "a"},
        {"|dcba.", 1, "a"},       {"&da.", 1, "ad"},         {"&|da.b.", 0, "b"},
        {"&ea!d.", 1, "ae"},      {"|&da.&ca..", 1, "acad"}, {"|A|B|CD...", 8, "a"},
        {"|A|Ba|CD...", 0, "aa"}, {"&!A!Cb!D.", 2, "ab"},
    };
    struct asked *asked = calloc(1, sizeof(*asked));

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].tree;
        struct tree tree = {.count = 0};
        char order[KEYS_MAX] = "";

        tree_parse(&tree, &text);
        struct search_program *program = search_program_new(tree.keys, tree.count, cost_of);
        memset(asked, 0, sizeof(*asked));
        asked->keys = tree.keys;
        asked->key_count = tree.count;
        asked->program = program;
        asked->values = cases[i].values;
        search_program_run(program, answer, asked);
        for (size_t j = 0; j < asked->count; j++) {
            order[j] = (char)('a' + (char)tree.keys[asked->order[j]].number);
        }
        ck_assert_str_eq(order, cases[i].order);
        search_program_free(program);
    }
    free(asked);
}
END_TEST

START_TEST(knows_the_dearest_cost)
{
    static const struct {
        const char *tree;
        enum search_cost cost;
    } cases[] = {
        {"a", SEARCH_COST_SNAPSHOT},    {"&.", SEARCH_COST_SNAPSHOT},
        {"&a!b.", SEARCH_COST_SUMMARY}, {"|a&!c..", SEARCH_COST_HEADER},
        {"!!!d", SEARCH_COST_TEXT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].tree;
        struct tree tree = {.count = 0};

        tree_parse(&tree, &text);
        struct search_program *program = search_program_new(tree.keys, tree.count, cost_of);
        ck_assert_int_eq(search_program_cost(program), cases[i].cost);
        search_program_free(program);
    }
}
END_TEST

/* OR NOT OR NOT ...: as deep as a program can be. */
START_TEST(depth_uses_no_stack)
{
    struct search_key *keys = calloc(DEEP + 1, sizeof(*keys));
    struct asked *asked = calloc(1, sizeof(*asked));

    for (size_t i = 0; i < DEEP; i++) {
        keys[i].kind = SEARCH_NOT;
        keys[i].skip = DEEP + 1;
    }
    keys[DEEP].kind = SEARCH_FLAG;
    keys[DEEP].skip = DEEP + 1;
    struct search_program *program = search_program_new(keys, DEEP + 1, cost_of);
    asked->keys = keys;
    asked->key_count = DEEP + 1;
    asked->program = program;
    asked->values = 1;
    ck_assert(search_program_run(program, answer, asked));
    asked->values = 0;
    ck_assert(!search_program_run(program, answer, asked));
    ck_assert_uint_eq(asked->times[DEEP], 2);
    search_program_free(program);
    free(asked);
    free(keys);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("search_program");
    TCase *tcase = tcase_create("search_program");

    tcase_add_loop_test(tcase, holds_when_the_tree_does, 0, sizeof(trees) / sizeof(trees[0]));
    tcase_add_loop_test(tcase, holds_for_many_as_for_each, 0, sizeof(trees) / sizeof(trees[0]));
    tcase_add_test(tcase, asks_the_cheap_first);
    tcase_add_test(tcase, knows_the_dearest_cost);
    tcase_add_test(tcase, depth_uses_no_stack);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
