#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/loan.h"
#include "server/transport.h"

static struct link_queue *event_loop;
static struct link_queue *worker;
static struct link *linked;
static struct transport transport;
static struct loan loan;
static uint8_t connection_scratch[TRANSPORT_SCRATCH];
static uint8_t worker_scratch[TRANSPORT_SCRATCH];
static int epoll;
static int peer;
static int owner; /* its address is what epoll tells */

static void setup(void)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    peer = fds[1];
    event_loop = link_queue_new();
    worker = link_queue_new();
    linked = link_new(&(struct link_settings){
        .id = "a", .peer = "127.0.0.1", .penalty_key = "0", .event_loop = event_loop});
    link_assign(linked, worker);
    transport_init(&transport, fds[0], connection_scratch);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    loan = (struct loan){.transport = NULL};
}

static void teardown(void)
{
    transport_release(&transport);
    link_unref(linked);
    link_queue_free(event_loop);
    link_queue_free(worker);
    close(epoll);
    if (peer >= 0)
        close(peer);
}

static void lend(void)
{
    struct link_news news;

    link_want_loan(linked, true);
    ck_assert(link_wants_loan(linked));
    ck_assert(link_lend(linked, &transport));
    link_receive(linked, &news);
    ck_assert_ptr_eq(news.lent, &transport);
    loan_take(&loan, linked, news.lent, epoll, &owner, worker_scratch);
}

static void add(GQueue *pieces, size_t length, char filling)
{
    char *data = g_malloc(length);

    memset(data, filling, length);
    g_queue_push_tail(pieces, g_bytes_new_take(data, length));
}

static void say(const char *text)
{
    ck_assert_int_eq(send(peer, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* What epoll tells now goes to the loan. */
static void notice(void)
{
    struct epoll_event event;

    ck_assert_int_eq(epoll_wait(epoll, &event, 1, 1000), 1);
    ck_assert_ptr_eq(event.data.ptr, &owner);
    loan_notice(&loan, event.events);
}

static void expect_input(const char *text, size_t max)
{
    GByteArray *input = loan_read(&loan, linked, max);

    ck_assert_ptr_nonnull(input);
    ck_assert_uint_eq(input->len, strlen(text));
    ck_assert_mem_eq(input->data, text, input->len);
    g_byte_array_unref(input);
}

/* Writes, and the loan ends. */
static size_t give_back(GQueue *pieces, enum link_after after, enum link_return how)
{
    size_t unsent;

    ck_assert(!loan_write(&loan, linked, pieces, after, false, &unsent));
    ck_assert_ptr_null(loan.transport);
    ck_assert_int_eq(link_take_back(linked), how);
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_NOT);
    return unsent;
}

START_TEST(is_lent_when_it_is_wanted_and_no_output_waits)
{
    GQueue pieces = G_QUEUE_INIT;
    GQueue collected = G_QUEUE_INIT;
    bool has_input;

    ck_assert(!link_wants_loan(linked));
    link_want_loan(linked, true);
    ck_assert(link_wants_loan(linked));
    add(&pieces, 3, 'x');
    link_deliver(linked, &pieces, LINK_AFTER_NOTHING, false, &has_input);
    ck_assert(!link_wants_loan(linked));
    ck_assert(!link_lend(linked, &transport));
    link_collect(linked, &collected);
    ck_assert_uint_eq(collected.length, 1);
    g_bytes_unref(g_queue_pop_head(&collected));
    ck_assert(link_wants_loan(linked));
    lend();
}
END_TEST

START_TEST(is_taken_back_when_output_came_before_the_worker_saw_it)
{
    GQueue pieces = G_QUEUE_INIT;
    GQueue collected = G_QUEUE_INIT;
    struct link_news news;
    bool has_input;

    link_want_loan(linked, true);
    ck_assert(link_lend(linked, &transport));
    add(&pieces, 3, 'x');
    link_deliver(linked, &pieces, LINK_AFTER_NOTHING, false, &has_input);
    link_receive(linked, &news);
    ck_assert_ptr_null(news.lent);
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_OPEN);
    link_collect(linked, &collected);
    ck_assert_uint_eq(collected.length, 1);
    g_bytes_unref(g_queue_pop_head(&collected));
    link_receive(linked, &news);
    ck_assert_ptr_null(news.lent);
}
END_TEST

/* Whether the event loop is told something. */
static bool is_told(void)
{
    GPtrArray *links = link_queue_take(event_loop);
    bool told = links != NULL;

    if (told) {
        ck_assert_uint_eq(links->len, 1);
        g_ptr_array_unref(links);
    }
    return told;
}

/* The event loop is told that there is room for input again. */
static void make_room(void)
{
    static const char octets[SESSION_INPUT_MAX];

    link_send(linked, octets, sizeof octets);
    ck_assert_uint_eq(link_room(linked), 0);
    g_byte_array_unref(link_take_input(linked, sizeof octets));
}

START_TEST(what_was_told_while_it_was_lent_does_not_keep_later_news_back)
{
    GQueue pieces = G_QUEUE_INIT;
    GQueue collected = G_QUEUE_INIT;
    bool has_input;

    make_room();
    link_want_loan(linked, true);
    ck_assert(link_lend(linked, &transport));
    ck_assert(is_told());
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_NOT);
    add(&pieces, 3, 'x');
    link_deliver(linked, &pieces, LINK_AFTER_NOTHING, false, &has_input);
    ck_assert(is_told());
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_OPEN);
    link_collect(linked, &collected);
    g_bytes_unref(g_queue_pop_head(&collected));
    /* The same when the worker has it. */
    make_room();
    lend();
    ck_assert(is_told());
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_NOT);
    give_back(&pieces, LINK_AFTER_CLOSE, LINK_RETURN_OPEN);
    ck_assert(is_told());
}
END_TEST

START_TEST(reads_until_the_socket_is_empty)
{
    lend();
    ck_assert_ptr_null(loan_read(&loan, linked, 100));
    ck_assert(!loan.readable);
    say("one two");
    ck_assert_ptr_null(loan_read(&loan, linked, 100));
    notice();
    expect_input("one ", 4);
    ck_assert(loan.readable);
    expect_input("two", 4);
    ck_assert(!loan.readable);
    ck_assert_ptr_eq(transport.scratch, worker_scratch);
}
END_TEST

START_TEST(sees_the_end_that_came_with_the_last_octets)
{
    GQueue pieces = G_QUEUE_INIT;
    size_t unsent;

    lend();
    ck_assert_ptr_null(loan_read(&loan, linked, 100));
    say("bye");
    ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
    notice();
    expect_input("bye", 100);
    ck_assert(loan_write(&loan, linked, &pieces, LINK_AFTER_NOTHING, false, &unsent));
    ck_assert(loan.readable);
    ck_assert_ptr_null(loan_read(&loan, linked, 100));
    ck_assert_uint_eq(give_back(&pieces, LINK_AFTER_NOTHING, LINK_RETURN_END), 0);
}
END_TEST

START_TEST(sends_an_answer_and_goes_on)
{
    GQueue pieces = G_QUEUE_INIT;
    char received[8];
    size_t unsent;

    lend();
    add(&pieces, 3, 'x');
    add(&pieces, 2, 'y');
    ck_assert(loan_write(&loan, linked, &pieces, LINK_AFTER_NOTHING, false, &unsent));
    ck_assert_uint_eq(unsent, 0);
    ck_assert_uint_eq(pieces.length, 0);
    ck_assert_int_eq(recv(peer, received, sizeof received, 0), 5);
    ck_assert_mem_eq(received, "xxxyy", 5);
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_NOT);
}
END_TEST

START_TEST(gives_back_what_the_socket_does_not_take)
{
    GQueue pieces = G_QUEUE_INIT;
    const int small = 4096;
    size_t unsent = 0;
    size_t sent = 0;

    ck_assert_int_eq(setsockopt(transport.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    lend();
    while (loan.transport != NULL) {
        ck_assert_uint_lt(sent, 64 * 1024 * 1024);
        add(&pieces, 32 * 1024, 'z');
        sent += 32 * 1024;
        loan_write(&loan, linked, &pieces, LINK_AFTER_NOTHING, true, &unsent);
    }
    ck_assert_uint_gt(unsent, 0);
    ck_assert_uint_eq(transport_unsent(&transport), unsent);
    ck_assert_int_eq(link_take_back(linked), LINK_RETURN_OPEN);
    for (size_t got = 0; got < sent;) {
        char buffer[65536];
        ssize_t length = recv(peer, buffer, sizeof buffer, 0);

        if (length > 0)
            got += (size_t)length;
        ck_assert_int_ne(transport_write(&transport), TRANSPORT_FAILED);
        ck_assert(got <= sent);
    }
    ck_assert_uint_eq(transport_unsent(&transport), 0);
}
END_TEST

START_TEST(leaves_much_output_to_the_event_loop)
{
    GQueue pieces = G_QUEUE_INIT;
    char received;

    lend();
    add(&pieces, LOAN_WRITE_MAX + 1, 'x');
    ck_assert_uint_eq(give_back(&pieces, LINK_AFTER_NOTHING, LINK_RETURN_OPEN), LOAN_WRITE_MAX + 1);
    ck_assert_int_lt(recv(peer, &received, 1, 0), 0);
}
END_TEST

START_TEST(ends_with_the_session)
{
    GQueue pieces = G_QUEUE_INIT;
    GQueue collected = G_QUEUE_INIT;
    char received[4];

    lend();
    add(&pieces, 3, 'x');
    ck_assert_uint_eq(give_back(&pieces, LINK_AFTER_CLOSE, LINK_RETURN_OPEN), 0);
    ck_assert_int_eq(recv(peer, received, sizeof received, 0), 3);
    ck_assert_int_eq(link_collect(linked, &collected), LINK_AFTER_CLOSE);
}
END_TEST

START_TEST(is_lost_with_the_peer)
{
    GQueue pieces = G_QUEUE_INIT;

    lend();
    close(peer);
    peer = -1;
    add(&pieces, 3, 'x');
    give_back(&pieces, LINK_AFTER_NOTHING, LINK_RETURN_LOST);
}
END_TEST

START_TEST(is_not_lent_again_where_it_can_not_be_watched)
{
    GQueue pieces = G_QUEUE_INIT;
    struct link_news news;

    link_want_loan(linked, true);
    ck_assert(link_lend(linked, &transport));
    link_receive(linked, &news);
    loan_take(&loan, linked, news.lent, -1, &owner, worker_scratch);
    ck_assert_ptr_null(loan_read(&loan, linked, 100));
    give_back(&pieces, LINK_AFTER_NOTHING, LINK_RETURN_OPEN);
    ck_assert(!link_wants_loan(linked));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loan");
    TCase *tcase = tcase_create("loan");
    SRunner *runner = srunner_create(suite);

    signal(SIGPIPE, SIG_IGN); /* as the server does */
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, is_lent_when_it_is_wanted_and_no_output_waits);
    tcase_add_test(tcase, is_taken_back_when_output_came_before_the_worker_saw_it);
    tcase_add_test(tcase, what_was_told_while_it_was_lent_does_not_keep_later_news_back);
    tcase_add_test(tcase, reads_until_the_socket_is_empty);
    tcase_add_test(tcase, sees_the_end_that_came_with_the_last_octets);
    tcase_add_test(tcase, sends_an_answer_and_goes_on);
    tcase_add_test(tcase, gives_back_what_the_socket_does_not_take);
    tcase_add_test(tcase, leaves_much_output_to_the_event_loop);
    tcase_add_test(tcase, ends_with_the_session);
    tcase_add_test(tcase, is_lost_with_the_peer);
    tcase_add_test(tcase, is_not_lent_again_where_it_can_not_be_watched);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
