/* The summaries (protocol/summary.h) that an account keeps of its messages: made as messages come
 * in, or when they are first asked for. */
#ifndef ANNAL_SERVER_MESSAGE_SUMMARY_H
#define ANNAL_SERVER_MESSAGE_SUMMARY_H

#include "protocol/summary.h"
#include "store/account.h"

/* Larger messages wait for the first need: below this a summary costs some microseconds for each
 * 4 kB. */
enum { SUMMARY_AT_DELIVERY_MAX = 64 * 1024 }; /* octets; at most SPOOL_MEMORY_MAX */

/* Makes the summary of a message that came in, and keeps it; nothing if the message is one of those
 * that are not to be parsed in this process (protocol/mime_parse.h), or large, or known to be kept.
 */
void message_summary_delivered(struct account *account, struct spool *spool);

#endif
