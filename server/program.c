#include "server/program.h"

#include <glib.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* What the kernel adds when another file has taken the name since, as an upgrade does. */
static const char REPLACED[] = " (deleted)";

void program_tell_store(struct store *store)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (length <= 0)
        return;
    path[length] = '\0';
    if (g_str_has_suffix(path, REPLACED))
        path[length - (ssize_t)strlen(REPLACED)] = '\0';
    /* Another program that has this one's parts in it, as a test does, is none for hooks. */
    if (g_str_has_suffix(path, "/annal"))
        store_set_program(store, path);
}
