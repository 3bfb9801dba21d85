/* annal-bench-lmtp: so many clients that deliver by LMTP, a thread each, one message after the
 * other as a mail transfer agent does it: MAIL, RCPT and DATA in one go, then the message. Prints
 * what annal-bench prints. A message that is not taken ends the run with an error. */
#include <arpa/inet.h>
#include <getopt.h>
#include <glib.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, REPLY_MAX = 4096 };

struct load {
    unsigned port;
    const char *user; /* template: %c is the client's number */
    unsigned clients;
    unsigned size; /* octets of a message */
    double seconds;
    unsigned warmup;
    bool gate;
    pthread_barrier_t ready;
    pthread_barrier_t started;
    int64_t end;
    atomic_uint_least64_t received;
};

struct client {
    struct load *load;
    unsigned number;
    pthread_t thread;
    int socket;
    char buffer[REPLY_MAX];
    size_t filled;
    GString *envelope;
    GArray *samples; /* double, microseconds */
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void fail(const struct client *client, const char *what)
{
    fprintf(stderr, "annal-bench-lmtp: client %u: %s\n", client->number, what);
    exit(1);
}

static void send_all(struct client *client, const char *octets, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client->socket, octets, length, MSG_NOSIGNAL);

        if (sent <= 0)
            fail(client, "the server closed the connection");
        octets += sent;
        length -= (size_t)sent;
    }
}

/* Takes one reply of any number of lines; it must begin with that digit. */
static void expect(struct client *client, char digit)
{
    for (;;) {
        char *end = memmem(client->buffer, client->filled, "\r\n", 2);

        if (end != NULL) {
            bool last = client->buffer[3] != '-';

            *end = '\0';
            if (client->buffer[0] != digit)
                fail(client, client->buffer);
            client->filled -= (size_t)(end + 2 - client->buffer);
            memmove(client->buffer, end + 2, client->filled);
            if (last)
                return;
            continue;
        }
        if (client->filled == sizeof client->buffer)
            fail(client, "a reply without end");
        ssize_t got = recv(client->socket, client->buffer + client->filled,
                           sizeof client->buffer - client->filled, 0);

        if (got <= 0)
            fail(client, "the server closed the connection");
        client->filled += (size_t)got;
        client->load->received += (uint64_t)got;
    }
}

static void append_message(GString *out, const struct client *client, uint64_t number)
{
    gsize start = out->len;

    g_string_append_printf(out,
                           "Received: from load by mx with ESMTP id %u.%" PRIu64 ";\r\n"
                           "\tMon, 23 Nov 2026 00:00:00 +0000\r\nFrom: load@example.org\r\n"
                           "Subject: message %" PRIu64 "\r\nMessage-ID: <%u.%" PRIu64 "@load>\r\n"
                           "\r\n",
                           client->number, number, number, client->number, number);
    while (out->len - start + 3 < client->load->size)
        g_string_append(out, (out->len - start) % 72 == 70 ? "\r\n" : "x");
    g_string_append(out, "\r\n.\r\n");
}

static void deliver(struct client *client, GString *message, uint64_t number)
{
    g_string_truncate(message, 0);
    append_message(message, client, number);
    int64_t start = now();

    send_all(client, client->envelope->str, client->envelope->len);
    expect(client, '2');
    expect(client, '2');
    expect(client, '3');
    send_all(client, message->str, message->len);
    expect(client, '2');
    double microseconds = (double)(now() - start) / 1000;

    if (number > client->load->warmup)
        g_array_append_val(client->samples, microseconds);
}

static void open_connection(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)client->load->port)};
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->socket < 0 ||
        connect(client->socket, (struct sockaddr *)&address, sizeof address) != 0)
        fail(client, "can't connect");
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    expect(client, '2');
    send_all(client, "LHLO load\r\n", 11);
    expect(client, '2');
}

static void make_envelope(struct client *client)
{
    const char *mark = strstr(client->load->user, "%c");
    char *user = mark != NULL ? g_strdup_printf("%.*s%u%s", (int)(mark - client->load->user),
                                                client->load->user, client->number, mark + 2)
                              : g_strdup(client->load->user);

    client->envelope = g_string_new(NULL);
    g_string_printf(client->envelope, "MAIL FROM:<load@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n",
                    user);
    g_free(user);
}

static void *work(void *data)
{
    struct client *client = data;
    GString *message = g_string_new(NULL);
    uint64_t number = 0;

    make_envelope(client);
    open_connection(client);
    while (number < client->load->warmup)
        deliver(client, message, ++number);
    pthread_barrier_wait(&client->load->ready);
    pthread_barrier_wait(&client->load->started);
    while (now() < client->load->end)
        deliver(client, message, ++number);
    return NULL;
}

/* --- the report --- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double percentile(const GArray *sorted, double share)
{
    guint at = (guint)(share * (double)sorted->len);

    return sorted->len == 0 ? 0 : g_array_index(sorted, double, MIN(at, sorted->len - 1));
}

static double processor_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void report(const struct load *load, const struct client *clients, double elapsed,
                   double used)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(double));
    double sum = 0;

    for (unsigned i = 0; i < load->clients; i++)
        g_array_append_vals(all, clients[i].samples->data, clients[i].samples->len);
    qsort(all->data, all->len, sizeof(double), compare);
    for (guint i = 0; i < all->len; i++)
        sum += g_array_index(all, double, i);
    printf("{\"seconds\": %.6f, \"per_second\": %.2f, \"operations\": %u, \"mean_us\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"received\": %" PRIu64 ", "
           "\"own_cpu_seconds\": %.4f, \"own_cpu_share\": %.3f, \"commands\": []}\n",
           elapsed, all->len / elapsed, all->len, all->len > 0 ? sum / all->len : 0,
           percentile(all, 0.5), percentile(all, 0.99), percentile(all, 1),
           (uint64_t)load->received, used, used / elapsed);
    fflush(stdout);
    g_array_unref(all);
}

static bool parse(struct load *load, int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},    {"user", required_argument, NULL, 'u'},
        {"clients", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'}, {"warmup", required_argument, NULL, 'w'},
        {"gate", no_argument, NULL, 'g'},          {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'p')
            load->port = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'u')
            load->user = optarg;
        else if (letter == 'c')
            load->clients = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 's')
            load->size = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 't')
            load->seconds = strtod(optarg, NULL);
        else if (letter == 'w')
            load->warmup = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'g')
            load->gate = true;
        else
            return false;
    }
    return optind == argc && load->port > 0 && load->clients >= 1 && load->clients <= CLIENTS_MAX;
}

/* The process ends here: what the kernel takes back is not freed. */
int main(int argc, char **argv)
{
    static struct load load = {.user = "u0", .clients = 1, .size = 4096, .seconds = 1};
    static struct client clients[CLIENTS_MAX];
    char line[80];

    if (!parse(&load, argc, argv)) {
        fputs("usage: annal-bench-lmtp --port PORT [--user T] [--clients N] [--size N]\n"
              "                        [--seconds S] [--warmup N] [--gate]\n",
              stderr);
        return 2;
    }
    pthread_barrier_init(&load.ready, NULL, load.clients + 1);
    pthread_barrier_init(&load.started, NULL, load.clients + 1);
    for (unsigned i = 0; i < load.clients; i++) {
        clients[i] = (struct client){.load = &load, .number = i};
        clients[i].samples = g_array_new(FALSE, FALSE, sizeof(double));
        if (pthread_create(&clients[i].thread, NULL, work, &clients[i]) != 0)
            fail(&clients[i], "no thread");
    }
    pthread_barrier_wait(&load.ready);
    if (load.gate) {
        puts("ready");
        fflush(stdout);
        if (fgets(line, sizeof line, stdin) == NULL)
            return 0;
    }
    double used = processor_seconds();
    int64_t start = now();

    load.end = start + (int64_t)(load.seconds * 1e9);
    pthread_barrier_wait(&load.started);
    for (unsigned i = 0; i < load.clients; i++)
        pthread_join(clients[i].thread, NULL);
    report(&load, clients, (double)(now() - start) / 1e9, processor_seconds() - used);
    while (load.gate && fgets(line, sizeof line, stdin) != NULL)
        continue;
    return 0;
}
