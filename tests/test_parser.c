#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocol/limits.h"
#include "protocol/parser.h"
#include "tests/parser_trace.h"

/* --- whole conversations --- */

static void assert_trace_of(const struct trace_settings *settings, const char *input, size_t length,
                            const char *expected)
{
    struct trace_settings cut = *settings;
    char *trace = parser_trace(settings, input, length);

    ck_assert_str_eq(trace, expected);
    g_free(trace);
    for (cut.chunk = 1; cut.chunk <= 7; cut.chunk++) {
        trace = parser_trace(&cut, input, length);
        ck_assert_str_eq(trace, expected);
        g_free(trace);
    }
    cut.chunk = 0;
    for (cut.split = 1; cut.split < length; cut.split++) {
        trace = parser_trace(&cut, input, length);
        ck_assert_str_eq(trace, expected);
        g_free(trace);
    }
}

#define OCTETS(text) (text), sizeof(text) - 1

static const struct {
    struct trace_settings settings;
    const char *input;
    size_t length;
    const char *expected;
} conversations[] = {
    /* Pipelining; either line end. */
    {{0}, OCTETS("a NOOP\r\nb CHECK\nIDLE IDLE\r\n"), "a NOOP\nb CHECK\nIDLE IDLE\n"},
    {{0}, OCTETS("a NOOP"), ""},
    {{0}, OCTETS("a NOOP\r"), ""},
    {{0}, OCTETS("a NOOP\r\r\n"), "BAD a A command is expected\n"},
    /* The octets of a refused literal are never run. */
    {{0},
     OCTETS("a NOOP {12+}\r\nx LOGOUT\r\n\r\n foo\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\nb NOOP\n"},
    {{0},
     OCTETS("a NOOP {3+}\r\nabc {10+}\r\nx LOGOUT\r\n {10+}\r\ny LOGOUT\r\n\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\nb NOOP\n"},
    {{0},
     OCTETS("a LOGIN \"x {10+}\r\nx LOGOUT\r\n\r\nb NOOP\r\n"),
     "BAD a A quoted string is not closed\nb NOOP\n"},
    {{0},
     OCTETS("a+ {10+}\r\nx LOGOUT\r\n {0+}\r\n\r\nb NOOP\r\n"),
     "BAD * The tag holds a character that it can't\nb NOOP\n"},
    {{0}, OCTETS("a SELECT {65537+}\r\nx LOGOUT\r\n"), "BAD(too big) a The literal is too large\n"},
    /* A synchronising one is not sent after BAD: what follows is a command. */
    {{0}, OCTETS("a NOOP {3}\r\nb NOOP\r\n"), "BAD a A literal can't stand here\nb NOOP\n"},
    {{0},
     OCTETS("a NOOP {3+}\r\nabc {3}\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\nb NOOP\n"},
    {{0},
     OCTETS("a APPEND INBOX (\\Seen {3}\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\nb NOOP\n"},
    /* A literal of no possible size can't be followed. */
    {{0},
     OCTETS("a NOOP {99999999999999999999+}\r\nb NOOP\r\n"),
     "FATAL(too big) a A literal of no possible size\n"},
    {{0},
     OCTETS("a NOOP {3+}\r\nabc {0000000000000000000000000000000000000009+}\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\nFATAL(too big) a A literal of no possible size\n"},
    {{0},
     OCTETS("a NOOP {9223372036854775807+}\r\nb NOOP\r\n"),
     "BAD a A literal can't stand here\n"},
    {{0},
     OCTETS("a NOOP {9223372036854775808+}\r\nb NOOP\r\n"),
     "FATAL(too big) a A literal of no possible size\n"},
    {{0},
     OCTETS("a FOO {99999999999999999999+}\r\n"),
     "FATAL(too big) a A literal of no possible size\n"},
    /* Unknown commands. */
    {{0}, OCTETS("a FOO {10+}\r\nx LOGOUT\r\n {1+}\r\nx\r\nb NOOP\r\n"), "a FOO unknown\nb NOOP\n"},
    {{0}, OCTETS("a FOO ((( \"x\r\nb NOOP\r\n"), "a FOO unknown\nb NOOP\n"},
    {{0}, OCTETS("a FOO {1+}\r\nx {3}\r\nb NOOP\r\n"), "BAD a Unknown command\nb NOOP\n"},
    {{0},
     OCTETS("a abcdefghijabcdefghijabcdefghijabcdefghij\r\n"),
     "a ABCDEFGHIJABCDEFGHIJABCDEFGHIJAB unknown\n"},
    /* NUL and its like. */
    {{0}, OCTETS("a NO\0OP\r\nb NOOP\r\n"), "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0},
     OCTETS("a\0 NOOP\r\nb NOOP\r\n"),
     "BAD * The tag holds a character that it can't\nb NOOP\n"},
    {{0}, OCTETS("a LOGIN user1\0x y\r\nb NOOP\r\n"), "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0}, OCTETS("a LOGIN \"u\0x\" y\r\nb NOOP\r\n"), "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0},
     OCTETS("a LOGIN {5+}\r\nus\0er {10+}\r\nx LOGOUT\r\n\r\nb NOOP\r\n"),
     "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0},
     OCTETS("a LOGIN {1+}\r\nu {1+}\r\np\0\r\nb NOOP\r\n"),
     "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0}, OCTETS("a FOO x\0y\r\nb NOOP\r\n"), "BAD a A NUL can't stand anywhere\nb NOOP\n"},
    {{0},
     OCTETS("a APPEND x {4+}\r\na\0bc {3+}\r\nabc\r\nb NOOP\r\n"),
     "BEGIN (size=4 flags=0)\nBAD a A NUL can't stand in a message\nb NOOP\n"},
    {{0}, OCTETS("a LOGIN b\x01 c\r\n"), "BAD a A space is missing\n"},
    {{0}, OCTETS("a LOGIN b\rc d\r\n"), "BAD a A space is missing\n"},
    {{0}, OCTETS("a LOGIN \"b\rc\" d\r\n"), "BAD a A quoted string is not closed\n"},
    {{0}, OCTETS("a LOGIN \"b\x01\tc\" d\r\n"), "a LOGIN user=\"b\x01\tc\" password=\"d\"\n"},
    /* Messages keep every octet. */
    {{0},
     OCTETS("a APPEND x {12}\r\na\nb\rc\r\n\xff{3+}\r\nb NOOP\r\n"),
     "BEGIN (size=12 flags=0) synchronising\nEND \"a\nb\rc\r\n\xff{3+}\"\n"
     "a APPEND mailbox=\"x\" (size=12 flags=0)\nb NOOP\n"},
    {{.refuse_messages = true},
     OCTETS("a APPEND x {10}\r\nb NOOP\r\n"),
     "BEGIN (size=10 flags=0) synchronising\nb NOOP\n"},
    {{.refuse_messages = true},
     OCTETS("a APPEND x {10+}\r\nx LOGOUT\r\n (\\Seen) {10+}\r\ny LOGOUT\r\n\r\nb NOOP\r\n"),
     "BEGIN (size=10 flags=0)\nb NOOP\n"},
    {{.refuse_messages = true},
     OCTETS("a APPEND x {0+}\r\n {10+}\r\ny LOGOUT\r\n\r\nb NOOP\r\n"),
     "BEGIN (size=0 flags=0)\nb NOOP\n"},
    /* UTF8=ACCEPT (RFC 6855). */
    {{.utf8 = true},
     OCTETS("a APPEND x (\\Seen) UTF8 (~{5+}\r\nhello) {3+}\r\nabc\r\n"),
     "BEGIN (size=5 flags=8 binary utf8)\nEND \"hello\"\nBEGIN (size=3 flags=0)\nEND \"abc\"\n"
     "a APPEND mailbox=\"x\" (size=5 flags=8 binary utf8) (size=3 flags=0)\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x utf8 (~{0}\r\n)\r\n"),
     "BEGIN (size=0 flags=0 binary utf8) synchronising\nEND \"\"\n"
     "a APPEND mailbox=\"x\" (size=0 flags=0 binary utf8)\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x UTF8 (~{1+}\r\na ~{1}\r\nb NOOP\r\n"),
     "BEGIN (size=1 flags=0 binary utf8)\nEND \"a\"\nBAD a A literal can't stand here\nb NOOP\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x UTF8 (~{1+}\r\na b)\r\n"),
     "BEGIN (size=1 flags=0 binary utf8)\nEND \"a\"\n"
     "BAD a Only one literal can stand in UTF8 ()\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x UTF8 (~{1+}\r\na (\\Seen)) {1}\r\nb NOOP\r\n"),
     "BEGIN (size=1 flags=0 binary utf8)\nEND \"a\"\n"
     "BAD a Only one literal can stand in UTF8 ()\nb NOOP\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x UTF8 (~{1+}\r\na UTF8 (~{1}\r\nb NOOP\r\n"),
     "BEGIN (size=1 flags=0 binary utf8)\nEND \"a\"\nBAD a A literal can't stand here\nb NOOP\n"},
    {{.utf8 = true}, OCTETS("a APPEND x UTF8 ({1}\r\n"), "BAD a A literal can't stand here\n"},
    {{.utf8 = true}, OCTETS("a APPEND x (~{1}\r\n"), "BAD a A literal can't stand here\n"},
    {{.utf8 = true}, OCTETS("a APPEND UTF8 (~{1}\r\n"), "BAD a A literal can't stand here\n"},
    /* literal8 (RFC 3516). */
    {{0},
     OCTETS("a APPEND x (\\Seen) ~{3+}\r\na\0b ~{1}\r\nc\r\n"),
     "BEGIN (size=3 flags=8 binary)\nEND \"a\\0b\"\n"
     "BEGIN (size=1 flags=0 binary) synchronising\nEND \"c\"\n"
     "a APPEND mailbox=\"x\" (size=3 flags=8 binary) (size=1 flags=0 binary)\n"},
    {{0},
     OCTETS("a APPEND x ~{1+}\r\n\0 {1+}\r\n\0\r\nb NOOP\r\n"),
     "BEGIN (size=1 flags=0 binary)\nEND \"\\0\"\n"
     "BEGIN (size=1 flags=0)\nBAD a A NUL can't stand in a message\nb NOOP\n"},
    {{.utf8 = true},
     OCTETS("a APPEND x UTF8 (~{2+}\r\na\0)\r\n"),
     "BEGIN (size=2 flags=0 binary utf8)\nBAD a A NUL can't stand in a message\n"},
    {{.utf8 = true},
     OCTETS("a SELECT \"\303\244&\"\r\na SEARCH CHARSET UTF-8 ALL\r\n"),
     "a SELECT mailbox=\"\303\244&\"\nBAD a CHARSET can't be given after UTF8=ACCEPT\n"},
    /* IMAP4rev2 (RFC 9051): the same, but for the charset. */
    {{.rev2 = true},
     OCTETS("a SELECT \"\303\244&\"\r\na SELECT \"&AOQ-\"\r\na SELECT \"\303(\"\r\n"),
     "a SELECT mailbox=\"\303\244&\"\na SELECT mailbox=\"&AOQ-\"\n"
     "BAD a A quoted string must be UTF-8\n"},
    {{.rev2 = true}, OCTETS("a SEARCH CHARSET UTF-8 ALL\r\n"), "a SEARCH AND>2 ALL\n"},
    {{.rev2 = true, .utf8 = true},
     OCTETS("a SEARCH CHARSET UTF-8 ALL\r\n"),
     "BAD a CHARSET can't be given after UTF8=ACCEPT\n"},
    {{.utf8 = true},
     OCTETS("a SELECT \"\303(\"\r\na LSUB \"\" \"\"\r\na LOGIN {1+}\r\nx \"\377\"\r\nb NOOP\r\n"),
     "BAD a A quoted string must be UTF-8\na LSUB reference=\"\" patterns=[]\nBAD a A quoted "
     "string must be UTF-8\nb NOOP\n"},
    {{0}, OCTETS("a LOGIN \"\377\" x\r\n"), "a LOGIN user=\"\377\" password=\"x\"\n"},
    /* A charset may be a literal, and nothing else of its place may. */
    {{0},
     OCTETS("a SEARCH CHARSET {1+}\r\nx 1\r\nb SEARCH RETURN (ALL) CHARSET {1+}\r\nx 1\r\n"),
     "a SEARCH bad-charset AND>2 SEQUENCE 1:1\n"
     "b SEARCH return=4 bad-charset AND>2 SEQUENCE 1:1\n"},
    {{0},
     OCTETS("a SEARCH (CHARSET {1+}\r\nx 1)\r\nb SEARCH ALL CHARSET {1+}\r\nx 1\r\n"),
     "BAD a A literal can't stand here\nBAD b A literal can't stand here\n"},
};

START_TEST(test_parser__follows_a_conversation_however_cut)
{
    assert_trace_of(&conversations[_i].settings, conversations[_i].input, conversations[_i].length,
                    conversations[_i].expected);
}
END_TEST

/* --- limits: exactly at, and one beyond --- */

static GString *repeated(const char *head, const char *piece, size_t count, const char *tail)
{
    GString *out = g_string_new(head);

    for (size_t i = 0; i < count; i++)
        g_string_append(out, piece);
    return g_string_append(out, tail);
}

/* What the input comes to: "OK" for a command of a tag in a, else the line told. */
static void assert_outcome(const struct trace_settings *settings, GString *input,
                           const char *expected)
{
    char *trace = parser_trace(settings, input->str, input->len);
    char *last = g_strrstr_len(trace, (gssize)MAX(strlen(trace), 1) - 1, "\n");

    last = last == NULL ? trace : last + 1;
    if (strcmp(expected, "OK") == 0)
        ck_assert_msg(last[0] == 'a', "%.200s", last);
    else
        ck_assert_msg(g_str_has_prefix(last, expected), "%.200s", last);
    g_free(trace);
    g_string_free(input, TRUE);
}

static const struct {
    bool before_login;
    const char *head;
    const char *piece;
    size_t count; /* the most that is taken */
    const char *tail;
    const char *beyond;
} limits[] = {
    {false, "", "a", LIMIT_TAG, " NOOP\r\n", "BAD(too big) * The tag is too long"},
    {false, "a LOGIN x ", "y", LIMIT_LINE - 12, "\r\n", "FATAL(too big) * The line is too long"},
    {true, "a LOGIN x ", "y", LIMIT_LINE_BEFORE_LOGIN - 12, "\r\n",
     "FATAL(too big) * The line is too long"},
    {false, "a FOO {1+}\r\nx", "y", LIMIT_LINE - 14, "\r\n",
     "FATAL(too big) a The line is too long"},
    {false, "a SEARCH ", "(", LIMIT_NESTING,
     "1))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))\r\n",
     "BAD(too big) a Too many parentheses inside each other"},
    {false, "a ENABLE", " x", LIMIT_LIST, "\r\n", "BAD(too big) a Too many arguments"},
    {false, "a LOGIN", " x", 2, "\r\n", "BAD a Too many arguments"},
    {false, "a SEARCH", " 1", LIMIT_SEARCH_KEYS, "\r\n", "BAD(too big) a Too many search keys"},
    {false, "a SEARCH", " UNSEEN", LIMIT_SEARCH_KEYS / 2, "\r\n",
     "BAD(too big) a Too many search keys"},
    {false, "a SEARCH", " NOT", LIMIT_SEARCH_KEYS - 1, " 1\r\n",
     "BAD(too big) a Too many search keys"},
    {false, "a STORE 1 FLAGS (x", " \\Seen", LIMIT_FLAGS - 1, ")\r\n",
     "BAD(too big) a Too many flags"},
    {false, "a APPEND x", " {1+}\r\nm", LIMIT_APPEND_MESSAGES, "\r\n",
     "BAD(too big) a Too many messages in one APPEND"},
    {false, "a ID (\"x\" NIL", " \"x\" NIL", LIMIT_ID_FIELDS - 1, ")\r\n",
     "BAD(too big) a ID has too many fields"},
    {false, "a ID (\"", "x", LIMIT_ID_FIELD, "\" NIL)\r\n",
     "BAD(too big) a A field of ID has too long a name"},
    {false, "a ID (\"x\" \"", "x", LIMIT_ID_VALUE, "\")\r\n",
     "BAD(too big) a A field of ID has too long a value"},
    {false, "a LIST \"\" (x", " %", LIMIT_LIST_PATTERNS - 1, ")\r\n",
     "BAD(too big) a Too many mailbox patterns"},
    {false, "a FETCH 1 (UID", " FLAGS", LIMIT_FETCH_ITEMS - 1, ")\r\n",
     "BAD(too big) a Too many FETCH items"},
    {false, "a FETCH 1 BODY[HEADER.FIELDS (x", " y", LIMIT_HEADER_NAMES - 1, ")]\r\n",
     "BAD(too big) a Too many header names"},
    {false, "a FETCH 1 BODY[1", ".1", LIMIT_SECTION_DEPTH - 1, "]\r\n",
     "BAD(too big) a Too many numbers in a section"},
    {false, "a FETCH 1", ",1", LIMIT_LIST - 1, " UID\r\n",
     "BAD a A set of message numbers is expected"},
};

START_TEST(test_parser__takes_what_is_at_a_limit_and_no_more)
{
    struct trace_settings settings = {.before_login = limits[_i].before_login, .chunk = 4096};

    assert_outcome(&settings,
                   repeated(limits[_i].head, limits[_i].piece, limits[_i].count, limits[_i].tail),
                   "OK");
    assert_outcome(
        &settings,
        repeated(limits[_i].head, limits[_i].piece, limits[_i].count + 1, limits[_i].tail),
        limits[_i].beyond);
}
END_TEST

static GString *with_literal(const char *head, size_t size, const char *tail)
{
    GString *out = g_string_new(head);

    g_string_append_printf(out, "{%zu+}\r\n", size);
    for (size_t i = 0; i < size; i++)
        g_string_append_c(out, 'x');
    return g_string_append(out, tail);
}

START_TEST(test_parser__limits_literals)
{
    struct trace_settings after = {0};
    struct trace_settings before = {.before_login = true};
    GString *input;

    assert_outcome(&after, with_literal("a SEARCH BODY ", LIMIT_LITERAL, "\r\n"), "OK");
    assert_outcome(&after, with_literal("a SEARCH BODY ", LIMIT_LITERAL + 1, "\r\n"),
                   "BAD(too big) a The literal is too large");
    assert_outcome(&before, with_literal("a LOGIN x ", LIMIT_LITERAL_BEFORE_LOGIN, "\r\n"), "OK");
    assert_outcome(&before, with_literal("a LOGIN x ", LIMIT_LITERAL_BEFORE_LOGIN + 1, "\r\n"),
                   "BAD(too big) a The literal is too large");
    input = with_literal("a SEARCH BODY ", LIMIT_LITERALS / 2, " BODY ");
    g_string_append_printf(input, "{%d+}\r\n", LIMIT_LITERALS / 2);
    for (size_t i = 0; i < LIMIT_LITERALS / 2; i++)
        g_string_append_c(input, 'y');
    g_string_append(input, " BODY {0+}\r\n");
    assert_outcome(&after,
                   g_string_append(g_string_new_len(input->str, (gssize)input->len), "\r\n"), "OK");
    g_string_truncate(input, input->len - strlen("{0+}\r\n"));
    assert_outcome(&after, g_string_append(input, "{1+}\r\nz\r\n"),
                   "BAD(too big) a The command's literals are too large");
}
END_TEST

START_TEST(test_parser__tells_of_a_large_literal_before_it_is_sent)
{
    struct trace_settings settings = {0};
    GString *input = g_string_new("a SEARCH BODY {65537}\r\nb NOOP\r\n");
    char *trace = parser_trace(&settings, input->str, input->len);

    ck_assert_str_eq(trace, "BAD(too big) a The literal is too large\nb NOOP\n");
    g_free(trace);
    g_string_free(input, TRUE);
}
END_TEST

/* --- time and stack --- */

static double seconds_for(GString *input, const char *expected)
{
    struct trace_settings settings = {.chunk = 65536};
    struct timespec start, end;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    assert_outcome(&settings, input, expected);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

START_TEST(test_parser__answers_large_commands_in_little_time)
{
    /* Quadratic work takes minutes for any of these. */
    const double most = 10;

    ck_assert(seconds_for(repeated("a SEARCH ", "(", 100000, "\r\n"),
                          "BAD(too big) a Too many parentheses inside each other") < most);
    ck_assert(seconds_for(repeated("a FETCH 1 BODY", "[", 100000, "\r\n"), "BAD a ") < most);
    ck_assert(seconds_for(repeated("a FETCH 1", ",3:2", LIMIT_LIST - 1, " UID\r\n"), "OK") < most);
    ck_assert(seconds_for(repeated("a SEARCH", " OR 1", LIMIT_SEARCH_KEYS / 2 - 1, " 1\r\n"),
                          "OK") < most);
    ck_assert(seconds_for(repeated("a SEARCH", " SUBJECT x", LIMIT_SEARCH_KEYS, "\r\n"), "OK") <
              most);
    ck_assert(seconds_for(repeated("a SEARCH", " (1)", LIMIT_SEARCH_KEYS / 2, "\r\n"), "OK") <
              most);
    ck_assert(
        seconds_for(repeated("a APPEND x", " (\\Seen) {1+}\r\nm", LIMIT_APPEND_MESSAGES, "\r\n"),
                    "OK") < most);
}
END_TEST

START_TEST(test_parser__drops_many_equal_fetch_items)
{
    struct trace_settings settings = {0};
    GString *input = repeated("a FETCH 1 (UID", " BODY[HEADER.FIELDS (A B)]", 400, ")\r\n");
    char *trace = parser_trace(&settings, input->str, input->len);

    ck_assert_str_eq(trace, "a FETCH 1:1 UID SECTION[HEADER.FIELDS names=[A|B]]\n");
    g_free(trace);
    g_string_free(input, TRUE);
}
END_TEST

/* --- messages --- */

static int freed;

static void count_free(void *message)
{
    ck_assert_ptr_eq(message, &freed);
    freed++;
}

static enum parser_event feed(struct parser *parser, const char *text)
{
    size_t used;
    enum parser_event event = parser_feed(parser, (const uint8_t *)text, strlen(text), &used);

    return event;
}

/* A parser whose APPEND has one message accepted, all its octets told of. */
static struct parser *with_message(void)
{
    struct parser *parser = parser_new();
    struct command *command;

    freed = 0;
    parser_set_authenticated(parser, true);
    parser_set_message_free(parser, count_free);
    ck_assert_int_eq(feed(parser, "a APPEND x {2}\r\n"), PARSER_MESSAGE_BEGIN);
    command = parser_message(parser);
    ck_assert_str_eq(command->append.mailbox, "x");
    g_array_index(command->append.messages, struct append_message, 0).message = &freed;
    ck_assert_int_eq(feed(parser, "hi"), PARSER_MORE);
    parser_message_accept(parser);
    ck_assert_int_eq(feed(parser, "hi"), PARSER_MESSAGE_DATA);
    ck_assert_int_eq(feed(parser, ""), PARSER_MESSAGE_END);
    ck_assert_int_eq(freed, 0);
    return parser;
}

START_TEST(test_parser__releases_messages_of_a_command_that_fails)
{
    struct parser *parser = with_message();

    ck_assert_int_eq(feed(parser, " x\r\n"), PARSER_BAD);
    ck_assert_int_eq(freed, 1);
    ck_assert_int_eq(feed(parser, "b NOOP\r\n"), PARSER_COMMAND);
    parser_free(parser);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(test_parser__releases_messages_when_it_is_freed)
{
    parser_free(with_message());
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(test_parser__releases_messages_with_the_command)
{
    struct parser *parser = with_message();
    struct command *command;

    ck_assert_int_eq(feed(parser, "\r\n"), PARSER_COMMAND);
    command = parser_take_command(parser);
    parser_free(parser);
    ck_assert_int_eq(freed, 0);
    command_free(command);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(test_parser__refuses_a_message_after_it_was_accepted)
{
    struct parser *parser = with_message();

    parser_message_refuse(parser);
    ck_assert_int_eq(freed, 1);
    ck_assert_int_eq(feed(parser, " {10+}\r\ny LOGOUT\r\n\r\n"), PARSER_MORE);
    ck_assert_int_eq(feed(parser, "b NOOP\r\n"), PARSER_COMMAND);
    parser_free(parser);
}
END_TEST

START_TEST(test_parser__refuses_a_message_in_its_midst)
{
    struct parser *parser = parser_new();

    ck_assert_int_eq(feed(parser, "a APPEND x {14}\r\n"), PARSER_MESSAGE_BEGIN);
    parser_message_accept(parser);
    ck_assert_int_eq(feed(parser, "hi\r\n"), PARSER_MESSAGE_DATA);
    parser_message_refuse(parser);
    ck_assert_int_eq(feed(parser, "y LOGOUT\r\n\r\n"), PARSER_MORE);
    ck_assert_int_eq(feed(parser, "b NOOP\r\n"), PARSER_COMMAND);
    parser_free(parser);
}
END_TEST

START_TEST(test_parser__forgets_a_half_read_line)
{
    struct parser *parser = parser_new();
    struct command *command;

    ck_assert_int_eq(feed(parser, "a LOGIN {3+}\r\nab"), PARSER_MORE);
    parser_reset(parser);
    ck_assert_int_eq(feed(parser, "b NOOP\r\n"), PARSER_COMMAND);
    command = parser_take_command(parser);
    ck_assert_str_eq(command->tag, "b");
    command_free(command);
    parser_free(parser);
}
END_TEST

/* --- lines that are no commands --- */

/* Feeds piece by piece and then a command; writes the line, or "-" for a too long one. */
static void assert_line(const char *input, size_t length, size_t chunk, size_t limit,
                        const char *expected)
{
    struct parser *parser = parser_new();
    size_t position = 0;
    const char *line = NULL;
    bool too_long = false;
    struct command *command;

    while (line == NULL && !too_long && position < length) {
        size_t used;

        if (!parser_feed_line(parser, (const uint8_t *)input + position,
                              MIN(chunk, length - position), limit, &used, &line, &too_long))
            line = NULL;
        position += used;
    }
    if (too_long)
        ck_assert_str_eq(expected, "-");
    else
        ck_assert_str_eq(line, expected);
    while (position < length) {
        size_t used;

        parser_feed(parser, (const uint8_t *)input + position, MIN(chunk, length - position),
                    &used);
        position += used;
    }
    command = parser_take_command(parser);
    ck_assert_ptr_nonnull(command);
    ck_assert_str_eq(command->verb, "NOOP");
    command_free(command);
    parser_free(parser);
}

START_TEST(test_parser__hands_out_lines)
{
    static const char done[] = "DONE\r\na NOOP\r\n";
    static const char bare[] = "DONE\na NOOP\r\n";
    static const char empty[] = "\r\na NOOP\r\n";
    static const char nul[] = "DO\0NE\r\na NOOP\r\n";
    static const char literal[] = "DONE {99+}\r\na NOOP\r\n";

    for (size_t chunk = 1; chunk < 20; chunk++) {
        assert_line(done, sizeof done - 1, chunk, 4, "DONE");
        assert_line(done, sizeof done - 1, chunk, 3, "-");
        assert_line(done, sizeof done - 1, chunk, 1, "-");
        assert_line(bare, sizeof bare - 1, chunk, 4, "DONE");
        assert_line(bare, sizeof bare - 1, chunk, 3, "-");
        assert_line(empty, sizeof empty - 1, chunk, 4, "");
        assert_line(nul, sizeof nul - 1, chunk, 10, "DO?NE");
        assert_line(literal, sizeof literal - 1, chunk, 10, "DONE {99+}");
    }
}
END_TEST

START_TEST(test_parser__skips_what_an_error_left_before_a_line)
{
    struct parser *parser = parser_new();
    const char *line = NULL;
    bool too_long;
    size_t used;

    ck_assert_int_eq(feed(parser, "a NOOP {4+}\r\n"), PARSER_BAD);
    ck_assert(parser_feed_line(parser, (const uint8_t *)"abcd xyz\r\nDONE\r\n", 16, 10, &used,
                               &line, &too_long));
    ck_assert_uint_eq(used, 16);
    ck_assert_str_eq(line, "DONE");
    parser_free(parser);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parser");
    TCase *test = tcase_create("parser");
    SRunner *runner;
    int failed;

    tcase_set_timeout(test, 100);
    tcase_add_loop_test(test, test_parser__follows_a_conversation_however_cut, 0,
                        (int)G_N_ELEMENTS(conversations));
    tcase_add_loop_test(test, test_parser__takes_what_is_at_a_limit_and_no_more, 0,
                        (int)G_N_ELEMENTS(limits));
    tcase_add_test(test, test_parser__limits_literals);
    tcase_add_test(test, test_parser__tells_of_a_large_literal_before_it_is_sent);
    tcase_add_test(test, test_parser__answers_large_commands_in_little_time);
    tcase_add_test(test, test_parser__drops_many_equal_fetch_items);
    tcase_add_test(test, test_parser__releases_messages_of_a_command_that_fails);
    tcase_add_test(test, test_parser__releases_messages_when_it_is_freed);
    tcase_add_test(test, test_parser__releases_messages_with_the_command);
    tcase_add_test(test, test_parser__refuses_a_message_after_it_was_accepted);
    tcase_add_test(test, test_parser__refuses_a_message_in_its_midst);
    tcase_add_test(test, test_parser__forgets_a_half_read_line);
    tcase_add_test(test, test_parser__hands_out_lines);
    tcase_add_test(test, test_parser__skips_what_an_error_left_before_a_line);
    suite_add_tcase(suite, test);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
