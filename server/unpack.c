#include "server/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/git_program.h"
#include "store/object_id.h"
#include "store/restore.h"

enum { OUTPUT_MAX = 64 * 1024 }; /* octets of what index-pack says */

struct piece {
    const char *path;
    int fd; /* at its pack */
    struct bundle bundle;
    bool done;
};

static void piece_free(void *data)
{
    struct piece *piece = data;

    if (piece->fd >= 0)
        close(piece->fd);
    bundle_release(&piece->bundle);
    g_free(piece);
}

static bool open_pieces(GPtrArray *pieces, const GPtrArray *files)
{
    for (guint i = 0; i < files->len; i++) {
        struct piece *piece = g_new0(struct piece, 1);
        struct store_error error = {0};

        bundle_init(&piece->bundle);
        piece->path = g_ptr_array_index(files, i);
        piece->fd = open(piece->path, O_RDONLY | O_CLOEXEC);
        g_ptr_array_add(pieces, piece);
        if (piece->fd < 0) {
            admin_complain("%s: %s", piece->path, strerror(errno));
            return false;
        }
        if (bundle_read(&piece->bundle, piece->fd, &error) != 0) {
            admin_complain("%s: %s", piece->path, error.detail);
            return false;
        }
    }
    return true;
}

/* "keep\tID\n" is among what it says: the pack's name. */
static void note_keep(GPtrArray *keeps, const char *path, int fd)
{
    char text[OUTPUT_MAX + 1];
    ssize_t length = pread(fd, text, OUTPUT_MAX, 0);
    const char *at;

    text[length > 0 ? length : 0] = '\0';
    at = strstr(text, "keep\t");
    if (at != NULL && strspn(at + 5, "0123456789abcdef") == OBJECT_ID_HEX)
        g_ptr_array_add(
            keeps, g_strdup_printf("%s/objects/pack/pack-%.*s.keep", path, OBJECT_ID_HEX, at + 5));
}

static bool unpack(struct unpacked *out, const char *path, const struct piece *piece)
{
    const char *arguments[] = {"index-pack",
                               "--stdin",
                               "--fix-thin",
                               "--fsck-objects",
                               "--keep=annal restore",
                               isatty(STDERR_FILENO) ? "-v" : NULL,
                               NULL};
    int output = memfd_create("annal-unpack", MFD_CLOEXEC);
    bool good = output >= 0 && git_program_run(path, arguments, piece->fd, output) == 0;

    if (good)
        note_keep(out->keeps, path, output);
    else
        admin_complain("%s: git could not unpack it", piece->path);
    if (output >= 0)
        close(output);
    return good;
}

/* Whatever has all that it needs. False when that fails; *done: how many. */
static bool unpack_round(struct unpacked *out, const char *path, const GPtrArray *pieces,
                         guint *done, const struct piece **last)
{
    for (guint i = 0; i < pieces->len; i++) {
        struct piece *piece = g_ptr_array_index(pieces, i);
        struct store_error error = {0};
        bool ready;

        if (piece->done)
            continue;
        if (restore_has_prerequisites(path, &piece->bundle, &ready, &error) != 0) {
            admin_complain("%s: %s", piece->path, error.detail);
            return false;
        }
        if (!ready)
            continue;
        if (!unpack(out, path, piece))
            return false;
        piece->done = true;
        *last = piece;
        ++*done;
    }
    return true;
}

static bool unpack_all(struct unpacked *out, const char *path, const GPtrArray *pieces,
                       const struct piece **last)
{
    guint before;
    guint done = 0;

    do {
        before = done;
        if (!unpack_round(out, path, pieces, &done, last))
            return false;
    } while (done > before && done < pieces->len);
    for (guint i = 0; i < pieces->len; i++) {
        const struct piece *piece = g_ptr_array_index(pieces, i);

        if (!piece->done)
            admin_complain("%s: builds on a backup that is missing: name all since the last full "
                           "one",
                           piece->path);
    }
    return done == pieces->len;
}

bool unpack_bundles(struct unpacked *out, const char *path, const GPtrArray *files)
{
    GPtrArray *pieces = g_ptr_array_new_with_free_func(piece_free);
    const struct piece *last = NULL;
    bool good;

    bundle_init(&out->last);
    out->keeps = g_ptr_array_new_with_free_func(g_free);
    good = open_pieces(pieces, files) && unpack_all(out, path, pieces, &last);
    for (guint i = 0; good && i < pieces->len; i++) {
        struct piece *piece = g_ptr_array_index(pieces, i);
        struct bundle bundle = out->last;

        if (piece == last) {
            out->last = piece->bundle;
            piece->bundle = bundle;
        }
    }
    g_ptr_array_unref(pieces);
    return good;
}

void unpacked_release(struct unpacked *unpacked)
{
    for (guint i = 0; i < unpacked->keeps->len; i++)
        unlink(g_ptr_array_index(unpacked->keeps, i));
    g_ptr_array_unref(unpacked->keeps);
    bundle_release(&unpacked->last);
}
