/* Files and text through the debugger. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

int32_t open_file(const char *name, int32_t length);
/* All of the bytes asked for, or none. */
int32_t read_file(int32_t file, void *to, uint32_t count);
void write_text(const char *text);
void leave(int status);

#endif
