#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/headline.h"

static void read_text(struct headline *out, const char *text)
{
    headline_read(out, (const uint8_t *)text, strlen(text));
}

START_TEST(test_headline__finds_subject_and_sender)
{
    static const struct {
        const char *text;
        const char *subject;
        const char *from;
    } cases[] = {
        {"Subject: hello\r\nFrom: a@example.org\r\n\r\nSubject: body\r\n", "hello",
         "a@example.org"},
        {"FROM: A\nsubject:two\n", "two", "A"},
        {"Subject: folded\r\n\tand on\r\n\r\n", "folded and on", ""},
        {"Subject: one\nSubject: two\n\n", "one", ""},
        {"Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?b?IGhlcmU=?=\n\n",
         "Gr\303\274\303\237e here", ""},
        {"X-Subject: no\nSubjects: no\n\n", "", ""},
        {"\r\nSubject: body\r\n", "", ""},
        {"", "", ""},
        {"no header at all", "", ""},
        {"Subject: \033[31mred\033]0;title\007\n\n", "?[31mred?]0;title?", ""},
        {"Subject: =?utf-8?b?G1szMW0=?= =?utf-8?q?=E2=80=AEx?=\n\n", "?[31m???x", ""},
        {"Subject: \374\n\n", "\357\277\275", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct headline headline;

        read_text(&headline, cases[i].text);
        ck_assert_str_eq(headline.subject, cases[i].subject);
        ck_assert_str_eq(headline.from, cases[i].from);
        headline_release(&headline);
    }
}
END_TEST

START_TEST(test_headline__cuts_between_characters)
{
    static const struct {
        const char *text;
        size_t max;
        const char *cut;
    } cases[] = {
        {"abc", 3, "abc"},
        {"abcd", 3, "abc..."},
        {"\303\274\303\274\303\274\303\274", 3, "\303\274\303\274\303\274..."},
        {"", 3, ""},
        {"abc", 0, "..."},
        {"\360\237\230\200\360\237\230\200", 1, "\360\237\230\200..."},
        {"a\tb", 9, "a b"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new("=");

        headline_append(out, cases[i].text, strlen(cases[i].text), cases[i].max);
        ck_assert_str_eq(out->str + 1, cases[i].cut);
    }
}
END_TEST

START_TEST(test_headline__bounds_a_very_long_subject)
{
    g_autoptr(GString) text = g_string_new("Subject: ");
    struct headline headline;

    for (int i = 0; i < 100000; i++)
        g_string_append_c(text, 'x');
    g_string_append(text, "\r\nFrom: late@example.org\r\n\r\n");
    read_text(&headline, text->str);
    ck_assert_uint_eq(strlen(headline.subject), HEADLINE_MAX + 3);
    ck_assert_str_eq(headline.from, "late@example.org");
    headline_release(&headline);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("headline");
    TCase *cases = tcase_create("headline");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_headline__finds_subject_and_sender);
    tcase_add_test(cases, test_headline__cuts_between_characters);
    tcase_add_test(cases, test_headline__bounds_a_very_long_subject);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
