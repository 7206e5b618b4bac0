"""Benchmarks' workers that serve their tasks in this process, which takes less time than to start others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from experiments.benchmarks.serve import Server


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
        task, options = command[command.index("experiments.benchmarks.serve") + 1 :][:2]
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
