/* Reads samples from the file samples.bin of the host, and prints the index of the class of each as a letter. */
#include "hntk_net.h"
#include "semihosting.h"

static hntk_net_word scratch[HNTK_NET_SCRATCH_BYTES / sizeof(hntk_net_word)];
static SAMPLE_TYPE input[HNTK_NET_INPUTS];

int main(void)
{
    const int32_t file = open_file("samples.bin", 11);
    char text[2] = {0, 0};
    if (file < 0) {
        return 2;
    }
    while (read_file(file, input, sizeof input)) {
        text[0] = (char)('a' + hntk_net_predict(input, scratch));
        write_text(text);
    }
    return 0;
}
