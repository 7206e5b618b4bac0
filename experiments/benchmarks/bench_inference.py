"""Time and memory of predictions on one core: dense float32 and int8, against packed ones in JAX, ONNX and C.

Each program is a process of its own, pinned to the same core, and they take turns in rounds. The limits of that core
are measured in the same rounds.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import hntk
from experiments.benchmarks.programs import (
    DENSE8,
    NATIVE,
    NEAR,
    REFERENCE,
    Program,
    build_programs,
    c_programs,
    last_core,
)
from experiments.benchmarks.workers import FEWEST, Timing, Turn, Worker, take_turns, working
from experiments.figures.style import caption_above
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.from_config import raw_dataset
from experiments.runner.record import Record
from experiments.shipping import classifiers, toolchain
from hntk.plot.style import COLOURS, plain_ticks

# Most repetitions of a prediction in one round.
MOST = 2000
# Options by name of the builds whose instructions are counted: processors that valgrind knows.
BUILDS = {"portable": (), "x86-64-v3": ("-march=x86-64-v3",)}
MEMORY = ["program", "file", "dense/file", "reads an image", "peak MB", "of it network, MB"]
SPEED = [
    "program",
    "µs an image",
    "from",
    "to",
    "images/s",
    "times float32",
    "times int8",
    "limit, µs",
    "set by",
    "limit/time",
]
# By (kind, size), units a second that the core reached.
Rates = dict[tuple[str, int], float]
# By program, memory before the network was loaded and peak memory, in bytes.
Memory = dict[str, tuple[int | None, int | None]]


def run(cfg: Config, record: Record) -> None:
    """Make both networks, build every program, and measure them in turns."""
    with stage(f"loading {cfg.data.name}"):
        data = raw_dataset(cfg.data, cfg.seed)
    original, whole = classifiers.dense(cfg, data), classifiers.compressed(cfg, data).whole
    raw = data.raw(data.x_test[: cfg.experiment.samples])
    programs = build_programs(original, whole, raw, data.x_test[: len(raw)], record.folder, cfg.experiment.compilers)
    rates, memory = _measure(cfg, programs, record.folder)
    _report_memory(record, programs, memory)
    batches = [int(batch) for batch in cfg.experiment.batches]
    for batch in batches:
        _report_speed(record, programs, rates, batch)
    _count_instructions(record, whole, raw)
    widths = "-".join(map(str, cfg.net.widths))
    caption = f"{cfg.data.name}, widths {widths}, one core"
    record.add_figure("inference", _inference_figure(programs, rates, batches, caption))


def _measure(cfg: Config, programs: Sequence[Program], folder: Path) -> tuple[Rates, Memory]:
    """Time the programs, and return the best rates of the core and the programs' memory."""
    core, settings = last_core(), cfg.experiment
    sizes = sorted({program.work.read for program in programs if program.work.read})
    questions = [("read", size) for size in sizes] + [("count", NEAR), ("multiply", 0)]
    rates: Rates = dict.fromkeys(questions, 0.0)
    toolchain.compile_files([NATIVE / "limits.c"], folder / "limits")
    with ExitStack() as stack:
        limits = stack.enter_context(working([str(folder / "limits")], core, folder / "limits.log"))

        def measure_limits() -> None:
            # A rate that was reached once can be reached.
            for question in questions:
                rates[question] = max(rates[question], *limits.ask(*question))

        with stage("starting"):
            workers = [
                stack.enter_context(working(program.command, core, folder / f"worker{i}.log"))
                for i, program in enumerate(programs)
            ]
        turns = _turns(programs, workers, [int(b) for b in settings.batches], settings.seconds)
        with progress("rounds", settings.rounds * len(turns)) as advance:
            take_turns(turns, settings.rounds, measure_limits, advance=advance)
        memory = {program.name: (worker.before, worker.peak) for program, worker in zip(programs, workers, strict=True)}
    return rates, memory


def _turns(
    programs: Sequence[Program], workers: Sequence[Worker], batches: Sequence[int], seconds: float
) -> list[Turn]:
    """Return the turns of a round: for every program and batch, as many predictions as take about ``seconds``."""
    turns = []
    with progress("warming up", len(workers) * len(batches)) as advance:
        for program, worker in zip(programs, workers, strict=True):
            for batch in batches:
                worker.ask("run", FEWEST, batch)
                once = float(np.median(worker.ask("run", FEWEST, batch)))
                repeats = int(np.clip(seconds / once, FEWEST, MOST))
                program.timings[batch] = Timing()
                turns.append(Turn(worker, ("run", repeats, batch), program.timings[batch]))
                advance()
    return turns


def _report_memory(record: Record, programs: Sequence[Program], memory: Memory) -> None:
    dense, rows = programs[0].file, []
    for program in programs:
        before, peak = memory[program.name]
        beyond = None if peak is None else (peak - (before or 0)) / 1e6
        rows.append([program.name, program.file, dense / program.file, program.work.read,
                     None if peak is None else peak / 1e6, beyond])  # fmt: skip
        record.add_metrics(
            **{f"bytes/{program.name}": program.file, f"peak/{program.name}": peak,
               f"peak_beyond_start/{program.name}": beyond}
        )  # fmt: skip
    record.add_table("memory", MEMORY, rows, "bytes of what is shipped (of C its tables), and memory of the process")


def _report_speed(record: Record, programs: Sequence[Program], rates: Rates, batch: int) -> None:
    reference, dense8 = (
        next(program for program in programs if program.name == name).timings[batch] for name in (REFERENCE, DENSE8)
    )
    rows: list[list[Any]] = []
    for program in programs:
        timing = program.timings[batch]
        low, middle, high = (seconds / batch for seconds in timing.quartiles)
        ratio, ratio8 = timing.speedup(reference), timing.speedup(dense8)
        limit, by = program.work.limit(rates, batch)
        bound = [None] * 3 if limit is None else [1e6 * limit, by, limit / middle]
        rows.append([program.name, 1e6 * middle, 1e6 * low, 1e6 * high, round(1 / middle), ratio, ratio8, *bound])
        key = f"{batch}/{program.name}"
        record.add_metrics(**{f"seconds/{key}": middle, f"speed/{key}": ratio, f"speed_int8/{key}": ratio8})
        record.add_metrics(**{f"limit/{key}": limit})
    record.add_table(f"batch{batch}", SPEED, rows)
    record.add_chart(f"batch {batch}", "bar", f"batch{batch}", "program", "µs an image")
    rounds = len(reference.seconds)
    title = (
        f"batch {batch}, one core: median of {rounds} rounds, and the middle half of them; how many times as fast as "
        "dense networks in onnxruntime; limits are the fastest's"
    )
    show_table(title, SPEED, rows)


def _count_instructions(record: Record, whole: hntk.IntegerClassifier, raw: np.ndarray) -> None:
    """Report the instructions of a prediction, which do not depend on the machine's speed."""
    if not toolchain.has("valgrind", "gcc"):
        CONSOLE.print("  [yellow]left out[/] instruction counts: valgrind is not installed (make setup-tools)")
        return
    rows = []
    for (name, program), (build, march) in product(c_programs(whole).items(), BUILDS.items()):
        if march and platform.machine() != "x86_64":
            continue
        folder = record.folder / build
        folder.mkdir(exist_ok=True)
        with stage(f"counting instructions, {name}, {build}"):
            built = toolchain.compile_program(program, folder, "gcc", ("-O3", *march))
            few, more = (toolchain.instructions(built, raw[:k]) for k in (1, 5))
        rows.append([f"{name} with gcc -O3, {build}", round((more - few) / 4)])
        record.add_metrics(**{f"instructions/{name}, {build}": rows[-1][1]})
    record.add_table(
        "instructions", ["build", "instructions an image"], rows, "instructions of the C programs, by callgrind"
    )


def _inference_figure(
    programs: Sequence[Program], rates: Mapping[tuple[str, int], float], batches: Sequence[int], caption: str
) -> Figure:
    """Draw microseconds an image: a dot for every program, a line from its limit, a panel for every batch."""
    figure, axes = plt.subplots(
        1, len(batches), figsize=(2.4 + 3.2 * len(batches), 0.38 * len(programs) + 1.6), sharey=True, squeeze=False
    )
    for a, batch in zip(axes[0], batches, strict=True):
        times = [1e6 * program.timings[batch].median / batch for program in programs]
        for row, (program, time) in enumerate(zip(programs, times, strict=True)):
            colour = COLOURS[0] if program.name.startswith("hntk") else COLOURS[4]
            limit, _ = program.work.limit(rates, batch)
            if limit is not None:
                a.plot([1e6 * limit, time], [row, row], color=colour, lw=1.5, alpha=0.5)
                a.plot(1e6 * limit, row, marker="|", ms=13, mew=2.5, color=COLOURS[1])
            a.plot(time, row, marker="o", ms=8, color=colour)
            number = f"{time:,.0f}" if time >= 100 else f"{time:.3g}"
            a.annotate(number, (time, row), (8, 0), textcoords="offset points", va="center", fontsize=9)
        a.set(xscale="log", xlabel="µs an image", title=f"batch {batch}")
        left, _ = a.get_xlim()
        # room for the number beside the slowest
        a.set_xlim(right=max(times) * (max(times) / left) ** 0.25)
        plain_ticks(a.xaxis)
    axes[0, 0].set_yticks(range(len(programs)), [program.name for program in programs])
    axes[0, 0].invert_yaxis()
    mark = Line2D([], [], color=COLOURS[1], marker="|", ms=13, mew=2.5, linestyle="none")
    figure.legend([mark], ["limit set by memory bandwidth, popcounts or multiply-adds"], loc="outside lower center")
    return caption_above(figure, caption)
