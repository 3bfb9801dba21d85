/* Messages put into threads, as RFC 5256 3 has it for THREAD, from what is told of each: both
 * algorithms, and the text of the answer. In steps, so that others have their turn between them,
 * and not recursive. The cost is that of sorting.
 *
 * Calls: init; for each message, in the order of their numbers, add (and references); then step
 * until it is done; then write until it is done; release.
 */
#ifndef ANNAL_SERVER_THREAD_TREE_H
#define ANNAL_SERVER_THREAD_TREE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/merge_sort.h"
#include "server/text_places.h"
#include "server/thread_forest.h"

struct thread_message {
    int64_t sent;     /* seconds */
    uint32_t subject; /* equal for equal base subjects; 0 for the empty one */
    bool replies;     /* the subject is that of a reply or a forwarded message */
};

struct thread_pass;

struct thread_tree {
    const struct thread_pass *passes; /* what is done in steps */
    size_t pass;
    uint32_t at;

    GArray *messages;   /* struct thread_message */
    GArray *containers; /* struct container: of the messages, in their order, and dummies */
    struct text_places ids;
    GArray *by_id;               /* uint32_t: by an ID's place its container */
    GArray *own;                 /* uint32_t: a message's container */
    struct thread_forest forest; /* of the containers, as the references link them */

    GArray *queue; /* uint32_t, containers, children before parents */
    struct merge_sort sort;
    uint32_t *order; /* messages by date */
    GArray *roots;   /* struct root */
    GArray *table;   /* uint32_t: for each subject its root's index */

    uint32_t first, last; /* of the threads */
    uint32_t next;        /* container to be written */
};

/* by_references: REFERENCES, else ORDEREDSUBJECT. */
void thread_tree_init(struct thread_tree *tree, bool by_references);
void thread_tree_release(struct thread_tree *tree);

/* One more message. REFERENCES: record is that of message_id_record(), of length octets. Else it is
 * not looked at. */
void thread_tree_add(struct thread_tree *tree, const struct thread_message *message,
                     const char *record, size_t length);
/* What is kept for the Message IDs so far: octets of texts, and containers. */
size_t thread_tree_octets(const struct thread_tree *tree);
size_t thread_tree_containers(const struct thread_tree *tree);

/* A step of bounded cost, but for a merge of all messages. True: the threads are made. */
bool thread_tree_step(struct thread_tree *tree);

/* Appends the threads, at most about so many messages of them, each as what number() gives for the
 * place that it was added at. True: that was all. */
bool thread_tree_write(struct thread_tree *tree, GString *out, size_t max,
                       uint32_t (*number)(const void *data, uint32_t message), const void *data);

#endif
