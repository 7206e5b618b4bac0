"""The leading eigenpair at one place of a sweep: predicted, in every draw, and in figures.

In figures, lines are limits, and marks are means over draws with standard errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from experiments.figures.style import WIDEST, caption_above, legend_below, limit_line
from hntk._utils.statistics import mean_and_error
from hntk.plot.style import COLOURS, MARKS, STYLES, listed_ticks


class EigenPair(NamedTuple):
    """An eigenvalue, and the squared cosine of its eigenvector with the span of the classes' indicators."""

    value: float
    alignment: float


@dataclass
class SpikePoint:
    """The leading eigenpair of two classes, some distance apart.

    Attributes
    ----------
    axis : str
        What keeps the classes apart: ``separation`` of the means or ``spread`` of the covariances.
    at : float
        How much of it.
    p, n : int
        Dimension and number of samples.
    predicted : EigenPair
        The limit; below the transition the edge of the bulk, and alignment 0.
    above : bool
        Whether the phase transition is passed.
    simulated : dict
        By kernel (``exact`` or ``equivalent``), the leading eigenpair of every draw.
    """

    axis: str
    at: float
    p: int
    n: int
    predicted: EigenPair
    above: bool
    simulated: dict[str, list[EigenPair]] = field(default_factory=dict)

    def mean(self, kernel: str, part: str) -> tuple[float, float]:
        """Return the mean of ``value`` or ``alignment`` over draws, and its standard error."""
        return mean_and_error([getattr(pair, part) for pair in self.simulated[kernel]])

    def errors(self, kernel: str) -> tuple[float, float, float]:
        """Return mean minus theory of the eigenvalue (relative) and of the alignment, and its standard error."""
        mean, error = self.mean(kernel, "alignment")
        values = np.array([pair.value for pair in self.simulated[kernel]])
        return float(values.mean()) / self.predicted.value - 1, mean - self.predicted.alignment, error


# Errors that are marked by a line: of the eigenvalue, relative, and of the squared alignment.
MARKED_ERROR = 0.03


def spike_figure(
    panels: Mapping[str, Sequence[SpikePoint]], curves: Mapping[str, Sequence[SpikePoint]], caption: str
) -> Figure:
    """Draw eigenvalues above and squared alignments below, one column for each way to keep classes apart."""
    figure, axes = plt.subplots(2, len(panels), figsize=(WIDEST, 6.2), sharex="col", squeeze=False)
    for column, (title, points) in enumerate(panels.items()):
        curve = curves[title]
        crossing = next(((a.at + b.at) / 2 for a, b in itertools.pairwise(curve) if b.above and not a.above), None)
        for row, part in enumerate(("value", "alignment")):
            a = axes[row, column]
            theory = [getattr(q.predicted, part) for q in curve]
            a.plot([q.at for q in curve], theory, color=COLOURS[4], lw=1.6, label="limit")
            for i, kernel in enumerate(points[0].simulated):
                pairs = [q.mean(kernel, part) for q in points]
                # rings about dots, as the two kernels agree
                style = {"color": COLOURS[i], "marker": "o", "ms": 4 if i else 9, "mew": 0 if i else 1.6,
                         "mfc": COLOURS[i] if i else "none", "zorder": 3 - i}  # fmt: skip
                a.errorbar([q.at for q in points], *np.array(pairs).T, linestyle="none", capsize=2,
                           label=f"{kernel} kernel", **style)  # fmt: skip
            if crossing:
                a.axvline(crossing, color=COLOURS[1], lw=0.9, linestyle="--", label="phase transition", zorder=1)
        axes[1, column].set_xlabel(title)
        axes[1, column].set_ylim(-0.03, 1)
    axes[0, 0].set_ylabel("largest eigenvalue")
    axes[1, 0].set_ylabel("squared cosine of its eigenvector\nwith the classes' indicators")
    legend_below(figure, [axes[0, 0]])
    return caption_above(figure, caption)


def spike_error_figure(points: Sequence[SpikePoint], caption: str) -> Figure:
    """Draw the error of theory against p, one line for every place and kernel."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDEST, 4.6))
    for i, (axis, at) in enumerate(dict.fromkeys((q.axis, q.at) for q in points)):
        own = [q for q in points if (q.axis, q.at) == (axis, at)]
        for j, kernel in enumerate(own[0].simulated):
            errors = np.abs([q.errors(kernel) for q in own])
            label = f"{axis} {at:g} ({'above' if own[0].above else 'below'}), {kernel}"
            style = {"color": COLOURS[i], "linestyle": STYLES[j], "marker": MARKS[j], "ms": 5, "lw": 1.4}
            axes[0].plot([q.p for q in own], errors[:, 0], label=label, **style)
            axes[1].plot([q.p for q in own], errors[:, 1], **style)
    sizes = sorted({q.p for q in points})
    labels = ("eigenvalue: |mean/theory − 1|", "squared alignment: |mean − theory|")
    for a, label in zip(axes, labels, strict=True):
        limit_line(a, MARKED_ERROR, sizes[-1])
        a.set(xscale="log", yscale="log", xlabel="dimension p", ylabel=label)
        listed_ticks(a, sizes)
        a.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        a.yaxis.set_minor_formatter(StrMethodFormatter(""))
    legend_below(figure, axes, 3)
    return caption_above(figure, caption)
