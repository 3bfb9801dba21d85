/* Work that a thread of its own does for the one that owns it: one piece after the other, in the
 * order in which they were posted. Whoever posts goes on meanwhile and looks for the end.
 */
#ifndef ANNAL_STORE_INTERNAL_ERRAND_H
#define ANNAL_STORE_INTERNAL_ERRAND_H

#include <stdbool.h>

#include "store/error.h"

struct errands;
struct errand;

/* Starts the thread. STORE_IO. The caller owns *out. */
int errands_new(struct errands **out, struct store_error *error);
/* Ends the thread. Everything posted has been waited for. Accepts NULL. */
void errands_free(struct errands *errands);

/* Has run(data) called in the thread; it returns 0 or a negative enum store_code with *error set.
 * data is borrowed until errand_wait(). */
struct errand *errand_post(struct errands *errands,
                           int (*run)(void *data, struct store_error *error), void *data);
/* Whether what is posted now begins at once: to be asked by who posts, where nobody else does. */
bool errands_are_idle(struct errands *errands);
/* Whether errand_wait() would return at once; it is the same from then on. */
bool errand_is_done(struct errand *errand);
/* Waits for the end, frees the errand and returns what run returned. Blocks. */
int errand_wait(struct errand *errand, struct store_error *error);

#endif
