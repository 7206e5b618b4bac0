"""Figures of a sweep: accuracy and kernel errors against bytes and operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.style import WIDEST, caption_above, engineering_axis, legend_handles
from experiments.memory.groups import Group, by_arm, frontier
from experiments.runner.metrics import ACTIVATION_BYTES, BIT_OPERATIONS, FILE_BYTES, KERNEL_ERROR
from hntk._utils.statistics import mean_and_error
from hntk.plot.style import plain_ticks

# Colour and mark of every arm. Compressed networks are blue, darker with more levels; rivals have other hues, and
# networks that are trained as a whole are gray.
LOOK: dict[str, tuple[str, str]] = {
    "dense": ("#000000", "o"),
    "int8": ("#7f5539", "s"),
    "dense_orthogonal": ("#000000", "D"),
    "ternary": ("#009E73", "D"),
    "orthogonal_relu": ("#009E73", "o"),
    "orthogonal4": ("#c51b7d", "o"),
    "orthogonal8": ("#8e0152", "s"),
    "orthogonal4_all": ("#e9a3c9", "^"),
    "sigma_t": ("#CC79A7", "X"),
    "levels2": ("#9ecae1", "v"),
    "levels3": ("#6baed6", "^"),
    "levels4": ("#2171b5", "o"),
    "levels8": ("#08306b", "s"),
    "random_sparse": ("#E69F00", "P"),
    "magnitude": ("#D55E00", "*"),
    "binary": ("#984ea3", "d"),
    "trained": ("#555555", "o"),
    "trained_pruned": ("#999999", "X"),
    "trained_finetuned": ("#777777", "P"),
    "trained_ternary": ("#444444", "D"),
    "trained_ternary2": ("#bbbbbb", "v"),
    "trained_ternary8": ("#222222", "s"),
}
# The costs on horizontal axes, with label and unit.
LABELS = {
    FILE_BYTES: ("size of the file", "B"),
    BIT_OPERATIONS: ("bit operations a prediction: Σ over non-zero weights of bits × bits multiplied", ""),
    ACTIVATION_BYTES: ("memory for activations: input and output of the largest layer", "B"),
}
READOUTS = {"ridge": "readout by ridge regression", "softmax": "readout by gradient training (softmax)"}
# Characters in a line of the caption.
CAPTION_WIDTH = 110
# Ticks are at least this share of the axis apart, so that their labels do not touch.
TICKS_APART = 0.055


def bytes_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Draw test accuracy against bytes of the file, a panel a readout; trained networks are in both, dashed."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDEST, 9.4), sharey=True)
    for a, (readout, title) in zip(axes, READOUTS.items(), strict=True):
        for members in by_arm(groups).values():
            _accuracy_line(a, members, FILE_BYTES, "softmax" if members[0].family == "trained" else readout)
        a.set(xlabel=LABELS[FILE_BYTES][0], title=title)
        engineering_axis(a, "B")
    _accuracy_axis(axes[0], groups)
    for a in axes:
        a.set_ylabel("test accuracy (spaced by the logarithm of the error)", fontsize=9)
    return _with_legend(figure, axes, caption)


def operations_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Draw test accuracy, by the readout of better validation, against bit operations and memory for activations."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDEST, 9.4), sharey=True)
    for a, cost in zip(axes, (BIT_OPERATIONS, ACTIVATION_BYTES), strict=True):
        for members in by_arm(groups).values():
            _accuracy_line(a, members, cost)
        _cost_axis(a, cost)
    _accuracy_axis(axes[0], groups)
    for a in axes:
        a.set_ylabel("test accuracy (spaced by the logarithm of the error)", fontsize=9)
    return _with_legend(figure, axes, caption)


def kernel_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Draw the distance of drawn conjugate kernels from the dense original's limit, against bytes and operations."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDEST, 8.4), sharey=True)
    random = [g for g in groups if KERNEL_ERROR in g.values]
    for a, cost in zip(axes, (FILE_BYTES, BIT_OPERATIONS), strict=True):
        for members in by_arm(random).values():
            line = frontier(members, cost, lambda g: -g.values[KERNEL_ERROR])
            _draw_line(a, line, cost, [g.values[KERNEL_ERROR] for g in line], [0.0] * len(line))
        a.set_yscale("log")
        a.set_ylabel("relative error of the conjugate kernel")
        _cost_axis(a, cost)
    plain_ticks(axes[0].yaxis)
    return _with_legend(figure, axes, caption)


def _accuracy_line(axes: Axes, members: Sequence[Group], cost: str, readout: str | None = None) -> None:
    """Draw test accuracies of those networks of an arm whose validation accuracy no cheaper one reaches."""
    line = frontier(members, cost, lambda g: float(g.validation[readout or g.readout].mean()))
    means, errors = zip(*(mean_and_error(g.test[readout or g.readout]) for g in line), strict=True)
    _draw_line(axes, line, cost, means, errors)


def _draw_line(
    axes: Axes, line: Sequence[Group], cost: str, values: Sequence[float], errors: Sequence[float]
) -> None:  # fmt: skip
    """Draw one arm, with standard errors."""
    colour, marker = LOOK.get(line[0].arm, ("#333333", "."))
    trained = line[0].family == "trained"
    axes.errorbar(
        [g.values[cost] for g in line], values, yerr=np.nan_to_num(errors), color=colour, marker=marker, ms=5,
        capsize=2, lw=1.4, linestyle="--" if trained else "-", mfc="white" if trained else colour,
        label=_literal(line[0].label),
    )  # fmt: skip


def _literal(text: str) -> str:
    """Return a text that matplotlib takes for no formula, and that a legend does not leave out."""
    return text.replace("$", r"\$").lstrip("_") or "-"


def _cost_axis(axes: Axes, cost: str) -> None:
    label, unit = LABELS[cost]
    engineering_axis(axes, unit)
    axes.set_xlabel(label, fontsize=9)


def _accuracy_axis(axes: Axes, groups: Sequence[Group]) -> None:
    """Space the vertical axis by the logarithm of the error, with a margin about the accuracies shown."""

    def height(a: Any) -> Any:
        return -np.log10(np.clip(1 - a, 1e-6, 1))

    shown = [float(v.mean()) for g in groups for v in g.test.values()]
    bottom, top = float(height(min(shown))), float(height(max(shown)))
    margin = 0.05 * (top - bottom)
    lowest, highest = (1 - 10.0**-t for t in (max(0.0, bottom - margin), top + margin))
    ticks = _accuracy_ticks(lowest, highest, height, top - bottom)
    axes.set_yscale("function", functions=(height, lambda t: 1 - 10.0**-t))
    axes.set_ylim(lowest, highest)
    axes.set_yticks(ticks, [f"{a:g}" for a in ticks])
    axes.set_yticks([], minor=True)


def _accuracy_ticks(lowest: float, highest: float, height: Callable[[float], float], span: float) -> list[float]:
    """Return round accuracies on the axis that are far enough apart."""
    round_ones = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95) if span > 1 else tuple(float(a) for a in np.arange(1, 20) / 20)
    ticks: list[float] = []
    for a in (*round_ones, 0.97, 0.98, 0.99):
        if lowest < a < highest and (not ticks or height(a) - height(ticks[-1]) > TICKS_APART * span):
            ticks.append(a)
    return ticks


def _with_legend(figure: Figure, axes: Sequence[Axes], caption: str) -> Figure:
    """Draw one legend for both panels at the right, and the caption over as many lines as it needs."""
    handles = legend_handles(axes)
    figure.legend(list(handles.values()), list(handles), loc="outside right center", fontsize=9)
    return caption_above(figure, "\n".join(wrap(_literal(caption), CAPTION_WIDTH)))
