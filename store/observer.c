#include "store/observer.h"

#include <dirent.h>
#include <glib.h>
#include <string.h>

#include "store/internal/pack_index.h"

int observer_tell(const struct observer *observer, enum observer_stage stage, uint64_t done,
                  uint64_t total, struct store_error *error)
{
    if (observer == NULL) {
        return 0;
    }
    if (observer->progress != NULL) {
        observer->progress(stage, done, total, observer->data);
    }
    return observer->go_on == NULL || observer->go_on(observer->data)
               ? 0
               : store_error_set(error, STORE_CONFLICT, "given up");
}

uint64_t observer_objects(const char *path)
{
    g_autofree char *directory = g_strconcat(path, "/objects/pack", NULL);
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    uint64_t count = 0;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        g_autofree char *name = NULL;
        struct pack_index index;

        if (!g_str_has_suffix(entry->d_name, ".idx")) {
            continue;
        }
        name = g_strndup(entry->d_name, strlen(entry->d_name) - strlen(".idx"));
        if (pack_index_open(&index, directory, name)) {
            count += index.count;
            pack_index_close(&index);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return count;
}
