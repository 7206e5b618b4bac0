"""Worker processes, each of which measures one thing and answers questions about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from experiments.runner.process_memory import status_bytes

SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
# Without this, the first worker to start would take the accelerator's memory from the others.
SHARED_ACCELERATOR = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def task_command(task: str, options: Mapping[str, Any], core: int | None = None) -> list[str]:
    """Return the command of a worker that serves a task, named MODULE.FUNCTION, of this package."""
    command = [sys.executable, "-m", "experiments.benchmarks.serve", task, json.dumps(dict(options))]
    return command if core is None else [*command, str(core)]


def pin(process: int, core: int) -> None:
    """Keep a process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, {core})


class WorkerError(OSError):
    """An error of a worker that ended too early."""


class Worker:
    """A process that answers every line on its standard input with a line of numbers.

    Parameters
    ----------
    command : sequence of str
        The command that starts it.
    core : int or None
        The core that it is to use, with one thread; None gives it the whole machine.
    log : Path
        File for its standard error.

    Attributes
    ----------
    before : int or None
        Memory in bytes before the task was loaded, if the worker reported it.

    Raises
    ------
    WorkerError
        If the process ends before :meth:`close` is called.
    """

    def __init__(self, command: Sequence[str], core: int | None, log: Path) -> None:
        self.log = log
        with log.open("w") as errors:
            own = SHARED_ACCELERATOR if core is None else SINGLE_THREAD
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, **own}, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        # Programs in C have one thread; Python workers pin themselves before they start more.
        if core is not None:
            pin(self.process.pid, core)
        first = self._answer()
        self.before = None if first[0] in ("0", "None") else int(first[0])

    def ask(self, *words: object) -> list[float]:
        """Send a line and return the numbers of the answer."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        return [float(word) for word in self._answer()]

    def _answer(self) -> list[str]:
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if not words:
            self.close()
            raise WorkerError(f"a worker ended with status {self.process.returncode}; see {self.log}.")
        return words

    @property
    def peak(self) -> int | None:
        """Peak memory so far, in bytes."""
        return status_bytes(self.process.pid, "VmHWM")

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def working(command: Sequence[str], core: int | None, log: Path) -> Iterator[Worker]:
    """Yield a worker, and close it in the end."""
    worker = Worker(command, core, log)
    try:
        yield worker
    finally:
        worker.close()
