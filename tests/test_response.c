#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/response.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *data;
    size_t length;
    bool utf8;
    const char *string;
    const char *astring;
} strings[] = {
    {BYTES(""), false, "\"\"", "\"\""},
    {BYTES("abc"), false, "\"abc\"", "abc"},
    {BYTES("a b"), false, "\"a b\"", "\"a b\""},
    {BYTES("NIL"), false, "\"NIL\"", "\"NIL\""},
    {BYTES("nil"), false, "\"nil\"", "\"nil\""},
    {BYTES("NILS"), false, "\"NILS\"", "NILS"},
    {BYTES("a\"b\\c"), false, "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\""},
    {BYTES("[a]"), false, "\"[a]\"", "[a]"},
    {BYTES("a%"), false, "\"a%\"", "\"a%\""},
    {BYTES("(a"), false, "\"(a\"", "\"(a\""},
    {BYTES("a)"), false, "\"a)\"", "\"a)\""},
    {BYTES("a{"), false, "\"a{\"", "\"a{\""},
    {BYTES("a\tb"), false, "\"a\tb\"", "\"a\tb\""},
    {BYTES("a\r\nb"), false, "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
    {BYTES("a\nb"), true, "{3}\r\na\nb", "{3}\r\na\nb"},
    {BYTES("a\0b"), false,
     "{3}\r\na\x80"
     "b",
     "{3}\r\na\x80"
     "b"},
    {BYTES("\xc3\xa4"), false, "{2}\r\n\xc3\xa4", "{2}\r\n\xc3\xa4"},
    {BYTES("\xc3\xa4"), true, "\"\xc3\xa4\"", "\"\xc3\xa4\""},
    {BYTES("\xe4"), true, "{1}\r\n\xe4", "{1}\r\n\xe4"},
};

START_TEST(test_response__writes_strings)
{
    GString *out = g_string_new(NULL);
    response_string(out, strings[_i].data, strings[_i].length, strings[_i].utf8);
    ck_assert_str_eq(out->str, strings[_i].string);
    g_string_truncate(out, 0);
    response_astring(out, strings[_i].data, strings[_i].length, strings[_i].utf8);
    ck_assert_str_eq(out->str, strings[_i].astring);
    g_string_truncate(out, 0);
    response_nstring(out, strings[_i].data, strings[_i].length, strings[_i].utf8);
    ck_assert_str_eq(out->str, strings[_i].string);
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_response__writes_nil_for_null)
{
    GString *out = g_string_new(NULL);
    response_nstring(out, NULL, 0, false);
    ck_assert_str_eq(out->str, "NIL");
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_response__makes_long_strings_literals)
{
    char *text = g_strnfill(5000, 'a');
    GString *out = g_string_new(NULL);
    response_string(out, text, 5000, false);
    ck_assert_int_eq(strncmp(out->str, "{5000}\r\na", 9), 0);
    ck_assert_uint_eq(out->len, 8 + 5000);
    g_string_free(out, TRUE);
    g_free(text);
}
END_TEST

static const struct {
    const char *text;
    bool utf8;
    const char *expected;
} texts[] = {
    {"done", false, "done"},        {"", false, "-"},
    {"a\r\nb", false, "a??b"},      {"a\x1b[1m", true, "a?[1m"},
    {"caf\xc3\xa9", false, "caf?"}, {"caf\xc3\xa9", true, "caf\xc3\xa9"},
    {"a\xc2\x85z", true, "a?z"},    {"a\xff", true, "a?"},
    {"a\x7f", true, "a?"},
};

START_TEST(test_response__cleans_text)
{
    GString *out = g_string_new(NULL);
    response_text(out, texts[_i].text, texts[_i].utf8);
    ck_assert_str_eq(out->str, texts[_i].expected);
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_response__writes_mailboxes_and_numbers)
{
    GString *out = g_string_new(NULL);
    response_mailbox(out, "Entw\xc3\xbcrfe", false);
    response_mailbox(out, " a", false);
    response_mailbox(out, "\xc3\xbc", true);
    response_literal_header(out, 18446744073709551615u);
    response_number(out, 0);
    ck_assert_str_eq(out->str, "Entw&APw-rfe\" a\"\"\xc3\xbc\"{18446744073709551615}\r\n0");
    g_string_free(out, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response");
    TCase *tc = tcase_create("response");
    tcase_add_loop_test(tc, test_response__writes_strings, 0, G_N_ELEMENTS(strings));
    tcase_add_test(tc, test_response__writes_nil_for_null);
    tcase_add_test(tc, test_response__makes_long_strings_literals);
    tcase_add_loop_test(tc, test_response__cleans_text, 0, G_N_ELEMENTS(texts));
    tcase_add_test(tc, test_response__writes_mailboxes_and_numbers);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
