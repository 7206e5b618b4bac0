/* Words of bits, and how many of them are set: the first part of every C program that hntk writes.
 *
 * WORD_BITS is the width of a word, 64 or 32.
 */
#ifndef HNTK_WORDS
#define HNTK_WORDS

#include <stddef.h>
#include <stdint.h>

#ifndef WORD_BITS
#define WORD_BITS 64
#endif
#if WORD_BITS == 64
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

/* Inlined where it is called with a constant layer, a function is compiled for that layer's sizes. */
#if defined(__GNUC__) || defined(__clang__)
#define KERNEL static inline __attribute__((always_inline, unused))
#define SHARED static __attribute__((noinline, unused))
/* Whoever calls declares the scratch memory as words. */
#define ANY_MEMORY __attribute__((may_alias))
#define APART __restrict
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else
#define KERNEL static inline
#define SHARED static inline
#define ANY_MEMORY
#define APART
#define UNLIKELY(condition) (condition)
#endif
/* For processors that have few instructions: keep a number or a pointer in a register, and what is known of it from the
 * compiler. */
#if defined(__arm__) && (defined(__GNUC__) || defined(__clang__))
#define IN_REGISTER(x) __asm__("" : "+r"(x))
#else
#define IN_REGISTER(x) (void)(x)
#endif
/* Unroll the loop that follows; compilers for other processors make vectors of it. */
#if defined(__arm__) && defined(__GNUC__) && !defined(__clang__)
#define FOUR_AT_A_TIME _Pragma("GCC unroll 4")
#else
#define FOUR_AT_A_TIME
#endif
typedef int16_t ANY_MEMORY number16;
typedef int32_t ANY_MEMORY number32;

/* Words of a plane of n bits. Planes are padded with zeros to a multiple of 64 bits, whatever a word is. */
#define WORDS(n) (((n) + 63) / 64 * (64 / WORD_BITS))
/* 64 bits of a table of words. */
#if WORD_BITS == 64
#define W(low, high) ((word)(high) << 32 | (word)(low))
#else
#define W(low, high) low, high
#endif

#if (defined(__GNUC__) || defined(__clang__)) && (defined(__POPCNT__) || defined(__aarch64__))
#define COUNTS_WORDS
#if WORD_BITS == 64
#define POPCOUNT(x) __builtin_popcountll(x)
#else
#define POPCOUNT(x) __builtin_popcount(x)
#endif
#else
/* Sums of neighbouring fields, which double in width until one is left. */
KERNEL word byte_counts(word x)
{
    const word ones = (word)-1;
    x -= (x >> 1) & (ones / 3);
    x = (x & (ones / 5)) + ((x >> 2) & (ones / 5));
    return (x + (x >> 4)) & (ones / 17);
}

KERNEL int popcount(word x)
{
    return (int)((word)(byte_counts(x) * ((word)-1 / 255)) >> (WORD_BITS - 8));
}
#define POPCOUNT(x) popcount(x)
#endif

/* Vectors of LANES words, in each of which the bits that are set are counted by themselves: eight words where AVX-512 has
 * population counts, four with AVX2, two with NEON, and else one. Define HNTK_PORTABLE to have one everywhere.
 *
 * A count is of the type `lanes` too. At most MOST_COUNTS counts may be added before `whole_counts` makes numbers of the
 * sum, as most processors count the bits of each byte. */
#if WORD_BITS == 64 && !defined(HNTK_PORTABLE)
#if defined(__AVX512BW__) && defined(__AVX512VPOPCNTDQ__)
#define HNTK_AVX512
#elif defined(__AVX2__)
#define HNTK_AVX2
#elif (defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#define HNTK_NEON
#endif
#endif

#if defined(HNTK_AVX512)
#include <immintrin.h>
#define LANES 8
#define MOST_COUNTS ((size_t)1 << 24)
typedef __m512i lanes;

KERNEL lanes same_lanes(word x)
{
    return _mm512_set1_epi64((long long)x);
}

KERNEL lanes load_lanes(const word *x)
{
    return _mm512_loadu_si512(x);
}

/* The first n words, and zeros. */
KERNEL lanes load_some(const word *x, size_t n)
{
    return _mm512_maskz_loadu_epi64((__mmask8)((1u << n) - 1), x);
}

/* How many bits of k & (s ^ x) are set. */
KERNEL lanes count_lanes(lanes k, lanes s, lanes x)
{
    return _mm512_popcnt_epi64(_mm512_ternarylogic_epi64(k, s, x, 0x60));
}

KERNEL lanes add_counts(lanes a, lanes b)
{
    return _mm512_add_epi64(a, b);
}

KERNEL lanes whole_counts(lanes counts)
{
    return counts;
}

/* Multiply numbers below 2^31 by another; the lower 32 bits of a lane count. */
KERNEL lanes times(lanes counts, int32_t factor)
{
    return _mm512_mullo_epi32(counts, _mm512_set1_epi64((long long)(uint32_t)factor));
}

KERNEL lanes add_lanes(lanes a, lanes b)
{
    return _mm512_add_epi64(a, b);
}

KERNEL int32_t sum_lanes(lanes x)
{
    return (int32_t)_mm512_reduce_add_epi64(x);
}

KERNEL void store_lanes(int32_t *to, lanes x)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi64_epi32(x));
}

/* 64 bytes, their highest bits, and twice the bytes. */
typedef __m512i pixels64;
#define TOP_BITS(x) _mm512_movepi8_mask(x)

KERNEL pixels64 load_pixels(const uint8_t *x)
{
    return _mm512_loadu_si512(x);
}

KERNEL pixels64 twice_pixels(pixels64 x)
{
    return _mm512_add_epi8(x, x);
}
#elif defined(HNTK_AVX2)
#include <immintrin.h>
#define LANES 4
#define MOST_COUNTS 31
typedef __m256i lanes;

KERNEL lanes same_lanes(word x)
{
    return _mm256_set1_epi64x((long long)x);
}

KERNEL lanes load_lanes(const word *x)
{
    return _mm256_loadu_si256((const __m256i *)x);
}

KERNEL lanes load_some(const word *x, size_t n)
{
    const __m256i wanted = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), _mm256_setr_epi64x(0, 1, 2, 3));
    return _mm256_maskload_epi64((const long long *)x, wanted);
}

/* By halves of bytes, of which a table says how many bits are set. */
KERNEL lanes count_lanes(lanes k, lanes s, lanes x)
{
    const __m256i ones = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i half = _mm256_set1_epi8(15);
    const __m256i bits = _mm256_and_si256(k, _mm256_xor_si256(s, x));
    const __m256i low = _mm256_and_si256(bits, half), high = _mm256_and_si256(_mm256_srli_epi64(bits, 4), half);
    return _mm256_add_epi8(_mm256_shuffle_epi8(ones, low), _mm256_shuffle_epi8(ones, high));
}

KERNEL lanes add_counts(lanes a, lanes b)
{
    return _mm256_add_epi8(a, b);
}

KERNEL lanes whole_counts(lanes counts)
{
    return _mm256_sad_epu8(counts, _mm256_setzero_si256());
}

KERNEL lanes times(lanes counts, int32_t factor)
{
    return _mm256_mullo_epi32(counts, _mm256_set1_epi64x((long long)(uint32_t)factor));
}

KERNEL lanes add_lanes(lanes a, lanes b)
{
    return _mm256_add_epi64(a, b);
}

KERNEL int32_t sum_lanes(lanes x)
{
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_cvtsi128_si32(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

KERNEL void store_lanes(int32_t *to, lanes x)
{
    const __m256i lower = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0));
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(lower));
}

typedef struct {
    __m256i low, high;
} pixels64;
#define TOP_BITS(x) \
    ((word)(uint32_t)_mm256_movemask_epi8((x).high) << 32 | (uint32_t)_mm256_movemask_epi8((x).low))

KERNEL pixels64 load_pixels(const uint8_t *x)
{
    pixels64 all;
    all.low = _mm256_loadu_si256((const __m256i *)x);
    all.high = _mm256_loadu_si256((const __m256i *)(x + 32));
    return all;
}

KERNEL pixels64 twice_pixels(pixels64 x)
{
    x.low = _mm256_add_epi8(x.low, x.low);
    x.high = _mm256_add_epi8(x.high, x.high);
    return x;
}
#elif defined(HNTK_NEON)
#include <arm_neon.h>
#define LANES 2
#define MOST_COUNTS 31
typedef uint64x2_t lanes;

KERNEL lanes same_lanes(word x)
{
    return vdupq_n_u64(x);
}

KERNEL lanes load_lanes(const word *x)
{
    return vld1q_u64(x);
}

/* One word, and zeros. */
KERNEL lanes load_some(const word *x, size_t n)
{
    (void)n;
    return vcombine_u64(vld1_u64(x), vdup_n_u64(0));
}

KERNEL lanes count_lanes(lanes k, lanes s, lanes x)
{
    return vreinterpretq_u64_u8(vcntq_u8(vreinterpretq_u8_u64(vandq_u64(k, veorq_u64(s, x)))));
}

KERNEL lanes add_counts(lanes a, lanes b)
{
    return vreinterpretq_u64_u8(vaddq_u8(vreinterpretq_u8_u64(a), vreinterpretq_u8_u64(b)));
}

KERNEL lanes whole_counts(lanes counts)
{
    return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_u64(counts))));
}

KERNEL lanes times(lanes counts, int32_t factor)
{
    return vreinterpretq_u64_s32(vmulq_n_s32(vreinterpretq_s32_u64(counts), factor));
}

KERNEL lanes add_lanes(lanes a, lanes b)
{
    return vaddq_u64(a, b);
}

KERNEL int32_t sum_lanes(lanes x)
{
    return (int32_t)(uint32_t)(vgetq_lane_u64(x, 0) + vgetq_lane_u64(x, 1));
}

KERNEL void store_lanes(int32_t *to, lanes x)
{
    vst1_s32(to, vreinterpret_s32_u32(vmovn_u64(x)));
}
#else
#define LANES 1
typedef word lanes;

KERNEL lanes same_lanes(word x)
{
    return x;
}

KERNEL lanes load_lanes(const word *x)
{
    return *x;
}

#ifdef COUNTS_WORDS
#define MOST_COUNTS ((size_t)1 << 24)
KERNEL lanes count_lanes(lanes k, lanes s, lanes x)
{
    return (word)POPCOUNT(k & (s ^ x));
}

KERNEL lanes whole_counts(lanes counts)
{
    return counts;
}
#else
#define MOST_COUNTS 31
/* Of each byte. */
KERNEL lanes count_lanes(lanes k, lanes s, lanes x)
{
    return byte_counts(k & (s ^ x));
}

KERNEL lanes whole_counts(lanes counts)
{
    /* a number of 16 bits for each two bytes, and in the highest one the sum of all */
    const word each = (word)-1 / 65535, pairs = (counts & each * 255) + ((counts >> 8) & each * 255);
    return (word)(pairs * each) >> (WORD_BITS - 16);
}
#endif

KERNEL lanes add_counts(lanes a, lanes b)
{
    return a + b;
}

KERNEL void store_lanes(int32_t *to, lanes x)
{
    *to = (int32_t)x;
}
#endif
#endif
