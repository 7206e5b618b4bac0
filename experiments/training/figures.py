"""Figures of trained networks: error against kilobytes, and against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from experiments.figures.style import caption_above
from experiments.runner.statistics import means_in_words
from experiments.training.points import Point
from experiments.training.published import PublishedPoint
from experiments.training.settings import ARMS
from hntk.plot.style import MARKS, line_style

SIZE = (7.2, 4.8)
# Numbers at which logarithmic axes have labels, times powers of ten.
SIZE_STEPS, ERROR_STEPS = (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
LABELS = {"random8": "drawn, 8 levels", "trained4": "trained, 4 levels", "trained8": "trained, 8 levels"}
OTHERS = "#555555"
# Places of a name beside its point, in points of 1/72 inch, the best first; half the size of a mark.
PLACES = (
    (8, -3), (8, 5), (8, -11), (8, 13), (8, -19), (-8, -3), (0, 8), (0, -15), (-8, 6), (-8, -12), (8, 21), (8, -27),
)  # fmt: skip
MARK = 3.0
# Height of a line of text, in multiples of the size of its font.
LINE = 1.2
# Room at the right for the names of lines, as a factor of the axis.
MARGIN = 3.2


def frontier_figure(
    points: Sequence[Point], chosen: Sequence[Point], others: Sequence[PublishedPoint], data: str
) -> Figure:
    """Draw the test error of every point with standard errors, lines through an arm, and what others published.

    Points that validation chose among arms of one budget are filled.
    """
    figure, axes = plt.subplots(figsize=SIZE)
    labels = []
    for index, arm in enumerate(ARMS):
        line = [point for point in points if point.arm == arm]
        if line:
            _draw_arm(axes, line, [point in chosen for point in line], index)
            last = (line[-1].kilobytes, 1 - line[-1].test)
            labels.append(Label(LABELS[arm], last, line_style(index)["color"], 9))
    for point in others:
        axes.plot(point.kilobytes, 1 - point.accuracy, "x", color=OTHERS, ms=5)
    sizes = [p.kilobytes for p in (*points, *others)]
    bars = [1 - p.test + sign * float(np.nan_to_num(p.error)) for p in points for sign in (-0.9, 1)]
    errors = [e for e in (*bars, *(1 - p.test for p in points), *(1 - p.accuracy for p in others)) if e > 0]
    _log_axis(axes, "x", min(sizes) / (2.5 if others else 1.2), max(sizes) * MARGIN, SIZE_STEPS)
    _log_axis(axes, "y", min(errors) / 1.25, max(errors) * 1.25, ERROR_STEPS, percent=True)
    axes.set(xlabel="tables of the program, in kB of flash", ylabel="test error")
    labels += [Label(point.name, (point.kilobytes, 1 - point.accuracy), OTHERS, 7.5) for point in others]
    seeds = max(point.seeds for point in points)
    crosses = "\ncrosses: published by others" if others else ""
    caption_above(figure, f"{data}: {means_in_words(seeds, 'seed')}; filled: chosen by validation{crosses}")
    write_labels(axes, labels, [(point.kilobytes, 1 - point.test) for point in points])
    return figure


def _draw_arm(axes: Axes, line: Sequence[Point], filled: Sequence[bool], index: int) -> None:
    style = line_style(index)
    x, y = [p.kilobytes for p in line], [1 - p.test for p in line]
    bars = np.nan_to_num([p.error for p in line])
    # An error bar must stay above 0 on a logarithmic axis.
    below = np.minimum(bars, 0.9 * np.array(y))
    axes.errorbar(x, y, yerr=[below, bars], capsize=2.5, lw=1.4, **style)
    for place, (a, b) in enumerate(zip(x, y, strict=True)):
        face = style["color"] if filled[place] else "white"
        axes.plot(a, b, MARKS[index], color=style["color"], mfc=face, ms=5.5, zorder=3)


class Label(NamedTuple):
    """A name beside a point, in the units of the axes."""

    text: str
    at: tuple[float, float]
    colour: str
    size: float


def write_labels(axes: Axes, labels: Sequence[Label], points: Sequence[tuple[float, float]] = ()) -> None:
    """Write each name at the first place beside its point where it covers no other name, no point and no axis.

    Axes must have their limits and scales already.

    Parameters
    ----------
    axes : Axes
        The axes.
    labels : sequence of Label
        The names, the most important first.
    points : sequence of pair
        What no name is to cover, besides the points that have names.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    marks = axes.transData.transform([*(label.at for label in labels), *points])
    half, frame = MARK * figure.dpi / 72, axes.get_window_extent()
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in marks]
    for label in labels:
        for place in PLACES:
            text = _beside(axes, label, place)
            box = text.get_window_extent()
            free = box.x0 >= frame.x0 and not any(box.overlaps(other) for other in taken)
            if free or place == PLACES[-1]:
                taken.append(box)
                break
            text.remove()


def write_end_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Write names right of the ends of lines, in the order of their heights and none over another."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    ordered = sorted(labels, key=lambda label: -label.at[1])
    heights = [float(axes.transData.transform(label.at)[1]) * 72 / figure.dpi for label in ordered]
    placed: list[float] = []
    for height, label in zip(heights, ordered, strict=True):
        placed.append(min(height, placed[-1] - LINE * label.size) if placed else height)
    # what was pushed down moves up by half of it, together
    rise = max((height - place for height, place in zip(heights, placed, strict=True)), default=0.0) / 2
    for height, place, label in zip(heights, placed, ordered, strict=True):
        _beside(axes, label, (8, place + rise - height - label.size / 3))


def _beside(axes: Axes, label: Label, place: tuple[float, float]) -> Annotation:
    """Write a name so many points beside its point; a dollar sign begins no formula."""
    across = "left" if place[0] > 0 else "right" if place[0] < 0 else "center"
    return axes.annotate(
        label.text.replace("$", r"\$"), label.at, place, textcoords="offset points", color=label.colour,
        fontsize=label.size, ha=across,
    )  # fmt: skip


def _log_axis(
    axes: Axes, name: str, low: float, high: float, steps: Sequence[float], *, percent: bool = False
) -> None:  # fmt: skip
    """Make an axis logarithmic between two numbers, with labels at round numbers."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    shown = thinned([step * power for power in powers for step in steps if low <= step * power <= high], high / low)
    axis.set_major_locator(FixedLocator(shown))
    axis.set_ticklabels([f"{100 * value:.3g} %" if percent else f"{value:.3g}" for value in shown])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def thinned(numbers: Sequence[float], ratio: float) -> list[float]:
    """Return the numbers that are at least a fifteenth of a logarithmic axis from the one before."""
    kept: list[float] = []
    for number in numbers:
        if not kept or np.log(number / kept[-1]) > np.log(ratio) / 15:
            kept.append(number)
    return kept


def epochs_figure(histories: Mapping[str, Mapping[str, Any]], data: str, seeds: int) -> Figure:
    """Draw validation errors after every epoch and test errors at some, one line a start.

    Parameters
    ----------
    histories : mapping
        By name of a line: ``epochs``, ``validation`` and ``validation_error``, arrays over epochs, and ``at``, ``test``
        and ``test_error``, arrays over the epochs whose programs were tested. Errors are standard errors of accuracies.
    data : str
        Name of the data set.
    seeds : int
        Number of seeds.

    Returns
    -------
    Figure
        Two panels.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9.4, 4.4), sharey=True)
    labels: list[Label] = []
    for index, (name, history) in enumerate(histories.items()):
        style = {**line_style(index), "marker": MARKS[index % len(MARKS)], "ms": 4}
        for axes, at, part in ((panels[0], "epochs", "validation"), (panels[1], "at", "test")):
            x, y = np.asarray(history[at]), 1 - np.asarray(history[part])
            bars = np.nan_to_num(history[f"{part}_error"])
            every = max(1, len(x) // 12)
            axes.errorbar(x, y, yerr=[np.minimum(bars, 0.9 * y), bars], capsize=2, markevery=every, errorevery=every,
                          lw=1.3, **style)  # fmt: skip
        labels.append(Label(name, (x[-1], y[-1]), style["color"], 9))
    both = [1 - np.asarray(h[part]) for h in histories.values() for part in ("validation", "test")]
    low, high = min(map(np.min, both)), max(map(np.max, both))
    last = max(float(np.max(h["at"])) for h in histories.values())
    for axes, title in zip(panels, ("validation", "test, programs of whole numbers"), strict=True):
        _log_axis(axes, "y", max(low, 1e-4) / 1.15, high * 1.15, ERROR_STEPS, percent=True)
        _log_axis(axes, "x", 0.9, last * (2.2 if axes is panels[1] else 1.1), SIZE_STEPS)
        axes.set(xlabel="epochs", title=title)
    panels[0].set_ylabel("error")
    caption_above(figure, f"{data}: {means_in_words(seeds, 'seed')}")
    write_end_labels(panels[1], labels)
    return figure
