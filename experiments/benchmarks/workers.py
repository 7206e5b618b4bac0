"""Processes that answer questions, and what the system tells of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
# or the first to start would take an accelerator's memory from the others
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def pin(process: int, core: int) -> None:
    """Keep a process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, {core})


def status_bytes(process: int, name: str) -> int | None:
    """Memory of a process that lives, such as VmRSS (now) or VmHWM (most); None where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
    return None if found is None else 1024 * int(found[1])


def restart_peak() -> None:
    """Measure this process's most memory (VmHWM) from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class WorkerError(OSError):
    """A worker that ended before it was told to."""


class Worker:
    """A process that answers lines by numbers.

    It has one core and one thread where a core is given, and all there is otherwise.

    Attributes
    ----------
    before : bytes of memory it took when it was not ready yet, if it told.

    Raises
    ------
    WorkerError
        If it ends before it was told to; what it complained about is in the log.
    """

    def __init__(self, command: Sequence[str], core: int | None, log: Path) -> None:
        self.log = log
        with log.open("w") as complaints:
            own = SHARED if core is None else ALONE
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True,
                env={**os.environ, **own}, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        # programs in C have one thread; the others pin themselves before they start more
        if core is not None:
            pin(self.process.pid, core)
        first = self._answer()
        self.before = None if first[0] in ("0", "None") else int(first[0])

    def ask(self, *words: object) -> list[float]:
        """The numbers of one answer."""
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
        """Most memory it took so far, bytes."""
        return status_bytes(self.process.pid, "VmHWM")

    def close(self) -> None:
        """End it."""
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
    """A worker that is closed in the end."""
    worker = Worker(command, core, log)
    try:
        yield worker
    finally:
        worker.close()
