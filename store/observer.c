#include "store/observer.h"

#include <dirent.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal/pack_index.h"

bool observer_goes_on(const struct observer *observer)
{
    return observer == NULL || observer->go_on == NULL || observer->go_on(observer->data);
}

int observer_tell(const struct observer *observer, enum observer_stage stage, uint64_t done,
                  uint64_t total, struct store_error *error)
{
    if (observer == NULL) {
        return 0;
    }
    if (observer->progress != NULL) {
        observer->progress(stage, done, total, observer->data);
    }
    return observer_goes_on(observer) ? 0 : store_error_set(error, STORE_CONFLICT, "given up");
}

struct amounts {
    uint64_t objects;
    uint64_t octets;
};

static void count_pack(struct amounts *amounts, const char *directory, const char *name)
{
    g_autofree char *pack = g_strdup_printf("%s/%s.pack", directory, name);
    struct pack_index index;
    struct stat status;

    if (pack_index_open(&index, directory, name)) {
        amounts->objects += index.count;
        pack_index_close(&index);
    }
    if (stat(pack, &status) == 0 && status.st_size > 0) {
        amounts->octets += (uint64_t)status.st_size;
    }
}

/* Of the packs that have an index. */
static struct amounts count_packs(const char *path)
{
    g_autofree char *directory = g_strconcat(path, "/objects/pack", NULL);
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    struct amounts amounts = {0};

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (g_str_has_suffix(entry->d_name, ".idx")) {
            g_autofree char *name =
                g_strndup(entry->d_name, strlen(entry->d_name) - strlen(".idx"));

            count_pack(&amounts, directory, name);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return amounts;
}

uint64_t observer_objects(const char *path)
{
    return count_packs(path).objects;
}

uint64_t observer_octets(const char *path)
{
    return count_packs(path).octets;
}
