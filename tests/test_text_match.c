#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/text_match.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *needle;
    const char *haystack;
    size_t length;
    bool found;
} cases[] = {
    {"", BYTES(""), true},
    {"", BYTES("abc"), true},
    {"a", BYTES(""), false},
    {"abc", BYTES("xxABCxx"), true},
    {"ABC", BYTES("xxabcxx"), true},
    {"abc", BYTES("ab"), false},
    {"abc", BYTES("ababac"), false},
    {"ababc", BYTES("abababc"), true},
    {"aab", BYTES("aaab"), true},
    {"\xc3\x84", BYTES("x\xc3\xa4y"), true},  /* Ä, ä */
    {"\xc3\xa4", BYTES("xa\xcc\x88y"), true}, /* ä, a and diaeresis */
    {"a\xcc\x88", BYTES("x\xc3\x84y"), true},
    {"\xcf\x83", BYTES("\xcf\x82"), true}, /* sigma, final sigma */
    {"\xce\xa3", BYTES("\xcf\x82"), true},
    {"\xd0\x9f\xd0\xa0\xd0\x98", BYTES("\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2"), true}, /* Cyrillic */
    {"\xc3\x9f", BYTES("\xc3\x9f"), true}, /* sharp s is itself */
    {"ss", BYTES("\xc3\x9f"), false},
    {"abc", BYTES("\xef\xbd\x81\xef\xbd\x82\xef\xbd\x83"), true}, /* full width */
    {"ab",
     BYTES("a\xff"
           "b"),
     false}, /* a broken octet is no match */
    {"ab",
     BYTES("a\xff"
           "ab"),
     true},
    {"b", BYTES("a\0b"), true},
    {"ab", BYTES("a\0b"), false},
    {"\xe6\x97\xa5", BYTES("\xe6\x97"), false},
    {"c",
     BYTES("\xe6\x97"
           "c"),
     true},
};

START_TEST(test_text_match__finds)
{
    struct text_match *match = text_match_new(cases[_i].needle, strlen(cases[_i].needle));
    ck_assert_int_eq(text_match_find(match, cases[_i].haystack, cases[_i].length), cases[_i].found);
    text_match_free(match);
}
END_TEST

START_TEST(test_text_match__agrees_with_strcasestr)
{
    uint32_t seed = 11;
    for (int round = 0; round < 100000; round++) {
        char needle[7] = "";
        char haystack[20] = "";
        for (int i = 0; i < 19; i++) {
            seed = seed * 1664525 + 1013904223;
            haystack[i] = "abAB"[seed >> 30];
            needle[i % 6] = "abAB"[(seed >> 20) & 3];
        }
        needle[1 + round % 6] = '\0';
        struct text_match *match = text_match_new(needle, strlen(needle));
        ck_assert_msg(text_match_find(match, haystack, 19) ==
                          (strcasestr(haystack, needle) != NULL),
                      "%s %s", needle, haystack);
        text_match_free(match);
    }
}
END_TEST

START_TEST(test_text_match__is_linear)
{
    size_t length = 4 * 1024 * 1024;
    char *haystack = g_strnfill(length, 'a');
    char *needle = g_strnfill(60000, 'a');
    needle[59999] = 'b';
    struct text_match *match = text_match_new(needle, 60000);
    ck_assert(!text_match_find(match, haystack, length));
    text_match_free(match);
    g_free(needle);
    g_free(haystack);
}
END_TEST

/* Wherever in a long text a match lies, also across the pieces it is folded in. */
START_TEST(test_text_match__finds_at_every_place)
{
    static const char needle[] = "\xc3\xa4"
                                 "b\xe2\x84\xaa"
                                 "x"; /* a umlaut, Kelvin sign */
    static const char found[] = "a\xcc\x88"
                                "BkX";
    GString *haystack = g_string_new(NULL);
    struct text_match *match = text_match_new(needle, sizeof needle - 1);
    for (size_t at = 8192 - 40; at < 8192 + 8; at++) {
        for (size_t filler = 1; filler <= 3; filler++) {
            static const char *const fillers[] = {"a", "\xc3\xa4", "\xe6\x97\xa5"};
            g_string_truncate(haystack, 0);
            while (haystack->len < at) {
                g_string_append(haystack, fillers[filler - 1]);
            }
            ck_assert(!text_match_find(match, haystack->str, haystack->len));
            g_string_append(haystack, found);
            ck_assert(text_match_find(match, haystack->str, haystack->len));
            ck_assert(!text_match_find(match, haystack->str, haystack->len - 1));
            g_string_append(haystack, "tail");
            ck_assert(text_match_find(match, haystack->str, haystack->len));
        }
    }
    text_match_free(match);
    g_string_free(haystack, TRUE);
}
END_TEST

START_TEST(test_text_match__finds_in_folded_text_what_it_finds_in_text)
{
    GString *folded = g_string_new(NULL);
    text_fold(folded, cases[_i].haystack, cases[_i].length);
    struct text_match *match = text_match_new(cases[_i].needle, strlen(cases[_i].needle));
    ck_assert_int_eq(text_match_find_folded(match, folded->str, folded->len), cases[_i].found);
    text_match_free(match);
    g_string_free(folded, TRUE);
}
END_TEST

START_TEST(test_text_match__what_is_no_text_is_nowhere)
{
    struct text_match *match = text_match_new("\xff", 1);
    ck_assert(!text_match_find(match, "\xff", 1));
    ck_assert(!text_match_find_folded(match, "\xff", 1));
    text_match_free(match);
}
END_TEST

START_TEST(test_text_match__free_accepts_null)
{
    text_match_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text_match");
    TCase *tc = tcase_create("text_match");
    tcase_add_loop_test(tc, test_text_match__finds, 0, G_N_ELEMENTS(cases));
    tcase_add_test(tc, test_text_match__agrees_with_strcasestr);
    tcase_add_test(tc, test_text_match__is_linear);
    tcase_add_test(tc, test_text_match__finds_at_every_place);
    tcase_add_loop_test(tc, test_text_match__finds_in_folded_text_what_it_finds_in_text, 0,
                        G_N_ELEMENTS(cases));
    tcase_add_test(tc, test_text_match__what_is_no_text_is_nowhere);
    tcase_add_test(tc, test_text_match__free_accepts_null);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
