/* Reads a server's answers with as little work as a load generator can do: lines are classified by
 * their beginning, literals are skipped by their length, all else is thrown away unread.
 */
#ifndef ANNAL_TESTS_BENCH_ANSWER_H
#define ANNAL_TESTS_BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ANSWER_HEAD = 160, /* octets kept of a line's beginning */
    ANSWER_TAIL = 24,  /* octets kept of its end: "{18446744073709551615}" CR */
};

enum answer_kind {
    ANSWER_UNTAGGED,     /* also the greeting */
    ANSWER_EXISTS,       /* "* N EXISTS" */
    ANSWER_CONTINUATION, /* "+ ..." */
    ANSWER_TAGGED,       /* "AN OK ..." with the tags of this program */
    ANSWER_STRANGE,      /* none of these */
};

struct answer {
    enum answer_kind kind;
    uint64_t tag;     /* of ANSWER_TAGGED */
    bool ok;          /* the status of ANSWER_TAGGED or of an untagged status response is OK */
    const char *text; /* the line's beginning, NUL-terminated, without CRLF; until the call ends */
};

struct answer_reader {
    uint64_t literal_left;
    size_t head_length, tail_length;
    bool continued; /* this line goes on after a literal: its beginning says nothing */
    char head[ANSWER_HEAD + 1];
    char tail[ANSWER_TAIL];
};

typedef void (*answer_found)(const struct answer *answer, void *data);

/* Zeroed memory is a new reader. Takes any pieces of a stream; calls found for each line that is
 * complete. */
void answer_feed(struct answer_reader *reader, const char *bytes, size_t length, answer_found found,
                 void *data);

#endif
