/* Whole conversations: bytes in, bytes out, with a clock and users of their own. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/lmtp_session.h"

enum { LIMIT = 1000, TIMEOUT = 300 };

struct fixture {
    struct lmtp_settings settings;
    struct lmtp_host host;
    struct lmtp_session *session;
    int64_t now;
    bool hold; /* deliveries until release() */
    GPtrArray *held;
    enum delivery_result result;
    GString *delivered; /* what came, as text */
    GString *asked;     /* for room: "user octets" */
    enum lmtp_room room;
};

static int64_t now(void *data)
{
    return ((struct fixture *)data)->now;
}

static enum lmtp_user find_user(void *data, const char *name)
{
    (void)data;
    if (strcmp(name, "trouble") == 0)
        return LMTP_USER_TROUBLE;
    return strcmp(name, "alice") == 0 || strcmp(name, "bob@example.org") == 0 ||
                   strcmp(name, "a+b") == 0 || strcmp(name, "j\xc3\xb6rg") == 0
               ? LMTP_USER_KNOWN
               : LMTP_USER_UNKNOWN;
}

static enum lmtp_room find_room(void *data, struct lmtp_session *session, const char *user,
                                uint64_t octets)
{
    struct fixture *fixture = data;

    (void)session;
    g_string_append_printf(fixture->asked, "%s %d\n", user, (int)octets);
    return fixture->room;
}

static void trace_delivery(GString *out, const struct delivery *delivery)
{
    size_t length;
    const uint8_t *head = stash_head(delivery->mail->stash, &length);

    g_string_append_printf(out, "%s:", delivery->user);
    for (guint i = 0; i < delivery->recipients->len; i++) {
        const struct delivery_recipient *recipient =
            &g_array_index(delivery->recipients, struct delivery_recipient, i);

        g_string_append_printf(out, " %s/%s", recipient->address,
                               recipient->detail != NULL ? recipient->detail : "-");
    }
    g_string_append_printf(out, " from <%s> %s", delivery->mail->sender,
                           delivery->mail->has_id ? "stamped " : "");
    g_string_append_len(out, (const char *)head, (gssize)length);
    g_string_append_c(out, '\n');
}

static void deliver(void *data, struct lmtp_session *session, GPtrArray *deliveries)
{
    struct fixture *fixture = data;

    for (guint i = 0; i < deliveries->len; i++) {
        struct delivery *delivery = g_ptr_array_index(deliveries, i);

        trace_delivery(fixture->delivered, delivery);
        delivery_fail(delivery, i == 0 ? fixture->result : DELIVERY_DONE);
    }
    if (fixture->hold) {
        fixture->held = deliveries;
        return;
    }
    lmtp_session_delivered(session, deliveries);
    g_ptr_array_unref(deliveries);
}

static void release(struct fixture *fixture)
{
    lmtp_session_delivered(fixture->session, fixture->held);
    g_clear_pointer(&fixture->held, g_ptr_array_unref);
}

static void write_log(void *data, const char *id, const char *event, const char *address)
{
    (void)data;
    (void)id;
    ck_assert_ptr_null(strpbrk(event, " \n"));
    ck_assert_ptr_null(strpbrk(address, "\r\n"));
}

static void open_session(struct fixture *fixture)
{
    *fixture = (struct fixture){
        .settings = {.hostname = "mx",
                     .directory = ".",
                     .message_limit = LIMIT,
                     .idle_timeout = TIMEOUT,
                     .delimiter = '+'},
        .host = {.data = fixture,
                 .now = now,
                 .user = find_user,
                 .room = find_room,
                 .deliver = deliver,
                 .log = write_log},
        .now = 1,
        .result = DELIVERY_DONE,
        .delivered = g_string_new(NULL),
        .asked = g_string_new(NULL),
        .room = LMTP_ROOM_GOOD,
    };
    fixture->session = lmtp_session_new(&fixture->settings, &fixture->host, "id1", "192.0.2.1");
}

static void close_session(struct fixture *fixture)
{
    lmtp_session_free(fixture->session);
    g_string_free(fixture->delivered, TRUE);
    g_string_free(fixture->asked, TRUE);
    if (fixture->held != NULL)
        g_ptr_array_unref(fixture->held);
}

static void collect(struct fixture *fixture, GString *out)
{
    GBytes *said = lmtp_session_output(fixture->session);

    if (said == NULL)
        return;
    gsize length;
    const char *text = g_bytes_get_data(said, &length);

    g_string_append_len(out, text, (gssize)length);
    g_bytes_unref(said);
}

/* The first digits of each reply, as "250 354 ...". */
static char *codes_of(const char *said)
{
    GString *codes = g_string_new(NULL);

    for (const char *line = said; *line != '\0'; line = strstr(line, "\r\n") + 2) {
        ck_assert_ptr_nonnull(strstr(line, "\r\n"));
        ck_assert_int_le(strstr(line, "\r\n") + 2 - line, 512); /* RFC 5321 4.5.3.1.5 */
        ck_assert(line[3] == ' ' || line[3] == '-');
        if (line[3] == ' ' && codes->len > 0)
            g_string_append_c(codes, ' ');
        if (line[3] == ' ')
            g_string_append_len(codes, line, 3);
    }
    return g_string_free(codes, FALSE);
}

/* The codes of what is said; the input in pieces of chunk octets. */
static char *talk(struct fixture *fixture, const char *input, size_t chunk)
{
    GString *out = g_string_new(NULL);
    size_t length = strlen(input);

    for (size_t at = 0; at < length; at += chunk) {
        size_t step = MIN(chunk, length - at);

        if (lmtp_session_room(fixture->session) < step)
            break;
        lmtp_session_input(fixture->session, input + at, step);
        lmtp_session_step(fixture->session);
        collect(fixture, out);
    }
    collect(fixture, out);
    char *codes = codes_of(out->str);

    g_string_free(out, TRUE);
    return codes;
}

#define HELLO    "LHLO c\r\n"
#define TO_ALICE HELLO "MAIL FROM:<s@x>\r\nRCPT TO:<alice@x>\r\n"

static const struct {
    const char *input;
    const char *codes; /* after the greeting's 220 */
    const char *delivered;
} cases[] = {
    {"NOOP\r\nRSET\r\nVRFY a\r\nHELP\r\nQUIT\r\n", "250 250 252 214 221", ""},
    {"EHLO x\r\nHELO x\r\nFOO\r\n", "500 500 500", ""},
    {"MAIL FROM:<a@b>\r\nRCPT TO:<alice>\r\nDATA\r\n", "503 503 503", ""},
    {HELLO "RCPT TO:<alice>\r\nDATA\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n",
     "250 503 503 250 503", ""},
    {TO_ALICE "DATA\r\nhi\r\n.\r\nQUIT\r\n", "250 250 250 354 250 221",
     "alice: alice@x/- from <s@x> hi\r\n\n"},
    {TO_ALICE "DATA\r\nreceived: by x\r\n.\r\n", "250 250 250 354 250",
     "alice: alice@x/- from <s@x> stamped received: by x\r\n\n"},
    /* Pipelined, with recipients that are refused, and twice one account. */
    {HELLO "MAIL FROM:<>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<alice+Lists/x@x>\r\n"
           "RCPT TO:<Bob@example.org>\r\nRCPT TO:<a+b@x>\r\nRCPT TO:<ALICE@y>\r\n"
           "RCPT TO:<trouble@y>\r\nDATA\r\n..\r\n.\r\nNOOP\r\n",
     "250 250 550 250 250 250 250 451 354 250 250 250 250 250",
     "alice: alice+Lists/x@x/Lists/x ALICE@y/- from <> .\r\n\n"
     "bob@example.org: Bob@example.org/- from <> .\r\n\n"
     "a+b: a+b@x/- from <> .\r\n\n"},
    {HELLO "MAIL FROM:<s@x>\r\nRCPT TO:<nobody@x>\r\nDATA\r\nRSET\r\n", "250 250 550 503 250", ""},
    /* A second message, and one that was taken back. */
    {TO_ALICE "RSET\r\nDATA\r\nMAIL FROM:<t@x>\r\nRCPT TO:<alice>\r\nDATA\r\n.\r\n",
     "250 250 250 250 503 250 250 354 250", "alice: alice/- from <t@x> \n"},
    {TO_ALICE HELLO "DATA\r\n", "250 250 250 250 503", ""},
    /* Forms of addresses. What is quoted is one name, whatever it looks like. */
    {HELLO "MAIL FROM:<\"a b\"@c>\r\nRCPT TO:<@a,@b:\"alice\"@x>\r\nRCPT TO:<alice+@x>\r\n"
           "RCPT TO:<ALICE+A+b>\r\nRCPT TO:<+alice>\r\nRCPT TO:<\"\"@x>\r\n"
           "RCPT TO:<\"bob@example.org\"@x>\r\nRCPT TO:<\"bob@example.org\">\r\n"
           "RCPT TO:<postmaster>\r\nRCPT TO:<alice@>\r\nRCPT TO: <alice@y>\r\n"
           "RCPT TO:<alice@[IPv6:::1]>\r\nDATA\r\n.\r\n",
     "250 250 250 250 250 550 550 550 550 550 501 250 250 354 250 250 250 250 250",
     "alice: \"alice\"@x/- alice+@x/ ALICE+A+b/A+b alice@y/- alice@[IPv6:::1]/- from <\"a b\"@c> "
     "\n"},
    /* RFC 6531 */
    {HELLO "MAIL FROM:<j\xc3\xb6rg@x>\r\nMAIL FROM:<s@x>\r\nRCPT TO:<j\xc3\xb6rg@x>\r\n",
     "250 550 250 553", ""},
    {HELLO "MAIL FROM:<\xc3\xa4@x> SMTPUTF8\r\nRCPT TO:<j\xc3\xb6rg@x>\r\nDATA\r\n.\r\n",
     "250 250 250 354 250", "j\xc3\xb6rg: j\xc3\xb6rg@x/- from <\xc3\xa4@x> \n"},
    /* Chunks. */
    {TO_ALICE "BDAT 3\r\na\r\nBDAT 0\r\nBDAT 4 LAST\r\n.\r\nbNOOP\r\n",
     "250 250 250 250 250 250 250", "alice: alice@x/- from <s@x> a\r\n.\r\nb\n"},
    {TO_ALICE "BDAT 1\r\naDATA\r\nRCPT TO:<alice>\r\nMAIL FROM:<>\r\nBDAT 0 LAST\r\n",
     "250 250 250 250 503 503 503 250", "alice: alice@x/- from <s@x> a\n"},
    {TO_ALICE "BDAT 1\r\naRSET\r\nBDAT 4 LAST\r\nRSETNOOP\r\n", "250 250 250 250 250 503 250", ""},
    {TO_ALICE "BDAT 0 LAST\r\nBDAT 0 LAST\r\nBDAT 1\r\nxNOOP\r\n", "250 250 250 250 503 503 250",
     "alice: alice@x/- from <s@x> \n"},
    {"BDAT 6\r\nQUIT\r\nNOOP\r\n", "503 250", ""},
    {HELLO "BDAT x\r\nQUIT\r\nNOOP\r\n", "250 501 421", ""},
    /* RFC 1870 */
    {HELLO "MAIL FROM:<s@x> SIZE=1001\r\nMAIL FROM:<s@x> SIZE=1000\r\n", "250 552 250", ""},
};

START_TEST(test_lmtp_session__conversations_however_they_are_cut)
{
    size_t length = strlen(cases[_i].input);

    for (size_t chunk = 1; chunk <= length; chunk++) {
        struct fixture fixture;

        open_session(&fixture);
        char *codes = talk(&fixture, cases[_i].input, chunk);

        ck_assert_msg(g_str_has_prefix(codes, "220"), "%s", codes);
        ck_assert_str_eq(codes + 4, cases[_i].codes);
        ck_assert_str_eq(fixture.delivered->str, cases[_i].delivered);
        g_free(codes);
        close_session(&fixture);
    }
}
END_TEST

static const struct {
    enum delivery_result result;
    bool final;
    const char *code;
} results[] = {
    {DELIVERY_DONE, false, "250 2.0.0 <alice@x>"},
    {DELIVERY_AGAIN, false, "250 2.0.0 <alice@x>"},
    {DELIVERY_NO_USER, false, "550 5.1.1 <alice@x>"},
    {DELIVERY_NO_MAILBOX, false, "550 5.2.1 <alice@x>"},
    {DELIVERY_OVER_QUOTA, false, "452 4.2.2 <alice@x>"},
    {DELIVERY_OVER_QUOTA, true, "552 5.2.2 <alice@x>"},
    {DELIVERY_TOO_BIG, false, "552 5.3.4 <alice@x>"},
    {DELIVERY_NO_SPACE, false, "452 4.3.1 <alice@x>"},
    {DELIVERY_TROUBLE, false, "451 4.3.0 <alice@x>"},
    {DELIVERY_OPEN, false, "451 4.3.0 <alice@x>"},
};

START_TEST(test_lmtp_session__each_recipient_has_its_own_answer)
{
    struct fixture fixture;

    open_session(&fixture);
    fixture.result = results[_i].result;
    fixture.settings.over_quota_is_final = results[_i].final;
    g_free(talk(&fixture, TO_ALICE "RCPT TO:<bob@example.org>\r\nDATA\r\n", SIZE_MAX / 2));
    lmtp_session_input(fixture.session, "x\r\n.\r\n", 6);
    lmtp_session_step(fixture.session);
    GString *out = g_string_new(NULL);

    collect(&fixture, out);
    ck_assert_msg(g_str_has_prefix(out->str, results[_i].code), "%s", out->str);
    ck_assert_ptr_nonnull(strstr(out->str, "\r\n250 2.0.0 <bob@example.org>"));
    g_string_free(out, TRUE);
    close_session(&fixture);
}
END_TEST

START_TEST(test_lmtp_session__a_message_over_the_limit_is_refused_at_its_end)
{
    struct fixture fixture;
    GString *input = g_string_new(TO_ALICE "DATA\r\n");

    open_session(&fixture);
    for (int i = 0; i <= LIMIT; i++)
        g_string_append_c(input, 'x');
    g_string_append(input, "\r\n.\r\nNOOP\r\n");
    char *codes = talk(&fixture, input->str, 7);

    ck_assert_str_eq(codes, "220 250 250 250 354 552 250");
    ck_assert_str_eq(fixture.delivered->str, "");
    g_free(codes);
    g_string_assign(input, "MAIL FROM:<s@x>\r\nRCPT TO:<alice>\r\nDATA\r\n");
    for (int i = 0; i <= 5 * LIMIT; i++)
        g_string_append_c(input, 'x');
    codes = talk(&fixture, input->str, 100);
    ck_assert_str_eq(codes, "250 250 354 421");
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_CLOSED);
    g_free(codes);
    g_string_free(input, TRUE);
    close_session(&fixture);
}
END_TEST

#define TO_THREE                                                                        \
    "MAIL FROM:<s@x> SIZE=700\r\nRCPT TO:<alice@x>\r\nRCPT TO:<alice+b@x>\r\n"          \
    "RCPT TO:<bob@example.org>\r\nRSET\r\nMAIL FROM:<s@x>\r\nRCPT TO:<nobody>\r\nRCPT " \
    "TO:<alice>\r\n"

static const struct {
    enum lmtp_room room;
    bool full; /* where it is asked for */
    bool final;
    const char *codes;
    const char *asked;
} rooms[] = {
    {LMTP_ROOM_GOOD, false, false, "220 250 250 250 250 250 250 250 550 250",
     "alice 700\nbob@example.org 700\nalice 1\n"},
    {LMTP_ROOM_ASKED, false, false, "220 250 250 250 250 250 250 250 550 250",
     "alice 700\nbob@example.org 700\nalice 1\n"},
    {LMTP_ROOM_ASKED, true, false, "220 250 250 452 452 452 250 250 550 452",
     "alice 700\nalice 700\nbob@example.org 700\nalice 1\n"},
    {LMTP_ROOM_ASKED, true, true, "220 250 250 552 552 552 250 250 550 552",
     "alice 700\nalice 700\nbob@example.org 700\nalice 1\n"},
};

/* An answer at once, or later: whatever was pipelined meanwhile waits for it. */
START_TEST(test_lmtp_session__a_full_account_is_refused_at_rcpt)
{
    struct fixture fixture;
    GString *out = g_string_new(NULL);
    const char *input = HELLO TO_THREE;

    open_session(&fixture);
    fixture.room = rooms[_i].room;
    fixture.settings.over_quota_is_final = rooms[_i].final;
    lmtp_session_input(fixture.session, input, strlen(input));
    while (lmtp_session_step(fixture.session) == LMTP_STATUS_BUSY) {
        ck_assert_uint_eq(lmtp_session_room(fixture.session), 0);
        ck_assert_int_eq(lmtp_session_deadline(fixture.session), INT64_MAX);
        lmtp_session_room_told(fixture.session, rooms[_i].full);
    }
    collect(&fixture, out);
    char *codes = codes_of(out->str);

    ck_assert_str_eq(codes, rooms[_i].codes);
    ck_assert_str_eq(fixture.asked->str, rooms[_i].asked);
    g_free(codes);
    g_string_free(out, TRUE);
    close_session(&fixture);
}
END_TEST

/* The host may forget about it. */
START_TEST(test_lmtp_session__ends_while_it_asks)
{
    struct fixture fixture;

    open_session(&fixture);
    fixture.room = LMTP_ROOM_ASKED;
    g_free(talk(&fixture, TO_ALICE, SIZE_MAX / 2));
    lmtp_session_shut_down(fixture.session);
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_BUSY);
    close_session(&fixture);
}
END_TEST

START_TEST(test_lmtp_session__tells_at_once_of_a_chunk_too_many)
{
    struct fixture fixture;
    GString *input = g_string_new(TO_ALICE "BDAT 600\r\n");

    open_session(&fixture);
    for (int i = 0; i < 600; i++)
        g_string_append_c(input, 'x');
    g_string_append(input, "BDAT 600\r\n");
    for (int i = 0; i < 600; i++)
        g_string_append_c(input, 'x');
    g_string_append(input, "BDAT 0\r\nRCPT TO:<alice>\r\nBDAT 0 LAST\r\nNOOP\r\n"
                           "BDAT 99999999999999999999 LAST\r\n");
    char *codes = talk(&fixture, input->str, 11);

    ck_assert_str_eq(codes, "220 250 250 250 250 552 552 503 552 250");
    g_free(codes);
    g_string_truncate(input, 0);
    for (int i = 0; i <= 4 * LIMIT; i++)
        g_string_append_c(input, 'x');
    codes = talk(&fixture, input->str, 100);
    ck_assert_str_eq(codes, "421");
    ck_assert_str_eq(fixture.delivered->str, "");
    g_free(codes);
    g_string_free(input, TRUE);
    close_session(&fixture);
}
END_TEST

/* codes_of() sees that no reply is too long. */
START_TEST(test_lmtp_session__answers_to_the_longest_address)
{
    struct fixture fixture;
    GString *input = g_string_new(HELLO "MAIL FROM:<s@x>\r\n");

    open_session(&fixture);
    for (int i = 0; i < 2; i++) {
        g_string_append(input, i == 0 ? "RCPT TO:<alice+" : "RCPT TO:<nobody");
        for (int j = 0; j < 250; j++)
            g_string_append_c(input, 'l');
        g_string_append_c(input, '@');
        for (int j = 0; j < 255; j++)
            g_string_append_c(input, 'd');
        g_string_append(input, ">\r\n");
    }
    g_string_append(input, "DATA\r\n.\r\n");
    char *codes = talk(&fixture, input->str, SIZE_MAX / 2);

    ck_assert_str_eq(codes, "220 250 250 250 550 354 250");
    g_free(codes);
    g_string_free(input, TRUE);
    close_session(&fixture);
}
END_TEST

static const struct {
    const char *peer;
    const char *literal;
} peers[] = {
    {"192.0.2.1", "([192.0.2.1])"}, {"2001:db8::1", "([IPv6:2001:db8::1])"}, {"local", "(local)"}};

START_TEST(test_lmtp_session__received_names_the_client)
{
    struct fixture fixture;
    char *expected = g_strdup_printf("Received: from c %s\r\n\tby mx with LMTP id id2;\r\n"
                                     "\tThu, 1 Jan 1970 00:00:00 +0000\r\n",
                                     peers[_i].literal);

    open_session(&fixture);
    fixture.hold = true;
    lmtp_session_free(fixture.session);
    fixture.session = lmtp_session_new(&fixture.settings, &fixture.host, "id2", peers[_i].peer);
    g_free(talk(&fixture, TO_ALICE "DATA\r\n.\r\n", SIZE_MAX / 2));
    const struct delivery *delivery = g_ptr_array_index(fixture.held, 0);

    ck_assert_str_eq(delivery->mail->received, expected);
    g_free(expected);
    close_session(&fixture);
}
END_TEST

START_TEST(test_lmtp_session__takes_no_input_while_it_delivers)
{
    struct fixture fixture;

    open_session(&fixture);
    fixture.hold = true;
    g_free(talk(&fixture, TO_ALICE "DATA\r\nx\r\n.\r\nQUIT\r\n", SIZE_MAX / 2));
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_BUSY);
    ck_assert_uint_eq(lmtp_session_room(fixture.session), 0);
    ck_assert_int_eq(lmtp_session_deadline(fixture.session), INT64_MAX);
    lmtp_session_shut_down(fixture.session);
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_BUSY);
    fixture.now += 2 * TIMEOUT;
    release(&fixture);
    ck_assert_int_eq(lmtp_session_deadline(fixture.session), fixture.now + TIMEOUT);
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_CLOSED);
    GString *out = g_string_new(NULL);

    collect(&fixture, out);
    ck_assert_msg(g_str_has_prefix(out->str, "250 2.0.0 <alice@x> id1 Delivered\r\n221"), "%s",
                  out->str);
    g_string_free(out, TRUE);
    close_session(&fixture);
}
END_TEST

START_TEST(test_lmtp_session__limits)
{
    struct fixture fixture;
    GString *input = g_string_new(TO_ALICE);

    open_session(&fixture);
    for (int i = 1; i <= LMTP_RECIPIENTS_MAX; i++)
        g_string_append(input, "RCPT TO:<alice>\r\n");
    char *codes = talk(&fixture, input->str, 4096);

    ck_assert(g_str_has_suffix(codes, " 250 452"));
    g_free(codes);
    g_string_truncate(input, 0);
    for (int i = 0; i < LMTP_BAD_COMMANDS_MAX; i++)
        g_string_append(input, "FOO\r\n");
    codes = talk(&fixture, input->str, 4096);
    ck_assert(g_str_has_suffix(codes, " 500 421"));
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_CLOSED);
    g_free(codes);
    g_string_free(input, TRUE);
    close_session(&fixture);
}
END_TEST

START_TEST(test_lmtp_session__sends_the_silent_away)
{
    struct fixture fixture;

    open_session(&fixture);
    fixture.now += TIMEOUT - 1;
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_WAITING);
    g_free(talk(&fixture, "NOOP\r\n", 6));
    fixture.now += TIMEOUT;
    ck_assert_int_eq(lmtp_session_step(fixture.session), LMTP_STATUS_CLOSED);
    GString *out = g_string_new(NULL);

    collect(&fixture, out);
    ck_assert(g_str_has_prefix(out->str, "421 4.4.2 "));
    g_string_free(out, TRUE);
    close_session(&fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lmtp_session");
    TCase *tcase = tcase_create("lmtp_session");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_lmtp_session__conversations_however_they_are_cut, 0,
                        (int)G_N_ELEMENTS(cases));
    tcase_add_loop_test(tcase, test_lmtp_session__each_recipient_has_its_own_answer, 0,
                        (int)G_N_ELEMENTS(results));
    tcase_add_test(tcase, test_lmtp_session__a_message_over_the_limit_is_refused_at_its_end);
    tcase_add_loop_test(tcase, test_lmtp_session__a_full_account_is_refused_at_rcpt, 0,
                        (int)G_N_ELEMENTS(rooms));
    tcase_add_test(tcase, test_lmtp_session__ends_while_it_asks);
    tcase_add_test(tcase, test_lmtp_session__tells_at_once_of_a_chunk_too_many);
    tcase_add_test(tcase, test_lmtp_session__answers_to_the_longest_address);
    tcase_add_loop_test(tcase, test_lmtp_session__received_names_the_client, 0,
                        (int)G_N_ELEMENTS(peers));
    tcase_add_test(tcase, test_lmtp_session__takes_no_input_while_it_delivers);
    tcase_add_test(tcase, test_lmtp_session__limits);
    tcase_add_test(tcase, test_lmtp_session__sends_the_silent_away);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
