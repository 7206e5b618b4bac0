/* Checks hntk_kernels.h against direct computations. C99 and C++11; WORD_BITS and FLOAT_INPUT come from the compiler. */
#include "hntk_kernels.h"

#include <math.h>
#include <stdio.h>

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
    const values bytes = {BYTES, 8, 0, NULL, 0}, pairs = {PAIRS, 8, 0, NULL, 0}, pixels = {PIXELS, 8, 0, NULL, 16};
    const values planes = {PLANES, 100, 16, NULL, 0};
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
    CHECK(get(&pixels, input, 0) == 0 && get(&pixels, input, 1) == 16 * 255);
    clear(&planes, memory);
    for (i = 0; i < 100; i++) {
        put(&planes, memory, i, (int32_t)(i * 655));
    }
    for (i = 0; i < 100; i++) {
        uint32_t code = 0;
        for (t = 0; t < 16; t++) {
            code |= (uint32_t)(memory[t * WORDS(100) + i / WORD_BITS] >> i % WORD_BITS & 1) << t;
        }
        CHECK(code == i * 655);
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

/* Weights of a layer as numbers, as planes and as gaps. */
static int32_t weights[OUTPUTS][INPUTS];
static word rows[OUTPUTS * 2 * WORDS(INPUTS)];
static uint8_t gaps[OUTPUTS * INPUTS], signs[OUTPUTS * INPUTS];

static size_t draw_weights(int zeros_in_ten)
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
            const int32_t w = draw_below(10) < zeros_in_ten ? 0 : draw_below(2) ? 1 : -1;
            weights[i][j] = w;
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

static void check_layers(int zeros_in_ten)
{
    const int32_t jumps[3] = {1, 2, 4}, thresholds[3] = {-20, 0, 15}, bias[OUTPUTS] = {3, -7, 0, 1, 2, 9, -9, 4, 5};
    const int8_t levels[4] = {-50, -3, 7, 100};
    const size_t gap_count = draw_weights(zeros_in_ten);
    const values planes = {PLANES, INPUTS, 3, jumps, 0}, numbers = {BYTES, INPUTS, 0, NULL, 0};
    const values out = {BYTES, OUTPUTS, 0, NULL, 0};
    int32_t start[OUTPUTS], expected[OUTPUTS];
    word as_planes[3 * WORDS(INPUTS)], as_numbers[(INPUTS + 7) / 8 * 8 / sizeof(word)], found[2][2 * WORDS(64)];
    size_t i, j;
    clear(&planes, as_planes);
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
    {
        const layer dense = {planes, out, rows, 1, NULL, NULL, 0, {start, 4}, thresholds, 3, {levels, 1}};
        const layer sparse = {numbers, out, NULL, 0, gaps, signs, gap_count, {bias, 4}, thresholds, 3, {levels, 1}};
        apply(&dense, as_planes, found[0]);
        apply(&sparse, as_numbers, found[1]);
    }
    for (i = 0; i < OUTPUTS; i++) {
        const int32_t level = levels[(expected[i] >= -20) + (expected[i] >= 0) + (expected[i] >= 15)];
        CHECK(get(&out, found[0], i) == level);
        CHECK(get(&out, found[1], i) == level);
    }
}

static void check_scores(void)
{
    const int8_t numbers[6] = {1, 2, 3, -1, 3, -1};
    const int32_t offset[3] = {-6, 0, 0};
    const values two = {BYTES, 2, 0, NULL, 0};
    const linear readout = {two, {numbers, 1}, offset, 3};
    word memory[2];
    put(&two, memory, 0, 5);
    put(&two, memory, 1, -4);
    CHECK(score(&readout, memory, 0) == -9);
    CHECK(score(&readout, memory, 1) == 19);
    CHECK(score(&readout, memory, 2) == 19);
    CHECK(best_class(&readout, memory) == 1);
}

int main(void)
{
    int zeros_in_ten;
    check_population_counts();
    check_tables();
    check_thresholds();
    check_storage();
#ifdef FLOAT_INPUT
    check_rounding();
#endif
    for (zeros_in_ten = 0; zeros_in_ten <= 10; zeros_in_ten++) {
        check_layers(zeros_in_ten);
    }
    check_scores();
    return failures > 0;
}
