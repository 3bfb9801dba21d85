/* What scripts can't see of a session: back-pressure, deadlines, ends of all kinds, the log. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/limits.h"
#include "tests/session_memory.h"

static struct memory_server server;
static struct script_transport transport;
static GString *received;

static void setup(void)
{
    memory_server_init(&server);
    transport = memory_server_transport(&server);
    received = g_string_new(NULL);
}

static void teardown(void)
{
    memory_server_release(&server);
    g_string_free(received, TRUE);
}

/* What client 0 has received since the last call. */
static const char *take(void)
{
    GByteArray *in = g_byte_array_new();
    transport.receive(transport.data, 0, in, true);
    g_string_truncate(received, 0);
    g_string_append_len(received, (const char *)in->data, in->len);
    g_byte_array_unref(in);
    return received->str;
}

static const char *say(const char *text)
{
    ck_assert(transport.send(transport.data, 0, text, strlen(text)));
    return take();
}

static struct session *login(void)
{
    ck_assert(transport.open(transport.data, 0, true));
    ck_assert_ptr_nonnull(strstr(take(), "* OK"));
    ck_assert_ptr_nonnull(strstr(say("1 LOGIN alice alice\r\n"), "1 OK"));
    return server.clients[0].session;
}

static enum session_status status(void)
{
    return server.clients[0].status;
}

static bool log_has(const char *text)
{
    for (guint i = 0; i < server.log->len; i++) {
        if (strstr(g_ptr_array_index(server.log, i), text) != NULL)
            return true;
    }
    return false;
}

static void fill_inbox(size_t count, size_t size)
{
    GString *message = g_string_new(NULL);
    g_string_printf(message, "2 APPEND INBOX {%zu+}\r\n", size);
    for (size_t i = 0; i < size; i++)
        g_string_append_c(message, i % 80 == 79 ? '\n' : 'x');
    g_string_append(message, "\r\n");
    for (size_t i = 0; i < count; i++)
        ck_assert_ptr_nonnull(strstr(say(message->str), "2 OK"));
    g_string_free(message, TRUE);
}

START_TEST(takes_no_command_while_a_password_is_checked)
{
    transport.open(transport.data, 0, true);
    take();
    struct session *session = server.clients[0].session;
    const char *text = "1 LOGIN alice alice\r\n2 NAMESPACE\r\n";
    session_input(session, text, strlen(text));
    ck_assert_int_eq(session_step(session), SESSION_WAITING);
    ck_assert_uint_eq(session_output_waiting(session), 0);
    ck_assert_ptr_null(session_user(session));
    ck_assert_uint_lt(session_input_room(session), SESSION_INPUT_MAX);
    const char *answer = take();
    ck_assert_ptr_nonnull(strstr(answer, "1 OK"));
    ck_assert_ptr_nonnull(strstr(answer, "2 OK"));
    ck_assert_str_eq(session_user(session), "alice");
    ck_assert_uint_eq(session_input_room(session), SESSION_INPUT_MAX);
}
END_TEST

START_TEST(answers_a_login_that_cannot_be_checked)
{
    transport.open(transport.data, 0, true);
    take();
    ck_assert_ptr_nonnull(strstr(say("1 LOGIN nobody x\r\n"), "1 NO [UNAVAILABLE] "));
    ck_assert_ptr_nonnull(strstr(say("2 LOGIN alice alice\r\n"), "2 OK"));
}
END_TEST

START_TEST(ignores_an_answer_that_comes_after_the_end)
{
    transport.open(transport.data, 0, true);
    take();
    struct session *session = server.clients[0].session;
    const char *text = "1 LOGIN alice alice\r\n";
    session_input(session, text, strlen(text));
    session_step(session);
    session_shut_down(session, "Going down");
    ck_assert_int_eq(session_step(session), SESSION_CLOSED);
    session_authenticated(session, server.store, "alice");
    ck_assert_int_eq(session_step(session), SESSION_CLOSED);
    ck_assert_ptr_null(session_user(session));
    server.login = NULL;
    g_free(server.login_user);
    g_free(server.login_password);
}
END_TEST

START_TEST(logs_logins_and_ends_but_never_a_password)
{
    transport.open(transport.data, 0, true);
    take();
    say("1 LOGIN alice hunter2\r\n");
    say("2 LOGIN \"al ice\" correct-horse\r\n");
    /* NUL alice NUL battery-staple */
    say("3 AUTHENTICATE PLAIN AGFsaWNlAGJhdHRlcnktc3RhcGxl\r\n");
    transport.open(transport.data, 0, true);
    say("alice astray\r\n");
    take();
    transport.close(transport.data, 0);
    ck_assert(log_has("event=login result=failed reason=password address=192.0.2.7 tls=yes "
                      "mechanism=LOGIN user=\"alice\" client="));
    ck_assert(log_has("result=failed reason=password address=192.0.2.7 tls=yes mechanism=LOGIN "
                      "user=\"al ice\""));
    ck_assert(log_has("mechanism=PLAIN user=\"alice\""));
    ck_assert(log_has("event=closed"));
    ck_assert(!log_has("hunter2"));
    ck_assert(!log_has("correct-horse"));
    ck_assert(!log_has("battery"));
    ck_assert(log_has("command=\"unknown\""));
    ck_assert(!log_has("ASTRAY") && !log_has("astray"));
    ck_assert(!log_has("AGFsaWNl"));
    login();
    say("2 ID (\"name\" \"Nice\" \"version\" \"1.0\")\r\n");
    say("3 SELECT Nowhere\r\n");
    say("4 LOGOUT\r\n");
    transport.close(transport.data, 0);
    ck_assert(log_has("event=login result=ok reason=- address=192.0.2.7 tls=yes mechanism=LOGIN "
                      "user=\"alice\" client="));
    ck_assert(log_has("client=\"Nice 1.0 (192.0.2.7)\""));
    ck_assert(log_has("command=\"SELECT\" status=NO code=NONEXISTENT"));
    ck_assert(log_has("event=closed reason=logout commands=4 in="));
}
END_TEST

START_TEST(stops_producing_when_nobody_reads)
{
    struct session *session = login();
    fill_inbox(20, 200000);
    say("3 SELECT INBOX\r\n");
    server.clients[0].stalled = true;
    say("4 FETCH 1:* BODY.PEEK[]\r\n5 NOOP\r\n");
    ck_assert_int_eq(status(), SESSION_WAITING);
    ck_assert_uint_ge(session_output_waiting(session), SESSION_OUTPUT_HIGH);
    ck_assert_uint_le(session_output_waiting(session), SESSION_OUTPUT_HIGH + 201000);
    ck_assert_int_eq(session_step(session), SESSION_WAITING);
    server.clients[0].stalled = false;
    take();
    const char *end = strstr(received->str + received->len - 100, "4 OK");
    ck_assert_ptr_nonnull(end);
    ck_assert_ptr_nonnull(strstr(end, "5 OK"));
    ck_assert_uint_gt(received->len, 20 * 200000);
}
END_TEST

START_TEST(counts_what_the_edge_holds_unsent)
{
    struct session *session = login();
    session_output_unsent(session, SESSION_OUTPUT_HIGH);
    ck_assert_str_eq(say("2 NOOP\r\n"), "");
    session_output_unsent(session, 0);
    ck_assert_ptr_nonnull(strstr(take(), "2 OK"));
}
END_TEST

START_TEST(says_when_it_wants_to_be_stepped)
{
    int64_t start = server.now;
    transport.open(transport.data, 0, true);
    struct session *session = server.clients[0].session;
    ck_assert_int_eq(session_deadline(session), start + server.settings.login_timeout);
    transport.close(transport.data, 0);
    session = login();
    ck_assert_int_eq(session_deadline(session), start + server.settings.idle_timeout);
    server.now += 5;
    say("2 NOOP\r\n");
    ck_assert_int_eq(session_deadline(session), start + 5 + server.settings.idle_timeout);
    say("3 LOGOUT\r\n");
    ck_assert_int_eq(session_deadline(session), INT64_MAX);
}
END_TEST

static const struct {
    const char *before; /* what the client has said last */
} ends[] = {
    {"2 NOOP\r\n"},
    {"2 NO"},
    {"2 IDLE\r\n"},
    {"2 APPEND INBOX {10}\r\nabc"},
    {"2 APPEND INBOX {10+}\r\nabc"},
    {"2 LIST {3}\r\n"},
};

START_TEST(says_bye_when_the_server_stops)
{
    struct session *session = login();
    say(ends[_i].before);
    session_shut_down(session, "The server is going down");
    const char *answer = take();
    ck_assert_str_eq(answer, "* BYE The server is going down\r\n");
    ck_assert_int_eq(status(), SESSION_CLOSED);
    ck_assert(!session_is_idling(session));
    transport.close(transport.data, 0);
    ck_assert(log_has("event=closed reason=bye "));
}
END_TEST

START_TEST(finishes_the_running_command_before_bye)
{
    struct session *session = login();
    fill_inbox(4, 200000);
    say("3 SELECT INBOX\r\n");
    server.clients[0].stalled = true;
    say("4 FETCH 1:* BODY.PEEK[]\r\n5 NOOP\r\n");
    session_shut_down(session, "Down");
    memory_server_turn(&server);
    ck_assert_int_eq(status(), SESSION_WAITING);
    server.clients[0].stalled = false;
    take();
    const char *end = strstr(received->str + received->len - 100, "4 OK");
    ck_assert_ptr_nonnull(end);
    ck_assert_ptr_nonnull(strstr(end, "\r\n* BYE Down\r\n"));
    ck_assert_ptr_null(strstr(end, "5 OK"));
    ck_assert_int_eq(status(), SESSION_CLOSED);
}
END_TEST

START_TEST(aborts_without_what_was_not_durable)
{
    struct session *session = login();
    const char *text = "2 CREATE Box\r\n";
    session_input(session, text, strlen(text));
    session_step(session);
    ck_assert_uint_gt(session_output_waiting(session), 0);
    session_abort(session);
    const char *answer = take();
    ck_assert_ptr_null(strstr(answer, "2 OK"));
    ck_assert_ptr_nonnull(strstr(answer, "* BYE [UNAVAILABLE]"));
    ck_assert_int_eq(status(), SESSION_CLOSED);
}
END_TEST

START_TEST(ends_a_line_that_never_ends)
{
    transport.open(transport.data, 0, true);
    take();
    char *line = g_strnfill(LIMIT_LINE_BEFORE_LOGIN + 1, 'x');
    transport.send(transport.data, 0, line, strlen(line));
    ck_assert_ptr_nonnull(strstr(take(), "* BYE"));
    ck_assert_int_eq(status(), SESSION_CLOSED);
    g_free(line);
}
END_TEST

START_TEST(idles_until_done_even_when_output_is_high)
{
    struct session *session = login();
    say("2 SELECT INBOX\r\n");
    say("3 IDLE\r\n");
    ck_assert(session_is_idling(session));
    ck_assert(transport.open(transport.data, 1, true));
    session_output_unsent(session, SESSION_OUTPUT_HIGH);
    const char *more = "1 LOGIN alice alice\r\n2 APPEND INBOX {3+}\r\nabc\r\n";
    transport.send(transport.data, 1, more, strlen(more));
    ck_assert_str_eq(take(), "");
    session_output_unsent(session, 0);
    ck_assert_str_eq(take(), "* 1 EXISTS\r\n* 1 RECENT\r\n");
    ck_assert_ptr_nonnull(strstr(say("DONE\r\n"), "3 OK"));
    ck_assert(!session_is_idling(session));
}
END_TEST

START_TEST(makes_an_account_at_the_first_login)
{
    struct store_error error = {STORE_OK, ""};
    struct account *account = NULL;
    ck_assert_int_eq(store_open_account(server.store, "alice", &account, &error), STORE_NOT_FOUND);
    struct session *session = login();
    ck_assert_ptr_nonnull(session_account(session));
    ck_assert_int_eq(store_open_account(server.store, "alice", &account, &error), STORE_OK);
    ck_assert_ptr_eq(account, session_account(session));
    account_unref(account);
}
END_TEST

START_TEST(refuses_more_than_a_command_may_hold)
{
    login();
    GString *text = g_string_new("2 APPEND INBOX");
    for (int i = 0; i < 70; i++) {
        g_string_append(text, " {500000+}\r\n");
        for (int j = 0; j < 5000; j++)
            g_string_append(text,
                            "0123456789012345678901234567890123456789012345678901234567890123456789"
                            "012345678901234567890123456789");
    }
    g_string_append(text, "\r\n3 STATUS INBOX (MESSAGES)\r\n");
    transport.send(transport.data, 0, text->str, text->len);
    g_string_free(text, TRUE);
    const char *answer = take();
    ck_assert_ptr_nonnull(strstr(answer, "2 NO [LIMIT]"));
    ck_assert_ptr_nonnull(strstr(answer, "(MESSAGES 0)"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session_core");
    TCase *tests = tcase_create("session");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, takes_no_command_while_a_password_is_checked);
    tcase_add_test(tests, answers_a_login_that_cannot_be_checked);
    tcase_add_test(tests, ignores_an_answer_that_comes_after_the_end);
    tcase_add_test(tests, logs_logins_and_ends_but_never_a_password);
    tcase_add_test(tests, stops_producing_when_nobody_reads);
    tcase_add_test(tests, counts_what_the_edge_holds_unsent);
    tcase_add_test(tests, says_when_it_wants_to_be_stepped);
    tcase_add_loop_test(tests, says_bye_when_the_server_stops, 0, (int)G_N_ELEMENTS(ends));
    tcase_add_test(tests, finishes_the_running_command_before_bye);
    tcase_add_test(tests, aborts_without_what_was_not_durable);
    tcase_add_test(tests, ends_a_line_that_never_ends);
    tcase_add_test(tests, idles_until_done_even_when_output_is_high);
    tcase_add_test(tests, makes_an_account_at_the_first_login);
    tcase_add_test(tests, refuses_more_than_a_command_may_hold);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
