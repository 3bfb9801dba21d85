#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/inherited.h"
#include "server/notify.h"
#include "tests/store_fixture.h"

/* --- what is said --- */

/* A manager's socket at a path or, with '@', an abstract name. */
static int manager_socket(const char *address)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, address, length);
    if (address[0] == '@')
        to.sun_path[0] = '\0';
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
                                      (address[0] == '@' ? 0 : 1))),
                     0);
    setenv("NOTIFY_SOCKET", address, 1);
    return fd;
}

static void assert_heard(int fd, const char *expected)
{
    char text[256];
    ssize_t length = recv(fd, text, sizeof text - 1, 0);

    ck_assert_int_ge(length, 0);
    text[length] = '\0';
    ck_assert_str_eq(text, expected);
}

START_TEST(test_notify__sends_each_message_as_one_datagram)
{
    char *directory = fixture_directory();
    char *path = g_strconcat(directory, "/socket", NULL);
    char *abstract = g_strdup_printf("@annal-test-notify-%d", (int)getpid());
    const char *const addresses[] = {path, abstract};

    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        int fd = manager_socket(addresses[i]);
        struct notify *notify = notify_new();

        ck_assert_ptr_nonnull(notify);
        ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
        notify_tell(notify, "READY=1\nSTATUS=at work");
        notify_tell(notify, "WATCHDOG=1");
        assert_heard(fd, "READY=1\nSTATUS=at work");
        assert_heard(fd, "WATCHDOG=1");
        ck_assert_int_lt(recv(fd, &(char){0}, 1, 0), 0);
        notify_free(notify);
        close(fd);
    }
    g_free(abstract);
    g_free(path);
    fixture_remove(directory);
}
END_TEST

START_TEST(test_notify__says_when_a_reload_began)
{
    char *directory = fixture_directory();
    char *path = g_strconcat(directory, "/socket", NULL);
    int fd = manager_socket(path);
    struct notify *notify = notify_new();
    char text[128] = "";

    notify_tell_reloading(notify);
    ck_assert_int_gt(recv(fd, text, sizeof text - 1, 0), 0);
    ck_assert_int_eq(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    ck_assert_int_gt(strtoll(text + 27, NULL, 10), 0);
    notify_free(notify);
    close(fd);
    g_free(path);
    fixture_remove(directory);
}
END_TEST

START_TEST(test_notify__is_silent_where_nobody_listens)
{
    static const char *const addresses[] = {NULL, "", "relative", "@", "/", "vsock:2:1234"};
    char *longer = g_strnfill(sizeof((struct sockaddr_un *)NULL)->sun_path, '/');

    for (size_t i = 0; i <= G_N_ELEMENTS(addresses); i++) {
        const char *address = i < G_N_ELEMENTS(addresses) ? addresses[i] : longer;

        if (address != NULL)
            setenv("NOTIFY_SOCKET", address, 1);
        else
            unsetenv("NOTIFY_SOCKET");
        setenv("WATCHDOG_USEC", "1000000", 1);
        struct notify *notify = notify_new();

        ck_assert_ptr_null(notify);
        ck_assert_int_eq(notify_watchdog(notify), 0);
        notify_tell(notify, "READY=1");
        notify_tell_reloading(notify);
        ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
        ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    }
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    struct notify *notify = notify_new();

    ck_assert_ptr_nonnull(notify);
    notify_tell(notify, "READY=1");
    notify_free(notify);
    g_free(longer);
}
END_TEST

START_TEST(test_notify__takes_a_watchdog_that_is_its_own)
{
    char *own = g_strdup_printf("%d", (int)getpid());
    char *other = g_strdup_printf("%d", (int)getppid());
    const struct {
        const char *pid;
        const char *time;
        int64_t expected;
    } cases[] = {
        {NULL, "30000000", 30000000},
        {own, "30000000", 30000000},
        {other, "30000000", 0},
        {"", "30000000", 0},
        {"x", "30000000", 0},
        {own, NULL, 0},
        {own, "", 0},
        {own, "0", 0},
        {own, "-5", 0},
        {own, "5s", 0},
        {own, "18446744073709551615", 0},
        {own, "99999999999999999999999", 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        setenv("NOTIFY_SOCKET", "/nowhere", 1);
        if (cases[i].pid != NULL)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        if (cases[i].time != NULL)
            setenv("WATCHDOG_USEC", cases[i].time, 1);
        struct notify *notify = notify_new();

        ck_assert_msg(notify_watchdog(notify) == cases[i].expected, "case %zu", i);
        notify_free(notify);
    }
    g_free(own);
    g_free(other);
}
END_TEST

/* --- what is handed over --- */

static int listening_socket(void)
{
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static void set_variables(const char *count, const char *names)
{
    char pid[16];

    g_snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

/* Runs in a process of its own, whose descriptors 3 to 5 are listening sockets. */
static void in_child(void (*run)(void))
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int fd = fcntl(listening_socket(), F_DUPFD, 20);

        for (int to = 3; to <= 5; to++)
            dup2(fd, to);
        run();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

#define DEMAND(condition)                                           \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            _exit(1);                                               \
        }                                                           \
    } while (0)

static struct inherited *demand_inherited(void)
{
    struct inherited *inherited = NULL;
    char *problem = NULL;

    DEMAND(inherited_new(&inherited, &problem));
    DEMAND(getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL &&
           getenv("LISTEN_FDNAMES") == NULL);
    return inherited;
}

static void take_by_name(void)
{
    set_variables("3", "imaps:imap:imaps");
    struct inherited *inherited = demand_inherited();

    DEMAND(fcntl(3, F_GETFD) == FD_CLOEXEC);
    DEMAND((fcntl(3, F_GETFL) & O_NONBLOCK) != 0);
    DEMAND(inherited_has(inherited, "imap") && !inherited_has(inherited, "lmtp"));
    DEMAND(!inherited_has(NULL, "imap"));
    DEMAND(inherited_take(inherited, "lmtp") == -1);
    DEMAND(inherited_take(inherited, "imaps") == 3);
    DEMAND(strcmp(inherited_left(inherited), "imap") == 0);
    DEMAND(inherited_take(inherited, "imaps") == 5);
    DEMAND(inherited_take(inherited, "imaps") == -1);
    DEMAND(inherited_take(inherited, "imap") == 4);
    DEMAND(inherited_left(inherited) == NULL);
    DEMAND(!inherited_has(inherited, "imap"));
    inherited_free(inherited);
    DEMAND(fcntl(3, F_GETFD) >= 0 && fcntl(4, F_GETFD) >= 0);
}

static void close_what_is_left(void)
{
    set_variables("2", "imaps:imap");
    struct inherited *inherited = demand_inherited();

    DEMAND(inherited_take(inherited, "imap") == 4);
    inherited_free(inherited);
    DEMAND(fcntl(3, F_GETFD) < 0 && errno == EBADF);
    DEMAND(fcntl(4, F_GETFD) >= 0);
    DEMAND(fcntl(5, F_GETFD) >= 0); /* not ours */
}

static void name_what_has_no_name(void)
{
    static const char *const names[] = {NULL, "", ":", "a:", ":a"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        set_variables("2", names[i]);
        struct inherited *inherited = demand_inherited();

        DEMAND(inherited_take(inherited, "a") == (i == 3 ? 3 : i == 4 ? 4 : -1));
        DEMAND(inherited_take(inherited, "unknown") == (i == 3 ? 4 : 3));
    }
}

static void ignore_what_is_not_ours(void)
{
    static const struct {
        const char *pid;
        const char *count;
    } cases[] = {{"1", "1"}, {"", "1"}, {"x", "1"}, {NULL, "1"}, {"", ""},
                 {"", "0"},  {"", "x"}, {"", "-1"}, {"", "65"},  {"", "4294967297"}};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        set_variables(cases[i].count, "imaps");
        if (i < 3)
            setenv("LISTEN_PID", cases[i].pid, 1);
        else if (i == 3)
            unsetenv("LISTEN_PID");
        struct inherited *inherited = demand_inherited();

        DEMAND(inherited == NULL);
        DEMAND(inherited_take(inherited, "imaps") == -1);
        DEMAND(inherited_left(inherited) == NULL);
        inherited_free(inherited);
        DEMAND((fcntl(3, F_GETFD) & FD_CLOEXEC) == 0);
    }
}

static void demand_refusal(void)
{
    struct inherited *inherited = NULL;
    char *problem = NULL;

    set_variables("1", "imaps");
    DEMAND(!inherited_new(&inherited, &problem));
    DEMAND(problem != NULL && inherited == NULL);
    g_free(problem);
}

static void refuse_what_does_not_listen(void)
{
    int fds[2];

    DEMAND(dup2(socket(AF_INET, SOCK_DGRAM, 0), 3) == 3);
    demand_refusal();
    DEMAND(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && dup2(fds[0], 3) == 3);
    demand_refusal();
    DEMAND(pipe(fds) == 0 && dup2(fds[0], 3) == 3);
    demand_refusal();
    close(3);
    demand_refusal();
}

START_TEST(test_inherited__gives_sockets_by_name)
{
    in_child(take_by_name);
}
END_TEST

START_TEST(test_inherited__closes_what_nobody_took)
{
    in_child(close_what_is_left);
}
END_TEST

START_TEST(test_inherited__calls_a_socket_without_a_name_unknown)
{
    in_child(name_what_has_no_name);
}
END_TEST

START_TEST(test_inherited__leaves_alone_what_is_not_for_this_process)
{
    in_child(ignore_what_is_not_ours);
}
END_TEST

START_TEST(test_inherited__refuses_what_is_no_listening_socket)
{
    in_child(refuse_what_does_not_listen);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("notify");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_notify__sends_each_message_as_one_datagram);
    tcase_add_test(tcase, test_notify__says_when_a_reload_began);
    tcase_add_test(tcase, test_notify__is_silent_where_nobody_listens);
    tcase_add_test(tcase, test_notify__takes_a_watchdog_that_is_its_own);
    tcase_add_test(tcase, test_inherited__gives_sockets_by_name);
    tcase_add_test(tcase, test_inherited__closes_what_nobody_took);
    tcase_add_test(tcase, test_inherited__calls_a_socket_without_a_name_unknown);
    tcase_add_test(tcase, test_inherited__leaves_alone_what_is_not_for_this_process);
    tcase_add_test(tcase, test_inherited__refuses_what_is_no_listening_socket);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);

    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
