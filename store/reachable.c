#include "store/internal/reachable.h"

#include <dirent.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal/git.h"
#include "store/internal/refs_private.h"
#include "store/internal/shallow.h"
#include "store/internal/text.h"

enum {
    SLOTS_MIN = 1024,
    LOG_DEPTH_MAX = 20,
    LOG_SIZE_MAX = 256 * 1024 * 1024, /* octets of a reflog */
    PROGRESS_EVERY = 1024,
    MODE_GITLINK = 0160000,
    MODE_TREE = 0040000,
    MODE_TYPE = 0170000,
    OCTAL = 8,
};

/* ---- the set ---- */

void id_set_init(struct id_set *set)
{
    *set = (struct id_set){.slots = g_new0(struct object_id, SLOTS_MIN), .mask = SLOTS_MIN - 1};
}

void id_set_release(struct id_set *set)
{
    g_free(set->slots);
    set->slots = NULL;
}

static struct object_id *slot_of(const struct id_set *set, const struct object_id *id)
{
    size_t at = object_id_hash(id) & set->mask;

    while (!object_id_is_zero(&set->slots[at]) && !object_id_equal(&set->slots[at], id)) {
        at = (at + 1) & set->mask;
    }
    return &set->slots[at];
}

static void grow(struct id_set *set)
{
    struct id_set larger = {.mask = set->mask * 2 + 1, .count = set->count};

    larger.slots = g_new0(struct object_id, larger.mask + 1);
    for (size_t i = 0; i <= set->mask; i++) {
        if (!object_id_is_zero(&set->slots[i])) {
            *slot_of(&larger, &set->slots[i]) = set->slots[i];
        }
    }
    id_set_release(set);
    *set = larger;
}

bool id_set_add(struct id_set *set, const struct object_id *id)
{
    struct object_id *slot = slot_of(set, id);

    if (!object_id_is_zero(slot) || object_id_is_zero(id)) {
        return false;
    }
    *slot = *id;
    set->count++;
    if (set->count > set->mask - set->mask / 3) {
        grow(set);
    }
    return true;
}

bool id_set_has(const struct id_set *set, const struct object_id *id)
{
    return !object_id_is_zero(slot_of(set, id));
}

/* ---- the walk ---- */

struct walk {
    struct id_set *set;
    const struct id_set *except;   /* not to be looked into; NULL: none */
    const struct id_set *boundary; /* commits without parents; NULL: none */
    git_odb *odb;
    GArray *stack; /* struct object_id: in the set, not looked into */
    size_t missing;
};

static void push(struct walk *walk, const struct object_id *id)
{
    if ((walk->except == NULL || !id_set_has(walk->except, id)) && id_set_add(walk->set, id)) {
        g_array_append_val(walk->stack, *id);
    }
}

static void push_hex(struct walk *walk, const struct text *hex)
{
    char digits[OBJECT_ID_HEX + 1] = "";
    struct object_id id;

    if (hex->end - hex->at >= OBJECT_ID_HEX) {
        memcpy(digits, hex->at, OBJECT_ID_HEX);
        if (object_id_parse(&id, digits)) {
            push(walk, &id);
        }
    }
}

/* The headers of a commit or a tag that name objects. */
static void walk_headers(struct walk *walk, const struct object_id *id, const void *data,
                         size_t length)
{
    struct text text = {data, (const char *)data + length};
    struct text line;
    bool ends = walk->boundary != NULL && id_set_has(walk->boundary, id);

    while (text_line(&text, &line) && line.at < line.end) {
        struct text word = line;

        if (text_word(&word, "tree ") || (word = line, !ends && text_word(&word, "parent ")) ||
            (word = line, text_word(&word, "object "))) {
            push_hex(walk, &word);
        }
    }
}

/* Trees of any kind, not only ours: "MODE NAME" NUL and the id. */
static void walk_tree(struct walk *walk, const uint8_t *at, size_t length)
{
    const uint8_t *end = at + length;

    while (at < end) {
        const uint8_t *name_end = memchr(at, '\0', (size_t)(end - at));
        unsigned mode = 0;
        struct object_id id;

        if (name_end == NULL || end - name_end <= OBJECT_ID_SIZE) {
            walk->missing++;
            return;
        }
        for (; *at >= '0' && *at <= '7'; at++) {
            mode = mode * OCTAL + (*at - '0');
        }
        memcpy(id.bytes, name_end + 1, OBJECT_ID_SIZE);
        if ((mode & MODE_TYPE) == MODE_TREE) {
            push(walk, &id);
        } else if ((mode & MODE_TYPE) != MODE_GITLINK &&
                   (walk->except == NULL || !id_set_has(walk->except, &id))) {
            id_set_add(walk->set, &id);
        }
        at = name_end + 1 + OBJECT_ID_SIZE;
    }
}

static void walk_object(struct walk *walk, const struct object_id *id)
{
    git_odb_object *object = NULL;
    git_oid oid;

    git_oid_fromraw(&oid, id->bytes);
    if (git_odb_read(&object, walk->odb, &oid) < 0) {
        walk->missing++;
        return;
    }
    git_object_t type = git_odb_object_type(object);
    if (type == GIT_OBJECT_COMMIT || type == GIT_OBJECT_TAG) {
        walk_headers(walk, id, git_odb_object_data(object), git_odb_object_size(object));
    } else if (type == GIT_OBJECT_TREE) {
        walk_tree(walk, git_odb_object_data(object), git_odb_object_size(object));
    }
    git_odb_object_free(object);
}

/* ---- where it begins ---- */

/* What a reflog remembers; what is not there any more was given up before. */
static void push_log(struct walk *walk, const char *path)
{
    struct stat status;
    gchar *octets = NULL;
    gsize length = 0;
    FILE *file = NULL;

    if (lstat(path, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > LOG_SIZE_MAX ||
        (file = fopen(path, "re")) == NULL) {
        return;
    }
    octets = g_malloc((gsize)status.st_size + 1);
    length = fread(octets, 1, (gsize)status.st_size, file);
    fclose(file);
    struct text text = {octets, octets + length};
    struct text line;
    while (text_line(&text, &line)) {
        for (int field = 0; field < 2 && line.end - line.at > OBJECT_ID_HEX; field++) {
            char digits[OBJECT_ID_HEX + 1] = "";
            struct object_id id;
            git_oid oid;

            memcpy(digits, line.at, OBJECT_ID_HEX);
            if (object_id_parse(&id, digits)) {
                git_oid_fromraw(&oid, id.bytes);
                if (git_odb_exists(walk->odb, &oid) == 1) {
                    push(walk, &id);
                }
            }
            line.at += OBJECT_ID_HEX + 1;
        }
    }
    g_free(octets);
}

static void push_logs(struct walk *walk, const char *path, int depth)
{
    DIR *handle = depth < LOG_DEPTH_MAX ? opendir(path) : NULL;
    struct dirent *entry;

    while (handle != NULL && (entry = readdir(handle)) != NULL) {
        struct stat status;
        char *below = g_strdup_printf("%s/%s", path, entry->d_name);

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            lstat(below, &status) < 0) {
            g_free(below);
            continue;
        }
        if (S_ISDIR(status.st_mode)) {
            push_logs(walk, below, depth + 1);
        } else {
            push_log(walk, below);
        }
        g_free(below);
    }
    if (handle != NULL) {
        closedir(handle);
    }
}

static void push_head(struct walk *walk, const char *path)
{
    char *name = g_strdup_printf("%s/HEAD", path);
    char line[OBJECT_ID_HEX + 2] = "";
    FILE *file = fopen(name, "re");

    if (file != NULL) {
        if (fgets(line, sizeof(line), file) != NULL) {
            struct text text = {line, line + strlen(line)};

            push_hex(walk, &text);
        }
        fclose(file);
    }
    g_free(name);
}

/* References whose files say nothing: what they stood for is not known. A symbolic one stands for
 * another, which is in the list itself. */
static size_t count_unreadable(struct refs *refs)
{
    GHashTableIter iterator;
    void *name;
    void *value;
    size_t count = 0;

    g_hash_table_iter_init(&iterator, refs->loose);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        char *path = ref_path(refs, name, "");
        char word[sizeof("ref: ") - 1] = "";
        struct object_id id;
        struct store_error ignored;

        if (ref_current(refs, name, &id, &ignored) == STORE_CORRUPT) {
            FILE *file = fopen(path, "re");
            bool symbolic = file != NULL && fread(word, 1, sizeof(word), file) == sizeof(word) &&
                            memcmp(word, "ref: ", sizeof(word)) == 0;

            count += !symbolic;
            if (file != NULL) {
                fclose(file);
            }
        }
        g_free(path);
    }
    return count;
}

static int open_walk(struct walk *walk, const char *path, struct store_error *error)
{
    char *objects = g_strdup_printf("%s/objects", path);
    int result = git_odb_open(&walk->odb, objects);

    g_free(objects);
    walk->stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    return result < 0 ? libgit2_fail(error, result, "object database") : 0;
}

static void close_walk(struct walk *walk)
{
    g_array_free(walk->stack, TRUE);
    git_odb_free(walk->odb);
}

static int run(struct walk *walk, reachable_progress progress, void *data,
               struct store_error *error)
{
    uint64_t looked = 0;

    while (walk->stack->len > 0) {
        struct object_id id = g_array_index(walk->stack, struct object_id, walk->stack->len - 1);

        g_array_set_size(walk->stack, walk->stack->len - 1);
        walk_object(walk, &id);
        if (progress != NULL && ++looked % PROGRESS_EVERY == 0 &&
            !progress(walk->set->count, data)) {
            return store_error_set(error, STORE_CONFLICT, "given up");
        }
    }
    return 0;
}

int reachable_add(struct id_set *set, const char *path, struct refs *refs, size_t *missing,
                  reachable_progress progress, void *data, struct store_error *error)
{
    struct id_set boundary;
    struct walk walk = {.set = set, .boundary = &boundary};
    GPtrArray *entries = NULL;
    char *logs = g_strdup_printf("%s/logs", path);
    int result = open_walk(&walk, path, error);

    id_set_init(&boundary);
    if (result == 0) {
        result = refs_list(refs, "refs/", &entries, error);
    }
    /* After the references: whoever moves the boundary leaves what it lets go for a while. */
    if (result == 0) {
        result = shallow_read(&boundary, path, error);
    }
    for (guint i = 0; result == 0 && i < entries->len; i++) {
        push(&walk, &((const struct ref_entry *)entries->pdata[i])->id);
    }
    if (result == 0) {
        push_head(&walk, path);
        push_logs(&walk, logs, 0);
        result = run(&walk, progress, data, error);
        walk.missing += count_unreadable(refs);
    }
    *missing = walk.missing;
    if (entries != NULL) {
        g_ptr_array_free(entries, TRUE);
    }
    id_set_release(&boundary);
    close_walk(&walk);
    g_free(logs);
    return result;
}

int reachable_add_from(struct id_set *set, const struct id_set *except, const char *path,
                       const GArray *roots, reachable_progress progress, void *data,
                       struct store_error *error)
{
    struct walk walk = {.set = set, .except = except};
    int result = open_walk(&walk, path, error);

    for (guint i = 0; result == 0 && i < roots->len; i++) {
        push(&walk, &g_array_index(roots, struct object_id, i));
    }
    if (result == 0) {
        result = run(&walk, progress, data, error);
    }
    close_walk(&walk);
    return result;
}
