"""Compilers and an emulator that run C programs on this machine and on a microcontroller."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.runner.console import CONSOLE
from hntk.deploy.c import CProgram

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
FAST = ("-O3", "-march=native")
# The compilers of programs for this machine.
COMPILERS = ("gcc", "clang")
FIRMWARE = Path(__file__).parent / "firmware"
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
LINK = ("-nostdlib", "-Wl,--gc-sections", "-lgcc")
CROSS, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
# Nanoseconds of a tick of the emulated machine's clock, of 25 MHz.
NANOSECONDS = 40
# Bytes of flash, and likewise of RAM, of the emulated machine.
MEMORY = 4 * 2**20
# Bytes of RAM for the stack.
STACK = 1024


class ToolError(OSError):
    """A compiler or emulator that is missing, or that failed."""


@dataclass(frozen=True)
class Firmware:
    """A program linked for a Cortex-M4.

    Attributes
    ----------
    folder : Path
        Folder with its file ``elf``.
    flash : int
        Bytes of code and constants, from the linker's map.
    ram : int
        Bytes of scratch memory and one sample, from the linker's map; the stack is not counted.
    """

    folder: Path
    flash: int
    ram: int


def has(*programs: str) -> bool:
    """Return whether all programs are installed."""
    return all(shutil.which(program) for program in programs)


def left_out(name: str, reason: str, remedy: str) -> None:
    """Say that something is not done, and what would let it be done."""
    CONSOLE.print(f"  [yellow]left out[/] {name}: {reason} ({remedy})")


def installed(*programs: str) -> Iterator[str]:
    """Yield the programs that are installed, and say which are not."""
    for program in programs:
        if has(program):
            yield program
        else:
            left_out(program, "it is not installed", "make setup-tools")


def compile_program(
    program: CProgram,
    folder: Path,
    compiler: str = "gcc",
    options: Sequence[str] = FAST,
    main: Path | None = None,
) -> Path:
    """Write the program and compile it for this machine, treating warnings as errors.

    Parameters
    ----------
    program : CProgram
        The program.
    folder : Path
        Folder for sources and executable.
    compiler : str
        Name of the compiler.
    options : sequence of str
        Options of the compiler, beside the strict ones.
    main : Path, optional
        A file with ``main``, in place of the program's own.

    Returns
    -------
    Path
        The executable.

    Raises
    ------
    ToolError
        If the compiler is missing or fails.
    """
    _, source, own = program.write(folder)
    out = folder / f"{program.name}-{compiler}"
    compile_files([source, main or own], out, compiler, (*options, f"-I{folder}"))
    return out


def compile_files(sources: Sequence[Path], out: Path, compiler: str = "gcc", options: Sequence[str] = FAST) -> None:
    """Compile files for this machine, treating warnings as errors.

    Raises
    ------
    ToolError
        If the compiler is missing or fails.
    """
    _call([compiler, *STRICT, *options, *map(str, sources), "-o", str(out)])


def instructions(executable: Path, raw: np.ndarray) -> int:
    """Return how many instructions a program executes to predict these samples, counted by callgrind.

    Raises
    ------
    ToolError
        If valgrind is missing or fails.
    """
    options = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
    output = _call(["valgrind", *options, str(executable)], input=raw.tobytes()).stderr.decode(errors="replace")
    count = re.search(r"Collected : (\d+)", output)
    if count is None:
        raise ToolError(f"valgrind did not count instructions: {output[-500:]}")
    return int(count[1])


def run_program(executable: Path, raw: np.ndarray) -> np.ndarray:
    """Return the index of the class of each sample, which the program prints."""
    return np.array(_call([str(executable)], input=raw.tobytes()).stdout.split(), int)


def link_firmware(
    program: CProgram, folder: Path, sample_type: str, flash: int = MEMORY, ram: int = MEMORY
) -> Firmware:
    """Write the program and link it for a Cortex-M4.

    Parameters
    ----------
    program : CProgram
        The program.
    folder : Path
        Folder for sources and firmware.
    sample_type : {"uint8_t", "float"}
        Type of a coordinate of a sample.
    flash, ram : int
        Available bytes; ``STACK`` bytes of RAM are for the stack.

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
    objects = []
    for path in (source, FIRMWARE / "main.c", FIRMWARE / "startup.c"):
        objects.append(str(folder / f"{path.stem}.o"))
        # Start-up code is not ISO C, since it addresses the processor.
        strict = () if path.stem == "startup" else STRICT
        kinds = (f"-DSAMPLE_TYPE={sample_type}", f"-I{folder}", f"-I{FIRMWARE}")
        _call([CROSS, *CORTEX_M4, *strict, *kinds, "-c", str(path), "-o", objects[-1]])
    sizes = {"FLASH_BYTES": flash, "RAM_BYTES": ram, "STACK_BYTES": STACK}
    memory = (*(f"-Wl,--defsym={name}={size}" for name, size in sizes.items()), f"-Wl,-T,{FIRMWARE / 'link.ld'}")
    out = (f"-Wl,-Map={folder / 'map'}", "-o", str(folder / "elf"))
    _call([CROSS, *CORTEX_M4, *objects, *memory, *LINK, *out])
    sections = re.findall(r"^(\.text|\.data|\.bss)\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)", (folder / "map").read_text(), re.M)
    text, data, bss = (int(dict(sections).get(name, "0"), 16) for name in (".text", ".data", ".bss"))
    return Firmware(folder, text + data, data + bss)


class Emulated(NamedTuple):
    """What an emulated Cortex-M4 did.

    Attributes
    ----------
    indices : (n,) array
        Index of the class of each sample.
    instructions : int
        Mean number of instructions of a prediction, to 40.
    """

    indices: np.ndarray
    instructions: int


def emulate(firmware: Firmware, raw: np.ndarray) -> Emulated:
    """Predict the class of each sample on an emulated Cortex-M4.

    Raises
    ------
    ToolError
        If the emulator is missing or the program fails.
    """
    (firmware.folder / "samples.bin").write_bytes(raw.tobytes())
    machine = ("-M", "mps2-an386", "-kernel", "elf", "-nographic", "-monitor", "none", "-serial", "none")
    # Of the emulated time, an instruction takes a nanosecond.
    machine = (*machine, "-icount", "shift=0")
    result = _call([EMULATOR, *machine, "-semihosting-config", "enable=on,target=native"], cwd=firmware.folder)
    letters, ticks = (result.stdout or result.stderr).split()
    return Emulated(np.array([letter - ord("a") for letter in letters]), int(ticks) * NANOSECONDS)


def _call(
    command: Sequence[str], input: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command for at most ten minutes, and raise ``ToolError`` with its output if it fails."""
    try:
        return subprocess.run(command, input=input, cwd=cwd, capture_output=True, check=True, timeout=600)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed: make setup-tools, on Debian as root.") from error
    except subprocess.CalledProcessError as error:
        output = (error.stderr or error.stdout).decode(errors="replace").strip()
        raise ToolError(f"{command[0]} failed with status {error.returncode}: {output[-2000:]}") from error
