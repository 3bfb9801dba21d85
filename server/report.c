#include "server/report.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "server/health.h"
#include "server/openmetrics.h"

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void counter(struct openmetrics *metrics, const char *name, const char *unit,
                    const char *help, uint64_t value)
{
    openmetrics_family(metrics, name, OPENMETRICS_COUNTER, unit, help);
    openmetrics_value(metrics, NULL, value);
}

static void gauge(struct openmetrics *metrics, const char *name, const char *unit, const char *help,
                  uint64_t value)
{
    openmetrics_family(metrics, name, OPENMETRICS_GAUGE, unit, help);
    openmetrics_value(metrics, NULL, value);
}

static void time_of(struct openmetrics *metrics, const char *name, const char *help,
                    enum metric_time which)
{
    struct metric_histogram histogram;

    metrics_read_time(which, &histogram);
    openmetrics_family(metrics, name, OPENMETRICS_HISTOGRAM, "seconds", help);
    openmetrics_histogram(metrics, NULL, &histogram);
}

/* --- connections, sessions, logins --- */

static void write_connections(struct openmetrics *metrics)
{
    counter(metrics, "annal_connections", NULL, "Connections accepted.",
            metrics_read(METRIC_CONNECTIONS));
    openmetrics_family(metrics, "annal_connections_refused", OPENMETRICS_COUNTER, NULL,
                       "Connections refused, by the limit they met.");
    openmetrics_value(metrics, LABELS("limit", "all"), metrics_read(METRIC_REFUSED_ALL));
    openmetrics_value(metrics, LABELS("limit", "address"), metrics_read(METRIC_REFUSED_ADDRESS));
    openmetrics_family(metrics, "annal_tls_handshakes", OPENMETRICS_COUNTER, NULL,
                       "TLS handshakes, by result.");
    openmetrics_value(metrics, LABELS("result", "ok"), metrics_read(METRIC_TLS_OK));
    openmetrics_value(metrics, LABELS("result", "failed"), metrics_read(METRIC_TLS_FAILED));
    counter(metrics, "annal_received_bytes", "bytes",
            "Octets received from clients, without TLS, as compressed as they came.",
            metrics_read(METRIC_RECEIVED));
    counter(metrics, "annal_sent_bytes", "bytes",
            "Octets sent to clients, without TLS, as compressed as they went.",
            metrics_read(METRIC_SENT));
}

static void write_sessions(struct openmetrics *metrics, const struct connections *connections)
{
    static const char *const activities[] = {
        [SESSION_LOGGING_IN] = "login",  [SESSION_LOGGED_IN] = "authenticated",
        [SESSION_SELECTED] = "selected", [SESSION_IDLING] = "idle",
        [SESSION_ENDING] = "ending",     [SESSION_DELIVERING] = "delivery",
    };
    unsigned tally[SESSION_ACTIVITY_COUNT][2];

    connections_tally(connections, tally);
    openmetrics_family(metrics, "annal_sessions", OPENMETRICS_GAUGE, NULL,
                       "Sessions now, by what they do and whether they use TLS.");
    for (size_t i = 0; i < SESSION_ACTIVITY_COUNT; i++) {
        openmetrics_value(metrics, LABELS("state", activities[i], "tls", "no"), tally[i][0]);
        openmetrics_value(metrics, LABELS("state", activities[i], "tls", "yes"), tally[i][1]);
    }
    counter(metrics, "annal_sessions_kicked", NULL, "Sessions ended by the administrator.",
            metrics_read(METRIC_KICKED));
}

static void write_logins(struct openmetrics *metrics)
{
    static const struct {
        const char *result;
        enum metric metric;
    } logins[] = {
        {"ok", METRIC_LOGIN_OK},
        {"password", METRIC_LOGIN_PASSWORD},
        {"cleartext", METRIC_LOGIN_CLEARTEXT},
        {"limit", METRIC_LOGIN_LIMIT},
        {"unavailable", METRIC_LOGIN_UNAVAILABLE},
    };

    openmetrics_family(metrics, "annal_logins", OPENMETRICS_COUNTER, NULL,
                       "Logins, by result: ok, or why they failed.");
    for (size_t i = 0; i < G_N_ELEMENTS(logins); i++)
        openmetrics_value(metrics, LABELS("result", logins[i].result),
                          metrics_read(logins[i].metric));
    time_of(metrics, "annal_password_check_seconds", "Time to check a password.",
            METRIC_TIME_PASSWORD);
}

/* --- commands --- */

static void write_commands(struct openmetrics *metrics)
{
    static const char *const results[] = {
        [METRIC_RESULT_OK] = "ok", [METRIC_RESULT_NO] = "no", [METRIC_RESULT_BAD] = "bad"};
    struct metric_histogram histogram;

    openmetrics_family(metrics, "annal_commands", OPENMETRICS_COUNTER, NULL,
                       "Commands answered, by kind and result.");
    for (enum command_kind kind = 0; kind < COMMAND_COUNT; kind++) {
        for (enum metric_result result = 0; result < METRIC_RESULT_COUNT; result++)
            openmetrics_value(
                metrics, LABELS("command", session_command_name(kind), "result", results[result]),
                metrics_read_commands(kind, result));
    }
    openmetrics_family(metrics, "annal_command_seconds", OPENMETRICS_HISTOGRAM, "seconds",
                       "Time from a command's begin to its answer, IDLE left out; the sync that "
                       "follows a change is not in it.");
    for (enum command_kind kind = 0; kind < COMMAND_COUNT; kind++) {
        if (kind == COMMAND_IDLE)
            continue;
        metrics_read_command_time(kind, &histogram);
        openmetrics_histogram(metrics, LABELS("command", session_command_name(kind)), &histogram);
    }
}

/* --- the store --- */

struct worker_row {
    char name[12];
    struct worker_figures figures;
};

static int64_t realtime(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int64_t age(int64_t since, int64_t now)
{
    return since > 0 && since < now ? now - since : 0;
}

static void write_journals(struct openmetrics *metrics, const struct worker_row *rows,
                           unsigned count)
{
    int64_t now = realtime();

#define EACH_WORKER(value)               \
    for (unsigned i = 0; i < count; i++) \
    openmetrics_value(metrics, LABELS("worker", rows[i].name), rows[i].figures.value)
    openmetrics_family(metrics, "annal_journal_size_bytes", OPENMETRICS_GAUGE, "bytes",
                       "Size of each worker's journal.");
    EACH_WORKER(journal_size);
    openmetrics_family(metrics, "annal_journal_used_bytes", OPENMETRICS_GAUGE, "bytes",
                       "Octets of the journal that the next checkpoint frees.");
    EACH_WORKER(journal_used);
    openmetrics_family(metrics, "annal_journal_accounts_waiting", OPENMETRICS_GAUGE, NULL,
                       "Accounts with changes that are in the journal and not yet in git.");
    EACH_WORKER(waiting);
#undef EACH_WORKER
    openmetrics_family(metrics, "annal_materialise_lag_seconds", OPENMETRICS_GAUGE, "seconds",
                       "Age of the oldest change that is not yet in git.");
    for (unsigned i = 0; i < count; i++)
        openmetrics_seconds(metrics, LABELS("worker", rows[i].name),
                            age(rows[i].figures.waiting_since, now));
    openmetrics_family(metrics, "annal_checkpoint_age_seconds", OPENMETRICS_GAUGE, "seconds",
                       "Time since the journal's last checkpoint; an idle worker makes none.");
    for (unsigned i = 0; i < count; i++)
        openmetrics_seconds(metrics, LABELS("worker", rows[i].name),
                            age(rows[i].figures.checkpoint, now));
    openmetrics_family(metrics, "annal_store_trouble", OPENMETRICS_GAUGE, NULL,
                       "1 while a worker's changes can't go from the journal into git.");
    for (unsigned i = 0; i < count; i++)
        openmetrics_value(metrics, LABELS("worker", rows[i].name), rows[i].figures.trouble != 0);
    openmetrics_family(metrics, "annal_worker_turn_seconds", OPENMETRICS_GAUGE, "seconds",
                       "How long the worker's turn under way has taken so far; 0: it waits.");
    for (unsigned i = 0; i < count; i++)
        openmetrics_seconds(metrics, LABELS("worker", rows[i].name),
                            age(rows[i].figures.turn, now));
}

static void write_workers(struct openmetrics *metrics, const struct workers *workers)
{
    unsigned count = workers_count(workers);
    struct worker_row *rows = g_new0(struct worker_row, count);
    struct worker_figures all = {0};

    for (unsigned i = 0; i < count; i++) {
        g_snprintf(rows[i].name, sizeof rows[i].name, "%u", i);
        workers_figures(workers, i, &rows[i].figures);
        all.users += rows[i].figures.users;
        all.accounts += rows[i].figures.accounts;
        all.packs += rows[i].figures.packs;
    }
    gauge(metrics, "annal_users", NULL, "Users that are logged in.", all.users);
    gauge(metrics, "annal_accounts_open", NULL, "Accounts that are open.", all.accounts);
    gauge(metrics, "annal_packs", NULL, "Packs of the accounts that are open.", all.packs);
    write_journals(metrics, rows, count);
    g_free(rows);
}

static void write_maintenance(struct openmetrics *metrics, struct maintenance *maintenance)
{
    struct maintenance_counts counts = {0};

    if (maintenance != NULL)
        counts = maintenance_counts(maintenance);
    counter(metrics, "annal_pack_merges", NULL, "Merges of packs.", counts.merges);
    counter(metrics, "annal_pack_merge_failures", NULL, "Merges of packs that failed.",
            counts.failures);
    counter(metrics, "annal_pack_merged_bytes", "bytes", "Octets written by merges of packs.",
            counts.octets);
    counter(metrics, "annal_multi_pack_indexes", NULL, "Multi-pack-indexes written.",
            counts.indexes);
    counter(metrics, "annal_references_packed", NULL, "References packed.", counts.references);
    counter(metrics, "annal_signed_checkpoints", NULL, "Checkpoints of accounts that were signed.",
            counts.checkpoints);
    counter(metrics, "annal_signing_failures", NULL, "Checkpoints that could not be signed.",
            counts.signing_failures);
    gauge(metrics, "annal_signing_failing_accounts", NULL,
          "Accounts whose last checkpoint could not be signed.", counts.failing);
    openmetrics_family(metrics, "annal_maintenance_cpu_seconds", OPENMETRICS_COUNTER, "seconds",
                       "Processor time of housekeeping.");
    openmetrics_seconds(metrics, NULL, (int64_t)counts.microseconds);
}

static void write_store(struct openmetrics *metrics, const struct report_sources *sources)
{
    static const char *const caches[] = {[CACHE_OBJECTS] = "objects", [CACHE_DERIVED] = "derived"};

    time_of(metrics, "annal_store_sync_seconds",
            "Time to make a turn's changes durable, for all commands of it together.",
            METRIC_TIME_SYNC);
    counter(metrics, "annal_store_sync_failures", NULL,
            "Turns whose changes could not be made durable.", metrics_read(METRIC_SYNC_FAILED));
    write_workers(metrics, sources->workers);
    write_maintenance(metrics, sources->maintenance);
    gauge(metrics, "annal_cache_used_bytes", "bytes", "Octets that caches take.",
          cache_budget_used(sources->budget));
    openmetrics_family(metrics, "annal_cache_lookups", OPENMETRICS_COUNTER, NULL,
                       "Lookups in caches: of git's objects, and of what was derived from messages "
                       "(envelopes, structures, texts).");
    for (enum cache_kind kind = 0; kind < CACHE_KIND_COUNT; kind++) {
        openmetrics_value(metrics, LABELS("cache", caches[kind], "result", "hit"),
                          cache_budget_hits(sources->budget, kind));
        openmetrics_value(metrics, LABELS("cache", caches[kind], "result", "miss"),
                          cache_budget_misses(sources->budget, kind));
    }
    gauge(metrics, "annal_cache_limit_bytes", "bytes", "Octets that caches may take.",
          sources->config->cache_budget);
}

/* --- delivery --- */

static void write_delivery(struct openmetrics *metrics)
{
    counter(metrics, "annal_delivery_connections", NULL, "Connections for delivery.",
            metrics_read(METRIC_DELIVERY_CONNECTIONS));
    openmetrics_family(metrics, "annal_deliveries", OPENMETRICS_COUNTER, NULL,
                       "Recipients of messages, by result.");
    openmetrics_value(metrics, LABELS("result", "accepted"),
                      metrics_read(METRIC_DELIVERY_ACCEPTED));
    openmetrics_value(metrics, LABELS("result", "rejected"),
                      metrics_read(METRIC_DELIVERY_REJECTED));
    openmetrics_value(metrics, LABELS("result", "deferred"),
                      metrics_read(METRIC_DELIVERY_DEFERRED));
    counter(metrics, "annal_delivered_bytes", "bytes", "Octets of messages delivered.",
            metrics_read(METRIC_DELIVERY_OCTETS));
    time_of(metrics, "annal_delivery_seconds",
            "Time from a message's end to the answer for its recipients.", METRIC_TIME_DELIVERY);
}

/* --- the process and its machine --- */

static unsigned open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

/* In octets: all that is mapped, and what of it is in memory. */
static void read_memory(uint64_t *mapped, uint64_t *resident)
{
    FILE *file = fopen("/proc/self/statm", "re");
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    char line[128];
    char *rest;

    *mapped = 0;
    *resident = 0;
    if (file == NULL)
        return;
    if (fgets(line, sizeof line, file) != NULL) {
        *mapped = g_ascii_strtoull(line, &rest, 10) * page;
        *resident = g_ascii_strtoull(rest, NULL, 10) * page;
    }
    fclose(file);
}

static int64_t processor_time(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void write_process(struct openmetrics *metrics)
{
    struct rlimit limit = {0};
    uint64_t mapped;
    uint64_t resident;

    read_memory(&mapped, &resident);
    getrlimit(RLIMIT_NOFILE, &limit);
    openmetrics_family(metrics, "process_cpu_seconds", OPENMETRICS_COUNTER, "seconds",
                       "Processor time of the server's main process.");
    openmetrics_seconds(metrics, NULL, processor_time());
    gauge(metrics, "process_resident_memory_bytes", "bytes", "Memory in use.", resident);
    gauge(metrics, "process_virtual_memory_bytes", "bytes", "Memory mapped.", mapped);
    gauge(metrics, "process_open_fds", NULL, "Descriptors that are open.", open_descriptors());
    gauge(metrics, "process_max_fds", NULL, "Descriptors that may be open.", limit.rlim_cur);
}

static void write_machine(struct openmetrics *metrics, const struct report_sources *sources)
{
    struct statvfs disk = {0};
    GPtrArray *problems = health_problems(sources);

    if (statvfs(sources->config->data, &disk) != 0)
        disk = (struct statvfs){0};
    gauge(metrics, "annal_disk_free_bytes", "bytes", "Octets free on the data directory's disk.",
          (uint64_t)disk.f_bavail * disk.f_frsize);
    gauge(metrics, "annal_disk_size_bytes", "bytes", "Size of that disk.",
          (uint64_t)disk.f_blocks * disk.f_frsize);
    openmetrics_family(metrics, "annal_certificate_expiry_timestamp_seconds", OPENMETRICS_GAUGE,
                       "seconds", "When the certificate in use ends, in Unix time; 0: none.");
    openmetrics_value(metrics, NULL,
                      sources->tls != NULL ? (uint64_t)MAX(tls_expiry(sources->tls), 0) : 0);
    gauge(metrics, "annal_healthy", NULL, "1 if the health page has no complaint.",
          problems->len == 0);
    g_ptr_array_unref(problems);
}

void report_write(const struct report_sources *sources, GString *out)
{
    struct openmetrics metrics = {.out = out};

    write_connections(&metrics);
    write_sessions(&metrics, sources->connections);
    write_logins(&metrics);
    write_commands(&metrics);
    write_store(&metrics, sources);
    write_delivery(&metrics);
    write_process(&metrics);
    write_machine(&metrics, sources);
    openmetrics_end(&metrics);
}
