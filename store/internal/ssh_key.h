/* Ed25519 keys and signatures in OpenSSH's forms: the private key file that ssh-keygen writes, the
 * public key's line, and the signatures (PROTOCOL.sshsig, namespace "git") that git makes and
 * checks with gpg.format=ssh. Keys with a pass phrase, and of other types, are refused. */
#ifndef ANNAL_STORE_INTERNAL_SSH_KEY_H
#define ANNAL_STORE_INTERNAL_SSH_KEY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum {
    SSH_KEY_SIZE = 32,            /* octets of a public key, and of the private one's seed */
    SSH_KEY_FILE_MAX = 16 * 1024, /* octets */
};

struct ssh_public_key {
    uint8_t bytes[SSH_KEY_SIZE];
};

struct ssh_key;

/* The private key in a file, which nobody but its owner (this process's user or root) may read.
 * STORE_NOT_FOUND, STORE_FORBIDDEN (others may read it), STORE_UNSUPPORTED (another type, a pass
 * phrase), STORE_CORRUPT, STORE_IO. */
int ssh_key_load(struct ssh_key **out, const char *path, struct store_error *error);
/* The octets of such a file: for tests. */
int ssh_key_parse(struct ssh_key **out, const char *text, size_t length, struct store_error *error);
void ssh_key_free(struct ssh_key *key); /* wipes it; accepts NULL */
const struct ssh_public_key *ssh_key_public(const struct ssh_key *key);

/* A public key's line "ssh-ed25519 BASE64 ...", also behind a principal or options, as in a file of
 * allowed signers. */
bool ssh_public_key_parse(struct ssh_public_key *out, const char *line);
/* "ssh-ed25519 BASE64"; a new string. */
char *ssh_public_key_format(const struct ssh_public_key *key);

/* Appends the signature of these octets, "-----BEGIN SSH SIGNATURE-----" to "-----END...-----" and
 * a line end. STORE_IO when the library fails. */
int ssh_key_sign(const struct ssh_key *key, const void *data, size_t length, GString *out,
                 struct store_error *error);
/* Whether the signature is one of these octets; *signer: whose. */
bool ssh_signature_verify(struct ssh_public_key *signer, const void *data, size_t length,
                          const char *signature, size_t signature_length);

#endif
