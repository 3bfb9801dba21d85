#include "store/internal/sha1.h"

#include <assert.h>
#include <string.h>

/* The calls that need neither a context on the heap nor a look-up of the algorithm. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

static_assert(sizeof(struct sha1) >= sizeof(SHA_CTX), "libcrypto's state fits");
static_assert(_Alignof(struct sha1) >= _Alignof(SHA_CTX), "libcrypto's state fits");

void sha1_init(struct sha1 *sha1)
{
    SHA_CTX context;

    SHA1_Init(&context);
    memcpy(sha1->state, &context, sizeof(context));
}

void sha1_update(struct sha1 *sha1, const void *bytes, size_t length)
{
    SHA_CTX context;

    if (length == 0) {
        return;
    }
    memcpy(&context, sha1->state, sizeof(context));
    SHA1_Update(&context, bytes, length);
    memcpy(sha1->state, &context, sizeof(context));
}

void sha1_sum(const struct sha1 *sha1, uint8_t out[OBJECT_ID_SIZE])
{
    SHA_CTX context;

    memcpy(&context, sha1->state, sizeof(context));
    SHA1_Final(out, &context);
}
