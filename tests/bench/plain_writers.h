/* What stores of other kinds do for each operation, done plainly: the yardsticks of the store's own
 * benchmark. Each writer is a thread with a directory of its own, and returns from an operation
 * when the disk has it.
 *
 *   Maildir-like  a message: a new file, written, fsync, renamed, its directory fsynced
 *                 a flag: the file renamed, its directory fsynced
 *   mdbox-like    a message: appended to a file, fdatasync, a record appended to a log, fdatasync
 *                 a flag: a record appended to the log, fdatasync
 *   disk          a message or a flag: 4 kB overwritten in a file written before, and one
 *                 fdatasync for those of all writers: what the disk allows at all
 */
#ifndef ANNAL_TESTS_BENCH_PLAIN_WRITERS_H
#define ANNAL_TESTS_BENCH_PLAIN_WRITERS_H

#include <stddef.h>

enum plain_kind { PLAIN_MAILDIR, PLAIN_MDBOX, PLAIN_DISK };
enum plain_work { PLAIN_APPEND, PLAIN_FLAG };

enum {
    PLAIN_WRITERS_MAX = 256,
    PLAIN_MESSAGES = 100, /* that a writer has before it changes their flags */
};

/* Operations a second of all writers together. directory: absent, made here. message: what is
 * appended. Trouble ends the process with a message. */
double plain_run(enum plain_kind kind, enum plain_work work, const char *directory,
                 unsigned writers, double seconds, const void *message, size_t length);

/* Makes a mailbox with so many messages (not synced, without their text); not for PLAIN_DISK. */
void plain_fill(enum plain_kind kind, const char *directory, unsigned messages);
/* Seconds to learn the names and flags of all messages in it, in order. */
double plain_select(enum plain_kind kind, const char *directory, unsigned messages);

/* A monotonic clock, seconds. */
double plain_now(void);
/* Prints what failed with errno's text and ends the process. */
_Noreturn void plain_fail(const char *what);

#endif
