/* What accounts were last seen to hold, for threads that may not look for themselves. Whoever
 * counts an account notes it with what is about to come in, so that a sum here is too small only
 * where somebody else brought mail in: the admin, or a push. After QUOTA_BOARD_REST it is forgotten
 * for that. Safe to call from several threads. */
#ifndef ANNAL_SERVER_QUOTA_BOARD_H
#define ANNAL_SERVER_QUOTA_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "store/usage.h"

enum {
    QUOTA_BOARD_USERS = 10000, /* of whom it knows; then it begins anew */
    QUOTA_BOARD_REST = 10,     /* seconds that a sum is good for */
};

struct quota_board;

/* now: microseconds; NULL: a clock that is never set. */
struct quota_board *quota_board_new(int64_t (*now)(void));
void quota_board_free(struct quota_board *board); /* accepts NULL */

void quota_board_note(struct quota_board *board, const char *user,
                      const struct account_usage *usage);
/* False: nothing is known. */
bool quota_board_find(struct quota_board *board, const char *user, struct account_usage *out);

#endif
