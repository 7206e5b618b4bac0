/* Limits of one core: for every line "KIND SIZE" of the standard input, units a second.
 *
 * read SIZE: bytes read from a buffer of SIZE bytes, again and again.
 * count SIZE: words of 64 bits whose ones are counted, in a buffer of SIZE bytes.
 * multiply SIZE: multiply-adds of float32 in registers; SIZE is not used. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS 0.02
#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif
typedef float vector __attribute__((vector_size(VECTOR)));
typedef uint64_t wide __attribute__((vector_size(VECTOR)));
#define CHAINS 12
#define STREAMS 8

static volatile uint64_t sink;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Several streams at a time use more of the memory's bandwidth than one. */
static uint64_t read_all(const uint64_t *x, size_t words)
{
    const wide *from = (const wide *)x;
    const size_t part = words / (VECTOR / 8) / STREAMS;
    wide sums[STREAMS];
    uint64_t total = 0;
    size_t i;
    int j, k;
    memset(sums, 0, sizeof sums);
    for (i = 0; i < part; i++) {
#pragma GCC unroll 8
        for (k = 0; k < STREAMS; k++) {
            sums[k] ^= from[k * part + i];
        }
    }
    for (k = 0; k < STREAMS; k++) {
        for (j = 0; j < VECTOR / 8; j++) {
            total ^= sums[k][j];
        }
    }
    return total;
}

/* Counts in four sums wait less for each other than in one; compilers make vectors of the loop. */
static uint64_t count_all(const uint64_t *x, size_t words)
{
    const size_t part = words / 4;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t i;
    for (i = 0; i < part; i++) {
        a += (uint64_t)__builtin_popcountll(x[i]);
        b += (uint64_t)__builtin_popcountll(x[part + i]);
        c += (uint64_t)__builtin_popcountll(x[2 * part + i]);
        d += (uint64_t)__builtin_popcountll(x[3 * part + i]);
    }
    return a + b + c + d;
}

static uint64_t multiply(long times)
{
    vector a[CHAINS], x, y;
    float total = 0;
    long i;
    int j, k;
    for (k = 0; k < VECTOR / 4; k++) {
        x[k] = 0.999f;
        y[k] = 0.001f * (float)(k + (int)(sink & 1));
    }
    for (j = 0; j < CHAINS; j++) {
        a[j] = y * (float)j;
    }
    for (i = 0; i < times; i++) {
#pragma GCC unroll 12
        for (j = 0; j < CHAINS; j++) {
            a[j] = a[j] * x + y;
        }
    }
    for (j = 0; j < CHAINS; j++) {
        for (k = 0; k < VECTOR / 4; k++) {
            total += a[j][k];
        }
    }
    return (uint64_t)total;
}

int main(void)
{
    char kind[16];
    long size;
    printf("0\n");
    fflush(stdout);
    while (scanf("%15s %ld", kind, &size) == 2) {
        const size_t words = size > 64 ? (size_t)size / 8 : 8;
        char *memory = malloc(8 * words + VECTOR);
        uint64_t *buffer = (uint64_t *)(memory + VECTOR - (uintptr_t)memory % VECTOR);
        /* A clock takes as long as thousands of words. */
        const size_t passes = 1 + (1 << 20) / words;
        double done = 0, start;
        size_t pass;
        if (!memory) {
            return 2;
        }
        memset(buffer, 0x5a, 8 * words);
        sink ^= read_all(buffer, words);
        start = now();
        do {
            if (kind[0] == 'r' || kind[0] == 'c') {
                for (pass = 0; pass < passes; pass++) {
                    sink ^= kind[0] == 'r' ? read_all(buffer, words) : count_all(buffer, words);
                }
                done += (kind[0] == 'r' ? 8.0 : 1.0) * (double)words * (double)passes;
            } else {
                sink ^= multiply(100000);
                done += 100000.0 * CHAINS * (VECTOR / 4);
            }
        } while (now() - start < SECONDS);
        printf("%.6e\n", done / (now() - start));
        fflush(stdout);
        free(memory);
    }
    return 0;
}
