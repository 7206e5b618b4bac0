"""Figures of predicted and simulated errors: lines are theory, marks are means over draws with standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments.asymptotics.comparison import Comparison, FlowPoint, RidgePoint
from experiments.figures.style import COLOURS, MARKS, caption_above, line_style
from experiments.runner.statistics import mean_and_error

# For each criterion of the best ridge: the error it minimises, and the label of its axis.
CRITERIA = {"squared": ("test_squared", "test squared error"), "classification": ("test_wrong", "test errors (share)")}


def learning_figure(
    points: Sequence[RidgePoint],
    curves: Sequence[RidgePoint],
    best: Mapping[str, Sequence[tuple[int, float, float]]],
    ridge: float,
    caption: str,
) -> Figure:
    """Draw test errors (rows) against n/p for all networks at one ridge, and against the ridge for every n, dense."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex="col", squeeze=False)
    arms = list(dict.fromkeys(q.arm for q in points))
    dense_points, dense_curves = ([q for q in part if q.arm == arms[0]] for part in (points, curves))
    for (left, right), (criterion, (error, label)) in zip(axes, CRITERIA.items(), strict=True):
        for i, arm in enumerate(arms):
            line, marks = ([q for q in part if q.arm == arm and q.ridge == ridge] for part in (curves, points))
            _theory_and_simulation(left, line, marks, "ratio", error, i, arm)
        for i, n in enumerate(sorted({q.n for q in points})):
            line, marks = ([q for q in part if q.n == n] for part in (dense_curves, dense_points))
            _theory_and_simulation(right, line, marks, "ridge", error, i, f"n = {n}")
            _, place, height = next(b for b in best[criterion] if b[0] == n)
            _mark_best_ridge(right, place, height, [q.ridge for q in points], COLOURS[i])
        left.set(xscale="log", ylabel=label)
        right.set(xscale="log")
    axes[0, 0].set_title(f"at λ = {ridge:g} τ²", fontsize=10)
    axes[0, 1].set_title("dense; ★: best ridge by theory (◄ ►: off the axis)", fontsize=10)
    ratios = sorted({q.ratio for q in points})
    axes[1, 0].set_xticks(ratios, [f"{r:g}" for r in ratios])
    axes[1, 0].xaxis.set_minor_locator(NullLocator())
    axes[1, 0].set_xlabel("training samples by dimension, n/p")
    axes[1, 1].set_xlabel("ridge λ by the kernel's diagonal τ²")
    axes[0, 0].legend()
    axes[0, 1].legend()
    return caption_above(figure, caption)


def _mark_best_ridge(axes: Axes, place: float, height: float, shown: Sequence[float], colour: str) -> None:
    """Draw a star at the best ridge, or an arrow at the end of the axis beyond which it lies."""
    low, high = min(shown), max(shown)
    mark = "<" if place < low else ">" if place > high else "*"
    axes.plot(np.clip(place, low / 1.4, high * 1.4), height, marker=mark, ms=11 if mark == "*" else 8,
              color=colour, mec="black", mew=0.6, linestyle="none")  # fmt: skip


def dynamics_figure(
    panels: Mapping[str, Sequence[FlowPoint]], curves: Mapping[str, Sequence[FlowPoint]], caption: str
) -> Figure:
    """Draw squared errors (above) and shares of errors (below) against time, one column for every n."""
    figure, axes = plt.subplots(
        2, len(panels), figsize=(4.8 * len(panels), 6.6), sharex=True, sharey="row", squeeze=False
    )
    for column, (title, points) in enumerate(panels.items()):
        for row, kind in enumerate(("squared", "wrong")):
            a = axes[row, column]
            for i, part in enumerate(("training", "test")):
                _theory_and_simulation(a, curves[title], points, "time", f"{part}_{kind}", i, part)
            a.set_xscale("log")
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("time s by one over the kernel's diagonal, s κ²")
    axes[0, 0].set_ylabel("mean squared error")
    axes[1, 0].set_ylabel("errors (share)")
    axes[0, 0].legend()
    return caption_above(figure, caption)


def _theory_and_simulation(
    axes: Axes, curve: Sequence[Comparison], points: Sequence[Comparison], across: str, error: str, i: int, label: str
) -> None:
    """Draw one error against one coordinate: a line of predictions, and marks of simulations."""
    line = sorted((getattr(q, across), np.mean([getattr(e, error) for e in q.predicted])) for q in curve)
    axes.plot(*np.array(line).reshape(-1, 2).T, lw=1.6, **line_style(i))
    marks = sorted((getattr(q, across), *mean_and_error([getattr(e, error) for e in q.simulated])) for q in points)
    style = {"color": COLOURS[i], "marker": MARKS[i], "ms": 7 - i, "mfc": "none" if i == 0 else COLOURS[i]}
    places, means, errors = np.array(marks).reshape(-1, 3).T
    axes.errorbar(places, means, errors, linestyle="none", capsize=3, label=label, **style)
