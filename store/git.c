#include "store/internal/git.h"

#include <pthread.h>

static void start(void)
{
    static const git_config_level_t foreign[] = {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
                                                 GIT_CONFIG_LEVEL_GLOBAL,
                                                 GIT_CONFIG_LEVEL_PROGRAMDATA};

    git_libgit2_init();
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, foreign[i], "");
    }
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    /* Stored objects carry an adler32 that inflating checks; hashing each read again costs more
     * than the read. store/verify.h looks for the rest. */
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
}

void libgit2_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start);
}

int libgit2_fail(struct store_error *error, int result, const char *what)
{
    const git_error *last = git_error_last();
    const char *message = last != NULL && last->message != NULL ? last->message : "";
    enum store_code code = STORE_CORRUPT;

    if (result == GIT_ENOTFOUND) {
        code = STORE_NOT_FOUND;
    } else if (result == GIT_EEXISTS) {
        code = STORE_EXISTS;
    } else if (result == GIT_ELOCKED || result == GIT_EMODIFIED) {
        code = STORE_CONFLICT;
    } else if (last != NULL && last->klass == GIT_ERROR_NOMEMORY) {
        code = STORE_NO_MEMORY;
    } else if (last != NULL && last->klass == GIT_ERROR_OS) {
        code = STORE_IO;
    }
    return store_error_set(error, code, "%s: %s (%d)", what, message, result);
}
