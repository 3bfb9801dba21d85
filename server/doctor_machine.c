/* Of annal doctor: disk, clock, what the system allows. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "server/doctor.h"
#include "server/health.h"

enum { WRITES = 32, WRITE_SIZE = 4096 };

static int64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* --- the disk --- */

static void look_at_space(struct doctor *doctor)
{
    char *problem = NULL;
    struct statfs disk;

    if (!health_disk(doctor->config->data, doctor->config->disk_free_min_mib, &problem)) {
        doctor_note(doctor, "disk", DOCTOR_BAD,
                    "make room: annal gc --all, shorter history_keep, or a larger disk", "%s",
                    problem);
        g_free(problem);
    } else if (statfs(doctor->config->data, &disk) == 0 && disk.f_blocks > 0) {
        doctor_note(doctor, "disk", DOCTOR_GOOD, NULL, "has %.1f GiB free (%.0f %%)",
                    (double)disk.f_bavail * (double)disk.f_bsize / (1024.0 * 1024 * 1024),
                    100.0 * (double)disk.f_bavail / (double)disk.f_blocks);
    }
}

static void look_at_file_system(struct doctor *doctor)
{
    static const struct {
        unsigned long type;
        const char *problem;
        const char *advice;
    } kinds[] = {
        {0x6969, "is on NFS: locks and syncs are what its server makes of them",
         "use a local disk"},
        {0xff534d42, "is on CIFS: no locks, no modes", "use a local disk"},
        {0xfe534d42, "is on SMB: no locks, no modes", "use a local disk"},
        {0x01021994, "is in memory (tmpfs): it is lost with the power", "use a disk"},
    };
    struct statfs disk;

    if (statfs(doctor->config->data, &disk) != 0)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if ((unsigned long)disk.f_type == kinds[i].type)
            doctor_note(doctor, "disk", DOCTOR_WARNING, kinds[i].advice, "%s %s",
                        doctor->config->data, kinds[i].problem);
    }
}

static int compare_times(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a;
    int64_t other = *(const int64_t *)b;

    return one < other ? -1 : one > other;
}

/* Microseconds of each of WRITES synced writes, ascending. False with errno. */
static bool time_writes(int fd, int64_t times[WRITES])
{
    char block[WRITE_SIZE];

    memset(block, 'x', sizeof block);
    for (size_t i = 0; i < WRITES; i++) {
        int64_t begun = monotonic();

        /* As the journal does it: over what is there, so that only data has to be synced. */
        if (pwrite(fd, block, sizeof block, i == 0 ? 0 : WRITE_SIZE * (off_t)(i % 2)) !=
                (ssize_t)sizeof block ||
            fdatasync(fd) != 0)
            return false;
        times[i] = monotonic() - begun;
    }
    qsort(times, WRITES, sizeof times[0], compare_times);
    return true;
}

static void look_at_speed(struct doctor *doctor)
{
    char *path = g_strdup_printf("%s/.doctor-XXXXXX", doctor->config->data);
    int64_t times[WRITES];
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0) {
        doctor_note(doctor, "synced writes", DOCTOR_BAD,
                    "let the server's user write there, and run annal doctor as that user",
                    "%s can't be written to: %s", doctor->config->data, g_strerror(errno));
        g_free(path);
        return;
    }
    unlink(path);
    bool done = time_writes(fd, times);
    int problem = errno;

    close(fd);
    g_free(path);
    if (!done)
        doctor_note(doctor, "synced writes", DOCTOR_BAD, "look at the disk and the system's log",
                    "fail: %s", g_strerror(problem));
    else
        doctor_note(doctor, "synced writes",
                    times[WRITES / 2] > DOCTOR_SYNC_MILLISECONDS * 1000 ? DOCTOR_WARNING
                                                                        : DOCTOR_GOOD,
                    times[WRITES / 2] > DOCTOR_SYNC_MILLISECONDS * 1000
                        ? "each delivery and each change waits for one: use a faster disk, or one "
                          "with a write cache that survives a power cut"
                        : NULL,
                    "take %.2f ms (the slowest of %d: %.2f ms)", (double)times[WRITES / 2] / 1000,
                    WRITES, (double)times[WRITES - 1] / 1000);
}

void doctor_look_at_disk(struct doctor *doctor)
{
    struct stat status;

    if (stat(doctor->config->data, &status) != 0) {
        doctor_note(doctor, "disk", DOCTOR_WARNING, NULL,
                    "can't be looked at before the data directory is there");
        return;
    }
    look_at_space(doctor);
    look_at_file_system(doctor);
    look_at_speed(doctor);
}

/* --- the clock --- */

/* The newest of the directory's files; 0: none. */
static int64_t newest_below(const char *path)
{
    DIR *directory = opendir(path);
    int64_t newest = 0;
    const struct dirent *entry;
    struct stat status;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            newest = MAX(newest, (int64_t)status.st_mtime);
    }
    if (directory != NULL)
        closedir(directory);
    return newest;
}

void doctor_look_at_clock(struct doctor *doctor)
{
    char *mail = g_strdup_printf("%s/mail", doctor->config->data);
    char *journal = g_strdup_printf("%s/journal", doctor->config->data);
    int64_t newest = MAX(newest_below(mail), newest_below(journal));
    struct timex state = {0};

    g_free(mail);
    g_free(journal);
    if (newest > time(NULL) + DOCTOR_CLOCK_SECONDS)
        doctor_note(doctor, "clock", DOCTOR_BAD,
                    "set it right; the dates of history and of new mail come from it",
                    "is slow, or was fast: mail was written %ld s from now",
                    (long)(newest - time(NULL)));
    else if (adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) != 0)
        doctor_note(doctor, "clock", DOCTOR_WARNING,
                    "have a time service: systemctl enable --now systemd-timesyncd, or chrony",
                    "is not synchronised with others, as far as the system knows");
    else
        doctor_note(doctor, "clock", DOCTOR_GOOD, NULL, "is later than all mail");
}

/* --- limits --- */

static void look_at_descriptors(struct doctor *doctor)
{
    uint64_t wanted = (uint64_t)doctor->config->connections + DOCTOR_DESCRIPTORS_BESIDE;
    uint64_t allowed = doctor->descriptors;
    struct rlimit limit;

    if (allowed == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        allowed = limit.rlim_max;
    doctor_note(doctor, "descriptors", allowed < wanted ? DOCTOR_WARNING : DOCTOR_GOOD,
                allowed < wanted
                    ? "raise the limit (LimitNOFILE= of the unit, ulimit -n), or lower "
                      "connections in the configuration"
                    : NULL,
                "%" G_GUINT64_FORMAT " may be open, %" G_GUINT64_FORMAT " may be needed for %u "
                "connections",
                allowed, wanted, doctor->config->connections);
}

static void look_at_memory(struct doctor *doctor)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t budget = doctor->config->cache_budget;
    bool much = budget > memory / 2;

    doctor_note(doctor, "memory", much ? DOCTOR_WARNING : DOCTOR_GOOD,
                much ? "lower cache_budget in the configuration" : NULL,
                "caches may take %" G_GUINT64_FORMAT " MiB of %" G_GUINT64_FORMAT " MiB",
                budget / (1024 * 1024), memory / (1024 * 1024));
}

void doctor_look_at_machine(struct doctor *doctor)
{
    look_at_descriptors(doctor);
    look_at_memory(doctor);
}
