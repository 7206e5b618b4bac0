"""Time and memory against the size of a problem: contenders in processes of their own, in turns, and growth exponents.

Every case starts its contenders afresh and lets them run in rounds, so that what else the machine does falls on all
of them; what the machine can do at most is measured in the same rounds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.settings import BenchExperiment
from experiments.figures import style as figures
from experiments.runner.child_process import Worker, WorkerError, working
from experiments.runner.console import CONSOLE, progress, show_table
from experiments.runner.record import Record

# results up to so many bytes are compared
COMPARED = 10**8
COLUMNS = ["contender", "setting", "seconds", "from", "to", "times peer", "MB beyond start", "÷ results", "limit/time"]


@dataclass(frozen=True)
class Contender:
    """One way to solve a case.

    Attributes
    ----------
    name : in tables; of several of one name the fastest counts.
    task : of `experiments.benchmarks.tasks`.
    options : of the task.
    setting : what makes it differ from others of its name.
    results : bytes of what it computes, where memory is compared with that.
    compared : whether its results are to be the peer's.
    memory : whether its memory is of interest.
    work : (bytes that must be written, float32 operations) at least; None where that is not known.
    """

    name: str
    task: str
    options: Mapping[str, Any]
    setting: str = ""
    results: int | None = None
    compared: bool = True
    memory: bool = True
    work: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sweep:
    """Cases that differ in one quantity.

    Attributes
    ----------
    axis : its name.
    about : what stays the same.
    cases : contenders by its value; the peer comes last.
    peer : name of the one that all are compared with; None where there is none.
    """

    axis: str
    about: str
    cases: Mapping[int, Sequence[Contender]]
    peer: str | None = None


@dataclass
class Measured:
    """What one contender took.

    Attributes
    ----------
    contender : it.
    seconds : of every round.
    beyond : most bytes beyond what the process took when it was ready.
    """

    contender: Contender
    seconds: list[float] = field(default_factory=list)
    beyond: int | None = None

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))


@dataclass
class Machine:
    """What this machine reached: bytes copied and float32 operations, a second."""

    copied: float = 0.0
    multiplied: float = 0.0

    def limit(self, work: tuple[float, float] | None) -> float | None:
        """Seconds that cannot be undercut."""
        return None if work is None else max(work[0] / self.copied, work[1] / self.multiplied)


def measure(record: Record, sweeps: Sequence[Sweep], settings: BenchExperiment) -> dict[str, list[Case]]:
    """Run every case of every sweep; a contender that has taken its seconds gets no more rounds than three.

    Returns what was measured by the sweep's axis and about, in `key` of it; tables, metrics and the figure are
    recorded.
    """
    machine, found, sweeps = Machine(), {}, [sweep for sweep in sweeps if sweep.cases]
    total = sum(len(contenders) for sweep in sweeps for contenders in sweep.cases.values())
    with ExitStack() as stack, progress("contenders", total) as advance:
        copy, multiply = (
            stack.enter_context(working(_command(name, {"size": size}), None, record.folder / f"{name}.log"))
            for name, size in (("copy", settings.copied), ("multiply", settings.multiplied))
        )

        def look() -> None:
            machine.copied = max(machine.copied, settings.copied / copy.ask("run")[0])
            machine.multiplied = max(machine.multiplied, 2 * settings.multiplied**3 / multiply.ask("run")[0])

        for sweep in sweeps:
            found[key(sweep)] = [
                Case(value, *_case(contenders, settings, record.folder, look, advance))
                for value, contenders in sweep.cases.items()
            ]
            # at once, or an interruption would lose it
            _report(record, sweep, found[key(sweep)], machine)
    record.add_metrics(**{"machine/copy": machine.copied, "machine/multiply": machine.multiplied})
    CONSOLE.print(
        "\n[dim]From, to: the middle half of the rounds. Times peer: how many times as long the peer takes, which is "
        "below 1 where the peer is faster. MB beyond start: the most memory beyond that of the libraries; ÷ results: "
        "that, by the bytes of the results. Limit/time: the least time this machine could take, by the time taken.[/]",
        soft_wrap=True,
    )
    CONSOLE.print(
        f"This machine copies {machine.copied / 1e9:.1f} GB/s and multiplies at {machine.multiplied / 1e9:.0f} "
        "GFLOP/s (float32); limits are by these."
    )
    return found


@dataclass
class Case:
    """One value of a sweep's quantity.

    Attributes
    ----------
    value : it.
    best : the fastest of each name.
    difference : largest difference of results to the peer's, relative to its largest entry; by name.
    """

    value: int
    best: dict[str, Measured]
    difference: dict[str, float]


def key(sweep: Sweep) -> str:
    """Name of a sweep's table."""
    return re.sub(r"\W+", "_", f"{sweep.axis} {sweep.about}")


def _command(name: str, options: Mapping[str, Any]) -> list[str]:
    return [sys.executable, "-m", "experiments.benchmarks.tasks", name, json.dumps(dict(options))]


def _case(
    contenders: Sequence[Contender],
    settings: BenchExperiment,
    folder: Path,
    look: Callable[[], None],
    advance: Callable[[], None],
) -> tuple[dict[str, Measured], dict[str, float]]:
    with ExitStack() as stack:
        running: list[tuple[Measured, Worker]] = []
        pool = stack.enter_context(ThreadPoolExecutor(settings.starting))
        started = [
            pool.submit(Worker, _command(c.task, c.options), None, folder / f"{c.task}{i}.log")
            for i, c in enumerate(contenders)
        ]
        for contender, waiting in zip(contenders, started, strict=True):
            try:
                worker = waiting.result()
                stack.callback(worker.close)
                running.append((Measured(contender), worker))
            except WorkerError as error:
                CONSOLE.print(f"  [yellow]left out[/] {contender.name} {contender.setting}: {error}", soft_wrap=True)
            advance()
        for _ in range(settings.rounds):
            look()
            for measured, worker in running:
                if len(measured.seconds) < 3 or sum(measured.seconds) < settings.seconds:
                    measured.seconds += worker.ask("run")
        for measured, worker in running:
            measured.beyond = round(worker.ask("peak")[0]) or None
        best: dict[str, tuple[Measured, Worker]] = {}
        for measured, worker in running:
            name = measured.contender.name
            if name not in best or measured.median < best[name][0].median:
                best[name] = measured, worker
        return {name: measured for name, (measured, _) in best.items()}, _differences(best, folder)


def _differences(best: Mapping[str, tuple[Measured, Worker]], folder: Path) -> dict[str, float]:
    """Of results to the last contender's, the peer's, where they are of one shape and not too large."""
    arrays: dict[str, np.ndarray] = {}
    for name, (measured, worker) in best.items():
        size = measured.contender.results
        if measured.contender.compared and size is not None and size <= COMPARED:
            path = folder / "result.npy"
            worker.ask("save", path)
            arrays[name] = np.load(path)
            path.unlink()
    if len(arrays) < 2:
        return {}
    *others, peer = arrays
    return {
        name: float(np.max(np.abs(arrays[name] - arrays[peer])) / np.max(np.abs(arrays[peer])))
        for name in others
        if arrays[name].shape == arrays[peer].shape
    }


def growth(values: Sequence[int], seconds: Sequence[float]) -> float | None:
    """The exponent that fits best; None from fewer than two values."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0]) if len(values) > 1 else None


def times_peer(case: Case, name: str, peer: str | None) -> float | None:
    """How many times as long the peer took; the median over rounds, in which both saw the same machine."""
    if peer is None or peer not in case.best:
        return None
    pairs = zip(case.best[peer].seconds, case.best[name].seconds, strict=False)
    return float(np.median([theirs / own for theirs, own in pairs]))


def _report(record: Record, sweep: Sweep, cases: Sequence[Case], machine: Machine) -> None:
    rows: list[list[Any]] = []
    for case in cases:
        for name, measured in case.best.items():
            contender, middle = measured.contender, measured.median
            low, high = np.quantile(measured.seconds, (0.25, 0.75))
            ratio, limit = times_peer(case, name, sweep.peer), machine.limit(contender.work)
            told = measured.beyond if contender.memory else None
            share = None if told is None or contender.results is None else told / contender.results
            rows.append(
                [case.value, name, contender.setting or None, middle, float(low), float(high), ratio,
                 None if told is None else told / 1e6, share,
                 None if limit is None else limit / middle]
            )  # fmt: skip
            where = f"{key(sweep)}/{case.value}/{name}"
            record.add_metrics(
                **{f"seconds/{where}": middle, f"times_peer/{where}": ratio, f"beyond/{where}": told,
                   f"difference/{where}": case.difference.get(name)}
            )  # fmt: skip
    columns = [sweep.axis, *COLUMNS]
    show_table(f"Against {sweep.axis} ({sweep.about}): medians over rounds, and the middle half of them", columns, rows)
    record.add_table(key(sweep), columns, rows)
    for name, (values, seconds) in _lines(cases).items():
        exponent = growth(values, seconds)
        record.add_metrics(**{f"exponent/{key(sweep)}/{name}": exponent})
        if exponent is not None:
            CONSOLE.print(f"  {name}: time grows like {sweep.axis} to the {exponent:.2f}")
    largest = max((d for case in cases for d in case.difference.values()), default=None)
    if largest is not None:
        record.add_metrics(**{f"difference/{key(sweep)}": largest})
        CONSOLE.print(f"  results differ from {sweep.peer}'s by {largest:.1e} of their largest entry at most")


def _lines(cases: Iterable[Case]) -> dict[str, tuple[list[int], list[float]]]:
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for case in cases:
        for name, measured in case.best.items():
            values, seconds = lines.setdefault(name, ([], []))
            values.append(case.value)
            seconds.append(measured.median)
    return lines


def draw(record: Record, sweeps: Sequence[Sweep], found: Mapping[str, list[Case]], name: str, caption: str) -> None:
    """Seconds against every quantity, and memory where it was measured."""
    panels = []
    for sweep in (s for s in sweeps if s.cases):
        lines = {
            line: (values, seconds, growth(values, seconds))
            for line, (values, seconds) in _lines(found[key(sweep)]).items()
        }
        panels.append((sweep.axis, "seconds", sweep.about, lines))
        memory: dict[str, tuple[list[int], list[float], float | None]] = {}
        for case in found[key(sweep)]:
            for line, measured in case.best.items():
                if measured.beyond and measured.contender.memory:
                    values, sizes, _ = memory.setdefault(line, ([], [], None))
                    values.append(case.value)
                    sizes.append(measured.beyond / 1e6)
        if memory and sweep is sweeps[0]:
            panels.append((sweep.axis, "peak memory beyond start, MB", sweep.about, memory))
    record.add_figure(name, figures.bench_figure(panels, caption))
