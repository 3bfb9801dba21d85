/* Error codes of the store: one closed set, with detail in a value the caller owns.
 *
 * Every fallible function returns 0 or a negative enum store_code and fills *error (never NULL)
 * when it fails. The detail is for logs; a mail client never sees it.
 */
#ifndef ANNAL_STORE_ERROR_H
#define ANNAL_STORE_ERROR_H

enum store_code {
    STORE_OK = 0,
    STORE_NOT_FOUND = -1,    /* no such user, mailbox, message or object */
    STORE_EXISTS = -2,       /* the name is taken */
    STORE_BAD_NAME = -3,     /* the name can't be represented as a branch */
    STORE_FORBIDDEN = -4,    /* the operation is never allowed on this (delete INBOX, ...) */
    STORE_HAS_CHILDREN = -5, /* a name without a mailbox that has children can't be deleted */
    STORE_LIMIT = -6,        /* a named limit of the store would be passed */
    STORE_TOO_BIG = -7,      /* a message over the size limit */
    STORE_BAD_MESSAGE = -8,  /* octets that can't be stored this way (NUL) */
    STORE_CONFLICT = -9,     /* somebody else moves or locks a reference, still after retries */
    STORE_CORRUPT = -10,     /* the repository breaks git's or our own rules */
    STORE_UNSUPPORTED = -11, /* a format version or object format we don't know */
    STORE_NO_SPACE = -12,    /* the disk is full */
    STORE_NO_MEMORY = -13,
    STORE_IO = -14, /* any other failure of the host */
};

enum { STORE_DETAIL_MAX = 256 };

struct store_error {
    enum store_code code;
    char detail[STORE_DETAIL_MAX]; /* printable UTF-8, NUL-terminated */
};

/* Sets code and a printf-formatted detail (control characters are replaced); returns code. */
int store_error_set(struct store_error *error, enum store_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The code's short name, for logs: "not found", "corrupt", ... */
const char *store_code_name(enum store_code code);

#endif
