#include "store/internal/ssh_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"

enum {
    SIGNATURE_SIZE = 64,
    ARMOR_WIDTH = 70,
    SSHSIG_VERSION = 1,
    BLOCK = 8, /* the private section's length is a multiple of it */
};

static const char KEY_TYPE[] = "ssh-ed25519";
static const char KEY_BEGIN[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char KEY_END[] = "-----END OPENSSH PRIVATE KEY-----";
static const char KEY_MAGIC[] = "openssh-key-v1"; /* with its NUL */
static const char SIGNATURE_BEGIN[] = "-----BEGIN SSH SIGNATURE-----";
static const char SIGNATURE_END[] = "-----END SSH SIGNATURE-----";
static const char SIGNATURE_MAGIC[] = "SSHSIG"; /* without NUL */
static const char NAMESPACE[] = "git";
static const char HASH_NAME[] = "sha512";

struct ssh_key {
    struct ssh_public_key public;
    uint8_t seed[SSH_KEY_SIZE];
};

/* --- SSH's wire format (RFC 4251, 5) --- */

struct wire {
    const uint8_t *at;
    const uint8_t *end;
};

static bool take_number(struct wire *wire, uint32_t *out)
{
    if (wire->end - wire->at < 4) {
        return false;
    }
    *out = (uint32_t)wire->at[0] << 24 | (uint32_t)wire->at[1] << 16 | (uint32_t)wire->at[2] << 8 |
           wire->at[3];
    wire->at += 4;
    return true;
}

static bool take_string(struct wire *wire, struct wire *out)
{
    uint32_t length;

    if (!take_number(wire, &length) || (size_t)(wire->end - wire->at) < length) {
        return false;
    }
    *out = (struct wire){wire->at, wire->at + length};
    wire->at += length;
    return true;
}

static bool take_word(struct wire *wire, const char *word)
{
    struct wire string;

    return take_string(wire, &string) && (size_t)(string.end - string.at) == strlen(word) &&
           memcmp(string.at, word, strlen(word)) == 0;
}

static bool take_octets(struct wire *wire, const void *octets, size_t length)
{
    if ((size_t)(wire->end - wire->at) < length || memcmp(wire->at, octets, length) != 0) {
        return false;
    }
    wire->at += length;
    return true;
}

/* A string of so many octets. */
static bool take_fixed(struct wire *wire, uint8_t *out, size_t length)
{
    struct wire string;

    if (!take_string(wire, &string) || (size_t)(string.end - string.at) != length) {
        return false;
    }
    memcpy(out, string.at, length);
    return true;
}

static void put_number(GByteArray *out, uint32_t value)
{
    const uint8_t octets[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value};

    g_byte_array_append(out, octets, sizeof(octets));
}

static void put_string(GByteArray *out, const void *data, size_t length)
{
    put_number(out, (uint32_t)length);
    g_byte_array_append(out, data, (guint)length);
}

static void put_word(GByteArray *out, const char *word)
{
    put_string(out, word, strlen(word));
}

/* What OpenSSH calls the key's blob. */
static GByteArray *public_blob(const struct ssh_public_key *key)
{
    GByteArray *blob = g_byte_array_new();

    put_word(blob, KEY_TYPE);
    put_string(blob, key->bytes, sizeof(key->bytes));
    return blob;
}

static bool take_public_blob(struct wire blob, struct ssh_public_key *out)
{
    return take_word(&blob, KEY_TYPE) && take_fixed(&blob, out->bytes, sizeof(out->bytes)) &&
           blob.at == blob.end;
}

/* The octets between two lines; NULL if they are not there. */
static guchar *unarmor(const char *text, size_t length, const char *begin, const char *end,
                       gsize *out_length)
{
    const char *start = memmem(text, length, begin, strlen(begin));
    const char *stop =
        start != NULL ? memmem(start, length - (size_t)(start - text), end, strlen(end)) : NULL;
    g_autofree char *middle = NULL;

    if (stop == NULL) {
        return NULL;
    }
    start += strlen(begin);
    middle = g_strndup(start, (gsize)(stop - start));
    guchar *octets = g_base64_decode(middle, out_length);
    OPENSSL_cleanse(middle, strlen(middle));
    return octets;
}

/* --- keys --- */

/* "...check check TYPE PUBLIC SEED+PUBLIC COMMENT 1 2 3..." */
static bool take_private(struct wire wire, struct ssh_key *key)
{
    uint32_t one, two;
    struct wire comment;
    uint8_t both[2 * SSH_KEY_SIZE];
    bool good = (wire.end - wire.at) % BLOCK == 0 && take_number(&wire, &one) &&
                take_number(&wire, &two) && one == two && take_word(&wire, KEY_TYPE) &&
                take_fixed(&wire, key->public.bytes, SSH_KEY_SIZE) &&
                take_fixed(&wire, both, sizeof(both)) && take_string(&wire, &comment) &&
                memcmp(both + SSH_KEY_SIZE, key->public.bytes, SSH_KEY_SIZE) == 0;

    for (uint8_t i = 1; good && wire.at < wire.end; i++) {
        good = *wire.at++ == i;
    }
    if (good) {
        memcpy(key->seed, both, SSH_KEY_SIZE);
    }
    OPENSSL_cleanse(both, sizeof(both));
    return good;
}

static EVP_PKEY *private_key(const struct ssh_key *key)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, SSH_KEY_SIZE);
}

/* The public half is the seed's. */
static bool belongs_together(const struct ssh_key *key)
{
    EVP_PKEY *private = private_key(key);
    uint8_t public[SSH_KEY_SIZE];
    size_t length = sizeof(public);
    bool good = private != NULL && EVP_PKEY_get_raw_public_key(private, public, &length) == 1 &&
                length == sizeof(public) && memcmp(public, key->public.bytes, length) == 0;

    EVP_PKEY_free(private);
    return good;
}

static int read_key(struct ssh_key *key, struct wire wire, struct store_error *error)
{
    struct wire options, public, private;
    struct ssh_public_key announced;
    uint32_t count;

    if (!take_octets(&wire, KEY_MAGIC, sizeof(KEY_MAGIC))) {
        return store_error_set(error, STORE_CORRUPT, "a malformed private key");
    }
    if (!take_word(&wire, "none") || !take_word(&wire, "none")) {
        return store_error_set(error, STORE_UNSUPPORTED, "the private key has a pass phrase");
    }
    if (!take_string(&wire, &options) || !take_number(&wire, &count) || count != 1 ||
        !take_string(&wire, &public) || !take_string(&wire, &private)) {
        return store_error_set(error, STORE_CORRUPT, "a malformed private key");
    }
    if (!take_public_blob(public, &announced)) {
        return store_error_set(error, STORE_UNSUPPORTED, "the private key is not Ed25519");
    }
    if (!take_private(private, key) ||
        memcmp(announced.bytes, key->public.bytes, SSH_KEY_SIZE) != 0 || !belongs_together(key)) {
        return store_error_set(error, STORE_CORRUPT, "a malformed private key");
    }
    return 0;
}

int ssh_key_parse(struct ssh_key **out, const char *text, size_t length, struct store_error *error)
{
    struct ssh_key *key;
    gsize octet_count = 0;
    guchar *octets = unarmor(text, length, KEY_BEGIN, KEY_END, &octet_count);
    int rc;

    if (octets == NULL) {
        return store_error_set(error, STORE_UNSUPPORTED,
                               "no private key as ssh-keygen -t ed25519 makes it");
    }
    key = g_new0(struct ssh_key, 1);
    rc = read_key(key, (struct wire){octets, octets + octet_count}, error);
    OPENSSL_cleanse(octets, octet_count);
    g_free(octets);
    if (rc < 0) {
        ssh_key_free(key);
        return rc;
    }
    *out = key;
    return 0;
}

int ssh_key_load(struct ssh_key **out, const char *path, struct store_error *error)
{
    char text[SSH_KEY_FILE_MAX];
    struct stat status;
    ssize_t length;
    int rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return errno == ENOENT ? store_error_set(error, STORE_NOT_FOUND, "there is no key %s", path)
                               : host_fail(error, -errno, path);
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || (status.st_mode & 077) != 0 ||
        (status.st_uid != geteuid() && status.st_uid != 0)) {
        close(fd);
        return store_error_set(error, STORE_FORBIDDEN,
                               "others may read or change the key %s: chmod 600 it", path);
    }
    length = read(fd, text, sizeof(text));
    rc = length < 0 ? host_fail(error, -errno, path)
                    : ssh_key_parse(out, text, (size_t)length, error);
    OPENSSL_cleanse(text, sizeof(text));
    close(fd);
    return rc;
}

void ssh_key_free(struct ssh_key *key)
{
    if (key != NULL) {
        OPENSSL_cleanse(key, sizeof(*key));
        g_free(key);
    }
}

const struct ssh_public_key *ssh_key_public(const struct ssh_key *key)
{
    return &key->public;
}

bool ssh_public_key_parse(struct ssh_public_key *out, const char *line)
{
    const char *at = line;

    for (at = strstr(at, KEY_TYPE); at != NULL; at = strstr(at + 1, KEY_TYPE)) {
        const char *word = at + strlen(KEY_TYPE);
        size_t length = *word == ' ' ? strcspn(word + 1, " \t\r\n") : 0;

        if (length > 0 && length < SSH_KEY_FILE_MAX && (at == line || at[-1] == ' ')) {
            g_autofree char *base64 = g_strndup(word + 1, length);
            gsize count;
            g_autofree guchar *blob = g_base64_decode(base64, &count);

            if (take_public_blob((struct wire){blob, blob + count}, out)) {
                return true;
            }
        }
    }
    return false;
}

char *ssh_public_key_format(const struct ssh_public_key *key)
{
    g_autoptr(GByteArray) blob = public_blob(key);
    g_autofree char *base64 = g_base64_encode(blob->data, blob->len);

    return g_strdup_printf("%s %s", KEY_TYPE, base64);
}

/* --- signatures --- */

/* What the key signs in place of the octets. */
static GByteArray *signed_data(const void *data, size_t length)
{
    GByteArray *out = g_byte_array_new();
    uint8_t hash[SHA512_DIGEST_LENGTH];

    SHA512(data, length, hash);
    g_byte_array_append(out, (const uint8_t *)SIGNATURE_MAGIC, strlen(SIGNATURE_MAGIC));
    put_word(out, NAMESPACE);
    put_word(out, "");
    put_word(out, HASH_NAME);
    put_string(out, hash, sizeof(hash));
    return out;
}

static void append_armored(GString *out, const GByteArray *blob)
{
    g_autofree char *base64 = g_base64_encode(blob->data, blob->len);
    size_t length = strlen(base64);

    g_string_append_printf(out, "%s\n", SIGNATURE_BEGIN);
    for (size_t i = 0; i < length; i += ARMOR_WIDTH) {
        g_string_append_len(out, base64 + i, (gssize)MIN((size_t)ARMOR_WIDTH, length - i));
        g_string_append_c(out, '\n');
    }
    g_string_append_printf(out, "%s\n", SIGNATURE_END);
}

int ssh_key_sign(const struct ssh_key *key, const void *data, size_t length, GString *out,
                 struct store_error *error)
{
    g_autoptr(GByteArray) message = signed_data(data, length);
    g_autoptr(GByteArray) public = public_blob(&key->public);
    g_autoptr(GByteArray) signature = g_byte_array_new();
    g_autoptr(GByteArray) blob = g_byte_array_new();
    uint8_t octets[SIGNATURE_SIZE];
    size_t count = sizeof(octets);
    EVP_PKEY *private = private_key(key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = private != NULL && context != NULL &&
                EVP_DigestSignInit(context, NULL, NULL, NULL, private) == 1 &&
                EVP_DigestSign(context, octets, &count, message->data, message->len) == 1 &&
                count == sizeof(octets);

    EVP_MD_CTX_free(context);
    EVP_PKEY_free(private);
    if (!good) {
        return store_error_set(error, STORE_IO, "signing failed");
    }
    put_word(signature, KEY_TYPE);
    put_string(signature, octets, sizeof(octets));
    g_byte_array_append(blob, (const uint8_t *)SIGNATURE_MAGIC, strlen(SIGNATURE_MAGIC));
    put_number(blob, SSHSIG_VERSION);
    put_string(blob, public->data, public->len);
    put_word(blob, NAMESPACE);
    put_word(blob, "");
    put_word(blob, HASH_NAME);
    put_string(blob, signature->data, signature->len);
    append_armored(out, blob);
    return 0;
}

static bool check(const struct ssh_public_key *signer, const uint8_t octets[SIGNATURE_SIZE],
                  const GByteArray *message)
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, signer->bytes, sizeof(signer->bytes));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = key != NULL && context != NULL &&
                EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(context, octets, SIGNATURE_SIZE, message->data, message->len) == 1;

    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good;
}

bool ssh_signature_verify(struct ssh_public_key *signer, const void *data, size_t length,
                          const char *signature, size_t signature_length)
{
    gsize count = 0;
    g_autofree guchar *octets =
        unarmor(signature, signature_length, SIGNATURE_BEGIN, SIGNATURE_END, &count);
    struct wire wire = {octets, octets + count};
    struct wire public, reserved, inner;
    uint8_t raw[SIGNATURE_SIZE];
    uint32_t version;

    if (octets == NULL || !take_octets(&wire, SIGNATURE_MAGIC, strlen(SIGNATURE_MAGIC)) ||
        !take_number(&wire, &version) || version != SSHSIG_VERSION ||
        !take_string(&wire, &public) || !take_word(&wire, NAMESPACE) ||
        !take_string(&wire, &reserved) || !take_word(&wire, HASH_NAME) ||
        !take_string(&wire, &inner) || wire.at != wire.end || !take_public_blob(public, signer) ||
        !take_word(&inner, KEY_TYPE) || !take_fixed(&inner, raw, sizeof(raw)) ||
        inner.at != inner.end) {
        return false;
    }
    g_autoptr(GByteArray) message = signed_data(data, length);
    return check(signer, raw, message);
}
