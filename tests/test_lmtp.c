#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/lmtp.h"
#include "tests/lmtp_trace.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *input;
    size_t length;
    const char *trace;
} cases[] = {
    {BYTES("LHLO client.example.org\r\n"), "LHLO <client.example.org>\n"},
    {BYTES("lhlo [192.0.2.1] \r\n"), "LHLO <[192.0.2.1]>\n"},
    {BYTES("LHLO\r\n"), "LHLO bad-syntax\n"},
    {BYTES("LHLO a b\r\n"), "LHLO bad-syntax\n"},
    {BYTES("LHLO a(b\r\n"), "LHLO bad-syntax\n"},
    {BYTES("EHLO x\r\nHELO x\r\n"), "HELLO\nHELLO\n"},
    {BYTES("MAIL FROM:<a@example.org>\r\n"), "MAIL <a@example.org> local=a host=example.org\n"},
    {BYTES("MAIL FROM:<>\r\n"), "MAIL <> local=\n"},
    {BYTES("mail from: <a@b> size=12 body=8bitmime smtputf8\r\n"),
     "MAIL <a@b> local=a host=b size=12 smtputf8\n"},
    {BYTES("MAIL FROM:<a@b> BODY=7BIT\r\n"), "MAIL <a@b> local=a host=b\n"},
    {BYTES("MAIL FROM:<a@b> BODY=BINARYMIME\r\n"), "MAIL bad-value\n"},
    {BYTES("MAIL FROM:<a@b> SIZE=\r\n"), "MAIL bad-value\n"},
    {BYTES("MAIL FROM:<a@b> SIZE=1 SIZE=1\r\n"), "MAIL bad-parameter\n"},
    {BYTES("MAIL FROM:<a@b> RET=FULL\r\n"), "MAIL bad-parameter\n"},
    {BYTES("MAIL FROM:<a@b> SMTPUTF8=1\r\n"), "MAIL bad-parameter\n"},
    {BYTES("MAIL FROM:<a@b> SIZE=99999999999999999999\r\n"),
     "MAIL <a@b> local=a host=b size=18446744073709551615\n"},
    {BYTES("MAIL FROM:<a@b> SIZE=999999999999999999999\r\n"), "MAIL bad-value\n"},
    {BYTES("MAIL FROM:a@b\r\n"), "MAIL bad-path\n"},
    {BYTES("MAIL FROM:<a@b>x\r\n"), "MAIL bad-path\n"},
    {BYTES("MAIL FROM:<a@>\r\n"), "MAIL bad-path\n"},
    {BYTES("MAIL FROM:<a b@c>\r\n"), "MAIL bad-path\n"},
    {BYTES("MAIL\r\n"), "MAIL bad-syntax\n"},
    {BYTES("MAIL TO:<a@b>\r\n"), "MAIL bad-syntax\n"},
    {BYTES("RCPT TO:<alice>\r\n"), "RCPT <alice> local=alice\n"},
    {BYTES("RCPT TO:<@x,@y:alice+a.b@z>\r\n"), "RCPT <alice+a.b@z> local=alice+a.b host=z\n"},
    {BYTES("RCPT TO:<\"a \\\"b\"@c>\r\n"), "RCPT <\"a \\\"b\"@c> local=a \"b host=c\n"},
    {BYTES("RCPT TO:<\"a\tb\"@c>\r\n"), "RCPT bad-path\n"},
    {BYTES("RCPT TO:<\"a@c>\r\n"), "RCPT bad-path\n"},
    {BYTES("RCPT TO:<j\xc3\xb6rg@b\xc3\xbc.de>\r\n"),
     "RCPT <j\xc3\xb6rg@b\xc3\xbc.de> local=j\xc3\xb6rg host=b\xc3\xbc.de utf8\n"},
    {BYTES("RCPT TO:<j\xf6rg@b>\r\n"), "RCPT bad-path\n"},
    {BYTES("RCPT TO:<>\r\n"), "RCPT bad-path\n"},
    {BYTES("RCPT TO:<a@b> NOTIFY=NEVER\r\n"), "RCPT bad-parameter\n"},
    {BYTES("RSET\r\nNOOP\r\nNOOP x\r\nQUIT\r\nHELP\r\n"), "RSET\nNOOP\nNOOP\nQUIT\nHELP\n"},
    {BYTES("RSET x\r\nVRFY\r\nVRFY a\r\nFOO\r\n\r\n"),
     "RSET bad-syntax\nVRFY bad-syntax\nVRFY\n?\n?\n"},
    /* What is no CR LF ends no line. */
    {BYTES("NOOP\nQUIT\r\nRSET\r\n"), "? bad-line\nRSET\n"},
    {BYTES("NOOP\rQUIT\r\nRSET\r\n"), "? bad-line\nRSET\n"},
    {BYTES("NOOP\r\r\nRSET\r\n"), "? bad-line\nRSET\n"},
    {BYTES("MAIL FROM:<a@b>\0\r\n"), "MAIL bad-line\n"},
    /* Messages. */
    {BYTES("DATA\r\n.\r\nQUIT\r\n"), "DATA\n[]\nQUIT\n"},
    {BYTES("DATA\r\na\r\n.\r\nQUIT\r\n"), "DATA\n[a\\r\\n]\nQUIT\n"},
    {BYTES("DATA\r\n..\r\n...\r\n.a\r\n.\r\n"), "DATA\n[.\\r\\n..\\r\\na\\r\\n]\n"},
    {BYTES("DATA\r\na\n.\nb\n.\r\nc\r.\rd\r.\r\n.\r\n"),
     "DATA\n[a\\n.\\nb\\n.\\r\\nc\\r.\\rd\\r.\\r\\n]\n"},
    {BYTES("DATA\r\na\r\n.\nb\r\n.\rc\r\n.\r\r\n\r\n.\r\n"),
     "DATA\n[a\\r\\n\\nb\\r\\n\\rc\\r\\n\\r\\r\\n\\r\\n]\n"},
    {BYTES("DATA\r\na\r\r\n.\r\n"), "DATA\n[a\\r\\r\\n]\n"},
    {BYTES("DATA\r\n\r\r\r\n\n\r\n.\r\n"), "DATA\n[\\r\\r\\r\\n\\n\\r\\n]\n"},
    {BYTES("DATA\r\n\0\xff\r\n.\r\n"), "DATA\n[\\00\\ff\\r\\n]\n"},
    {BYTES("DATA\r\nno end\r\n"), "DATA\nno end\\r\\n...\n"},
    {BYTES("BDAT 4\r\n\r\n.\rBDAT 0\r\nBDAT 2 LAST\r\nabNOOP\r\n"),
     "BDAT size=4\n[\\r\\n.\\r]\nBDAT size=0\n[]\nBDAT size=2 last\n[ab]\nNOOP\n"},
    {BYTES("BDAT\r\nBDAT x\r\nBDAT 1 FIRST\r\nBDAT 1 LAST x\r\nBDAT -1\r\n"),
     "BDAT bad-syntax\nBDAT bad-syntax\nBDAT bad-syntax\nBDAT bad-syntax\nBDAT bad-syntax\n"},
};

START_TEST(test_lmtp__commands_and_messages_however_they_are_cut)
{
    const char *input = cases[_i].input;
    size_t length = cases[_i].length;
    char *whole = lmtp_trace(input, length, 0, 0);
    char *octets = lmtp_trace(input, length, 0, 1);

    ck_assert_str_eq(whole, cases[_i].trace);
    ck_assert_str_eq(octets, cases[_i].trace);
    for (size_t split = 1; split < length; split++) {
        char *cut = lmtp_trace(input, length, split, 0);

        ck_assert_str_eq(cut, cases[_i].trace);
        g_free(cut);
    }
    g_free(whole);
    g_free(octets);
}
END_TEST

START_TEST(test_lmtp__a_line_has_a_limit)
{
    GString *input = g_string_new("NOOP ");
    char *trace;

    while (input->len + 2 < LMTP_LINE_MAX)
        g_string_append_c(input, 'x');
    g_string_append(input, "\r\n");
    trace = lmtp_trace(input->str, input->len, 0, 0);
    ck_assert_str_eq(trace, "NOOP\n");
    g_free(trace);
    g_string_insert_c(input, 5, 'x');
    g_string_append(input, "RSET\r\n");
    trace = lmtp_trace(input->str, input->len, 0, 0);
    ck_assert_str_eq(trace, "NOOP long-line\nRSET\n");
    g_free(trace);
    g_string_free(input, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lmtp");
    TCase *tcase = tcase_create("lmtp");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, test_lmtp__commands_and_messages_however_they_are_cut, 0,
                        (int)G_N_ELEMENTS(cases));
    tcase_add_test(tcase, test_lmtp__a_line_has_a_limit);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
