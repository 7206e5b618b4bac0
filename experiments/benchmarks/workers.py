"""Worker processes, each of which measures one thing, and the rounds in which they take turns.

In turns, whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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


# Rounds that a worker takes part in, even if it has used up its seconds.
FEWEST = 3


@dataclass
class Timing:
    """Seconds of every round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """The quartiles of the seconds; the second one is the median."""
        low, middle, high = np.quantile(self.seconds, (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))

    def speedup(self, peer: Timing) -> float:
        """Return how many times as long the peer took: the median over rounds, in which both saw the same machine."""
        pairs = zip(peer.seconds, self.seconds, strict=False)
        return float(np.median([theirs / own for theirs, own in pairs]))


@dataclass
class Turn:
    """A question that a worker answers in every round, and the median seconds of its answers."""

    worker: Worker
    question: Sequence[object]
    timing: Timing


def take_turns(
    turns: Sequence[Turn],
    rounds: int,
    measure_limits: Callable[[], None],
    seconds: float | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Let every worker take its turn in every round, after the machine's limits have been measured.

    Parameters
    ----------
    turns : sequence of Turn
        The turns of a round.
    rounds : int
        Number of rounds.
    measure_limits : callable
        Measures the machine's limits; called at the start of every round.
    seconds : float, optional
        Time after which a worker gets no more than ``FEWEST`` rounds.
    advance : callable
        Called after every turn.
    """
    for _ in range(rounds):
        measure_limits()
        for turn in turns:
            taken = turn.timing.seconds
            if seconds is None or len(taken) < FEWEST or sum(taken) < seconds:
                taken.append(float(np.median(turn.worker.ask(*turn.question))))
            advance()
