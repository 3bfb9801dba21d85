/* A write-ahead journal: one preallocated, pre-written file of fixed size, used as a ring, so that
 * making records durable is one overwrite and one fdatasync() without any change of the file
 * system's own metadata. Past the kernel's cache where that can be done, for it would be written
 * from there at once. It knows nothing of what its records mean.
 *
 *   journal_open -> journal_replay -> (journal_append... journal_sync)... -> journal_close
 *
 * Records appended are gathered in memory; journal_sync() writes them as one frame. A frame begins
 * at a multiple of JOURNAL_BLOCK, has a magic number, a sequence number (a frame of an earlier lap
 * is told from one of this by it), the CRC of the frame before it, the length, and a CRC over all
 * of it. The first frames after the tail that follow each other are the content; whatever follows
 * (torn, stale, corrupt) is not. Where the tail stands is written at checkpoints, in two header
 * blocks, each with its own CRC. journal_file.h has the layout.
 *
 * Belongs to one thread. Blocks on the disk where it says so.
 */
#ifndef ANNAL_STORE_INTERNAL_JOURNAL_H
#define ANNAL_STORE_INTERNAL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"

enum {
    JOURNAL_BLOCK = 4096,                    /* octets */
    JOURNAL_SIZE_DEFAULT = 64 * 1024 * 1024, /* octets of the file */
    JOURNAL_SIZE_MIN = 256 * 1024,
    JOURNAL_SIZE_MAX = 1024 * 1024 * 1024,
};

struct journal;

/* Opens the file at path and locks it (flock) until it is closed; makes it with this size (whole
 * blocks, brought within JOURNAL_SIZE_MIN and _MAX), pre-written and durable, if it is absent. An
 * existing journal keeps its own size until it is opened empty: then it is made anew with the size
 * asked for, unless that is 0. STORE_CONFLICT when somebody else has it locked; STORE_UNSUPPORTED
 * for a newer version; STORE_CORRUPT, and the file is left as it is, when neither header can be
 * read or it is shorter than it says: it may hold what was acknowledged, so somebody has to look at
 * it (moved away, it is absent). STORE_NO_SPACE, STORE_NO_MEMORY, STORE_IO. Blocks. The caller owns
 * *out. */
int journal_open(struct journal **out, const char *path, uint64_t size, const struct host *host,
                 struct store_error *error);

/* Accepts NULL. What was appended and not synced is dropped. */
void journal_close(struct journal *journal);

/* Calls visit for each record since the last checkpoint, in the order in which they were appended.
 * record is valid during the call. visit returns 0, or a negative enum store_code (with *error
 * set), which ends the replay and is returned. Nothing can be appended before it has succeeded
 * once; afterwards appending goes on behind the last intact frame. STORE_CORRUPT for an intact
 * frame whose records don't add up, STORE_UNSUPPORTED for one of a newer version, STORE_NO_MEMORY,
 * STORE_IO. Blocks. */
typedef int (*journal_visit)(void *data, const void *record, size_t length,
                             struct store_error *error);
int journal_replay(struct journal *journal, journal_visit visit, void *data,
                   struct store_error *error);

/* A record in several pieces. */
struct journal_piece {
    const void *data;
    size_t length;
};

/* Gathers a record (its pieces one behind the other, copied); no disk. STORE_LIMIT, and nothing has
 * changed, when the ring has no room for it behind what is gathered before the next checkpoint;
 * after a sync and a checkpoint of everything there is room for journal_record_max().
 * STORE_NO_MEMORY. */
int journal_append(struct journal *journal, const struct journal_piece *pieces, size_t count,
                   struct store_error *error);

/* The longest record that an empty ring takes, wherever its head stands: nearly half the ring. */
size_t journal_record_max(const struct journal *journal);

/* Octets that journal_sync() would write now. */
size_t journal_waiting(const struct journal *journal);

/* Makes everything appended so far durable: one write, or two where the ring ends, and one
 * fdatasync(). Without anything appended it does nothing. On failure nothing appended since the
 * last success may be relied on; it stays gathered, and the next call writes all of it again at
 * the same place. Blocks. */
int journal_sync(struct journal *journal, struct store_error *error);

/* The sequence number of the last frame that was written; 0 before the first of all. What is
 * gathered gets the next one. */
uint64_t journal_written(const struct journal *journal);

/* Octets of the ring. */
uint64_t journal_size(const struct journal *journal);

/* Octets of the ring that are taken: what a checkpoint of everything would free. */
uint64_t journal_used(const struct journal *journal);

/* Octets of the longest frame that there is a place for now, in which all that is gathered and
 * will be gathered before the next sync has to fit: the records, JOURNAL_RECORD_HEAD for each and
 * JOURNAL_FRAME_HEAD for all (journal_file.h). Not the sum of what is free, which may be in two
 * places; at least half the ring when nothing is taken. */
uint64_t journal_room(const struct journal *journal);

/* Everything in the frames up to this sequence number (at most journal_written()) is durable
 * elsewhere: it will not be replayed and its place is free again. Durable on return; on failure
 * the tail stays where it was. Blocks. */
int journal_checkpoint(struct journal *journal, uint64_t sequence, struct store_error *error);

/* Overwrites what is not content, and so all that has gone through the journal before, with zeros.
 * Durable on return. Blocks. */
int journal_wipe(struct journal *journal, struct store_error *error);

#endif
