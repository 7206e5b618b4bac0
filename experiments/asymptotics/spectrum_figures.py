"""Figures of eigenvalue densities over simulated spectra, and of the distance between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk.plot
from experiments.figures.style import WIDEST, caption_above, legend_below, limit_line
from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.plot.densities import histogram
from hntk.plot.style import COLOURS, MARKS, STYLES, listed_ticks

# Bins of the enlarged part.
BINS = 30


def density_figure(
    panels: Mapping[str, tuple[LimitingDensity, FiniteSizeDensity, np.ndarray]], columns: int, caption: str
) -> Figure:
    """Draw histograms of eigenvalues, and their density at their size (line) and in the limit (dashed; arrow: atom)."""
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDEST, 2.5 * rows + 0.9), squeeze=False)
    for a, (title, (limit, sized, values)) in zip(axes.ravel(), panels.items(), strict=False):
        hntk.plot.density({"theory at this size": sized, "limit": limit}, values, ax=a)
        a.get_legend().remove()
        if limit.atoms:
            _enlarge_atom(a, limit.atoms[0], sized, values)
        a.set_title(title, fontsize=9)
        a.set(xlabel="", ylabel="")
    for a in axes[:, 0]:
        a.set_ylabel("share of eigenvalues\nper unit")
    for a in axes[-1]:
        a.set_xlabel("eigenvalue")
    legend_below(figure, [axes[0, 0]])
    return caption_above(figure, caption)


def _enlarge_atom(axes: Axes, atom: tuple[float, float], sized: FiniteSizeDensity, values: np.ndarray) -> None:
    """Draw, in the corner, what an atom of the limit becomes at this size."""
    place, mass = atom
    inset = axes.inset_axes((0.56, 0.4, 0.42, 0.54))
    ends = sized.quantiles(mass * np.array([0.002, 0.97]))
    low, high = ends + 0.2 * np.array([-1, 1]) * float(np.diff(ends)[0])
    heights = histogram(inset, values, low, high, BINS)
    grid = sized.grid[(sized.grid > low) & (sized.grid < high)]
    inset.plot(grid, sized.density(grid), color=COLOURS[1], lw=1.6)
    inset.axvline(place, color=COLOURS[2], lw=1.2, linestyle="--")
    inset.set(xlim=(low, high), ylim=(0, 1.2 * heights.max()), yticks=[])
    inset.set_title("the atom, enlarged", fontsize=8, pad=2)
    inset.tick_params(labelsize=8)
    inset.locator_params(axis="x", nbins=3)


def distance_figure(
    rows: Mapping[str, Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]], sizes: Sequence[int], caption: str
) -> Figure:
    """Draw distances (mean, standard error) against p by row and column; a dotted line falls like 1/p."""
    columns = max(map(len, rows.values()))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(WIDEST, 3.2 * len(rows) + 1.2), sharex=True, sharey=True, squeeze=False
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
