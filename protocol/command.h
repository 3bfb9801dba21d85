/* Typed commands: what the parser makes of a client's bytes. Nothing downstream parses again.
 *
 * All memory of a command hangs off the command. Strings are NUL-terminated and hold no NUL.
 */
#ifndef ANNAL_PROTOCOL_COMMAND_H
#define ANNAL_PROTOCOL_COMMAND_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/sequence_set.h"
#include "protocol/structure.h"

enum command_kind {
    COMMAND_UNKNOWN, /* a well-formed line whose verb we don't know; its arguments are skipped */
    COMMAND_CAPABILITY,
    COMMAND_NOOP,
    COMMAND_LOGOUT,
    COMMAND_ID,
    COMMAND_STARTTLS,
    COMMAND_AUTHENTICATE,
    COMMAND_LOGIN,
    COMMAND_ENABLE,
    COMMAND_COMPRESS,
    COMMAND_NAMESPACE,
    COMMAND_SELECT,
    COMMAND_EXAMINE,
    COMMAND_CREATE,
    COMMAND_DELETE,
    COMMAND_RENAME,
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_LIST,
    COMMAND_LSUB,
    COMMAND_STATUS,
    COMMAND_APPEND,
    COMMAND_IDLE,
    COMMAND_CHECK,
    COMMAND_CLOSE,
    COMMAND_UNSELECT,
    COMMAND_EXPUNGE, /* with uid: UID EXPUNGE (RFC 4315) */
    COMMAND_SEARCH,
    COMMAND_SORT,   /* RFC 5256 */
    COMMAND_THREAD, /* the same */
    COMMAND_FETCH,
    COMMAND_STORE,
    COMMAND_COPY,
    COMMAND_MOVE,
    COMMAND_GETQUOTA, /* RFC 9208 */
    COMMAND_GETQUOTAROOT,
    COMMAND_SETQUOTA,
    COMMAND_COUNT,
};

/* flag-list, as sets. system: bits in the order of response_system_flags (the store's enum
 * message_flag has the same values). \Recent in STORE or APPEND is a syntax error (not flag ABNF)
 * but clients send it: it is dropped. */
struct command_flags {
    uint8_t system;
    GPtrArray *keywords; /* char *, unique without regard to case; as first written; may be NULL */
};

enum status_item {
    STATUS_MESSAGES = 1 << 0,
    STATUS_RECENT = 1 << 1,
    STATUS_UIDNEXT = 1 << 2,
    STATUS_UIDVALIDITY = 1 << 3,
    STATUS_UNSEEN = 1 << 4,
    STATUS_DELETED = 1 << 5,
    STATUS_SIZE = 1 << 6,
    STATUS_HIGHESTMODSEQ = 1 << 7,
    STATUS_APPENDLIMIT = 1 << 8,
    STATUS_MAILBOXID = 1 << 9,
    STATUS_DELETED_STORAGE = 1 << 10,
};

enum list_select { /* RFC 5258 3.1 */
                   LIST_SELECT_SUBSCRIBED = 1 << 0,
                   LIST_SELECT_REMOTE = 1 << 1,
                   LIST_SELECT_RECURSIVEMATCH = 1 << 2,
                   LIST_SELECT_SPECIAL_USE = 1 << 3,
};

enum list_return { /* RFC 5258 3.2, 5819, 6154 */
                   LIST_RETURN_SUBSCRIBED = 1 << 0,
                   LIST_RETURN_CHILDREN = 1 << 1,
                   LIST_RETURN_SPECIAL_USE = 1 << 2,
                   LIST_RETURN_STATUS = 1 << 3,
};

struct list_arguments {
    bool extended;       /* any of RFC 5258's syntax was used */
    uint32_t select;     /* enum list_select */
    uint32_t returns;    /* enum list_return */
    uint32_t status;     /* enum status_item, with LIST_RETURN_STATUS */
    char *reference;     /* UTF-8, decoded as a pattern */
    GPtrArray *patterns; /* char *, UTF-8; at least one */
};

/* RFC 7162 3.2.5. Sets hold no "*". */
struct qresync_arguments {
    uint32_t uid_validity;
    uint64_t modseq;           /* at least 1 */
    struct sequence_set known; /* UIDs; ranges NULL: not given */
    /* Message numbers and their UIDs; ranges NULL: not given. Both are ascending, without
     * overlaps, each range too, and name equally many. */
    struct sequence_set match_numbers;
    struct sequence_set match_uids;
};

struct select_arguments {
    char *mailbox;
    bool condstore;
    bool has_qresync;
    struct qresync_arguments qresync;
};

struct append_message {
    struct command_flags flags;
    bool has_date;
    int64_t date;
    int16_t zone;
    uint64_t size;
    bool binary;   /* literal8 */
    bool utf8;     /* UTF8 (~{n}...) of RFC 6855 */
    void *message; /* what the caller put there for the octets; see parser.h */
};

struct append_arguments {
    char *mailbox;
    GArray *messages; /* struct append_message */
    /* Frees the message of each when the command is freed; parser_set_message_free(). May be NULL.
     * A caller that takes a message away sets it to NULL. */
    void (*message_free)(void *message);
};

enum fetch_item_kind {
    FETCH_UID,
    FETCH_FLAGS,
    FETCH_INTERNALDATE,
    FETCH_RFC822_SIZE,
    FETCH_ENVELOPE,
    FETCH_BODY, /* BODY without a section */
    FETCH_BODYSTRUCTURE,
    FETCH_MODSEQ,
    FETCH_EMAILID, /* RFC 8474 */
    FETCH_THREADID,
    FETCH_SECTION,       /* BODY[...], BODY.PEEK[...] */
    FETCH_RFC822,        /* as BODY[] but named RFC822 in the answer */
    FETCH_RFC822_HEADER, /* as BODY.PEEK[HEADER] */
    FETCH_RFC822_TEXT,   /* as BODY[TEXT] */
    FETCH_BINARY,        /* BINARY[...], BINARY.PEEK[...] (RFC 3516): numbers only */
    FETCH_BINARY_SIZE,   /* BINARY.SIZE[...] */
    FETCH_ITEM_COUNT,
};

enum section_fields { SECTION_FIELDS_ALL, SECTION_FIELDS_ONLY, SECTION_FIELDS_NOT };

struct fetch_item {
    enum fetch_item_kind kind;
    bool peek;
    /* FETCH_SECTION, FETCH_BINARY, FETCH_BINARY_SIZE: */
    uint32_t *parts;
    size_t part_count;
    enum section_text text;
    enum section_fields fields; /* with SECTION_TEXT_HEADER */
    GPtrArray *names;           /* char *, header names as written */
    bool partial;
    uint64_t offset; /* <offset.length> */
    uint64_t length; /* at least 1 */
};

struct fetch_arguments {
    struct sequence_set set;
    GArray *items; /* struct fetch_item, macros (ALL, FAST, FULL) expanded, duplicates dropped */
    bool has_changed_since;
    uint64_t changed_since;
    bool vanished; /* RFC 7162 3.2.6: only of UID FETCH, with changed_since */
};

enum store_mode { STORE_MODE_REPLACE, STORE_MODE_ADD, STORE_MODE_REMOVE };

struct store_arguments {
    struct sequence_set set;
    enum store_mode mode;
    bool silent;
    bool has_unchanged_since;
    uint64_t unchanged_since;
    struct command_flags flags;
};

enum search_key_kind {
    SEARCH_AND, /* children: all must hold; also a parenthesised list and the whole program */
    SEARCH_OR,  /* two children */
    SEARCH_NOT, /* one child */
    SEARCH_ALL,
    SEARCH_SEQUENCE, /* set */
    SEARCH_UID,      /* set; also for "$" */
    SEARCH_FLAG,     /* flag bit in number is set (UNSEEN etc. are NOT of this) */
    SEARCH_RECENT,
    SEARCH_NEW,     /* RECENT UNSEEN */
    SEARCH_KEYWORD, /* text */
    SEARCH_EMAILID, /* text (RFC 8474) */
    SEARCH_THREADID,
    SEARCH_HEADER, /* header (field name), text; SUBJECT, FROM, TO, CC, BCC are these too */
    SEARCH_BODY,   /* text */
    SEARCH_TEXT,   /* text */
    SEARCH_BEFORE, /* day; internal date */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_SENTBEFORE, /* day; Date field */
    SEARCH_SENTON,
    SEARCH_SENTSINCE,
    SEARCH_LARGER, /* number, octets */
    SEARCH_SMALLER,
    SEARCH_OLDER, /* number, seconds (RFC 5032) */
    SEARCH_YOUNGER,
    SEARCH_MODSEQ, /* number (RFC 7162 3.1.5); an entry name and type are checked and dropped */
    SEARCH_KEY_COUNT,
};

/* The program is one array in prefix order: a node's children follow it; skip says where the
 * next sibling is. So evaluation needs no recursion and no pointers. */
struct search_key {
    enum search_key_kind kind;
    uint32_t skip; /* index just past this node and all below it */
    char *header;
    char *text; /* UTF-8 */
    size_t text_length;
    int32_t day; /* since 1970-01-01 */
    uint64_t number;
    struct sequence_set set;
};

enum search_return { /* RFC 4731 */
                     SEARCH_RETURN_MIN = 1 << 0,
                     SEARCH_RETURN_MAX = 1 << 1,
                     SEARCH_RETURN_ALL = 1 << 2,
                     SEARCH_RETURN_COUNT = 1 << 3,
                     SEARCH_RETURN_SAVE = 1 << 4, /* RFC 5182 */
};

enum sort_key { /* RFC 5256 3, RFC 5957 */
                SORT_ARRIVAL,
                SORT_CC,
                SORT_DATE,
                SORT_FROM,
                SORT_SIZE,
                SORT_SUBJECT,
                SORT_TO,
                SORT_DISPLAYFROM,
                SORT_DISPLAYTO,
};

struct sort_criterion {
    enum sort_key key;
    bool reverse;
};

enum thread_algorithm { /* RFC 5256 3 */
                        THREAD_ORDEREDSUBJECT,
                        THREAD_REFERENCES,
};

/* SEARCH, SORT and THREAD. */
struct search_arguments {
    bool extended;                /* RETURN (...) was given: answer with ESEARCH */
    uint32_t returns;             /* enum search_return; RETURN () is ALL */
    bool bad_charset;             /* nobody here knows it: NO [BADCHARSET (US-ASCII UTF-8)] */
    GArray *program;              /* struct search_key, prefix order */
    GArray *sort;                 /* SORT: struct sort_criterion, at least one */
    enum thread_algorithm thread; /* THREAD */
};

struct id_field {
    char *name;
    char *value; /* NULL: NIL */
};

struct command {
    char *tag;
    enum command_kind kind;
    bool uid;   /* UID FETCH, UID STORE, ... */
    char *verb; /* as sent, cleaned, cut, upper case, with "UID ": for logs, trailers, answers */
    union {
        struct {
            char *mechanism; /* upper case */
            char *initial;   /* base64 as sent; NULL: none; "=" is the empty response */
        } authenticate;
        struct {
            char *user;
            char *password;
        } login;
        GPtrArray *enable; /* char *, upper case */
        char *compress;    /* algorithm, upper case */
        GArray *id;        /* struct id_field; NULL: NIL */
        struct select_arguments select;
        struct {
            char *mailbox;
            char *special_use; /* CREATE x (USE (\Drafts)): "\\Drafts" as sent; NULL: none */
            bool many_uses;    /* more than one was asked for */
        } create;
        struct {
            char *from;
            char *to;
        } rename;
        char *mailbox;              /* DELETE, SUBSCRIBE, UNSUBSCRIBE, GETQUOTAROOT */
        char *quota_root;           /* GETQUOTA, SETQUOTA (whose limits are only checked) */
        struct list_arguments list; /* LSUB too: reference and one pattern */
        struct {
            char *mailbox;
            uint32_t items; /* enum status_item */
        } status;
        struct append_arguments append;
        struct {
            struct sequence_set set;
        } expunge; /* UID EXPUNGE */
        struct search_arguments search;
        struct fetch_arguments fetch;
        struct store_arguments store;
        struct {
            struct sequence_set set;
            char *mailbox;
        } copy; /* COPY and MOVE */
    };
};

void command_free(struct command *command); /* accepts NULL; passwords are wiped */

#endif
