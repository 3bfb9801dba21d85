/* A SEARCH program compiled to jumps: after each test, where to go on if it holds and if not. So
 * AND, OR and NOT cost nothing when a message is judged, nothing recurses, and what is cheap to
 * test is tested first. Sets of which one is enough ("OR UID 1 OR UID 5 UID 9") are one test.
 * Pure: knows neither messages nor sessions.
 */
#ifndef ANNAL_SERVER_SEARCH_PROGRAM_H
#define ANNAL_SERVER_SEARCH_PROGRAM_H

#include "protocol/command.h"

/* What a test needs, in rising order of cost. */
enum search_cost {
    SEARCH_COST_SNAPSHOT, /* what the mailbox's snapshot says */
    SEARCH_COST_SUMMARY,  /* its summary */
    SEARCH_COST_HEADER,   /* its header block */
    SEARCH_COST_TEXT,     /* its decoded text */
    SEARCH_COST_COUNT,
};

struct search_program;

/* cost: of each key that is no AND, OR or NOT. keys is in prefix order and is not kept. Time and
 * memory are linear in count. */
struct search_program *search_program_new(const struct search_key *keys, size_t count,
                                          enum search_cost (*cost)(const struct search_key *key));
void search_program_free(struct search_program *program); /* accepts NULL */

/* The SEQUENCE or UID key that is tested for this one: itself, or one whose set must have this
 * one's ranges too. A key that another stands for is never tested. */
size_t search_program_joined(const struct search_program *program, size_t key);

/* Judges one message: test is asked for keys by their index, each at most once. */
bool search_program_run(const struct search_program *program, bool (*test)(void *data, size_t key),
                        void *data);

/* Judges up to 64 messages at once, by the bits of a set: test is asked for keys and those messages
 * on which the key's answer hangs, and returns those of them for which it holds. Only of a program
 * whose dearest key's cost is SEARCH_COST_SNAPSHOT (asserted): then the keys are tested as they
 * stand, each at most once. */
uint64_t search_program_run_many(struct search_program *program, uint64_t messages,
                                 uint64_t (*test)(void *data, size_t key, uint64_t messages),
                                 void *data);

/* The dearest key's. */
enum search_cost search_program_cost(const struct search_program *program);

#endif
