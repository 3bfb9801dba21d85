/* A message brought into accounts: what LMTP and annal deliver have in common. Store work, and
 * nothing else: no sockets, no event loop.
 *
 * A struct mail is one message with its envelope, complete and constant, shared by the deliveries
 * of all accounts that it goes to, whichever threads these belong to. A delivery is one account's:
 * for all of its recipients the message becomes one object, which begins with the lines
 *
 *     Return-Path: <sender>
 *     Delivered-To: recipient             one for each
 *     Received: from ...
 *
 * and is appended, octet for octet as it came, to each mailbox that one of them names, once, with
 * the keywords that they name. Each of these messages needs room. The commit is a DELIVER with the
 * sender and the delivery's id in its trailers (FORMAT.md). A message that comes again after its
 * answer was lost is told by that id (delivery_memory.h) and not stored twice.
 */
#ifndef ANNAL_SERVER_DELIVERY_H
#define ANNAL_SERVER_DELIVERY_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/delivery_memory.h"
#include "server/quota.h"
#include "server/stash.h"
#include "store/store.h"

/* --- the message --- */

struct mail {
    atomic_uint references;
    char *sender;   /* address; "" is the null sender */
    char *received; /* the Received field with its line end; "": none */
    char *client;   /* for commits, as in struct origin; NULL: left out */
    char *session;
    const char *command; /* constant */
    int64_t time;        /* microseconds since the Unix epoch */
    struct stash *stash; /* complete */
    bool has_id;         /* it can be told when it comes again */
    struct object_id id;
};

/* Takes stash; one reference. sum: of the message's octets (store/delivered.h). A message that a
 * mail transfer agent has stamped (it begins with a Received field) gets an id: another message,
 * however equal its text, has another stamp. */
struct delivered_sum;
struct mail *mail_new(const char *sender, struct stash *stash, const struct delivered_sum *sum);
struct mail *mail_ref(struct mail *mail);
void mail_unref(struct mail *mail); /* accepts NULL */

/* --- deliveries --- */

enum delivery_result {
    DELIVERY_OPEN,  /* not tried yet */
    DELIVERY_DONE,  /* in the account; durable after store_sync() */
    DELIVERY_AGAIN, /* it was, before */
    DELIVERY_NO_USER,
    DELIVERY_NO_MAILBOX, /* of the recipients' delivery_target */
    DELIVERY_OVER_QUOTA,
    DELIVERY_TOO_BIG,
    DELIVERY_NO_SPACE,
    DELIVERY_TROUBLE, /* for now */
    DELIVERY_RESULT_COUNT,
};

struct delivery_recipient {
    char *address; /* for Delivered-To; "": no such line */
    char *detail;  /* what stood behind the delimiter; NULL: nothing did */
    enum delivery_result result;
};

struct delivery {
    struct mail *mail;
    char *user;
    GArray *recipients;  /* struct delivery_recipient */
    const char *mailbox; /* borrowed: all go there, and nowhere else; NULL: where they belong */
    uint8_t flags;       /* enum message_flag */
    const char *const *keywords; /* borrowed, NULL-terminated; NULL: none */
};

/* Takes a reference of mail. */
struct delivery *delivery_new(struct mail *mail, const char *user);
void delivery_free(struct delivery *delivery); /* accepts NULL */
void delivery_add(struct delivery *delivery, const char *address, const char *detail);

/* What a detail means. */
enum delivery_detail {
    DELIVERY_DETAIL_MAILBOX, /* the mailbox of this name, or that one below INBOX, if there is one
                              */
    DELIVERY_DETAIL_KEYWORD, /* a keyword, if the mailbox has it or has room for others */
    DELIVERY_DETAIL_IGNORE,
};

struct delivery_settings {
    enum delivery_detail detail;
    struct quota_source quota;
};

/* What a delivery needs beside the account. */
struct delivery_context {
    const struct delivery_settings *settings;
    struct delivery_memory *memory; /* NULL: what comes again is stored again */
};

/* On the thread of the account, which is open. Sets every recipient's result; *error tells of the
 * last failure, if there was any, for the log. Nothing is acknowledged before store_sync(). */
void delivery_run(struct delivery *delivery, struct account *account,
                  const struct delivery_context *context, struct store_error *error);
/* The same result for all recipients. */
void delivery_fail(struct delivery *delivery, enum delivery_result result);
/* Whether a keyword can have this name (RFC 9051 9, flag-keyword). */
bool delivery_is_keyword(const char *text);
/* What a failure of the store means to a sender. */
enum delivery_result delivery_result_of(enum store_code code);

#endif
