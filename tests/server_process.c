#include "tests/server_process.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/certificate.h"
#include "server/commands.h"
#include "server/log.h"
#include "server/server.h"
#include "server/users.h"
#include "tests/store_fixture.h"

bool server_process_is_part(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "mime-worker") == 0;
}

int server_process_part(int argc, char **argv)
{
    return command_mime_worker(argc - 1, argv + 1);
}

static char *inside(const struct server_process *server, const char *name)
{
    return g_strconcat(server->directory, "/", name, NULL);
}

static void add_users(const struct server_process *server)
{
    static const char *const names[] = {"alice", "bob"};
    char *problem = NULL;
    struct users *users = users_open(server->config.users, &problem);

    ck_assert_msg(users != NULL, "%s", problem);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        ck_assert_int_eq(users_add(users, names[i], names[i], &problem), USERS_OK);
    users_free(users);
}

void server_process_init(struct server_process *server)
{
    char *problem = NULL;

    *server = (struct server_process){.directory = fixture_directory()};
    config_init(&server->config);
    g_free(server->config.data);
    server->config.data = inside(server, "data");
    server->config.certificate = inside(server, "certificate.pem");
    server->config.private_key = inside(server, "key.pem");
    server->config.users = inside(server, "users");
    server->config.control = inside(server, "control");
    g_array_set_size(server->config.imaps, 0);
    g_array_set_size(server->config.imap, 0);
    ck_assert(config_add_listen(server->config.imaps, "127.0.0.1:0"));
    ck_assert(config_add_listen(server->config.imap, "127.0.0.1:0"));
    server->config.cleartext_login = true;
    server->config.workers = 2;
    server->config.mime_workers = 2;
    server->config.connections_per_address = 10000;
    server->config.connections_per_user = 10000;
    ck_assert_msg(
        certificate_generate(server->config.certificate, server->config.private_key, &problem),
        "%s", problem);
    add_users(server);
}

static void tell_ports(const struct server_ready *ready, void *data)
{
    const int *pipe_end = data;
    const uint16_t ports[2] = {
        g_array_index(ready->imaps, struct config_listen, 0).port,
        g_array_index(ready->imap, struct config_listen, 0).port,
    };

    if (write(*pipe_end, ports, sizeof ports) != (ssize_t)sizeof ports)
        abort();
}

static void run(struct server_process *server, int pipe_end)
{
    char *log = inside(server, "log");
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    g_free(log);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(file, STDERR_FILENO);
    log_open_stderr(true);
    /* exit(), not _exit(): sanitizers look for leaks there. */
    exit(server_run(&server->config,
                    &(struct server_hooks){.ready = tell_ports, .data = &pipe_end}));
}

void server_process_start(struct server_process *server)
{
    uint16_t ports[2];
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0)
        run(server, fds[1]);
    close(fds[1]);
    ssize_t got = read(fds[0], ports, sizeof ports);

    close(fds[0]);
    if (got != (ssize_t)sizeof ports) {
        char *log = server_process_log(server);

        ck_abort_msg("the server did not start: %s", log);
    }
    server->imaps = ports[0];
    server->imap = ports[1];
}

int server_process_stop(struct server_process *server)
{
    int status = -1;
    pid_t ended = 0;

    if (server->pid == 0)
        return status;
    kill(server->pid, SIGTERM);
    for (int i = 0; i < 1500 && ended == 0; i++) {
        ended = waitpid(server->pid, &status, WNOHANG);
        if (ended == 0)
            g_usleep(10000);
    }
    if (ended == 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, &status, 0);
    }
    server->pid = 0;
    return status;
}

char *server_process_log(const struct server_process *server)
{
    char *name = inside(server, "log");
    char *text = NULL;

    if (!g_file_get_contents(name, &text, NULL, NULL))
        text = g_strdup("");
    g_free(name);
    return text;
}

void server_process_release(struct server_process *server)
{
    server_process_stop(server);
    config_release(&server->config);
    fixture_remove(server->directory);
    *server = (struct server_process){0};
}
