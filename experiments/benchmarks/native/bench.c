/* Times the program, compiled with HNTK_NET_BATCH: for every line "run REPEATS BATCH" of the standard input, the seconds
 * of each of REPEATS predictions of BATCH samples, by the batch function if there are several. The first argument is a file of samples of type SAMPLE_TYPE, the second is their number. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hntk_net.h"

static hntk_net_word scratch[HNTK_NET_BATCH_SCRATCH_BYTES / sizeof(hntk_net_word)];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    const size_t count = argc > 2 ? (size_t)atol(argv[2]) : 0;
    SAMPLE_TYPE *samples = malloc(count * HNTK_NET_INPUTS * sizeof(SAMPLE_TYPE));
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int *classes = malloc(count * sizeof(int));
    size_t next = 0;
    int batch, repeats;
    /* The result is used, or the compiler could leave the computation out. */
    int sum = 0;
    if (count == 0 || !file || !samples || !classes) {
        return 2;
    }
    if (fread(samples, HNTK_NET_INPUTS * sizeof(SAMPLE_TYPE), count, file) != count) {
        return 2;
    }
    fclose(file);
    printf("0\n");
    fflush(stdout);
    while (scanf(" run %d %d", &repeats, &batch) == 2) {
        for (; repeats > 0; repeats--) {
            const double start = now();
            size_t left = (size_t)batch;
            if (left == 1) {
                sum += hntk_net_predict(samples + next * HNTK_NET_INPUTS, scratch);
                next = (next + 1) % count;
                left = 0;
            }
            while (left > 0) {
                const size_t n = left < count - next ? left : count - next;
                hntk_net_predict_batch(samples + next * HNTK_NET_INPUTS, n, scratch, classes);
                sum += classes[n - 1];
                next = (next + n) % count;
                left -= n;
            }
            printf("%.9f ", now() - start);
        }
        printf("\n");
        fflush(stdout);
    }
    free(classes);
    free(samples);
    return sum < 0;
}
