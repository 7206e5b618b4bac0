"""Microcontrollers, emulated by QEMU: what a program takes of their memory, and instructions an image.

Instructions are those that the processor executes, counted by the emulator's clock, which moves on by 2⁷ ns with each
(``-icount shift=7``). The processor's own timer SysTick is read before and after every prediction. Its ticks are
shorter than that, 3.2 or 2 of them an instruction, so that the count is exact. It is no count of cycles: these depend
on the memory's wait states and on the processor's pipeline, which QEMU does not model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.shipping.toolchain import STRICT, ToolError, call
from hntk.deploy.c import CProgram

FIRMWARE = Path(__file__).parent / "firmware"
CODE_OPTIONS = ("-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
LINK = ("-nostdlib", "-Wl,--gc-sections", "-lgcc")
CROSS, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
# Of the emulated time, an instruction takes 2^ICOUNT_SHIFT nanoseconds.
ICOUNT_SHIFT = 7
# Bytes of RAM that are kept for the stack.
STACK = 1024
KB = 1024
# Seconds that an emulation may take.
LONGEST = 3600


@dataclass(frozen=True)
class Device:
    """A microcontroller that QEMU emulates.

    Attributes
    ----------
    label : str
        Its name in tables.
    processor : str
        The compiler's name of it.
    machine : str
        QEMU's machine.
    flash, ram : int
        Bytes of the machine's memories.
    hertz : int
        Ticks of its timer SysTick a second.
    """

    label: str
    processor: str
    machine: str
    flash: int
    ram: int
    hertz: int

    @property
    def ticks_per_instruction(self) -> float:
        """Ticks of the emulated timer while an instruction is executed."""
        return 2**ICOUNT_SHIFT * 1e-9 * self.hertz


# QEMU has no machine with a Cortex-M0+. The micro:bit's Cortex-M0 has the same instructions (ARMv6-M).
DEVICES = {
    "cortex-m4": Device("Cortex-M4", "cortex-m4", "mps2-an386", 4096 * KB, 4096 * KB, 25_000_000),
    "cortex-m0plus": Device("Cortex-M0+", "cortex-m0plus", "microbit", 256 * KB, 16 * KB, 16_000_000),
}


@dataclass(frozen=True)
class Firmware:
    """A program linked for a microcontroller.

    Attributes
    ----------
    device : Device
        The microcontroller.
    folder : Path
        Folder with its file ``elf``.
    code, constants : int
        Bytes of flash of the program's instructions and of its tables, with what it takes of the compiler's library.
    harness : int
        Bytes of flash of what surrounds it here: start-up, files through the emulator, and the clock.
    ram : int
        Bytes of scratch memory and one sample; the stack is not counted.
    """

    device: Device
    folder: Path
    code: int
    constants: int
    harness: int
    ram: int

    @property
    def flash(self) -> int:
        """Bytes of flash of the program, without the harness."""
        return self.code + self.constants


def link_firmware(
    program: CProgram,
    folder: Path,
    sample_type: str,
    device: Device = DEVICES["cortex-m4"],
    *,
    options: Sequence[str] = (),
    flash: int | None = None,
    ram: int | None = None,
) -> Firmware:
    """Write the program and link it for a microcontroller.

    Parameters
    ----------
    program : CProgram
        The program.
    folder : Path
        Folder for sources and firmware.
    sample_type : {"uint8_t", "float"}
        Type of a coordinate of a sample.
    device : Device
        The microcontroller.
    options : sequence of str
        Further options of the compiler.
    flash, ram : int, optional
        Available bytes; by default all that the machine has. ``STACK`` bytes of RAM are for the stack.

    Returns
    -------
    Firmware
        The linked program.

    Raises
    ------
    ToolError
        If the compiler is missing or fails, or the program does not fit.
    """
    _, source, _ = program.write(folder)
    limits = {"flash": min(flash or device.flash, device.flash), "ram": min(ram or device.ram, device.ram)}
    objects, target = [], (f"-mcpu={device.processor}", *CODE_OPTIONS, *options)
    for path in (source, FIRMWARE / "main.c", FIRMWARE / "startup.c"):
        objects.append(folder / f"{path.stem}.o")
        # Start-up code is not ISO C, since it addresses the processor.
        strict = () if path.stem == "startup" else STRICT
        name = program.name
        names = (
            f'-DPROGRAM_HEADER="{name}.h"',
            f"-DPROGRAM(what)={name}_##what",
            f"-DSIZE(what)={name.upper()}_##what",
        )
        kinds = (f"-DSAMPLE_TYPE={sample_type}", f"-I{folder}", f"-I{FIRMWARE}")
        call([CROSS, *target, *strict, *names, *kinds, "-c", str(path), "-o", str(objects[-1])])
    sizes = {
        "FLASH_LENGTH": device.flash, "RAM_LENGTH": device.ram, "FLASH_BYTES": limits["flash"],
        "RAM_BYTES": limits["ram"], "STACK_BYTES": STACK,
    }  # fmt: skip
    memory = (*(f"-Wl,--defsym={name}={size}" for name, size in sizes.items()), f"-Wl,-T,{FIRMWARE / 'link.ld'}")
    out = (f"-Wl,-Map={folder / 'map'}", "-o", str(folder / "elf"))
    try:
        call([CROSS, *target, *map(str, objects), *memory, *LINK, *out])
    except ToolError as error:
        raise _with_room(error, device, limits) from error
    return _measured(device, folder)


def _with_room(error: ToolError, device: Device, limits: dict[str, int]) -> ToolError:
    """Return the linker's error, with the memory that there is where that is full."""
    full = next((name for name in limits if f"{name} is full" in str(error).lower() or
                 f"region `{name.upper()}' overflowed" in str(error)), None)  # fmt: skip
    if full is None:
        return error
    kept = f" with {STACK:,} of them for the stack" if full == "ram" else ""
    return ToolError(
        f"{full if full == 'flash' else 'RAM'} is full: there are {limits[full]:,} bytes of it{kept}, on "
        f"{device.label} (QEMU's {device.machine}); take fewer neurons, or a larger device. {error}"
    )


def _measured(device: Device, folder: Path) -> Firmware:
    """Return what the linker's map says of the program, by section and by file."""
    lines = re.findall(
        r"^ \.(text|rodata|data|bss|vectors)(\S*)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$",
        (folder / "map").read_text().split("Linker script and memory map")[-1],
        re.MULTILINE,
    )
    program, harness = Counter(), Counter()
    for section, symbol, size, file in lines:
        own = Path(file).name not in ("main.o", "startup.o") or symbol in (".scratch", ".input")
        (program if own else harness)[section] += int(size, 16)
    constants = program["rodata"] + program["data"]
    around = sum(size for section, size in harness.items() if section != "bss")
    return Firmware(device, folder, program["text"], constants, around, program["data"] + program["bss"])


@dataclass(frozen=True, eq=False)
class Emulated:
    """What an emulated microcontroller did.

    Attributes
    ----------
    indices : (n,) array
        Index of the class of each sample.
    executed : (n,) array
        Number of instructions of each prediction.
    stack : int
        Most bytes of stack in use, those of ``main`` and of the harness included.
    """

    indices: np.ndarray
    executed: np.ndarray
    stack: int

    @property
    def instructions(self) -> int:
        """Mean number of instructions of a prediction."""
        return round(float(self.executed.mean())) if self.executed.size else 0


def emulate(firmware: Firmware, raw: np.ndarray) -> Emulated:
    """Predict the class of each sample on the emulated microcontroller.

    Raises
    ------
    ToolError
        If the emulator is missing or the program fails.
    """
    folder = firmware.folder
    (folder / "samples.bin").write_bytes(raw.tobytes())
    (folder / "results.bin").unlink(missing_ok=True)
    machine = ("-M", firmware.device.machine, "-kernel", "elf", "-nographic", "-monitor", "none", "-serial", "none")
    counted = ("-icount", f"shift={ICOUNT_SHIFT}", "-semihosting-config", "enable=on,target=native")
    call([EMULATOR, *machine, *counted], cwd=folder, timeout=LONGEST)
    *results, (stack, empty) = np.fromfile(folder / "results.bin", np.uint32).reshape(-1, 2)
    if len(results) != len(raw):
        raise ToolError(f"the program predicted {len(results):,} of {len(raw):,} samples: is the input of its type?")
    indices, ticks = np.array(results, np.int64).reshape(-1, 2).T
    executed = np.rint((ticks - int(empty)) / firmware.device.ticks_per_instruction).astype(np.int64)
    return Emulated(indices, executed, int(stack))
