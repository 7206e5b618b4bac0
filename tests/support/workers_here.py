"""Benchmarks' workers that serve their tasks in this process, which takes less time than to start others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from experiments.benchmarks.serve import Server
from experiments.benchmarks.workers import Worker

SERVE = "experiments.benchmarks.serve"


def worker_here(command: Sequence[str], core: int | None, log: Path) -> WorkerHere | Worker:
    """Return a worker in this process for a task in Python, and a process for a program."""
    return (WorkerHere if SERVE in command else Worker)(command, core, log)


class WorkerHere:
    """What `experiments.benchmarks.workers.Worker` is to a task, without a process.

    Parameters
    ----------
    command : sequence of str
        The command of the process that it takes the place of, from `task_command`.
    core : int or None
        Not used.
    log : Path
        Not used.
    """

    def __init__(self, command: Sequence[str], core: int | None, log: Path) -> None:
        task, options = command[command.index(SERVE) + 1 :][:2]
        module, _, name = task.partition(".")
        made = getattr(import_module(f"experiments.benchmarks.{module}"), name)(**json.loads(options))
        self.before, self.peak = None, None
        self._server = Server(made[1], made[0]) if isinstance(made, tuple) else Server(made)
        self._server.seconds()

    def ask(self, *words: object) -> list[float]:
        """Return the numbers that answer a question."""
        return [float(number) for number in self._server.answer(*map(str, words))]  # type: ignore[arg-type]

    def close(self) -> None:
        """Do nothing, as no process is to end."""
