/* What is decoded here is what the library makes of it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mime.h"
#include "protocol/mime_parse.h"
#include "protocol/plain_text.h"

#define CORPUS   SCRIPT_DIRECTORY "/../corpus/mime"
#define TEXT_MAX (16 * 1024 * 1024)

/* The text that is had without the library, or NULL. */
static GString *decode(const char *message, size_t length, bool header, bool body)
{
    struct structure *structure =
        mime_parse((const uint8_t *)message, length, false, &mime_bounds_small);
    GString *out = g_string_new(NULL);

    ck_assert_ptr_nonnull(structure);
    bool done = plain_text(out, (const uint8_t *)message, length, structure, header, body);
    structure_free(structure);
    if (!done) {
        g_string_free(out, TRUE);
        return NULL;
    }
    return out;
}

/* True if the text was had; then it has been compared. */
static bool agrees(const char *message, size_t length, bool header, bool body)
{
    GString *here = decode(message, length, header, body);

    if (here == NULL) {
        return false;
    }
    GBytes *there = mime_text((const uint8_t *)message, length, header, body, TEXT_MAX);
    gsize size;
    const char *expected = g_bytes_get_data(there, &size);
    ck_assert_msg(here->len == size && memcmp(here->str, expected, size) == 0, "%.*s: %s",
                  (int)MIN(length, 500), message, here->str);
    g_bytes_unref(there);
    g_string_free(here, TRUE);
    return true;
}

START_TEST(test_plain_text__agrees_on_the_corpus)
{
    GDir *directory = g_dir_open(CORPUS, 0, NULL);
    const char *name;
    unsigned had = 0;

    ck_assert_ptr_nonnull(directory);
    while ((name = g_dir_read_name(directory)) != NULL) {
        char *path = g_build_filename(CORPUS, name, NULL);
        char *message;
        size_t length;

        ck_assert(g_file_get_contents(path, &message, &length, NULL));
        had += agrees(message, length, true, false);
        had += agrees(message, length, false, true);
        had += agrees(message, length, true, true);
        g_free(message);
        g_free(path);
    }
    ck_assert_uint_gt(had, 10);
    g_dir_close(directory);
}
END_TEST

static const struct {
    const char *header;
    const char *body;
    const char *text; /* NULL: left to the library */
} bodies[] = {
    {"", "plain\r\ntext", "plain\r\ntext\n"},
    {"", "j\xc3\xbcrgen", "j\xc3\xbcrgen\n"},
    {"", "broken \xff", NULL},
    {"Content-Type: text/plain; charset=iso-8859-1\r\n", "ascii", "ascii\n"},
    {"Content-Type: text/plain; charset=iso-8859-1\r\n", "j\xfcrgen", NULL},
    {"Content-Type: text/plain; charset=iso-8859-1\r\n", "j\xc3\xbcrgen", NULL},
    {"Content-Type: text/plain; charset=utf-16\r\n", "ascii", NULL},
    {"Content-Type: text/plain; charset=utf-7\r\n", "a+AOQ-", NULL},
    {"Content-Type: text/plain; charset=\"no/name\"\r\n", "ascii", NULL},
    {"Content-Type: image/png\r\n", "no text", ""},
    {"Content-Transfer-Encoding: 8BIT\r\n", "same", "same\n"},
    {"Content-Transfer-Encoding: x-uuencode\r\n", "begin", NULL},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "a=3Db =C3=BC=\r\nc=\nd\r\n",
     "a=b \xc3\xbc"
     "cd\r\n\n"},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "a=3", NULL},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "a=", NULL},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "a=xyz", NULL},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "a= \r\nb", NULL},
    {"Content-Transfer-Encoding: quoted-printable\r\n", "=FF", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "YWJj\r\nZGVm\r\n", "abcdef\n"},
    {"Content-Transfer-Encoding: base64\r\n", "YWI=\r\n", "ab\n"},
    {"Content-Transfer-Encoding: base64\r\n", "YQ==", "a\n"},
    {"Content-Transfer-Encoding: base64\r\n", "Y\r\nQ=\r\n=", "a\n"},
    {"Content-Transfer-Encoding: base64\r\n", "", "\n"},
    {"Content-Transfer-Encoding: base64\r\n", "YQ=", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "YQ", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "Y===", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "YQ==YQ==", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "YW*j", NULL},
    {"Content-Transfer-Encoding: base64\r\n", "/////w==", NULL},
};

START_TEST(test_plain_text__decodes_or_leaves_it)
{
    char *message = g_strdup_printf("%s\r\n%s", bodies[_i].header, bodies[_i].body);
    GString *text = decode(message, strlen(message), false, true);

    if (bodies[_i].text == NULL) {
        ck_assert_msg(text == NULL, "%s", text == NULL ? "" : text->str);
    } else {
        ck_assert_ptr_nonnull(text);
        ck_assert_str_eq(text->str, bodies[_i].text);
        g_string_free(text, TRUE);
        ck_assert(agrees(message, strlen(message), false, true));
    }
    g_free(message);
}
END_TEST

/* Random octets, encoded by the book, come back; damaged ones agree or are left. */
START_TEST(test_plain_text__agrees_on_random_bodies)
{
    uint32_t seed = (uint32_t)_i + 1;

    for (int round = 0; round < 3000; round++) {
        GString *message = g_string_new("Content-Transfer-Encoding: ");
        char *octets = g_malloc(301);
        seed = seed * 1664525 + 1013904223;
        size_t length = (seed >> 8) % 300;
        bool base64 = (seed >> 30) % 2 == 0;

        for (size_t i = 0; i < length; i++) {
            seed = seed * 1664525 + 1013904223;
            octets[i] = (char)(' ' + (seed >> 16) % 90);
        }
        g_string_append(message, base64 ? "base64\r\n\r\n" : "quoted-printable\r\n\r\n");
        size_t start = message->len;
        if (base64) {
            char *encoded = g_base64_encode((const guchar *)octets, length);
            g_string_append(message, encoded);
            g_free(encoded);
        }
        for (size_t i = 0; i < length && !base64; i++) {
            if (octets[i] == '=' || i % 7 == 0) {
                g_string_append_printf(message, "=%02X", (unsigned char)octets[i]);
            } else {
                g_string_append_c(message, octets[i]);
            }
            g_string_append(message, i % 60 == 59 ? "=\r\n" : "");
        }
        ck_assert(agrees(message->str, message->len, false, true));
        if (message->len > start) {
            seed = seed * 1664525 + 1013904223;
            message->str[start + (seed >> 8) % (message->len - start)] = (char)(seed >> 24 & 0x7f);
            agrees(message->str, message->len, false, true);
        }
        g_free(octets);
        g_string_free(message, TRUE);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plain_text");
    TCase *tests = tcase_create("plain_text");

    mime_init();
    tcase_add_test(tests, test_plain_text__agrees_on_the_corpus);
    tcase_add_loop_test(tests, test_plain_text__decodes_or_leaves_it, 0, G_N_ELEMENTS(bodies));
    tcase_add_loop_test(tests, test_plain_text__agrees_on_random_bodies, 0, 3);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
