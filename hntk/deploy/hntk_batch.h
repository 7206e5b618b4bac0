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

/* Neurons from number `begin` on, as many as a word has bits, for the samples of a quad: their levels. */
KERNEL void apply_quad(
    const layer *l, size_t begin, const word *in, word *out, size_t stride, size_t samples)
{
    const size_t left = l->out.count - begin, end = left < WORD_BITS ? l->out.count : begin + WORD_BITS;
    word bits[MOST_PLANES][QUAD];
    size_t b, i, t;
    for (t = 0; t < l->out.planes; t++) {
        for (b = 0; b < QUAD; b++) {
            bits[t][b] = 0;
        }
    }
    for (i = begin; i < end; i++) {
        int32_t sums[QUAD];
        sums_of_quad(l, i, in, sums);
        for (b = 0; b < QUAD; b++) {
            sums[b] = level_of(l, i, sums[b]);
        }
        if (l->out.form_of != PLANES) {
            for (b = 0; b < samples; b++) {
                put(&l->out, out + b * stride, i, sums[b]);
            }
            continue;
        }
        for (t = 0; t < l->out.planes; t++) {
            for (b = 0; b < QUAD; b++) {
                bits[t][b] |= (word)((uint32_t)sums[b] >> t & 1) << i % WORD_BITS;
            }
        }
    }
    if (l->out.form_of == PLANES) {
        for (t = 0; t < l->out.planes; t++) {
            for (b = 0; b < samples; b++) {
                out[b * stride + t * WORDS(l->out.count) + begin / WORD_BITS] = bits[t][b];
            }
        }
    }
}

/* Apply a layer of bit planes to the samples of a block, whose planes are copied to `block`. */
KERNEL void apply_block(const layer *l, const word *in, word *out, size_t stride, size_t samples, word *block)
{
    const size_t words = WORDS(l->in.count);
    size_t b, begin;
    gather_planes(&l->in, in, stride, samples, block);
    for (b = 0; b < samples; b++) {
        clear(&l->out, out + b * stride, l->out.count);
    }
    for (begin = 0; begin < l->out.count; begin += WORD_BITS) {
        for (b = 0; b < samples; b += QUAD) {
            const size_t left = samples - b;
            apply_quad(l, begin, block + b * words * l->in.planes, out + b * stride, stride, left < QUAD ? left : QUAD);
        }
    }
}

#endif
