"""Sweeps from start to end: measured, in tables and metrics, and in a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmarks.harness import Case, Machine, Measured, Sweep, measure
from experiments.benchmarks.settings import BenchExperiment
from experiments.figures.style import WIDEST, caption_above, legend_below
from experiments.runner.console import CONSOLE, say
from experiments.runner.record import Record
from hntk._utils.statistics import growth_exponent
from hntk.plot.style import COLOURS, line_style, plain_ticks

COLUMNS = [
    "contender",
    "setting",
    "seconds",
    "from",
    "to",
    "times peer",
    "MB beyond start",
    "÷ results",
    "limit",
    "÷ limit",
]
NOTE = (
    "From, to: the middle half of the rounds. Times peer: how many times as long the peer takes, which is "
    "below 1 where the peer is faster. MB beyond start: the most memory beyond that of the libraries; ÷ results: "
    "that, by the bytes of the results. Limit: the least seconds that this machine could take by the best rates of "
    "all rounds; ÷ limit: the seconds of the fastest round, by that."
)
# of contenders by the turn of the colours in which they come
MARKERS = "osD^"
# Of one contender: values of the quantity, and seconds or megabytes.
Line = tuple[list[int], list[float]]
# A panel: horizontal axis, vertical axis, title, lines by contender, and the least seconds; None for no seconds.
Panel = tuple[str, str, str, Mapping[str, Line], Line | None]
LIMIT = "limit of this machine"


def run_sweeps(record: Record, sweeps: Sequence[Sweep], settings: BenchExperiment) -> dict[str, list[Case]]:
    """Measure all sweeps that have cases, record their tables and metrics, and return the cases by sweep."""
    measured, machine = {}, Machine()
    for sweep, cases, machine in measure([sweep for sweep in sweeps if sweep.cases], settings, record.folder):
        measured[sweep.key] = cases
        _report(record, sweep, cases, machine)
        _report_growth(record, sweep, cases)
    rates = {"machine/write": machine.written, "machine/multiply": machine.multiplied, "machine/bend": machine.bent}
    record.add_metrics(**rates)
    say(f"\n[dim]{NOTE}[/]")
    CONSOLE.print(
        f"This machine writes {machine.written / 1e9:.1f} GB/s of results, multiplies matrices at "
        f"{machine.multiplied / 1e9:.0f} GFLOP/s, and takes {machine.bent / 1e9:.2f} billion numbers a second through "
        "the arcsine and the root of a layer of ReLU (float32). Limits are by these: bytes that must be written, or "
        "operations."
    )
    return measured


def _report(record: Record, sweep: Sweep, cases: Sequence[Case], machine: Machine) -> None:
    rows: list[list[Any]] = []
    for case in cases:
        rows += [_row(record, sweep, case, name, machine) for name in case.best]
        rows += [
            [case.value, name, *[None] * len(COLUMNS), why] for name, why in sweep.left_out.get(case.value, {}).items()
        ]
    columns = [sweep.axis, *COLUMNS, "accuracy", "left out"]
    # results with an accuracy are predictions: their bytes say nothing of memory, and no least work of theirs is known
    unused = {"accuracy"} if sweep.accuracy is None else {"÷ results", "limit", "÷ limit"}
    if not any(sweep.left_out.values()):
        unused.add("left out")
    kept = [i for i, column in enumerate(columns) if column not in unused]
    peer = f"; the peer is {sweep.peer}" if sweep.peer else ""
    record.add_table(
        sweep.key,
        [columns[i] for i in kept],
        [[row[i] for i in kept] for row in rows],
        f"Against {sweep.axis} ({sweep.about}): medians over rounds, and the middle half of them{peer}",
    )


def _row(record: Record, sweep: Sweep, case: Case, name: str, machine: Machine) -> list[Any]:
    """Record the metrics of a contender, and return its row with all columns."""
    measured = case.best[name]
    contender = measured.contender
    low, middle, high = measured.quartiles
    peer, limit = case.best.get(sweep.peer or ""), machine.limit(contender.work)
    measured.limit = limit
    ratio = None if peer is None else measured.speedup(peer)
    beyond = measured.beyond if contender.memory else None
    share = None if beyond is None or contender.results is None else beyond / contender.results
    place, accuracy = f"{sweep.key}/{case.value}/{name}", case.accuracy.get(name)
    record.add_metrics(
        **{f"seconds/{place}": middle, f"times_peer/{place}": ratio, f"beyond/{place}": beyond,
           f"difference/{place}": case.difference.get(name)}
    )  # fmt: skip
    if accuracy is not None:
        record.add_metrics(**{f"accuracy/{place}": accuracy})
    return [case.value, name, contender.setting or None, middle, low, high, ratio,
            None if beyond is None else beyond / 1e6, share, limit,
            None if limit is None else min(measured.seconds) / limit, accuracy, None]  # fmt: skip


def _report_growth(record: Record, sweep: Sweep, cases: Sequence[Case]) -> None:
    for name, (values, seconds) in _lines(cases, lambda measured: measured.median).items():
        exponent = growth_exponent(values, seconds)
        record.add_metrics(**{f"exponent/{sweep.key}/{name}": exponent})
        if exponent is not None:
            CONSOLE.print(f"  {name}: time grows like {sweep.axis} to the {exponent:.2f}")
    largest = max((d for case in cases for d in case.difference.values()), default=None)
    if largest is not None:
        record.add_metrics(**{f"difference/{sweep.key}": largest})
        CONSOLE.print(f"  results differ from those of {sweep.peer} by {largest:.1e} of their largest entry at most")


def _lines(cases: Iterable[Case], quantity: Callable[[Measured], float | None]) -> dict[str, Line]:
    """Return a quantity against the sweep's values, by contender, where it is known."""
    lines: dict[str, Line] = {}
    for case in cases:
        for name, measured in case.best.items():
            height = quantity(measured)
            if height is not None:
                values, heights = lines.setdefault(name, ([], []))
                values.append(case.value)
                heights.append(height)
    return lines


def _limits(cases: Iterable[Case]) -> Line:
    """Return the least seconds of every case in which they are known."""
    known = [(case.value, [m.limit for m in case.best.values() if m.limit is not None]) for case in cases]
    return [value for value, limits in known if limits], [min(limits) for _, limits in known if limits]


def _megabytes(measured: Measured) -> float | None:
    return measured.beyond / 1e6 if measured.beyond and measured.contender.memory else None


def draw_sweeps(
    record: Record,
    sweeps: Sequence[Sweep],
    cases: Mapping[str, list[Case]],
    name: str,
    caption: str,
    *,
    exponents: bool = True,
) -> None:
    """Record a figure of seconds against the quantity of every sweep, and of memory for the first one.

    Exponents of the growth stand at the ends of the lines of seconds, where ``exponents`` says so.
    """
    panels: list[Panel] = []
    for sweep in (s for s in sweeps if s.cases):
        lines = _lines(cases[sweep.key], lambda measured: measured.median)
        limits = _limits(cases[sweep.key]) if exponents else None
        panels.append((sweep.axis, "seconds", sweep.about, lines, limits))
        memory = _lines(cases[sweep.key], _megabytes)
        if memory and sweep is sweeps[0]:
            panels.append((sweep.axis, "peak memory beyond start, MB", sweep.about, memory, None))
    if not panels:
        return
    record.add_figure(name, _sweeps_figure(panels, caption))


def _sweeps_figure(panels: Sequence[Panel], caption: str) -> Figure:
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDEST / 2 * columns, 3.3 * rows + 0.6), squeeze=False)
    names = list(dict.fromkeys(name for *_, lines, _ in panels for name in lines))
    axes = grid.ravel()
    for unused in axes[len(panels) :]:
        unused.set_axis_off()
    for a, panel in zip(axes, panels, strict=False):
        _draw_panel(a, panel, names)
    legend_below(figure, axes, min(3, len(names) + 1))
    return caption_above(figure, caption)


def _draw_panel(a: Axes, panel: Panel, names: Sequence[str]) -> None:
    across, up, title, lines, limits = panel
    with_exponents = limits is not None
    for name, (values, heights) in lines.items():
        index = names.index(name)
        style = line_style(index, marker=MARKERS[index // len(COLOURS) % len(MARKERS)], ms=5, lw=1.6)
        a.plot(values, heights, label=name, **style)
        exponent = growth_exponent(values, heights) if with_exponents else None
        if exponent is not None:
            text = rf"$\propto\mathrm{{{across}}}^{{{exponent:.2f}}}$"
            a.annotate(text, (values[-1], heights[-1]), (6, -3), textcoords="offset points", fontsize=9,
                       color=style["color"])  # fmt: skip
    if limits is not None and limits[0]:
        a.plot(*limits, label=LIMIT, color="0.45", lw=1.2, ls=":", marker="_", ms=9)
    sizes = sorted({v for values, _ in lines.values() for v in values})
    a.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    a.set_title(title, fontsize=9)
    a.set_xticks(sizes, [f"{v:,}" for v in sizes])
    a.minorticks_off()
    a.margins(y=0.12)
    if with_exponents:
        # room for the exponents beside the ends of the lines
        a.set_xlim(right=sizes[-1] * max(sizes[-1] / sizes[0], 2) ** 0.3)
    plain_ticks(a.yaxis)
