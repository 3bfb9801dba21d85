/* annal-bench: one process that keeps many IMAP connections busy and measures the answers.
 *
 * A run: connect and log in (at most CONNECTING_MAX at a time), prepare, warm up; when every client
 * is there, wait at the gate if asked to; then the measured operations. An operation that is not
 * answered with OK ends the run with an error: a server that refuses fast is not fast.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "client.h"
#include "workload.h"

enum { CONNECTING_MAX = 32 };

enum stage {
    STAGE_NONE,      /* not yet connected */
    STAGE_GREETING,  /* waits for the greeting */
    STAGE_LOGIN,     /* waits for the answer to LOGIN */
    STAGE_PREPARING, /* says what the workload prepares */
    STAGE_IDLING,    /* waits for the continuation of IDLE */
    STAGE_WARMING,
    STAGE_WAITING, /* for the others */
    STAGE_RUNNING,
};

struct worker {
    struct run *run;
    struct client *client;
    unsigned index;
    enum stage stage;
    uint64_t tag;       /* of the command said last */
    uint64_t said;      /* operations, warming ones too */
    uint64_t answered;  /* of those */
    uint64_t warmed;    /* of those, unmeasured */
    unsigned prepared;  /* commands */
    uint64_t first_tag; /* of the operations under way, which end in this order */
    int64_t *started;   /* by tag modulo WORKLOAD_PIPELINE_MAX */
    guint *command;     /* likewise: index into workload.commands */
};

struct run {
    struct workload workload;
    struct event_base *base;
    SSL_CTX *tls;
    struct worker *workers;
    unsigned connected; /* workers that have begun */
    unsigned waiting;   /* workers that may start */
    bool measuring;
    uint64_t said, answered; /* measured operations */
    uint64_t progress;       /* answers of any kind, watched for patience */
    uint64_t progress_seen;
    GArray **samples; /* double, microseconds; by command */
    int64_t start, end;
    uint64_t received;
    struct timespec processor;
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void fail(const struct worker *worker, const char *what)
{
    fprintf(stderr, "annal-bench: client %u: %s\n", worker->index, what);
    exit(1);
}

/* --- saying --- */

static void say(struct worker *worker, const char *template_text, uint64_t number)
{
    GString *out = client_out(worker->client);

    g_string_append_printf(out, "A%" PRIu64 " ", ++worker->tag);
    workload_expand(&worker->run->workload, out, template_text, worker->index, number);
    g_string_append(out, "\r\n");
}

static void say_login(struct worker *worker)
{
    const struct workload *workload = &worker->run->workload;
    GString *out = client_out(worker->client);

    g_string_append_printf(out, "A%" PRIu64 " LOGIN ", ++worker->tag);
    workload_expand(workload, out, workload->user, worker->index, 0);
    g_string_append_printf(out, " %s\r\n", workload->password);
    worker->stage = STAGE_LOGIN;
}

static void say_operation(struct worker *worker)
{
    const GPtrArray *commands = worker->run->workload.commands;
    /* Each client begins with another command, so that a mixture is one from its first moment. */
    guint command = (guint)((worker->said + worker->index) % commands->len);
    unsigned slot;

    worker->said++;
    say(worker, g_ptr_array_index(commands, command), worker->said);
    slot = worker->tag % WORKLOAD_PIPELINE_MAX;
    worker->started[slot] = now();
    worker->command[slot] = command;
}

static bool more_wanted(const struct run *run)
{
    const struct workload *workload = &run->workload;

    if (workload->commands->len == 0 && workload->mode != WORKLOAD_LOGIN)
        return false;
    if (workload->count > 0 && run->said >= workload->count)
        return false;
    if (workload->each > 0 && run->said >= (uint64_t)workload->each * workload->clients)
        return false;
    return workload->seconds <= 0 || (double)(now() - run->start) < workload->seconds * 1e9;
}

static void finish_if_done(struct run *run)
{
    if (run->measuring && run->answered == run->said && !more_wanted(run)) {
        run->end = now();
        event_base_loopbreak(run->base);
    }
}

static void keep_busy(struct worker *worker)
{
    struct run *run = worker->run;

    while (worker->said - worker->answered < run->workload.pipeline && more_wanted(run) &&
           (run->workload.each == 0 || worker->said < worker->warmed + run->workload.each)) {
        run->said++;
        say_operation(worker);
    }
    finish_if_done(run);
}

/* --- stages --- */

static void connect_worker(struct worker *worker);

static void connect_more(struct run *run)
{
    while (run->connected < run->workload.clients && run->connected - run->waiting < CONNECTING_MAX)
        connect_worker(&run->workers[run->connected++]);
}

static void become_ready(struct worker *worker)
{
    struct run *run = worker->run;

    worker->stage = STAGE_WAITING;
    run->waiting++;
    if (run->waiting == run->workload.clients)
        event_base_loopbreak(run->base);
    else
        connect_more(run);
}

static bool is_watcher(const struct worker *worker)
{
    return worker->run->workload.mode == WORKLOAD_IDLE && worker->index == 0;
}

/* After login: the next thing this worker has to do before it can start. */
static void prepare_on(struct worker *worker)
{
    const struct workload *workload = &worker->run->workload;

    if (worker->prepared < workload->prepare->len) {
        worker->stage = STAGE_PREPARING;
        say(worker, g_ptr_array_index(workload->prepare, worker->prepared++), 0);
    } else if (is_watcher(worker)) {
        worker->stage = STAGE_IDLING;
        say(worker, "IDLE", 0);
    } else if (worker->said < workload->warmup && workload->mode == WORKLOAD_COMMANDS &&
               workload->commands->len > 0) {
        worker->stage = STAGE_WARMING;
        say_operation(worker);
    } else {
        become_ready(worker);
    }
}

static void record(struct run *run, guint command, int64_t started)
{
    double microseconds = (double)(now() - started) / 1000;

    g_array_append_val(run->samples[command], microseconds);
    run->answered++;
}

static void restart_login(evutil_socket_t socket, short what, void *data)
{
    struct worker *worker = data;

    (void)socket, (void)what;
    client_free(worker->client);
    worker->client = NULL;
    if (more_wanted(worker->run)) {
        worker->run->said++;
        connect_worker(worker);
    }
    finish_if_done(worker->run);
}

static void end_login(struct worker *worker)
{
    static const struct timeval at_once;

    if (worker->run->workload.mode != WORKLOAD_LOGIN) {
        prepare_on(worker);
        return;
    }
    if (!worker->run->measuring) {
        become_ready(worker);
        return;
    }
    record(worker->run, 0, worker->started[0]);
    worker->stage = STAGE_NONE;
    event_base_once(worker->run->base, -1, EV_TIMEOUT, restart_login, worker, &at_once);
}

/* --- answers --- */

static void on_operation_answered(struct worker *worker, uint64_t tag)
{
    unsigned slot = tag % WORKLOAD_PIPELINE_MAX;

    if (tag != worker->first_tag)
        fail(worker, "answers out of order");
    worker->first_tag++;
    worker->answered++;
    if (worker->run->workload.mode == WORKLOAD_COMMANDS)
        record(worker->run, worker->command[slot], worker->started[slot]);
    keep_busy(worker);
}

static void on_tagged(struct worker *worker, const struct answer *answer)
{
    if (!answer->ok)
        fail(worker, answer->text);
    switch (worker->stage) {
    case STAGE_LOGIN:
        end_login(worker);
        return;
    case STAGE_PREPARING:
        prepare_on(worker);
        return;
    case STAGE_WARMING:
        worker->answered++;
        prepare_on(worker);
        return;
    case STAGE_RUNNING:
        on_operation_answered(worker, answer->tag);
        return;
    case STAGE_NONE:
    case STAGE_GREETING:
    case STAGE_IDLING:
    case STAGE_WAITING:
        fail(worker, answer->text);
    }
}

/* The watcher was told: the writer's command has reached another client. */
static void on_notice(struct worker *watcher)
{
    struct worker *writer = &watcher->run->workers[1];

    if (!watcher->run->measuring || watcher->run->answered == watcher->run->said)
        return;
    record(watcher->run, 0, writer->started[writer->tag % WORKLOAD_PIPELINE_MAX]);
    if (writer->answered == writer->said) {
        keep_busy(writer);
        client_flush(writer->client);
    }
}

static void on_answer(const struct answer *answer, void *data)
{
    struct worker *worker = data;

    worker->run->progress++;
    switch (answer->kind) {
    case ANSWER_TAGGED:
        /* The next operation of an idle run waits for the notice, too. */
        if (worker->run->workload.mode == WORKLOAD_IDLE && worker->stage == STAGE_RUNNING) {
            if (!answer->ok)
                fail(worker, answer->text);
            worker->answered++;
            if (worker->run->answered == worker->run->said)
                keep_busy(worker);
        } else {
            on_tagged(worker, answer);
        }
        return;
    case ANSWER_EXISTS:
        if (is_watcher(worker) && worker->stage == STAGE_RUNNING)
            on_notice(worker);
        return;
    case ANSWER_CONTINUATION:
        if (worker->stage == STAGE_IDLING)
            become_ready(worker);
        return;
    case ANSWER_UNTAGGED:
        if (worker->stage == STAGE_GREETING && answer->ok)
            say_login(worker);
        else if (strncmp(answer->text, "* BYE", 5) == 0)
            fail(worker, answer->text);
        return;
    case ANSWER_STRANGE:
        fail(worker, answer->text);
    }
}

static void on_broken(const char *why, void *data)
{
    fail(data, why);
}

static void connect_worker(struct worker *worker)
{
    static const struct client_handler handler = {.answer = on_answer, .broken = on_broken};
    struct run *run = worker->run;

    worker->started[0] = now();
    worker->stage = STAGE_GREETING;
    worker->client = client_new(run->base, run->workload.port, run->tls, &handler, worker);
}

/* --- the run --- */

static void on_watch(evutil_socket_t socket, short what, void *data)
{
    struct run *run = data;

    (void)socket, (void)what;
    if (run->progress == run->progress_seen) {
        fprintf(stderr, "annal-bench: no answer for %u seconds\n", run->workload.patience);
        exit(1);
    }
    run->progress_seen = run->progress;
}

/* False at the end of stdin: nothing is to be measured. */
static bool pass_gate(const struct run *run)
{
    char line[80];

    if (!run->workload.gate)
        return true;
    puts("ready");
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != NULL;
}

static void start_worker(struct worker *worker)
{
    struct run *run = worker->run;

    if (run->workload.mode == WORKLOAD_LOGIN) {
        client_free(worker->client);
        worker->client = NULL;
        if (more_wanted(run)) {
            run->said++;
            connect_worker(worker);
        }
        return;
    }
    worker->stage = STAGE_RUNNING;
    worker->first_tag = worker->tag + 1;
    worker->warmed = worker->said;
    if (!is_watcher(worker)) {
        keep_busy(worker);
        client_flush(worker->client);
    }
}

static void measure(struct run *run)
{
    run->received = client_received();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &run->processor);
    run->start = now();
    run->measuring = true;
    for (unsigned i = 0; i < run->workload.clients && run->end == 0; i++)
        start_worker(&run->workers[i]);
    if (run->said > 0 && run->end == 0)
        event_base_dispatch(run->base);
    if (run->end == 0)
        run->end = now();
}

/* --- the report --- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double percentile(const GArray *sorted, double share)
{
    guint at = (guint)(share * (double)sorted->len);

    if (sorted->len == 0)
        return 0;
    return g_array_index(sorted, double, MIN(at, sorted->len - 1));
}

static void print_samples(GArray *samples)
{
    double sum = 0;

    qsort(samples->data, samples->len, sizeof(double), compare);
    for (guint i = 0; i < samples->len; i++)
        sum += g_array_index(samples, double, i);
    printf("\"operations\": %u, \"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f",
           samples->len, samples->len > 0 ? sum / samples->len : 0, percentile(samples, 0.5),
           percentile(samples, 0.99), percentile(samples, 1));
}

static void report(const struct run *run, guint lists)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(double));
    double elapsed = (double)(run->end - run->start) / 1e9;
    struct timespec processor;
    double used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &processor);
    used = (double)(processor.tv_sec - run->processor.tv_sec) +
           (double)(processor.tv_nsec - run->processor.tv_nsec) / 1e9;
    for (guint i = 0; i < lists; i++)
        g_array_append_vals(all, run->samples[i]->data, run->samples[i]->len);
    printf("{\"seconds\": %.6f, \"per_second\": %.2f, ", elapsed,
           elapsed > 0 ? all->len / elapsed : 0);
    print_samples(all);
    printf(", \"received\": %" PRIu64 ", \"own_cpu_seconds\": %.4f, \"own_cpu_share\": %.3f, "
           "\"commands\": [",
           client_received() - run->received, used, elapsed > 0 ? used / elapsed : 0);
    for (guint i = 0; i < lists; i++) {
        printf("%s{", i > 0 ? ", " : "");
        print_samples(run->samples[i]);
        printf("}");
    }
    printf("]}\n");
    fflush(stdout);
    g_array_unref(all);
}

static SSL_CTX *make_tls(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    /* One system call for many records. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, (size_t)128 * 1024);
    return context;
}

static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void run_begin(struct run *run, guint lists)
{
    struct timeval patience = {.tv_sec = run->workload.patience};

    allow_descriptors();
    run->base = event_base_new();
    run->tls = run->workload.tls ? make_tls() : NULL;
    run->samples = g_new0(GArray *, lists);
    for (guint i = 0; i < lists; i++)
        run->samples[i] = g_array_new(FALSE, FALSE, sizeof(double));
    run->workers = g_new0(struct worker, run->workload.clients);
    for (unsigned i = 0; i < run->workload.clients; i++) {
        run->workers[i] = (struct worker){.run = run, .index = i};
        run->workers[i].started = g_new0(int64_t, WORKLOAD_PIPELINE_MAX);
        run->workers[i].command = g_new0(guint, WORKLOAD_PIPELINE_MAX);
    }
    event_add(event_new(run->base, -1, EV_PERSIST, on_watch, run), &patience);
    connect_more(run);
    event_base_dispatch(run->base);
}

/* The process ends here: what the kernel takes back is not freed. */
int main(int argc, char **argv)
{
    static struct run run;
    guint lists;
    char rest[80];

    if (!workload_parse(&run.workload, argc, argv)) {
        workload_release(&run.workload);
        return 2;
    }
    lists = MAX(run.workload.commands->len, 1);
    run_begin(&run, lists);
    if (pass_gate(&run)) {
        measure(&run);
        report(&run, lists);
        while (run.workload.gate && fgets(rest, sizeof rest, stdin) != NULL)
            continue;
    }
    return 0;
}
