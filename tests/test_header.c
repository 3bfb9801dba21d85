#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/header.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *data;
    size_t length;
    size_t block;
} blocks[] = {
    {BYTES(""), 0},
    {BYTES("\r\nbody"), 2},
    {BYTES("\nbody"), 1},
    {BYTES("A: b\r\n\r\nbody"), 8},
    {BYTES("A: b\n\nbody"), 6},
    {BYTES("A: b\r\n"), 6},
    {BYTES("A: b"), 4},
    {BYTES("A: b\r\n \r\nC: d\r\n\r\n\r\n"), 17},
    {BYTES("A: b\r\r\n\r\n"), 9},
    {BYTES("A: b\n\r\nx"), 7},
};

START_TEST(test_header__finds_the_end_of_the_block)
{
    ck_assert_uint_eq(header_block_length((const uint8_t *)blocks[_i].data, blocks[_i].length),
                      blocks[_i].block);
}
END_TEST

/* The fields as name=value|, white space and all. */
static char *list_fields(const char *data, size_t length)
{
    GString *out = g_string_new(NULL);
    size_t position = 0;
    size_t end = 0;
    struct header_field field;
    while (header_next((const uint8_t *)data, length, &position, &field)) {
        ck_assert_uint_eq(field.start, end);
        end = field.end;
        ck_assert_uint_eq(position, end);
        g_string_append_len(out, field.name, (gssize)field.name_length);
        g_string_append_c(out, '=');
        g_string_append_len(out, field.value, (gssize)field.value_length);
        g_string_append_c(out, '|');
    }
    return g_string_free(out, FALSE);
}

static const struct {
    const char *data;
    size_t length;
    const char *fields;
} fields[] = {
    {BYTES("A: b\r\nC:d\r\n\r\nE: f\r\n"), "A= b\r\n|C=d\r\n|"},
    {BYTES("A: b\r\n c\r\n\td\r\nE: f"), "A= b\r\n c\r\n\td\r\n|E= f|"},
    {BYTES("A : b\n"), "A= b\n|"},
    {BYTES("From x@y Fri Feb 22 17:06:23 2008\nA: b\n"),
     "=From x@y Fri Feb 22 17:06:23 2008\n|A= b\n|"},
    {BYTES(" lost\nA: b\n"), "= lost\n|A= b\n|"},
    {BYTES("garbage\n more\nA: b\n"), "=garbage\n more\n|A= b\n|"},
    {BYTES(": b\nA:\n"), "=: b\n|A=\n|"},
    {BYTES("A: b\r\n \r\nC: d\r\n"), "A= b\r\n \r\n|C= d\r\n|"},
    {BYTES(""), ""},
};

START_TEST(test_header__iterates_fields)
{
    char *found = list_fields(fields[_i].data, fields[_i].length);
    ck_assert_str_eq(found, fields[_i].fields);
    g_free(found);
}
END_TEST

static const char *const names[] = {"from", "SUBJECT"};
#define MESSAGE "From: a\r\nX: y\r\nSubject: b\r\n c\r\nfrom: z\r\n"

static const struct {
    const char *data;
    size_t length;
    size_t count;
    bool invert;
    const char *selected;
} selections[] = {
    {BYTES(MESSAGE "\r\nbody"), 2, false, "From: a\r\nSubject: b\r\n c\r\nfrom: z\r\n\r\n"},
    {BYTES(MESSAGE "\r\nbody"), 2, true, "X: y\r\n\r\n"},
    {BYTES(MESSAGE), 1, false, "From: a\r\nfrom: z\r\n\r\n"},
    {BYTES(MESSAGE), 0, false, "\r\n"},
    {BYTES(MESSAGE), 0, true, MESSAGE "\r\n"},
    {BYTES("From: a\nX: y\n\n"), 1, false, "From: a\n\r\n"},
    {BYTES("From: a"), 1, false, "From: a\r\n\r\n"},
    {BYTES(""), 1, false, "\r\n"},
    {BYTES("From : a\r\n\r\n"), 1, false, "From : a\r\n\r\n"},
};

START_TEST(test_header__selects_fields)
{
    GString *out = g_string_new(NULL);
    const uint8_t *data = (const uint8_t *)selections[_i].data;
    size_t block = header_block_length(data, selections[_i].length);
    header_fields_select(out, data, block, names, selections[_i].count, selections[_i].invert);
    ck_assert_str_eq(out->str, selections[_i].selected);
    g_string_free(out, TRUE);
}
END_TEST

static const struct {
    const char *value;
    size_t length;
    const char *unfolded;
} unfoldings[] = {
    {BYTES(" a\r\n b\r\n"), "a b"},
    {BYTES(" a\n\tb\n"), "a\tb"},
    {BYTES("\r\n a\r\n"), "a"},
    {BYTES(" \r\n"), ""},
    {BYTES(""), ""},
    {BYTES("a\rb\r\r\n c"), "a\rb\r c"},
};

START_TEST(test_header__unfolds)
{
    GString *out = g_string_new(NULL);
    header_unfold(out, unfoldings[_i].value, unfoldings[_i].length);
    ck_assert_str_eq(out->str, unfoldings[_i].unfolded);
    g_string_free(out, TRUE);
}
END_TEST

static const struct {
    const char *value;
    size_t length;
    const char *decoded;
} decodings[] = {
    {BYTES(" plain\r\n"), "plain"},
    {BYTES("=?utf-8?q?caf=C3=A9?="), "caf\xc3\xa9"},
    {BYTES("=?UTF-8?Q?a_b?= c"), "a b c"},
    {BYTES("=?iso-8859-1?Q?caf=E9?="), "caf\xc3\xa9"},
    {BYTES("=?utf-8*de?Q?x?="), "x"},
    {BYTES("=?utf-8?B?Y2Fmw6k=?="), "caf\xc3\xa9"},
    /* two words, each with padding */
    {BYTES("=?utf-8?B?YWI=?= =?utf-8?B?Y2Q=?="), "abcd"},
    {BYTES("=?utf-8?B?YWI=?=\r\n =?utf-8?B?Y2Q=?= e"), "abcd e"},
    /* a character split between two words */
    {BYTES("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?="), "caf\xc3\xa9"},
    {BYTES("=?utf-8?B?Y2Fmww==?= =?UTF-8?Q?=A9?="), "caf\xc3\xa9"},
    {BYTES("=?utf-8?Q?a?= =?iso-8859-1?Q?=E9?="), "a\xc3\xa9"},
    {BYTES("=?utf-8?Q?a?= b =?utf-8?Q?c?="), "a b c"},
    {BYTES("(=?utf-8?Q?a?=)"), "(a)"},
    {BYTES("=?utf-8?Q?=41?="), "A"},
    {BYTES("=?utf-8?Q?=4?="), "=4"},
    {BYTES("=?utf-8?Q?"
           "?="),
     ""},
    {BYTES("=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?="), "\xe6\x97\xa5\xe6\x9c\xac"},
    /* nobody's charset, and one that would be an option of iconv */
    {BYTES("=?x-no-such?Q?=E9?= z"), "=?x-no-such?Q?=E9?= z"},
    {BYTES("=?utf-16//IGNORE?Q?a?="), "=?utf-16//IGNORE?Q?a?="},
    {BYTES("=?utf-8?X?a?="), "=?utf-8?X?a?="},
    {BYTES("=?utf-8?Q?a"), "=?utf-8?Q?a"},
    {BYTES("=?=?utf-8?Q?a?="), "=?a"},
    {BYTES("=?utf-8?Q?=FF?="), "\xef\xbf\xbd"},
    {BYTES("raw \xe9 z"), "raw \xef\xbf\xbd z"},
    {BYTES("raw \xc3\xa9"), "raw \xc3\xa9"},
    {BYTES("a\0b"), "a\xef\xbf\xbd"
                    "b"},
};

START_TEST(test_header__decodes)
{
    GString *out = g_string_new(NULL);
    header_decode(out, decodings[_i].value, decodings[_i].length);
    ck_assert_str_eq(out->str, decodings[_i].decoded);
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_header__decodes_in_linear_time)
{
    GString *value = g_string_new(NULL);
    GString *out = g_string_new(NULL);
    for (int i = 0; i < 500000; i++) {
        g_string_append(value, i % 3 ? "=?" : "=?a?Q");
    }
    header_decode(out, value->str, value->len);
    ck_assert_str_eq(out->str, value->str);
    g_string_free(value, TRUE);
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_header__selects_from_a_million_fields)
{
    GString *block = g_string_new(NULL);
    GString *out = g_string_new(NULL);
    const char *wanted[500];
    for (int i = 0; i < 1000000; i++) {
        g_string_append(block, "X: y\r\n");
    }
    for (int i = 0; i < 500; i++) {
        wanted[i] = i == 499 ? "x" : "Subject";
    }
    header_fields_select(out, (const uint8_t *)block->str, block->len, wanted, 500, false);
    ck_assert_uint_eq(out->len, block->len + 2);
    g_string_free(block, TRUE);
    g_string_free(out, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("header");
    TCase *tc = tcase_create("header");
    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, test_header__finds_the_end_of_the_block, 0, G_N_ELEMENTS(blocks));
    tcase_add_loop_test(tc, test_header__iterates_fields, 0, G_N_ELEMENTS(fields));
    tcase_add_loop_test(tc, test_header__selects_fields, 0, G_N_ELEMENTS(selections));
    tcase_add_loop_test(tc, test_header__unfolds, 0, G_N_ELEMENTS(unfoldings));
    tcase_add_loop_test(tc, test_header__decodes, 0, G_N_ELEMENTS(decodings));
    tcase_add_test(tc, test_header__decodes_in_linear_time);
    tcase_add_test(tc, test_header__selects_from_a_million_fields);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
