/* The record: what is written is read, what is broken is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/structure_tree.h"

static GBytes *plain_record(const char *message)
{
    return structure_plain((const uint8_t *)message, strlen(message));
}

static const struct {
    const char *message;
    size_t header;
    const char *body;
} plains[] = {
    {"", 0, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)"},
    {"A: b\r\n\r\nx\r\ny", 8,
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1)"},
    {"A: b", 4, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)"},
    {"no header\n\nx", 0, "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 12)"},
};

START_TEST(test_structure__makes_plain_records)
{
    const char *message = plains[_i].message;
    GBytes *record = plain_record(message);
    struct structure *structure = structure_decode(record, strlen(message));
    ck_assert_ptr_nonnull(structure);
    g_bytes_unref(record);
    struct octet_range range;
    ck_assert(structure_section(structure, NULL, 0, SECTION_TEXT_HEADER, &range));
    ck_assert_uint_eq(range.start, 0);
    ck_assert_uint_eq(range.length, plains[_i].header);
    ck_assert(structure_section(structure, NULL, 0, SECTION_TEXT_TEXT, &range));
    ck_assert_uint_eq(range.start, plains[_i].header);
    ck_assert_uint_eq(range.length, strlen(message) - plains[_i].header);
    ck_assert(structure_section(structure, NULL, 0, SECTION_TEXT_NONE, &range));
    ck_assert_uint_eq(range.length, strlen(message));
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, false);
    ck_assert_str_eq(out->str, plains[_i].body);
    g_string_assign(out, "");
    structure_envelope(structure, out, false);
    ck_assert_str_eq(out->str, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    g_string_free(out, TRUE);
    structure_free(structure);
}
END_TEST

/* One of everything a record can hold. */
static GBytes *rich_record(void)
{
    struct structure *structure = structure_new();
    uint32_t root = structure_add_part(structure, 0, STRUCTURE_MULTIPART);
    uint32_t leaf = structure_add_part(structure, root, STRUCTURE_LEAF);
    uint32_t outer = structure_add_part(structure, root, STRUCTURE_MESSAGE);
    uint32_t inner = structure_add_part(structure, outer, STRUCTURE_LEAF);
    const struct structure_text text = structure_keep(structure, "v", 1);
    struct structure_parameter parameter = {text, structure_keep(structure, "\xc3\xa4", 2)};
    struct structure_address address = {.name = text, .mailbox = text, .host = text};
    static const char *const types[] = {"multipart/mixed", "image/png", "message/rfc822",
                                        "text/plain"};
    for (uint32_t i = root; i <= inner; i++) {
        struct structure_part *part = structure_part(structure, i);
        part->type = structure_keep(structure, types[i], strlen(types[i]));
        part->header = (struct octet_range){i, i};
        part->body = (struct octet_range){2 * i, 300};
        part->lines = 1000 * i;
    }
    struct structure_part *part = structure_part(structure, leaf);
    part->encoding = part->id = part->description = part->md5 = text;
    part->disposition = part->location = text;
    part->parameters = (struct structure_span){0, 1};
    part->disposition_parameters = (struct structure_span){1, 1};
    part->languages = (struct structure_span){0, 1};
    g_array_append_val(structure->parameters, parameter);
    g_array_append_val(structure->parameters, parameter);
    g_array_append_val(structure->languages, text);
    g_array_append_val(structure->addresses, address);
    struct structure_message *message =
        &g_array_index(structure->messages, struct structure_message, 1);
    message->fields[ENVELOPE_SUBJECT] = text;
    message->addresses[ENVELOPE_FROM] = (struct structure_span){0, 1};
    GBytes *record = structure_encode(structure, 1000);
    structure_free(structure);
    return record;
}

START_TEST(test_structure__round_trips_all_fields)
{
    GBytes *record = rich_record();
    struct structure *structure = structure_decode(record, 1000);
    ck_assert_ptr_nonnull(structure);
    GString *out = g_string_new(NULL);
    structure_body(structure, out, true, true);
    ck_assert_str_eq(
        out->str,
        "((\"image\" \"png\" (\"v\" \"\xc3\xa4\") \"v\" \"v\" \"v\" 300 \"v\""
        " (\"v\" (\"v\" \"\xc3\xa4\")) (\"v\") \"v\")"
        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 300 (NIL \"v\" ((\"v\" NIL \"v\" \"v\"))"
        " ((\"v\" NIL \"v\" \"v\")) ((\"v\" NIL \"v\" \"v\")) NIL NIL NIL NIL NIL)"
        " (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 300 3000 NIL NIL NIL NIL)"
        " 2000 NIL NIL NIL NIL) \"mixed\" NIL NIL NIL NIL)");
    GBytes *again = structure_encode(structure, 1000);
    ck_assert(g_bytes_equal(record, again));
    g_bytes_unref(again);
    g_string_free(out, TRUE);
    structure_free(structure);
    g_bytes_unref(record);
}
END_TEST

START_TEST(test_structure__refuses_another_message_length)
{
    GBytes *record = rich_record();
    ck_assert_ptr_null(structure_decode(record, 999));
    ck_assert_ptr_null(structure_decode(record, 1001));
    g_bytes_unref(record);
}
END_TEST

START_TEST(test_structure__refuses_what_is_cut_or_too_long)
{
    GBytes *record = rich_record();
    size_t size = g_bytes_get_size(record);
    for (size_t length = 0; length < size; length++) {
        GBytes *cut = g_bytes_new(g_bytes_get_data(record, NULL), length);
        ck_assert_ptr_null(structure_decode(cut, 1000));
        g_bytes_unref(cut);
    }
    GByteArray *longer = g_byte_array_new();
    g_byte_array_append(longer, g_bytes_get_data(record, NULL), (guint)size);
    g_byte_array_append(longer, (const guint8 *)"", 1);
    GBytes *bytes = g_byte_array_free_to_bytes(longer);
    ck_assert_ptr_null(structure_decode(bytes, 1000));
    g_bytes_unref(bytes);
    g_bytes_unref(record);
}
END_TEST

/* What a decoder lets pass must be safe to use. */
START_TEST(test_structure__survives_any_changed_octet)
{
    GBytes *record = rich_record();
    size_t size = g_bytes_get_size(record);
    GString *out = g_string_new(NULL);
    int accepted = 0;
    for (size_t at = 0; at < size * 256; at++) {
        uint8_t *data = g_memdup2(g_bytes_get_data(record, NULL), size);
        data[at / 256] = (uint8_t)at;
        GBytes *changed = g_bytes_new_take(data, size);
        struct structure *structure = structure_decode(changed, 1000);
        g_bytes_unref(changed);
        if (structure != NULL) {
            accepted++;
            g_string_truncate(out, 0);
            structure_body(structure, out, false, true);
            structure_envelope(structure, out, false);
            for (uint32_t n = 0; n < 5; n++) {
                const uint32_t parts[] = {n, 1};
                struct octet_range range;
                if (structure_section(structure, parts, 2, SECTION_TEXT_NONE, &range)) {
                    ck_assert_uint_le(range.start + range.length, 1000);
                }
            }
        }
        structure_free(structure);
    }
    ck_assert_int_gt(accepted, 256);
    g_string_free(out, TRUE);
    g_bytes_unref(record);
}
END_TEST

START_TEST(test_structure__refuses_other_versions)
{
    GBytes *record = plain_record("");
    size_t size = g_bytes_get_size(record);
    uint8_t *data = g_memdup2(g_bytes_get_data(record, NULL), size);
    data[4]++;
    GBytes *changed = g_bytes_new_take(data, size);
    ck_assert_ptr_null(structure_decode(changed, 0));
    g_bytes_unref(changed);
    g_bytes_unref(record);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("structure");
    TCase *tc = tcase_create("structure");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, test_structure__makes_plain_records, 0, G_N_ELEMENTS(plains));
    tcase_add_test(tc, test_structure__round_trips_all_fields);
    tcase_add_test(tc, test_structure__refuses_another_message_length);
    tcase_add_test(tc, test_structure__refuses_what_is_cut_or_too_long);
    tcase_add_test(tc, test_structure__survives_any_changed_octet);
    tcase_add_test(tc, test_structure__refuses_other_versions);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
