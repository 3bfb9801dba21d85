/* Messages of many shapes: their BODYSTRUCTURE, ENVELOPE and sections. */
#include <stdlib.h>

#include "protocol/limits.h"
#include "tests/mime_helper.h"

#define PLAIN(size, lines)                                                              \
    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" " #size " " #lines \
    " NIL NIL NIL NIL)"
#define NO_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

static const struct {
    const char *message;
    const char *structure;
} structures[] = {
    {"", PLAIN(0, 0)},
    {"\nbody\n", PLAIN(6, 1)},
    {"Subject: x\n", PLAIN(0, 0)},
    {"Subject: x\n\na\nb", PLAIN(4, 1)},
    {"Content-Type: text\n\na", PLAIN(1, 0)},
    {"Content-Type: text/\n\na", PLAIN(1, 0)},
    {"Content-Type: ;;\n\na", PLAIN(1, 0)},
    {"Content-Type: Text/HTML; charset=UTF-8; format=\"f\\\"l\"\n"
     "Content-Transfer-Encoding: Quoted-Printable (so)\nContent-ID: <a@b>\n"
     "Content-Description: some\n thing\nContent-MD5: Q2hlY2s=\n"
     "Content-Disposition: attachment; filename=\"a b.html\"; size=3\n"
     "Content-Language: en, de\nContent-Location: http://x/y\n\na",
     "(\"Text\" \"HTML\" (\"charset\" \"UTF-8\" \"format\" \"f\\\"l\") \"<a@b>\" \"some thing\""
     " \"Quoted-Printable\" 1 0 \"Q2hlY2s=\""
     " (\"attachment\" (\"filename\" \"a b.html\" \"size\" \"3\")) (\"en\" \"de\") "
     "\"http://x/y\")"},
    {"Content-Type: application/x; name*0*=utf-8''a%20; name*1=b;; =z; q; x = \"y\n z\" junk; "
     "u=v(c)\n"
     "Content-Disposition: inline\n\na",
     "(\"application\" \"x\" (\"name*0*\" \"utf-8''a%20\" \"name*1\" \"b\" \"x\" \"y z\" \"u\" "
     "\"v\")"
     " NIL NIL \"7bit\" 1 NIL (\"inline\" NIL) NIL NIL)"},
    {"Content-Type: text/plain; charset*=us-ascii'en'utf-8\n\n",
     "(\"text\" \"plain\" (\"charset*\" \"us-ascii'en'utf-8\") NIL NIL \"7bit\" 0 0"
     " NIL NIL NIL NIL)"},
    /* the boundary runs over a fold; padding after delimiters; preamble and epilogue */
    {"Content-Type: multipart/mixed; boundary=\"foo\n bar\"\n\npre\n--foo bar  \n\na\n"
     "--foo bar\n\nbc\n\n--foo bar-- \nepilogue\n",
     "(" PLAIN(1, 0) PLAIN(4, 1) " \"mixed\" (\"boundary\" \"foo bar\") NIL NIL NIL)"},
    /* no closing delimiter */
    {"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb\n",
     "(" PLAIN(1, 0) PLAIN(3, 1) " \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)"},
    /* no part at all */
    {"Content-Type: multipart/mixed; boundary=x\n\npreamble\n",
     "(" PLAIN(0, 0) " \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)"},
    {"Content-Type: multipart/mixed; boundary=x\n\n--x--\n",
     "(" PLAIN(0, 0) " \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)"},
    {"Content-Type: multipart/mixed; boundary=x",
     "(" PLAIN(0, 0) " \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)"},
    /* no boundary */
    {"Content-Type: multipart/mixed\n\na\n", PLAIN(3, 1)},
    {"Content-Type: multipart/mixed; boundary=\"\"\n\na\n", PLAIN(3, 1)},
    /* parts without header, without body, cut off in the header */
    {"Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x\nX: y\n--x\n\n\n--x\nX: z",
     "(" PLAIN(0, 0) PLAIN(0, 0) PLAIN(0, 0) PLAIN(0, 0)
         PLAIN(0, 0) " \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)"},
    /* an inner boundary that is the beginning of the outer one, and the other way round */
    {"Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/alternative; "
     "boundary=a\n\n--a\n\nx\n--a--\n--ab\n\ny\n--ab--\n",
     "((" PLAIN(1, 0) " \"alternative\" (\"boundary\" \"a\") NIL NIL NIL)" PLAIN(
         1, 0) " \"mixed\" (\"boundary\" \"ab\") NIL NIL NIL)"},
    {"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; "
     "boundary=ab\n\n--ab\n\nx\n--ab--\n--ab\nno\n--a\n\ny\n--a--\n",
     "((" PLAIN(1, 0) " \"alternative\" (\"boundary\" \"ab\") NIL NIL NIL)" PLAIN(
         1, 0) " \"mixed\" (\"boundary\" \"a\") NIL NIL NIL)"},
    /* the outer boundary ends inner parts that never end themselves */
    {"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/related; "
     "boundary=i\n\n--i\n\nx\n--o\n\ny\n--i\n--o--\n",
     "((" PLAIN(1, 0) " \"related\" (\"boundary\" \"i\") NIL NIL NIL)" PLAIN(
         6, 1) " \"mixed\" (\"boundary\" \"o\") NIL NIL NIL)"},
    /* the same boundary twice: the inner one has it until it is closed */
    {"Content-Type: multipart/mixed; boundary=s\n\n--s\nContent-Type: multipart/related; "
     "boundary=s\n\n--s\n\nx\n--s--\n--s\n\ny\n--s--\n",
     "((" PLAIN(1, 0) " \"related\" (\"boundary\" \"s\") NIL NIL NIL)" PLAIN(
         1, 0) " \"mixed\" (\"boundary\" \"s\") NIL NIL NIL)"},
    /* the delimiter of the outer part is the close-delimiter of the inner one */
    {"Content-Type: multipart/mixed; boundary=a--\n\n--a--\nContent-Type: multipart/related; "
     "boundary=a\n\n--a\n\nx\n--a--\n--a--\n\ny\n--a----\n",
     "((" PLAIN(1, 0) " \"related\" (\"boundary\" \"a\") NIL NIL NIL)" PLAIN(
         1, 0) " \"mixed\" (\"boundary\" \"a--\") NIL NIL NIL)"},
    /* a boundary in pieces, and one that ends in hyphens */
    {"Content-Type: multipart/mixed; boundary*0=a; boundary*1*=%62\n\n--ab\n\nx\n--ab--\n",
     "(" PLAIN(1, 0) " \"mixed\" (\"boundary*0\" \"a\" \"boundary*1*\" \"%62\") NIL NIL NIL)"},
    {"Content-Type: multipart/mixed; boundary=a--\n\n--a--\n\nx\n--a----\ny",
     "(" PLAIN(1, 0) " \"mixed\" (\"boundary\" \"a--\") NIL NIL NIL)"},
    /* messages in messages */
    {"Content-Type: message/rfc822\n\nSubject: in\n\nab\n",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 19 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL "
     "NIL) " PLAIN(4, 1) " 3 NIL NIL NIL NIL)"},
    {"Content-Type: message/rfc822", "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 " NO_ENVELOPE
                                     " " PLAIN(0, 0) " 0 NIL NIL NIL NIL)"},
    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4=\n",
     "(\"message\" \"rfc822\" NIL NIL NIL \"base64\" 18 " NO_ENVELOPE
     " (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"base64\" 18 1 NIL NIL NIL NIL)"
     " 1 NIL NIL NIL NIL)"},
    {"Content-Type: message/global\n\nSubject: in\n\nab\n",
     "(\"message\" \"global\" NIL NIL NIL \"7bit\" 19 NIL NIL NIL NIL)"},
    {"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: 1\n\na\n--x\n"
     "Content-Type: text/plain\n\nb\n--x--\n",
     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 (NIL \"1\" NIL NIL NIL NIL NIL NIL NIL "
     "NIL) " PLAIN(1, 0) " 2 NIL NIL NIL NIL)" PLAIN(
         1, 0) " \"digest\" (\"boundary\" \"x\") NIL NIL NIL)"},
};

START_TEST(test_mime__writes_bodystructure)
{
    GString *message = with_crlf(structures[_i].message);
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, true);
    ck_assert_str_eq(out->str, structures[_i].structure);
    g_string_free(out, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

START_TEST(test_mime__leaves_extensions_out_of_body)
{
    GString *message = with_crlf("Content-Type: multipart/mixed; boundary=x\n\n--x\n"
                                 "Content-Disposition: inline\n\na\n--x\n"
                                 "Content-Type: message/rfc822\n\n\n--x--\n");
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, false);
    ck_assert_str_eq(out->str,
                     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)"
                     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 " NO_ENVELOPE
                     " (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) 0)"
                     " \"mixed\")");
    g_string_free(out, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

#define FROM3(list) list " " list " " list

static const struct {
    const char *header;
    const char *envelope;
} envelopes[] = {
    {"", "NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL"},
    {"Date: Thu, 15 Feb 2007 01:02:03 +0200\nSubject: a\n  b \nFrom: F <f@x>\nSender: S <s@x>\n"
     "Reply-To: R <r@x>\nTo: T <t@x>\nCc: C <c@x>\nBcc: B <b@x>\nIn-Reply-To: <i@x>\n"
     "Message-ID: <m@x>\n",
     "\"Thu, 15 Feb 2007 01:02:03 +0200\" \"a  b\" ((\"F\" NIL \"f\" \"x\"))"
     " ((\"S\" NIL \"s\" \"x\")) ((\"R\" NIL \"r\" \"x\")) ((\"T\" NIL \"t\" \"x\"))"
     " ((\"C\" NIL \"c\" \"x\")) ((\"B\" NIL \"b\" \"x\")) \"<i@x>\" \"<m@x>\""},
    /* present but empty, and empty Sender and Reply-To */
    {"Date:\nSubject: \nFrom: a@b\nSender: \nReply-To:\nTo:\n",
     "\"\" \"\" " FROM3("((NIL NIL \"a\" \"b\"))") " NIL NIL NIL NIL NIL"},
    /* the first of two counts, but addresses add up */
    {"Subject: 1\nSubject: 2\nTo: a@b\nTo: c@d\n",
     "NIL \"1\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL"},
    {"Subject: =?utf-8?Q?=C3=A4?= b\n",
     "NIL \"=?utf-8?Q?=C3=A4?= b\" NIL NIL NIL NIL NIL NIL NIL NIL"},
    {"Subject: \xc3\xa4\n", "NIL {2}\r\n\xc3\xa4 NIL NIL NIL NIL NIL NIL NIL NIL"},
    {"SUBJECT : x\n", "NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL"},
};

START_TEST(test_mime__writes_envelopes)
{
    GString *message = with_crlf(envelopes[_i].header);
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    GString *expected = g_string_new(NULL);
    g_string_printf(expected, "(%s)", envelopes[_i].envelope);
    structure_envelope(structure, out, false);
    ck_assert_str_eq(out->str, expected->str);
    g_string_free(out, TRUE);
    g_string_free(expected, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

static const struct {
    const char *list;
    const char *addresses;
} lists[] = {
    {"a@b", "((NIL NIL \"a\" \"b\"))"},
    {"Real Name <a@b>", "((\"Real Name\" NIL \"a\" \"b\"))"},
    {"a@b (Real Name)", "((\"Real Name\" NIL \"a\" \"b\"))"},
    {"<a (c)@ (d) b.org>", "((\"d\" NIL \"a\" \"b.org\"))"},
    {"\"Q. \\\"x\\\", y\" <\"a b\"@c>", "((\"Q. \\\"x\\\", y\" NIL \"a b\" \"c\"))"},
    {"John Q. Public <a@b>", "((\"John Q. Public\" NIL \"a\" \"b\"))"},
    {"=?utf-8?Q?J=C3=BC?= =?utf-8?Q?x?= <a@b>",
     "((\"=?utf-8?Q?J=C3=BC?= =?utf-8?Q?x?=\" NIL \"a\" \"b\"))"},
    {"<@route:user@domain>", "((NIL \"@route\" \"user\" \"domain\"))"},
    {"X <@r1, @r2:u@d>", "((\"X\" \"@r1,@r2\" \"u\" \"d\"))"},
    {"group: g1@d1, g2@d2;, group2: g3@d3;",
     "((NIL NIL \"group\" NIL)(NIL NIL \"g1\" \"d1\")(NIL NIL \"g2\" \"d2\")(NIL NIL NIL NIL)"
     "(NIL NIL \"group2\" NIL)(NIL NIL \"g3\" \"d3\")(NIL NIL NIL NIL))"},
    {"group:;, group2: (foo) ;", "((NIL NIL \"group\" NIL)(NIL NIL NIL NIL)"
                                 "(NIL NIL \"group2\" NIL)(NIL NIL NIL NIL))"},
    {"undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))"},
    {"\"A B\": a@b", "((NIL NIL \"A B\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"},
    {"user", "((NIL NIL \"user\" \"\"))"},
    {"Real Name", "((NIL NIL \"Real Name\" \"\"))"},
    {"Real Name <>", "((\"Real Name\" NIL \"\" \"\"))"},
    {"<>", "NIL"},
    {"", "NIL"},
    {" , ,;>", "NIL"},
    {",a@b,,c@d,", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
    {"a@[1.2.3.4], b@c", "((NIL NIL \"a\" \"[1.2.3.4]\")(NIL NIL \"b\" \"c\"))"},
    {"a@b <c@d>", "((\"a@b\" NIL \"c\" \"d\"))"},
    {"a <b@c> d, e@f", "((\"a\" NIL \"b\" \"c\")(NIL NIL \"e\" \"f\"))"},
    {"a <b@c, e@f", "((\"a\" NIL \"b\" \"c\")(NIL NIL \"e\" \"f\"))"},
    {"\"open <a@b>", "((NIL NIL \"open <a@b>\" \"\"))"},
    {"(open a@b", "NIL"},
    {"a@b (x (y) \\) z)", "((\"x (y) ) z\" NIL \"a\" \"b\"))"},
    {"first . last @ a . b", "((NIL NIL \"first.last\" \"a.b\"))"},
    {"a: b: c@d;", "((NIL NIL \"a\" NIL)(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL))"},
};

START_TEST(test_mime__parses_addresses)
{
    GString *message = g_string_new(NULL);
    g_string_printf(message, "To: %s\r\n\r\n", lists[_i].list);
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    GString *expected = g_string_new(NULL);
    g_string_printf(expected, "(NIL NIL NIL NIL NIL %s NIL NIL NIL NIL)", lists[_i].addresses);
    structure_envelope(structure, out, false);
    ck_assert_str_eq(out->str, expected->str);
    size_t length;
    const char *raw = structure_field(structure, ENVELOPE_TO, &length);
    g_string_assign(expected, lists[_i].list);
    ck_assert_uint_eq(length, strlen(g_strchug(expected->str)));
    ck_assert_int_eq(memcmp(raw, expected->str, length), 0);
    g_string_free(out, TRUE);
    g_string_free(expected, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

/* A multipart with a preamble; 1 a text, 2 a message that is a multipart of two, 3 a message with
 * a message in it, 4 a multipart; an epilogue. */
#define SUB_BODY      "--s\nContent-Type: text/html\n\n<p>\n--s\n\nother\n\n--s--\nsub end\n"
#define SUB_HEADER    "Subject: sub\nContent-Type: multipart/alternative; boundary=s\n\n"
#define DEEP          "Subject: deep\n\ndeepest\n"
#define MIDDLE_HEADER "Content-Type: message/rfc822\n\n"
#define NESTED        "--n\n\nin nested\n--n--"
static const char nested_message[] =
    "Content-Type: multipart/mixed; boundary=m\nSubject: top\n\npreamble\n"
    "--m\nContent-Type: text/x; a=b\n\nhello\n\n"
    "--m\nContent-Type: message/rfc822\n\n" SUB_HEADER SUB_BODY
    "\n--m\nContent-Type: message/rfc822\nX: 3\n\n" MIDDLE_HEADER DEEP
    "\n--m\nContent-Type: multipart/mixed; boundary=n\n\n" NESTED "\n--m--\nepilogue\n";

#define SINGLE       "Subject: x\n\nbody\n"
#define ROOT_MESSAGE "Content-Type: message/rfc822\n\nSubject: x\n\nbody\n"

static const struct {
    const char *message;
    const char *section;
    const char *octets; /* NULL: there is none */
} sections[] = {
    {nested_message, "", nested_message},
    {nested_message, "HEADER", "Content-Type: multipart/mixed; boundary=m\nSubject: top\n\n"},
    {nested_message, "MIME", NULL},
    {nested_message, "1", "hello\n"},
    {nested_message, "1.MIME", "Content-Type: text/x; a=b\n\n"},
    {nested_message, "1.HEADER", NULL},
    {nested_message, "1.TEXT", NULL},
    {nested_message, "1.1", NULL},
    {nested_message, "2", SUB_HEADER SUB_BODY},
    {nested_message, "2.MIME", "Content-Type: message/rfc822\n\n"},
    {nested_message, "2.HEADER", SUB_HEADER},
    {nested_message, "2.TEXT", SUB_BODY},
    {nested_message, "2.1", "<p>"},
    {nested_message, "2.1.MIME", "Content-Type: text/html\n\n"},
    {nested_message, "2.2", "other\n"},
    {nested_message, "2.2.MIME", "\n"},
    {nested_message, "2.3", NULL},
    {nested_message, "3", MIDDLE_HEADER DEEP},
    {nested_message, "3.MIME", "Content-Type: message/rfc822\nX: 3\n\n"},
    {nested_message, "3.HEADER", MIDDLE_HEADER},
    {nested_message, "3.TEXT", DEEP},
    {nested_message, "3.1", DEEP},
    {nested_message, "3.1.MIME", MIDDLE_HEADER},
    {nested_message, "3.1.HEADER", "Subject: deep\n\n"},
    {nested_message, "3.1.TEXT", "deepest\n"},
    {nested_message, "3.1.1", "deepest\n"},
    {nested_message, "3.1.1.MIME", "Subject: deep\n\n"},
    {nested_message, "3.1.1.1", NULL},
    {nested_message, "3.2", NULL},
    {nested_message, "4", NESTED},
    {nested_message, "4.1", "in nested"},
    {nested_message, "4.TEXT", NULL},
    {nested_message, "5", NULL},
    {nested_message, "0", NULL},
    {nested_message, "4294967295", NULL},
    {SINGLE, "", SINGLE},
    {SINGLE, "1", "body\n"},
    {SINGLE, "TEXT", "body\n"},
    {SINGLE, "1.MIME", "Subject: x\n\n"},
    {SINGLE, "1.TEXT", NULL},
    {SINGLE, "2", NULL},
    {SINGLE, "0", NULL},
    {SINGLE, "1.1", NULL},
    {ROOT_MESSAGE, "1", SINGLE},
    {ROOT_MESSAGE, "TEXT", SINGLE},
    {ROOT_MESSAGE, "1.1", "body\n"},
    {ROOT_MESSAGE, "1.HEADER", "Subject: x\n\n"},
    {ROOT_MESSAGE, "1.TEXT", "body\n"},
    {ROOT_MESSAGE, "2", NULL},
    {"Content-Type: multipart/mixed; boundary=x\n\nnothing", "1", ""},
    {"", "HEADER", ""},
    {"", "TEXT", ""},
    {"\n", "HEADER", "\n"},
    {"\nx", "1", "x"},
    {"Subject: x", "HEADER", "Subject: x"},
};

static void check_section(const GString *message, const char *section, const GString *expected)
{
    struct structure *structure = parse_message(message);
    char *found = find_section(structure, message, section);
    if (expected == NULL) {
        ck_assert_ptr_null(found);
    } else {
        ck_assert_ptr_nonnull(found);
        ck_assert_str_eq(found, expected->str);
    }
    g_free(found);
    structure_free(structure);
}

START_TEST(test_mime__finds_sections)
{
    const char *octets = sections[_i].octets;
    GString *message = with_crlf(sections[_i].message);
    GString *expected = octets == NULL ? NULL : with_crlf(octets);
    check_section(message, sections[_i].section, expected);
    g_string_assign(message, sections[_i].message);
    if (expected != NULL) {
        g_string_assign(expected, octets);
    }
    check_section(message, sections[_i].section, expected); /* bare LF */
    g_string_free(message, TRUE);
    if (expected != NULL) {
        g_string_free(expected, TRUE);
    }
}
END_TEST

static const struct {
    const char *message;
    bool header;
    bool body;
    const char *text;
} texts[] = {
    {"Subject: =?utf-8?Q?=C3=A4?=\n\nbody\n", true, false, "Subject: \xc3\xa4\n"},
    {"Subject: =?utf-8?B?YWI=?= =?utf-8?B?Y2Q=?=\n\nbody\n", true, false, "Subject: abcd\n"},
    {"Subject: x\n\nbody\n", false, true, "body\r\n\n"},
    {"Subject: x\n\nbody\n", true, true, "Subject: x\nbody\r\n\n"},
    {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
     "quoted-printable\n\ncaf=E9 =\nau lait",
     false, true, "caf\xc3\xa9 au lait\n"},
    {"Content-Type: text/plain; charset=\"UTF-8\"\nContent-Transfer-Encoding: base64\n\nY2Fmw6k=\n",
     false, true, "caf\xc3\xa9\n"},
    {"Content-Type: text/plain; charset=x-nobody\n\ncaf\xc3\xa9", false, true, "caf\xc3\xa9\n"},
    {"Content-Type: text/plain; charset=utf-8\n\na\xff"
     "b",
     false, true, "ab\n"},
    {"Content-Type: application/pdf\n\nbody\n", false, true, ""},
    {"Content-Type: multipart/mixed; boundary=x\nSubject: s\n\npre\n--x\nX-Mime: m\n\n1\n--x\n"
     "Content-Type: message/rfc822\n\nSubject: in\n\n2\n--x--\n",
     false, true, "1\nSubject: in\n2\n"},
    {"Content-Type: multipart/mixed; boundary=x\n\n--x\nX-Mime: m\n\n1\n--x\n"
     "Content-Type: message/rfc822\n\nSubject: in\n\n2\n--x--\n",
     true, false,
     "Content-Type: multipart/mixed; boundary=x\nX-Mime: m\nContent-Type: message/rfc822\n"
     "Subject: in\n"},
    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4=\n", false,
     true, "Subject: in\n"},
};

START_TEST(test_mime__collects_text)
{
    GString *message = with_crlf(texts[_i].message);
    GBytes *text = mime_text((const uint8_t *)message->str, message->len, texts[_i].header,
                             texts[_i].body, 1000);
    size_t length;
    const char *data = g_bytes_get_data(text, &length);
    char *copy = g_strndup(data == NULL ? "" : data, length);
    ck_assert_str_eq(copy, texts[_i].text);
    g_free(copy);
    g_bytes_unref(text);
    g_string_free(message, TRUE);
}
END_TEST

START_TEST(test_mime__cuts_text_at_a_character)
{
    GString *message = g_string_new("Content-Type: text/plain; charset=utf-8\r\n\r\n");
    for (int i = 0; i < 100000; i++) {
        g_string_append(message, "\xe6\x97\xa5");
    }
    for (size_t max = 99998; max <= 100002; max++) {
        GBytes *text = mime_text((const uint8_t *)message->str, message->len, false, true, max);
        ck_assert_uint_eq(g_bytes_get_size(text), max / 3 * 3);
        ck_assert(g_utf8_validate(g_bytes_get_data(text, NULL), (gssize)(max / 3 * 3), NULL));
        g_bytes_unref(text);
    }
    GBytes *all = mime_text((const uint8_t *)message->str, message->len, false, true, SIZE_MAX);
    ck_assert_uint_eq(g_bytes_get_size(all), 300001);
    g_bytes_unref(all);
    g_string_free(message, TRUE);
}
END_TEST

/* A non-ASCII parameter value behind a name of 70 octets: gmime's encoders never return. */
START_TEST(test_mime__survives_a_long_parameter_name)
{
    GString *message = g_string_new("Content-Type: multipart/mixed; ");
    g_string_append_printf(message, "%070d=\xc3\xa4\r\n\r\n", 0);
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, true);
    ck_assert_int_eq(strncmp(out->str, "(\"text\" \"plain\" ", 16), 0);
    GBytes *text = mime_text((const uint8_t *)message->str, message->len, true, true, 1000);
    ck_assert_uint_gt(g_bytes_get_size(text), 100);
    g_bytes_unref(text);
    g_string_free(out, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

static void repeat(GString *out, const char *text, int times)
{
    for (int i = 0; i < times; i++) {
        g_string_append(out, text);
    }
}

static void many_parts(GString *out)
{
    g_string_append(out, "Subject: s\nContent-Type: multipart/mixed; boundary=x\n\n");
    repeat(out, "--x\n\na\n", 100000);
}

static void many_fields(GString *out)
{
    g_string_append(out, "Subject: s\n");
    repeat(out, "X: y\n", 1000000);
}

static void long_field(GString *out)
{
    g_string_append(out, "Subject: s\nX: ");
    repeat(out, "0123456789\n ", 10 * 1024 * 1024);
}

static void nested_messages(GString *out)
{
    repeat(out, "Content-Type: message/rfc822\nSubject: s\n\n", 2000);
}

static void nested_multiparts(GString *out)
{
    g_string_append(out, "Subject: s\n");
    for (int i = 0; i < 2000; i++) {
        g_string_append_printf(out, "Content-Type: multipart/mixed; boundary=%d\n\n--%d\n", i, i);
    }
}

static void many_parameters(GString *out)
{
    g_string_append(out, "Subject: s\nContent-Type: multipart/mixed");
    repeat(out, "; a=b", 500000);
}

static void many_addresses(GString *out)
{
    g_string_append(out, "Subject: s\nTo: ");
    repeat(out, "a@b,", 100000);
    repeat(out, "a:", 100000);
}

static void open_comments(GString *out)
{
    g_string_append(out, "Subject: s\nContent-Type: ");
    repeat(out, "(", 1000000);
    g_string_append(out, "\nTo: ");
    repeat(out, "a(", 1000000);
    g_string_append(out, "\nFrom: ");
    repeat(out, "<@\"", 100000);
}

static void near_delimiters(GString *out)
{
    g_string_append(out, "Subject: s\n");
    for (int i = 0; i < 99; i++) {
        g_string_append_printf(out, "Content-Type: multipart/mixed; boundary=%d\n\n--%d\n",
                               1000 + i, 1000 + i);
    }
    repeat(out, "\n--999x\n", 1000000);
}

static const struct {
    void (*fill)(GString *message);
    const char *body; /* how BODY begins */
    bool has_subject;
} hostile[] = {
    {many_parts, "(\"application\" \"octet-stream\" ", true},
    {many_fields, "(\"text\" \"plain\" ", false},
    {long_field, "(\"text\" \"plain\" ", false},
    {nested_messages, "(\"message\" \"rfc822\" ", true},
    {nested_multiparts, "((((((((((((((((((((((((((((((((((((((((((((", true},
    {many_parameters, "(\"text\" \"plain\" ", true},
    {many_addresses, "(\"text\" \"plain\" ", true},
    {open_comments, "(\"text\" \"plain\" ", true},
    {near_delimiters, "((((((((((((((((((((((((((((((((((((((((((((", true},
};

START_TEST(test_mime__bounds_hostile_messages)
{
    GString *message = g_string_new(NULL);
    hostile[_i].fill(message);
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    structure_body(structure, out, false, true);
    ck_assert_int_eq(strncmp(out->str, hostile[_i].body, strlen(hostile[_i].body)), 0);
    g_string_truncate(out, 0);
    structure_envelope(structure, out, false);
    ck_assert_uint_lt(out->len, 3 * 1024 * 1024);
    ck_assert_int_eq(strncmp(out->str, "(NIL \"s\" ", 9) == 0, hostile[_i].has_subject);
    char *all = find_section(structure, message, "");
    ck_assert_str_eq(all, message->str);
    g_free(all);
    GBytes *text = mime_text((const uint8_t *)message->str, message->len, true, true, 100000);
    ck_assert_uint_le(g_bytes_get_size(text), 100000);
    ck_assert_uint_gt(g_bytes_get_size(text), 5);
    g_bytes_unref(text);
    g_string_free(out, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

START_TEST(test_mime__keeps_groups_whole_at_the_limit)
{
    GString *message = g_string_new("To: ");
    for (int i = 0; i < LIMIT_ENVELOPE_ADDRESSES - 2; i++) {
        g_string_append(message, "a@b,");
    }
    g_string_append(message, "g: c@d;\r\n\r\n");
    struct structure *structure = parse_message(message);
    GString *out = g_string_new(NULL);
    structure_envelope(structure, out, false);
    ck_assert_ptr_nonnull(strstr(out->str, "(NIL NIL \"g\" NIL)(NIL NIL NIL NIL))"));
    g_string_free(out, TRUE);
    structure_free(structure);
    g_string_free(message, TRUE);
}
END_TEST

/* Responses must hold their own grammar: balanced parentheses outside strings, right literals. */
static bool is_balanced(const GString *text)
{
    int depth = 0;
    bool sound = true;
    for (size_t i = 0; i < text->len && sound; i++) {
        char c = text->str[i];
        if (c == '"') {
            for (i++; i < text->len && text->str[i] != '"'; i++) {
                sound = sound && text->str[i] != '\r' && text->str[i] != '\n';
                i += text->str[i] == '\\';
            }
        } else if (c == '{') {
            char *end;
            size_t length = (size_t)g_ascii_strtoull(text->str + i + 1, &end, 10);
            sound = strncmp(end, "}\r\n", 3) == 0;
            i = (size_t)(end - text->str) + 2 + length;
        }
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        sound = sound && depth >= 0;
    }
    return sound && depth == 0;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void mutate(GString *message, uint32_t *seed)
{
    static const char *const bits[] = {"\n",
                                       "\r\n",
                                       "--m",
                                       "--s--\n",
                                       "\"",
                                       "(",
                                       ";",
                                       "\n\n",
                                       "Content-Type: multipart/mixed; boundary=s\n\n",
                                       "Content-Type: message/rfc822\n\n",
                                       "=",
                                       "\xff",
                                       "\\"};
    for (uint32_t i = next_random(seed) % 8; i < 8; i++) {
        gssize at = (gssize)(next_random(seed) % message->len);
        switch (next_random(seed) % 3) {
        case 0:
            message->str[at] = (char)next_random(seed);
            break;
        case 1:
            g_string_insert(message, at, bits[next_random(seed) % G_N_ELEMENTS(bits)]);
            break;
        case 2:
            g_string_erase(message, at, MIN(at + 20, (gssize)message->len) - at);
            g_string_append_c(message, '\n');
            break;
        }
    }
}

START_TEST(test_mime__holds_its_word_for_any_octets)
{
    static const char *const probes[] = {"",           "HEADER",   "TEXT",   "1",   "1.MIME",
                                         "2",          "2.HEADER", "2.TEXT", "2.1", "2.1.1",
                                         "3.1.HEADER", "3.1.1",    "4.1"};
    uint32_t seed = 5;
    GString *out = g_string_new(NULL);
    for (int round = 0; round < 20000; round++) {
        GString *message = round % 2 ? with_crlf(nested_message) : g_string_new(nested_message);
        mutate(message, &seed);
        struct structure *structure = parse_message(message);
        g_string_truncate(out, 0);
        structure_body(structure, out, false, true);
        ck_assert_msg(is_balanced(out), "%s", out->str);
        g_string_truncate(out, 0);
        structure_envelope(structure, out, false);
        ck_assert_msg(is_balanced(out), "%s", out->str);
        for (size_t i = 0; i < G_N_ELEMENTS(probes); i++) {
            g_free(find_section(structure, message, probes[i]));
        }
        GBytes *text = mime_text((const uint8_t *)message->str, message->len, true, true, 500);
        ck_assert(g_utf8_validate_len(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL));
        g_bytes_unref(text);
        structure_free(structure);
        g_string_free(message, TRUE);
    }
    g_string_free(out, TRUE);
}
END_TEST

int main(void)
{
    mime_init();
    Suite *suite = suite_create("mime");
    TCase *tc = tcase_create("mime");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_mime__writes_bodystructure, 0, G_N_ELEMENTS(structures));
    tcase_add_test(tc, test_mime__leaves_extensions_out_of_body);
    tcase_add_loop_test(tc, test_mime__writes_envelopes, 0, G_N_ELEMENTS(envelopes));
    tcase_add_loop_test(tc, test_mime__parses_addresses, 0, G_N_ELEMENTS(lists));
    tcase_add_loop_test(tc, test_mime__finds_sections, 0, G_N_ELEMENTS(sections));
    tcase_add_loop_test(tc, test_mime__collects_text, 0, G_N_ELEMENTS(texts));
    tcase_add_test(tc, test_mime__cuts_text_at_a_character);
    tcase_add_test(tc, test_mime__survives_a_long_parameter_name);
    tcase_add_loop_test(tc, test_mime__bounds_hostile_messages, 0, G_N_ELEMENTS(hostile));
    tcase_add_test(tc, test_mime__keeps_groups_whole_at_the_limit);
    tcase_add_test(tc, test_mime__holds_its_word_for_any_octets);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
