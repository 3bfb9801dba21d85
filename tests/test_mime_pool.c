/* Runs itself as the parsing process: with argument "mime-worker" as the real one, with
 * "actor" as one that does what the message says. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/structure.h"
#include "server/commands.h"
#include "server/confine.h"
#include "server/log.h"
#include "server/mime_pool.h"
#include "server/mime_wire.h"
#include "store/processor.h"

enum { MILLISECOND = 1000 };

/* --- the actor --- */

static const char *try_all(void)
{
    void *volatile taken;

    if (open("/etc/annal-test", O_CREAT | O_WRONLY, 0600) >= 0)
        return "can write files";
    if (open("/proc/self/status", O_RDONLY) >= 0)
        return "can read files that are not the system's";
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
        return "can open sockets";
    if (fork() >= 0)
        return "can fork";
    if (execl("/bin/true", "true", NULL) == 0 || errno != EPERM)
        return "can run programs";
    if (kill(getppid(), 0) == 0)
        return "can signal";
    /* Kept, so that no compiler may leave the call out. */
    taken = malloc((size_t)2 * 1024 * 1024 * 1024);
    if (taken != NULL)
        return "can take all memory";
    return "confined";
}

static const char *count_processors(void)
{
    static char text[16];
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        snprintf(text, sizeof text, "%d", CPU_COUNT(&allowed));
    return text;
}

static void act(const char *message)
{
    struct rlimit second = {.rlim_cur = 1, .rlim_max = 1};
    struct mime_wire_reply reply = {0};
    const char *text = message;

    if (g_str_has_prefix(message, "crash"))
        abort();
    if (g_str_has_prefix(message, "leave"))
        _exit(0);
    if (g_str_has_prefix(message, "hang"))
        pause();
    if (g_str_has_prefix(message, "lie"))
        reply.length = UINT64_MAX;
    if (g_str_has_prefix(message, "spin")) {
        second.rlim_max = RLIM_INFINITY;
        setrlimit(RLIMIT_CPU, &second);
        for (;;)
            ;
    }
    if (g_str_has_prefix(message, "count"))
        text = count_processors();
    if (g_str_has_prefix(message, "confine"))
        text = confine_self() ? try_all() : "failed";
    if (reply.length == 0)
        reply.length = strlen(text);
    (void)!write(MIME_WIRE_FD, &reply, sizeof reply);
    (void)!write(MIME_WIRE_FD, text, strlen(text));
}

static int actor(void)
{
    static char message[1024];
    struct mime_wire_request request;

    while (read(MIME_WIRE_FD, &request, sizeof request) == (ssize_t)sizeof request) {
        ssize_t got = read(MIME_WIRE_FD, message, MIN(request.length, sizeof message - 1));

        message[got > 0 ? got : 0] = '\0';
        /* Only the first process of the pool is frail. */
        if (g_str_has_prefix(message, "once") && access(message + 5, F_OK) == 0) {
            unlink(message + 5);
            _exit(1);
        }
        act(message);
    }
    return 0;
}

/* --- the tests --- */

static struct mime_pool *pool_with(const char *argument, unsigned processes, int64_t timeout)
{
    char *problem = NULL;
    struct mime_pool *pool = mime_pool_new(
        &(struct mime_pool_settings){
            .program = "/proc/self/exe",
            .argument = argument,
            .processes = processes,
            .request_timeout = timeout,
            .wait_timeout = 200 * MILLISECOND,
        },
        &problem);

    ck_assert_msg(pool != NULL, "%s", problem);
    return pool;
}

static struct mime_pool *pool_of(const char *argument, unsigned processes)
{
    return pool_with(argument, processes, 3000 * MILLISECOND);
}

static char *text_of(struct mime_pool *pool, const char *message)
{
    GBytes *text = mime_pool_text(pool, (const uint8_t *)message, strlen(message), true, true);

    if (text == NULL)
        return NULL;
    char *copy = g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));

    g_bytes_unref(text);
    return copy;
}

static void check_text(struct mime_pool *pool, const char *message, const char *expected)
{
    char *text = text_of(pool, message);

    ck_assert_pstr_eq(text, expected);
    g_free(text);
}

/* What spins may wait long for a processor. */
static const struct {
    const char *message;
    bool final;
    int64_t timeout;
} bad[] = {
    {"crash", true, 3000 * MILLISECOND}, {"leave", true, 3000 * MILLISECOND},
    {"lie", true, 3000 * MILLISECOND},   {"spin", true, 60000 * MILLISECOND},
    {"hang", false, 3000 * MILLISECOND},
};

START_TEST(test_mime_pool__survives_a_message_that_costs_its_process)
{
    struct mime_pool *pool = pool_with("actor", 1, bad[_i].timeout);
    size_t length = strlen(bad[_i].message);
    const uint8_t *message = (const uint8_t *)bad[_i].message;
    bool final = !bad[_i].final;
    GBytes *plain = structure_plain(message, length);
    GBytes *record = mime_pool_structure(pool, message, length, &final);

    ck_assert(g_bytes_equal(record, plain));
    ck_assert_int_eq(final, bad[_i].final);
    g_bytes_unref(record);
    g_bytes_unref(plain);
    check_text(pool, "hello", "hello");
    mime_pool_free(pool);
}
END_TEST

START_TEST(test_mime_pool__tries_an_innocent_message_again)
{
    char message[] = "once /tmp/annal-test-mime-XXXXXX";
    int file = mkstemp(message + 5);
    struct mime_pool *pool = pool_of("actor", 1);

    ck_assert_int_ge(file, 0);
    close(file);
    check_text(pool, message, message);
    ck_assert_int_ne(access(message + 5, F_OK), 0);
    mime_pool_free(pool);
}
END_TEST

static void *replace_the_process_while_bound(void *pool)
{
    g_autofree char *expected = g_strdup_printf("%u", g_get_num_processors());

    processor_bind(0);
    check_text(pool, "leave", NULL);
    check_text(pool, "count", expected);
    return NULL;
}

START_TEST(test_mime_pool__binds_no_process_to_the_processor_of_who_needs_it)
{
    struct mime_pool *pool = pool_of("actor", 1);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, replace_the_process_while_bound, pool), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    mime_pool_free(pool);
}
END_TEST

static void *hang(void *pool)
{
    return text_of(pool, "hang");
}

START_TEST(test_mime_pool__says_when_no_process_is_free)
{
    struct mime_pool *pool = pool_of("actor", 1);
    pthread_t thread;
    bool final = true;

    ck_assert_int_eq(pthread_create(&thread, NULL, hang, pool), 0);
    g_usleep(100 * MILLISECOND);
    GBytes *record = mime_pool_structure(pool, (const uint8_t *)"hello", 5, &final);

    ck_assert(!final);
    g_bytes_unref(record);
    mime_pool_stop(pool);
    void *text;

    pthread_join(thread, &text);
    ck_assert_ptr_null(text);
    ck_assert_ptr_null(text_of(pool, "hello"));
    mime_pool_free(pool);
}
END_TEST

START_TEST(test_mime_pool__says_when_the_program_cannot_run)
{
    char *problem = NULL;

    ck_assert_ptr_null(mime_pool_new(
        &(struct mime_pool_settings){.program = "/nonexistent", .argument = "x", .processes = 1},
        &problem));
    ck_assert_ptr_nonnull(problem);
    g_free(problem);
}
END_TEST

START_TEST(test_mime_pool__confines_its_processes)
{
    struct mime_pool *pool = pool_of("actor", 1);

    check_text(pool, "confine", "confined");
    mime_pool_free(pool);
}
END_TEST

static const char sample[] = "From: Jo <jo@example.org>\r\n"
                             "Subject: =?utf-8?q?caf=C3=A9?=\r\n"
                             "Content-Type: text/plain; charset=koi8-r\r\n"
                             "\r\n"
                             "\xd0\xd2\xc9\xd7\xc5\xd4\r\n";

/* The sample with enough empty lines at its end to have length octets. */
static char *padded(size_t length)
{
    char *message = g_malloc(length + 1);

    memset(message, '\n', length);
    memcpy(message, sample, sizeof sample - 1);
    message[length] = '\0';
    return message;
}

static const size_t lengths[] = {
    sizeof sample - 1,
    MIME_WIRE_INLINE_MAX,
    MIME_WIRE_INLINE_MAX + 1,
    20 * 1024 * 1024,
};

START_TEST(test_mime_pool__parses_small_and_large_messages)
{
    struct mime_pool *pool = pool_of("mime-worker", 1);
    char *message = padded(lengths[_i]);
    bool final = false;
    GBytes *record = mime_pool_structure(pool, (const uint8_t *)message, lengths[_i], &final);
    struct structure *structure = structure_decode(record, lengths[_i]);
    GString *body = g_string_new(NULL);
    char *text = text_of(pool, message);

    ck_assert(final);
    ck_assert_ptr_nonnull(structure);
    structure_body(structure, body, false, false);
    ck_assert_msg(strstr(body->str, "\"koi8-r\"") != NULL, "%s", body->str);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(strstr(text, "caf\xc3\xa9"));
    ck_assert_ptr_nonnull(strstr(text, "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"));
    g_free(text);
    g_string_free(body, TRUE);
    structure_free(structure);
    g_bytes_unref(record);
    g_free(message);
    mime_pool_free(pool);
}
END_TEST

struct caller {
    struct mime_pool *pool;
    unsigned good;
};

static void *call_often(void *data)
{
    struct caller *caller = data;

    for (int i = 0; i < 200; i++) {
        char *message = g_strdup_printf("hello %d %p", i, data);
        char *text = text_of(caller->pool, message);

        caller->good += g_strcmp0(text, message) == 0;
        g_free(text);
        g_free(message);
    }
    return NULL;
}

START_TEST(test_mime_pool__serves_many_threads)
{
    struct mime_pool *pool = pool_of("actor", 2);
    struct caller callers[6];
    pthread_t threads[G_N_ELEMENTS(callers)];

    for (size_t i = 0; i < G_N_ELEMENTS(callers); i++) {
        callers[i] = (struct caller){.pool = pool};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(callers); i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(callers[i].good, 200);
    }
    mime_pool_free(pool);
}
END_TEST

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "actor") == 0)
        return actor();
    if (argc == 2 && strcmp(argv[1], "mime-worker") == 0)
        return command_mime_worker(argc - 1, argv + 1);
    Suite *suite = suite_create("mime_pool");
    TCase *tcase = tcase_create("mime_pool");
    SRunner *runner = srunner_create(suite);

    log_open_stderr(false);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_mime_pool__survives_a_message_that_costs_its_process, 0,
                        G_N_ELEMENTS(bad));
    tcase_add_test(tcase, test_mime_pool__tries_an_innocent_message_again);
    tcase_add_test(tcase, test_mime_pool__binds_no_process_to_the_processor_of_who_needs_it);
    tcase_add_test(tcase, test_mime_pool__says_when_no_process_is_free);
    tcase_add_test(tcase, test_mime_pool__says_when_the_program_cannot_run);
    /* Sanitizers need what the confinement takes away. */
    if (!is_sanitized())
        tcase_add_test(tcase, test_mime_pool__confines_its_processes);
    tcase_add_loop_test(tcase, test_mime_pool__parses_small_and_large_messages, 0,
                        G_N_ELEMENTS(lengths));
    tcase_add_test(tcase, test_mime_pool__serves_many_threads);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
