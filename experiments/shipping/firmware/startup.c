/* Start-up of a Cortex-M without a C library: stack, data, and the debugger's calls (semihosting) for files and exit. */
#include <stddef.h>
#include <stdint.h>

#include "semihosting.h"

int main(void);

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;

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

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_top,    (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault, NULL,
    NULL,          NULL,          NULL,          (void *)fault, (void *)fault, NULL,          (void *)fault, (void *)fault,
};

static int32_t ask(int32_t operation, const void *block)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t open_file(const char *name, int32_t length)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, 1 /* rb */, (uint32_t)length};
    return ask(0x01, block);
}

int32_t read_file(int32_t file, void *to, uint32_t count)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, count};
    return ask(0x06, block) == 0 ? (int32_t)count : 0;
}

void write_text(const char *text)
{
    ask(0x04, text);
}

/* SysTick, at the processor's own rate: control, reload value, current value. */
static volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010;

void start_clock(void)
{
    systick[1] = CLOCK_MASK;
    systick[2] = 0;
    systick[0] = 5;
}

uint32_t clock_left(void)
{
    return systick[2];
}

void leave(int status)
{
    const uint32_t block[2] = {0x20026 /* the application is done */, (uint32_t)status};
    ask(0x20, block);
    for (;;) {
    }
}
