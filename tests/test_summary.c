/* The kept record answers as the structure it was made from does. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mime.h"
#include "protocol/mime_parse.h"
#include "protocol/summary.h"
#include "protocol/text_match.h"

#define CORPUS SCRIPT_DIRECTORY "/../corpus/mime"

static const char simple[] = "From: a (x) @ example.org\r\n"
                             "Subject: =?utf-8?q?J=C3=BCrgen?=\r\n"
                             "Date: Mon, 4 Mar 2024 23:30:00 -0500\r\n"
                             "To:\r\n"
                             "\r\nhello\r\n";
static const char raw_utf8[] = "Subject: J\xc3\xbcrgen\r\n\r\nhello\r\n";

static GByteArray *write_record(const char *message, size_t length)
{
    GByteArray *record = g_byte_array_new();
    struct structure *structure =
        mime_parse((const uint8_t *)message, length, false, &mime_bounds_small);

    ck_assert_ptr_nonnull(structure);
    summary_write(record, structure, length);
    structure_free(structure);
    return record;
}

static bool is_text(struct summary_text text, const char *expected)
{
    return text.data != NULL && text.length == strlen(expected) &&
           memcmp(text.data, expected, text.length) == 0;
}

START_TEST(test_summary__keeps_what_search_looks_at_folded)
{
    GByteArray *record = write_record(simple, sizeof simple - 1);
    struct summary summary;

    ck_assert(summary_read(&summary, record->data, record->len, sizeof simple - 1));
    ck_assert(is_text(summary.fields[ENVELOPE_SUBJECT], "JU\xcc\x88RGEN"));
    ck_assert(is_text(summary.fields[ENVELOPE_FROM], "A (X) @ EXAMPLE.ORG\nA@EXAMPLE.ORG"));
    ck_assert(is_text(summary.fields[ENVELOPE_TO], ""));
    ck_assert_ptr_null(summary.fields[ENVELOPE_CC].data);
    ck_assert(summary.has_sent);
    ck_assert_int_eq(summary.sent, 19786); /* 4 March where it was written */
    ck_assert(summary.for_utf8);
    g_byte_array_unref(record);
}
END_TEST

START_TEST(test_summary__knows_answers_that_depend_on_the_client)
{
    GByteArray *record = write_record(raw_utf8, sizeof raw_utf8 - 1);
    struct summary summary;

    ck_assert(summary_read(&summary, record->data, record->len, sizeof raw_utf8 - 1));
    ck_assert(!summary.for_utf8);
    ck_assert(!summary.has_sent);
    GBytes *bytes = g_bytes_new_static(summary.structure.data, summary.structure.length);
    struct structure *structure = structure_decode(bytes, sizeof raw_utf8 - 1);
    GString *out = g_string_new(NULL);
    structure_envelope(structure, out, true);
    ck_assert_ptr_nonnull(strstr(out->str, "\"J\xc3\xbcrgen\""));
    g_string_free(out, TRUE);
    structure_free(structure);
    g_bytes_unref(bytes);
    g_byte_array_unref(record);
}
END_TEST

static void check_answers(const struct summary *summary, const struct structure *structure,
                          size_t length)
{
    GBytes *bytes = g_bytes_new_static(summary->structure.data, summary->structure.length);
    struct structure *decoded = structure_decode(bytes, length);
    GString *wanted = g_string_new(NULL);
    GString *got = g_string_new(NULL);

    ck_assert_ptr_nonnull(decoded);
    structure_envelope(structure, wanted, false);
    ck_assert(is_text(summary->envelope, wanted->str));
    g_string_truncate(wanted, 0);
    structure_body(structure, wanted, false, true);
    ck_assert(is_text(summary->bodystructure, wanted->str));
    structure_body(decoded, got, false, true);
    ck_assert_str_eq(got->str, wanted->str);
    if (!summary->for_utf8) {
        g_string_truncate(wanted, 0);
        g_string_truncate(got, 0);
        structure_envelope(structure, wanted, true);
        structure_envelope(decoded, got, true);
        ck_assert_str_eq(got->str, wanted->str);
    }
    g_string_free(got, TRUE);
    g_string_free(wanted, TRUE);
    structure_free(decoded);
    g_bytes_unref(bytes);
}

/* Also: what is parsed here is what the confined process would have made of it. */
START_TEST(test_summary__says_of_the_corpus_what_its_structure_says)
{
    GDir *directory = g_dir_open(CORPUS, 0, NULL);
    const char *name;
    unsigned files = 0;

    ck_assert_ptr_nonnull(directory);
    while ((name = g_dir_read_name(directory)) != NULL) {
        char *path = g_build_filename(CORPUS, name, NULL);
        char *message;
        size_t length;

        ck_assert(g_file_get_contents(path, &message, &length, NULL));
        struct structure *structure =
            mime_parse((const uint8_t *)message, length, false, &mime_bounds_small);
        ck_assert_ptr_nonnull(structure);
        GBytes *here = structure_encode(structure, length);
        GBytes *there = mime_structure((const uint8_t *)message, length);
        ck_assert_msg(g_bytes_equal(here, there), "%s", name);
        GByteArray *record = g_byte_array_new();
        struct summary summary;
        summary_write(record, structure, length);
        ck_assert(summary_read(&summary, record->data, record->len, length));
        check_answers(&summary, structure, length);
        g_byte_array_unref(record);
        g_bytes_unref(there);
        g_bytes_unref(here);
        structure_free(structure);
        g_free(message);
        g_free(path);
        files++;
    }
    ck_assert_uint_gt(files, 10);
    g_dir_close(directory);
}
END_TEST

START_TEST(test_summary__refuses_what_is_malformed)
{
    GByteArray *record = write_record(simple, sizeof simple - 1);
    struct summary summary;

    ck_assert(!summary_read(&summary, record->data, record->len, sizeof simple));
    for (size_t length = 0; length < record->len; length++) {
        uint8_t *cut = g_memdup2(record->data, length); /* exactly so long, for the sanitizer */
        ck_assert(!summary_read(&summary, cut, length, sizeof simple - 1));
        g_free(cut);
    }
    for (size_t i = 0; i < 5; i++) {
        record->data[i] ^= 1;
        ck_assert(!summary_read(&summary, record->data, record->len, sizeof simple - 1));
        record->data[i] ^= 1;
    }
    for (size_t i = 20; i < 72; i++) {
        record->data[i] ^= 0x80;
        ck_assert(!summary_read(&summary, record->data, record->len, sizeof simple - 1));
        record->data[i] ^= 0x80;
    }
    g_byte_array_append(record, (const guint8 *)"x", 1);
    ck_assert(!summary_read(&summary, record->data, record->len, sizeof simple - 1));
    g_byte_array_unref(record);
}
END_TEST

static const struct {
    size_t body;
    size_t fields;
    size_t field;
    size_t parts;
    bool small;
} sizes[] = {
    {1000, 1, 10, 1, true},   {1100 * 1024, 1, 10, 1, false}, {10, 990, 10, 1, true},
    {10, 1100, 10, 1, false}, {10, 1, 60 * 1024, 1, true},    {10, 1, 70 * 1024, 1, false},
    {10, 1, 10, 90, true},    {10, 1, 10, 110, false},
};

/* Messages that may cost much are left to the confined process. */
START_TEST(test_summary__parses_here_only_what_is_small)
{
    GString *message = g_string_new("Content-Type: multipart/mixed; boundary=b\r\n");

    for (size_t i = 0; i < sizes[_i].fields; i++) {
        g_string_append(message, "X: ");
        for (size_t k = 0; k < sizes[_i].field; k++) {
            g_string_append_c(message, 'x');
        }
        g_string_append(message, "\r\n");
    }
    for (size_t i = 0; i < sizes[_i].parts; i++) {
        g_string_append(message, "\r\n--b\r\n\r\nx");
    }
    while (message->len < sizes[_i].body) {
        g_string_append(message, "\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    }
    struct structure *structure =
        mime_parse((const uint8_t *)message->str, message->len, false, &mime_bounds_small);
    ck_assert_int_eq(structure != NULL, sizes[_i].small);
    structure_free(structure);
    structure = mime_parse((const uint8_t *)message->str, message->len, false, &mime_bounds_all);
    ck_assert_ptr_nonnull(structure);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("summary");
    TCase *tests = tcase_create("summary");

    mime_init();
    tcase_add_test(tests, test_summary__keeps_what_search_looks_at_folded);
    tcase_add_test(tests, test_summary__knows_answers_that_depend_on_the_client);
    tcase_add_test(tests, test_summary__says_of_the_corpus_what_its_structure_says);
    tcase_add_test(tests, test_summary__refuses_what_is_malformed);
    tcase_add_loop_test(tests, test_summary__parses_here_only_what_is_small, 0,
                        G_N_ELEMENTS(sizes));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
