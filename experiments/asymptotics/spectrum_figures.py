"""Figures of eigenvalue densities over simulated spectra, and of the distance between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.style import COLOURS, MARKS, STYLES, caption_above, legend_below, limit_line, listed_ticks
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity

BINS = 60
# Share of the bulk's width that is shown on either side of it.
MARGIN = 0.06


def density_figure(
    panels: Mapping[str, tuple[LimitingDensity, FiniteSizeDensity, np.ndarray]], columns: int, caption: str
) -> Figure:
    """Draw histograms of eigenvalues, and their density at their size (line) and in the limit (dashed; arrow: atom)."""
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.7 * rows + 0.9), squeeze=False)
    for a, (title, (limit, sized, values)) in zip(axes.ravel(), panels.items(), strict=False):
        _density_panel(a, limit, sized, values)
        a.set_title(title, fontsize=9)
    for a in axes[:, 0]:
        a.set_ylabel("share of eigenvalues\nper unit")
    for a in axes[-1]:
        a.set_xlabel("eigenvalue")
    legend_below(figure, [axes[0, 0]])
    return caption_above(figure, caption)


def _density_panel(axes: Axes, limit: LimitingDensity, sized: FiniteSizeDensity, values: np.ndarray) -> None:
    low, high = _shown_range(limit, sized)
    heights = _histogram(axes, low, high, sized, values)
    grid = np.concatenate([_dense_at_ends(*edges) for edges in limit.edges])
    axes.plot(grid, limit.density(grid), color=COLOURS[2], lw=1.2, linestyle="--", label="limit")
    top = 2.6 * limit.density(grid).max() if limit.atoms else 1.3 * np.sort(heights)[-2:].mean()
    for place, mass in limit.atoms:
        _draw_atom(axes, place, mass, top, sized, values)
    beyond = int(np.sum(values > high))
    if beyond:
        axes.annotate(f"{beyond / values.size:.2%} beyond →", (0.99, 0.21 if limit.atoms else 0.5), va="bottom",
                      xycoords="axes fraction", ha="right", fontsize=8, color=COLOURS[4])  # fmt: skip
    axes.set(xlim=(low, high), ylim=(0, top))


def _shown_range(limit: LimitingDensity, sized: FiniteSizeDensity) -> tuple[float, float]:
    """Return the ends of the axis: the limit's support and nearly all of the density at this size, with a margin."""
    left = min([limit.edges.min(), *(place for place, _ in limit.atoms)])
    right = limit.edges.max()
    cumulative = np.cumsum(sized.values * np.gradient(sized.grid))
    ends = np.interp([0.001, 0.9995], cumulative, sized.grid)
    margin = MARGIN * (right - left)
    return min(left, ends[0]) - margin, max(right, ends[1]) + margin


def _draw_atom(axes: Axes, place: float, mass: float, top: float, sized: FiniteSizeDensity, values: np.ndarray) -> None:
    """Draw an arrow at an atom of the limit, and beside it, enlarged, what the atom becomes at this size."""
    axes.annotate("", (place, top), (place, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[2], "lw": 1.4})
    axes.annotate(f"limit: {mass:.0%}\n← here\nenlarged →", (0.19, 0.97), va="top", xycoords="axes fraction",
                  fontsize=7, color=COLOURS[2])  # fmt: skip
    inset = axes.inset_axes((0.52, 0.42, 0.46, 0.54))
    ends = sized.quantiles(mass * np.array([0.002, 0.97]))
    width = float(ends[1] - ends[0])
    heights = _histogram(inset, float(ends[0]) - 0.2 * width, float(ends[1]) + 0.2 * width, sized, values, BINS // 2)
    inset.axvline(place, color=COLOURS[2], lw=1.2, linestyle="--")
    inset.set(ylim=(0, 1.2 * heights.max()), yticks=[])
    inset.tick_params(labelsize=7)
    inset.locator_params(axis="x", nbins=3)


def _histogram(
    axes: Axes, low: float, high: float, sized: FiniteSizeDensity, values: np.ndarray, count: int = BINS
) -> np.ndarray:
    """Draw a histogram with the predicted density as a line, and return the heights of the bars."""
    bins = np.linspace(low, high, count + 1)
    heights = np.histogram(values, bins)[0] / (values.size * np.diff(bins))
    axes.stairs(heights, bins, fill=True, color=COLOURS[0], alpha=0.3, label="simulation")
    grid = sized.grid[(sized.grid > low) & (sized.grid < high)]
    axes.plot(grid, sized.density(grid), color=COLOURS[1], lw=1.8, label="theory at this size")
    axes.set_xlim(low, high)
    return heights


def _dense_at_ends(left: float, right: float) -> np.ndarray:
    """Return points between two edges, dense at both, where the density rises steeply."""
    return left + (right - left) * (1 - np.cos(np.linspace(0.02, np.pi - 0.02, 300))) / 2


def distance_figure(
    rows: Mapping[str, Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]], sizes: Sequence[int], caption: str
) -> Figure:
    """Draw distances (mean, standard error) against p by row and column; a dotted line falls like 1/p."""
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
    legend_below(figure, [axes[0, 0]], 3)
    return caption_above(figure, caption)


def _distance_panel(a: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], sizes: Sequence[int]) -> None:
    for i, (name, pairs) in enumerate(lines.items()):
        means, errors = np.array(pairs).T
        # One colour for each case; its CK and NTK differ by their marks.
        style = {"color": COLOURS[i // 2], "linestyle": STYLES[i % 2], "marker": MARKS[i % 2], "ms": 5, "lw": 1.4}
        a.errorbar(sizes, means, errors, capsize=2, label=name, **style)
    first = max(pairs[0][0] for pairs in lines.values())
    a.plot(sizes, 1.25 * first * sizes[0] / np.array(sizes), color=COLOURS[4], linestyle=":", label="∝ 1/p")
    limit_line(a, 0.02, sizes[-1])
    a.set(xscale="log", yscale="log")
    listed_ticks(a, sizes)
