#include "store/internal/pack_set.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/pack_inflate.h"

enum {
    RACY_SECONDS = 1, /* a directory changed this lately may change again with the same time */
    SUFFIX = 4,       /* ".idx" */
};

#define PREFIX "pack-"

struct member {
    char *path;             /* without a suffix */
    struct pack_file *pack; /* NULL: not open */
    struct object_id only;
    bool single; /* it has no other object but only */
    bool bad;    /* can't be opened */
    bool used;   /* since the last rest */
    bool listed; /* is still in the directory */
};

struct pack_set {
    char *directory;
    GPtrArray *members;  /* struct member, owned; the last one hit first */
    GHashTable *by_name; /* char * (end of a member's path) -> that member */
    bool listed;
    bool racy; /* the directory was listed right after it had changed */
    struct timespec changed;
    ino_t inode;
};

static void member_free(void *data)
{
    struct member *member = data;

    pack_file_unref(member->pack);
    g_free(member->path);
    g_free(member);
}

struct pack_set *pack_set_new(const char *directory)
{
    struct pack_set *set = g_new0(struct pack_set, 1);

    set->directory = g_strdup(directory);
    set->members = g_ptr_array_new_with_free_func(member_free);
    set->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    return set;
}

void pack_set_free(struct pack_set *set)
{
    if (set != NULL) {
        g_hash_table_unref(set->by_name);
        g_ptr_array_free(set->members, TRUE);
        g_free(set->directory);
        g_free(set);
    }
}

unsigned pack_set_count(const struct pack_set *set)
{
    return set->members->len;
}

static char *name_of(const struct pack_set *set, const struct member *member)
{
    return member->path + strlen(set->directory) + 1;
}

/* The member of this name, made if it is not there; NULL if there are too many. */
static struct member *need_member(struct pack_set *set, const char *name)
{
    struct member *member = g_hash_table_lookup(set->by_name, name);

    if (member == NULL && set->members->len < PACK_SET_MAX) {
        member = g_new0(struct member, 1);
        member->path = g_strdup_printf("%s/%s", set->directory, name);
        g_ptr_array_add(set->members, member);
        g_hash_table_insert(set->by_name, name_of(set, member), member);
    }
    return member;
}

static void list_file(struct pack_set *set, char *file)
{
    if (!g_str_has_prefix(file, PREFIX) || !g_str_has_suffix(file, ".idx")) {
        return;
    }
    file[strlen(file) - SUFFIX] = '\0';
    struct member *member = need_member(set, file);
    if (member != NULL) {
        member->listed = true;
    }
}

static void set_only(struct member *member, const struct object_id *only)
{
    member->only = *only;
    member->single = true;
}

void pack_set_note(struct pack_set *set, const char *name, const struct object_id *only)
{
    g_autofree char *file = g_strconcat(PREFIX, name, NULL);
    struct member *member = need_member(set, file);

    if (member != NULL && only != NULL) {
        set_only(member, only);
    }
}

static void drop_unlisted(struct pack_set *set)
{
    for (guint i = set->members->len; i-- > 0;) {
        struct member *member = set->members->pdata[i];

        if (!member->listed) {
            g_hash_table_remove(set->by_name, name_of(set, member));
            g_ptr_array_remove_index(set->members, i);
        } else {
            member->bad = false;
        }
    }
}

static void unlist(void *data, void *unused)
{
    struct member *member = data;

    (void)unused;
    member->listed = false;
}

static void list(struct pack_set *set, const struct stat *status)
{
    DIR *directory = opendir(set->directory);
    struct dirent *entry;
    struct timespec now;

    if (directory == NULL) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    set->changed = status->st_mtim;
    set->inode = status->st_ino;
    set->racy = now.tv_sec - status->st_mtim.tv_sec <= RACY_SECONDS;
    set->listed = true;
    g_ptr_array_foreach(set->members, unlist, NULL);
    while ((entry = readdir(directory)) != NULL) {
        list_file(set, entry->d_name);
    }
    closedir(directory);
    drop_unlisted(set);
}

/* False if there can be nothing new. */
static bool list_if_changed(struct pack_set *set)
{
    struct stat status;

    if (stat(set->directory, &status) < 0) {
        return false;
    }
    if (set->listed && !set->racy && set->inode == status.st_ino &&
        set->changed.tv_sec == status.st_mtim.tv_sec &&
        set->changed.tv_nsec == status.st_mtim.tv_nsec) {
        return false;
    }
    list(set, &status);
    return true;
}

static struct pack_file *open_member(struct member *member)
{
    struct store_error error;

    if (member->pack == NULL && !member->bad) {
        member->bad = pack_file_open(&member->pack, member->path, &error) < 0;
        if (member->pack != NULL && pack_file_count(member->pack) == 1) {
            set_only(member, pack_file_id(member->pack, 0));
        }
    }
    return member->pack;
}

/* Moves the member to the front: objects that are read one after another lie together. */
static void prefer(struct pack_set *set, guint index)
{
    if (index > 0) {
        void *member = set->members->pdata[index];

        memmove(set->members->pdata + 1, set->members->pdata, index * sizeof(void *));
        set->members->pdata[0] = member;
    }
}

/* The next pack from *index on that has the object; *index is then behind it. */
static struct pack_file *find(struct pack_set *set, const struct object_id *id, guint *index,
                              uint32_t *position)
{
    while (*index < set->members->len) {
        struct member *member = set->members->pdata[(*index)++];

        if (member->single && !object_id_equal(&member->only, id)) {
            continue;
        }
        struct pack_file *pack = open_member(member);
        if (pack != NULL && pack_file_find(pack, id, position)) {
            member->used = true;
            return pack;
        }
    }
    return NULL;
}

/* The first pack that is known to have it. */
static struct pack_file *find_known(struct pack_set *set, const struct object_id *id, guint *index,
                                    uint32_t *position)
{
    *index = 0;
    struct pack_file *pack = find(set, id, index, position);
    if (pack != NULL) {
        prefer(set, *index - 1);
    }
    return pack;
}

/* The same, listing anew when none has it. */
static struct pack_file *find_first(struct pack_set *set, const struct object_id *id, guint *index,
                                    uint32_t *position)
{
    struct pack_file *pack = find_known(set, id, index, position);

    return pack == NULL && list_if_changed(set) ? find_known(set, id, index, position) : pack;
}

int pack_set_read(struct pack_set *set, const struct object_id *id, enum object_type *type,
                  GBytes **content, struct store_error *error)
{
    uint32_t position;
    guint index;
    struct pack_file *pack = find_first(set, id, &index, &position);
    int result = STORE_NOT_FOUND;

    if (pack == NULL) {
        return store_error_set(error, STORE_NOT_FOUND, "in no pack");
    }
    while (pack != NULL && result < 0) {
        result = pack_file_read(pack, position, type, content, error);
        pack = result < 0 ? find(set, id, &index, &position) : NULL;
    }
    return result;
}

bool pack_set_has(struct pack_set *set, const struct object_id *id)
{
    uint32_t position;
    guint index;

    return find_first(set, id, &index, &position) != NULL;
}

static bool file_exists(const char *path, const char *suffix)
{
    char *name = g_strconcat(path, suffix, NULL);
    bool exists = access(name, F_OK) == 0;

    g_free(name);
    return exists;
}

bool pack_set_stands(struct pack_set *set, const struct object_id *id)
{
    uint32_t position;
    guint index;
    bool stands = false;

    if (!set->listed) {
        list_if_changed(set);
    }
    if (find_known(set, id, &index, &position) == NULL) {
        return false;
    }
    /* The one that was hit comes first now. */
    index = 0;
    while (!stands && find(set, id, &index, &position) != NULL) {
        const struct member *member = set->members->pdata[index - 1];

        stands = file_exists(member->path, ".idx") && file_exists(member->path, ".pack");
    }
    return stands;
}

bool pack_set_slices(struct pack_set *set, const struct object_id *id, struct pack_slices *out)
{
    uint32_t position;
    guint index;
    struct pack_file *pack = find_first(set, id, &index, &position);

    while (pack != NULL && !pack_slices_open(out, pack, position)) {
        pack = find(set, id, &index, &position);
    }
    return pack != NULL;
}

struct pack_inflate *pack_set_inflate(struct pack_set *set, const struct object_id *id)
{
    uint32_t position;
    guint index;
    struct pack_file *pack = find_first(set, id, &index, &position);

    return pack == NULL ? NULL : pack_inflate_open(pack, position);
}

void pack_set_rest(struct pack_set *set)
{
    bool any = false;

    if (set->listed) {
        list_if_changed(set);
    }
    for (guint i = 0; i < set->members->len; i++) {
        struct member *member = set->members->pdata[i];

        if (!member->used) {
            g_clear_pointer(&member->pack, pack_file_unref);
        }
        any = any || member->used;
        member->used = false;
    }
    if (!any) {
        g_hash_table_remove_all(set->by_name);
        g_ptr_array_set_size(set->members, 0);
        set->listed = false;
    }
}
