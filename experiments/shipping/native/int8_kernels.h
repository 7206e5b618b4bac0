/* Arithmetic of the baseline: dense layers of 8-bit weights and activations, and the averaging of pixels over cells.
 *
 * A layer adds up s_i = bias_i + sum_j W_ij v_j in 32 bits, W_ij from -127 to 127 and v_j from 0 to 255. The next layer
 * reads max(s_i, 0) * multiplier / 2^shift, rounded, and 255 at most. Numbers of values are multiples of 4.
 *
 * How weights lie: with LOOP row after row, for a plain loop over one sum at a time; with COLUMNS in 4 rows, column
 * after column, for 4 sums that share what they read; with BLOCKS in blocks of 4 rows and 4 columns, row after row of
 * a block, where with the DSP extension (SMLAD) two products are one instruction. Processors are little-endian.
 */
#ifndef INT8_KERNELS
#define INT8_KERNELS

#include <stddef.h>
#include <stdint.h>

#if defined(BLOCKS) && defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif

typedef struct {
    const uint32_t *weights; /* 4 of them a word */
    const int32_t *bias;
    size_t inputs, outputs;
    int32_t multiplier;
    int shift;
} dense_layer;

/* Of an axis: each cell's first pixel, and the lengths that it covers of that pixel and of those behind it. */
typedef struct {
    const uint8_t *first, *lengths;
    size_t cells, pixels;
} axis;

#ifdef LOOP
/* The sums of 4 rows, one after the other. */
static inline void four_sums(const uint32_t *weights, const uint8_t *v, size_t inputs, int32_t *sums)
{
    const int8_t *w = (const int8_t *)weights;
    size_t i, j;
    for (i = 0; i < 4; i++) {
        int32_t sum = sums[i];
        for (j = 0; j < inputs; j++) {
            sum += w[j] * v[j];
        }
        sums[i] = sum;
        w += inputs;
    }
}
#elif defined(BLOCKS) && defined(__ARM_FEATURE_DSP)
/* Bytes 1 and 3 of a word, as CMSIS takes them: no intrinsic of ACLE has the rotation. */
static inline int16x2_t odd_signed(uint32_t word)
{
    int16x2_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

static inline int16x2_t odd_unsigned(uint32_t word)
{
    int16x2_t halves;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

static inline int32_t four_products(uint32_t weights, int16x2_t even, int16x2_t odd, int32_t sum)
{
    sum = __smlad(__sxtb16(weights), even, sum);
    return __smlad(odd_signed(weights), odd, sum);
}

static inline void four_sums(const uint32_t *weights, const uint8_t *v, size_t inputs, int32_t *sums)
{
    const uint8_t *const end = v + inputs;
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    while (v < end) {
        uint32_t four;
        int16x2_t even, odd;
        __builtin_memcpy(&four, v, 4);
        even = (int16x2_t)__uxtb16(four);
        odd = odd_unsigned(four);
        s0 = four_products(weights[0], even, odd, s0);
        s1 = four_products(weights[1], even, odd, s1);
        s2 = four_products(weights[2], even, odd, s2);
        s3 = four_products(weights[3], even, odd, s3);
        weights += 4;
        v += 4;
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}
#elif defined(BLOCKS)
static inline void four_sums(const uint32_t *weights, const uint8_t *v, size_t inputs, int32_t *sums)
{
    const int8_t *w = (const int8_t *)weights;
    size_t i, j;
    for (j = 0; j < inputs; j += 4) {
        for (i = 0; i < 4; i++) {
            sums[i] += w[0] * v[j] + w[1] * v[j + 1] + w[2] * v[j + 2] + w[3] * v[j + 3];
            w += 4;
        }
    }
}
#else
static inline void four_sums(const uint32_t *weights, const uint8_t *v, size_t inputs, int32_t *sums)
{
    const int8_t *w = (const int8_t *)weights;
    const uint8_t *const end = v + inputs;
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    while (v < end) {
        const int32_t value = *v++;
        s0 += w[0] * value;
        s1 += w[1] * value;
        s2 += w[2] * value;
        s3 += w[3] * value;
        w += 4;
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}
#endif

static inline void start_sums(const dense_layer *layer, size_t i, int32_t *sums)
{
    size_t k;
    for (k = 0; k < 4; k++) {
        sums[k] = layer->bias[i + k];
    }
}

static uint8_t requantised(int32_t sum, int32_t multiplier, int shift)
{
    int64_t scaled;
    if (sum <= 0) {
        return 0;
    }
    scaled = ((int64_t)sum * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
    return scaled > 255 ? 255 : (uint8_t)scaled;
}

/* A hidden layer. */
static void apply(const dense_layer *layer, const uint8_t *v, uint8_t *out)
{
    const uint32_t *weights = layer->weights;
    int32_t sums[4];
    size_t i, k;
    for (i = 0; i < layer->outputs; i += 4) {
        start_sums(layer, i, sums);
        four_sums(weights, v, layer->inputs, sums);
        weights += layer->inputs;
        for (k = 0; k < 4; k++) {
            out[i + k] = requantised(sums[k], layer->multiplier, layer->shift);
        }
    }
}

/* The last layer's sums are scores, as many as there are classes and up to 3 more. */
static void score(const dense_layer *layer, const uint8_t *v, int32_t *scores)
{
    const uint32_t *weights = layer->weights;
    size_t i;
    for (i = 0; i < layer->outputs; i += 4) {
        start_sums(layer, i, scores + i);
        four_sums(weights, v, layer->inputs, scores + i);
        weights += layer->inputs;
    }
}

#ifdef POOLED
/* Means over cells, halves rounded up: (S + A / 2) / A for a cell of area A with the sum S of area times pixel. The
 * division is a product and a shift. A cell takes lengths of POOLED_ROWS rows and POOLED_COLUMNS columns, some of them 0:
 * constants, so that the inner loops are unrolled. */
static void pool(const uint8_t *raw, const axis *rows, const axis *columns, uint32_t half, uint32_t factor, int shift,
                 uint16_t *line, uint8_t *out)
{
    const uint8_t *tall = rows->lengths;
    size_t r, c, i;
    for (r = 0; r < rows->cells; r++, tall += POOLED_ROWS) {
        const uint8_t *pixels = raw + rows->first[r] * columns->pixels, *wide = columns->lengths;
        /* The stores below might change a table, for all that the compiler knows. */
        uint32_t lengths[POOLED_ROWS];
#pragma GCC unroll 8
        for (i = 0; i < POOLED_ROWS; i++) {
            lengths[i] = tall[i];
        }
        for (c = 0; c < columns->pixels; c++, pixels++) {
            uint32_t sum = 0;
#pragma GCC unroll 8
            for (i = 0; i < POOLED_ROWS; i++) {
                sum += lengths[i] * pixels[i * columns->pixels];
            }
            line[c] = (uint16_t)sum;
        }
        for (c = 0; c < columns->cells; c++, wide += POOLED_COLUMNS) {
            const uint16_t *from = line + columns->first[c];
            uint32_t sum = half;
#pragma GCC unroll 8
            for (i = 0; i < POOLED_COLUMNS; i++) {
                sum += wide[i] * from[i];
            }
            *out++ = (uint8_t)((sum * factor) >> shift);
        }
    }
}
#endif

#endif
