/* What keeping less of the past costs, and forgetting a message: meson test --benchmark.
 *
 *   history-bench [MESSAGES]
 *
 * Makes an account with a mailbox of so many messages (100,000 without an argument) of 4 kB that
 * came over 200 days, a tenth of which was flagged and a tenth expunged later, a commit for each
 * 10 messages that came and for each other change; then lets go of what is older than 90 days,
 * drops it, and purges a message that came at first. Prints processor time (and time on the clock),
 * and octets of the repository. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/collect.h"
#include "store/internal/repository.h"
#include "store/purge.h"
#include "store/retention.h"
#include "store/store.h"

enum { MESSAGE = 4096, AT_ONCE = 10, DAYS = 200, DAY = 24 * 3600, MESSAGES = 100 * 1000 };
#define BEGIN INT64_C(1795000000)

static int64_t now_seconds = BEGIN;

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

static double begun[2];

static void begin(void)
{
    begun[0] = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    begun[1] = seconds_of(CLOCK_MONOTONIC);
}

static void end(const char *what)
{
    printf("%-28s %8.2f s of a processor, %8.2f s\n", what,
           seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun[0], seconds_of(CLOCK_MONOTONIC) - begun[1]);
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

static void fill_message(char *text, unsigned number)
{
    int head = snprintf(text, MESSAGE, "Subject: message %u\r\n\r\n", number);

    for (int i = head; i < MESSAGE; i++) {
        text[i] = (char)(' ' + next_random() % 90);
    }
}

static void append_some(struct account *account, struct mailbox *mailbox, unsigned first,
                        const struct origin *origin)
{
    struct append messages[AT_ONCE] = {{.uid = 0}};
    struct store_error error;
    uint32_t uid;
    char text[MESSAGE];

    for (unsigned i = 0; i < AT_ONCE; i++) {
        fill_message(text, first + i);
        check(account_spool(account, MESSAGE, &messages[i].spool, &error), &error, "spool");
        check(spool_write(messages[i].spool, text, MESSAGE, &error), &error, "spool");
        messages[i].internal_date = origin->time / 1000000;
    }
    check(mailbox_append(mailbox, messages, AT_ONCE, origin, &uid, &error), &error, "append");
    for (unsigned i = 0; i < AT_ONCE; i++) {
        spool_free(messages[i].spool);
    }
}

/* Ten messages come, one of the earlier is flagged, one goes. */
static void live(struct store *store, struct account *account, unsigned total)
{
    struct flag_change change = {FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL, UINT64_MAX};
    struct origin origin = {.client = "bench", .command = "BENCH"};
    struct mailbox *mailbox;
    struct store_error error;

    check(account_open_mailbox(account, "INBOX", &mailbox, &error), &error, "open");
    for (unsigned i = 0; i < total; i += AT_ONCE) {
        uint32_t flagged = 1 + next_random() % (i + AT_ONCE);
        uint32_t gone = 2 + next_random() % (i + AT_ONCE - 1);

        now_seconds = BEGIN + (int64_t)i * DAYS * DAY / total;
        origin.time = now_seconds * 1000000;
        append_some(account, mailbox, i, &origin);
        check(mailbox_store_flags(mailbox, &flagged, 1, &change, &origin, NULL, &error), &error,
              "flag");
        check(mailbox_expunge(mailbox, &gone, 1, false, &origin, &error), &error, "expunge");
        store_work(store, true);
        store_maintain(store);
    }
    check(store_flush(store, &error), &error, "flush");
    mailbox_unref(mailbox);
}

int main(int argc, char **argv)
{
    unsigned total = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : MESSAGES;
    char directory[] = "/tmp/annal-history-bench-XXXXXX";
    struct store_journal journal = {.size = 0};
    struct retention_policy *policy = retention_policy_new(90 * DAY);
    struct host host = *host_system();
    struct origin origin = {.time = BEGIN * 1000000};
    struct uid_range first = {1, 1};
    struct purge_request request = {
        .user = "bench", .mailbox = "INBOX", .uids = &first, .count = 1, .origin = &origin};
    struct collect_settings settings = {.now = true, .history = true};
    struct collect_result collected;
    struct retention_result cut;
    struct purge_result purged;
    struct store_error error;
    struct account *account;
    struct store *store;
    char path[128];

    host.now = bench_now;
    host.fsync = skip;
    host.fsync_directory = skip_directory;
    if (total < AT_ONCE || mkdtemp(directory) == NULL) {
        return 2;
    }
    snprintf(path, sizeof(path), "%s/mail/bench.git", directory);
    begin();
    check(store_open(&store, directory, &host, &error), &error, "store");
    check(store_create_account(store, "bench", &origin, &error), &error, "account");
    check(store_open_journal(store, &journal, &error), &error, "journal");
    check(store_open_account(store, "bench", &account, &error), &error, "account");
    live(store, account, total);
    account_unref(account);
    store_close(store);
    end("200 days");
    begin();
    check(collect_repository(path, &host, &settings, &collected, &error), &error, "gc");
    end("gc");
    printf("  %" PRIu64 " octets in one pack\n", collected.octets_after);
    begin();
    check(retention_cut(path, &host, policy, &cut, &error), &error, "cut");
    end("boundary to 90 days ago");
    printf("  %zu commits kept\n", cut.kept);
    begin();
    check(retention_cut(path, &host, policy, &cut, &error), &error, "cut");
    end("the same the next day");
    begin();
    check(collect_repository(path, &host, &settings, &collected, &error), &error, "drop");
    end("drop what was before");
    printf("  %zu objects; %" PRIu64 " octets left\n", collected.dropped, collected.octets_after);
    begin();
    check(purge_run(path, NULL, &host, &request, &purged, &error), &error, "purge");
    end("purge of one message");
    printf("  %zu commits written anew\n", purged.commits);
    purge_result_release(&purged);
    retention_policy_free(policy);
    repository_remove(directory);
    return 0;
}
