/* What keeping less of the past costs, and forgetting a message: meson test --benchmark.
 *
 *   history-bench [MESSAGES]
 *   history-bench make DIRECTORY USER MESSAGES SIZE AT_ONCE
 *   history-bench gc|cut|drop|purge REPOSITORY
 *
 * Makes an account with a mailbox of so many messages (100,000 without an argument) of 4 kB that
 * came over the last 200 days, a tenth of which was flagged and a tenth expunged later, a commit
 * for each 10 messages that came and for each other change; then lets go of what is older than 90
 * days, drops it, and purges a message that came at first. Prints processor time (and time on the
 * clock), and octets of the repository.
 *
 * The other forms do one of that and print a line of JSON; "make" makes DIRECTORY/mail/USER.git of
 * messages of SIZE octets, AT_ONCE of them in a commit. Only "make" does not wait for the disk. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

#include "store/collect.h"
#include "store/internal/repository.h"
#include "store/purge.h"
#include "store/retention.h"
#include "store/store.h"

enum {
    SIZE = 4096,
    SIZE_MAX_OF_MESSAGE = 64 * 1024,
    AT_ONCE = 10,
    AT_ONCE_MAX = 100,
    DAYS = 200,
    KEEP_DAYS = 90,
    DAY = 24 * 3600,
    MESSAGES = 100 * 1000,
};

/* The mailbox that is made. */
struct life {
    unsigned messages;
    unsigned size;
    unsigned at_once;
    int64_t begin; /* second */
};

static int64_t now_seconds;

static int64_t bench_now(void *data)
{
    (void)data;
    return now_seconds * 1000000;
}

static int skip(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int skip_directory(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

static void check(int rc, const struct store_error *error, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", what, error->detail);
        exit(1);
    }
}

static double seconds_of(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What a step took. */
struct cost {
    double processor, clock; /* seconds */
    uint64_t octets_before, octets_after;
    size_t count; /* commits or objects that the step is about */
};

static void begin(struct cost *cost)
{
    *cost = (struct cost){.processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID),
                          .clock = seconds_of(CLOCK_MONOTONIC)};
}

static void end(struct cost *cost)
{
    cost->processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cost->processor;
    cost->clock = seconds_of(CLOCK_MONOTONIC) - cost->clock;
}

/* --- the account --- */

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void fill_message(char *text, unsigned size, unsigned number)
{
    int head = snprintf(text, size, "Subject: message %u\r\n\r\n", number);

    for (unsigned i = (unsigned)head; i < size; i++) {
        text[i] = (char)(' ' + next_random() % 90);
    }
}

static void append_some(struct account *account, struct mailbox *mailbox, const struct life *life,
                        unsigned first, const struct origin *origin)
{
    static char text[SIZE_MAX_OF_MESSAGE];
    struct append messages[AT_ONCE_MAX] = {{.uid = 0}};
    struct store_error error;
    uint32_t uid;

    for (unsigned i = 0; i < life->at_once; i++) {
        fill_message(text, life->size, first + i);
        check(account_spool(account, life->size, &messages[i].spool, &error), &error, "spool");
        check(spool_write(messages[i].spool, text, life->size, &error), &error, "spool");
        messages[i].internal_date = origin->time / 1000000;
    }
    check(mailbox_append(mailbox, messages, life->at_once, origin, &uid, &error), &error, "append");
    for (unsigned i = 0; i < life->at_once; i++) {
        spool_free(messages[i].spool);
    }
}

/* Some messages come, one of the earlier is flagged, one (never the first) goes. */
static void live(struct store *store, struct account *account, const struct life *life)
{
    struct flag_change change = {FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL, UINT64_MAX};
    struct origin origin = {.client = "bench", .command = "BENCH"};
    struct mailbox *mailbox;
    struct store_error error;

    check(account_open_mailbox(account, "INBOX", &mailbox, &error), &error, "open");
    for (unsigned i = 0; i < life->messages; i += life->at_once) {
        uint32_t flagged = 1 + next_random() % (i + life->at_once);
        uint32_t gone = 2 + next_random() % (i + life->at_once - 1);

        now_seconds = life->begin + (int64_t)i * DAYS * DAY / life->messages;
        origin.time = now_seconds * 1000000;
        append_some(account, mailbox, life, i, &origin);
        check(mailbox_store_flags(mailbox, &flagged, 1, &change, &origin, NULL, &error), &error,
              "flag");
        check(mailbox_expunge(mailbox, &gone, 1, false, &origin, &error), &error, "expunge");
        store_work(store, true);
        store_maintain(store);
    }
    check(store_flush(store, &error), &error, "flush");
    mailbox_unref(mailbox);
}

static void make(const char *directory, const char *user, const struct life *life,
                 struct cost *cost)
{
    struct store_journal journal = {.size = 0};
    struct origin origin = {.time = life->begin * 1000000};
    struct host host = *host_system();
    struct store_error error;
    struct account *account;
    struct store *store;

    host.now = bench_now;
    host.fsync = skip;
    host.fsync_directory = skip_directory;
    now_seconds = life->begin;
    begin(cost);
    check(store_open(&store, directory, &host, &error), &error, "store");
    check(store_create_account(store, user, &origin, &error), &error, "account");
    check(store_open_journal(store, &journal, &error), &error, "journal");
    check(store_open_account(store, user, &account, &error), &error, "account");
    live(store, account, life);
    account_unref(account);
    store_close(store);
    end(cost);
    cost->count = life->messages;
}

/* --- what is measured --- */

static void collect(const char *path, bool history, struct cost *cost)
{
    struct collect_settings settings = {.now = true, .history = history};
    struct collect_result result;
    struct store_error error;

    begin(cost);
    check(collect_repository(path, host_system(), &settings, &result, &error), &error, "gc");
    end(cost);
    cost->octets_before = result.octets_before;
    cost->octets_after = result.octets_after;
    cost->count = history ? result.dropped : result.objects;
}

static void cut(const char *path, struct cost *cost)
{
    struct retention_policy *policy = retention_policy_new(KEEP_DAYS * DAY);
    struct retention_result result;
    struct store_error error;

    begin(cost);
    check(retention_cut(path, host_system(), policy, &result, &error), &error, "cut");
    end(cost);
    cost->count = result.kept;
    retention_policy_free(policy);
}

static void purge(const char *path, struct cost *cost)
{
    char *user = g_path_get_basename(path);
    struct uid_range first = {1, 1};
    struct origin origin = {.time = (int64_t)time(NULL) * 1000000};
    struct purge_request request = {
        .user = user, .mailbox = "INBOX", .uids = &first, .count = 1, .origin = &origin};
    struct purge_result result;
    struct store_error error;

    if (g_str_has_suffix(user, ".git")) {
        user[strlen(user) - 4] = '\0';
    }
    begin(cost);
    check(purge_run(path, NULL, host_system(), &request, &result, &error), &error, "purge");
    end(cost);
    cost->count = result.commits;
    purge_result_release(&result);
    g_free(user);
}

static bool step(const char *name, const char *path, struct cost *cost)
{
    if (strcmp(name, "cut") == 0) {
        cut(path, cost);
    } else if (strcmp(name, "purge") == 0) {
        purge(path, cost);
    } else if (strcmp(name, "gc") == 0 || strcmp(name, "drop") == 0) {
        collect(path, strcmp(name, "drop") == 0, cost);
    } else {
        return false;
    }
    return true;
}

static void print_json(const struct cost *cost)
{
    printf("{\"processor_seconds\": %.6f, \"seconds\": %.6f, \"octets_before\": %" PRIu64
           ", \"octets_after\": %" PRIu64 ", \"count\": %zu}\n",
           cost->processor, cost->clock, cost->octets_before, cost->octets_after, cost->count);
}

static void print_text(const char *what, const struct cost *cost, const char *counted)
{
    printf("%-28s %8.2f s of a processor, %8.2f s; %zu %s", what, cost->processor, cost->clock,
           cost->count, counted);
    if (cost->octets_after > 0) {
        printf(", %" PRIu64 " octets", cost->octets_after);
    }
    printf("\n");
    fflush(stdout);
}

static int measure_all(unsigned messages)
{
    static const struct {
        const char *name, *text, *counted;
    } steps[] = {
        {"gc", "gc", "objects"},
        {"cut", "boundary to 90 days ago", "commits kept"},
        {"cut", "the same the next day", "commits kept"},
        {"drop", "drop what was before", "objects dropped"},
        {"purge", "purge of one message", "commits written anew"},
    };
    struct life life = {messages, SIZE, AT_ONCE, (int64_t)time(NULL) - (int64_t)DAYS * DAY};
    char directory[] = "/tmp/annal-history-bench-XXXXXX";
    struct cost cost;
    char path[128];

    if (messages < AT_ONCE || mkdtemp(directory) == NULL) {
        return 2;
    }
    snprintf(path, sizeof path, "%s/mail/bench.git", directory);
    make(directory, "bench", &life, &cost);
    print_text("200 days", &cost, "messages");
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        step(steps[i].name, path, &cost);
        print_text(steps[i].text, &cost, steps[i].counted);
    }
    repository_remove(directory);
    return 0;
}

static int usage(void)
{
    fputs("usage: history-bench [MESSAGES]\n"
          "       history-bench make DIRECTORY USER MESSAGES SIZE AT_ONCE\n"
          "       history-bench gc|cut|drop|purge REPOSITORY\n",
          stderr);
    return 2;
}

static bool parse_life(char **argv, struct life *life)
{
    *life = (struct life){
        .messages = (unsigned)strtoul(argv[0], NULL, 10),
        .size = (unsigned)strtoul(argv[1], NULL, 10),
        .at_once = (unsigned)strtoul(argv[2], NULL, 10),
        .begin = (int64_t)time(NULL) - (int64_t)DAYS * DAY,
    };
    return life->at_once > 0 && life->at_once <= AT_ONCE_MAX && life->size >= 64 &&
           life->size <= SIZE_MAX_OF_MESSAGE && life->messages >= life->at_once;
}

int main(int argc, char **argv)
{
    struct life life;
    struct cost cost;

    if (argc <= 2) {
        return measure_all(argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : MESSAGES);
    }
    if (argc == 7 && strcmp(argv[1], "make") == 0 && parse_life(argv + 4, &life)) {
        make(argv[2], argv[3], &life, &cost);
    } else if (argc != 3 || !step(argv[1], argv[2], &cost)) {
        return usage();
    }
    print_json(&cost);
    return 0;
}
