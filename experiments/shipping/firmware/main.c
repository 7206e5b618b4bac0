/* Reads samples from the file samples.bin of the host, and prints the index of the class of each as a letter; then the
 * ticks of the processor's clock that a prediction takes in the mean. */
#include "hntk_net.h"
#include "semihosting.h"

static hntk_net_word scratch[HNTK_NET_SCRATCH_BYTES / sizeof(hntk_net_word)];
static SAMPLE_TYPE input[HNTK_NET_INPUTS];

int main(void)
{
    const int32_t file = open_file("samples.bin", 11);
    char text[2] = {0, 0}, digits[12];
    uint32_t ticks = 0, count = 0, mean;
    int at = 11;
    if (file < 0) {
        return 2;
    }
    start_clock();
    while (read_file(file, input, sizeof input)) {
        const uint32_t before = clock_left();
        text[0] = (char)('a' + hntk_net_predict(input, scratch));
        ticks += (before - clock_left()) & CLOCK_MASK;
        count++;
        write_text(text);
    }
    mean = count ? ticks / count : 0;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + mean % 10);
        mean /= 10;
    } while (mean);
    digits[--at] = ' ';
    write_text(digits + at);
    return 0;
}
