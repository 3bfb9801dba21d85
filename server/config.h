/* The configuration: one file, documented defaults, overridden by flags. */
#ifndef ANNAL_SERVER_CONFIG_H
#define ANNAL_SERVER_CONFIG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum config_log_target { CONFIG_LOG_STDERR, CONFIG_LOG_SYSLOG };

/* An address to listen on, "127.0.0.1:993" or "[::1]:993"; port 0 takes a free one. Or, for lmtp,
 * the path of a Unix socket, with a '/' in front. */
struct config_listen {
    char *address;
    uint16_t port;
};

struct config {
    char *file;        /* the configuration file that was read; NULL: none */
    char *data;        /* the data directory, absolute */
    GArray *imaps;     /* struct config_listen: implicit TLS */
    GArray *imap;      /* struct config_listen: cleartext, STARTTLS */
    char *certificate; /* PEM chain; NULL: DATA/tls/certificate.pem */
    char *private_key; /* PEM; NULL: DATA/tls/key.pem */
    char *users;       /* password file; NULL: DATA/users */
    GArray *metrics;   /* struct config_listen: metrics and health over HTTP, loopback only */
    char *control;     /* the control socket; NULL: DATA/control */
    unsigned disk_free_min_mib; /* less is told as trouble */
    GArray *trusted;            /* struct network: exempt from limits and penalties */
    bool trusted_cleartext_login;
    unsigned login_delay;     /* milliseconds after the first failed login; 0: none */
    unsigned login_delay_max; /* seconds */
    bool cleartext_login;     /* allow LOGIN without TLS from loopback addresses (default false) */
    unsigned workers;         /* threads that own accounts; 0: one a processor, 2 to 16 */
    unsigned mime_workers;    /* confined processes that parse messages; 0: one a processor */
    uint64_t append_limit;    /* octets of one message */
    uint64_t journal_size;    /* octets of each worker's journal */
    uint64_t cache_budget;    /* octets that caches may take, all together */
    bool relaxed_flags;       /* changes of flags alone are durable within a second, not at once */
    unsigned compress_days;   /* until mail that rests is compressed; 0: never */
    unsigned history_days;    /* that the past is kept; 0: for ever */
    GPtrArray *history_of;    /* char *: "MAILBOX=DAYS" for those that differ */
    char *signing_key;        /* of signed checkpoints; NULL: there are none */
    unsigned signing_hours;   /* between two of them */
    unsigned idle_minutes;    /* logged-in time-out, at least 30 (RFC 3501 5.4) */
    unsigned login_seconds;   /* until login must have happened */
    unsigned idle_exit;   /* seconds without a connection after which a server that was started by
                           * socket activation ends; 0: never */
    unsigned connections; /* in all */
    unsigned connections_per_user;
    unsigned connections_per_address;
    enum config_log_target log_target;
    bool log_debug;
    char *hostname;            /* in greetings and trace lines; NULL: the system's */
    GArray *lmtp;              /* struct config_listen: loopback addresses, paths */
    unsigned lmtp_mode;        /* permissions of its Unix sockets */
    char *lmtp_group;          /* their group; NULL: the process's */
    unsigned lmtp_connections; /* in all */
    unsigned lmtp_delimiter;   /* a character between user and detail; 0: there is none */
    unsigned lmtp_detail;      /* enum delivery_detail */
    uint64_t quota_octets;     /* of one account; 0: no limit */
    unsigned quota_messages;   /* 0: no limit */
    bool quota_count_history;  /* octets are those of the repository */
    bool quota_final;          /* over quota is a permanent failure to senders */
};

/* Defaults. Release with config_release(). */
void config_init(struct config *config);
void config_release(struct config *config);

/* Reads a file over the present values. On failure false, and *problem is a new string that
 * names file and line: "annal.conf:12: no such option 'idel_minutes'". */
bool config_read(struct config *config, const char *path, char **problem);

/* Parses "ADDRESS:PORT", "[v6]:PORT" or "PORT" (loopback) and appends it to listens. */
bool config_add_listen(GArray *listens, const char *text);

/* The same for lmtp: a path, or an address that is loopback's. */
bool config_add_lmtp(GArray *listens, const char *text);

/* How long the past is kept: a new policy for retention_policy_free(). */
struct retention_policy;
struct retention_policy *config_retention(const struct config *config);

/* Letters, digits, '.', '-', '_' and the brackets and colons of an address: it stands in header
 * lines. */
bool config_hostname_valid(const char *name);

/* Makes data absolute and fills in the paths that follow from it: certificate, key, users. */
void config_resolve(struct config *config);

/* Whether the certificate is DATA/tls/certificate.pem, which annal serve makes when it is missing.
 * Only after config_resolve(). */
bool config_certificate_is_default(const struct config *config);

/* Opens the log that is configured. */
void config_open_log(const struct config *config);

/* Resolves, and checks what does not depend on the file's syntax: ranges, at least one listener, a
 * certificate and a key that can be read and belong together. Where neither file of the default
 * certificate exists that is no problem: annal serve makes one. *problem is a new string, which
 * names the file if one was read. */
bool config_check(struct config *config, char **problem);

#endif
