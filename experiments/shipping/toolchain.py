"""Compilers of C programs, and programs run on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.runner.console import CONSOLE
from hntk.deploy.c import CProgram

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
FAST = ("-O3", "-march=native")
# The compilers of programs for this machine.
COMPILERS = ("gcc", "clang")
# Seconds that a program may take.
LONGEST = 600


class ToolError(OSError):
    """A compiler or emulator that is missing, or that failed."""


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
    call([compiler, *STRICT, *options, *map(str, sources), "-o", str(out)])


def instructions(executable: Path, raw: np.ndarray) -> int:
    """Return how many instructions a program executes to predict these samples, counted by callgrind.

    Raises
    ------
    ToolError
        If valgrind is missing or fails.
    """
    options = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
    output = call(["valgrind", *options, str(executable)], input=raw.tobytes()).stderr.decode(errors="replace")
    count = re.search(r"Collected : (\d+)", output)
    if count is None:
        raise ToolError(f"valgrind did not count instructions: {output[-500:]}")
    return int(count[1])


def run_program(executable: Path, raw: np.ndarray) -> np.ndarray:
    """Return the index of the class of each sample, which the program prints."""
    return np.array(call([str(executable)], input=raw.tobytes()).stdout.split(), int)


def call(
    command: Sequence[str], input: bytes | None = None, cwd: Path | None = None, timeout: float = LONGEST
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    input : bytes, optional
        Its standard input.
    cwd : Path, optional
        Its folder.
    timeout : float
        Seconds after which it is stopped.

    Returns
    -------
    subprocess.CompletedProcess
        Its output.

    Raises
    ------
    ToolError
        If it is not installed, fails or takes too long; the message has its output.
    """
    try:
        return subprocess.run(command, input=input, cwd=cwd, capture_output=True, check=True, timeout=timeout)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed: make setup-tools, on Debian as root.") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} took more than {timeout:g} seconds: give it fewer samples.") from error
    except subprocess.CalledProcessError as error:
        output = (error.stderr or error.stdout).decode(errors="replace").strip()
        raise ToolError(f"{command[0]} failed with status {error.returncode}: {output[-2000:]}") from error
