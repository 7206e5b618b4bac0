"""Time and memory against the size of a problem, for several contenders.

Every case starts its contenders afresh, each in a process of its own, and lets them take turns in rounds. The
machine's limits are measured in the same rounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.machine_tasks import PASSES
from experiments.benchmarks.settings import BenchExperiment
from experiments.benchmarks.workers import Timing, Turn, Worker, WorkerError, take_turns, task_command, working
from experiments.runner.console import progress, say

# Results of more bytes are not compared.
COMPARED_BYTES = 10**8


class Work(NamedTuple):
    """What a task must do at least.

    Attributes
    ----------
    written : float
        Bytes that must be written.
    multiplied : float
        Operations of products of float32 matrices.
    bent : float
        Numbers that go through a layer of ReLU, once for each layer.
    """

    written: float
    multiplied: float
    bent: float = 0.0


@dataclass(frozen=True)
class Contender:
    """One way to solve a case.

    Attributes
    ----------
    name : str
        Its name in tables; among contenders of one name the fastest counts.
    task : str
        Its task, MODULE.FUNCTION in this package.
    options : mapping
        Options of the task.
    setting : str
        What sets it apart from others of its name.
    results : int or None
        Bytes of its results, where its memory is compared with them.
    compared : bool
        Whether its results should equal the peer's.
    memory : bool
        Whether its memory is of interest.
    work : Work or None
        What it must do at least; None where that is not known.
    """

    name: str
    task: str
    options: Mapping[str, Any]
    setting: str = ""
    results: int | None = None
    compared: bool = True
    memory: bool = True
    work: Work | None = None


@dataclass(frozen=True)
class Sweep:
    """Cases that differ in one quantity.

    Attributes
    ----------
    axis : str
        Name of the quantity.
    about : str
        What stays the same.
    cases : mapping
        Contenders by the quantity's value; the peer comes last.
    peer : str or None
        Name of the contender that all others are compared with.
    accuracy : callable or None
        Returns the accuracy of a contender's result; None where results have none.
    left_out : mapping
        By the quantity's value, names of contenders that are left out there, and why.
    """

    axis: str
    about: str
    cases: Mapping[int, Sequence[Contender]]
    peer: str | None = None
    accuracy: Callable[[np.ndarray], float] | None = None
    left_out: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of its table."""
        return re.sub(r"\W+", "_", f"{self.axis} {self.about}")


@dataclass
class Measured(Timing):
    """Time and memory of one contender.

    Attributes
    ----------
    contender : Contender
        The contender.
    beyond : int or None
        Peak memory beyond that of the process when it was ready, in bytes.
    limit : float or None
        The least seconds that the machine could take.
    """

    contender: Contender = field(kw_only=True)
    beyond: int | None = None
    limit: float | None = None


@dataclass
class Case:
    """One value of a sweep's quantity.

    Attributes
    ----------
    value : int
        The value.
    best : dict
        By name, the fastest contender.
    difference : dict
        By name, the largest difference of the results to the peer's, relative to the peer's largest entry.
    accuracy : dict
        By name, the accuracy of the results, where they have one.
    """

    value: int
    best: dict[str, Measured]
    difference: dict[str, float]
    accuracy: dict[str, float] = field(default_factory=dict)


@dataclass
class Machine:
    """The most that the machine reached a second.

    Attributes
    ----------
    written : float
        Bytes written.
    multiplied : float
        Operations of products of float32 matrices.
    bent : float
        Numbers taken through a layer of ReLU.
    """

    written: float = 0.0
    multiplied: float = 0.0
    bent: float = 0.0

    def limit(self, work: Work | None) -> float | None:
        """Return the least seconds that the work can take: memory is written while arithmetic goes on."""
        if work is None:
            return None
        arithmetic = work.multiplied / self.multiplied + (work.bent / self.bent if work.bent else 0.0)
        return max(work.written / self.written, arithmetic)


@contextmanager
def _measured_machine(settings: BenchExperiment, folder: Path) -> Iterator[tuple[Machine, Callable[[], None]]]:
    """Yield the machine and a function that measures it once more."""
    sizes = {"write": settings.written, "multiply": settings.multiplied, "bend": settings.bent}
    # what one run of each task does
    done = {"written": settings.written, "multiplied": 2 * settings.multiplied**3, "bent": PASSES * settings.bent}
    machine = Machine()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                working(task_command(f"machine_tasks.{name}", {"size": size}), None, folder / f"{name}.log")
            )
            for name, size in sizes.items()
        ]

        def measure() -> None:
            for (rate, amount), worker in zip(done.items(), workers, strict=True):
                setattr(machine, rate, max(getattr(machine, rate), amount / worker.ask("run", 1)[0]))

        yield machine, measure


def measure(
    sweeps: Sequence[Sweep], settings: BenchExperiment, folder: Path
) -> Iterator[tuple[Sweep, list[Case], Machine]]:
    """Run every case of every sweep.

    Parameters
    ----------
    sweeps : sequence of Sweep
        The sweeps.
    settings : BenchExperiment
        Rounds, and the seconds after which a contender gets no more than three.
    folder : Path
        Where the workers' logs go.

    Yields
    ------
    Sweep
        A sweep that was just measured, so that an interruption does not lose it.
    list of Case
        Its cases.
    Machine
        What the machine has reached so far.
    """
    total = sum(len(contenders) for sweep in sweeps for contenders in sweep.cases.values())
    with _measured_machine(settings, folder) as (machine, measure_limits), progress("contenders", total) as advance:
        for sweep in sweeps:
            cases = [
                _case(value, contenders, sweep, settings, folder, measure_limits, advance)
                for value, contenders in sweep.cases.items()
            ]
            yield sweep, cases, machine


def _case(
    value: int,
    contenders: Sequence[Contender],
    sweep: Sweep,
    settings: BenchExperiment,
    folder: Path,
    measure_limits: Callable[[], None],
    advance: Callable[[], None],
) -> Case:
    """Return the fastest contender of each name, and what came of its results."""
    logs = [folder / f"{c.task.partition('.')[2]}{i}.log" for i, c in enumerate(contenders)]
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(settings.starting))
        running = []
        for contender, worker in zip(contenders, pool.map(_started, contenders, logs), strict=True):
            if worker is not None:
                stack.callback(worker.close)
                worker.ask("restart")
                running.append((Measured(contender=contender), worker))
            advance()
        turns = [Turn(worker, ("run", 1), measured) for measured, worker in running]
        take_turns(turns, settings.rounds, measure_limits, settings.seconds)
        best: dict[str, tuple[Measured, Worker]] = {}
        for measured, worker in running:
            measured.beyond = round(worker.ask("peak")[0]) or None
            name = measured.contender.name
            if name not in best or measured.median < best[name][0].median:
                best[name] = measured, worker
        results = _results(best, folder)
        accuracy = {} if sweep.accuracy is None else {name: sweep.accuracy(array) for name, array in results.items()}
        return Case(value, {name: measured for name, (measured, _) in best.items()}, _differences(results), accuracy)


def _started(contender: Contender, log: Path) -> Worker | None:
    """Return the worker of a contender; None, with a message, if it cannot start."""
    try:
        return Worker(task_command(contender.task, contender.options), None, log)
    except WorkerError as error:
        say(f"  [yellow]left out[/] {contender.name} {contender.setting}: {error}")
        return None


def _results(best: Mapping[str, tuple[Measured, Worker]], folder: Path) -> dict[str, np.ndarray]:
    """Return the results that are to be compared, where they are not too large."""
    arrays: dict[str, np.ndarray] = {}
    for name, (measured, worker) in best.items():
        size = measured.contender.results
        if measured.contender.compared and size is not None and size <= COMPARED_BYTES:
            path = folder / "result.npy"
            worker.ask("save", path)
            arrays[name] = np.load(path)
            path.unlink()
    return arrays


def _differences(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the differences of results to those of the last contender, where they have its shape."""
    if len(arrays) < 2:
        return {}
    *others, peer = arrays
    return {
        name: float(np.max(np.abs(arrays[name] - arrays[peer])) / np.max(np.abs(arrays[peer])))
        for name in others
        if arrays[name].shape == arrays[peer].shape
    }
