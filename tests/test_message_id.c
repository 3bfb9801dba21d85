#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/limits.h"
#include "protocol/message_id.h"

/* The Message IDs of a value, each with a blank behind. */
static char *ids_of(const char *value, size_t length)
{
    struct message_id_reader reader = {value, value + length, false};
    GString *id = g_string_new(NULL), *all = g_string_new(NULL);

    while (message_id_next(&reader, id))
        g_string_append_printf(all, "%s ", id->str);
    g_string_free(id, TRUE);
    return g_string_free(all, FALSE);
}

static const struct {
    const char *value;
    const char *ids;
} values[] = {
    {"", ""},
    {" <a@b>\r\n", "a@b "},
    {" <a@b> <c@d>\r\n\t<e@f>\r\n", "a@b c@d e@f "},
    {"<a@b><c@d>,<e@f>", "a@b c@d e@f "},
    /* RFC 5256 3 */
    {"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com "},
    {"<01KF8JCEOCBS0045PS@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com "},
    {"<\"a\\\"b\"@c>", "a\"b@c "},
    {"<\"a\\b\"@c>", "ab@c "},
    {"<\"a b\"@c>", "a b@c "},
    {"<\"a>b\"@c>", "a>b@c "},
    {"<\"a\".b.\"c\"@d>", "a.b.c@d "},
    {"< a (comment (in it) \\) <x@y>) . b @ c . d >", "a.b@c.d "},
    {"<a.very.long.one\r\n .that.is.folded@b>", "a.very.long.one.that.is.folded@b "},
    {"<A@b> <a@b> <a@B>", "A@b a@b a@B "},
    {"<a@[127.0.0.1]>", "a@[127.0.0.1] "},
    {"<a:b..c@d_e>", "a:b..c@d_e "},
    {"<a@b@c>", "a@b@c "},
    {"<j\xc3\xbcrgen@b>", "j\xc3\xbcrgen@b "},
    /* None. */
    {"a@b", ""},
    {"<ab>", ""},
    {"<@b>", ""},
    {"<a@>", ""},
    {"<>", ""},
    {"<a@b", ""},
    {"<\"a@b\">", ""},
    {"<ab> <c@d>", "c@d "},
    {"<a@b <c@d>", "c@d "},
    {"<a@<c@d>", "c@d "},
    {">a@b> <c@d>", "c@d "},
    /* Between them. */
    {"Your message of \"Mon, <a@b>\" <c@d>", "c@d "},
    {"(was <a@b>) <c@d> (and (<e@f>) <g@h>) <i@j>", "c@d i@j "},
    {"<a@b> Joe's message <c@d>", "a@b c@d "},
    /* Never closed. */
    {"Your message of \"Mon <a@b> <c@d>", "a@b c@d "},
    {"( <a@b> (x) <c@d>", "a@b c@d "},
    {"<a(b@c> <d@e>", "a(b@c d@e "},
    {"<a\"b@c> <d@e>", "ab@c d@e "},
    {"<a@b\\", ""},
    {"\"\\", ""},
};

START_TEST(test_message_id__has_one_form)
{
    char *ids = ids_of(values[_i].value, strlen(values[_i].value));

    ck_assert_str_eq(ids, values[_i].ids);
    g_free(ids);
}
END_TEST

START_TEST(test_message_id__is_read_no_further_than_there_is)
{
    for (size_t length = 0; length <= strlen(values[_i].value); length++) {
        char *cut = g_memdup2(values[_i].value, length);

        g_free(ids_of(cut != NULL ? cut : "", length));
        g_free(cut);
    }
}
END_TEST

START_TEST(test_message_id__is_bounded)
{
    for (size_t length = LIMIT_MESSAGE_ID - 1; length <= LIMIT_MESSAGE_ID + 1; length++) {
        char *left = g_strnfill(length - 2, 'x');
        char *value = g_strdup_printf("<%s@b> <c@d>", left);
        char *ids = ids_of(value, strlen(value));

        ck_assert_uint_eq(strlen(ids), length <= LIMIT_MESSAGE_ID ? length + 5 : 4);
        g_free(ids);
        g_free(value);
        g_free(left);
    }
}
END_TEST

START_TEST(test_message_id__is_quick_with_any_value)
{
    static const char *const pieces[] = {"<",    "(",  "<(", "\"", "<\"",
                                         "<a@b", "(<", "()", "\\", "<(a)"};

    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        GString *value = g_string_new(NULL);

        for (int j = 0; j < 300000; j++)
            g_string_append(value, pieces[i]);
        g_free(ids_of(value->str, value->len));
        g_string_free(value, TRUE);
    }
}
END_TEST

static const struct {
    const char *header;
    const char *record; /* NUL as '|' */
} headers[] = {
    {"", "|"},
    {"Subject: x\r\n\r\n", "|"},
    {"message-id: <a@b> <c@d>\r\n\r\n", "a@b|"},
    {"Message-ID: none\r\nReferences: <a@b>\r\n <c@d>\r\nIn-Reply-To: <e@f>\r\n\r\n", "|a@b|c@d|"},
    {"References: none\nIn-Reply-To: x <e@f> <g@h>\nMessage-Id: <i@j>\n\n", "i@j|e@f|"},
    {"References: \r\nIn-Reply-To: none\r\n\r\n", "|"},
    {"References: <a@b>\r\nReferences: <c@d>\r\nMessage-ID: <e@f>\r\nMessage-ID: <g@h>\r\n\r\n",
     "e@f|a@b|"},
    {"X-References: <a@b>\r\nMessage-ID2: <c@d>\r\n\r\n", "|"},
};

START_TEST(test_message_id__makes_a_record_of_a_header)
{
    GByteArray *record = g_byte_array_new();
    const char *header = headers[_i].header;

    message_id_record(record, (const uint8_t *)header, strlen(header));
    ck_assert_uint_eq(record->len, strlen(headers[_i].record));
    for (guint i = 0; i < record->len; i++)
        ck_assert_int_eq(record->data[i] == '\0' ? '|' : record->data[i], headers[_i].record[i]);
    g_byte_array_unref(record);
}
END_TEST

START_TEST(test_message_id__keeps_the_last_references)
{
    GString *header = g_string_new("References:");
    GByteArray *record = g_byte_array_new();
    size_t count = 0;

    for (int i = 0; i < LIMIT_REFERENCES + 7; i++)
        g_string_append_printf(header, " <%d@x>\r\n", i);
    message_id_record(record, (const uint8_t *)header->str, header->len);
    ck_assert_str_eq((const char *)record->data + 1, "7@x");
    for (guint i = 0; i < record->len; i++)
        count += record->data[i] == '\0';
    ck_assert_uint_eq(count, LIMIT_REFERENCES + 1);
    g_byte_array_unref(record);
    g_string_free(header, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message_id");
    TCase *cases = tcase_create("message_id");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(cases, test_message_id__has_one_form, 0, G_N_ELEMENTS(values));
    tcase_add_loop_test(cases, test_message_id__is_read_no_further_than_there_is, 0,
                        G_N_ELEMENTS(values));
    tcase_add_test(cases, test_message_id__is_bounded);
    tcase_add_test(cases, test_message_id__is_quick_with_any_value);
    tcase_add_loop_test(cases, test_message_id__makes_a_record_of_a_header, 0,
                        G_N_ELEMENTS(headers));
    tcase_add_test(cases, test_message_id__keeps_the_last_references);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
