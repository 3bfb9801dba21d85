/* What git says on its stderr while it works: how far it is, in lines that overwrite each other,
 * and what people should read. */
#ifndef ANNAL_SERVER_GIT_PROGRESS_H
#define ANNAL_SERVER_GIT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "store/observer.h"

enum { GIT_LINE_MAX = 1000 }; /* octets: longer lines are cut in two */

/* How far. git's own words and what they are to an observer (objects, where nothing else is said):
 *   Enumerating objects, Counting objects, Compressing objects   OBSERVER_OBJECTS
 *   Writing objects                                              OBSERVER_WRITE
 *   Receiving objects, Indexing objects                          OBSERVER_UNPACK
 *   Resolving deltas (deltas)                                    OBSERVER_DELTAS
 */
struct git_step {
    enum observer_stage stage;
    uint64_t done;
    uint64_t total; /* 0: git does not know */
};

struct git_progress {
    void (*step)(const struct git_step *step, void *data);
    /* Neither empty nor progress, without its end. */
    void (*line)(const char *line, void *data);
    void *data;
    size_t length; /* of what line has so far */
    char text[GIT_LINE_MAX + 1];
};

void git_progress_init(struct git_progress *progress,
                       void (*step)(const struct git_step *step, void *data),
                       void (*line)(const char *line, void *data), void *data);
/* The next octets; a line ends with CR or LF. */
void git_progress_feed(struct git_progress *progress, const char *data, size_t length);
/* There are no more: a line that has no end ends here. */
void git_progress_end(struct git_progress *progress);

#endif
