/* What a check of a repository has to say: lines for whoever asked. */
#ifndef ANNAL_STORE_INTERNAL_FINDINGS_H
#define ANNAL_STORE_INTERNAL_FINDINGS_H

#include <stddef.h>

#include "store/verify.h"

struct findings {
    verify_report report;
    void *data;
    size_t count;
};

/* Reports one, made harmless and cut. */
void findings_add(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
