#include "server/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CERTIFICATE_DAYS = 3650, HOST_NAME_SIZE = 64 };

static char *openssl_problem(const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return g_strdup_printf("%s: %s", what, reason != NULL ? reason : "unknown error");
}

/* A host name that may stand in a certificate; others are left out of it. */
static bool host_name_is_plain(const char *name)
{
    if (*name == '\0' || *name == '-' || *name == '.')
        return false;
    for (; *name != '\0'; name++)
        if (!g_ascii_isalnum(*name) && *name != '-' && *name != '.')
            return false;
    return true;
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    bool done;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    done = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static bool set_serial(X509 *certificate)
{
    unsigned char random[8];
    uint64_t serial;

    if (RAND_bytes(random, sizeof(random)) != 1)
        return false;
    memcpy(&serial, random, sizeof(serial));
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

static bool fill_certificate(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    char host[HOST_NAME_SIZE + 1] = "";
    char *names;
    bool done;

    if (gethostname(host, HOST_NAME_SIZE) != 0 || !host_name_is_plain(host))
        host[0] = '\0';
    names = g_strdup_printf("DNS:localhost,IP:127.0.0.1,IP:::1%s%s", *host != '\0' ? ",DNS:" : "",
                            host);
    done = X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), CERTIFICATE_DAYS, 0, NULL) != NULL &&
           X509_set_pubkey(certificate, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 &&
           add_extension(certificate, NID_subject_alt_name, names) &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(certificate, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
    g_free(names);
    return done;
}

static bool make_parents(const char *path, char **problem)
{
    char *copy = g_strdup(path);
    bool done = true;

    for (char *slash = strchr(copy + 1, '/'); done && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) {
            *problem = g_strdup_printf("%s: %s", copy, strerror(errno));
            done = false;
        }
        *slash = '/';
    }
    g_free(copy);
    return done;
}

/* Exactly one of certificate and key is written. */
static bool write_pem(const char *path, mode_t mode, X509 *certificate, EVP_PKEY *key,
                      char **problem)
{
    FILE *file = NULL;
    int fd;
    bool done;

    if (!make_parents(path, problem))
        return false;
    if (unlink(path) != 0 && errno != ENOENT) {
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
        return false;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0)
        file = fdopen(fd, "w");
    if (file == NULL) {
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    done = certificate != NULL ? PEM_write_X509(file, certificate) == 1
                               : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    done = fflush(file) == 0 && fsync(fd) == 0 && done;
    if (fclose(file) != 0 || !done) {
        *problem = g_strdup_printf("%s: can't be written", path);
        return false;
    }
    return true;
}

bool certificate_generate(const char *certificate, const char *private_key, char **problem)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    bool done = false;

    *problem = NULL;
    ERR_clear_error();
    if (key == NULL || x509 == NULL || !fill_certificate(x509, key))
        *problem = openssl_problem("self-signed certificate");
    else
        done = write_pem(private_key, 0600, NULL, key, problem) &&
               write_pem(certificate, 0644, x509, NULL, problem);
    X509_free(x509);
    EVP_PKEY_free(key);
    return done;
}

static FILE *open_file(const char *path, char **problem)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
    return file;
}

/* Keeps OpenSSL from asking for a passphrase on the terminal: a server's key has none. */
static int no_passphrase(char *buffer, int size, int writing, void *data)
{
    (void)buffer, (void)size, (void)writing, (void)data;
    return -1;
}

bool certificate_check(const char *certificate, const char *private_key, char **problem)
{
    FILE *certificate_file;
    FILE *key_file = NULL;
    X509 *x509 = NULL;
    EVP_PKEY *key = NULL;

    *problem = NULL;
    ERR_clear_error();
    certificate_file = open_file(certificate, problem);
    if (certificate_file != NULL)
        key_file = open_file(private_key, problem);
    if (key_file != NULL) {
        x509 = PEM_read_X509(certificate_file, NULL, NULL, NULL);
        key = PEM_read_PrivateKey(key_file, NULL, no_passphrase, NULL);
        if (x509 == NULL)
            *problem = g_strdup_printf("%s: holds no PEM certificate", certificate);
        else if (key == NULL)
            *problem = g_strdup_printf("%s: holds no PEM private key", private_key);
        else if (X509_check_private_key(x509, key) != 1)
            *problem = g_strdup_printf("%s: is not the key of %s", private_key, certificate);
    }
    EVP_PKEY_free(key);
    X509_free(x509);
    if (key_file != NULL)
        fclose(key_file);
    if (certificate_file != NULL)
        fclose(certificate_file);
    return *problem == NULL;
}

static bool read_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

bool certificate_dates(const char *path, int64_t *begin, int64_t *end)
{
    FILE *file = fopen(path, "re");
    X509 *x509 = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    bool good = x509 != NULL && read_time(X509_get0_notBefore(x509), begin) &&
                read_time(X509_get0_notAfter(x509), end);

    X509_free(x509);
    if (file != NULL)
        fclose(file);
    ERR_clear_error();
    return good;
}
