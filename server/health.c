#include "server/health.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

enum { INODES_MIN = 1000 };

bool health_disk(const char *directory, unsigned free_min_mib, char **problem)
{
    struct statvfs disk;

    *problem = NULL;
    if (statvfs(directory, &disk) != 0) {
        *problem = g_strdup_printf("%s: %s", directory, g_strerror(errno));
        return false;
    }
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize / (1024 * 1024);

    if (left < free_min_mib)
        *problem = g_strdup_printf("disk nearly full: %s has %" G_GUINT64_FORMAT
                                   " MiB free, less than disk_free_min_mib (%u)",
                                   directory, left, free_min_mib);
    /* Some file systems have no fixed number of them, and tell none. */
    else if (disk.f_files > 0 && disk.f_favail < INODES_MIN)
        *problem = g_strdup_printf("disk nearly full: %s can hold %" G_GUINT64_FORMAT " more files",
                                   directory, (uint64_t)disk.f_favail);
    return *problem == NULL;
}

static void look_at_certificate(const struct tls *tls, time_t now, GPtrArray *problems)
{
    int64_t expiry = tls != NULL ? tls_expiry(tls) : 0;

    if (expiry > 0 && expiry <= now)
        g_ptr_array_add(problems, g_strdup("certificate expired: renew it and send SIGHUP"));
}

static void look_at_worker(unsigned number, const struct worker_figures *figures, int64_t now,
                           GPtrArray *problems)
{
    int64_t busy = figures->turn > 0 ? (now - figures->turn) / 1000000 : 0;

    if (figures->trouble != STORE_OK)
        g_ptr_array_add(problems, g_strdup_printf("store trouble: worker %u can't bring changes "
                                                  "from its journal into git (%s)",
                                                  number, store_code_name(figures->trouble)));
    if (figures->journal_used > figures->journal_size / 100 * HEALTH_JOURNAL_PERCENT)
        g_ptr_array_add(problems, g_strdup_printf("store trouble: the journal of worker %u is "
                                                  "nearly full",
                                                  number));
    if (busy > HEALTH_TURN_SECONDS)
        g_ptr_array_add(problems, g_strdup_printf("worker %u has been busy with one turn for "
                                                  "%" G_GINT64_FORMAT " s",
                                                  number, busy));
}

GPtrArray *health_problems(const struct report_sources *sources)
{
    GPtrArray *problems = g_ptr_array_new_with_free_func(g_free);
    const struct config *config = sources->config;
    char *problem;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (!health_disk(config->data, config->disk_free_min_mib, &problem))
        g_ptr_array_add(problems, problem);
    look_at_certificate(sources->tls, now.tv_sec, problems);
    for (unsigned i = 0; i < workers_count(sources->workers); i++) {
        struct worker_figures figures;

        workers_figures(sources->workers, i, &figures);
        look_at_worker(i, &figures, now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000, problems);
    }
    return problems;
}
