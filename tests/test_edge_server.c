/* What only shows over real sockets: TLS, compression, back-pressure, limits, signals. */
#include <check.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/certificate.h"
#include "server/control.h"
#include "server/control_socket.h"
#include "tests/server_process.h"
#include "tests/socket_client.h"
#include "tests/store_fixture.h"

enum { MEGABYTE = 1024 * 1024 };

/* Sanitizers keep what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEGABYTES_HELD = 400, FETCHES = 30 }; /* and are slow */
#else
enum { MEGABYTES_HELD = 40, FETCHES = 100 };
#endif

static struct server_process server;

static void set_up(void)
{
    server_process_init(&server);
}

static void tear_down(void)
{
    int status = server_process_stop(&server);
    char *log = server_process_log(&server);

    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d\n%s", status, log);
    g_free(log);
    server_process_release(&server);
}

static void check_line(struct socket_client *client, const char *begin)
{
    char *line = socket_client_line(client);

    ck_assert_msg(line != NULL && g_str_has_prefix(line, begin), "'%s' is not '%s...'", line,
                  begin);
    g_free(line);
}

/* The answer begins with or contains what is expected. */
static void check_command(struct socket_client *client, const char *text, const char *expected)
{
    char *tag = g_strndup(text, strcspn(text, " "));
    char *answer = socket_client_command(client, tag, text);

    ck_assert_msg(answer != NULL && strstr(answer, expected) != NULL, "%s: '%.1000s' without '%s'",
                  text, answer, expected);
    g_free(answer);
    g_free(tag);
}

static void open_with(struct socket_client *client, bool tls)
{
    ck_assert(socket_client_open(client, tls ? server.imaps : server.imap, tls));
    check_line(client, "* OK [CAPABILITY IMAP4rev1");
}

static void log_in(struct socket_client *client, const char *user)
{
    char *command = g_strdup_printf("l LOGIN %s %s", user, user);

    open_with(client, true);
    check_command(client, command, "l OK");
    g_free(command);
}

static void send_text(struct socket_client *client, const char *text)
{
    ck_assert(socket_client_send(client, text, strlen(text)));
}

/* A message with no header whose octets do not compress well, in lines. */
static char *noise(size_t length)
{
    char *octets = g_malloc(length + 1);
    uint32_t state = 1;

    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        octets[i] = i % 78 == 77 ? '\n' : i % 78 == 0 ? '~' : (char)(' ' + (state >> 24) % 94);
    }
    memcpy(octets, "\r\n", 2);
    octets[length] = '\0';
    return octets;
}

static void append_message(struct socket_client *client, const char *octets)
{
    char *command = g_strdup_printf("p APPEND INBOX {%zu+}\r\n", strlen(octets));

    send_text(client, command);
    send_text(client, octets);
    char *answer = socket_client_command(client, "p", "");

    ck_assert_msg(answer != NULL && strstr(answer, "p OK") != NULL, "%s", answer);
    g_free(answer);
    g_free(command);
}

/* The next octets, exactly so many: a new array. */
static GByteArray *read_octets(struct socket_client *client, size_t length)
{
    GByteArray *in = g_byte_array_new();

    while (in->len < length) {
        guint before = in->len;
        bool more = socket_client_receive(client, in, SOCKET_CLIENT_TIMEOUT);

        ck_assert_msg(more && in->len > before, "only %u of %zu octets", in->len, length);
    }
    g_byte_array_append(client->input, in->data + length, (guint)(in->len - length));
    g_byte_array_set_size(in, (guint)length);
    return in;
}

static void check_fetched(struct socket_client *client, const char *octets)
{
    char *begin = g_strdup_printf("* 1 FETCH (BODY[] {%zu}", strlen(octets));

    send_text(client, "f FETCH 1 BODY.PEEK[]\r\n");
    check_line(client, begin);
    GByteArray *in = read_octets(client, strlen(octets) + strlen(")\r\nf OK "));

    ck_assert_mem_eq(in->data, octets, strlen(octets));
    ck_assert_mem_eq(in->data + strlen(octets), ")\r\nf OK ", 8);
    g_byte_array_unref(in);
    g_free(begin);
}

START_TEST(test_server__carries_a_session_over_tls_and_compression)
{
    struct socket_client client;
    char *octets = noise(3 * MEGABYTE);

    server_process_start(&server);
    log_in(&client, "alice");
    append_message(&client, octets);
    check_command(&client, "s SELECT INBOX", "* 1 EXISTS");
    check_fetched(&client, octets);
    check_line(&client, "");
    check_command(&client, "c COMPRESS DEFLATE", "c OK");
    socket_client_compress(&client);
    check_command(&client, "n NOOP", "n OK");
    check_fetched(&client, octets);
    check_line(&client, "");
    append_message(&client, octets);
    check_command(&client, "q LOGOUT", "* BYE");
    ck_assert_ptr_null(socket_client_line(&client));
    socket_client_close(&client);
    g_free(octets);
}
END_TEST

START_TEST(test_server__throws_away_what_came_before_starttls)
{
    struct socket_client client;

    server_process_start(&server);
    open_with(&client, false);
    send_text(&client, "s STARTTLS\r\nx CAPABILITY\r\n");
    check_line(&client, "s OK");
    ck_assert(socket_client_start_tls(&client));
    char *answer = socket_client_command(&client, "n", "n NOOP");

    ck_assert_msg(answer != NULL && g_str_has_prefix(answer, "n OK"), "%s", answer);
    g_free(answer);
    check_command(&client, "c CAPABILITY", "c OK");
    check_command(&client, "t STARTTLS", "t BAD");
    check_command(&client, "l LOGIN alice alice", "l OK");
    socket_client_close(&client);
}
END_TEST

START_TEST(test_server__makes_structures_in_its_confined_processes)
{
    struct socket_client client;

    server_process_start(&server);
    log_in(&client, "alice");
    append_message(&client, "Subject: Hi\r\nContent-Type: text/html\r\n\r\n<p>\r\n");
    check_command(&client, "s SELECT INBOX", "s OK");
    check_command(&client, "f FETCH 1 BODYSTRUCTURE", "\"html\"");
    check_command(&client, "g SEARCH BODY \"<p>\"", "* SEARCH 1");
    socket_client_close(&client);
}
END_TEST

START_TEST(test_server__tells_an_idling_session_of_another_ones_change)
{
    struct socket_client idler;
    struct socket_client writer;

    server_process_start(&server);
    log_in(&idler, "alice");
    log_in(&writer, "alice");
    check_command(&idler, "s SELECT INBOX", "s OK");
    send_text(&idler, "i IDLE\r\n");
    check_line(&idler, "+ ");
    append_message(&writer, "Subject: Hi\r\n\r\n");
    check_line(&idler, "* 1 EXISTS");
    send_text(&idler, "DONE\r\n");
    socket_client_close(&idler);
    socket_client_close(&writer);
}
END_TEST

/* --- clients that do not behave --- */

static size_t resident(void)
{
    char *path = g_strdup_printf("/proc/%d/statm", (int)server.pid);
    FILE *file = fopen(path, "r");
    unsigned long pages = 0;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    g_free(path);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(test_server__holds_little_for_a_client_that_does_not_read)
{
    enum { READERS = 10 };
    struct socket_client lazy[READERS];
    struct socket_client other;
    char *octets = noise(MEGABYTE / 2);
    GString *commands = g_string_new(NULL);

    server_process_start(&server);
    log_in(&other, "bob");
    log_in(&lazy[0], "alice");
    append_message(&lazy[0], octets);
    for (int i = 0; i < FETCHES; i++)
        g_string_append_printf(commands, "f%d FETCH 1 BODY.PEEK[]\r\n", i);
    for (int i = 0; i < READERS; i++) {
        if (i > 0)
            log_in(&lazy[i], "alice");
        check_command(&lazy[i], "s SELECT INBOX", "* 1 EXISTS");
        check_command(&lazy[i], "w FETCH 1 BODY.PEEK[HEADER]", "w OK");
    }
    size_t before = resident();

    for (int i = 0; i < READERS; i++)
        send_text(&lazy[i], commands->str);
    g_usleep(1000 * 1000);
    check_command(&other, "n NOOP", "n OK");
    /* All of it would be 500 megabytes (150 with sanitizers, which then show nothing here). */
    ck_assert_msg(resident() < before + MEGABYTES_HELD * (size_t)MEGABYTE, "%zu megabytes more",
                  (resident() - before) / MEGABYTE);
    g_byte_array_unref(read_octets(&lazy[0], FETCHES * strlen(octets)));
    for (int i = 0; i < READERS; i++)
        socket_client_abort(&lazy[i]);
    check_command(&other, "m NOOP", "m OK");
    socket_client_close(&other);
    g_string_free(commands, TRUE);
    g_free(octets);
}
END_TEST

START_TEST(test_server__stops_reading_from_a_client_that_does_not_read)
{
    struct socket_client client;
    char *octets = noise(MEGABYTE / 4);
    GString *commands = g_string_new(NULL);

    server_process_start(&server);
    log_in(&client, "alice");
    append_message(&client, octets);
    check_command(&client, "s SELECT INBOX", "* 1 EXISTS");
    for (int i = 0; i < 1000000; i++)
        g_string_append(commands, "f FETCH 1 BODY.PEEK[]\r\n");
    size_t before = resident();
    size_t sent = socket_client_push(&client, commands->str, commands->len);

    ck_assert_uint_lt(sent, commands->len);
    ck_assert_uint_lt(resident(), before + MEGABYTES_HELD * (size_t)MEGABYTE);
    socket_client_abort(&client);
    g_string_free(commands, TRUE);
    g_free(octets);
}
END_TEST

static const char *const rubbish[] = {
    "GET / HTTP/1.1\r\n\r\n",
    "\x16\x03\x01\xff\xff",
    "",
    "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
};

START_TEST(test_server__survives_rubbish_instead_of_tls)
{
    struct socket_client client;

    server_process_start(&server);
    ck_assert(socket_client_open(&client, server.imaps, false));
    send_text(&client, rubbish[_i]);
    socket_client_abort(&client);
    log_in(&client, "alice");
    socket_client_close(&client);
}
END_TEST

START_TEST(test_server__survives_rubbish_instead_of_compression)
{
    struct socket_client client;

    server_process_start(&server);
    log_in(&client, "alice");
    check_command(&client, "c COMPRESS DEFLATE", "c OK");
    send_text(&client, "n NOOP\r\nn NOOP\r\nn NOOP\r\n");
    GByteArray *in = g_byte_array_new();

    while (socket_client_receive(&client, in, SOCKET_CLIENT_TIMEOUT))
        g_byte_array_set_size(in, 0);
    g_byte_array_unref(in);
    socket_client_close(&client);
    log_in(&client, "alice");
    socket_client_close(&client);
}
END_TEST

START_TEST(test_server__survives_clients_that_vanish)
{
    static const char *const last[] = {
        "a LOGIN alice alice\r\n",
        "a LOGIN alice alice\r\nb SELECT INBOX\r\nc IDLE\r\n",
        "a LOGIN alice alice\r\nb APPEND INBOX {100000+}\r\nhalf of it",
        "a LOGIN alice {5}\r\n",
        "a LOGIN nobody wrong\r\n",
    };
    struct socket_client client;

    server_process_start(&server);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(last); i++) {
            ck_assert(socket_client_open(&client, server.imaps, true));
            send_text(&client, last[i]);
            if (round % 2 == 0)
                g_usleep(1000 * (gulong)round);
            socket_client_abort(&client);
        }
    }
    open_with(&client, true);
    socket_client_close(&client);
}
END_TEST

/* Also large messages, which wait for the disk as another one is on its way. */
START_TEST(test_server__answers_all_that_came_before_the_clients_end)
{
    g_autofree char *large = noise(MEGABYTE);
    struct socket_client client, other;

    server_process_start(&server);
    log_in(&other, "alice");
    send_text(&other, "x APPEND INBOX {1000000}\r\n");
    check_line(&other, "+ ");
    open_with(&client, false);
    send_text(&client, "a LOGIN alice alice\r\nb SELECT INBOX\r\n");
    for (int i = 0; i < 3; i++) {
        g_autofree char *line = g_strdup_printf("l APPEND INBOX {%d+}\r\n", MEGABYTE);

        send_text(&client, line);
        send_text(&client, large);
        send_text(&client, "\r\n");
    }
    if (_i == 0) {
        send_text(&client, "c NOOP\r\n");
    }
    shutdown(client.fd, SHUT_WR);
    GByteArray *in = g_byte_array_new();

    while (socket_client_receive(&client, in, SOCKET_CLIENT_TIMEOUT))
        ;
    g_byte_array_append(in, (const uint8_t *)"", 1);
    const char *last = g_strrstr((const char *)in->data, _i == 0 ? "\r\nc OK" : " 3] Appended");
    ck_assert_msg(last != NULL, "%s", (const char *)in->data);
    g_byte_array_unref(in);
    socket_client_close(&other);
    socket_client_close(&client);
}
END_TEST

/* --- limits --- */

START_TEST(test_server__limits_connections_of_an_address)
{
    struct socket_client clients[3];
    struct socket_client more;

    server.config.connections_per_address = G_N_ELEMENTS(clients);
    server_process_start(&server);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        open_with(&clients[i], true);
    ck_assert(socket_client_open(&more, server.imap, false));
    check_line(&more, "* BYE [UNAVAILABLE] Too many");
    ck_assert_ptr_null(socket_client_line(&more));
    socket_client_close(&more);
    ck_assert(socket_client_open(&more, server.imaps, true));
    check_line(&more, "* BYE [UNAVAILABLE] Too many");
    socket_client_close(&more);
    check_command(&clients[0], "q LOGOUT", "q OK");
    socket_client_close(&clients[0]);
    g_usleep(200 * 1000);
    open_with(&clients[0], true);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        socket_client_close(&clients[i]);
}
END_TEST

START_TEST(test_server__limits_sessions_of_a_user)
{
    struct socket_client clients[2];
    struct socket_client more;

    server.config.connections_per_user = G_N_ELEMENTS(clients);
    server_process_start(&server);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        log_in(&clients[i], "alice");
    open_with(&more, true);
    check_command(&more, "l LOGIN alice alice", "l NO [LIMIT]");
    check_command(&clients[0], "q LOGOUT", "q OK");
    check_command(&more, "l LOGIN alice alice", "l OK");
    socket_client_close(&more);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        socket_client_close(&clients[i]);
}
END_TEST

START_TEST(test_server__lets_failed_logins_wait)
{
    static const char *const wrong[] = {
        "a LOGIN alice wrong",
        "a LOGIN nobody wrong",
    };
    struct socket_client client;
    char *answers[G_N_ELEMENTS(wrong)];

    server_process_start(&server);
    open_with(&client, true);
    int64_t before = g_get_monotonic_time();

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        answers[i] = socket_client_command(&client, "a", wrong[i]);
        ck_assert_pstr_eq(answers[i], answers[0]);
    }
    check_command(&client, "l LOGIN alice alice", "l OK");
    /* 0.1 and 0.2 seconds. */
    ck_assert_int_ge(g_get_monotonic_time() - before, 300 * 1000);
    ck_assert_ptr_nonnull(strstr(answers[0], "a NO [AUTHENTICATIONFAILED]"));
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_free(answers[i]);
    socket_client_close(&client);
}
END_TEST

START_TEST(test_server__hangs_up_on_those_who_do_not_log_in)
{
    struct socket_client client;

    server.config.login_seconds = 1;
    server_process_start(&server);
    open_with(&client, true);
    check_line(&client, "* BYE");
    ck_assert_ptr_null(socket_client_line(&client));
    socket_client_close(&client);
}
END_TEST

/* --- the control socket --- */

static enum control_result ask(const char *request)
{
    GPtrArray *lines = NULL;
    char *problem = NULL;
    enum control_result result = control_ask(server.config.control, request, &lines, &problem);

    if (lines != NULL) {
        ck_assert_uint_eq(lines->len, 0);
        g_ptr_array_unref(lines);
    }
    g_free(problem);
    return result;
}

START_TEST(test_server__git_has_at_once_what_is_settled)
{
    char *repository = g_strconcat(server.config.data, "/mail/alice.git", NULL);
    struct socket_client client;

    server_process_start(&server);
    log_in(&client, "alice");
    for (int i = 1; i <= 20; i++) {
        append_message(&client, "Subject: Hi\r\n\r\n");
        ck_assert_int_eq(ask("settle\talice"), CONTROL_DONE);
        char *count = GIT_OUTPUT(repository, "rev-list", "--count", "refs/heads/INBOX");

        /* The first one made the mailbox. */
        ck_assert_int_eq(strtol(count, NULL, 10), i + 1);
        g_free(count);
    }
    socket_client_close(&client);
    g_free(repository);
}
END_TEST

START_TEST(test_server__settles_only_what_has_a_name)
{
    static const struct {
        const char *request;
        enum control_result result;
    } requests[] = {{"settle\talice", CONTROL_DONE},  {"settle\tnobody", CONTROL_DONE},
                    {"settle\t../x", CONTROL_DONE},   {"settle", CONTROL_FAILED},
                    {"settle\ta\tb", CONTROL_FAILED}, {"settled\ta", CONTROL_FAILED}};

    server_process_start(&server);
    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++)
        ck_assert_int_eq(ask(requests[i].request), requests[i].result);
}
END_TEST

/* Those beyond the server's limit are refused. */
START_TEST(test_server__survives_admins_that_do_not_wait)
{
    static const char request[] = "settle\talice\n";
    enum control_result result = CONTROL_FAILED;

    server_process_start(&server);
    for (int i = 0; i < 3 * CONTROL_CLIENTS_MAX; i++) {
        int fd = control_connect(server.config.control);

        ck_assert_int_ge(fd, 0);
        (void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
        close(fd);
    }
    for (int i = 0; i < 1000 && result == CONTROL_FAILED; i++)
        result = ask("settle\talice");
    ck_assert_int_eq(result, CONTROL_DONE);
}
END_TEST

/* --- signals --- */

START_TEST(test_server__says_bye_when_it_is_told_to_stop)
{
    struct socket_client clients[3];

    server_process_start(&server);
    open_with(&clients[0], false);
    log_in(&clients[1], "alice");
    log_in(&clients[2], "bob");
    check_command(&clients[2], "s SELECT INBOX", "s OK");
    send_text(&clients[2], "i IDLE\r\n");
    check_line(&clients[2], "+ ");
    int64_t before = g_get_monotonic_time();

    kill(server.pid, SIGTERM);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        check_line(&clients[i], "* BYE");
        ck_assert_ptr_null(socket_client_line(&clients[i]));
        socket_client_close(&clients[i]);
    }
    int status = server_process_stop(&server);

    ck_assert_int_lt(g_get_monotonic_time() - before, 3000 * 1000);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    server_process_start(&server);
}
END_TEST

START_TEST(test_server__stops_in_time_whatever_clients_do)
{
    struct socket_client clients[2];
    char *octets = noise(MEGABYTE);

    server_process_start(&server);
    log_in(&clients[0], "alice");
    append_message(&clients[0], octets);
    check_command(&clients[0], "s SELECT INBOX", "* 1 EXISTS");
    for (int i = 0; i < 100; i++)
        send_text(&clients[0], "f FETCH 1 BODY.PEEK[]\r\n");
    log_in(&clients[1], "bob");
    send_text(&clients[1], "p APPEND INBOX {1000}\r\n");
    int64_t before = g_get_monotonic_time();
    int status = server_process_stop(&server);

    ck_assert_int_lt(g_get_monotonic_time() - before, 8000 * 1000);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    socket_client_abort(&clients[0]);
    socket_client_abort(&clients[1]);
    g_free(octets);
    server_process_start(&server);
}
END_TEST

/* The serial number of the certificate that a new connection gets. */
static char *serial(void)
{
    struct socket_client client;

    open_with(&client, true);
    X509 *certificate = SSL_get1_peer_certificate(client.ssl);
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *hex = BN_bn2hex(number);
    char *copy = g_strdup(hex);

    OPENSSL_free(hex);
    BN_free(number);
    X509_free(certificate);
    socket_client_close(&client);
    return copy;
}

static void wait_for_log(const char *text)
{
    bool found = false;

    for (int i = 0; i < 500 && !found; i++) {
        char *log = server_process_log(&server);

        found = strstr(log, text) != NULL;
        g_free(log);
        g_usleep(10000);
    }
    ck_assert_msg(found, "no '%s' in the log", text);
}

START_TEST(test_server__reads_a_new_certificate_and_keeps_the_old_one_if_it_is_bad)
{
    char *problem = NULL;

    server_process_start(&server);
    char *first = serial();

    ck_assert(certificate_generate(server.config.certificate, server.config.private_key, &problem));
    kill(server.pid, SIGHUP);
    wait_for_log("certificate=new");
    char *second = serial();

    ck_assert_str_ne(first, second);
    ck_assert(g_file_set_contents(server.config.certificate, "rubbish", -1, NULL));
    kill(server.pid, SIGHUP);
    wait_for_log("certificate=kept");
    char *third = serial();

    ck_assert_str_eq(second, third);
    g_free(first);
    g_free(second);
    g_free(third);
    ck_assert(certificate_generate(server.config.certificate, server.config.private_key, &problem));
}
END_TEST

START_TEST(test_server__logs_no_password)
{
    struct socket_client client;

    server_process_start(&server);
    open_with(&client, true);
    check_command(&client, "a LOGIN alice s3cret-word", "a NO");
    check_command(&client, "b LOGIN alice \"s3cret-word", "b BAD");
    check_command(&client, "c AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldC13b3Jk", "c NO");
    socket_client_close(&client);
    wait_for_log("result=failed");
    char *log = server_process_log(&server);

    ck_assert_ptr_null(strstr(log, "s3cret"));
    ck_assert_ptr_null(strstr(log, "AGFsaWNl"));
    g_free(log);
}
END_TEST

int main(int argc, char **argv)
{
    if (server_process_is_part(argc, argv))
        return server_process_part(argc, argv);
    Suite *suite = suite_create("edge_server");
    TCase *tcase = tcase_create("server");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_server__carries_a_session_over_tls_and_compression);
    tcase_add_test(tcase, test_server__throws_away_what_came_before_starttls);
    tcase_add_test(tcase, test_server__makes_structures_in_its_confined_processes);
    tcase_add_test(tcase, test_server__tells_an_idling_session_of_another_ones_change);
    tcase_add_test(tcase, test_server__holds_little_for_a_client_that_does_not_read);
    tcase_add_test(tcase, test_server__stops_reading_from_a_client_that_does_not_read);
    tcase_add_loop_test(tcase, test_server__survives_rubbish_instead_of_tls, 0,
                        G_N_ELEMENTS(rubbish));
    tcase_add_test(tcase, test_server__survives_rubbish_instead_of_compression);
    tcase_add_test(tcase, test_server__survives_clients_that_vanish);
    tcase_add_loop_test(tcase, test_server__answers_all_that_came_before_the_clients_end, 0, 2);
    tcase_add_test(tcase, test_server__limits_connections_of_an_address);
    tcase_add_test(tcase, test_server__limits_sessions_of_a_user);
    tcase_add_test(tcase, test_server__lets_failed_logins_wait);
    tcase_add_test(tcase, test_server__hangs_up_on_those_who_do_not_log_in);
    tcase_add_test(tcase, test_server__git_has_at_once_what_is_settled);
    tcase_add_test(tcase, test_server__settles_only_what_has_a_name);
    tcase_add_test(tcase, test_server__survives_admins_that_do_not_wait);
    tcase_add_test(tcase, test_server__says_bye_when_it_is_told_to_stop);
    tcase_add_test(tcase, test_server__stops_in_time_whatever_clients_do);
    tcase_add_test(tcase, test_server__reads_a_new_certificate_and_keeps_the_old_one_if_it_is_bad);
    tcase_add_test(tcase, test_server__logs_no_password);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
