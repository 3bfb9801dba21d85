#include "server/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/git_program.h"
#include "store/collect.h"
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

struct unpacking {
    struct unpacked *out;
    const char *path;
    GPtrArray *pieces; /* struct piece * */
    const struct piece *last;
    guint done; /* pieces */

    const struct observer *observer;
    struct observer own; /* tells octets where git tells objects */
    const struct piece *current;
    uint64_t octets_before; /* of pieces that are done */
    uint64_t octets;        /* of all */
};

/* --- how far it is --- */

/* git reads the file from our descriptor, so that is where it is. */
static void on_progress(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    const struct unpacking *unpacking = data;
    const struct observer *observer = unpacking->observer;

    if (stage == OBSERVER_UNPACK) {
        off_t at = lseek(unpacking->current->fd, 0, SEEK_CUR);

        done = unpacking->octets_before + (at > 0 ? (uint64_t)at : 0);
        total = unpacking->octets;
    }
    if (observer->progress != NULL)
        observer->progress(stage, done, total, observer->data);
}

static bool on_go_on(void *data)
{
    const struct unpacking *unpacking = data;

    return observer_goes_on(unpacking->observer);
}

static uint64_t octets_of(const struct piece *piece)
{
    struct stat status;

    return fstat(piece->fd, &status) == 0 && status.st_size > 0 ? (uint64_t)status.st_size : 0;
}

/* --- packs --- */

static char *file_of(const char *directory, const char *name, const char *suffix)
{
    return g_strdup_printf("%s/pack/pack-%s%s", directory, name, suffix);
}

/* Where an earlier restore was killed, its own stands there still. */
static bool is_free_or_ours(const char *path)
{
    char text[sizeof(COLLECT_RESTORE_KEEP) + 1] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (fd >= 0)
        close(fd);
    return fd < 0 || (length == (ssize_t)strlen(COLLECT_RESTORE_KEEP) &&
                      memcmp(text, COLLECT_RESTORE_KEEP, (size_t)length) == 0);
}

/* The protection, locked as long as we are at work. */
static bool move_keep(struct unpacked *out, const char *from, const char *to)
{
    int fd;

    if (!is_free_or_ours(to))
        return true;
    fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_SH) != 0 || rename(from, to) != 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    g_array_append_val(out->locks, fd);
    g_ptr_array_add(out->keeps, g_strdup(to));
    return true;
}

/* As git does it: what finds the pack comes last. */
static bool move_pack(struct unpacked *out, const char *path, const char *from, const char *name)
{
    static const char *const suffixes[] = {".keep", ".pack", ".rev", ".idx"};
    char *objects = g_strconcat(path, "/objects", NULL);
    char *directory = g_strconcat(objects, "/pack", NULL);
    int problem;
    bool known = false; /* the very same pack is there already */
    bool good = true;

    for (size_t i = 0; good && i < G_N_ELEMENTS(suffixes); i++) {
        char *here = file_of(from, name, suffixes[i]);
        char *there = file_of(objects, name, suffixes[i]);
        char *index = file_of(objects, name, ".idx");

        if (i == 0)
            good = move_keep(out, here, there);
        known = known || (i == 1 && access(index, F_OK) == 0);
        if (i > 0 && !known)
            good = good && (rename(here, there) == 0 || (i == 2 && errno == ENOENT));
        g_free(index);
        g_free(here);
        g_free(there);
    }
    if (!good)
        admin_complain("%s: %s", directory, strerror(errno));
    else if ((problem = host_system()->fsync_directory(NULL, directory)) < 0) {
        admin_complain("%s: %s", directory, strerror(-problem));
        good = false;
    }
    g_free(directory);
    g_free(objects);
    return good;
}

/* "keep\tID\n" is what it says: the pack's name. A new string, or NULL. */
static char *name_in(int fd)
{
    char text[OUTPUT_MAX + 1];
    ssize_t length = pread(fd, text, OUTPUT_MAX, 0);
    const char *at;

    text[length > 0 ? length : 0] = '\0';
    at = strstr(text, "keep\t");
    return at != NULL && strspn(at + 5, "0123456789abcdef") == OBJECT_ID_HEX
               ? g_strndup(at + 5, OBJECT_ID_HEX)
               : NULL;
}

/* Into a directory that is nobody's yet: git leaves what it has begun where it is ended. */
static bool unpack_into(struct unpacking *unpacking, const struct piece *piece,
                        const char *directory, int output)
{
    const char *arguments[] = {"index-pack",
                               "--stdin",
                               "--fix-thin",
                               "--fsck-objects",
                               "--keep=" COLLECT_RESTORE_MESSAGE,
                               unpacking->observer != NULL ? "-v" : NULL,
                               NULL};
    struct git_program program = {.path = unpacking->path,
                                  .arguments = arguments,
                                  .objects = directory,
                                  .input = piece->fd,
                                  .output = output,
                                  .observer = unpacking->observer != NULL ? &unpacking->own : NULL};
    char *name = git_program_run(&program) == 0 ? name_in(output) : NULL;
    bool good = name != NULL;

    if (!good && observer_goes_on(unpacking->observer))
        admin_complain("%s: git could not unpack it", piece->path);
    good = good && move_pack(unpacking->out, unpacking->path, directory, name);
    g_free(name);
    return good;
}

static bool unpack(struct unpacking *unpacking, const struct piece *piece)
{
    struct store_error error = {0};
    struct restore_begun place;
    int output = memfd_create("annal-unpack", MFD_CLOEXEC);
    bool good = output >= 0;

    unpacking->current = piece;
    if (!good)
        admin_complain("%s: %s", piece->path, strerror(errno));
    else if (restore_begin_unpacking(unpacking->path, &place, &error) != 0)
        good = admin_fail(piece->path, &error);
    else {
        good = unpack_into(unpacking, piece, place.path, output);
        restore_abandon(&place);
    }
    if (output >= 0)
        close(output);
    return good;
}

/* --- one after the other --- */

/* Whatever has all that it needs. */
static bool unpack_round(struct unpacking *unpacking)
{
    for (guint i = 0; i < unpacking->pieces->len; i++) {
        struct piece *piece = g_ptr_array_index(unpacking->pieces, i);
        struct store_error error = {0};
        bool ready;

        if (piece->done)
            continue;
        if (restore_has_prerequisites(unpacking->path, &piece->bundle, &ready, &error) != 0) {
            admin_complain("%s: %s", piece->path, error.detail);
            return false;
        }
        if (!ready)
            continue;
        if (!unpack(unpacking, piece))
            return false;
        piece->done = true;
        unpacking->octets_before += octets_of(piece);
        unpacking->last = piece;
        unpacking->done++;
    }
    return true;
}

static bool unpack_all(struct unpacking *unpacking)
{
    const GPtrArray *pieces = unpacking->pieces;
    guint before;

    for (guint i = 0; i < pieces->len; i++)
        unpacking->octets += octets_of(g_ptr_array_index(pieces, i));
    do {
        before = unpacking->done;
        if (!unpack_round(unpacking))
            return false;
    } while (unpacking->done > before && unpacking->done < pieces->len);
    for (guint i = 0; i < pieces->len; i++) {
        const struct piece *piece = g_ptr_array_index(pieces, i);

        if (!piece->done)
            admin_complain("%s: builds on a backup that is missing: name all since the last full "
                           "one",
                           piece->path);
    }
    return unpacking->done == pieces->len;
}

bool unpack_bundles(struct unpacked *out, const char *path, const GPtrArray *files,
                    const struct observer *observer)
{
    struct unpacking unpacking = {
        .out = out,
        .path = path,
        .pieces = g_ptr_array_new_with_free_func(piece_free),
        .observer = observer,
        .own = {.progress = on_progress, .go_on = on_go_on, .data = &unpacking},
    };
    bool good;

    bundle_init(&out->last);
    out->keeps = g_ptr_array_new_with_free_func(g_free);
    out->locks = g_array_new(FALSE, FALSE, sizeof(int));
    good = open_pieces(unpacking.pieces, files) && unpack_all(&unpacking);
    for (guint i = 0; good && i < unpacking.pieces->len; i++) {
        struct piece *piece = g_ptr_array_index(unpacking.pieces, i);
        struct bundle bundle = out->last;

        if (piece == unpacking.last) {
            out->last = piece->bundle;
            piece->bundle = bundle;
        }
    }
    g_ptr_array_unref(unpacking.pieces);
    return good;
}

void unpacked_move(struct unpacked *unpacked, const char *path)
{
    for (guint i = 0; i < unpacked->keeps->len; i++) {
        char **keep = (char **)&g_ptr_array_index(unpacked->keeps, i);
        char *name = g_path_get_basename(*keep);

        g_free(*keep);
        *keep = g_strdup_printf("%s/objects/pack/%s", path, name);
        g_free(name);
    }
}

void unpacked_release(struct unpacked *unpacked)
{
    for (guint i = 0; i < unpacked->keeps->len; i++)
        unlink(g_ptr_array_index(unpacked->keeps, i));
    for (guint i = 0; i < unpacked->locks->len; i++)
        close(g_array_index(unpacked->locks, int, i));
    g_ptr_array_unref(unpacked->keeps);
    g_array_unref(unpacked->locks);
    bundle_release(&unpacked->last);
}
