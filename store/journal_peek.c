/* A server goes on writing meanwhile. It overwrites only what is before the tail, and says first in
 * a header that the tail has moved on: so what was read up to its end is good if the tail that the
 * header names afterwards is not behind that end. */
#include "store/internal/journal_peek.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/journal_private.h"
#include "store/internal/journal_record.h"

enum { PEEK_TRIES = 100 };

struct peek {
    const char *user;
    GArray *moves;
    guint start; /* moves of other journals */
    guint change;
};

static void move_clear(void *data)
{
    g_free((char *)(uintptr_t)((struct peeked_move *)data)->update.name);
}

static int visit(void *data, const void *bytes, size_t length, struct store_error *error)
{
    struct peek *peek = data;
    struct record record;
    int rc = record_decode(&record, bytes, length, error);

    if (rc < 0) {
        return rc;
    }
    if (strcmp(record.user, peek->user) == 0 && record.kind == RECORD_DONE) {
        g_array_set_size(peek->moves, peek->start);
    } else if (strcmp(record.user, peek->user) == 0) {
        peek->change++;
        for (guint i = 0; i < record.updates->len; i++) {
            struct ref_update *update = &g_array_index(record.updates, struct ref_update, i);
            struct peeked_move move = {peek->change, *update};

            update->name = NULL;
            g_array_append_val(peek->moves, move);
        }
    }
    record_release(&record);
    return 0;
}

static int read_once(struct journal *journal, struct peek *peek, bool *overtaken,
                     struct store_error *error)
{
    uint64_t end;
    int rc = journal_read_header(journal, error);

    if (rc == 0) {
        rc = journal_read_all(journal, visit, peek, error);
    }
    end = journal->written;
    if (rc == 0) {
        rc = journal_read_header(journal, error);
    }
    *overtaken = rc == 0 && journal->header.sequence > end + 1;
    return rc;
}

static int read_journal(struct journal *journal, struct peek *peek, struct store_error *error)
{
    bool overtaken = true;
    int rc = 0;

    for (int i = 0; rc == 0 && overtaken && i < PEEK_TRIES; i++) {
        g_array_set_size(peek->moves, peek->start);
        rc = read_once(journal, peek, &overtaken, error);
        /* A frame that was being overwritten may be read as one whose records don't add up. */
        if (rc == STORE_CORRUPT && i + 1 < PEEK_TRIES) {
            rc = 0;
            overtaken = true;
        }
    }
    return rc == 0 && overtaken
               ? store_error_set(error, STORE_CONFLICT, "journal %s: too busy", journal->path)
               : rc;
}

static int peek_at(const char *path, struct peek *peek, struct store_error *error)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    int rc = 0;

    if (journal == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "journal %s", path);
    }
    journal->host = host_system();
    journal->path = g_strdup(path);
    journal->frames = g_array_new(FALSE, FALSE, sizeof(struct journal_frame_end));
    journal->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (journal->fd < 0) {
        rc = errno == ENOENT ? 0 : journal_file_fail(error, -errno, path, "open");
    } else {
        rc = read_journal(journal, peek, error);
    }
    journal_close(journal);
    return rc;
}

static bool is_number(const char *name)
{
    return *name != '\0' && strspn(name, "0123456789") == strlen(name);
}

int journal_peek(GArray **out, const char *directory, const char *user, struct store_error *error)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    struct peek peek = {.user = user};
    int rc = 0;

    if (entries == NULL) {
        return store_error_set(error, STORE_IO, "%s: %s", directory, g_strerror(errno));
    }
    peek.moves = g_array_new(FALSE, FALSE, sizeof(struct peeked_move));
    g_array_set_clear_func(peek.moves, move_clear);
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        g_autofree char *path = g_strconcat(directory, "/", entry->d_name, NULL);

        peek.start = peek.moves->len;
        if (is_number(entry->d_name)) {
            rc = peek_at(path, &peek, error);
        }
    }
    closedir(entries);
    if (rc < 0) {
        g_array_unref(peek.moves);
        return rc;
    }
    *out = peek.moves;
    return 0;
}
