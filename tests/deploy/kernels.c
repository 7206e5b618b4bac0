/* Checks hntk_kernels.h against direct computations. C99 and C++11; WORD_BITS and FLOAT_INPUT come from the compiler. */
#include "hntk_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUTS 130
#define OUTPUTS 9
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

static int failures = 0;
static uint64_t state = 88172645463325252u;

/* xorshift64 */
static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int32_t draw_below(uint64_t n)
{
    return (int32_t)((draw() >> 20) % n);
}

static values values_of(form form_of, size_t count)
{
    values v = {BYTES, 0, 0, NULL, 0, 1, NULL, 0};
    v.form_of = form_of;
    v.count = v.room = count;
    return v;
}

static void check_population_counts(void)
{
    int i, b;
    for (i = 0; i < 2000; i++) {
        const word x = i == 0 ? 0 : i == 1 ? (word)-1 : (word)draw();
        int bits = 0;
        for (b = 0; b < WORD_BITS; b++) {
            bits += (int)(x >> b & 1);
        }
        CHECK(POPCOUNT(x) == bits);
    }
}

static void check_tables(void)
{
    const int8_t small[2] = {-128, 127};
    const int16_t medium[2] = {-32768, 32767};
    const int32_t large[2] = {-2147483647 - 1, 2147483647};
    const table tables[3] = {{small, sizeof small[0]}, {medium, sizeof medium[0]}, {large, sizeof large[0]}};
    size_t i;
    for (i = 0; i < 2; i++) {
        CHECK(number_at(tables[0], i) == small[i]);
        CHECK(number_at(tables[1], i) == medium[i]);
        CHECK(number_at(tables[2], i) == large[i]);
    }
}

static void check_thresholds(void)
{
    int32_t thresholds[40];
    size_t n, k;
    for (n = 0; n <= 40; n++) {
        int32_t sum;
        for (k = 0; k < n; k++) {
            /* some are equal */
            thresholds[k] = (k ? thresholds[k - 1] : -30) + draw_below(3);
        }
        for (sum = -40; sum < 80; sum++) {
            size_t expected = 0;
            while (expected < n && thresholds[expected] <= sum) {
                expected++;
            }
            CHECK(reached(thresholds, n, sum) == expected);
        }
    }
}

static void check_storage(void)
{
    const uint8_t centre[8] = {0, 255, 1, 254};
    const int32_t jumps[16] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    const values bytes = values_of(BYTES, 8), pairs = values_of(PAIRS, 8);
    values pixels = values_of(PIXELS, 8), planes = values_of(PLANES, 100);
    word memory[16 * WORDS(100)];
    uint8_t input[16] = {0, 255};
    int32_t v;
    size_t i, t;
    for (v = -32768; v < 32768; v++) {
        put(&pairs, memory, 3, v);
        CHECK(get(&pairs, memory, 3) == v);
    }
    put(&bytes, memory, 0, 11);
    put(&bytes, memory, 2, 13);
    for (v = -128; v < 128; v++) {
        put(&bytes, memory, 1, v);
        CHECK(get(&bytes, memory, 1) == v);
    }
    CHECK(get(&bytes, memory, 0) == 11 && get(&bytes, memory, 2) == 13);
    pixels.factor = 16;
    CHECK(get(&pixels, input, 0) == 0 && get(&pixels, input, 1) == 16 * 255);
    pixels.centre = centre;
    CHECK(get(&pixels, input, 0) == 0 && get(&pixels, input, 1) == 0);
    CHECK(get(&pixels, input, 2) == -16 && get(&pixels, input, 3) == -16 * 254);
    clear(&bytes, memory, 6);
    CHECK(get(&bytes, memory, 2) == 13 && get(&bytes, memory, 6) == 0 && get(&bytes, memory, 7) == 0);
    planes.planes = 16;
    planes.jumps = jumps;
    planes.least = -77;
    clear(&planes, memory, 0);
    for (i = 0; i < 100; i++) {
        put(&planes, memory, i, (int32_t)(i * 655));
    }
    for (i = 0; i < 100; i++) {
        uint32_t code = 0;
        for (t = 0; t < 16; t++) {
            code |= (uint32_t)(memory[t * WORDS(100) + i / WORD_BITS] >> i % WORD_BITS & 1) << t;
        }
        CHECK(code == i * 655);
        CHECK(get(&planes, memory, i) == (int32_t)code - 77);
    }
}

static void check_places(void)
{
    const uint8_t few[3] = {2, 0, 1};
    const uint16_t many[3] = {300, 0, 511};
    const uint32_t most[3] = {70000, 0, 1};
    const order none = {{NULL, 0}, {0, 0}, {0, 0}, 0}, one = {{few, 1}, {0, 0}, {0, 0}, 0};
    const order two = {{many, 2}, {0, 0}, {0, 0}, 0}, four = {{most, 4}, {0, 0}, {0, 0}, 0};
    const order made = {{NULL, 0}, {77, 501}, {3, 1000}, 5};
    values v = values_of(BYTES, 1024);
    size_t t;
    uint8_t found[1024] = {0};
    v.room = 1024;
    CHECK(place(&none, &v, 7) == 7 && place(&one, &v, 0) == 2 && place(&two, &v, 2) == 511);
    CHECK(place(&four, &v, 0) == 70000);
    for (t = 0; t < 1024; t++) {
        size_t p = (77 * t + 3) % 1024;
        p ^= p / 32;
        p = (501 * p + 1000) % 1024;
        p ^= p / 32;
        CHECK(place(&made, &v, t) == p);
        found[p] = 1;
    }
    for (t = 0; t < 1024; t++) {
        CHECK(found[t]);
    }
}

/* Transforms of every length and width against sums of entries (-1)^(ones of i & j). */
static void check_transforms(void)
{
    static number16 small[1024];
    static number32 large[1024];
    static int32_t given[1024];
    size_t length, end, i, j, t;
    for (length = 1; length <= 1024; length *= 2) {
        for (end = 1; end <= length; end *= 2) {
            for (i = 0; i < length; i++) {
                given[i] = draw_below(63) - 31;
                small[i] = (int16_t)given[i];
                large[i] = given[i] * 1000;
            }
            transform16(small, length, end);
            transform32(large, length, end);
            for (i = 0; i < length; i++) {
                int32_t sum = 0;
                for (j = 0; j < end; j++) {
                    int odd = 0;
                    for (t = 1; t < end; t *= 2) {
                        odd ^= (i & t) && (j & t);
                    }
                    sum += odd ? -given[i / end * end + j] : given[i / end * end + j];
                }
                CHECK(small[i] == sum);
                CHECK(large[i] == 1000 * sum);
            }
        }
    }
}

#ifdef FLOAT_INPUT
static void check_rounding(void)
{
    int i;
    for (i = 0; i < 20000; i++) {
        /* every other one is a half */
        const float x = i % 2 ? (float)(draw_below(400) - 200) / 2 : (float)draw_below(1 << 24) / 65536 - 128;
        const float expected = rintf(x);
        CHECK((float)whole(x, 90) == (expected > 90 ? 90 : expected < -90 ? -90 : expected));
    }
    CHECK(whole(INFINITY, 32767) == 32767 && whole(-INFINITY, 32767) == -32767 && whole(NAN, 127) == -127);
}
#endif

/* Weights of a layer as numbers, and in every layout. */
static int32_t weights[OUTPUTS][INPUTS];
static word rows[OUTPUTS * 2 * WORDS(INPUTS)];
static uint8_t gaps[OUTPUTS * INPUTS], signs[OUTPUTS * INPUTS], indices[OUTPUTS * INPUTS], counts[2 * OUTPUTS];
static uint16_t codes[OUTPUTS * INPUTS], wide_indices[OUTPUTS * INPUTS];
static uint32_t trits[(OUTPUTS * INPUTS + 19) / 20];
static size_t bit_count;

static void put_bit(int bit)
{
    if (bit_count % 16 == 0) {
        codes[bit_count / 16] = 0;
    }
    codes[bit_count / 16] = (uint16_t)(codes[bit_count / 16] | bit << (15 - bit_count % 16));
    bit_count++;
}

static void put_code(size_t gap, uint32_t low_bits, int negative)
{
    size_t t;
    for (t = 0; t < gap >> low_bits; t++) {
        put_bit(0);
    }
    put_bit(1);
    for (t = low_bits; t; t--) {
        put_bit(gap >> (t - 1) & 1);
    }
    put_bit(negative);
}

static void draw_weights(int zeros_in_ten)
{
    size_t i, j;
    for (i = 0; i < OUTPUTS; i++) {
        for (j = 0; j < INPUTS; j++) {
            weights[i][j] = draw_below(10) < zeros_in_ten ? 0 : draw_below(2) ? 1 : -1;
        }
    }
}

static size_t fill_rows_and_gaps(void)
{
    size_t i, j, gap_count = 0, weight = 0;
    int gap = 0;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rows[i] = 0;
    }
    for (i = 0; i < sizeof signs; i++) {
        signs[i] = 0;
    }
    for (i = 0; i < OUTPUTS; i++) {
        word *row = rows + i * 2 * WORDS(INPUTS);
        for (j = 0; j < INPUTS; j++) {
            const int32_t w = weights[i][j];
            row[j / WORD_BITS] |= (word)(w > 0) << j % WORD_BITS;
            row[WORDS(INPUTS) + j / WORD_BITS] |= (word)(w != 0) << j % WORD_BITS;
            if (w == 0) {
                if (++gap == 255) {
                    gaps[gap_count++] = 255;
                    gap = 0;
                }
                continue;
            }
            gaps[gap_count++] = (uint8_t)gap;
            signs[weight / 8] = (uint8_t)(signs[weight / 8] | (w < 0) << weight % 8);
            weight++;
            gap = 0;
        }
    }
    return gap_count;
}

/* Fill indices, codes and trits. */
static void fill_others(uint32_t low_bits)
{
    size_t i, j, gap = 0, index = 0;
    int32_t sign;
    bit_count = 0;
    for (i = 0; i < OUTPUTS; i++) {
        for (sign = 1; sign >= -1; sign -= 2) {
            const size_t before = index;
            for (j = 0; j < INPUTS; j++) {
                if (weights[i][j] == sign) {
                    wide_indices[index] = (uint16_t)j;
                    indices[index++] = (uint8_t)j;
                }
            }
            counts[2 * i + (sign < 0)] = (uint8_t)(index - before);
        }
        /* from the last column to the first one */
        for (j = INPUTS; j; j--) {
            const int32_t w = weights[i][j - 1];
            if (w == 0) {
                gap++;
                continue;
            }
            put_code(gap, low_bits, w < 0);
            gap = 0;
        }
    }
    put_code(gap, low_bits, 0);
    for (i = 0; i < sizeof trits / sizeof trits[0]; i++) {
        uint64_t number = 0;
        for (j = 20 * i; j < 20 * i + 20; j++) {
            number = 3 * number + (j < OUTPUTS * INPUTS ? (uint64_t)(weights[j / INPUTS][j % INPUTS] + 1) : 0);
        }
        trits[i] = (uint32_t)(((number << 32) + 3486784400u) / 3486784401u);
    }
}

static const layer empty = {ROWS, {BYTES, 0, 0, NULL, 0, 1, NULL, 0}, {BYTES, 0, 0, NULL, 0, 1, NULL, 0}, {NULL, 0},
                            NULL, 0, {NULL, 0}, {NULL, 0}, 1, {NULL, 0}, {NULL, 0}, 1, 0, {NULL, 0}, NULL, 0, NULL,
                            NULL, 0, {NULL, 0}, {NULL, 0}, NULL, 0, NULL, 0, 0, 0, NULL, NULL};

/* Equally spaced thresholds against a division that rounds down. */
static void check_spaced_thresholds(void)
{
    const uint8_t multipliers[2] = {3, 200};
    const int16_t offsets[2] = {-50, 40};
    layer l = empty;
    int32_t i, sum;
    l.multipliers.numbers = multipliers;
    l.multipliers.bytes = 1;
    l.offsets.numbers = offsets;
    l.offsets.bytes = 2;
    l.unit = 4;
    l.shift = 5;
    l.threshold_count = 7;
    for (i = 0; i < 2; i++) {
        for (sum = -300; sum <= 300; sum++) {
            const int32_t product = multipliers[i] * sum + 4 * offsets[i];
            const int32_t cell = product < 0 ? 0 : product / 32;
            CHECK(cell_of(&l, (size_t)i, sum) == (size_t)(cell < 7 ? cell : 7));
        }
    }
}

static void check_layers(int zeros_in_ten)
{
    const int32_t jumps[3] = {1, 2, 4}, thresholds[3] = {-20, 0, 15}, bias[OUTPUTS] = {3, -7, 0, 1, 2, 9, -9, 4, 5};
    const int8_t levels[4] = {-50, -3, 7, 100};
    const values planes = {PLANES, INPUTS, 3, jumps, 0, 1, NULL, INPUTS}, numbers = values_of(BYTES, INPUTS);
    const values out = values_of(BYTES, OUTPUTS);
    int32_t start[OUTPUTS], expected[OUTPUTS];
    int16_t lowest[OUTPUTS];
    uint8_t rises[2 * OUTPUTS];
    word as_planes[3 * WORDS(INPUTS)], as_numbers[(INPUTS + 7) / 8 * 8 / sizeof(word)], found[2 * WORDS(64)];
    layer made[7];
    size_t i, j, k;
    draw_weights(zeros_in_ten);
    clear(&planes, as_planes, 0);
    for (i = 0; i < OUTPUTS; i++) {
        start[i] = expected[i] = bias[i];
    }
    for (j = 0; j < INPUTS; j++) {
        const int32_t v = draw_below(8);
        put(&planes, as_planes, j, v);
        put(&numbers, as_numbers, j, v);
        for (i = 0; i < OUTPUTS; i++) {
            expected[i] += weights[i][j] * v;
            start[i] += 7 * (weights[i][j] > 0);
        }
    }
    for (k = 0; k < 7; k++) {
        made[k] = empty;
        made[k].in = numbers;
        made[k].out = out;
        made[k].start.numbers = bias;
        made[k].start.bytes = made[k].rises.bytes = made[k].counts.bytes = made[k].levels.bytes = 1;
        made[k].start.bytes = 4;
        made[k].thresholds = thresholds;
        made[k].threshold_count = 3;
        made[k].levels.numbers = levels;
        made[k].counts.numbers = counts;
        made[k].indices.numbers = indices;
        made[k].indices.bytes = 1;
        made[k].codes = codes;
        made[k].low_bits = (uint32_t)zeros_in_ten % 6;
        made[k].trits = trits;
    }
    made[0].in = planes;
    made[0].start.numbers = start;
    made[0].rows = rows;
    made[0].masked = 1;
    made[1].layout_of = GAPS;
    made[1].gaps = gaps;
    made[1].signs = signs;
    made[1].gap_count = fill_rows_and_gaps();
    fill_others(made[1].low_bits);
    made[2].layout_of = INDICES;
    made[3].layout_of = RICE;
    made[4].layout_of = BASE3;
    made[6].layout_of = INDICES;
    made[6].indices.numbers = wide_indices;
    made[6].indices.bytes = 2;
    /* thresholds less the bias */
    made[5].layout_of = INDICES;
    made[5].start.numbers = NULL;
    made[5].lowest.numbers = lowest;
    made[5].lowest.bytes = 2;
    made[5].rises.numbers = rises;
    made[5].threshold_unit = (zeros_in_ten & 1) ? 1 : 5;
    if (zeros_in_ten & 1) {
        for (i = 0; i < OUTPUTS; i++) {
            lowest[i] = (int16_t)(-20 - bias[i]);
            rises[2 * i] = 20;
            rises[2 * i + 1] = 15;
        }
    } else {
        made[5].start.numbers = bias;
        for (i = 0; i < OUTPUTS; i++) {
            lowest[i] = -4;
            rises[2 * i] = 4;
            rises[2 * i + 1] = 3;
        }
    }
    for (k = 0; k < 7; k++) {
        apply(&made[k], k ? as_numbers : as_planes, NULL, found);
        for (i = 0; i < OUTPUTS; i++) {
            const int32_t level = levels[(expected[i] >= -20) + (expected[i] >= 0) + (expected[i] >= 15)];
            CHECK(get(&out, found, i) == level);
        }
    }
}

#define MOST_PIXELS 784

/* The number of parts that a pixel, or a cell, has on an axis, so that cells are made of whole ones. */
static uint32_t parts(size_t others, size_t own)
{
    size_t a = others, b = own;
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return (uint32_t)(others / a);
}

/* Means of cells against those of every pixel cut into so many equal parts that cells are made of whole ones. */
SHARED void check_means(
    size_t height, size_t width, size_t rows_of_cells, size_t cells, uint32_t factor, uint32_t shift)
{
    const uint32_t row_part = parts(rows_of_cells, height), row_cell = parts(height, rows_of_cells);
    const uint32_t column_part = parts(cells, width), column_cell = parts(width, cells), area = row_cell * column_cell;
    const pooling p = {height, cells, row_part, row_cell, column_part, column_cell, factor, shift};
    /* no more than the image, so that what is read behind it is noticed */
    uint8_t *image = (uint8_t *)malloc(height * width), found[MOST_PIXELS];
    int turn;
    for (turn = 0; turn < 20; turn++) {
        size_t i, r, c;
        for (i = 0; i < height * width; i++) {
            image[i] = (uint8_t)(turn < 2 ? 255 * turn : turn & 1 ? draw_below(256) : 255 * draw_below(2));
        }
        pool_pixels(image, &p, found);
        for (i = 0; i < rows_of_cells * cells; i++) {
            uint32_t sum = 0;
            for (r = 0; r < row_cell; r++) {
                for (c = 0; c < column_cell; c++) {
                    const size_t row = (i / cells * row_cell + r) / row_part;
                    sum += image[row * width + (i % cells * column_cell + c) / column_part];
                }
            }
            CHECK(found[i] == (2 * sum + area) / (2 * area));
        }
    }
    free(image);
}

static void check_pooling(void)
{
    size_t rows_of_cells, cells;
    check_means(7, 6, 3, 4, 3121, 16);
    check_means(28, 28, 20, 20, 2675, 17);
    check_means(28, 28, 16, 16, 2675, 17);
    check_means(28, 28, 14, 14, 1, 2);
    /* every number of parts, and of rows between the first one of a cell and the last one */
    for (rows_of_cells = 1; rows_of_cells <= 11; rows_of_cells++) {
        for (cells = 1; cells <= 13; cells++) {
            check_means(11, 13, rows_of_cells, cells, 0, 0);
        }
    }
    check_means(1, 28, 1, 18, 0, 0);
    check_means(28, 1, 12, 1, 0, 0);
}

/* Numbers without a sign, and zeros above the highest bit. */
static void check_small_parts(void)
{
    const uint16_t counted[3] = {0, 65535, 7};
    const unsigned_table t = {counted, 2};
    uint32_t i, x;
    CHECK(unsigned_at(t, 0) == 0 && unsigned_at(t, 1) == 65535 && unsigned_at(t, 2) == 7);
    for (i = 0, x = 0xa5c3965au; i < 32; i++) {
        const uint32_t shifted = x >> i | 1;
        uint32_t given = shifted;
        CHECK(skip_zeros(&given) == i && given == shifted << i);
    }
}

static void check_scores(void)
{
    const int8_t numbers[6] = {1, 2, 3, -1, 3, -1};
    const int32_t offset[3] = {-6, 0, 0};
    const values two = values_of(BYTES, 2);
    const linear readout = {two, {numbers, 1}, 3, 1}, doubled = {two, {numbers, 1}, 3, 2};
    number32 scores[3] = {0, 3, 3};
    word memory[2];
    put(&two, memory, 0, 5);
    put(&two, memory, 1, -4);
    CHECK(score(&readout, memory, 0) == -3);
    CHECK(score(&readout, memory, 1) == 19);
    CHECK(score(&doubled, memory, 2) == 38);
    CHECK(best_class(&readout, offset, memory) == 1);
    add_scores(&doubled, memory, scores);
    CHECK(scores[0] == -6 && scores[1] == 41 && scores[2] == 41);
    CHECK(largest(scores, 3) == 1);
}

int main(void)
{
    int zeros_in_ten;
    check_population_counts();
    check_tables();
    check_small_parts();
    check_pooling();
    check_thresholds();
    check_spaced_thresholds();
    check_storage();
    check_places();
    check_transforms();
#ifdef FLOAT_INPUT
    check_rounding();
#endif
    for (zeros_in_ten = 0; zeros_in_ten <= 10; zeros_in_ten++) {
        check_layers(zeros_in_ten);
    }
    check_scores();
    return failures > 0;
}
