/* Reads samples from the file samples.bin of the host. Writes to its file results.bin two numbers of 32 bits for each:
 * the index of its class, and the ticks of the processor's clock that the prediction took. Two more follow: the bytes
 * of stack that were used, and the ticks of no prediction.
 *
 * PROGRAM_HEADER is the program's header, PROGRAM(x) its name x and SIZE(x) its constant x. */
#include PROGRAM_HEADER
#include "semihosting.h"

static PROGRAM(word) scratch[(SIZE(SCRATCH_BYTES) + sizeof(PROGRAM(word)) - 1) / sizeof(PROGRAM(word))];
static SAMPLE_TYPE input[SIZE(INPUTS)];

static int nothing(const SAMPLE_TYPE *sample, PROGRAM(word) *memory)
{
    (void)sample;
    (void)memory;
    return 0;
}

/* Through a pointer that the compiler does not know, both take the same instructions around the call. */
static int (*volatile const functions[2])(const SAMPLE_TYPE *, PROGRAM(word) *) = {nothing, PROGRAM(predict)};

static void measure(int which, uint32_t *result)
{
    int (*const function)(const SAMPLE_TYPE *, PROGRAM(word) *) = functions[which];
    const uint32_t before = ticks();
    result[0] = (uint32_t)function(input, scratch);
    result[1] = ticks() - before;
}

int main(void)
{
    const int32_t samples = open_file("samples.bin", 11, 1 /* rb */), results = open_file("results.bin", 11, 5 /* wb */);
    uint32_t result[2];
    if (samples < 0 || results < 0) {
        return 2;
    }
    paint_stack();
    start_clock();
    while (read_file(samples, input, sizeof input)) {
        measure(1, result);
        if (!write_file(results, result, sizeof result)) {
            return 3;
        }
    }
    measure(0, result);
    result[0] = stack_used();
    return write_file(results, result, sizeof result) ? 0 : 3;
}
