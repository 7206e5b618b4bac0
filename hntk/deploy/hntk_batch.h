/* Layers of bit planes for many samples at a time, so that each load of a weight serves all of them: the last part of a C
 * program whose batch functions are asked for.
 *
 * A block is BLOCK samples. Between layers the values of each lie in a memory of its own, `stride` words apart. A layer
 * copies the planes of a block next to each other: those of a quad, four vectors of samples, lie word by word, and of each
 * word plane by plane. So a lane belongs to a sample, and counts need not be added up across lanes.
 */
#ifndef HNTK_BATCH
#define HNTK_BATCH

#include "hntk_kernels.h"

#define BLOCK 32
#define QUAD (4 * LANES)
/* Planes whose counts of a quad fit the registers. */
#ifndef PLANES_AT_A_TIME
#if defined(HNTK_AVX512) || defined(HNTK_NEON)
#define PLANES_AT_A_TIME 4
#elif defined(HNTK_AVX2)
#define PLANES_AT_A_TIME 2
#else
#define PLANES_AT_A_TIME 1
#endif
#endif

/* Values of many planes are faster as bytes: products of four of them with four weights, -1, 0 or 1, and the sum of these,
 * are one instruction, or two. DOT_ROWS neurons share each load of values. */
#if defined(HNTK_AVX512) && defined(__AVX512VNNI__)
#define DOT_ROWS 8
#define LEAST_DOT_PLANES 5

/* Sums of 16 samples. */
#define DOT(sum, x, w) _mm512_dpbusd_epi32(sum, x, _mm512_set1_epi32(w))

/* The products of 4 n weights of each neuron, whose weights are `apart` fours apart, with the bytes of all samples. */
SHARED void dots(
    const int32_t ANY_MEMORY *weights, size_t apart, const uint32_t ANY_MEMORY *x, size_t n, int32_t sums[DOT_ROWS][BLOCK])
{
    __m512i a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7;
    size_t j;
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = _mm512_setzero_si512();
    for (j = 0; j < n; j++) {
        const __m512i a = _mm512_loadu_si512(x + j * BLOCK), b = _mm512_loadu_si512(x + j * BLOCK + 16);
        a0 = DOT(a0, a, weights[j]);
        b0 = DOT(b0, b, weights[j]);
        a1 = DOT(a1, a, weights[j + apart]);
        b1 = DOT(b1, b, weights[j + apart]);
        a2 = DOT(a2, a, weights[j + 2 * apart]);
        b2 = DOT(b2, b, weights[j + 2 * apart]);
        a3 = DOT(a3, a, weights[j + 3 * apart]);
        b3 = DOT(b3, b, weights[j + 3 * apart]);
        a4 = DOT(a4, a, weights[j + 4 * apart]);
        b4 = DOT(b4, b, weights[j + 4 * apart]);
        a5 = DOT(a5, a, weights[j + 5 * apart]);
        b5 = DOT(b5, b, weights[j + 5 * apart]);
        a6 = DOT(a6, a, weights[j + 6 * apart]);
        b6 = DOT(b6, b, weights[j + 6 * apart]);
        a7 = DOT(a7, a, weights[j + 7 * apart]);
        b7 = DOT(b7, b, weights[j + 7 * apart]);
    }
    _mm512_storeu_si512(sums[0], a0);
    _mm512_storeu_si512(sums[0] + 16, b0);
    _mm512_storeu_si512(sums[1], a1);
    _mm512_storeu_si512(sums[1] + 16, b1);
    _mm512_storeu_si512(sums[2], a2);
    _mm512_storeu_si512(sums[2] + 16, b2);
    _mm512_storeu_si512(sums[3], a3);
    _mm512_storeu_si512(sums[3] + 16, b3);
    _mm512_storeu_si512(sums[4], a4);
    _mm512_storeu_si512(sums[4] + 16, b4);
    _mm512_storeu_si512(sums[5], a5);
    _mm512_storeu_si512(sums[5] + 16, b5);
    _mm512_storeu_si512(sums[6], a6);
    _mm512_storeu_si512(sums[6] + 16, b6);
    _mm512_storeu_si512(sums[7], a7);
    _mm512_storeu_si512(sums[7] + 16, b7);
}

/* 64 values of planes, that are `words` words apart, as bytes: the values less the least one, divided by `unit`. */
KERNEL void bytes_of_planes(const values *v, int32_t unit, const word *in, size_t words, uint32_t *bytes)
{
    __m512i sum = _mm512_setzero_si512();
    size_t t;
    for (t = 0; t < v->planes; t++) {
        sum = _mm512_mask_add_epi8(sum, in[t * words], sum, _mm512_set1_epi8((char)(v->jumps[t] / unit)));
    }
    _mm512_storeu_si512(bytes, sum);
}

/* The weights of a neuron as bytes. Returns how many are 1. */
KERNEL int32_t bytes_of_weights(const word *signs, const word *mask, size_t words, int32_t ANY_MEMORY *bytes)
{
    int32_t plus = 0;
    size_t w;
    for (w = 0; w < words; w++) {
        const word minus = (mask ? mask[w] : (word)-1) & ~signs[w];
        const __m512i ones = _mm512_maskz_set1_epi8(signs[w], 1);
        plus += (int32_t)POPCOUNT(signs[w]);
        _mm512_storeu_si512(bytes + 16 * w, _mm512_mask_mov_epi8(ones, minus, _mm512_set1_epi8(-1)));
    }
    return plus;
}
#elif defined(HNTK_AVX2)
#define DOT_ROWS 2
#define LEAST_DOT_PLANES 2
/* Steps after which sums of 16 bits may be full: each adds at most 2 * 255. */
#define MOST_DOTS 64
#define DOT(sum, x, w) _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w))
#define ADD_DOTS(sums, dots) \
    _mm256_storeu_si256((__m256i *)(sums), \
        _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(sums)), _mm256_madd_epi16(dots, _mm256_set1_epi16(1))))

SHARED void dots(
    const int32_t ANY_MEMORY *weights, size_t apart, const uint32_t ANY_MEMORY *x, size_t n, int32_t sums[DOT_ROWS][BLOCK])
{
    size_t begin, j, b;
    for (b = 0; b < BLOCK; b++) {
        sums[0][b] = sums[1][b] = 0;
    }
    for (begin = 0; begin < n; begin += MOST_DOTS) {
        const size_t end = n - begin < MOST_DOTS ? n : begin + MOST_DOTS;
        __m256i a0, a1, a2, a3, b0, b1, b2, b3;
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = _mm256_setzero_si256();
        for (j = begin; j < end; j++) {
            const __m256i a = _mm256_set1_epi32(weights[j]), c = _mm256_set1_epi32(weights[j + apart]);
            const __m256i *from = (const __m256i *)(x + j * BLOCK);
            const __m256i x0 = _mm256_loadu_si256(from), x1 = _mm256_loadu_si256(from + 1);
            const __m256i x2 = _mm256_loadu_si256(from + 2), x3 = _mm256_loadu_si256(from + 3);
            a0 = DOT(a0, x0, a);
            b0 = DOT(b0, x0, c);
            a1 = DOT(a1, x1, a);
            b1 = DOT(b1, x1, c);
            a2 = DOT(a2, x2, a);
            b2 = DOT(b2, x2, c);
            a3 = DOT(a3, x3, a);
            b3 = DOT(b3, x3, c);
        }
        ADD_DOTS(sums[0], a0);
        ADD_DOTS(sums[0] + 8, a1);
        ADD_DOTS(sums[0] + 16, a2);
        ADD_DOTS(sums[0] + 24, a3);
        ADD_DOTS(sums[1], b0);
        ADD_DOTS(sums[1] + 8, b1);
        ADD_DOTS(sums[1] + 16, b2);
        ADD_DOTS(sums[1] + 24, b3);
    }
}

/* Bytes of ones where bits are set. */
KERNEL __m256i bytes_of_bits(uint32_t bits)
{
    const __m256i each = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, each), each);
}

KERNEL void bytes_of_planes(const values *v, int32_t unit, const word *in, size_t words, uint32_t *bytes)
{
    __m256i low = _mm256_setzero_si256(), high = low;
    size_t t;
    for (t = 0; t < v->planes; t++) {
        const __m256i jump = _mm256_set1_epi8((char)(v->jumps[t] / unit));
        low = _mm256_add_epi8(low, _mm256_and_si256(jump, bytes_of_bits((uint32_t)in[t * words])));
        high = _mm256_add_epi8(high, _mm256_and_si256(jump, bytes_of_bits((uint32_t)(in[t * words] >> 32))));
    }
    _mm256_storeu_si256((__m256i *)bytes, low);
    _mm256_storeu_si256((__m256i *)(bytes + 8), high);
}

KERNEL int32_t bytes_of_weights(const word *signs, const word *mask, size_t words, int32_t ANY_MEMORY *bytes)
{
    int32_t plus = 0;
    size_t w, half;
    for (w = 0; w < words; w++) {
        plus += (int32_t)POPCOUNT(signs[w]);
        for (half = 0; half < 2; half++) {
            const uint32_t ones = (uint32_t)(signs[w] >> 32 * half);
            const __m256i is = bytes_of_bits(mask ? (uint32_t)(mask[w] >> 32 * half) : ~(uint32_t)0);
            /* -1 where there is a weight, and 2 more where it is 1 */
            const __m256i two = _mm256_and_si256(bytes_of_bits(ones), _mm256_set1_epi8(2));
            _mm256_storeu_si256((__m256i *)(bytes + 16 * w + 8 * half), _mm256_add_epi8(is, two));
        }
    }
    return plus;
}
#endif

/* Counts of the samples of a quad. */
typedef struct {
    lanes a, b, c, d;
} quad;

KERNEL void clear_quad(quad *q)
{
    q->a = q->b = q->c = q->d = same_lanes(0);
}

/* Count the bits of a word of weights and a word of each sample. */
KERNEL void count_quad(quad *q, lanes k, lanes s, const word *x)
{
    q->a = add_counts(q->a, count_lanes(k, s, load_lanes(x)));
    q->b = add_counts(q->b, count_lanes(k, s, load_lanes(x + LANES)));
    q->c = add_counts(q->c, count_lanes(k, s, load_lanes(x + 2 * LANES)));
    q->d = add_counts(q->d, count_lanes(k, s, load_lanes(x + 3 * LANES)));
}

/* Subtract a plane's counts, times what a bit adds to a value, from the sums. */
KERNEL void subtract_quad(const quad *q, int32_t jump, int32_t *sums)
{
    int32_t counts[QUAD];
    size_t b;
    store_lanes(counts, whole_counts(q->a));
    store_lanes(counts + LANES, whole_counts(q->b));
    store_lanes(counts + 2 * LANES, whole_counts(q->c));
    store_lanes(counts + 3 * LANES, whole_counts(q->d));
    for (b = 0; b < QUAD; b++) {
        sums[b] -= jump * counts[b];
    }
}

/* Subtract the counts of n <= 4 planes from number t on from the sums of a quad. */
KERNEL void subtract_planes(
    const layer *l, const word *signs, const word *mask, const word *in, size_t t, size_t n, int32_t *sums)
{
    const size_t words = WORDS(l->in.count), each = l->in.planes * QUAD;
    size_t begin, w;
    for (begin = 0; begin < words; begin += MOST_COUNTS) {
        const size_t end = words - begin < MOST_COUNTS ? words : begin + MOST_COUNTS;
        quad p, q, r, s;
        clear_quad(&p);
        clear_quad(&q);
        clear_quad(&r);
        clear_quad(&s);
        for (w = begin; w < end; w++) {
            const lanes sign = same_lanes(signs[w]), k = same_lanes(l->masked ? mask[w] : (word)-1);
            const word *x = in + w * each + t * QUAD;
            count_quad(&p, k, sign, x);
            if (n > 1) {
                count_quad(&q, k, sign, x + QUAD);
            }
            if (n > 2) {
                count_quad(&r, k, sign, x + 2 * QUAD);
            }
            if (n > 3) {
                count_quad(&s, k, sign, x + 3 * QUAD);
            }
        }
        subtract_quad(&p, l->in.jumps[t], sums);
        if (n > 1) {
            subtract_quad(&q, l->in.jumps[t + 1], sums);
        }
        if (n > 2) {
            subtract_quad(&r, l->in.jumps[t + 2], sums);
        }
        if (n > 3) {
            subtract_quad(&s, l->in.jumps[t + 3], sums);
        }
    }
}

/* The sums of neuron i for a quad of samples. */
KERNEL void sums_of_quad(const layer *l, size_t i, const word *in, int32_t *sums)
{
    const size_t words = WORDS(l->in.count);
    const word *signs = l->rows + i * words * (l->masked ? 2 : 1), *mask = signs + words;
    const int32_t start = first(l, i);
    size_t b, t;
    for (b = 0; b < QUAD; b++) {
        sums[b] = start;
    }
    for (t = 0; t < l->in.planes; t += PLANES_AT_A_TIME) {
        const size_t left = l->in.planes - t;
        subtract_planes(l, signs, mask, in, t, left < PLANES_AT_A_TIME ? left : PLANES_AT_A_TIME, sums);
    }
}

/* The planes of a block's samples, quad by quad. */
KERNEL void gather_planes(const values *v, const word *in, size_t stride, size_t samples, word *block)
{
    const size_t words = WORDS(v->count), each = v->planes * QUAD;
    size_t b, t, w;
    for (b = 0; b < (samples + QUAD - 1) / QUAD * QUAD; b++) {
        word *to = block + b / QUAD * words * each + b % QUAD;
        for (t = 0; t < v->planes; t++) {
            for (w = 0; w < words; w++) {
                /* samples that are missing in the last quad */
                to[w * each + t * QUAD] = b < samples ? in[b * stride + t * words + w] : 0;
            }
        }
    }
}

/* Replace the sums of neuron i for n samples by levels. Of planes, its bit in each of them is added to `bits`. */
KERNEL void put_levels(
    const layer *l, size_t i, int32_t *APART sums, size_t n, size_t samples, word *APART out, size_t stride,
    uint32_t *APART bits)
{
    size_t b, t;
    for (b = 0; b < n; b++) {
        sums[b] = level_of(l, i, sums[b]);
    }
    if (l->out.form_of != PLANES) {
        for (b = 0; b < samples; b++) {
            put(&l->out, out + b * stride, i, sums[b]);
        }
        return;
    }
    for (t = 0; t < l->out.planes; t++) {
        for (b = 0; b < n; b++) {
            bits[t * n + b] |= ((uint32_t)sums[b] >> t & 1) << i % 32;
        }
    }
}

/* Write the bits of 32 neurons, the first of which has number `begin`, to the planes of n samples. */
KERNEL void put_bits(
    const layer *l, size_t begin, const uint32_t *bits, size_t n, size_t samples, word *out, size_t stride)
{
    size_t b, t;
    for (t = 0; t < l->out.planes && l->out.form_of == PLANES; t++) {
        for (b = 0; b < samples; b++) {
            const word all = (word)bits[t * n + b] << begin % WORD_BITS;
            out[b * stride + t * WORDS(l->out.count) + begin / WORD_BITS] |= all;
        }
    }
}

KERNEL void clear_bits(const layer *l, uint32_t *bits, size_t n)
{
    size_t i;
    for (i = 0; i < l->out.planes * n; i++) {
        bits[i] = 0;
    }
}

/* The neurons from number `begin` to `end`, at most 32, for the samples of a quad. */
KERNEL void apply_quad(
    const layer *l, size_t begin, size_t end, const word *in, word *out, size_t stride, size_t samples)
{
    uint32_t bits[MOST_PLANES * QUAD];
    size_t i;
    clear_bits(l, bits, QUAD);
    for (i = begin; i < end; i++) {
        int32_t sums[QUAD];
        sums_of_quad(l, i, in, sums);
        put_levels(l, i, sums, QUAD, samples, out, stride, bits);
    }
    put_bits(l, begin, bits, QUAD, samples, out, stride);
}

KERNEL void apply_quads(const layer *l, const word *in, word *out, size_t stride, size_t samples, word *block)
{
    const size_t words = WORDS(l->in.count);
    size_t b, begin;
    gather_planes(&l->in, in, stride, samples, block);
    for (begin = 0; begin < l->out.count; begin += 32) {
        const size_t end = l->out.count - begin < 32 ? l->out.count : begin + 32;
        for (b = 0; b < samples; b += QUAD) {
            const size_t left = samples - b < QUAD ? samples - b : QUAD;
            apply_quad(l, begin, end, block + b * words * l->in.planes, out + b * stride, stride, left);
        }
    }
}

#ifdef DOT_ROWS
/* What the jumps of planes are multiples of, where values are that times a byte, or else 0. */
KERNEL int32_t byte_unit(const values *v)
{
    const int32_t lowest = v->jumps[0];
    int32_t sum = 0, unit = lowest > 0 ? lowest : 1;
    size_t t;
    for (t = 0; t < v->planes; t++) {
        sum += v->jumps[t];
        unit = v->jumps[t] % unit ? 1 : unit;
    }
    return sum <= 255 * unit ? unit : 0;
}

/* The bytes of a block's samples, 64 a word: of each four bytes those of all samples are next to each other. */
KERNEL void gather_bytes(
    const values *v, int32_t unit, const word *in, size_t stride, size_t samples, uint32_t ANY_MEMORY *block)
{
    const size_t words = WORDS(v->count);
    size_t b, w, i;
    for (b = 0; b < BLOCK; b++) {
        for (w = 0; w < words; w++) {
            uint32_t fours[16] = {0};
            if (b < samples) {
                bytes_of_planes(v, unit, in + b * stride + w, words, fours);
            }
            for (i = 0; i < 16; i++) {
                block[(16 * w + i) * BLOCK + b] = fours[i];
            }
        }
    }
}

/* The neurons from number `begin` to `end`, at most 32, for the samples of a block. */
KERNEL void apply_bytes(
    const layer *l, int32_t unit, size_t begin, size_t end, const uint32_t ANY_MEMORY *in, int32_t ANY_MEMORY *weights,
    word *out, size_t stride, size_t samples)
{
    const size_t words = WORDS(l->in.count);
    uint32_t bits[MOST_PLANES * BLOCK];
    int32_t sums[32][BLOCK], starts[32], all = 0;
    size_t b, i, k, t;
    for (t = 0; t < l->in.planes; t++) {
        all += l->in.jumps[t];
    }
    clear_bits(l, bits, BLOCK);
    for (i = begin; i < end; i += DOT_ROWS) {
        for (k = 0; k < DOT_ROWS; k++) {
            /* where fewer neurons are left, the last one again */
            const size_t row = i + k < end ? i + k : end - 1;
            const word *signs = l->rows + row * words * (l->masked ? 2 : 1);
            const word *mask = l->masked ? signs + words : NULL;
            starts[i - begin + k] = first(l, row) - all * bytes_of_weights(signs, mask, words, weights + 16 * k * words);
        }
        dots(weights, 16 * words, in, (l->in.count + 3) / 4, sums + (i - begin));
    }
    for (i = begin; i < end; i++) {
        int32_t *own = sums[i - begin];
        const int32_t start = starts[i - begin];
        for (b = 0; b < BLOCK; b++) {
            own[b] = start + unit * own[b];
        }
        put_levels(l, i, own, BLOCK, samples, out, stride, bits);
    }
    put_bits(l, begin, bits, BLOCK, samples, out, stride);
}
#endif

/* Apply a layer of bit planes to the samples of a block. The planes of all, or their values as bytes, are copied to
 * `block`. */
KERNEL void apply_block(const layer *l, const word *in, word *out, size_t stride, size_t samples, word *block)
{
    size_t b;
    for (b = 0; b < samples; b++) {
        clear(&l->out, out + b * stride, l->out.form_of == PLANES ? 0 : l->out.count);
    }
#ifdef DOT_ROWS
    if (l->in.planes >= LEAST_DOT_PLANES && byte_unit(&l->in)) {
        const int32_t unit = byte_unit(&l->in);
        uint32_t ANY_MEMORY *bytes = (uint32_t ANY_MEMORY *)block;
        int32_t ANY_MEMORY *weights = (int32_t ANY_MEMORY *)(bytes + BLOCK * 16 * WORDS(l->in.count));
        size_t begin;
        gather_bytes(&l->in, unit, in, stride, samples, bytes);
        for (begin = 0; begin < l->out.count; begin += 32) {
            const size_t end = l->out.count - begin < 32 ? l->out.count : begin + 32;
            apply_bytes(l, unit, begin, end, bytes, weights, out, stride, samples);
        }
        return;
    }
#endif
    apply_quads(l, in, out, stride, samples, block);
}

#endif
