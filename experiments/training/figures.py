"""Figures of trained networks: error against kilobytes, and against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from experiments.figures.style import MARKS, caption_above, line_style
from experiments.training.published import PublishedPoint
from experiments.training.settings import ARMS

if TYPE_CHECKING:
    from experiments.training.frontier_report import Point

SIZE = (7.2, 4.8)
# Numbers at which logarithmic axes have labels, times powers of ten.
SIZE_STEPS, ERROR_STEPS = (1, 2, 5), (1, 1.5, 2, 3, 5, 7)
LABELS = {"random8": "drawn, 8 levels", "trained4": "trained, 4 levels", "trained8": "trained, 8 levels"}
OTHERS = "#555555"
# Room at the right for the names of lines, as a factor of the axis.
MARGIN = 2.6


def frontier_figure(
    points: Sequence[Point], chosen: Sequence[Point], others: Sequence[PublishedPoint], data: str
) -> Figure:
    """Draw the test error of every point with standard errors, lines through an arm, and what others published.

    Points that validation chose among arms of one budget are filled.
    """
    figure, axes = plt.subplots(figsize=SIZE)
    for index, arm in enumerate(ARMS):
        line = [point for point in points if point.arm == arm]
        if line:
            _draw_arm(axes, line, [point in chosen for point in line], index)
    for point in others:
        axes.plot(point.kilobytes, 1 - point.accuracy, "x", color=OTHERS, ms=5)
        _label(axes, point.name, (point.kilobytes, 1 - point.accuracy), OTHERS, (5, -3), 7.5)
    sizes = [p.kilobytes for p in (*points, *others)]
    bars = [1 - p.test + sign * float(np.nan_to_num(p.error)) for p in points for sign in (-0.9, 1)]
    errors = [e for e in (*bars, *(1 - p.test for p in points), *(1 - p.accuracy for p in others)) if e > 0]
    _log_axis(axes, "x", min(sizes) / 1.2, max(sizes) * MARGIN, SIZE_STEPS)
    _log_axis(axes, "y", min(errors) / 1.25, max(errors) * 1.25, ERROR_STEPS, percent=True)
    axes.set(xlabel="tables of the program, in kB of flash", ylabel="test error")
    seeds = max(point.seeds for point in points)
    crosses = "; crosses: published by others" if others else ""
    return caption_above(
        figure, f"{data}: means of {seeds} seeds with standard errors; filled: chosen by validation{crosses}"
    )


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
    _label(axes, LABELS[line[0].arm], (x[-1], y[-1]), style["color"], (8, -3), 9)


def _label(
    axes: Axes, text: str, at: tuple[float, float], colour: str, offset: tuple[float, float], size: float
) -> None:  # fmt: skip
    """Write a name beside a point; a dollar sign begins no formula."""
    axes.annotate(text.replace("$", r"\$"), at, offset, textcoords="offset points", color=colour, fontsize=size)


def _log_axis(
    axes: Axes, name: str, low: float, high: float, steps: Sequence[float], *, percent: bool = False
) -> None:  # fmt: skip
    """Make an axis logarithmic between two numbers, with labels at round numbers."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    shown = [step * power for power in powers for step in steps if low <= step * power <= high]
    axis.set_major_locator(FixedLocator(shown))
    axis.set_ticklabels([f"{100 * value:.3g} %" if percent else f"{value:.3g}" for value in shown])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


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
    for index, (name, history) in enumerate(histories.items()):
        style = {**line_style(index), "marker": MARKS[index % len(MARKS)], "ms": 4}
        for axes, at, part in ((panels[0], "epochs", "validation"), (panels[1], "at", "test")):
            x, y = np.asarray(history[at]), 1 - np.asarray(history[part])
            bars = np.nan_to_num(history[f"{part}_error"])
            every = max(1, len(x) // 12)
            axes.errorbar(x, y, yerr=[np.minimum(bars, 0.9 * y), bars], capsize=2, markevery=every, errorevery=every,
                          lw=1.3, **style)  # fmt: skip
        panels[1].annotate(name, (x[-1], y[-1]), (7, -3), textcoords="offset points", fontsize=9, color=style["color"])
    both = [1 - np.asarray(h[part]) for h in histories.values() for part in ("validation", "test")]
    low, high = min(map(np.min, both)), max(map(np.max, both))
    last = max(float(np.max(h["at"])) for h in histories.values())
    for axes, title in zip(panels, ("validation", "test, programs of whole numbers"), strict=True):
        _log_axis(axes, "y", max(low, 1e-4) / 1.15, high * 1.15, ERROR_STEPS, percent=True)
        _log_axis(axes, "x", 0.9, last * (2.2 if axes is panels[1] else 1.1), SIZE_STEPS)
        axes.set(xlabel="epochs", title=title)
    panels[0].set_ylabel("error")
    return caption_above(figure, f"{data}: means of {seeds} seeds with standard errors")
