/* Arithmetic of networks of ternary weights: the constant part of every C program that hntk writes.
 *
 * C99 and C++11, without heap, and without floating point unless FLOAT_INPUT is defined. WORD_BITS is the width of the
 * words that hold bit planes, 64 or 32. Everything is static: a program holds this text, so that several programs,
 * with words of different widths, link into one binary.
 *
 * A layer takes whole numbers v_j, adds up sums s_i = sum_j W_ij v_j + b_i and replaces each by a level: levels[c],
 * where c is the number of thresholds that s_i has reached.
 */
#ifndef HNTK_KERNELS
#define HNTK_KERNELS

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
#else
#define KERNEL static inline
#endif

/* Words of a plane of n bits. Planes are padded with zeros to a multiple of 64 bits, whatever a word is. */
#define WORDS(n) (((n) + 63) / 64 * (64 / WORD_BITS))
/* 64 bits of a table of words. */
#if WORD_BITS == 64
#define W(low, high) ((word)(high) << 32 | (word)(low))
#else
#define W(low, high) low, high
#endif

#if (defined(__GNUC__) || defined(__clang__)) && (defined(__POPCNT__) || defined(__aarch64__))
#if WORD_BITS == 64
#define POPCOUNT(x) __builtin_popcountll(x)
#else
#define POPCOUNT(x) __builtin_popcount(x)
#endif
#else
/* Sums of neighbouring fields, which double in width until one is left. */
KERNEL int popcount(word x)
{
    const word ones = (word)-1;
    x -= (x >> 1) & (ones / 3);
    x = (x & (ones / 5)) + ((x >> 2) & (ones / 5));
    x = (x + (x >> 4)) & (ones / 17);
    return (int)((word)(x * (ones / 255)) >> (WORD_BITS - 8));
}
#define POPCOUNT(x) popcount(x)
#endif

/* Signed whole numbers of `bytes` (1, 2 or 4) bytes each. */
typedef struct {
    const void *numbers;
    size_t bytes;
} table;

/* Planes of values of 16 bits. */
#define MOST_PLANES 16

/* How the values between two layers lie in memory. */
typedef enum {
    PLANES, /* bit t of the code of value j is bit j of plane t */
    BYTES,  /* a signed byte each */
    PAIRS,  /* two bytes each, the lower first */
    PIXELS  /* an unsigned byte each, to be multiplied by `factor` */
} form;

typedef struct {
    form form_of;
    size_t count;
    size_t planes;       /* PLANES alone: their number */
    const int32_t *jumps; /* PLANES alone: what a bit of each plane adds to a value */
    int32_t factor;      /* PIXELS alone */
} values;

/* A layer. Its weights are rows of planes where it reads PLANES, and gaps between weights that are not 0 elsewhere. */
typedef struct {
    values in;
    values out;
    const word *rows;     /* of each neuron a plane of the weights that are +1, then one of those that are not 0 */
    int masked;           /* whether there is the second plane; else no weight is 0 */
    const uint8_t *gaps;  /* zeros before each weight that is not 0, row after row; 255: 255 zeros, and go on */
    const uint8_t *signs; /* a bit for each weight that is not 0: 1 where it is -1 */
    size_t gap_count;
    table start;          /* of each neuron, what its sum starts from; no numbers: 0 */
    const int32_t *thresholds; /* ascending */
    size_t threshold_count;
    table levels;         /* threshold_count + 1 levels, or their codes where `out` is PLANES */
} layer;

/* Scores: offset + weights * levels of the last layer. */
typedef struct {
    values in;
    table weights; /* a row for each class */
    const int32_t *offset;
    size_t classes;
} linear;

/* Number i of a table. */
KERNEL int32_t number_at(table t, size_t i)
{
    switch (t.bytes) {
    case 1:
        return ((const int8_t *)t.numbers)[i];
    case 2:
        return ((const int16_t *)t.numbers)[i];
    default:
        return ((const int32_t *)t.numbers)[i];
    }
}

/* How many of n ascending thresholds a sum has reached. */
KERNEL size_t reached(const int32_t *thresholds, size_t n, int32_t sum)
{
    size_t low = 0, k;
    /* a few comparisons without a branch are faster than a search */
    if (n <= 16) {
        for (k = 0; k < n; k++) {
            low += sum >= thresholds[k];
        }
        return low;
    }
    while (n > 0) {
        const size_t half = n / 2;
        if (sum >= thresholds[low + half]) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

/* Set the planes to 0, so that bits can be added to them. */
KERNEL void clear(const values *v, word *memory)
{
    size_t i;
    if (v->form_of == PLANES) {
        for (i = 0; i < v->planes * WORDS(v->count); i++) {
            memory[i] = 0;
        }
    }
}

/* Store value i: the value itself, or its code where values are planes. */
KERNEL void put(const values *v, word *memory, size_t i, int32_t value)
{
    unsigned char *bytes = (unsigned char *)memory;
    size_t t;
    switch (v->form_of) {
    case PLANES:
        for (t = 0; t < v->planes; t++) {
            memory[t * WORDS(v->count) + i / WORD_BITS] |= (word)((uint32_t)value >> t & 1) << i % WORD_BITS;
        }
        break;
    case PAIRS:
        bytes[2 * i] = (unsigned char)((uint32_t)value & 255);
        bytes[2 * i + 1] = (unsigned char)((uint32_t)value >> 8 & 255);
        break;
    default:
        bytes[i] = (unsigned char)((uint32_t)value & 255);
    }
}

/* Value i, of values that are no planes. */
KERNEL int32_t get(const values *v, const void *memory, size_t i)
{
    const unsigned char *bytes = (const unsigned char *)memory;
    int32_t value;
    switch (v->form_of) {
    case PIXELS:
        return v->factor * bytes[i];
    case PAIRS:
        value = (int32_t)bytes[2 * i] | (int32_t)bytes[2 * i + 1] << 8;
        return value < 32768 ? value : value - 65536;
    default:
        return ((const signed char *)memory)[i];
    }
}

/* The pixels as planes. */
KERNEL void take_pixels(const uint8_t *input, const values *v, word *out)
{
    size_t j;
    clear(v, out);
    for (j = 0; j < v->count; j++) {
        put(v, out, j, input[j]);
    }
}

#ifdef FLOAT_INPUT
/* x as a whole number, halves to even ones, no further from 0 than `most`. */
KERNEL int32_t whole(float x, int32_t most)
{
    int32_t i;
    float rest;
    if (!(x > -(float)most)) {
        return -most;
    }
    if (x >= (float)most) {
        return most;
    }
    i = (int32_t)x;
    rest = x - (float)i;
    if (rest > 0.5f || (rest >= 0.5f && (i & 1))) {
        return i + 1;
    }
    if (rest < -0.5f || (rest <= -0.5f && (i & 1))) {
        return i - 1;
    }
    return i;
}

/* (input - centre) * factor as whole numbers. */
KERNEL void take_rounded(const float *input, const float *centre, float factor, int32_t most, const values *v, word *out)
{
    size_t j;
    clear(v, out);
    for (j = 0; j < v->count; j++) {
        const float moved = input[j] - centre[j];
        const int32_t value = whole(moved * factor, most);
        /* the code of a value is its distance from the least one */
        put(v, out, j, v->form_of == PLANES ? value + most : value);
    }
}
#endif

/* Replace a neuron's sum by its level. */
KERNEL void put_level(const layer *l, word *out, size_t i, int32_t sum)
{
    put(&l->out, out, i, number_at(l->levels, reached(l->thresholds, l->threshold_count, sum)));
}

/* A layer that reads planes: AND, XOR and population counts. */
KERNEL void apply_planes(const layer *l, const word *in, word *out)
{
    const size_t words = WORDS(l->in.count);
    size_t i, t, w;
    for (i = 0; i < l->out.count; i++) {
        const word *signs = l->rows + i * words * (l->masked ? 2 : 1);
        const word *mask = signs + words;
        int32_t counts[MOST_PLANES];
        int32_t sum = number_at(l->start, i);
        for (t = 0; t < l->in.planes; t++) {
            counts[t] = 0;
        }
        for (w = 0; w < words; w++) {
            const word s = signs[w], k = l->masked ? mask[w] : (word)-1;
            for (t = 0; t < l->in.planes; t++) {
                counts[t] += POPCOUNT(k & (s ^ in[t * words + w]));
            }
        }
        for (t = 0; t < l->in.planes; t++) {
            sum -= l->in.jumps[t] * counts[t];
        }
        put_level(l, out, i, sum);
    }
}

/* What the sum of neuron i starts from. */
KERNEL int32_t first(const layer *l, size_t i)
{
    return l->start.numbers && i < l->out.count ? number_at(l->start, i) : 0;
}

/* A layer that reads numbers: additions and subtractions for the weights that are not 0. */
KERNEL void apply_gaps(const layer *l, const void *in, word *out)
{
    const size_t inputs = l->in.count;
    size_t i = 0, column = 0, weight = 0, g;
    int32_t sum = first(l, 0), minus;
    for (g = 0; g != l->gap_count; g++) {
        const size_t gap = l->gaps[g];
        column += gap;
        for (; column >= inputs; column -= inputs) {
            put_level(l, out, i++, sum);
            sum = first(l, i);
        }
        if (gap == 255) {
            continue;
        }
        /* signs are random: a branch on them would often be predicted wrongly */
        minus = l->signs[weight >> 3] >> (weight & 7) & 1;
        sum += (get(&l->in, in, column) ^ -minus) + minus;
        weight++;
        column++;
    }
    while (i < l->out.count) {
        put_level(l, out, i++, sum);
        sum = first(l, i);
    }
}

/* Apply a layer. */
KERNEL void apply(const layer *l, const void *in, word *out)
{
    clear(&l->out, out);
    if (l->in.form_of == PLANES) {
        apply_planes(l, (const word *)in, out);
    } else {
        apply_gaps(l, in, out);
    }
}

/* The score of class c. */
KERNEL int32_t score(const linear *r, const void *in, size_t c)
{
    int32_t sum = r->offset[c];
    size_t j;
    for (j = 0; j < r->in.count; j++) {
        sum += number_at(r->weights, c * r->in.count + j) * get(&r->in, in, j);
    }
    return sum;
}

/* The index of the largest score, the first of equals. */
KERNEL int best_class(const linear *r, const void *in)
{
    int32_t most = score(r, in, 0);
    size_t c, best = 0;
    for (c = 1; c < r->classes; c++) {
        const int32_t next = score(r, in, c);
        if (next > most) {
            most = next;
            best = c;
        }
    }
    return (int)best;
}

#endif
