"""Compilers and an emulator, to run C programs where they are meant to."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hntk.deploy.c import CProgram

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
FAST = ("-O3", "-march=native")
# The compilers of programs for this machine.
COMPILERS = ("gcc", "clang")
FIRMWARE = Path(__file__).parent / "firmware"
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
LINK = ("-nostdlib", "-Wl,--gc-sections", "-lgcc")
CROSS, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
# of flash, and of RAM, that the emulated machine has
MEMORY = 4 * 2**20
# bytes of RAM for the stack
STACK = 1024


class ToolError(OSError):
    """A compiler or emulator that is missing, or that failed."""


@dataclass(frozen=True)
class Firmware:
    """A program linked for a Cortex-M4.

    Attributes
    ----------
    folder : where its file ``elf`` is.
    flash : bytes of code and constants, from the linker's map.
    ram : bytes of scratch memory and one sample, from the same; the stack comes on top.
    """

    folder: Path
    flash: int
    ram: int


def has(*programs: str) -> bool:
    """Whether all of them are installed."""
    return all(shutil.which(program) for program in programs)


def compile_program(
    program: CProgram,
    folder: Path,
    compiler: str = "gcc",
    options: Sequence[str] = FAST,
    main: Path | None = None,
) -> Path:
    """Write the program and compile it for this machine, every warning an error.

    Parameters
    ----------
    main : a file with ``main``, in place of the program's own.

    Raises
    ------
    ToolError
        If the compiler is missing or refuses.
    """
    _, source, own = program.write(folder)
    out = folder / f"{program.name}-{compiler}"
    compile_files([source, main or own], out, compiler, (*options, f"-I{folder}"))
    return out


def compile_files(sources: Sequence[Path], out: Path, compiler: str = "gcc", options: Sequence[str] = FAST) -> None:
    """Compile for this machine, every warning an error.

    Raises
    ------
    ToolError
        If the compiler is missing or refuses.
    """
    _call([compiler, *STRICT, *options, *map(str, sources), "-o", str(out)])


def instructions(executable: Path, raw: np.ndarray) -> int:
    """Instructions that a program executes to predict these samples, by callgrind.

    Raises
    ------
    ToolError
        If valgrind is missing or fails.
    """
    options = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
    told = _call(["valgrind", *options, str(executable)], input=raw.tobytes()).stderr.decode(errors="replace")
    found = re.search(r"Collected : (\d+)", told)
    if found is None:
        raise ToolError(f"valgrind did not count instructions: {told[-500:]}")
    return int(found[1])


def run_program(executable: Path, raw: np.ndarray) -> np.ndarray:
    """The index of the class of each sample, as the program prints them."""
    return np.array(_call([str(executable)], input=raw.tobytes()).stdout.split(), int)


def link_firmware(
    program: CProgram, folder: Path, sample_type: str, flash: int = MEMORY, ram: int = MEMORY
) -> Firmware:
    """Write the program and link it for a Cortex-M4 with so much memory.

    Parameters
    ----------
    sample_type : of a coordinate, ``"uint8_t"`` or ``"float"``.
    flash, ram : bytes that there are, ``STACK`` of the latter for the stack.

    Raises
    ------
    ToolError
        If the compiler is missing or refuses, or the program does not fit.
    """
    _, source, _ = program.write(folder)
    objects = []
    for path in (source, FIRMWARE / "main.c", FIRMWARE / "startup.c"):
        objects.append(str(folder / f"{path.stem}.o"))
        # start-up is not ISO C: it talks to the processor
        strict = () if path.stem == "startup" else STRICT
        kinds = (f"-DSAMPLE_TYPE={sample_type}", f"-I{folder}", f"-I{FIRMWARE}")
        _call([CROSS, *CORTEX_M4, *strict, *kinds, "-c", str(path), "-o", objects[-1]])
    sizes = {"FLASH_BYTES": flash, "RAM_BYTES": ram, "STACK_BYTES": STACK}
    memory = (*(f"-Wl,--defsym={name}={size}" for name, size in sizes.items()), f"-Wl,-T,{FIRMWARE / 'link.ld'}")
    out = (f"-Wl,-Map={folder / 'map'}", "-o", str(folder / "elf"))
    _call([CROSS, *CORTEX_M4, *objects, *memory, *LINK, *out])
    found = re.findall(r"^(\.text|\.data|\.bss)\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)", (folder / "map").read_text(), re.M)
    text, data, bss = (int(dict(found).get(name, "0"), 16) for name in (".text", ".data", ".bss"))
    return Firmware(folder, text + data, data + bss)


def emulate(firmware: Firmware, raw: np.ndarray) -> np.ndarray:
    """The index of the class of each sample, from an emulated Cortex-M4.

    Raises
    ------
    ToolError
        If the emulator is missing or the program fails.
    """
    (firmware.folder / "samples.bin").write_bytes(raw.tobytes())
    machine = ("-M", "mps2-an386", "-kernel", "elf", "-nographic", "-monitor", "none", "-serial", "none")
    result = _call([EMULATOR, *machine, "-semihosting-config", "enable=on,target=native"], cwd=firmware.folder)
    return np.array([letter - ord("a") for letter in (result.stdout or result.stderr).strip()])


def _call(
    command: Sequence[str], input: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=input, cwd=cwd, capture_output=True, check=True, timeout=600)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed: make setup-tools, on Debian as root.") from error
    except subprocess.CalledProcessError as error:
        told = (error.stderr or error.stdout).decode(errors="replace").strip()
        raise ToolError(f"{command[0]} failed with status {error.returncode}: {told[-2000:]}") from error
