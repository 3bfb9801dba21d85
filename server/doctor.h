/* annal doctor: what might keep the server from doing its work, and what to do about it. Nothing is
 * changed but for a file that is written and removed to see how fast that goes. */
#ifndef ANNAL_SERVER_DOCTOR_H
#define ANNAL_SERVER_DOCTOR_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/config.h"

enum doctor_verdict { DOCTOR_GOOD, DOCTOR_WARNING, DOCTOR_BAD };

enum {
    DOCTOR_CERTIFICATE_DAYS = 21,     /* less is a warning */
    DOCTOR_SYNC_MILLISECONDS = 20,    /* a synced write that takes longer is a warning */
    DOCTOR_LOCK_SECONDS = 3600,       /* an older lock has no owner any more */
    DOCTOR_PACK_SECONDS = 3600,       /* an older pack without an index is nobody's */
    DOCTOR_CLOCK_SECONDS = 60,        /* files that are newer come from the future */
    DOCTOR_DESCRIPTORS_BESIDE = 1000, /* that the server has open beside connections */
};

struct doctor_finding {
    const char *check; /* constant */
    enum doctor_verdict verdict;
    char *text;
    char *advice; /* NULL: nothing to do */
};

struct doctor {
    const struct config *config;
    GPtrArray *findings;  /* struct doctor_finding *, owned */
    bool running;         /* a server answers with this data directory */
    uint64_t descriptors; /* that it may have open; 0: not known */
    int64_t expiry;       /* of the certificate that it uses; 0: not known */
};

void doctor_init(struct doctor *doctor, const struct config *config);
void doctor_release(struct doctor *doctor);

/* Adds a finding. advice may be NULL. */
void doctor_note(struct doctor *doctor, const char *check, enum doctor_verdict verdict,
                 const char *advice, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The checks, to be called in this order; each adds at least one finding. */
void doctor_look_at_server(struct doctor *doctor);
void doctor_look_at_certificate(struct doctor *doctor);
void doctor_look_at_files(struct doctor *doctor);
void doctor_look_at_users(struct doctor *doctor);
void doctor_look_at_disk(struct doctor *doctor);
void doctor_look_at_store(struct doctor *doctor);
void doctor_look_at_clock(struct doctor *doctor);
void doctor_look_at_machine(struct doctor *doctor);
void doctor_look_at_addresses(struct doctor *doctor);

#endif
