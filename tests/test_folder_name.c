#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mailbox_name.h"
#include "server/folder_name.h"

START_TEST(test_folder_name__as_dovecot_writes_it)
{
    static const struct {
        const char *mailbox;
        const char *maildirpp;
        const char *fs;
    } cases[] = {
        {"Work", ".Work", "Work"},
        {"Work/Sub/deep", ".Work.Sub.deep", "Work/Sub/deep"},
        {"Gr\xc3\xb6\xc3\x9f"
         "e & mehr",
         ".Gr&APYA3w-e &- mehr", "Gr&APYA3w-e &- mehr"},
        {"a.b", ".a\\2eb", "a.b"},
        {".hidden/~x", ".\\2ehidden.~x", "\\2ehidden/\\7ex"},
        {"cur/new/tmp/tmpx", ".cur.new.tmp.tmpx", "\\63ur/\\6eew/\\74mp/tmpx"},
        {"subscriptions/dovecot-uidlist/dovecot", ".subscriptions.dovecot-uidlist.dovecot",
         "\\73ubscriptions/\\64ovecot-uidlist/dovecot"},
        {"back\\slash", ".back\\5cslash", "back\\5cslash"},
        {"\\2e", ".\\5c2e", "\\5c2e"},
        {"folder.sbd", ".folder\\2esbd", "folder\\2esbd"},
        {"..", ".\\2e\\2e", "\\2e."},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *path = folder_name_path(cases[i].mailbox, FOLDER_MAILDIRPP);

        ck_assert_str_eq(path, cases[i].maildirpp);
        g_free(path);
        path = folder_name_path(cases[i].mailbox, FOLDER_FS);
        ck_assert_str_eq(path, cases[i].fs);
        g_free(path);
    }
}
END_TEST

/* The mailbox of a path, level by level. */
static char *mailbox_of(const char *path)
{
    char **levels = g_strsplit(path, "/", -1);
    char *wire = g_strdup("");
    char *mailbox = NULL;

    for (size_t i = 0; levels[i] != NULL; i++) {
        char *below = folder_name_below(wire, levels[i]);

        g_free(wire);
        wire = below;
    }
    if (!mailbox_name_decode(&mailbox, wire, strlen(wire), false))
        mailbox = g_strdup("(none)");
    g_strfreev(levels);
    g_free(wire);
    return mailbox;
}

START_TEST(test_folder_name__comes_back_from_either_layout)
{
    static const char alphabet[][5] = {".", "/", "\\", "&", "-", "2",        "e",           "c",
                                       "u", "r", "~",  " ", "%", "\xc3\xbc", "\xe6\x97\xa5"};
    GRand *random = g_rand_new_with_seed(1);

    for (int round = 0; round < 20000; round++) {
        GString *name = g_string_new(NULL);
        int length = g_rand_int_range(random, 1, 9);

        for (int i = 0; i < length; i++)
            g_string_append(name, alphabet[g_rand_int_range(random, 0, G_N_ELEMENTS(alphabet))]);
        if (strstr(name->str, "//") == NULL && name->str[0] != '/' &&
            name->str[name->len - 1] != '/') {
            for (int layout = FOLDER_MAILDIRPP; layout <= FOLDER_FS; layout++) {
                char *path = folder_name_path(name->str, (enum folder_layout)layout);
                char *back = mailbox_of(path);

                ck_assert_msg(strcmp(back, name->str) == 0, "%s: %s: %s", name->str, path, back);
                g_free(back);
                g_free(path);
            }
        }
        g_string_free(name, TRUE);
    }
    g_rand_free(random);
}
END_TEST

START_TEST(test_folder_name__below)
{
    static const struct {
        const char *parent;
        const char *entry;
        const char *expected;
    } cases[] = {
        {"", ".A.B", "A/B"},    {"A", ".B.C", "A/B/C"}, {"A/B", "C.D", "A/B/C.D"},
        {"", "x\\2Ey", "x.y"},  {"", "x\\2", "x\\2"},   {"", "x\\zz", "x\\zz"},
        {"", "\\5c2e", "\\2e"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *below = folder_name_below(cases[i].parent, cases[i].entry);

        ck_assert_str_eq(below, cases[i].expected);
        g_free(below);
    }
}
END_TEST

START_TEST(test_folder_name__layouts)
{
    enum folder_layout layout;

    ck_assert(folder_layout_parse(&layout, "fs") && layout == FOLDER_FS);
    ck_assert(folder_layout_parse(&layout, "maildir++") && layout == FOLDER_MAILDIRPP);
    ck_assert(!folder_layout_parse(&layout, "FS"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("folder_name");
    TCase *tests = tcase_create("folder_name");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, test_folder_name__as_dovecot_writes_it);
    tcase_add_test(tests, test_folder_name__comes_back_from_either_layout);
    tcase_add_test(tests, test_folder_name__below);
    tcase_add_test(tests, test_folder_name__layouts);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
