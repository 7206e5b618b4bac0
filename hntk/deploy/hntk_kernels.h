/* Arithmetic of networks of ternary weights: the constant part of every C program that hntk writes.
 *
 * C99 and C++11, without heap, and without floating point unless FLOAT_INPUT is defined. WORD_BITS is the width of the
 * words that hold bit planes, 64 or 32. Everything is static: a program holds this text, so that several programs,
 * with words of different widths, link into one binary.
 *
 * A layer takes whole numbers v_j, adds up sums s_i = sum_j W_ij v_j + b_i and replaces each by a level: levels[c],
 * where c is the number of thresholds that s_i has reached: the layer's, or the neuron's own. Its sums are computed with
 * bit planes, weight by weight, or by a Walsh-Hadamard transform.
 */
#ifndef HNTK_KERNELS
#define HNTK_KERNELS

#include "hntk_words.h"

/* The Cortex-M0+ and its like count no zeros and jump to no place in a table in one instruction. */
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB < 2
#define FEW_INSTRUCTIONS
#endif

/* Zeros above the highest bit that is set, on processors that have an instruction for that. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FEW_INSTRUCTIONS)
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__ARM_FEATURE_CLZ) || \
    defined(__riscv_zbb)
#define COUNT_ZEROS(x) __builtin_clz(x)
#endif
#endif

/* Shift the highest bit that is set to the top, and return how far it was from there. There is one. */
KERNEL uint32_t skip_zeros(uint32_t *x)
{
    uint32_t n = 0;
#ifdef COUNT_ZEROS
    n = (uint32_t)COUNT_ZEROS(*x);
    *x <<= n;
#else
    /* few zeros are skipped faster than they are counted without an instruction for that */
    for (; !(*x >> 31); n++) {
        *x <<= 1;
    }
#endif
    return n;
}

/* Signed whole numbers of `bytes` (1, 2 or 4) bytes each. */
typedef struct {
    const void *numbers;
    size_t bytes;
} table;

/* Unsigned ones. */
typedef struct {
    const void *numbers;
    size_t bytes;
} unsigned_table;

/* Planes of values of 16 bits. */
#define MOST_PLANES 16

/* How the values between two layers lie in memory. */
typedef enum {
    PLANES, /* bit t of the code of value j is bit j of plane t */
    BYTES,  /* a signed byte each */
    PAIRS,  /* two bytes each, the lower first */
    PIXELS  /* an unsigned byte each, less `centre`, to be multiplied by `factor` */
} form;

typedef struct {
    form form_of;
    size_t count;
    size_t planes;       /* PLANES alone: their number */
    const int32_t *jumps; /* PLANES alone: what a bit of each plane adds to a value */
    int32_t least;       /* PLANES alone: the value of no bits */
    int32_t factor;      /* PIXELS alone */
    const uint8_t *centre; /* PIXELS, and planes of them: what is subtracted of each; or none */
    size_t room;         /* values that there is memory for; those behind the last one are 0 */
} values;

/* Where the inputs of a transform are put. */
typedef struct {
    unsigned_table places; /* of each input; no numbers: see below */
    uint32_t factors[2], offsets[2]; /* input t at f(f(t)): f(t) = u ^ u >> shift for u = factor * t + offset */
    uint32_t shift;                  /* 0: input t at place t */
} order;

/* How weights lie in memory, row after row. */
typedef enum {
    ROWS,      /* of each row a plane of the weights that are +1, then one of those that are not 0 */
    GAPS,      /* a byte for the zeros before each weight that is not 0, and a bit for its sign */
    INDICES,   /* of each row the columns of the weights that are +1, then of those that are -1 */
    RICE,      /* of each row from its last column on, Golomb-Rice codes of the zeros between weights, and of signs */
    BASE3,     /* twenty weights a number of 32 bits */
    TRANSFORMS /* orthogonal blocks, by what makes them */
} layout;

/* Cells that the pixels of an image are averaged over. A pixel is row_part by column_part units large, a cell row_cell
 * by column_cell. */
typedef struct {
    size_t rows;            /* of pixels */
    size_t cells;           /* in a row */
    uint32_t row_part, row_cell;
    uint32_t column_part, column_cell;
    uint32_t factor, shift; /* n / (row_cell * column_cell) is n * factor >> shift; factor 0: n is divided */
} pooling;

/* A layer. */
typedef struct {
    layout layout_of;
    values in;
    values out;
    table start;               /* of each neuron, what its sum starts from; no numbers: 0 */
    const int32_t *thresholds; /* ascending; none where each neuron has its own */
    size_t threshold_count;
    table lowest;              /* of each neuron that has its own thresholds, the lowest one */
    unsigned_table rises;      /* and how far each of the other threshold_count - 1 is above the one before */
    int32_t threshold_unit;    /* what these two are multiplied by */
    unsigned_table multipliers; /* of each neuron whose thresholds are spaced equally: it has reached as many as */
    table offsets;              /* (multiplier * sum + offset * unit) / 2^shift, rounded down, says */
    int32_t unit;
    uint32_t shift;
    table levels;              /* threshold_count + 1 levels, or their codes where `out` is PLANES */
    /* ROWS */
    const word *rows;
    int masked; /* whether there is the second plane; else no weight is 0 */
    /* GAPS */
    const uint8_t *gaps;  /* 255: 255 zeros, and go on */
    const uint8_t *signs; /* 1 where a weight is -1 */
    size_t gap_count;
    /* INDICES: a row has parts of as many columns as an index tells apart, from the first of which columns count */
    unsigned_table indices;
    unsigned_table counts; /* of each row and part, how many weights are +1, and how many -1 */
    /* RICE */
    const uint16_t *codes; /* highest bits first: zeros / 2^low_bits as so many bits 0, a bit 1, low bits, the sign */
    uint32_t low_bits;
    /* BASE3 */
    const uint32_t *trits; /* of weights w_i, the sum of (w_i + 1) 3^(19 - i) as a fraction of 3^20, rounded up */
    /* TRANSFORMS */
    size_t length;         /* of a transform, a power of two */
    size_t groups;         /* transforms that a block of groups * length rows is made of, a power of two */
    size_t number_bytes;   /* 2 or 4: of the numbers that are transformed in place */
    const uint16_t *flips; /* of each block and group a bit for each number: 1 where its sign changes */
    const uint16_t *swaps; /* of each block log2 groups bits for each number: the groups that it moves */
} layer;

/* The part of scores that the levels of one layer give: factor * weights * levels. */
typedef struct {
    values in;
    table weights; /* a row for each class */
    size_t classes;
    int32_t factor;
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

KERNEL uint32_t unsigned_at(unsigned_table t, size_t i)
{
    switch (t.bytes) {
    case 1:
        return ((const uint8_t *)t.numbers)[i];
    case 2:
        return ((const uint16_t *)t.numbers)[i];
    default:
        return ((const uint32_t *)t.numbers)[i];
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

/* Value i. */
KERNEL int32_t get(const values *v, const void *memory, size_t i)
{
    const unsigned char *bytes = (const unsigned char *)memory;
    int32_t value;
    size_t t;
    switch (v->form_of) {
    case PLANES:
        for (value = v->least, t = 0; t < v->planes; t++) {
            const word bits = ((const word *)memory)[t * WORDS(v->count) + i / WORD_BITS];
            value += v->jumps[t] * (int32_t)(bits >> i % WORD_BITS & 1);
        }
        return value;
    case PIXELS:
        return v->factor * (bytes[i] - (v->centre ? v->centre[i] : 0));
    case PAIRS:
        value = (int32_t)bytes[2 * i] | (int32_t)bytes[2 * i + 1] << 8;
        return value < 32768 ? value : value - 65536;
    default:
        return ((const signed char *)memory)[i];
    }
}

/* Set planes to 0, so that bits can be added to them, or other values from number `first` on. */
KERNEL void clear(const values *v, word *memory, size_t first)
{
    size_t i;
    if (v->form_of == PLANES) {
        for (i = 0; i < v->planes * WORDS(v->count); i++) {
            memory[i] = 0;
        }
        return;
    }
    for (i = first; i < v->room; i++) {
        put(v, memory, i, 0);
    }
}

/* The place of input t among v->room ones. */
KERNEL size_t place(const order *o, const values *v, size_t t)
{
    size_t i;
    if (o->places.numbers) {
        return unsigned_at(o->places, t);
    }
    for (i = 0; o->shift && i < 2; i++) {
        t = (o->factors[i] * (uint32_t)t + o->offsets[i]) & (v->room - 1);
        t ^= t >> o->shift;
    }
    return t;
}

/* Of a column of pixels, the sum of what lies in a row of cells: `top` of its first pixel, all of `whole` further ones,
 * and `bottom` of another one. */
KERNEL uint32_t column_sum(const pooling *p, const uint8_t *pixel, uint32_t top, size_t whole, uint32_t bottom)
{
    const size_t width = p->cells * p->column_cell / p->column_part;
    uint32_t sum = top * *pixel, between = 0;
    if (p->row_cell == p->row_part) {
        return sum;
    }
    for (; whole; whole--) {
        pixel += width;
        between += *pixel;
    }
    return sum + p->row_part * between + bottom * pixel[width];
}

/* What is read of a row of cells, and written: */
typedef struct {
    const uint8_t *pixel; /* of the next column */
    uint32_t column;      /* the last column's sum */
    uint32_t left;        /* how much of that is not in a cell yet */
    uint8_t *out;
} pooled_row;

/* Its next cell. */
KERNEL void pool_cell(const pooling *p, pooled_row *row, uint32_t top, size_t whole, uint32_t bottom)
{
    const uint32_t area = p->row_cell * p->column_cell, part = p->column_part;
    uint32_t missing = p->column_cell - row->left, sum = row->left * row->column, columns = 0;
    for (; missing >= part; missing -= part) {
        columns += column_sum(p, row->pixel++, top, whole, bottom);
    }
    sum += part * columns;
    row->left = 0;
    if (missing) {
        row->column = column_sum(p, row->pixel++, top, whole, bottom);
        row->left = part - missing;
        sum += missing * row->column;
    }
    *row->out++ = (uint8_t)(p->factor ? (sum * p->factor + area / 2 * p->factor) >> p->shift : (sum + area / 2) / area);
}

/* A row of cells, whose pixels begin in one row of these. */
KERNEL void pool_row(
    const pooling *p, const uint8_t *pixel, uint32_t top, size_t whole, uint32_t bottom, uint8_t *out)
{
    const uint8_t *const end = out + p->cells;
    pooled_row row;
    row.pixel = pixel;
    row.out = out;
    row.column = 0;
    while (row.out != end) {
        /* After as many cells as a pixel has parts, their borders are those of pixels again. So the compiler knows all
         * lengths. */
        row.left = 0;
        switch (p->column_part) {
        case 8:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 7:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 6:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 5:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 4:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 3:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 2:
            pool_cell(p, &row, top, whole, bottom); /* fall through */
        case 1:
            pool_cell(p, &row, top, whole, bottom);
            break;
        default:
            while (row.out != end) {
                pool_cell(p, &row, top, whole, bottom);
            }
        }
    }
}

/* Means of the pixels in cells, rounded, with halves up. */
KERNEL void pool_pixels(const uint8_t *input, const pooling *p, uint8_t *out)
{
    const uint32_t part = p->row_part, cell = p->row_cell;
    /* of a row of cells, the most rows of pixels that lie between its first and its last one */
    const uint32_t most = cell > 1 ? (cell - 2) / part : 0;
    const size_t width = p->cells * p->column_cell / p->column_part;
    uint32_t top = part; /* what is left of a row of pixels */
    size_t r;
    for (r = p->rows * part / cell; r; r--) {
        const size_t whole = most ? (cell - top - 1) / part : 0;
        const uint32_t bottom = cell - top - (uint32_t)whole * part;
        if (!whole) {
            pool_row(p, input, top, 0, bottom, out);
        } else if (most == 1) {
            pool_row(p, input, top, 1, bottom, out);
        } else {
            pool_row(p, input, top, whole, bottom, out);
        }
        out += p->cells;
        input += (whole + 1) * width;
        top = part - bottom;
        if (!top) {
            input += width;
            top = part;
        }
    }
}

#ifdef __arm__
/* The pixels as eight planes, in few bytes of code. */
KERNEL void take_pixels(const uint8_t *input, const values *v, word *out)
{
    size_t j;
    clear(v, out, 0);
    for (j = 0; j < v->count; j++) {
        put(v, out, j, input[j]);
    }
}
#else
/* Of the bits of eight bytes, bit t of byte r becomes bit r of byte t. */
KERNEL uint64_t transposed(uint64_t x)
{
    uint64_t t = (x ^ x >> 7) & 0x00aa00aa00aa00aau;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000cccc0000ccccu;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000f0f0f0f0u;
    return x ^ t ^ t << 28;
}

/* The pixels as eight planes. */
KERNEL void take_pixels(const uint8_t *input, const values *v, word *out)
{
    size_t j = 0, k, t;
    clear(v, out, 0);
#ifdef TOP_BITS
    for (; j + 64 <= v->count; j += 64) {
        pixels64 x = load_pixels(input + j);
        for (t = 8; t > 0; t--) {
            out[(t - 1) * WORDS(v->count) + j / 64] = TOP_BITS(x);
            x = twice_pixels(x);
        }
    }
#endif
    for (; j < v->count; j += 8) {
        const size_t left = v->count - j;
        uint64_t eight = 0;
        for (k = 0; k < 8 && k < left; k++) {
            eight |= (uint64_t)input[j + k] << 8 * k;
        }
        eight = transposed(eight);
        for (t = 0; t < 8; t++) {
            out[t * WORDS(v->count) + j / WORD_BITS] |= (word)(eight >> 8 * t & 255) << j % WORD_BITS;
        }
    }
}
#endif

/* The pixels at their places; 0 at others. */
KERNEL void place_pixels(const uint8_t *input, const order *o, const values *v, word *out)
{
    unsigned char *bytes = (unsigned char *)out;
    size_t j;
    clear(v, out, 0);
    for (j = 0; j < v->count; j++) {
        bytes[place(o, v, j)] = input[j];
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

/* (input - centre) * factor as whole numbers, at their places; each coordinate has its own factor if there are factors. */
KERNEL void take_rounded(
    const float *input, const float *centre, const float *factors, float factor, int32_t most, const order *o,
    const values *v, word *out)
{
    size_t j;
    clear(v, out, 0);
    for (j = 0; j < v->count; j++) {
        const float moved = input[j] - centre[j];
        const int32_t value = whole(moved * (factors ? factors[j] : factor), most);
        /* the code of a value is its distance from the least one */
        put(v, out, place(o, v, j), v->form_of == PLANES ? value + most : value);
    }
}
#endif

/* How many of its own thresholds the sum of neuron i has reached. */
KERNEL size_t reached_own(const layer *l, size_t i, int32_t sum)
{
    const size_t rises = l->threshold_count - 1;
    size_t k = 0;
    sum -= l->threshold_unit * number_at(l->lowest, i);
    while (sum >= 0) {
        if (++k > rises) {
            break;
        }
        sum -= l->threshold_unit * (int32_t)unsigned_at(l->rises, i * rises + k - 1);
    }
    return k;
}

/* The same where they are spaced equally. */
KERNEL size_t reached_spaced(const layer *l, size_t i, int32_t sum)
{
    const int32_t product = (int32_t)unsigned_at(l->multipliers, i) * sum + number_at(l->offsets, i) * l->unit;
    const size_t most = l->threshold_count, cell = product < 0 ? 0 : (size_t)((uint32_t)product >> l->shift);
    return cell < most ? cell : most;
}

/* How many thresholds the sum of neuron i has reached. */
KERNEL size_t cell_of(const layer *l, size_t i, int32_t sum)
{
    if (l->multipliers.numbers) {
        return reached_spaced(l, i, sum);
    }
    return l->lowest.numbers ? reached_own(l, i, sum) : reached(l->thresholds, l->threshold_count, sum);
}

/* Replace the sum of neuron i by its level. */
KERNEL void put_level(const layer *l, word *out, size_t i, int32_t sum)
{
    put(&l->out, out, i, number_at(l->levels, cell_of(l, i, sum)));
}

/* What the sum of neuron i starts from. */
KERNEL int32_t first(const layer *l, size_t i)
{
    return l->start.numbers && i < l->out.count ? number_at(l->start, i) : 0;
}

/* Of a neuron, whose weights are the planes `signs` and `mask`: its sum. AND, XOR and population counts. */
#if LANES > 1
KERNEL int32_t sum_of_planes(const layer *l, size_t i, const word *signs, const word *mask, const word *in)
{
    const size_t words = WORDS(l->in.count), step = MOST_COUNTS < words / LANES ? MOST_COUNTS * LANES : words;
    lanes total = same_lanes(0);
    size_t begin, w, t;
    for (begin = 0; begin < words; begin += step) {
        const size_t end = words - begin < step ? words : begin + step;
        lanes counts[MOST_PLANES];
        for (t = 0; t < l->in.planes; t++) {
            counts[t] = same_lanes(0);
        }
        for (w = begin; w + LANES <= end; w += LANES) {
            const lanes s = load_lanes(signs + w), k = l->masked ? load_lanes(mask + w) : same_lanes((word)-1);
            for (t = 0; t < l->in.planes; t++) {
                counts[t] = add_counts(counts[t], count_lanes(k, s, load_lanes(in + t * words + w)));
            }
        }
        if (w < end) {
            const size_t left = end - w;
            const lanes s = load_some(signs + w, left), k = l->masked ? load_some(mask + w, left) : same_lanes((word)-1);
            for (t = 0; t < l->in.planes; t++) {
                counts[t] = add_counts(counts[t], count_lanes(k, s, load_some(in + t * words + w, left)));
            }
        }
        for (t = 0; t < l->in.planes; t++) {
            total = add_lanes(total, times(whole_counts(counts[t]), l->in.jumps[t]));
        }
    }
    return first(l, i) - sum_lanes(total);
}
#else
KERNEL int32_t sum_of_planes(const layer *l, size_t i, const word *signs, const word *mask, const word *in)
{
    const size_t words = WORDS(l->in.count);
    int32_t counts[MOST_PLANES], sum = first(l, i);
    size_t t, w;
    for (t = 0; t < l->in.planes; t++) {
        counts[t] = 0;
    }
    for (w = 0; w < words; w++) {
        const word s = signs[w], k = l->masked ? mask[w] : (word)-1;
        for (t = 0; t < l->in.planes; t++) {
            counts[t] += (int32_t)POPCOUNT(k & (s ^ in[t * words + w]));
        }
    }
    for (t = 0; t < l->in.planes; t++) {
        sum -= l->in.jumps[t] * counts[t];
    }
    return sum;
}
#endif

/* A layer that reads planes. */
KERNEL void apply_planes(const layer *l, const word *in, word *out)
{
    const size_t words = WORDS(l->in.count);
    size_t i;
    for (i = 0; i < l->out.count; i++) {
        const word *signs = l->rows + i * words * (l->masked ? 2 : 1);
        put_level(l, out, i, sum_of_planes(l, i, signs, signs + words, in));
    }
}

/* A layer that reads numbers, by gaps: additions and subtractions for the weights that are not 0. */
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

/* A table from its number n on. */
KERNEL unsigned_table behind(unsigned_table t, size_t n)
{
    t.numbers = (const unsigned char *)t.numbers + n * t.bytes;
    return t;
}

/* Add `sign` times the values at n columns, and return what follows these. */
KERNEL unsigned_table add_up(
    const values *v, const void *in, unsigned_table indices, size_t n, int32_t sign, int32_t *sum)
{
#ifdef FEW_INSTRUCTIONS
    if (n & 1) {
        *sum += sign * get(v, in, unsigned_at(indices, 0));
        indices = behind(indices, 1);
    }
    if (n & 2) {
        *sum += sign * get(v, in, unsigned_at(indices, 0));
        *sum += sign * get(v, in, unsigned_at(indices, 1));
        indices = behind(indices, 2);
    }
    for (n >>= 2; n; n--) {
        *sum += sign * get(v, in, unsigned_at(indices, 0));
        *sum += sign * get(v, in, unsigned_at(indices, 1));
        *sum += sign * get(v, in, unsigned_at(indices, 2));
        *sum += sign * get(v, in, unsigned_at(indices, 3));
        indices = behind(indices, 4);
    }
    return indices;
#else
    /* a jump into a row of additions is the fastest way to few of them */
    unsigned_table next = behind(indices, n);
    /* else a compiler makes another one for each n */
    IN_REGISTER(next.numbers);
    for (;;) {
        switch (n) {
        case 15:
            *sum += sign * get(v, in, unsigned_at(indices, 14)); /* fall through */
        case 14:
            *sum += sign * get(v, in, unsigned_at(indices, 13)); /* fall through */
        case 13:
            *sum += sign * get(v, in, unsigned_at(indices, 12)); /* fall through */
        case 12:
            *sum += sign * get(v, in, unsigned_at(indices, 11)); /* fall through */
        case 11:
            *sum += sign * get(v, in, unsigned_at(indices, 10)); /* fall through */
        case 10:
            *sum += sign * get(v, in, unsigned_at(indices, 9)); /* fall through */
        case 9:
            *sum += sign * get(v, in, unsigned_at(indices, 8)); /* fall through */
        case 8:
            *sum += sign * get(v, in, unsigned_at(indices, 7)); /* fall through */
        case 7:
            *sum += sign * get(v, in, unsigned_at(indices, 6)); /* fall through */
        case 6:
            *sum += sign * get(v, in, unsigned_at(indices, 5)); /* fall through */
        case 5:
            *sum += sign * get(v, in, unsigned_at(indices, 4)); /* fall through */
        case 4:
            *sum += sign * get(v, in, unsigned_at(indices, 3)); /* fall through */
        case 3:
            *sum += sign * get(v, in, unsigned_at(indices, 2)); /* fall through */
        case 2:
            *sum += sign * get(v, in, unsigned_at(indices, 1)); /* fall through */
        case 1:
            *sum += sign * get(v, in, unsigned_at(indices, 0)); /* fall through */
        case 0:
            return next;
        default:
            *sum += sign * (get(v, in, unsigned_at(indices, 0)) + get(v, in, unsigned_at(indices, 1)));
            *sum += sign * (get(v, in, unsigned_at(indices, 2)) + get(v, in, unsigned_at(indices, 3)));
            indices = behind(indices, 4);
            n -= 4;
            /* else a compiler subtracts pointers to get n */
            IN_REGISTER(indices.numbers);
        }
    }
#endif
}

/* The same by columns: additions alone for all weights of one sign. */
KERNEL void apply_indices(const layer *l, const void *in, word *out)
{
    const uint32_t width = l->indices.bytes == 1 ? 256 : 65536; /* of a part */
    unsigned_table indices = l->indices;
    size_t i, part = 0;
    uint32_t column;
    for (i = 0; i < l->out.count; i++) {
        int32_t sum = first(l, i);
        for (column = 0; column < l->in.count; column += width) {
            values v = l->in;
            const void *read = (const unsigned char *)in + column * (v.form_of == PAIRS ? 2 : 1);
            v.centre = v.centre ? v.centre + column : v.centre;
            indices = add_up(&v, read, indices, unsigned_at(l->counts, part++), 1, &sum);
            indices = add_up(&v, read, indices, unsigned_at(l->counts, part++), -1, &sum);
        }
        put_level(l, out, i, sum);
    }
}

/* The same by Golomb-Rice codes, of rows from the last column to the first one. The highest ones of `bits` are the next
 * ones of the codes. Behind them a bit 1 marks their end, and all others are 0. */
KERNEL void apply_rice(const layer *l, const void *in, word *out)
{
    const uint32_t low_bits = l->low_bits;
    const uint16_t *codes = l->codes;
    uint32_t bits = (uint32_t)1 << 31;
    int32_t sum = first(l, 0), column = (int32_t)l->in.count - 1;
    size_t i = 0;
    for (;;) {
        uint32_t code = bits;
        column -= (int32_t)(skip_zeros(&code) << low_bits);
        bits = code << 1 << low_bits << 1;
        if (UNLIKELY(!bits)) {
            /* the code goes on in the next 16 bits, which take the mark's place */
            const uint32_t mark = code & (0 - code);
            bits = code + (mark >> 16) * (2 * (uint32_t)*codes++ + 1 - 65536u);
            continue;
        }
        column -= (int32_t)(code << 1 >> 1 >> (31 - low_bits));
        while (UNLIKELY(column < 0)) {
            put_level(l, out, i++, sum);
            if (i == l->out.count) {
                return;
            }
            sum = first(l, i);
            column += (int32_t)l->in.count;
        }
        sum += get(&l->in, in, (size_t)column) * (-(int32_t)(code >> (30 - low_bits) & 1) | 1);
        column--;
    }
}

/* The next digit in base 3, and the value by it. */
KERNEL uint32_t times_digit(uint32_t *fraction, int32_t value)
{
    uint32_t base = 3;
    uint64_t moved;
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB >= 2
    /* one instruction, in place of additions with carry */
    IN_REGISTER(base);
#endif
    moved = (uint64_t)*fraction * base;
    *fraction = (uint32_t)moved;
    return (uint32_t)(moved >> 32) * (uint32_t)value;
}

/* The same by numbers of twenty weights: the digits of w + 1 in base 3 are carries of multiplications by 3. */
KERNEL void apply_trits(const layer *l, const void *in, word *out)
{
    const size_t inputs = l->in.count;
    const uint32_t *trits = l->trits;
    uint32_t all = 0, fraction = 0;
    size_t i, j, left = 0;
    for (j = 0; j < inputs; j++) {
        all += (uint32_t)get(&l->in, in, j);
    }
    for (i = 0; i < l->out.count; i++) {
        uint32_t sum = (uint32_t)first(l, i) - all;
        for (j = 0; j < inputs;) {
            size_t n;
            if (!left) {
                fraction = *trits++;
                left = 20;
            }
            n = inputs - j < left ? inputs - j : left;
            left -= n;
            for (; n >= 4; n -= 4, j += 4) {
                sum += times_digit(&fraction, get(&l->in, in, j));
                sum += times_digit(&fraction, get(&l->in, in, j + 1));
                sum += times_digit(&fraction, get(&l->in, in, j + 2));
                sum += times_digit(&fraction, get(&l->in, in, j + 3));
            }
            for (; n; n--, j++) {
                sum += times_digit(&fraction, get(&l->in, in, j));
            }
        }
        put_level(l, out, i, (int32_t)sum);
    }
}

/* Numbers of 2 or 4 bytes. A sum that is stored in 2 bytes fits them: the network's tables see to that. */
KERNEL int32_t load(const void *numbers, size_t bytes, size_t i)
{
    return bytes == 2 ? ((const number16 *)numbers)[i] : ((const number32 *)numbers)[i];
}

KERNEL int32_t narrowed(size_t bytes, int32_t value)
{
    /* says to compilers that a sum needs no more bits */
    return bytes == 2 ? (int16_t)value : value;
}

KERNEL void store(void *numbers, size_t bytes, size_t i, int32_t value)
{
    if (bytes == 2) {
        ((number16 *)numbers)[i] = (int16_t)value;
    } else {
        ((number32 *)numbers)[i] = value;
    }
}

/* Sums and differences of numbers `stride` apart, and of these again if 4 * stride <= end. */
KERNEL void butterflies(void *numbers, size_t bytes, size_t length, size_t stride, size_t end)
{
    size_t i, j;
    if (4 * stride <= end) {
        for (i = 0; i < length; i += 4 * stride) {
            for (j = i; j < i + stride; j++) {
                const int32_t a = load(numbers, bytes, j), b = load(numbers, bytes, j + stride);
                const int32_t c = load(numbers, bytes, j + 2 * stride), d = load(numbers, bytes, j + 3 * stride);
                const int32_t ab = narrowed(bytes, a + b), cd = narrowed(bytes, c + d);
                const int32_t a_b = narrowed(bytes, a - b), c_d = narrowed(bytes, c - d);
                store(numbers, bytes, j, ab + cd);
                store(numbers, bytes, j + stride, a_b + c_d);
                store(numbers, bytes, j + 2 * stride, ab - cd);
                store(numbers, bytes, j + 3 * stride, a_b - c_d);
            }
        }
    } else if (2 * stride <= end) {
        for (i = 0; i < length; i += 2 * stride) {
            for (j = i; j < i + stride; j++) {
                const int32_t a = load(numbers, bytes, j), b = load(numbers, bytes, j + stride);
                store(numbers, bytes, j, a + b);
                store(numbers, bytes, j + stride, a - b);
            }
        }
    }
}

/* Walsh-Hadamard transforms in place of each `end` of `length` numbers, powers of two. */
KERNEL void transform(void *numbers, size_t bytes, size_t length, size_t end)
{
    size_t stride;
    /* vectors are made of loops of constant strides */
    butterflies(numbers, bytes, length, 1, end);
    butterflies(numbers, bytes, length, 4, end);
    butterflies(numbers, bytes, length, 16, end);
    butterflies(numbers, bytes, length, 64, end);
    for (stride = 256; stride < end; stride *= 4) {
        butterflies(numbers, bytes, length, stride, end);
    }
}

SHARED void transform16(void *numbers, size_t length, size_t end)
{
    transform(numbers, 2, length, end);
}

SHARED void transform32(void *numbers, size_t length, size_t end)
{
    transform(numbers, 4, length, end);
}

/* Bit number k of a 16th of a row of bits, -1 where it is set: bit i of the row is bit i / words of word i % words. */
KERNEL int32_t mask(const uint16_t *words, size_t j, size_t k)
{
    return -(words[j] >> k & 1);
}

/* Take numbers i = k * words + j of a group, change their signs, and add or store them at i modulo `folded`. */
KERNEL void take_part(
    const layer *l, const void *APART in, const uint16_t *APART flips, const uint16_t *APART swaps, size_t group,
    size_t k, size_t begin, size_t end, size_t folded, void *APART sums)
{
    const size_t length = l->length, words = (length + 15) / 16, first = k * words;
    const size_t to = (first + begin) & (folded - 1), other = group ^ 1;
    size_t j, t;
    for (j = begin; j < end; j++) {
        const int32_t flip = mask(flips, j, k);
        int32_t value;
        if (l->groups <= 2) {
            value = get(&l->in, in, group * length + first + j);
            if (l->groups == 2) {
                value ^= (value ^ get(&l->in, in, other * length + first + j)) & mask(swaps, j, k);
            }
        } else {
            size_t taken = group;
            for (t = 0; (size_t)1 << t < l->groups; t++) {
                taken ^= (size_t)(swaps[t * words + j] >> k & 1) << t;
            }
            value = get(&l->in, in, taken * length + first + j);
        }
        value = (value ^ flip) - flip;
        if (first + begin >= folded) {
            value += load(sums, l->number_bytes, to + j - begin);
        }
        store(sums, l->number_bytes, to + j - begin, value);
    }
}

/* The inputs of a group of a block. The first rows of a Hadamard matrix repeat: numbers `folded` apart are added. */
KERNEL void take_group(const layer *l, const void *in, size_t block, size_t group, size_t folded, void *sums)
{
    const size_t words = (l->length + 15) / 16, part = words < folded ? words : folded;
    const uint16_t *flips = l->flips + (block * l->groups + group) * words, *swaps = l->swaps;
    size_t k, begin, t;
    for (t = 1; t < l->groups; t *= 2) {
        swaps += block * words;
    }
    for (k = 0; k * words < l->length; k++) {
        for (begin = 0; begin < words; begin += part) {
            take_part(l, in, flips, swaps, group, k, begin, begin + part, folded, sums);
        }
    }
}

/* The level of the sum of neuron i. A few comparisons without a branch or a look-up are done on many sums at a time. */
KERNEL int32_t level_of(const layer *l, size_t i, int32_t sum)
{
    int32_t level = number_at(l->levels, 0);
    size_t k;
    if (l->lowest.numbers || l->multipliers.numbers) {
        return number_at(l->levels, cell_of(l, i, sum));
    }
    if (l->threshold_count > 16) {
        return number_at(l->levels, reached(l->thresholds, l->threshold_count, sum));
    }
    for (k = 0; k < l->threshold_count; k++) {
        const int32_t jump = number_at(l->levels, k + 1) - number_at(l->levels, k);
        level += jump & -(int32_t)(sum >= l->thresholds[k]);
    }
    return level;
}

/* The last one or two steps of a transform for the rows of quarter (or half) number q, and their levels. */
KERNEL void put_rows(
    const layer *l, const void *APART sums, size_t folded, size_t q, size_t rows, size_t first_row, word *APART out)
{
    const size_t bytes = l->number_bytes, part = folded >= 4 ? folded / 4 : 1;
    const size_t left = rows > q * part ? rows - q * part : 0, count = left < part ? left : part;
    size_t j;
    for (j = 0; j < count; j++) {
        const size_t i = first_row + q * part + j;
        int32_t sum = load(sums, bytes, j);
        if (folded >= 2) {
            const int32_t b = load(sums, bytes, j + part);
            sum += q & 1 ? -b : b;
        }
        if (folded >= 4) {
            const int32_t c = load(sums, bytes, j + 2 * part), d = load(sums, bytes, j + 3 * part);
            sum += (q & 2 ? -c : c) + (q == 1 || q == 2 ? -d : d);
        }
        put(&l->out, out, i, level_of(l, i, sum + (l->start.numbers ? number_at(l->start, i) : 0)));
    }
}

/* A layer of orthogonal blocks: a transform for each group of each block, one at a time. */
KERNEL void apply_transforms(const layer *l, const void *in, void *sums, word *out)
{
    const size_t size = l->length * l->groups;
    size_t block, group, done = 0;
    for (block = 0; done < l->out.count; block++) {
        const size_t left = l->out.count - done, block_rows = left < size ? left : size;
        size_t folded = l->length;
        while (folded / 2 * l->groups >= block_rows) {
            folded /= 2;
        }
        for (group = 0; group < l->groups; group++) {
            /* groups give equally many rows, the first ones one more */
            const size_t rows = (block_rows - group + l->groups - 1) / l->groups;
            take_group(l, in, block, group, folded, sums);
            (l->number_bytes == 2 ? transform16 : transform32)(sums, folded, folded / 4);
            put_rows(l, sums, folded, 0, rows, done, out);
            put_rows(l, sums, folded, 1, rows, done, out);
            put_rows(l, sums, folded, 2, rows, done, out);
            put_rows(l, sums, folded, 3, rows, done, out);
            done += rows;
        }
    }
}

/* Apply a layer. Transforms need memory for `length` numbers. */
KERNEL void apply(const layer *l, const void *in, void *sums, word *out)
{
    clear(&l->out, out, l->out.count);
    /* addresses are sums of two registers then, and not of three numbers */
    IN_REGISTER(in);
    switch (l->layout_of) {
    case ROWS:
        apply_planes(l, (const word *)in, out);
        break;
    case GAPS:
        apply_gaps(l, in, out);
        break;
    case INDICES:
        apply_indices(l, in, out);
        break;
    case RICE:
        apply_rice(l, in, out);
        break;
    case BASE3:
        apply_trits(l, in, out);
        break;
    case TRANSFORMS:
        apply_transforms(l, in, sums, out);
        break;
    }
}

/* What the levels of a layer add to the score of class c. */
KERNEL int32_t score(const linear *r, const void *in, size_t c)
{
    int32_t sum = 0;
    size_t j;
    FOUR_AT_A_TIME
    for (j = 0; j < r->in.count; j++) {
        sum += number_at(r->weights, c * r->in.count + j) * get(&r->in, in, j);
    }
    return r->factor * sum;
}

KERNEL void add_scores(const linear *r, const void *in, number32 *scores)
{
    size_t c;
    for (c = 0; c < r->classes; c++) {
        scores[c] += score(r, in, c);
    }
}

/* The index of the largest score, the first of equals; of scores that are the levels' of one layer plus offsets. */
KERNEL int best_class(const linear *r, const int32_t *offset, const void *in)
{
    int32_t most = 0;
    size_t c, best = 0;
    for (c = 0; c < r->classes; c++) {
        const int32_t next = offset[c] + score(r, in, c);
        if (c == 0 || next > most) {
            most = next;
            best = c;
        }
    }
    return (int)best;
}

/* The same of scores that are computed. */
KERNEL int largest(const number32 *scores, size_t classes)
{
    size_t c, best = 0;
    for (c = 1; c < classes; c++) {
        if (scores[c] > scores[best]) {
            best = c;
        }
    }
    return (int)best;
}

#endif
