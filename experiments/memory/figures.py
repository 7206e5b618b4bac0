"""Figures of the memory experiment."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.figures.style import accuracy_axis, engineering_axis
from experiments.memory.summary import (
    Cost,
    Group,
    activation_bytes,
    bit_operations,
    by_arm,
    file_bytes,
    frontier,
    standard_error,
)
from experiments.runner.metrics import KERNEL_ERROR

# the compressed networks in blues, from few levels to many; rivals in other hues; trained networks in greys
LOOK: dict[str, tuple[str, str]] = {
    "dense": ("#000000", "o"),
    "int8": ("#7f5539", "s"),
    "ternary": ("#009E73", "D"),
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
}
BITS = "bit operations a prediction: Σ over non-zero weights of bits × bits multiplied"


def _draw(axes: Axes, line: Sequence[Group], cost: Cost, values: Sequence[float], errors: Sequence[float]) -> None:
    """One arm, with standard errors."""
    colour, marker = LOOK.get(line[0].arm, ("#333333", "."))
    trained = line[0].family == "trained"
    axes.errorbar(
        [cost(g) for g in line], values, yerr=np.nan_to_num(errors), color=colour, marker=marker, ms=5, capsize=2,
        lw=1.4, linestyle="--" if trained else "-", mfc="white" if trained else colour, label=_literal(line[0].label),
    )  # fmt: skip


def _literal(text: str) -> str:
    """A text without formulas, and one that a legend does not leave out."""
    return text.replace("$", r"\$").lstrip("_") or "-"


def _accuracy_line(axes: Axes, members: Sequence[Group], cost: Cost, readout: str | None = None) -> None:
    """Test accuracies of an arm's networks that no cheaper one beats on validation data."""

    def of(accuracies: dict[str, np.ndarray], group: Group) -> np.ndarray:
        return accuracies[readout or group.readout]

    line = frontier(members, cost, lambda g: float(of(g.validation, g).mean()))
    tests = [of(g.test, g) for g in line]
    _draw(axes, line, cost, [float(t.mean()) for t in tests], [standard_error(t) for t in tests])


def _finish(figure: Figure, axes: Sequence[Axes], caption: str) -> Figure:
    handles, labels = {}, []
    for a in axes:
        for handle, label in zip(*a.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = list(handles)
    figure.legend([handles[label] for label in labels], labels, loc="outside right center", fontsize=9)
    figure.suptitle(_literal(caption), fontsize=10)
    return figure


def _limits(groups: Sequence[Group]) -> tuple[float, float]:
    seen = [float(v.mean()) for g in groups for v in g.test.values()]
    return min(seen), max(seen)


def bytes_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Test accuracy against bytes of the file, one panel a readout; trained networks beside both, dashed."""
    titles = {"ridge": "readout by ridge regression", "softmax": "readout by gradient training (softmax)"}
    figure, axes = plt.subplots(1, 2, figsize=(12.4, 5.4), sharey=True)
    for a, (readout, title) in zip(axes, titles.items(), strict=True):
        for members in by_arm(groups).values():
            _accuracy_line(a, members, file_bytes, "softmax" if members[0].family == "trained" else readout)
        a.set(xlabel="size of the file", title=title)
        engineering_axis(a, "B")
    accuracy_axis(axes[0], *_limits(groups))
    axes[0].set_ylabel("test accuracy (spaced by the logarithm of the error)")
    return _finish(figure, axes, caption)


def operations_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Test accuracy against bit operations, and against memory for activations; the readout of better validation."""
    panels = (
        (bit_operations, BITS, ""),
        (activation_bytes, "memory for activations: input and output of the largest layer", "B"),
    )
    figure, axes = plt.subplots(1, 2, figsize=(12.4, 5.4), sharey=True)
    for a, (cost, label, unit) in zip(axes, panels, strict=True):
        for members in by_arm(groups).values():
            _accuracy_line(a, members, cost)
        engineering_axis(a, unit)
        a.set_xlabel(label, fontsize=9)
    accuracy_axis(axes[0], *_limits(groups))
    axes[0].set_ylabel("test accuracy (spaced by the logarithm of the error)")
    return _finish(figure, axes, caption)


def kernel_figure(groups: Sequence[Group], caption: str) -> Figure:
    """Distance of drawn conjugate kernels from the dense original's limit, against bytes and bit operations."""
    figure, axes = plt.subplots(1, 2, figsize=(12.4, 5.0), sharey=True)
    random = [g for g in groups if KERNEL_ERROR in g.values]
    panels = ((file_bytes, "size of the file", "B"), (bit_operations, BITS, ""))
    for a, (cost, label, unit) in zip(axes, panels, strict=True):
        for members in by_arm(random).values():
            line = frontier(members, cost, lambda g: -_error(g))
            _draw(a, line, cost, [_error(g) for g in line], [0.0] * len(line))
        a.set_yscale("log")
        a.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        a.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        a.yaxis.set_minor_formatter(NullFormatter())
        engineering_axis(a, unit)
        a.set_xlabel(label, fontsize=9)
    axes[0].set_ylabel("relative error of the conjugate kernel")
    return _finish(figure, axes, caption)


def _error(group: Group) -> float:
    return group.values[KERNEL_ERROR]
