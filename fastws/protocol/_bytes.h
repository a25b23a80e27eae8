/* Masking and UTF-8 validation, for all modules in C. Plain C without Python. Sections are those of RFC 6455. */
#ifndef FASTWS_BYTES_H
#define FASTWS_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t
load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

static inline uint32_t
load32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static inline uint64_t
big_endian(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* The mask, twice, in the order of memory, for bytes of the payload from number `offset` on. */
static inline uint64_t
mask_word(const uint8_t mask[4], size_t offset)
{
    uint64_t word = (uint64_t)load32(mask) << 32 | load32(mask);
    unsigned bits = (unsigned)(offset & 3) * 8;
    if (!bits) {
        return word;
    }
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return word << bits | word >> (64 - bits);
#else
    return word >> bits | word << (64 - bits);
#endif
}

#if defined(__GNUC__)
/* One register of SSE2 or NEON. A type of two registers would be kept in memory, which is half as fast. */
typedef uint64_t Lane __attribute__((vector_size(16)));
#else
typedef uint64_t Lane;
#endif

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* Copy `n` bytes to `to`, which must not overlap `from`, and XOR them with the mask (section 5.3).
 * Return true when one of the results is not ASCII. */
static inline int
copy_masked(uint8_t *restrict to, const uint8_t *restrict from, size_t n, const uint8_t mask[4])
{
    uint64_t word = mask_word(mask, 0), seen = 0, x;
    size_t i = 0;

    if (n < 8) {
        if (n < 4) {
            uint8_t any = 0;
            for (; i < n; i++) {
                any |= to[i] = from[i] ^ mask[i];
            }
            return any >> 7;
        }
        /* Two halves that overlap where n < 8. */
        uint32_t head = load32(from) ^ (uint32_t)word;
        uint32_t tail = load32(from + n - 4) ^ (uint32_t)mask_word(mask, n - 4);
        memcpy(to, &head, 4);
        memcpy(to + n - 4, &tail, 4);
        return ((head | tail) & (uint32_t)HIGH_BITS) != 0;
    }
    if (n >= 4 * sizeof(Lane)) {
        Lane masks = {0}, all = {0}, a, b, c, d;
        uint64_t words[sizeof(Lane) / 8];
        masks ^= word;
        for (; i + 4 * sizeof(Lane) <= n; i += 4 * sizeof(Lane)) {
            memcpy(&a, from + i, sizeof a);
            memcpy(&b, from + i + sizeof a, sizeof b);
            memcpy(&c, from + i + 2 * sizeof a, sizeof c);
            memcpy(&d, from + i + 3 * sizeof a, sizeof d);
            a ^= masks;
            b ^= masks;
            c ^= masks;
            d ^= masks;
            all |= (a | b) | (c | d);
            memcpy(to + i, &a, sizeof a);
            memcpy(to + i + sizeof a, &b, sizeof b);
            memcpy(to + i + 2 * sizeof a, &c, sizeof c);
            memcpy(to + i + 3 * sizeof a, &d, sizeof d);
        }
        memcpy(words, &all, sizeof words);
        for (size_t k = 0; k < sizeof(Lane) / 8; k++) {
            seen |= words[k];
        }
    }
    for (; i + 8 <= n; i += 8) {
        x = load64(from + i) ^ word;
        seen |= x;
        memcpy(to + i, &x, 8);
    }
    if (i < n) {
        /* The last eight bytes, of which some are done already. */
        x = load64(from + n - 8) ^ mask_word(mask, n - 8);
        seen |= x;
        memcpy(to + n - 8, &x, 8);
    }
    return (seen & HIGH_BITS) != 0;
}

/* Return true when one of the bytes is not ASCII. */
static inline int
beyond_ascii(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= p[i];
    }
    return any >> 7;
}

/* The state of the validation of a text: how many continuation bytes are missing, and the range of the next
 * one. All zero at the beginning. */
typedef struct {
    uint8_t need, low, high;
} Utf8;

/* Continue the validation (RFC 3629, section 4); return false for bytes that are not UTF-8. Overlong forms,
 * surrogates and code points above U+10FFFF are found at the first byte that shows them. */
static inline int
utf8_feed(Utf8 *state, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    uint8_t need = state->need, low = state->low, high = state->high;

    while (p < end) {
        if (need) {
            if (*p < low || *p > high) {
                return 0;
            }
            p++;
            need--;
            low = 0x80;
            high = 0xBF;
            continue;
        }
        while (end - p >= 8 && !(load64(p) & HIGH_BITS)) {
            p += 8;
        }
        if (p == end) {
            break;
        }
        uint8_t byte = *p++;
        low = 0x80;
        high = 0xBF;
        if (byte < 0x80) {
            continue;
        }
        if (byte >= 0xC2 && byte <= 0xDF) {
            need = 1;
        }
        else if (byte >= 0xE0 && byte <= 0xEF) {
            need = 2;
            low = byte == 0xE0 ? 0xA0 : 0x80;
            high = byte == 0xED ? 0x9F : 0xBF;
        }
        else if (byte >= 0xF0 && byte <= 0xF4) {
            need = 3;
            low = byte == 0xF0 ? 0x90 : 0x80;
            high = byte == 0xF4 ? 0x8F : 0xBF;
        }
        else {
            return 0;
        }
    }
    *state = (Utf8){need, low, high};
    return 1;
}

#endif
