/* Special uses (RFC 6154) of mailboxes that were imported. */
#ifndef ANNAL_SERVER_IMPORT_USES_H
#define ANNAL_SERVER_IMPORT_USES_H

#include <glib.h>

#include "store/account.h"

/* Gives mailboxes of entered (a set of names) the uses that their names usually mean elsewhere
 * ("Sent Items", "Spam", ...), where the account's own mailbox for the use is neither in the set
 * nor was ever used. tell gets a line about each. Store errors. */
int import_uses_set(struct account *account, GHashTable *entered, const char *command,
                    void (*tell)(const char *text), struct store_error *error);

#endif
