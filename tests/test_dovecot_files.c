#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "server/dovecot_files.h"

/* "VALIDITY/NEXT" and UIDs of the files a, b,S=1 and c; or what is wrong. */
static char *describe_uidlist(const char *data, size_t length)
{
    char *copy = g_memdup2(data, MAX(length, 1)); /* so that reading beyond is noticed */
    struct uidlist list;
    char *problem = NULL;
    char *text;

    if (uidlist_parse(&list, copy, length, &problem)) {
        ck_assert_int_eq(problem != NULL, list.damaged > 0);
        text = g_strdup_printf("%u/%u %u %u %u", list.uid_validity, list.uid_next,
                               uidlist_find(&list, "a:2,S"), uidlist_find(&list, "b,S=1"),
                               uidlist_find(&list, "c:2,"));
    } else {
        ck_assert_ptr_nonnull(problem);
        text = g_strdup(problem);
    }
    uidlist_release(&list);
    g_free(problem);
    g_free(copy);
    return text;
}

#define LINE_1  "line 1: not a list of UIDs of a known version"
#define LINE(n) "line " #n ": not a UID, above the one before, and a file name; 1 such lines"

START_TEST(test_uidlist__reads_versions_1_and_3)
{
    static const struct {
        const char *data;
        const char *expected;
    } cases[] = {
        {"3 V1275660208 N25022 G3085f01b\n1 :a\n7 S12 W13 :b,S=1:2,S\n", "1275660208/25022 1 7 0"},
        {"3 N5 V9\n", "9/5 0 0 0"},
        {"3 Gx V9 Xy N5 Z\n4 :c\n", "9/5 0 0 4"},
        {"1 1174066420 4\n1 a\n3 b,S=1:2,FS\n", "1174066420/4 1 3 0"},
        {"3 V9 N1\n8 :a\n", "9/9 8 0 0"},
        {"3 V9 N1\n4294967295 :a\n", "9/4294967295 4294967295 0 0"},
        {"3 V9 N5\n2 Px :a b\n3 :c", "9/5 0 0 0"},
        {"3 V9 N5\n2 :a\n3 :a\n", "9/5 3 0 0"},
        {"3 V9 N5\n2 :a\n1 :b,S=1\n", "9/5 0 1 0"}, /* one of two: either may be wrong */
        {"3 V9 N5\n1 :a\n3 :x\n2 :b,S=1\n4 :c\n", "9/5 1 2 4"},
        {"3 V9 N5\n1 :a\n99999 :x\n3 :b,S=1\n4 :c\n", "9/5 1 3 4"},
        {"3 V9 N5\n1 :a\nx\n3 :b,S=1\n4 :c\n", "9/5 1 3 4"},
        {"3 V9 N5\n5 :a\n6 :b,S=1\n1 :c\n7 :d\n", "9/8 5 6 0"},
        {"3 V9 N5\n2 :a\nx\ny\n",
         "line 3: not a UID, above the one before, and a file name; 2 such lines"},
        {"3 V9 N5\n0 :a\n", LINE(2)},
        {"3 V9 N5\n4294967296 :a\n", LINE(2)},
        {"3 V9 N5\n2\n", LINE(2)},
        {"3 V9 N5\n2 \n", LINE(2)},
        {"3 V9 N5\n2 :\n", LINE(2)},
        {"3 V9 N5\n2 ::2,S\n", LINE(2)},
        {"3 V9 N5\n2 a\n", LINE(2)},
        {"3 V9 N5\n2x :a\n", LINE(2)},
        {"3 V9 N5\n\n", LINE(2)},
        {"1 9 5\n2 \n", LINE(2)},
        {"", LINE_1},
        {"\n", LINE_1},
        {"3 V9 N5", LINE_1},
        {"3 V9\n", LINE_1},
        {"3 N5\n", LINE_1},
        {"3 V0 N5\n", LINE_1},
        {"3 V4294967296 N5\n", LINE_1},
        {"2 V9 N5\n", LINE_1},
        {"1 9\n", LINE_1},
        {"1 9 x\n", LINE_1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *text = describe_uidlist(cases[i].data, strlen(cases[i].data));

        ck_assert_msg(strcmp(text, cases[i].expected) == 0, "%s: %s", cases[i].data, text);
        g_free(text);
    }
}
END_TEST

START_TEST(test_uidlist__cut_anywhere_has_whole_lines_only)
{
    static const char whole[] = "3 V1275660208 N4 G3085f01b\n1 :a\n2 S12 :b,S=1\n3 :c\n";
    static const struct {
        size_t from;
        const char *expected;
    } steps[] = {{0, LINE_1},
                 {27, "1275660208/4 0 0 0"},
                 {32, "1275660208/4 1 0 0"},
                 {45, "1275660208/4 1 2 0"},
                 {50, "1275660208/4 1 2 3"}};
    size_t step = 0;

    for (size_t length = 0; length < sizeof(whole); length++) {
        char *text = describe_uidlist(whole, length);

        if (step + 1 < G_N_ELEMENTS(steps) && length == steps[step + 1].from)
            step++;
        ck_assert_msg(strcmp(text, steps[step].expected) == 0, "%zu: %s", length, text);
        g_free(text);
    }
    ck_assert_uint_eq(step + 1, G_N_ELEMENTS(steps));
}
END_TEST

START_TEST(test_keywords__by_letter)
{
    static const struct {
        const char *data;
        const char *expected; /* letter and keyword, and so on */
    } cases[] = {
        {"0 $Forwarded\n1 foo\n", "a$Forwarded bfoo "},
        {"25 z\r\n3 d", "dd zz "},
        {"26 no\n0\n0 \n x\nx y\n-1 n\n99999999999999999999 n\n", ""},
        {"0 first\n0 second\n", "afirst "},
        {"", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *letters[DOVECOT_KEYWORDS] = {NULL};
        GString *text = g_string_new(NULL);

        dovecot_keywords_parse(letters, cases[i].data, strlen(cases[i].data));
        for (int j = 0; j < DOVECOT_KEYWORDS; j++)
            if (letters[j] != NULL)
                g_string_append_printf(text, "%c%s ", 'a' + j, letters[j]);
        ck_assert_msg(strcmp(text->str, cases[i].expected) == 0, "%s: %s", cases[i].data,
                      text->str);
        for (int j = 0; j < DOVECOT_KEYWORDS; j++)
            g_free(letters[j]);
        g_string_free(text, TRUE);
    }
}
END_TEST

START_TEST(test_subscriptions__both_versions)
{
    static const struct {
        const char *data;
        char separator;
        const char *expected; /* each name in brackets */
    } cases[] = {
        {"INBOX\nWork\nWork.Sub\n", '.', "[INBOX][Work][Work/Sub]"},
        {"a.b/c\r\n\nlast", '/', "[a.b/c][last]"},
        {"V\t2\n\nWork\tSub.x\nTab\001there\0011\001n\n", '.', "[Work/Sub.x][Tab\there\001\n]"},
        {"V\t2\n\nend\001", '.', "[end\001]"},
        {"x\nV\t2\n", '.', "[x][V\t2]"},
        {"", '.', ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        GString *text = g_string_new(NULL);

        dovecot_subscriptions_parse(names, cases[i].data, strlen(cases[i].data),
                                    cases[i].separator);
        for (unsigned j = 0; j < names->len; j++)
            g_string_append_printf(text, "[%s]", (const char *)g_ptr_array_index(names, j));
        ck_assert_msg(strcmp(text->str, cases[i].expected) == 0, "%s: %s", cases[i].data,
                      text->str);
        g_string_free(text, TRUE);
        g_ptr_array_unref(names);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dovecot_files");
    TCase *tests = tcase_create("dovecot_files");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, test_uidlist__reads_versions_1_and_3);
    tcase_add_test(tests, test_uidlist__cut_anywhere_has_whole_lines_only);
    tcase_add_test(tests, test_keywords__by_letter);
    tcase_add_test(tests, test_subscriptions__both_versions);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
