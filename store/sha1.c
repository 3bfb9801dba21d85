#include "store/internal/sha1.h"

#include <assert.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

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

/* --- two at once --- */

#if defined(__x86_64__)

#define WITH_SHA __attribute__((target("sha,sse4.1")))
#define INLINE   static inline __attribute__((always_inline)) WITH_SHA

enum { ROUND_GROUPS = 20 }; /* of four rounds each, FIPS 180-4, 6.1.2 */

/* One of the sums on its way through a block. */
struct lane {
    __m128i abcd;
    __m128i before; /* abcd before the last group: e comes from its a */
    __m128i words[4];
};

/* Between blocks: a, b, c and d from the highest lane down, and e in the highest. */
struct chain {
    __m128i abcd;
    __m128i e;
};

/* W of the group after the next three takes the place of this group's. */
INLINE void next_words(__m128i words[4], int group)
{
    __m128i next = _mm_sha1msg1_epu32(words[group % 4], words[(group + 1) % 4]);

    next = _mm_xor_si128(next, words[(group + 2) % 4]);
    words[group % 4] = _mm_sha1msg2_epu32(next, words[(group + 3) % 4]);
}

/* The instruction holds the function and the constant, which change after each five groups. */
INLINE __m128i four_rounds(__m128i abcd, __m128i e_and_words, int group)
{
    switch (group / 5) {
    case 0:
        return _mm_sha1rnds4_epu32(abcd, e_and_words, 0);
    case 1:
        return _mm_sha1rnds4_epu32(abcd, e_and_words, 1);
    case 2:
        return _mm_sha1rnds4_epu32(abcd, e_and_words, 2);
    default:
        return _mm_sha1rnds4_epu32(abcd, e_and_words, 3);
    }
}

INLINE void run_group(struct lane *lane, int group)
{
    __m128i words = lane->words[group % 4];
    __m128i e =
        group == 0 ? _mm_add_epi32(lane->before, words) : _mm_sha1nexte_epu32(lane->before, words);

    if (group + 4 < ROUND_GROUPS) {
        next_words(lane->words, group);
    }
    lane->before = lane->abcd;
    lane->abcd = four_rounds(lane->abcd, e, group);
}

INLINE void begin_block(struct lane *lane, const struct chain *chain, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);

    lane->abcd = chain->abcd;
    lane->before = chain->e;
    for (int i = 0; i < 4; i++) {
        __m128i words = _mm_loadu_si128((const __m128i *)(const void *)(block + i * 16));

        lane->words[i] = _mm_shuffle_epi8(words, big_endian);
    }
}

INLINE void end_block(const struct lane *lane, struct chain *chain)
{
    chain->abcd = _mm_add_epi32(chain->abcd, lane->abcd);
    chain->e = _mm_sha1nexte_epu32(lane->before, chain->e);
}

INLINE struct chain load_chain(const SHA_CTX *context)
{
    return (struct chain){
        _mm_set_epi32((int)context->h0, (int)context->h1, (int)context->h2, (int)context->h3),
        _mm_set_epi32((int)context->h4, 0, 0, 0)};
}

INLINE void store_chain(const struct chain *chain, SHA_CTX *context)
{
    context->h0 = (SHA_LONG)_mm_extract_epi32(chain->abcd, 3);
    context->h1 = (SHA_LONG)_mm_extract_epi32(chain->abcd, 2);
    context->h2 = (SHA_LONG)_mm_extract_epi32(chain->abcd, 1);
    context->h3 = (SHA_LONG)_mm_extract_epi32(chain->abcd, 0);
    context->h4 = (SHA_LONG)_mm_extract_epi32(chain->e, 3);
}

/* A group waits for the one before in its own lane, but for none in the other. */
WITH_SHA static void run_blocks(SHA_CTX *a, const uint8_t *a_at, SHA_CTX *b, const uint8_t *b_at,
                                size_t blocks)
{
    struct chain a_chain = load_chain(a);
    struct chain b_chain = load_chain(b);

    for (; blocks > 0; blocks--, a_at += SHA_CBLOCK, b_at += SHA_CBLOCK) {
        struct lane a_lane;
        struct lane b_lane;

        begin_block(&a_lane, &a_chain, a_at);
        begin_block(&b_lane, &b_chain, b_at);
#pragma GCC unroll 20
        for (int group = 0; group < ROUND_GROUPS; group++) {
            run_group(&a_lane, group);
            run_group(&b_lane, group);
        }
        end_block(&a_lane, &a_chain);
        end_block(&b_lane, &b_chain);
    }
    store_chain(&a_chain, a);
    store_chain(&b_chain, b);
}

static bool has_sha(void)
{
    static atomic_int known; /* 0: not asked yet, which below a hypervisor takes long */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);

    if (answer == 0) {
        unsigned eax;
        unsigned ebx = 0;
        unsigned ecx = 0;
        unsigned edx;
        bool has = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSE4_1) != 0 &&
                   __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA) != 0;

        answer = has ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}

/* What SHA1_Update() keeps account of. */
static void count_octets(SHA_CTX *context, uint64_t octets)
{
    uint64_t bits = ((uint64_t)context->Nh << 32 | context->Nl) + octets * 8;

    context->Nl = (SHA_LONG)bits;
    context->Nh = (SHA_LONG)(bits >> 32);
}

/* Up to a block's beginning; how many octets that took. */
static size_t fill_block(SHA_CTX *context, const uint8_t *bytes, size_t length)
{
    size_t part = MIN((SHA_CBLOCK - context->num) % SHA_CBLOCK, length);

    SHA1_Update(context, bytes, part);
    return part;
}

void sha1_update_two(struct sha1 *a, const void *a_bytes, size_t a_length, struct sha1 *b,
                     const void *b_bytes, size_t b_length)
{
    const uint8_t *a_at = a_bytes;
    const uint8_t *b_at = b_bytes;
    SHA_CTX a_context;
    SHA_CTX b_context;

    if (a_length > 0 && b_length > 0 && has_sha()) {
        memcpy(&a_context, a->state, sizeof(a_context));
        memcpy(&b_context, b->state, sizeof(b_context));
        size_t a_part = fill_block(&a_context, a_at, a_length);
        size_t b_part = fill_block(&b_context, b_at, b_length);
        size_t blocks = MIN(a_length - a_part, b_length - b_part) / SHA_CBLOCK;
        size_t octets = blocks * SHA_CBLOCK;

        run_blocks(&a_context, a_at + a_part, &b_context, b_at + b_part, blocks);
        count_octets(&a_context, octets);
        count_octets(&b_context, octets);
        memcpy(a->state, &a_context, sizeof(a_context));
        memcpy(b->state, &b_context, sizeof(b_context));
        a_at += a_part + octets;
        b_at += b_part + octets;
        a_length -= a_part + octets;
        b_length -= b_part + octets;
    }
    sha1_update(a, a_at, a_length);
    sha1_update(b, b_at, b_length);
}

#else

void sha1_update_two(struct sha1 *a, const void *a_bytes, size_t a_length, struct sha1 *b,
                     const void *b_bytes, size_t b_length)
{
    sha1_update(a, a_bytes, a_length);
    sha1_update(b, b_bytes, b_length);
}

#endif
