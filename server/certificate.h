/* TLS certificates as files: making a self-signed one, checking what is there. */
#ifndef ANNAL_SERVER_CERTIFICATE_H
#define ANNAL_SERVER_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

/* Makes a self-signed certificate (EC P-256, ten years; for localhost, 127.0.0.1, ::1 and this
 * host's name) and its key as PEM files, the key with mode 0600; directories that are missing are
 * made with mode 0700. Existing files are replaced. On failure *problem is a new string. */
bool certificate_generate(const char *certificate, const char *private_key, char **problem);

/* Whether both files can be read as PEM and belong together. *problem as above. */
bool certificate_check(const char *certificate, const char *private_key, char **problem);

/* When the first certificate of a PEM file begins and ends to be valid, in seconds since the Unix
 * epoch. False if that can't be read. */
bool certificate_dates(const char *path, int64_t *begin, int64_t *end);

#endif
