#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/thread_tree.h"

static uint32_t seed;

static unsigned below(unsigned end)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 12) % end;
}

/* --- forests --- */

enum { NODES = 60 };

static bool is_below(const uint32_t *parents, uint32_t node, uint32_t above)
{
    while (node != above && node != THREAD_NONE)
        node = parents[node];
    return node == above;
}

START_TEST(test_thread_forest__links_all_but_loops)
{
    uint32_t parents[NODES];
    struct thread_forest forest;
    unsigned refused = 0;
    bool same = true;

    seed = (uint32_t)_i;
    thread_forest_init(&forest);
    for (uint32_t i = 0; i < NODES; i++) {
        parents[i] = THREAD_NONE;
        ck_assert_uint_eq(thread_forest_add(&forest), i);
    }
    for (int i = 0; i < 5000; i++) {
        uint32_t child = below(NODES), parent = below(NODES);
        bool loop = is_below(parents, parent, child);

        if (parents[child] != THREAD_NONE && below(3) != 0)
            continue;
        if (parents[child] != THREAD_NONE) {
            thread_forest_cut(&forest, child);
            parents[child] = THREAD_NONE;
            loop = is_below(parents, parent, child);
        }
        same = same && thread_forest_link(&forest, child, parent) == !loop;
        refused += loop;
        if (!loop)
            parents[child] = parent;
        for (uint32_t node = 0; node < NODES; node++)
            same = same && thread_forest_parent(&forest, node) == parents[node];
    }
    ck_assert(same);
    ck_assert_uint_gt(refused, 100);
    thread_forest_release(&forest);
}
END_TEST

/* --- trees --- */

/* ids: the message's own and its references, with a blank between; "" is none. */
static void add(struct thread_tree *tree, uint32_t subject, int64_t sent, bool replies,
                const char *ids)
{
    struct thread_message message = {.sent = sent, .subject = subject, .replies = replies};
    char *record = g_strdup(ids);
    size_t length = strlen(ids) + 1;

    for (char *c = record; *c != '\0' || c < record + length - 1; c++) {
        if (*c == ' ')
            *c = '\0';
    }
    thread_tree_add(tree, &message, record, length);
    g_free(record);
}

static uint32_t plus_one(const void *data, uint32_t message)
{
    (void)data;
    return message + 1;
}

static GString *finish(struct thread_tree *tree, size_t max)
{
    GString *out = g_string_new(NULL);

    while (!thread_tree_step(tree))
        ;
    while (!thread_tree_write(tree, out, max, plus_one, NULL))
        ;
    thread_tree_release(tree);
    return out;
}

static const struct {
    const char *messages[8]; /* subject as a digit, "R" or "-", and the IDs */
    const char *threads;
} trees[] = {
    {{NULL}, ""},
    {{"0- a"}, "(1)"},
    {{"0- a", "0- b a", "0- c a b"}, "(1 2 3)"},
    {{"0- c a b", "0- b a", "0- a"}, "(3 2 1)"},
    {{"0- a", "0- b a", "0- c a"}, "(1 (2)(3))"},
    {{"0- b a", "0- c a"}, "((1)(2))"},
    {{"0- b x a", "0- c x a"}, "((1)(2))"},
    {{"0- b x y", "0- c x z"}, "((1)(2))"},
    {{"0- a", "0- b a x", "0- c a x"}, "(1 (2)(3))"},
    /* A link that is there stays; the last reference counts above it. */
    {{"0- c a b", "0- d x b", "0- b y"}, "(3 (1)(2))"},
    {{"0- c a b", "0- a", "0- b"}, "(2)(3 1)"},
    {{"0- a b", "0- b a"}, "(2 1)"},
    {{"0- a b", "0- b c", "0- c a"}, "(3 2 1)"},
    {{"0- a a"}, "(1)"},
    {{"0- a b a", "0- b"}, "(1)(2)"},
    {{"0-  x", "0-  x"}, "((1)(2))"},
    {{"0- a", "0- a b", "0- c a"}, "(1 3)(2)"},
    /* Dummies that nothing is below any more. */
    {{"0- m a b", "0- m2 c m", "0- m"}, "(1 2)(3)"},
    /* Subjects. */
    {{"1- a", "1- b"}, "((1)(2))"},
    {{"1- a", "1R b"}, "(1 2)"},
    {{"1R a", "1- b"}, "(2 1)"},
    {{"1R a", "1R b"}, "((1)(2))"},
    {{"1R a", "1R b", "1- c"}, "(3 (1)(2))"},
    {{"1- a", "1- b", "1- c", "1R d"}, "((1)(2)(3)(4))"},
    {{"1- a x", "1- b x", "1R c"}, "((1)(2)(3))"},
    {{"1- a", "1- b x", "1- c x"}, "((1)(2)(3))"},
    {{"1- a x", "1- b x", "1- c y", "1- d y"}, "((1)(2)(3)(4))"},
    {{"1- a", "2R b", "2- c b", "1R d c"}, "(1)(2 3 4)"},
    {{"0- a", "0- b"}, "(1)(2)"},
};

START_TEST(test_thread_tree__follows_references_and_subjects)
{
    for (size_t max = 1; max < 4; max++) {
        struct thread_tree tree;
        GString *threads;

        thread_tree_init(&tree, true);
        for (int i = 0; i < 8 && trees[_i].messages[i] != NULL; i++) {
            const char *message = trees[_i].messages[i];

            add(&tree, (uint32_t)(message[0] - '0'), i, message[1] == 'R', message + 3);
        }
        threads = finish(&tree, max);
        ck_assert_str_eq(threads->str, trees[_i].threads);
        g_string_free(threads, TRUE);
    }
}
END_TEST

START_TEST(test_thread_tree__sorts_siblings_by_date_and_number)
{
    struct thread_tree tree;
    GString *threads;

    thread_tree_init(&tree, true);
    add(&tree, 0, 9, false, "a");
    add(&tree, 0, 5, false, "b a");
    add(&tree, 0, 5, false, "c a");
    add(&tree, 0, -7, false, "d a");
    add(&tree, 0, 6, false, "e x");
    add(&tree, 0, 8, false, "f x");
    add(&tree, 0, 6, false, "g");
    threads = finish(&tree, SIZE_MAX);
    ck_assert_str_eq(threads->str, "((5)(6))(7)(1 (4)(2)(3))");
    g_string_free(threads, TRUE);
}
END_TEST

START_TEST(test_thread_tree__by_subject_has_no_grandchildren)
{
    static const uint32_t subjects[] = {1, 2, 1, 0, 2, 1, 0};
    static const int64_t dates[] = {7, 6, 5, 4, 8, 6, 3};
    struct thread_tree tree;
    GString *threads;

    thread_tree_init(&tree, false);
    for (size_t i = 0; i < G_N_ELEMENTS(dates); i++)
        add(&tree, subjects[i], dates[i], true, "a b");
    threads = finish(&tree, SIZE_MAX);
    ck_assert_str_eq(threads->str, "(7 4)(3 (6)(1))(2 5)");
    g_string_free(threads, TRUE);
}
END_TEST

/* --- any --- */

static void add_random(struct thread_tree *tree, unsigned ids, unsigned subjects)
{
    GString *record = g_string_new(NULL);

    if (below(8) != 0)
        g_string_append_printf(record, "m%u", below(ids));
    for (unsigned i = below(5); i > 0; i--)
        g_string_append_printf(record, " m%u", below(ids));
    add(tree, below(subjects), below(50), below(2) == 0, record->str);
    g_string_free(record, TRUE);
}

/* thread-list = "(" (nz-number *(SP nz-number) [SP thread-nested] / thread-nested) ")"
 * thread-nested = 2*thread-list. Counts each number in seen. */
static bool is_well_formed(const char *text, GArray *seen)
{
    GArray *lists = g_array_new(FALSE, TRUE, sizeof(unsigned)); /* lists in each open one */
    char before = '\0';
    bool good = true;

    for (const char *c = text; good && *c != '\0'; before = *c++) {
        if (*c == '(') {
            good = before == '\0' || before == '(' || before == ')' ||
                   (before == ' ' && lists->len > 0);
            if (lists->len > 0)
                g_array_index(lists, unsigned, lists->len - 1)++;
            g_array_set_size(lists, lists->len + 1);
        } else if (*c == ')') {
            good = before != '(' && before != ' ' && lists->len > 0 &&
                   g_array_index(lists, unsigned, lists->len - 1) != 1;
            if (good)
                g_array_set_size(lists, lists->len - 1);
        } else if (*c == ' ') {
            good = g_ascii_isdigit(before);
        } else {
            char *end;
            guint64 number = g_ascii_strtoull(c, &end, 10);

            good = (before == '(' || before == ' ') && number >= 1 && number <= seen->len &&
                   g_array_index(seen, unsigned, number - 1)++ == 0;
            c = end - 1;
        }
    }
    good = good && lists->len == 0;
    g_array_unref(lists);
    return good;
}

static void check_random(unsigned of)
{
    unsigned count = 1 + of % 400;

    for (int by_references = 0; by_references < 2; by_references++) {
        GArray *seen = g_array_new(FALSE, TRUE, sizeof(unsigned));
        struct thread_tree tree;
        GString *threads;
        bool once = true;

        seed = of;
        g_array_set_size(seen, count);
        thread_tree_init(&tree, by_references == 1);
        for (unsigned i = 0; i < count; i++)
            add_random(&tree, 1 + count / (1 + of % 4), 1 + count / 3);
        threads = finish(&tree, 1 + below(9));
        ck_assert_msg(is_well_formed(threads->str, seen), "%s", threads->str);
        for (unsigned i = 0; i < count; i++)
            once = once && g_array_index(seen, unsigned, i) == 1;
        ck_assert_msg(once, "%s", threads->str);
        g_string_free(threads, TRUE);
        g_array_unref(seen);
    }
}

START_TEST(test_thread_tree__has_each_message_once)
{
    for (unsigned i = 0; i < 100; i++)
        check_random((unsigned)_i * 100 + i);
}
END_TEST

/* Each below the one before, or the other way round, or with one beside it. */
START_TEST(test_thread_tree__may_be_deep)
{
    enum { DEEP = 50000 };
    struct thread_tree tree;
    GString *threads, *expected = g_string_new("(");

    thread_tree_init(&tree, true);
    for (int i = 0; i < DEEP; i++) {
        int number = _i == 1 ? DEEP - 1 - i : i;
        char *ids = g_strdup_printf("m%d m%d", number, number - 1);

        add(&tree, 0, 0, false, ids);
        if (_i == 2)
            add(&tree, 0, 1, false, ids + strlen(ids) - strlen(strchr(ids, ' ')));
        g_free(ids);
    }
    for (int i = 0; _i != 2 && i < DEEP; i++)
        g_string_append_printf(expected, i == 0 ? "%d" : " %d", _i == 1 ? DEEP - i : i + 1);
    for (int i = 0; _i == 2 && i < DEEP; i++)
        g_string_append_printf(expected, i == 0 ? "(%d" : " (%d", 2 * i + 1);
    for (int i = DEEP - 1; _i == 2 && i >= 0; i--)
        g_string_append_printf(expected, ")(%d)", 2 * i + 2);
    g_string_append_c(expected, ')');
    threads = finish(&tree, 1000);
    ck_assert_str_eq(threads->str, expected->str);
    g_string_free(threads, TRUE);
    g_string_free(expected, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread_tree");
    TCase *cases = tcase_create("thread_tree");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, test_thread_forest__links_all_but_loops, 0, 5);
    tcase_add_loop_test(cases, test_thread_tree__follows_references_and_subjects, 0,
                        G_N_ELEMENTS(trees));
    tcase_add_test(cases, test_thread_tree__sorts_siblings_by_date_and_number);
    tcase_add_test(cases, test_thread_tree__by_subject_has_no_grandchildren);
    tcase_add_loop_test(cases, test_thread_tree__has_each_message_once, 0, 8);
    tcase_add_loop_test(cases, test_thread_tree__may_be_deep, 0, 3);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
