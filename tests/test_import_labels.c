#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "server/import_labels.h"
#include "store/snapshot.h"

START_TEST(test_labels__are_parted)
{
    static const struct {
        const char *value;
        bool spaces;
        const char *expected; /* each in brackets */
    } cases[] = {
        {" Inbox,Opened, My Label\r\n", false, "[Inbox][Opened][My Label]"},
        {"=?UTF-8?Q?Gr=C3=BC=C3=9Fe,Unread?=", false,
         "[Gr\xc3\xbc\xc3\x9f"
         "e][Unread]"},
        {"=?UTF-8?B?R3LDvMOfZQ==?=\r\n =?UTF-8?Q?,Work?=", false,
         "[Gr\xc3\xbc\xc3\x9f"
         "e][Work]"},
        {"\"a, b\",c", false, "[a, b][c]"},
        {"\"a\\\"b\\\\\",c", false, "[a\"b\\][c]"},
        {"\\Inbox \"two words\" \\\\Sent plain", true, "[\\Inbox][two words][\\\\Sent][plain]"},
        {",, ,", false, ""},
        {"\"open, to the end", false, "[open, to the end]"},
        {"Work/Sub", false, "[Work/Sub]"},
        {"\xff", false, "[\xef\xbf\xbd]"},
        {"", false, ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (size_t length = 0; length <= strlen(cases[i].value); length++) {
            GPtrArray *labels = g_ptr_array_new_with_free_func(g_free);
            GString *text = g_string_new(NULL);
            char *copy = g_memdup2(cases[i].value, MAX(length, 1));

            import_labels_parse(labels, copy, length, cases[i].spaces);
            for (unsigned j = 0; j < labels->len; j++)
                g_string_append_printf(text, "[%s]", (const char *)g_ptr_array_index(labels, j));
            ck_assert(g_utf8_validate(text->str, -1, NULL));
            if (length == strlen(cases[i].value))
                ck_assert_msg(strcmp(text->str, cases[i].expected) == 0, "%s: %s", cases[i].value,
                              text->str);
            g_free(copy);
            g_string_free(text, TRUE);
            g_ptr_array_unref(labels);
        }
    }
}
END_TEST

START_TEST(test_labels__many_are_cut)
{
    GPtrArray *labels = g_ptr_array_new_with_free_func(g_free);
    GString *value = g_string_new(NULL);

    for (int i = 0; i < 1000; i++)
        g_string_append_printf(value, "%d,", i);
    import_labels_parse(labels, value->str, value->len, false);
    ck_assert_uint_eq(labels->len, IMPORT_LABELS_MAX);
    g_string_free(value, TRUE);
    g_ptr_array_unref(labels);
}
END_TEST

static char *apply(const struct import_label_map *map, const char *value)
{
    GPtrArray *labels = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);
    struct import_labelled labelled;

    import_labels_parse(labels, value, strlen(value), false);
    import_labels_apply(&labelled, map, labels);
    for (unsigned i = 0; i < labelled.mailboxes->len; i++)
        g_string_append_printf(text, "[%s]",
                               (const char *)g_ptr_array_index(labelled.mailboxes, i));
    for (unsigned i = 0; i < labelled.keywords->len; i++)
        g_string_append_printf(text, " %s", (const char *)g_ptr_array_index(labelled.keywords, i));
    g_string_append_printf(text, "%s%s%s", (labelled.flags & MESSAGE_SEEN) != 0 ? " seen" : "",
                           (labelled.flags & MESSAGE_FLAGGED) != 0 ? " flagged" : "",
                           (labelled.flags & MESSAGE_DRAFT) != 0 ? " draft" : "");
    import_labelled_release(&labelled);
    g_ptr_array_unref(labels);
    return g_string_free(text, FALSE);
}

START_TEST(test_labels__become_mailboxes_flags_and_keywords)
{
    static const struct {
        const char *value;
        const char *mailboxes;
        const char *keywords;
    } cases[] = {
        {"Inbox", "[] seen", "[] seen"},
        {"Inbox,Unread", "[]", "[]"},
        {"", "[Archive] seen", "[Archive] seen"},
        {"Archived,Opened", "[Archive] seen", "[Archive] seen"},
        {"Starred,Important", "[Archive] $Important seen flagged",
         "[Archive] $Important seen flagged"},
        {"Sent,Inbox", "[Sent][] seen", "[Sent] seen"},
        {"Inbox,Spam,Trash", "[][Junk][Trash] seen", "[Trash] seen"},
        {"Drafts", "[Drafts] seen draft", "[Drafts] seen draft"},
        {"Category Promotions,Inbox", "[] seen", "[] seen"},
        {"Work/2024,Work/2024", "[Work/2024] seen", "[Archive] Work/2024 seen"},
        {"//a//b/", "[a/b] seen", "[Archive] //a//b/ seen"},
        {"/", "[-] seen", "[Archive] / seen"},
        {"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", "[a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p-q] seen",
         "[Archive] a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q seen"},
        {"Posteingang,Ungelesen", "[]", "[]"},
        {"tab\there (x)", "[tab?here (x)] seen", "[Archive] tab_here__x_ seen"},
    };
    struct import_label_map mailboxes = {0};
    struct import_label_map keywords = {.keywords = true};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *text = apply(&mailboxes, cases[i].value);

        ck_assert_msg(strcmp(text, cases[i].mailboxes) == 0, "%s: %s", cases[i].value, text);
        g_free(text);
        text = apply(&keywords, cases[i].value);
        ck_assert_msg(strcmp(text, cases[i].keywords) == 0, "%s: %s", cases[i].value, text);
        g_free(text);
    }
}
END_TEST

START_TEST(test_labels__long_ones_are_cut_between_characters)
{
    struct import_label_map map = {0};
    GString *value = g_string_new("x");
    char *text;

    for (int i = 0; i < 200; i++)
        g_string_append(value, "\xc3\xbc");
    text = apply(&map, value->str);
    ck_assert(g_utf8_validate(text, -1, NULL));
    ck_assert_uint_le(strlen(text), 150 + strlen("[] seen"));
    g_free(text);
    g_string_free(value, TRUE);
}
END_TEST

START_TEST(test_labels__are_what_the_admin_says)
{
    struct import_label_map map = {0};
    char *text;

    ck_assert(import_label_map_add(&map, "Olvasatlan=\\Unread"));
    ck_assert(import_label_map_add(&map, "Firma=Work/Company"));
    ck_assert(import_label_map_add(&map, "Inbox="));
    ck_assert(!import_label_map_add(&map, "Olvasatlan=\\Unknown"));
    ck_assert(!import_label_map_add(&map, "Olvasatlan"));
    ck_assert(!import_label_map_add(&map, "=x"));
    text = apply(&map, "Inbox,Firma,Olvasatlan");
    ck_assert_str_eq(text, "[Work/Company]");
    g_free(text);
    import_label_map_release(&map);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_labels");
    TCase *tests = tcase_create("import_labels");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, test_labels__are_parted);
    tcase_add_test(tests, test_labels__many_are_cut);
    tcase_add_test(tests, test_labels__become_mailboxes_flags_and_keywords);
    tcase_add_test(tests, test_labels__long_ones_are_cut_between_characters);
    tcase_add_test(tests, test_labels__are_what_the_admin_says);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
