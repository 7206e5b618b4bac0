/* Files and text through the debugger, by semihosting; and the processor's clock. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

int32_t open_file(const char *name, int32_t length);
/* Reads count bytes, or none; returns how many. */
int32_t read_file(int32_t file, void *to, uint32_t count);
void write_text(const char *text);
void leave(int status);
/* The clock counts down from CLOCK_MASK to 0, and starts again. */
#define CLOCK_MASK 0xffffffu
void start_clock(void);
uint32_t clock_left(void);

#endif
