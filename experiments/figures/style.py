"""Shared look of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

# blue, orange, green, purple, gray, yellow, sky: told apart by the colour-blind, and by line style in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7B3294", "#555555", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1)))

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "pdf.fonttype": 42,
    }
)


def eigenvalue_histogram(axes: Axes, spectra: Mapping[str, np.ndarray], spikes: int, title: str) -> None:
    """Eigenvalue counts on logarithmic bins, the first filled; triangles mark the leading ones."""
    positive = np.concatenate([v[v > 1e-6 * v.max()] for v in spectra.values()])
    bins = np.geomspace(positive.min() * 0.95, positive.max() * 1.05, 70)
    for i, (name, values) in enumerate(spectra.items()):
        if i == 0:
            axes.hist(values, bins=bins, color=COLOURS[0], alpha=0.3, label=name)
        else:
            axes.hist(values, bins=bins, histtype="step", color=COLOURS[i], linestyle=STYLES[i], lw=1.6, label=name)
    for i, values in enumerate(spectra.values()):
        heights = np.full(spikes, 1.35 * 1.45**i)
        axes.plot(values[:spikes], heights, linestyle="none", marker="v", ms=6, color=COLOURS[i], mec="white", mew=0.5)
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue", ylabel="number of eigenvalues", title=title)
    # room for the legend above the bulk
    axes.set_ylim(0.7, 8 * axes.get_ylim()[1])
    _plain_ticks(axes)
    axes.legend(loc="upper right")


def _plain_ticks(axes: Axes) -> None:
    """1, 2, 5, 10, … on a logarithmic horizontal axis."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def spectra_figure(panels: Mapping[str, Mapping[str, np.ndarray]], spikes: int, caption: str) -> Figure:
    """One panel per kernel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.9 * len(panels), 4.4), squeeze=False)
    for a, (title, spectra) in zip(axes[0], panels.items(), strict=True):
        eigenvalue_histogram(a, spectra, spikes, title)
    figure.suptitle(caption, fontsize=10)
    return figure


def eigenvector_figure(vectors: Mapping[str, np.ndarray], index: np.ndarray, caption: str) -> Figure:
    """Leading eigenvectors of each kernel (rows) against the samples, ordered by class; classes are shaded."""
    count = next(iter(vectors.values())).shape[1]
    figure, axes = plt.subplots(count, 1, figsize=(9, 1.9 * count + 0.6), sharex=True, squeeze=False)
    boundaries = np.flatnonzero(np.diff(index)) + 1
    reference = next(iter(vectors.values()))
    for k, a in enumerate(axes[:, 0]):
        for i, (name, v) in enumerate(vectors.items()):
            sign = np.sign(v[:, k] @ reference[:, k]) or 1.0
            order = {"lw": 0.5, "alpha": 0.45} if i == 0 else {"lw": 0.5, "alpha": 0.35}
            a.plot(sign * v[:, k], color=COLOURS[i], **order)
            means = _class_means(sign * v[:, k], index)
            a.plot(means, color=COLOURS[i], linestyle=STYLES[i], lw=2.2, label=name)
        for b in boundaries:
            a.axvline(b, color="black", lw=0.8)
        a.set_ylabel(f"eigenvector {k + 1}")
    axes[-1, 0].set_xlabel("sample, class after class (line: class boundary)")
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(vectors))
    figure.suptitle(caption, fontsize=10)
    return figure


def _class_means(v: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.array([v[index == a].mean() for a in range(int(index.max()) + 1)])[index]


def convergence_figure(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, float]]],
    floors: Mapping[str, np.ndarray],
    caption: str,
) -> Figure:
    """Errors against n, log-log, one panel per kernel; each curve is (n, errors of shape (len(n), draws), rate)."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.6 * len(panels), 5.2), squeeze=False)
    for a, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for i, (name, (n, errors, rate)) in enumerate(curves.items()):
            a.plot(
                n,
                errors.mean(axis=1),
                color=COLOURS[i],
                linestyle=STYLES[i],
                marker="o",
                label=f"{name}: $n^{{{rate:.2f}}}$",
            )
            a.plot(n, errors, color=COLOURS[i], linestyle="none", marker=".", ms=4, alpha=0.5)
        sizes, floor = next(iter(curves.values()))[0], floors[title]
        a.plot(sizes, floor, color=COLOURS[4], lw=1, label="floor of the authors' identity term")
        a.set(
            xscale="log", yscale="log", xlabel="number of samples n", ylabel="relative operator-norm error", title=title
        )
        a.set_xticks(sizes, [str(v) for v in sizes])
        a.minorticks_off()
        a.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    figure.suptitle(caption, fontsize=10)
    return figure


def accuracy_axis(axes: Axes, lowest: float, highest: float) -> None:
    """Accuracy, spaced by the logarithm of the error, with a margin about what there is."""

    def height(a: Any) -> Any:
        return -np.log10(np.clip(1 - a, 1e-6, 1))

    bottom, top = float(height(lowest)), float(height(highest))
    margin = 0.05 * (top - bottom)
    wide = top - bottom > 1
    known = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99) if wide else (*np.arange(1, 20) / 20, 0.97, 0.98, 0.99)
    lowest, highest = (1 - 10.0**-t for t in (max(0.0, bottom - margin), top + margin))
    # not so close that they touch
    ticks: list[float] = []
    for a in known:
        if lowest < a < highest and (not ticks or height(a) - height(ticks[-1]) > 0.055 * (top - bottom)):
            ticks.append(float(a))
    axes.set_yscale("function", functions=(height, lambda t: 1 - 10.0**-t))
    axes.set_ylim(lowest, highest)
    axes.set_yticks(ticks, [f"{a:g}" for a in ticks])
    axes.set_yticks([], minor=True)


def engineering_axis(axes: Axes, unit: str) -> None:
    """A logarithmic horizontal axis with numbers such as 50 k or 2 M."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.xaxis.set_major_formatter(EngFormatter(unit))
    axes.xaxis.set_minor_formatter(NullFormatter())


def accuracy_figure(
    names: Sequence[str], accuracies: Sequence[Sequence[float]], labels: Sequence[str], caption: str
) -> Figure:
    """Test accuracy of every network, the first being the reference."""
    figure, axes = plt.subplots(figsize=(8.4, 0.48 * len(names) + 1.5))
    rows = np.arange(len(names))[::-1]
    for row, values, label in zip(rows, accuracies, labels, strict=True):
        colour = COLOURS[0] if row == rows[0] else COLOURS[1]
        axes.plot(values, [row] * len(values), marker="o", linestyle="none", color=colour, alpha=0.8)
        axes.annotate(label, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.axvline(float(np.mean(accuracies[0])), color=COLOURS[0], lw=1, linestyle="--")
    lowest = min(min(v) for v in accuracies)
    highest = max(max(v) for v in accuracies)
    margin = 0.05 * (highest - lowest) + 0.002
    axes.set_xlim(lowest - margin, min(1.0, highest + margin))
    axes.set_yticks(rows, names)
    axes.set_xlabel("test accuracy (share of test images); dashed: the dense network")
    figure.suptitle(caption, fontsize=10)
    return figure


def solver_figure(misses: Mapping[str, np.ndarray], seconds: Mapping[str, np.ndarray], found: float) -> Figure:
    """Share of problems solved to within a miss, and within a time, one line per solver."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 5.4))
    for i, name in enumerate(misses):
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)], "lw": 1.8}
        for a, values in ((axes[0], misses[name]), (axes[1], seconds[name])):
            size = np.sort(np.clip(np.where(np.isfinite(values), values, 1e3), 1e-17, 1e3))
            share = np.arange(1, size.size + 1) / size.size
            a.step(np.append(size, 1e3 if a is axes[0] else size[-1]), np.append(share, 1.0), where="post", **style)
            a.plot([], [], label=f"{name} ({size.size} problems)", **style)
    axes[0].axvline(found, color="black", lw=0.8)
    axes[0].annotate("required", (found, 0.03), xytext=(4, 0), textcoords="offset points", fontsize=9)
    axes[0].set(xscale="log", xlim=(1e-17, 10), xlabel="largest relative miss of α", ylabel="share of problems")
    axes[1].set(xscale="log", xlabel="seconds per problem", ylabel="share of problems")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=2)
    figure.suptitle("Random feasible matching problems: solved to within a miss, and within a time", fontsize=10)
    return figure


LOSSLESS = 2e-4


def levels_figure(rows: Sequence[Sequence], methods: Sequence[str], caption: str) -> Figure:
    """One column per original: identity shift with its bound above, kernel error below, against levels."""
    originals = list(dict.fromkeys(row[0] for row in rows))
    figure, axes = plt.subplots(
        2, len(originals), figsize=(2.6 * len(originals), 5.6), sharex=True, sharey="row", squeeze=False
    )
    for column, original in enumerate(originals):
        own = [row for row in rows if row[0] == original]
        for i, method in enumerate(methods):
            line = [row for row in own if row[2] == method and row[3] is not None]
            style = {"color": COLOURS[i], "linestyle": STYLES[i], "marker": "o", "ms": 4, "lw": 1.6, "label": method}
            counts = [row[1] for row in line]
            axes[0, column].plot(counts, [max(row[3], LOSSLESS) for row in line], **style)
            axes[1, column].plot(counts, [row[5] for row in line], **style)
        bound = [row for row in own if row[2] == methods[-1] and row[4] is not None]
        axes[0, column].fill_between(
            [row[1] for row in bound], LOSSLESS / 2, [max(row[4], LOSSLESS / 2) for row in bound],
            color=COLOURS[4], alpha=0.25, lw=0, label="impossible (bound)",
        )  # fmt: skip
        axes[0, column].set(yscale="log", title=original)
        axes[1, column].set(yscale="log", xlabel="levels")
        axes[1, column].set_xticks(sorted({row[1] for row in rows}))
    axes[0, 0].set_ylim(LOSSLESS / 2, 1.5 * max(row[3] for row in rows if row[3] is not None) + LOSSLESS)
    axes[0, 0].set_ylabel("δ/τ² (bottom: lossless)")
    axes[1, 0].set_ylabel("relative kernel error")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=len(labels))
    figure.suptitle(caption, fontsize=10)
    return figure


def inference_figure(panels: Mapping[str, Sequence[tuple[str, float, float | None]]], caption: str) -> Figure:
    """Microseconds an image: a dot for every (name, time, limit), a line from its limit, a panel for every batch."""
    count = len(next(iter(panels.values())))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.4 + 3.2 * len(panels), 0.38 * count + 1.6), sharey=True, squeeze=False
    )
    for a, (title, points) in zip(axes[0], panels.items(), strict=True):
        for row, (name, time, limit) in enumerate(points):
            colour = COLOURS[0] if name.startswith("hntk") else COLOURS[4]
            if limit is not None:
                a.plot([limit, time], [row, row], color=colour, lw=1.5, alpha=0.5)
                a.plot(limit, row, marker="|", ms=13, mew=2.5, color=COLOURS[1])
            a.plot(time, row, marker="o", ms=8, color=colour)
            number = f"{time:,.0f}" if time >= 100 else f"{time:.3g}"
            a.annotate(number, (time, row), (8, 0), textcoords="offset points", va="center", fontsize=9)
        a.set(xscale="log", xlabel="µs an image", title=title)
        a.set_xlim(right=3 * max(time for _, time, _ in points))
        _plain_ticks(a)
    axes[0, 0].set_yticks(range(count), [name for name, *_ in next(iter(panels.values()))])
    axes[0, 0].invert_yaxis()
    mark = Line2D([], [], color=COLOURS[1], marker="|", ms=13, mew=2.5, linestyle="none")
    figure.legend([mark], ["limit set by memory bandwidth, popcounts or multiply-adds"], loc="outside lower center")
    figure.suptitle(caption, fontsize=10)
    return figure


def million_figure(panels: Mapping[str, Mapping[str, tuple[Sequence, Sequence]]], caption: str) -> Figure:
    """Against the number of training samples: a panel for every quantity, a line for every kernel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 4))
    for a, (title, lines) in zip(axes, panels.items(), strict=True):
        for i, (name, (sizes, values)) in enumerate(lines.items()):
            style = {"color": COLOURS[i], "linestyle": STYLES[i], "marker": "os"[i], "ms": 5, "lw": 1.6}
            # nothing is known where the system does not tell
            a.plot(sizes, [np.nan if v is None else v for v in values], label=f"{name} kernel", **style)
        a.set(xscale="log", xlabel="training samples n", ylabel=title)
        a.xaxis.set_major_locator(LogLocator())
        a.xaxis.set_major_formatter(EngFormatter())
        if title.startswith("seconds"):
            a.set_yscale("log")
            a.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        elif title.startswith("peak"):
            a.set_ylim(bottom=0)
    axes[0].legend(loc="lower right")
    figure.suptitle(caption, fontsize=10)
    return figure


def bench_figure(
    panels: Sequence[tuple[str, str, str, Mapping[str, tuple[Sequence, Sequence, float | None]]]], caption: str
) -> Figure:
    """Quantities against sizes: (horizontal axis, vertical axis, title, lines with their growth exponents) by panel."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.3 * columns, 3.9 * rows + 0.6), squeeze=False)
    names = list(dict.fromkeys(name for *_, lines in panels for name in lines))
    axes = grid.ravel()
    for unused in axes[len(panels) :]:
        unused.set_axis_off()
    for a, (across, up, title, lines) in zip(axes, panels, strict=False):
        for name, (values, heights, exponent) in lines.items():
            i = names.index(name)
            style = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)], "marker": "o", "ms": 5}
            a.plot(values, heights, lw=1.6, label=name, **style)
            if exponent is not None:
                told = rf"$\propto\mathrm{{{across}}}^{{{exponent:.2f}}}$"
                a.annotate(told, (values[-1], heights[-1]), (-4, 7), textcoords="offset points", fontsize=9, ha="right",
                           color=style["color"])  # fmt: skip
        sizes = sorted({v for values, *_ in lines.values() for v in values})
        a.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
        a.set_title(title, fontsize=9)
        a.set_xticks(sizes, [f"{v:,}" for v in sizes])
        a.minorticks_off()
        a.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        a.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        a.margins(y=0.12)
    handles = {}
    for a in axes:
        handles |= {label: handle for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncol=min(4, len(handles)))
    figure.suptitle(caption, fontsize=10)
    return figure
