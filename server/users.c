#include "server/users.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"

static const char HASH_PREFIX[] = "$y$"; /* yescrypt */
/* What an unknown user's password is hashed with while the file is empty: yescrypt at the
 * library's usual cost. */
static const char EMPTY_SETTING[] = "$y$j9T$4mPq8Xv0bT2sLr6WcYd1k.";

/* Of a line; NULL: stays. */
struct change {
    const char *hash;
    const char *field;
};

struct users {
    char *path;
    unsigned long cost;
    pthread_mutex_t lock; /* over all below */
    struct stat seen;     /* of the file that table was read from; all 0: there was none */
    GHashTable *table;    /* char * name -> char * hash, behind its NUL the field */
    char *dummy;          /* a setting as costly as the users' own */
};

/* Two strings in one. */
static char *make_value(const char *hash, size_t hash_length, const char *field,
                        size_t field_length)
{
    char *value = g_malloc0(hash_length + field_length + 2);

    memcpy(value, hash, hash_length);
    memcpy(value + hash_length + 1, field, field_length);
    return value;
}

/* One line without its end. *dummy becomes the first real hash ("*" and the like lock an account
 * and cost nothing). False with *problem if it is malformed. */
static bool parse_line(GHashTable *table, char **dummy, const char *line, size_t length,
                       const char **problem)
{
    const char *colon = memchr(line, ':', length);
    const char *end = line + length;
    const char *hash_end;
    const char *field;
    const char *field_end;
    char *name;

    if (length == 0 || line[0] == '#')
        return true;
    *problem = colon == NULL                                   ? "no ':' after the name"
               : colon == line                                 ? "no name"
               : (size_t)(colon - line) > USERS_NAME_MAX       ? "name too long"
               : memchr(line, '\0', length) != NULL            ? "NUL octet"
               : colon + 1 == end                              ? "no hash"
               : strcspn(colon + 1, ":\n") > CRYPT_OUTPUT_SIZE ? "hash too long"
                                                               : NULL;
    if (*problem != NULL)
        return false;
    hash_end = memchr(colon + 1, ':', (size_t)(end - colon - 1));
    if (hash_end == NULL)
        hash_end = end;
    /* More fields, as in passwd(5), are left alone. */
    field = hash_end < end ? hash_end + 1 : end;
    field_end = memchr(field, ':', (size_t)(end - field));
    if (field_end == NULL)
        field_end = end;
    name = g_strndup(line, (size_t)(colon - line));
    if (g_hash_table_contains(table, name)) {
        g_free(name);
        *problem = "the name stands twice";
        return false;
    }
    g_hash_table_insert(
        table, name,
        make_value(colon + 1, (size_t)(hash_end - colon - 1), field, (size_t)(field_end - field)));
    if (*dummy == NULL && colon[1] == '$')
        *dummy = g_strndup(colon + 1, (size_t)(hash_end - colon - 1));
    return true;
}

/* A new table, or NULL with *problem. *dummy gets the first hash, or NULL. */
static GHashTable *parse_file(const char *path, const char *text, size_t length, char **dummy,
                              char **problem)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    const char *reason = NULL;
    unsigned number = 1;

    *dummy = NULL;
    for (size_t position = 0; position < length; number++) {
        const char *line = text + position;
        const char *end = memchr(line, '\n', length - position);
        size_t line_length = end != NULL ? (size_t)(end - line) : length - position;

        if (!parse_line(table, dummy, line, line_length, &reason)) {
            *problem = g_strdup_printf("%s:%u: %s", path, number, reason);
            g_hash_table_unref(table);
            g_free(*dummy);
            *dummy = NULL;
            return NULL;
        }
        position += line_length + 1;
    }
    return table;
}

/* The whole file; *seen all 0 and "" if there is none. NULL with *problem. */
static GString *read_file(const char *path, struct stat *seen, char **problem)
{
    GString *text = g_string_new(NULL);
    char chunk[16384];
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *seen = (struct stat){0};
    if (fd < 0 && errno == ENOENT)
        return text;
    if (fd >= 0 && fstat(fd, seen) == 0) {
        while ((got = read(fd, chunk, sizeof(chunk))) > 0 && text->len < USERS_FILE_MAX)
            g_string_append_len(text, chunk, got);
        if (got > 0)
            errno = EFBIG;
    } else {
        got = -1;
    }
    if (got != 0) {
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
        g_string_free(text, TRUE);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static struct stat look(const struct users *users)
{
    struct stat now;

    return stat(users->path, &now) == 0 ? now : (struct stat){0};
}

/* Reads the file if what stat(2) says of it now is not what was read last. The lock is held. */
static bool refresh(struct users *users, struct stat now, char **problem)
{
    GHashTable *table;
    GString *text;
    char *dummy;

    *problem = NULL;
    if (users->table != NULL && same_file(&now, &users->seen))
        return true;
    text = read_file(users->path, &now, problem);
    if (text == NULL)
        return false;
    /* Also a malformed file is looked at once only. */
    users->seen = now;
    table = parse_file(users->path, text->str, text->len, &dummy, problem);
    g_string_free(text, TRUE);
    if (table == NULL)
        return false;
    if (users->table != NULL)
        g_hash_table_unref(users->table);
    users->table = table;
    g_free(users->dummy);
    users->dummy = dummy != NULL ? dummy : g_strdup(EMPTY_SETTING);
    return true;
}

/* Looks before it locks: every delivery asks here. */
static void lock_fresh(struct users *users)
{
    struct stat now = look(users);
    char *problem = NULL;

    pthread_mutex_lock(&users->lock);
    if (!refresh(users, now, &problem)) {
        char *quoted = log_quote(problem);

        log_line(LOG_LEVEL_WARNING, NULL, "event=users-unreadable problem=%s", quoted);
        g_free(quoted);
        g_free(problem);
    }
}

struct users *users_open(const char *path, char **problem)
{
    struct users *users = g_new0(struct users, 1);

    users->path = g_strdup(path);
    pthread_mutex_init(&users->lock, NULL);
    if (refresh(users, look(users), problem))
        return users;
    users_free(users);
    return NULL;
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    if (users->table != NULL)
        g_hash_table_unref(users->table);
    pthread_mutex_destroy(&users->lock);
    g_free(users->dummy);
    g_free(users->path);
    g_free(users);
}

void users_set_cost(struct users *users, unsigned long cost)
{
    users->cost = cost;
}

static bool equal_constant_time(const char *a, const char *b)
{
    size_t length = strlen(a);
    unsigned char difference = 0;

    /* The length of a hash is no secret: it follows from its method. */
    if (length != strlen(b))
        return false;
    for (size_t i = 0; i < length; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool users_check(struct users *users, const char *user, const char *password)
{
    struct crypt_data *data = g_new0(struct crypt_data, 1);
    bool password_fits = strlen(password) <= USERS_PASSWORD_MAX;
    const char *made;
    char *expected;
    bool known;
    bool good;

    lock_fresh(users);
    expected = g_strdup(g_hash_table_lookup(users->table, user));
    known = expected != NULL;
    if (!known)
        expected = g_strdup(users->dummy);
    pthread_mutex_unlock(&users->lock);

    made = crypt_rn(password_fits ? password : "", expected, data, sizeof(*data));
    good = made != NULL && equal_constant_time(made, expected) && known && password_fits;
    explicit_bzero(data, sizeof(*data));
    g_free(data);
    g_free(expected);
    return good;
}

bool users_exists(struct users *users, const char *user)
{
    bool exists;

    lock_fresh(users);
    exists = g_hash_table_contains(users->table, user);
    pthread_mutex_unlock(&users->lock);
    return exists;
}

char *users_field(struct users *users, const char *user)
{
    const char *value;
    char *field = NULL;

    lock_fresh(users);
    value = g_hash_table_lookup(users->table, user);
    if (value != NULL && value[strlen(value) + 1] != '\0')
        field = g_strdup(value + strlen(value) + 1);
    pthread_mutex_unlock(&users->lock);
    return field;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *users_list(struct users *users)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    void *name;

    lock_fresh(users);
    g_hash_table_iter_init(&iter, users->table);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(names, g_strdup(name));
    pthread_mutex_unlock(&users->lock);
    g_ptr_array_sort(names, compare_names);
    return names;
}

/* --- changing the file --- */

static bool name_valid(const char *user)
{
    size_t length = strlen(user);

    if (length < 1 || length > USERS_NAME_MAX || user[0] == '#')
        return false;
    for (size_t i = 0; i < length; i++)
        if (user[i] == ':' || g_ascii_iscntrl(user[i]))
            return false;
    return true;
}

static char *hash_password(const struct users *users, const char *password)
{
    struct crypt_data *data = g_new0(struct crypt_data, 1);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *made = NULL;
    char *hash;

    if (crypt_gensalt_rn(HASH_PREFIX, users->cost, NULL, 0, setting, sizeof(setting)) != NULL)
        made = crypt_rn(password, setting, data, sizeof(*data));
    hash = g_strdup(made);
    explicit_bzero(data, sizeof(*data));
    g_free(data);
    return hash;
}

static int lock_file(const char *path, char **problem)
{
    char *lock_path = g_strdup_printf("%s.lock", path);
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        *problem = g_strdup_printf("%s: %s", lock_path, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    g_free(lock_path);
    return fd;
}

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, text, length);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        text += done;
        length -= (size_t)done;
    }
    return true;
}

static bool sync_directory_of(const char *path)
{
    char *directory = g_strdup(path);
    char *slash = strrchr(directory, '/');
    bool done;
    int fd;

    if (slash == NULL)
        fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    else {
        slash[slash == directory ? 1 : 0] = '\0';
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    g_free(directory);
    return done;
}

/* Replaces the file; its lock is held, so that nobody else uses the new one's name. */
static bool write_file(const char *path, const GString *text, char **problem)
{
    char *new_path = g_strdup_printf("%s.new", path);
    int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool done = fd >= 0 && write_all(fd, text->str, text->len) && fsync(fd) == 0;

    if (fd >= 0)
        done = close(fd) == 0 && done;
    done = done && rename(new_path, path) == 0 && sync_directory_of(path);
    if (!done)
        *problem = g_strdup_printf("%s: %s", new_path, strerror(errno));
    g_free(new_path);
    return done;
}

/* A part of a line between its colons, by number; of no length where the line is too short. */
static const char *part_of(const char *line, size_t length, unsigned number, size_t *part_length)
{
    const char *end = line + length;
    const char *at = line;
    const char *colon;

    for (; number > 0; number--) {
        colon = memchr(at, ':', (size_t)(end - at));
        at = colon != NULL ? colon + 1 : end;
    }
    colon = memchr(at, ':', (size_t)(end - at));
    *part_length = (size_t)((colon != NULL ? colon : end) - at);
    return at;
}

/* A user's line with what the change is about; what it is not about stays. */
static void append_line(GString *out, const struct change *change, const char *user,
                        const char *line, size_t length)
{
    size_t hash_length;
    size_t field_length;
    const char *hash = part_of(line, length, 1, &hash_length);
    const char *field = part_of(line, length, 2, &field_length);
    const char *rest = field + field_length;

    if (change->hash != NULL) {
        hash = change->hash;
        hash_length = strlen(hash);
    }
    if (change->field != NULL) {
        field = change->field;
        field_length = strlen(field);
    }
    g_string_append_printf(out, "%s:", user);
    g_string_append_len(out, hash, (gssize)hash_length);
    if (field_length > 0 || rest < line + length)
        g_string_append_c(out, ':');
    g_string_append_len(out, field, (gssize)field_length);
    g_string_append_len(out, rest, line + length - rest);
    g_string_append_c(out, '\n');
}

/* The text with the user's line changed, or dropped where change is NULL; a line of a user who has
 * none is added at the end. */
static GString *edit_text(const GString *text, const char *user, const struct change *change)
{
    GString *out = g_string_sized_new(text->len + 256);
    size_t user_length = strlen(user);
    bool placed = false;

    for (size_t position = 0; position < text->len;) {
        const char *start = text->str + position;
        const char *end = memchr(start, '\n', text->len - position);
        size_t length = end != NULL ? (size_t)(end - start) : text->len - position;
        bool is_users = length > user_length && start[user_length] == ':' &&
                        memcmp(start, user, user_length) == 0;

        if (is_users && change != NULL)
            append_line(out, change, user, start, length);
        else if (!is_users) {
            g_string_append_len(out, start, (gssize)length);
            g_string_append_c(out, '\n');
        }
        placed = placed || is_users;
        position += length + 1;
    }
    if (!placed && change != NULL)
        append_line(out, change, user, "", 0);
    return out;
}

enum edit { EDIT_ADD, EDIT_REPLACE, EDIT_DELETE };

/* The file's lock is held. */
static enum users_result edit_locked(struct users *users, enum edit edit, const char *user,
                                     const struct change *change, char **problem)
{
    struct stat seen;
    GString *text = read_file(users->path, &seen, problem);
    GHashTable *table;
    GString *edited;
    char *dummy = NULL;
    enum users_result result;

    if (text == NULL)
        return USERS_FAILED;
    table = parse_file(users->path, text->str, text->len, &dummy, problem);
    if (table == NULL)
        result = USERS_FAILED;
    else if (edit == EDIT_ADD && g_hash_table_contains(table, user))
        result = USERS_TAKEN;
    else if (edit != EDIT_ADD && !g_hash_table_contains(table, user))
        result = USERS_MISSING;
    else {
        edited = edit_text(text, user, change);
        result = write_file(users->path, edited, problem) ? USERS_OK : USERS_FAILED;
        g_string_free(edited, TRUE);
    }
    if (table != NULL)
        g_hash_table_unref(table);
    g_free(dummy);
    g_string_free(text, TRUE);
    return result;
}

static enum users_result edit_file(struct users *users, enum edit edit, const char *user,
                                   const struct change *change, char **problem)
{
    enum users_result result = USERS_FAILED;
    int lock;

    *problem = NULL;
    if (!name_valid(user))
        return USERS_BAD_NAME;
    lock = lock_file(users->path, problem);
    if (lock >= 0) {
        result = edit_locked(users, edit, user, change, problem);
        close(lock);
    }
    return result;
}

static enum users_result edit_password(struct users *users, enum edit edit, const char *user,
                                       const char *password, char **problem)
{
    size_t length = strlen(password);
    enum users_result result;
    char *hash;

    *problem = NULL;
    if (!name_valid(user))
        return USERS_BAD_NAME;
    if (length < 1 || length > USERS_PASSWORD_MAX)
        return USERS_BAD_PASSWORD;
    hash = hash_password(users, password);
    if (hash == NULL) {
        *problem = g_strdup("the password can't be hashed");
        return USERS_FAILED;
    }
    result = edit_file(users, edit, user, &(struct change){.hash = hash}, problem);
    g_free(hash);
    return result;
}

enum users_result users_add(struct users *users, const char *user, const char *password,
                            char **problem)
{
    return edit_password(users, EDIT_ADD, user, password, problem);
}

enum users_result users_set_password(struct users *users, const char *user, const char *password,
                                     char **problem)
{
    return edit_password(users, EDIT_REPLACE, user, password, problem);
}

enum users_result users_delete(struct users *users, const char *user, char **problem)
{
    return edit_file(users, EDIT_DELETE, user, NULL, problem);
}

enum users_result users_set_field(struct users *users, const char *user, const char *field,
                                  char **problem)
{
    for (const char *c = field; *c != '\0'; c++) {
        if (*c == ':' || g_ascii_iscntrl(*c)) {
            *problem = g_strdup("a field of the password file has neither ':' nor control "
                                "characters");
            return USERS_FAILED;
        }
    }
    return edit_file(users, EDIT_REPLACE, user, &(struct change){.field = field}, problem);
}
