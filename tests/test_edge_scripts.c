/* Every script in tests/scripts/ again, over real sockets with TLS and threads. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/server_process.h"
#include "tests/session_memory.h"
#include "tests/session_script.h"
#include "tests/socket_client.h"

struct conversation {
    struct server_process server;
    struct socket_client clients[SCRIPT_CLIENTS];
};

static GPtrArray *scripts;

static bool open_client(void *data, unsigned client, bool tls)
{
    struct conversation *conversation = data;

    return socket_client_open(&conversation->clients[client],
                              tls ? conversation->server.imaps : conversation->server.imap, tls);
}

static bool send_octets(void *data, unsigned client, const void *octets, size_t length)
{
    struct conversation *conversation = data;

    return socket_client_send(&conversation->clients[client], octets, length);
}

static bool receive(void *data, unsigned client, GByteArray *in, bool wait)
{
    struct conversation *conversation = data;

    return socket_client_receive(&conversation->clients[client], in,
                                 wait ? SOCKET_CLIENT_TIMEOUT : 0);
}

static bool start_tls(void *data, unsigned client)
{
    struct conversation *conversation = data;

    return socket_client_start_tls(&conversation->clients[client]);
}

static bool compress(void *data, unsigned client)
{
    struct conversation *conversation = data;

    socket_client_compress(&conversation->clients[client]);
    return true;
}

static void close_client(void *data, unsigned client)
{
    struct conversation *conversation = data;

    socket_client_close(&conversation->clients[client]);
}

START_TEST(test_edge_scripts__runs_script)
{
    struct conversation conversation = {0};
    const struct script_transport transport = {
        .data = &conversation,
        .open = open_client,
        .send = send_octets,
        .receive = receive,
        .start_tls = start_tls,
        .compress = compress,
        .close = close_client,
    };
    const char *path = g_ptr_array_index(scripts, (guint)_i);
    GString *report = g_string_new(NULL);

    server_process_init(&conversation.server);
    conversation.server.config.append_limit = MEMORY_SERVER_APPEND_LIMIT;
    conversation.server.config.cleartext_login = false;
    server_process_start(&conversation.server);
    enum script_result result = script_run(path, &transport, report);

    for (unsigned i = 0; i < SCRIPT_CLIENTS; i++)
        socket_client_close(&conversation.clients[i]);
    int status = server_process_stop(&conversation.server);
    char *log = server_process_log(&conversation.server);

    ck_assert_msg(result != SCRIPT_FAILED, "%s: %s\n%s", path, report->str, log);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d\n%s", status, log);
    g_free(log);
    server_process_release(&conversation.server);
    g_string_free(report, TRUE);
}
END_TEST

int main(int argc, char **argv)
{
    if (server_process_is_part(argc, argv))
        return server_process_part(argc, argv);
    scripts = argc > 1 ? g_ptr_array_new_with_free_func(g_free) : script_list(SCRIPT_DIRECTORY);
    for (int i = 1; i < argc; i++)
        g_ptr_array_add(scripts, g_strdup(argv[i]));
    Suite *suite = suite_create("edge_scripts");
    TCase *tcase = tcase_create("scripts");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_edge_scripts__runs_script, 0, (int)scripts->len);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);

    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner) + (scripts->len == 0 ? 1 : 0);

    srunner_free(runner);
    g_ptr_array_unref(scripts);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
