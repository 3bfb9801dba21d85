/* The files of refs/annal/account: state of the whole account. FORMAT.md, "Account". */
#ifndef ANNAL_STORE_INTERNAL_ACCOUNT_FILE_H
#define ANNAL_STORE_INTERNAL_ACCOUNT_FILE_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "store/account.h"
#include "store/error.h"

enum { ACCOUNT_FILE_MAX = 16 * 1024 * 1024 }; /* octets of any one of them */

struct account_state {
    uint32_t uid_validity;                /* the last one given to a mailbox */
    GPtrArray *subscriptions;             /* char *, ascending by octets, unique */
    char *special_use[SPECIAL_USE_COUNT]; /* the mailbox that has it, or NULL; none at 0 */
};

struct account_state *account_state_new(void);
struct account_state *account_state_copy(const struct account_state *state);
void account_state_free(struct account_state *state); /* accepts NULL */

/* Position of name, or where it would stand. */
bool account_state_find_subscription(const struct account_state *state, const char *name,
                                     guint *position);
enum special_use account_state_use_of(const struct account_state *state, const char *name);

/* Each decodes one file into its part of state. STORE_CORRUPT, STORE_UNSUPPORTED. */
int account_file_decode(struct account_state *state, const void *data, size_t length,
                        struct store_error *error);
int subscriptions_file_decode(struct account_state *state, const void *data, size_t length,
                              struct store_error *error);
int special_use_file_decode(struct account_state *state, const void *data, size_t length,
                            struct store_error *error);

void account_file_encode(GString *out, const struct account_state *state);
void subscriptions_file_encode(GString *out, const struct account_state *state);
void special_use_file_encode(GString *out, const struct account_state *state);

#endif
