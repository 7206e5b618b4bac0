/* Start-up of a Cortex-M without a C library: stack, data, the debugger's calls (semihosting) for files and exit, and
 * the timer SysTick. */
#include <stddef.h>
#include <stdint.h>

#include "semihosting.h"

int main(void);

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
/* How often the timer has come to 0. */
static volatile uint32_t wraps;

static void reset(void)
{
    uint32_t *to, *from = &data_load;
    for (to = &data_start; to < &data_end; to++) {
        *to = *from++;
    }
    for (to = &bss_start; to < &bss_end; to++) {
        *to = 0;
    }
    leave(main());
}

static void fault(void)
{
    leave(1);
}

static void wrapped(void)
{
    wraps++;
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_top,    (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault, NULL,
    NULL,          NULL,          NULL,          (void *)fault, (void *)fault, NULL,          (void *)fault, (void *)wrapped,
};

static int32_t ask(int32_t operation, const void *block)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t open_file(const char *name, int32_t length, int32_t mode)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, (uint32_t)mode, (uint32_t)length};
    return ask(0x01, block);
}

int read_file(int32_t file, void *to, uint32_t count)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, count};
    return ask(0x06, block) == 0;
}

int write_file(int32_t file, const void *from, uint32_t count)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)from, count};
    return ask(0x05, block) == 0;
}

/* SysTick, at the processor's own rate: control, reload value, current value, which falls from 2^24 - 1 to 0. */
static volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010;

void start_clock(void)
{
    systick[1] = 0xffffff;
    systick[2] = 0;
    systick[0] = 7;
}

uint32_t ticks(void)
{
    uint32_t before, left;
    do {
        before = wraps;
        left = systick[2];
    } while (before != wraps);
    return (before << 24) - left;
}

#define PATTERN 0xa5c3965au

void paint_stack(void)
{
    uint32_t *end = (uint32_t *)__builtin_frame_address(0), *at;
    /* This function's own registers may lie at its frame's foot. */
    for (at = &bss_end; at < end - 16; at++) {
        *(volatile uint32_t *)at = PATTERN;
    }
}

uint32_t stack_used(void)
{
    uint32_t *at = &bss_end;
    while (*at == PATTERN) {
        at++;
    }
    return (uint32_t)((uintptr_t)&stack_top - (uintptr_t)at);
}

void leave(int status)
{
    const uint32_t block[2] = {0x20026 /* the application is done */, (uint32_t)status};
    ask(0x20, block);
    for (;;) {
    }
}
