#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/transfer_encoding.h"

#define OCTETS(text) (text), sizeof(text) - 1

static const struct {
    const char *name;
    enum transfer_encoding encoding;
} names[] = {
    {NULL, TRANSFER_IDENTITY},        {"7bit", TRANSFER_IDENTITY},
    {"8BIT", TRANSFER_IDENTITY},      {"Binary", TRANSFER_IDENTITY},
    {"base64", TRANSFER_BASE64},      {"Quoted-Printable", TRANSFER_QUOTED_PRINTABLE},
    {"x-uuencode", TRANSFER_UNKNOWN}, {"base6", TRANSFER_UNKNOWN},
    {"base64x", TRANSFER_UNKNOWN},    {"", TRANSFER_UNKNOWN},
};

START_TEST(test_transfer_encoding__knows_names)
{
    const char *name = names[_i].name;

    ck_assert_int_eq(transfer_encoding_parse(name, name != NULL ? strlen(name) : 0),
                     names[_i].encoding);
}
END_TEST

static const struct {
    enum transfer_encoding encoding;
    bool lines;
    const char *text;
    size_t length;
    const char *decoded;
    size_t decoded_length;
} cases[] = {
    {TRANSFER_IDENTITY, false, OCTETS("a\0\n\r\n=41"), OCTETS("a\0\n\r\n=41")},
    {TRANSFER_IDENTITY, true, OCTETS("a\n\nb\r\n\rc\r\r\n"), OCTETS("a\r\n\r\nb\r\n\rc\r\r\n")},
    {TRANSFER_IDENTITY, true, OCTETS("\nx"), OCTETS("\r\nx")},
    {TRANSFER_IDENTITY, false, OCTETS(""), OCTETS("")},
    {TRANSFER_UNKNOWN, false, OCTETS("as\nis"), OCTETS("as\nis")},

    {TRANSFER_BASE64, false, OCTETS(""), OCTETS("")},
    {TRANSFER_BASE64, false, OCTETS("Zm9vYmFy"), OCTETS("foobar")},
    {TRANSFER_BASE64, false, OCTETS("Zm9v\r\nYmE=\r\n"), OCTETS("fooba")},
    {TRANSFER_BASE64, false, OCTETS(" Z g = = "), OCTETS("f")},
    {TRANSFER_BASE64, false, OCTETS("+/+/AP//"), OCTETS("\xfb\xff\xbf\x00\xff\xff")},
    /* What is no digit is gone over (RFC 2045 6.8). */
    {TRANSFER_BASE64, false, OCTETS("Zm\0!9-v_"), OCTETS("foo")},
    /* "=" is the end, whatever follows. */
    {TRANSFER_BASE64, false, OCTETS("Zg==\r\n-- \r\nYour list"), OCTETS("f")},
    {TRANSFER_BASE64, false, OCTETS("=Zm9v"), OCTETS("")},
    /* Padding that is missing, and bits that make no octet. */
    {TRANSFER_BASE64, false, OCTETS("Zm9vYmE"), OCTETS("fooba")},
    {TRANSFER_BASE64, false, OCTETS("Zm9vYg"), OCTETS("foob")},
    {TRANSFER_BASE64, false, OCTETS("Zm9vY"), OCTETS("foo")},
    {TRANSFER_BASE64, false, OCTETS("Zm9vY="), OCTETS("foo")},
    {TRANSFER_BASE64, false, OCTETS("Zh=="), OCTETS("f")},
    /* Its octets are exact. */
    {TRANSFER_BASE64, true, OCTETS("YQpi"), OCTETS("a\nb")},

    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("plain\r\ntext"), OCTETS("plain\r\ntext")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("=41=3d=3D=00"), OCTETS("A==\0")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("=c3=BC=fF"), OCTETS("\xc3\xbc\xff")},
    /* Soft line breaks, also with blanks that a transport has put in, and at the very end. */
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a=\r\nb"), OCTETS("ab")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a=\nb"), OCTETS("ab")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a = \t \r\nb"), OCTETS("a b")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a="), OCTETS("a")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a= "), OCTETS("a")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a=\r"), OCTETS("a")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("=\r\n=\r\n"), OCTETS("")},
    /* Blanks at a line's end, and encoded ones. */
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a \t\r\n b\t\n c "), OCTETS("a\r\n b\n c")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a=20\r\n=09\r\n"), OCTETS("a \r\n\t\r\n")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a  =\r\nb"), OCTETS("a  b")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a \rb \r\r\n"), OCTETS("a \rb \r\r\n")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a \r"), OCTETS("a\r")},
    /* What is malformed stands for itself. */
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("=G1=4G=4"), OCTETS("=G1=4G=4")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("=4\r\n=4\nx"), OCTETS("=4\r\n=4\nx")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("==41=4=41"), OCTETS("=A=4A")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a= b=\tc"), OCTETS("a= b=\tc")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("a=\rb"), OCTETS("a=\rb")},
    {TRANSFER_QUOTED_PRINTABLE, false, OCTETS("\x01\x7f\xff\0"), OCTETS("\x01\x7f\xff\0")},
    {TRANSFER_QUOTED_PRINTABLE, true, OCTETS("a \nb=0A=0D=0Ac=0D\n"),
     OCTETS("a\r\nb\r\n\r\nc\r\n")},
};

/* Decodes in two pieces. */
static GByteArray *decode(enum transfer_encoding encoding, bool lines, const char *text,
                          size_t length, size_t split)
{
    GByteArray *out = g_byte_array_new();
    struct transfer_decoder decoder;

    transfer_decoder_init(&decoder, encoding, lines);
    transfer_decode(&decoder, out, (const uint8_t *)text, split);
    transfer_decode(&decoder, out, (const uint8_t *)text + split, length - split);
    transfer_decode_end(&decoder, out);
    return out;
}

START_TEST(test_transfer_encoding__decodes_wherever_it_is_split)
{
    for (size_t split = 0; split <= cases[_i].length; split++) {
        GByteArray *out =
            decode(cases[_i].encoding, cases[_i].lines, cases[_i].text, cases[_i].length, split);

        ck_assert_uint_eq(out->len, cases[_i].decoded_length);
        ck_assert_int_eq(
            memcmp(out->len > 0 ? (const char *)out->data : "", cases[_i].decoded, out->len), 0);
        g_byte_array_unref(out);
    }
}
END_TEST

START_TEST(test_transfer_encoding__decodes_octet_by_octet)
{
    GByteArray *out = g_byte_array_new();
    struct transfer_decoder decoder;

    transfer_decoder_init(&decoder, cases[_i].encoding, cases[_i].lines);
    for (size_t i = 0; i < cases[_i].length; i++)
        transfer_decode(&decoder, out, (const uint8_t *)cases[_i].text + i, 1);
    transfer_decode_end(&decoder, out);
    ck_assert_uint_eq(out->len, cases[_i].decoded_length);
    ck_assert_int_eq(
        memcmp(out->len > 0 ? (const char *)out->data : "", cases[_i].decoded, out->len), 0);
    g_byte_array_unref(out);
}
END_TEST

/* A run of blanks that no memory is taken for is text. */
START_TEST(test_transfer_encoding__keeps_more_blanks_than_may_wait)
{
    GString *text = g_string_new("a");

    for (size_t i = 0; i < TRANSFER_PENDING_MAX; i++)
        g_string_append_c(text, ' ');
    g_string_append(text, "\r\n");
    GByteArray *out = decode(TRANSFER_QUOTED_PRINTABLE, false, text->str, text->len, 1);
    ck_assert_uint_ge(out->len, TRANSFER_PENDING_MAX);
    g_byte_array_unref(out);
    g_string_erase(text, 1, 2);
    out = decode(TRANSFER_QUOTED_PRINTABLE, false, text->str, text->len, 1);
    ck_assert_uint_eq(out->len, 3);
    g_byte_array_unref(out);
    g_string_free(text, TRUE);
}
END_TEST

START_TEST(test_transfer_encoding__round_trips_base64)
{
    uint8_t octets[1000];

    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t length = 0; length <= sizeof octets; length += 37) {
        gchar *text = g_base64_encode(octets, length);
        GByteArray *out = decode(TRANSFER_BASE64, false, text, strlen(text), strlen(text) / 2);

        ck_assert_uint_eq(out->len, length);
        ck_assert_int_eq(memcmp(octets, length > 0 ? out->data : octets, length), 0);
        g_byte_array_unref(out);
        g_free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("transfer_encoding");
    TCase *tests = tcase_create("all");

    tcase_add_loop_test(tests, test_transfer_encoding__knows_names, 0, G_N_ELEMENTS(names));
    tcase_add_loop_test(tests, test_transfer_encoding__decodes_wherever_it_is_split, 0,
                        G_N_ELEMENTS(cases));
    tcase_add_loop_test(tests, test_transfer_encoding__decodes_octet_by_octet, 0,
                        G_N_ELEMENTS(cases));
    tcase_add_test(tests, test_transfer_encoding__keeps_more_blanks_than_may_wait);
    tcase_add_test(tests, test_transfer_encoding__round_trips_base64);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
