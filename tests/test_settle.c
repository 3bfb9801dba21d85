/* What a client was told is done, for those who look at the repository: settle.h from the inside,
 * admin_settle.h beside all kinds of servers. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/admin_settle.h"
#include "server/control_socket.h"
#include "server/settle.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { WORKERS = 2, OWNER = 1, MANY = 100, THREADS = 4 };

static const struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN};
static struct mail_fixture server; /* with a journal */
static struct mailbox *inbox;
static struct settling *settling;
static struct store_error error;

static void open_server(void)
{
    ck_assert_int_eq(store_open(&server.store, server.directory, server.host, &error), 0);
    ck_assert_int_eq(store_open_journal(server.store, &journal, &error), 0);
    ck_assert_int_eq(store_open_account(server.store, "alice", &server.account, &error), 0);
    inbox = open_mailbox(&server, "INBOX");
}

static void set_up(void)
{
    mail_fixture_init(&server, NULL);
    mail_fixture_close(&server);
    open_server();
    settling = settling_new(WORKERS);
}

static void tear_down(void)
{
    settling_free(settling);
    mailbox_unref(inbox);
    mail_fixture_release(&server);
}

static void acknowledge(const char *text)
{
    append_text(&server, inbox, text);
    ck_assert_int_eq(store_sync(server.store, &error), 0);
}

/* Changes of the INBOX that git has. */
static int changes(void)
{
    g_autofree char *count = GIT_OUTPUT(server.path, "rev-list", "--count", "refs/heads/INBOX");

    return (int)strtol(g_strchomp(count), NULL, 10);
}

static bool is_readable(const struct settle *settle)
{
    struct pollfd poll_fd = {.fd = settle_fd(settle), .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* --- requests --- */

START_TEST(test_settle__the_worker_with_the_account_does_it)
{
    int before = changes();
    const char *problem;

    acknowledge("one");
    struct settle *settle = settling_ask(settling, "alice", OWNER);

    settling_turn(settling, OWNER - 1, server.store);
    ck_assert(!settle_done(settle, &problem));
    ck_assert(!is_readable(settle));
    ck_assert_int_eq(changes(), before);
    settling_turn(settling, OWNER, server.store);
    ck_assert(settle_done(settle, &problem));
    ck_assert_ptr_null(problem);
    ck_assert(is_readable(settle));
    ck_assert_int_eq(changes(), before + 1);
    settle_unref(settle);
}
END_TEST

START_TEST(test_settle__an_account_that_is_not_open_has_nothing_on_its_way)
{
    static const char *const users[] = {"bob", "", "../alice", "a\nb"};
    const char *problem = "";

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        struct settle *settle = settling_ask(settling, users[i], OWNER);

        settling_turn(settling, OWNER, server.store);
        ck_assert(settle_done(settle, &problem));
        ck_assert_ptr_null(problem);
        settle_unref(settle);
    }
}
END_TEST

START_TEST(test_settle__says_why_git_has_not_all)
{
    g_autofree char *lock = fixture_path(server.path, "refs/heads/INBOX.lock");
    int before = changes();
    const char *problem;

    acknowledge("one");
    ck_assert(g_file_set_contents(lock, "", 0, NULL));
    struct settle *settle = settling_ask(settling, "alice", OWNER);

    settling_turn(settling, OWNER, server.store);
    ck_assert(settle_done(settle, &problem));
    ck_assert_ptr_nonnull(problem);
    ck_assert_int_eq(changes(), before);
    ck_assert_int_eq(unlink(lock), 0);
    settle_unref(settle);
}
END_TEST

START_TEST(test_settle__requests_come_and_go_in_any_order)
{
    struct settle *requests[MANY];
    const char *problem;

    for (int i = 0; i < MANY; i++)
        requests[i] = settling_ask(settling, "alice", OWNER);
    for (int i = 0; i < MANY; i += 2)
        settle_unref(requests[i]);
    settling_turn(settling, OWNER, server.store);
    for (int i = 1; i < MANY; i += 2) {
        ck_assert(settle_done(requests[i], &problem));
        settle_unref(requests[i]);
    }
    /* Nobody sees to this one. */
    settle_unref(settling_ask(settling, "alice", OWNER));
}
END_TEST

static void *ask_often(void *data)
{
    atomic_int *left = data;

    for (int i = 0; i < MANY; i++) {
        struct settle *settle = settling_ask(settling, "alice", OWNER);
        struct pollfd poll_fd = {.fd = settle_fd(settle), .events = POLLIN};
        const char *problem;

        if (poll(&poll_fd, 1, 60 * 1000) != 1 || !settle_done(settle, &problem) || problem != NULL)
            abort();
        settle_unref(settle);
    }
    --*left;
    return NULL;
}

START_TEST(test_settle__threads_ask_while_the_worker_works)
{
    pthread_t threads[THREADS];
    atomic_int left = THREADS;
    int before = changes();
    int appended = 0;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, &left), 0);
    while (left > 0) {
        if (appended < MANY) {
            acknowledge("one");
            appended++;
        }
        settling_turn(settling, OWNER, server.store);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct settle *settle = settling_ask(settling, "alice", OWNER);

    settling_turn(settling, OWNER, server.store);
    settle_unref(settle);
    ck_assert_int_eq(changes(), before + appended);
}
END_TEST

/* --- an admin's command --- */

struct admin {
    struct config config;
    pthread_t thread;
    bool settled;
    atomic_bool done;
};

static void admin_init(struct admin *admin)
{
    *admin = (struct admin){.settled = false};
    config_init(&admin->config);
    g_free(admin->config.data);
    admin->config.data = g_strdup(server.directory);
    config_resolve(&admin->config);
}

static void *settle_as_admin(void *data)
{
    struct admin *admin = data;

    admin->settled = admin_settle(&admin->config, "alice");
    admin->done = true;
    return NULL;
}

static void admin_begin(struct admin *admin)
{
    ck_assert_int_eq(pthread_create(&admin->thread, NULL, settle_as_admin, admin), 0);
}

static bool admin_end(struct admin *admin)
{
    pthread_join(admin->thread, NULL);
    config_release(&admin->config);
    return admin->settled;
}

START_TEST(test_settle__without_a_data_directory_there_is_nothing)
{
    struct admin admin;

    admin_init(&admin);
    g_free(admin.config.data);
    admin.config.data = fixture_path(server.directory, "nowhere");
    ck_assert(admin_settle(&admin.config, "alice"));
    ck_assert_int_ne(access(admin.config.data, F_OK), 0);
    ck_assert(admin_settle(&admin.config, "not/a/user"));
    config_release(&admin.config);
}
END_TEST

START_TEST(test_settle__without_a_server_nothing_is_waited_for)
{
    struct admin admin;

    acknowledge("one");
    ck_assert_int_eq(store_flush(server.store, &error), 0);
    admin_init(&admin);
    ck_assert(admin_settle(&admin.config, "alice"));
    ck_assert(admin_settle(&admin.config, "bob"));
    config_release(&admin.config);
}
END_TEST

/* Another process has acknowledged something, and is gone. */
static void crash(void)
{
    pid_t pid;
    int status;

    mailbox_unref(inbox);
    mail_fixture_close(&server);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        open_server();
        acknowledge("one");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

START_TEST(test_settle__what_a_crash_left_is_replayed)
{
    int before = changes();
    struct admin admin;

    crash();
    ck_assert_int_eq(changes(), before);
    admin_init(&admin);
    ck_assert(admin_settle(&admin.config, "bob"));
    ck_assert_int_eq(changes(), before);
    ck_assert(admin_settle(&admin.config, "alice"));
    ck_assert_int_eq(changes(), before + 1);
    ck_assert(admin_settle(&admin.config, "alice"));
    config_release(&admin.config);
    open_server();
}
END_TEST

START_TEST(test_settle__a_server_that_nobody_can_ask_is_waited_for)
{
    int before = changes();
    struct admin admin;

    acknowledge("one");
    admin_init(&admin);
    admin_begin(&admin);
    usleep(50 * 1000);
    ck_assert(!admin.done);
    ck_assert_int_eq(store_settle(server.store, "alice", &error), 0);
    ck_assert(admin_end(&admin));
    ck_assert_int_eq(changes(), before + 1);
}
END_TEST

/* Answers once, not at all if the answer is NULL. */
struct refusal {
    int listener;
    const char *answer;
    char *request;
};

static void *refuse(void *data)
{
    struct refusal *refusal = data;
    char request[100] = "";
    int fd;

    while ((fd = accept(refusal->listener, NULL, NULL)) < 0)
        usleep(1000);
    while (recv(fd, request, sizeof(request) - 1, 0) < 0)
        usleep(1000);
    refusal->request = g_strdup(request);
    if (refusal->answer != NULL)
        send(fd, refusal->answer, strlen(refusal->answer), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

/* --- servers that refuse: an older one, one whose worker is stuck, one that is just ending --- */
static const char *const refusals[] = {"error\tno such request\nend\n",
                                       "error\tthe server is too busy\nend\n", "ok\n", NULL};

START_TEST(test_settle__a_server_that_refuses_is_waited_for)
{
    struct refusal refusal = {.answer = refusals[_i]};
    int before = changes();
    char *problem = NULL;
    struct admin admin;
    pthread_t thread;

    acknowledge("one");
    admin_init(&admin);
    refusal.listener = control_listen(admin.config.control, &problem);
    ck_assert_msg(refusal.listener >= 0, "%s", problem);
    ck_assert_int_eq(pthread_create(&thread, NULL, refuse, &refusal), 0);
    admin_begin(&admin);
    pthread_join(thread, NULL);
    ck_assert_str_eq(refusal.request, "settle\talice\n");
    ck_assert_int_eq(store_settle(server.store, "alice", &error), 0);
    close(refusal.listener);
    ck_assert(admin_end(&admin));
    ck_assert_int_eq(changes(), before + 1);
    g_free(refusal.request);
}
END_TEST

/* Takes ADMIN_SETTLE_SECONDS. */
START_TEST(test_settle__a_server_that_does_nothing_is_given_up)
{
    int before = changes();
    struct admin admin;

    acknowledge("one");
    admin_init(&admin);
    int64_t begun = g_get_monotonic_time();

    ck_assert(!admin_settle(&admin.config, "alice"));
    ck_assert_int_ge(g_get_monotonic_time() - begun, ADMIN_SETTLE_SECONDS * 1000000LL);
    ck_assert_int_eq(changes(), before);
    config_release(&admin.config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("settle");
    TCase *tcase = tcase_create("settle");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_settle__the_worker_with_the_account_does_it);
    tcase_add_test(tcase, test_settle__an_account_that_is_not_open_has_nothing_on_its_way);
    tcase_add_test(tcase, test_settle__says_why_git_has_not_all);
    tcase_add_test(tcase, test_settle__requests_come_and_go_in_any_order);
    tcase_add_test(tcase, test_settle__threads_ask_while_the_worker_works);
    tcase_add_test(tcase, test_settle__without_a_data_directory_there_is_nothing);
    tcase_add_test(tcase, test_settle__without_a_server_nothing_is_waited_for);
    tcase_add_test(tcase, test_settle__what_a_crash_left_is_replayed);
    tcase_add_test(tcase, test_settle__a_server_that_nobody_can_ask_is_waited_for);
    tcase_add_loop_test(tcase, test_settle__a_server_that_refuses_is_waited_for, 0,
                        G_N_ELEMENTS(refusals));
    tcase_add_test(tcase, test_settle__a_server_that_does_nothing_is_given_up);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
