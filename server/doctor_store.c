/* Of annal doctor: repositories and journals, as far as a short look can tell. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/doctor.h"
#include "store/store.h"

enum {
    TOLD_MAX = 20, /* of one kind and repository */
    DEPTH_MAX = 16,
    HEX = 40,
};

/* What was told of a repository. */
struct told {
    unsigned locks;
    unsigned references;
    unsigned packs;
};

/* --- repositories --- */

static bool is_repository(const char *path)
{
    static const char *const parts[] = {"HEAD", "objects", "refs"};
    bool whole = true;

    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        char *part = g_strdup_printf("%s/%s", path, parts[i]);

        whole = whole && access(part, F_OK) == 0;
        g_free(part);
    }
    return whole;
}

static bool has_suffix_file(const char *path, const char *name, size_t stem, const char *suffix)
{
    char *other = g_strdup_printf("%s/%.*s%s", path, (int)stem, name, suffix);
    bool there = access(other, F_OK) == 0;

    g_free(other);
    return there;
}

/* An index has its pack. */
static void look_at_index(struct doctor *doctor, const char *path, const char *name,
                          struct told *told)
{
    size_t stem = strlen(name) - strlen(".idx");

    if (has_suffix_file(path, name, stem, ".pack") || !has_suffix_file(path, name, stem, ".idx") ||
        told->packs++ >= TOLD_MAX)
        return;
    doctor_note(doctor, "store", DOCTOR_BAD,
                "annal verify tells what is lost; restore it from a backup", "%s/%s has no pack",
                path, name);
}

/* Merging takes away a pack's index, and the pack itself some minutes later: when whoever was
 * reading it is done, or when the server next works on the account. */
static bool is_left_over(const char *path, const char *name)
{
    size_t stem = strlen(name) - strlen(".pack");
    char *file = g_strdup_printf("%s/%s", path, name);
    struct stat status;
    bool old = lstat(file, &status) == 0 && time(NULL) - status.st_mtime >= DOCTOR_PACK_SECONDS;

    g_free(file);
    return old && !has_suffix_file(path, name, stem, ".idx");
}

static void look_at_packs(struct doctor *doctor, const char *repository)
{
    char *path = g_strdup_printf("%s/objects/pack", repository);
    DIR *directory = opendir(path);
    const struct dirent *entry;
    struct told told = {0};
    unsigned left_over = 0;

    if (directory == NULL)
        doctor_note(doctor, "store", DOCTOR_BAD, "annal verify tells more", "%s: %s", path,
                    g_strerror(errno));
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (!g_str_has_prefix(entry->d_name, "pack-"))
            continue;
        if (g_str_has_suffix(entry->d_name, ".idx"))
            look_at_index(doctor, path, entry->d_name, &told);
        else if (g_str_has_suffix(entry->d_name, ".pack"))
            left_over += is_left_over(path, entry->d_name);
    }
    if (directory != NULL)
        closedir(directory);
    if (left_over > 0)
        doctor_note(doctor, "store", DOCTOR_WARNING,
                    "annal gc removes them; a pack that somebody put there needs git index-pack",
                    "%s has %u pack%s without an index", path, left_over,
                    left_over == 1 ? "" : "s");
    g_free(path);
}

/* A loose reference: an id and a line end, or "ref: " and a name. */
static bool is_reference(const char *path)
{
    char text[HEX + 2] = "";
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return errno == ENOENT; /* packed meanwhile */
    size_t length = fread(text, 1, HEX + 1, file);

    fclose(file);
    text[length] = '\0';
    return g_str_has_prefix(text, "ref: ") ||
           (length == HEX + 1 && strspn(text, "0123456789abcdef") == HEX && text[HEX] == '\n');
}

static void look_at_lock(struct doctor *doctor, const char *path, struct told *told)
{
    struct stat status;
    char *advice;

    if (lstat(path, &status) != 0 || time(NULL) - status.st_mtime < DOCTOR_LOCK_SECONDS ||
        told->locks++ >= TOLD_MAX)
        return;
    advice = g_strdup_printf("if no git works there: rm '%s'", path);
    doctor_note(doctor, "store", DOCTOR_WARNING, advice, "%s is a lock that somebody left behind",
                path);
    g_free(advice);
}

static void look_at_reference(struct doctor *doctor, const char *path, struct told *told)
{
    if (is_reference(path) || told->references++ >= TOLD_MAX)
        return;
    doctor_note(doctor, "store", DOCTOR_BAD, "annal verify tells which commit it may have had",
                "%s is no reference of git", path);
}

/* Files of a directory, and with references also of those below it, which hold nothing else. */
static void look_below(struct doctor *doctor, const char *path, bool references, unsigned depth,
                       struct told *told)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char *file =
            g_strdup_printf("%s%s%s", path, g_str_has_suffix(path, "/") ? "" : "/", entry->d_name);

        if (entry->d_name[0] == '.')
            ; /* itself, its parent, what somebody is writing */
        else if (g_str_has_suffix(file, ".lock"))
            look_at_lock(doctor, file, told);
        else if (references && entry->d_type == DT_DIR && depth < DEPTH_MAX)
            look_below(doctor, file, true, depth + 1, told);
        else if (references && entry->d_type == DT_REG)
            look_at_reference(doctor, file, told);
        g_free(file);
    }
    if (directory != NULL)
        closedir(directory);
}

/* Where git and the server lock: not below objects/xx, where a big account has many files. */
static void look_for_locks(struct doctor *doctor, const char *repository)
{
    static const struct {
        const char *name;
        bool references;
    } places[] = {
        {"/", false}, {"/refs", true}, {"/objects/pack", false}, {"/objects/info", false}};
    struct told told = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        char *path = g_strconcat(repository, places[i].name, NULL);

        look_below(doctor, path, places[i].references, 0, &told);
        g_free(path);
    }
}

static void look_at_repository(struct doctor *doctor, const char *mail, const char *name)
{
    char *path = g_strdup_printf("%s/%s", mail, name);

    if (!is_repository(path)) {
        doctor_note(doctor, "store", DOCTOR_BAD,
                    "restore it from a backup (annal restore), or move "
                    "it away",
                    "%s is no git repository", path);
    } else {
        look_at_packs(doctor, path);
        look_for_locks(doctor, path);
    }
    g_free(path);
}

static void look_at_repositories(struct doctor *doctor)
{
    char *mail = g_strdup_printf("%s/mail", doctor->config->data);
    DIR *directory = opendir(mail);
    guint before = doctor->findings->len;
    const struct dirent *entry;
    unsigned count = 0;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || !g_str_has_suffix(entry->d_name, ".git"))
            continue;
        look_at_repository(doctor, mail, entry->d_name);
        count++;
    }
    if (directory == NULL)
        doctor_note(doctor, "store", errno == ENOENT ? DOCTOR_GOOD : DOCTOR_BAD, NULL, "%s: %s",
                    mail, g_strerror(errno));
    else if (doctor->findings->len == before)
        doctor_note(doctor, "store", DOCTOR_GOOD, NULL,
                    "has %u repositor%s without locks left behind, with all packs (annal verify "
                    "--all looks at every object)",
                    count, count == 1 ? "y" : "ies");
    if (directory != NULL)
        closedir(directory);
    g_free(mail);
}

/* --- journals --- */

/* Whether somebody else has it. */
static bool is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;

    if (fd >= 0)
        close(fd);
    return locked;
}

static void look_at_journals(struct doctor *doctor)
{
    char *path = g_strdup_printf("%s/journal", doctor->config->data);
    DIR *directory = opendir(path);
    const struct dirent *entry;
    struct stat status;
    unsigned count = 0;
    unsigned locked = 0;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char *file = g_strdup_printf("%s/%s", path, entry->d_name);

        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) &&
            lstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
            count++;
            /* Beside a server it is not asked: it would have to wait for us. */
            locked += !doctor->running && is_locked(file);
            if (status.st_size < STORE_JOURNAL_SIZE_MIN)
                doctor_note(doctor, "journals", DOCTOR_BAD,
                            "move it away and keep it: changes that were acknowledged may be in it",
                            "%s is too short to be a journal", file);
        }
        g_free(file);
    }
    if (directory != NULL)
        closedir(directory);
    if (locked > 0)
        doctor_note(doctor, "journals", DOCTOR_WARNING,
                    "a server whose control socket is elsewhere, or an annal command that still "
                    "works: ps tells",
                    "%u of %u are in use although no server answers", locked, count);
    else
        doctor_note(doctor, "journals", DOCTOR_GOOD, NULL,
                    doctor->running ? "are %u, in use"
                                    : "are %u; what they hold goes into git at "
                                      "the next start",
                    count);
    g_free(path);
}

void doctor_look_at_store(struct doctor *doctor)
{
    look_at_repositories(doctor);
    look_at_journals(doctor);
}
