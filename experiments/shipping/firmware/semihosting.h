/* Files of the host through the debugger, by semihosting; the processor's clock; and the stack. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

/* Opens a file of so long a name; returns a number, or -1. */
int32_t open_file(const char *name, int32_t length, int32_t mode);
/* Reads count bytes, or none; returns whether it did. */
int read_file(int32_t file, void *to, uint32_t count);
/* Writes count bytes; returns whether it did. */
int write_file(int32_t file, const void *from, uint32_t count);
void leave(int status);
void start_clock(void);
/* Ticks of the processor's clock since its start, modulo 2^32. */
uint32_t ticks(void);
/* Fills the memory below the caller's stack with a pattern. */
void paint_stack(void);
/* Bytes from the stack's beginning to the last one that does not hold the pattern. */
uint32_t stack_used(void);

#endif
