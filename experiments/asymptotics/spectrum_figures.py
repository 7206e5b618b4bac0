"""Figures of theory beside simulation: lines are limits, marks are means over draws with standard errors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from experiments.asymptotics.draws import mean_and_error
from experiments.figures.style import COLOURS, STYLES
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity

if TYPE_CHECKING:
    from experiments.asymptotics.dynamics import Point as FlowPoint
    from experiments.asymptotics.learning_curve import Point as LearningPoint
    from experiments.asymptotics.spikes import Point

MARKS = "osD^vPX"
BINS = 60
# how much of the bulk's width is shown beside it
MARGIN = 0.06


def density_figure(
    panels: Mapping[str, tuple[LimitingDensity, FiniteSizeDensity, np.ndarray]], columns: int, caption: str
) -> Figure:
    """Histograms of eigenvalues, their distribution at their size (line) and in the limit (dashed; arrow: an atom)."""
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.7 * rows + 0.9), squeeze=False)
    for a, (title, (limit, sized, values)) in zip(axes.ravel(), panels.items(), strict=False):
        _density_panel(a, limit, sized, values)
        a.set_title(title, fontsize=9)
    for a in axes[:, 0]:
        a.set_ylabel("share of eigenvalues\nper unit")
    for a in axes[-1]:
        a.set_xlabel("eigenvalue")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=len(labels))
    figure.suptitle(caption, fontsize=10)
    return figure


def _density_panel(axes: Axes, limit: LimitingDensity, sized: FiniteSizeDensity, values: np.ndarray) -> None:
    left = min([limit.edges.min(), *(place for place, _ in limit.atoms)])
    right = limit.edges.max()
    bulk = np.cumsum(sized.values * np.gradient(sized.grid))
    ends = np.interp([0.001, 0.9995], bulk, sized.grid)
    low, high = min(left, ends[0]) - MARGIN * (right - left), max(right, ends[1]) + MARGIN * (right - left)
    heights = _histogram(axes, low, high, sized, values)
    fine = np.concatenate([_angles(*edges) for edges in limit.edges])
    axes.plot(fine, limit.density(fine), color=COLOURS[2], lw=1.2, linestyle="--", label="limit")
    top = 1.3 * np.sort(heights)[-2:].mean()
    if limit.atoms:
        top = 2.6 * limit.density(fine).max()
    for place, mass in limit.atoms:
        axes.annotate("", (place, top), (place, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[2], "lw": 1.4})
        axes.annotate(f"limit: {mass:.0%}\n← here\nenlarged →", (0.19, 0.97), va="top", xycoords="axes fraction",
                      fontsize=7, color=COLOURS[2])  # fmt: skip
        inset = axes.inset_axes((0.52, 0.42, 0.46, 0.54))
        ends = sized.quantiles(mass * np.array([0.002, 0.97]))
        width = float(ends[1] - ends[0])
        own = _histogram(inset, float(ends[0]) - 0.2 * width, float(ends[1]) + 0.2 * width, sized, values, BINS // 2)
        inset.axvline(place, color=COLOURS[2], lw=1.2, linestyle="--")
        inset.set(ylim=(0, 1.2 * own.max()), yticks=[])
        inset.tick_params(labelsize=7)
        inset.locator_params(axis="x", nbins=3)
    beyond = int(np.sum(values > high))
    if beyond:
        axes.annotate(f"{beyond / values.size:.2%} beyond →", (0.99, 0.21 if limit.atoms else 0.5), va="bottom",
                      xycoords="axes fraction", ha="right", fontsize=8, color=COLOURS[4])  # fmt: skip
    axes.set(xlim=(low, high), ylim=(0, top))


def _histogram(
    axes: Axes, low: float, high: float, sized: FiniteSizeDensity, values: np.ndarray, count: int = BINS
) -> np.ndarray:
    """Bars of the values, a line of what is predicted; the bars' heights."""
    bins = np.linspace(low, high, count + 1)
    heights = np.histogram(values, bins)[0] / (values.size * np.diff(bins))
    axes.stairs(heights, bins, fill=True, color=COLOURS[0], alpha=0.3, label="simulation")
    grid = sized.grid[(sized.grid > low) & (sized.grid < high)]
    axes.plot(grid, sized.density(grid), color=COLOURS[1], lw=1.8, label="theory at this size")
    axes.set_xlim(low, high)
    return heights


def _angles(left: float, right: float) -> np.ndarray:
    """Points between two edges, dense at both."""
    return left + (right - left) * (1 - np.cos(np.linspace(0.02, np.pi - 0.02, 300))) / 2


def distance_figure(
    rows: Mapping[str, Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]], sizes: Sequence[int], caption: str
) -> Figure:
    """Distances (mean, standard error) against p by row and column; a dotted line falls like 1/p."""
    columns = max(map(len, rows.values()))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(4.1 * columns, 3.4 * len(rows) + 1.2), sharex=True, sharey=True, squeeze=False
    )
    for line, (name, panels) in zip(axes, rows.items(), strict=True):
        for a, (title, lines) in zip(line, panels.items(), strict=False):
            _distance_panel(a, lines, sizes)
            a.set_title(f"{title}, {name}", fontsize=10)
        for a in line[len(panels) :]:
            a.remove()
        line[0].set_ylabel("Kolmogorov distance")
    for a in figure.axes:
        a.set_xlabel("dimension p")
        a.tick_params(labelbottom=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=3)
    figure.suptitle(caption, fontsize=10)
    return figure


def _distance_panel(a: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], sizes: Sequence[int]) -> None:
    for i, (name, pairs) in enumerate(lines.items()):
        means, errors = np.array(pairs).T
        # one colour for each case, whose CK and NTK differ by marks
        style = {"color": COLOURS[i // 2], "linestyle": STYLES[i % 2], "marker": MARKS[i % 2], "ms": 5, "lw": 1.4}
        a.errorbar(sizes, means, errors, capsize=2, label=name, **style)
    first = max(pairs[0][0] for pairs in lines.values())
    a.plot(sizes, 1.25 * first * sizes[0] / np.array(sizes), color=COLOURS[4], linestyle=":", label="∝ 1/p")
    a.axhline(0.02, color=COLOURS[4], lw=0.8)
    a.annotate("0.02", (sizes[-1], 0.02), (0, 2), textcoords="offset points", ha="right", fontsize=8)
    a.set(xscale="log", yscale="log")
    a.set_xticks(sizes, [str(p) for p in sizes])
    a.xaxis.set_minor_locator(NullLocator())


def spike_figure(panels: Mapping[str, Sequence[Point]], curves: Mapping[str, Sequence[Point]], caption: str) -> Figure:
    """Eigenvalues above, squared alignments below; a column for everything that can keep classes apart."""
    figure, axes = plt.subplots(2, len(panels), figsize=(4.7 * len(panels), 6.2), sharex="col", squeeze=False)
    for column, (title, points) in enumerate(panels.items()):
        curve = curves[title]
        crossing = next(((a.at + b.at) / 2 for a, b in itertools.pairwise(curve) if b.above and not a.above), None)
        for row, part in enumerate(("value", "alignment")):
            a = axes[row, column]
            theory = [getattr(q.predicted, part) for q in curve]
            a.plot([q.at for q in curve], theory, color=COLOURS[4], lw=1.6, label="limit")
            for i, simulated in enumerate(points[0].found):
                pairs = [mean_and_error([getattr(pair, part) for pair in q.found[simulated]]) for q in points]
                style = {"color": COLOURS[i], "marker": MARKS[i], "ms": 6 - i, "mfc": COLOURS[i] if i else "none"}
                a.errorbar([q.at for q in points], *np.array(pairs).T, linestyle="none", capsize=2,
                           label=f"{simulated} kernel", **style)  # fmt: skip
            if crossing:
                a.axvline(crossing, color=COLOURS[1], lw=0.9, linestyle="--", label="phase transition")
        axes[1, column].set_xlabel(title)
        axes[1, column].set_ylim(-0.03, 1)
    axes[0, 0].set_ylabel("largest eigenvalue")
    axes[1, 0].set_ylabel("squared cosine of its eigenvector\nwith the classes' indicators")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=len(labels))
    figure.suptitle(caption, fontsize=10)
    return figure


def spike_error_figure(points: Sequence[Point], caption: str) -> Figure:
    """What theory is off by, against p: a line for every place and kernel."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6))
    places = list(dict.fromkeys((q.axis, q.at) for q in points))
    for i, place in enumerate(places):
        own = [q for q in points if (q.axis, q.at) == place]
        for j, simulated in enumerate(own[0].found):
            errors = np.abs([q.errors(simulated) for q in own])
            label = f"{place[0]} {place[1]:g} ({'above' if own[0].above else 'below'}), {simulated}"
            style = {"color": COLOURS[i], "linestyle": STYLES[j], "marker": MARKS[j], "ms": 5, "lw": 1.4}
            axes[0].plot([q.p for q in own], errors[:, 0], label=label, **style)
            axes[1].plot([q.p for q in own], errors[:, 1], **style)
    sizes = sorted({q.p for q in points})
    labels = ("eigenvalue: |mean/theory − 1|", "squared alignment: |mean − theory|")
    for a, label, limit in zip(axes, labels, (0.03, 0.03), strict=True):
        a.axhline(limit, color=COLOURS[4], lw=0.8)
        a.annotate(f"{limit:g}", (sizes[-1], limit), (0, 2), textcoords="offset points", ha="right", fontsize=8)
        a.set(xscale="log", yscale="log", xlabel="dimension p", ylabel=label)
        a.set_xticks(sizes, [str(p) for p in sizes])
        a.xaxis.set_minor_locator(NullLocator())
        a.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        a.yaxis.set_minor_formatter(StrMethodFormatter(""))
    figure.legend(loc="outside lower center", ncol=3)
    figure.suptitle(caption, fontsize=10)
    return figure


def learning_figure(
    points: Sequence[LearningPoint],
    curves: Sequence[LearningPoint],
    best: Mapping[str, Sequence[tuple[int, float, float]]],
    ridge: float,
    caption: str,
) -> Figure:
    """Test errors (rows) against n/p at one ridge, all networks, and against the ridge for every n, dense."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex="col", squeeze=False)
    arms = list(dict.fromkeys(q.arm for q in points))
    sizes = sorted({q.n for q in points})
    rows = {"squared": ("test_squared", "test squared error"), "classification": ("test_wrong", "test errors (share)")}
    for (left, right), (criterion, (error, label)) in zip(axes, rows.items(), strict=True):
        for i, arm in enumerate(arms):
            line, marks = ([q for q in part if q.arm == arm and q.ridge == ridge] for part in (curves, points))
            _theory_and_simulation(left, line, marks, "ratio", error, i, arm)
        for i, n in enumerate(sizes):
            line, marks = ([q for q in part if q.arm == arms[0] and q.n == n] for part in (curves, points))
            _theory_and_simulation(right, line, marks, "ridge", error, i, f"n = {n}")
            _, place, height = next(b for b in best[criterion] if b[0] == n)
            low, high = min(q.ridge for q in points), max(q.ridge for q in points)
            mark = "<" if place < low else ">" if place > high else "*"
            right.plot(np.clip(place, low / 1.4, high * 1.4), height, marker=mark, ms=11 if mark == "*" else 8,
                       color=COLOURS[i], mec="black", mew=0.6, linestyle="none")  # fmt: skip
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
    figure.suptitle(caption, fontsize=10)
    return figure


def _theory_and_simulation(
    axes: Axes,
    curve: Sequence[LearningPoint] | Sequence[FlowPoint],
    points: Sequence[LearningPoint] | Sequence[FlowPoint],
    across: str,
    error: str,
    i: int,
    label: str,
) -> None:
    line = sorted((getattr(q, across), np.mean([getattr(e, error) for e in q.predicted])) for q in curve)
    axes.plot(*np.array(line).reshape(-1, 2).T, color=COLOURS[i], linestyle=STYLES[i], lw=1.6)
    marks = sorted((getattr(q, across), *mean_and_error([getattr(e, error) for e in q.simulated])) for q in points)
    style = {"color": COLOURS[i], "marker": MARKS[i], "ms": 7 - i, "mfc": "none" if i == 0 else COLOURS[i]}
    places, means, errors = np.array(marks).reshape(-1, 3).T
    axes.errorbar(places, means, errors, linestyle="none", capsize=3, label=label, **style)


def dynamics_figure(
    panels: Mapping[str, Sequence[FlowPoint]], curves: Mapping[str, Sequence[FlowPoint]], caption: str
) -> Figure:
    """Squared errors above, shares of errors below, against time; a column for every n."""
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
    figure.suptitle(caption, fontsize=10)
    return figure
