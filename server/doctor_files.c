/* Of annal doctor: certificate, permissions, password file. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/certificate.h"
#include "server/doctor.h"
#include "server/users.h"

enum { DAY = 86400 };

/* --- the certificate --- */

static char *format_date(int64_t seconds)
{
    time_t time = (time_t)seconds;
    char text[32] = "?";
    struct tm tm;

    if (gmtime_r(&time, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d", &tm);
    return g_strdup(text);
}

static void look_at_dates(struct doctor *doctor)
{
    static const char renew[] = "renew it and reload the server (SIGHUP)";
    int64_t now = time(NULL);
    int64_t begin = 0;
    int64_t end = 0;

    if (!certificate_dates(doctor->config->certificate, &begin, &end)) {
        doctor_note(doctor, "certificate", DOCTOR_BAD, renew, "%s has no dates that can be read",
                    doctor->config->certificate);
        return;
    }
    char *from = format_date(begin);
    char *until = format_date(end);
    long days = (long)((end - now) / DAY);

    if (end <= now)
        doctor_note(doctor, "certificate", DOCTOR_BAD, renew, "ended on %s", until);
    else if (begin > now)
        doctor_note(doctor, "certificate", DOCTOR_BAD, "set the clock, or use another certificate",
                    "begins on %s", from);
    else if (days < DOCTOR_CERTIFICATE_DAYS)
        doctor_note(doctor, "certificate", DOCTOR_WARNING, renew, "ends on %s, in %ld days", until,
                    days);
    else
        doctor_note(doctor, "certificate", DOCTOR_GOOD, NULL, "is valid until %s (%ld days)", until,
                    days);
    if (doctor->expiry > 0 && doctor->expiry != end)
        doctor_note(doctor, "certificate", DOCTOR_WARNING,
                    "reload the server (systemctl reload annal, or SIGHUP)",
                    "the server still uses another one than that in %s",
                    doctor->config->certificate);
    g_free(from);
    g_free(until);
}

static void look_at_key(struct doctor *doctor)
{
    struct stat status;

    if (stat(doctor->config->private_key, &status) != 0)
        return; /* told already */
    if ((status.st_mode & S_IRWXO) != 0 || (status.st_mode & S_IWGRP) != 0)
        doctor_note(doctor, "private key", DOCTOR_BAD,
                    "chmod 600 (or 640, with a group that has "
                    "the server alone)",
                    "%s has mode %03o: others may read or change it", doctor->config->private_key,
                    (unsigned)status.st_mode & 0777);
    else
        doctor_note(doctor, "private key", DOCTOR_GOOD, NULL,
                    "belongs to the certificate and is "
                    "private");
}

void doctor_look_at_certificate(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    char *problem = NULL;

    if (config_certificate_is_default(config) && access(config->certificate, F_OK) != 0 &&
        errno == ENOENT) {
        doctor_note(doctor, "certificate", DOCTOR_GOOD, NULL,
                    "there is none; annal serve makes a self-signed one at its first start");
        return;
    }
    if (!certificate_check(config->certificate, config->private_key, &problem)) {
        doctor_note(doctor, "certificate", DOCTOR_BAD,
                    "set certificate and private_key to PEM files that the server may read and "
                    "that belong together",
                    "%s", problem);
        g_free(problem);
        return;
    }
    look_at_dates(doctor);
    look_at_key(doctor);
}

/* --- the data directory --- */

/* A directory of the data directory, or that itself, that the owner alone should have. */
static void look_at_directory(struct doctor *doctor, const char *path, uid_t owner)
{
    struct stat status;
    char *advice = NULL;

    if (lstat(path, &status) != 0)
        return;
    if (!S_ISDIR(status.st_mode)) {
        doctor_note(doctor, "permissions", DOCTOR_BAD, "move it away", "%s is no directory", path);
    } else if (status.st_uid != owner) {
        advice = g_strdup_printf("chown -R %u %s", (unsigned)owner, path);
        doctor_note(doctor, "permissions", DOCTOR_BAD, advice,
                    "%s belongs to user %u, the data directory to user %u", path,
                    (unsigned)status.st_uid, (unsigned)owner);
    } else if ((status.st_mode & (S_IWGRP | S_IRWXO)) != 0) {
        advice = g_strdup_printf("chmod 700 %s", path);
        doctor_note(doctor, "permissions", DOCTOR_BAD, advice,
                    "%s has mode %03o: others may read mail or change it", path,
                    (unsigned)status.st_mode & 0777);
    }
    g_free(advice);
}

static void look_at_owner(struct doctor *doctor, uid_t owner)
{
    if (geteuid() != 0 && geteuid() != owner)
        doctor_note(doctor, "permissions", DOCTOR_WARNING,
                    "run annal doctor as that user or as root",
                    "%s belongs to user %u: some of it can't be looked at", doctor->config->data,
                    (unsigned)owner);
}

void doctor_look_at_files(struct doctor *doctor)
{
    static const char *const below[] = {"mail", "cache", "journal"};
    const char *data = doctor->config->data;
    guint before = doctor->findings->len;
    struct stat status;

    if (stat(data, &status) != 0) {
        doctor_note(doctor, "permissions", errno == ENOENT ? DOCTOR_WARNING : DOCTOR_BAD,
                    "annal serve makes it if it may; else make it with the server's user as owner "
                    "and mode 700",
                    "%s: %s", data, g_strerror(errno));
        return;
    }
    look_at_owner(doctor, status.st_uid);
    look_at_directory(doctor, data, status.st_uid);
    for (size_t i = 0; i < G_N_ELEMENTS(below); i++) {
        char *path = g_strdup_printf("%s/%s", data, below[i]);

        look_at_directory(doctor, path, status.st_uid);
        g_free(path);
    }
    if (doctor->findings->len == before)
        doctor_note(doctor, "permissions", DOCTOR_GOOD, NULL, "%s is its owner's alone", data);
}

/* --- the password file --- */

void doctor_look_at_users(struct doctor *doctor)
{
    const char *path = doctor->config->users;
    char *problem = NULL;
    struct stat status;

    if (stat(path, &status) != 0) {
        doctor_note(doctor, "password file", errno == ENOENT ? DOCTOR_WARNING : DOCTOR_BAD,
                    errno == ENOENT ? "annal user add NAME" : "let the server's user read it",
                    "%s: %s", path, g_strerror(errno));
        return;
    }
    if ((status.st_mode & (S_IWGRP | S_IRWXO)) != 0)
        doctor_note(doctor, "password file", DOCTOR_BAD, "chmod 600",
                    "%s has mode %03o: others may read hashes of passwords, or change them", path,
                    (unsigned)status.st_mode & 0777);
    struct users *users = users_open(path, &problem);

    if (users == NULL) {
        doctor_note(doctor, "password file", DOCTOR_BAD, "correct that line; each is NAME:HASH",
                    "%s", problem);
        g_free(problem);
        return;
    }
    GPtrArray *names = users_list(users);

    if (names->len == 0)
        doctor_note(doctor, "password file", DOCTOR_WARNING, "annal user add NAME",
                    "%s names no user", path);
    else
        doctor_note(doctor, "password file", DOCTOR_GOOD, NULL, "names %u user%s", names->len,
                    names->len == 1 ? "" : "s");
    g_ptr_array_unref(names);
    users_free(users);
}
