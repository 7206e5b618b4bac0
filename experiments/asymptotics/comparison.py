"""Errors of kernel machines, predicted and simulated, at one point of a study, and figures of them.

In figures, lines are theory, and marks are means over draws with standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hntk.plot
from experiments.figures.style import WIDEST, caption_above
from hntk._utils.statistics import mean_and_error
from hntk.asymptotics.learning import Learned
from hntk.plot.style import COLOURS

# On real data, tables mark differences between theory and measurement that exceed this.
VISIBLE = 0.01


class Errors(NamedTuple):
    """Mean squared error and share of misclassified samples, on training samples and on new ones."""

    training_squared: float
    training_wrong: float
    test_squared: float
    test_wrong: float

    @staticmethod
    def predicted(learned: Learned) -> Errors:
        """Return the errors that theory predicts."""
        parts = (learned.training, learned.test)
        return Errors(*(e for part in parts for e in (part.squared_error, part.classification_error)))


@dataclass
class Comparison:
    """Errors at one point: a prediction and a simulation for every draw.

    Predictions differ between draws where theory estimates the law of the samples from them.
    """

    predicted: list[Errors] = field(default_factory=list, kw_only=True)
    simulated: list[Errors] = field(default_factory=list, kw_only=True)

    def add(self, simulated: Errors, predict: Callable[[], Errors], *, estimated: bool) -> None:
        """Add a draw; a law that is not estimated gives the same prediction for every draw."""
        self.simulated.append(simulated)
        self.predicted.append(predict() if estimated or not self.predicted else self.predicted[0])

    def means(self, error: str) -> tuple[float, float, float]:
        """Return the mean prediction, the mean simulation, and the standard error of their difference."""
        predicted = np.array([getattr(e, error) for e in self.predicted])
        simulated = np.array([getattr(e, error) for e in self.simulated])
        return float(predicted.mean()), float(simulated.mean()), mean_and_error(simulated - predicted)[1]

    def score(self, error: str) -> float:
        """Return theory minus simulation in standard errors; NaN where the standard error is 0 or unknown."""
        predicted, simulated, spread = self.means(error)
        return (predicted - simulated) / spread if spread > 0 else float("nan")

    def both(self, error: str) -> str:
        """Return prediction and simulation as a table's cell."""
        predicted, simulated, _ = self.means(error)
        return f"{predicted:.4f} | {simulated:.4f}"

    def difference(self, error: str, estimated: bool) -> str:
        """Return their difference as a table's cell: in standard errors, or marked if it is visible."""
        if not estimated:
            score = self.score(error)
            return f"{score:+.1f}" if np.isfinite(score) else "–"
        predicted, simulated, _ = self.means(error)
        mark = " [red]✗[/]" if abs(predicted - simulated) > VISIBLE else ""
        return f"{predicted - simulated:+.4f}{mark}"

    def all_means(self) -> list[float]:
        """Return the means of every error, one after the other."""
        return [value for error in Errors._fields for value in self.means(error)]


MEAN_COLUMNS = [f"{e.replace('_', ' ')}, {part}" for e in Errors._fields for part in ("theory", "simulated", "error")]


@dataclass
class RidgePoint(Comparison):
    """Ridge regression with one network, at one sample size and one ridge.

    Attributes
    ----------
    arm : str
        Which network, and how its ridge follows from the dense network's.
    n, ratio : int, float
        Training samples, and n/p.
    ridge : float
        λ of the dense network, divided by the diagonal of its kernel.
    """

    arm: str
    n: int
    ratio: float
    ridge: float


@dataclass
class FlowPoint(Comparison):
    """Gradient flow at one sample size and one time, in units of one over the kernel's diagonal."""

    n: int
    time: float


def agreement(points: Sequence[Comparison], error: str, estimated: bool) -> tuple[float, int, float, float | None]:
    """Return how well theory predicts an error at several points.

    Returns
    -------
    within : float
        Share of the points where theory agrees: within ``VISIBLE`` where it estimates the law of the samples,
        within two standard errors otherwise.
    count : int
        Number of points that could be judged; draws that agree in every digit have no standard error.
    worst : float
        Largest absolute difference.
    largest_score : float or None
        Largest difference in standard errors; None where there is no standard error.
    """
    differences = np.array([abs(predicted - simulated) for predicted, simulated, _ in (p.means(error) for p in points)])
    scores = np.abs([point.score(error) for point in points])
    known = scores[np.isfinite(scores)]
    close = differences <= VISIBLE if estimated else known <= 2
    within = float(np.mean(close)) if close.size else float("nan")
    return within, close.size, float(differences.max()), float(known.max()) if known.size else None


def judged(estimated: bool) -> str:
    """Return the criterion of :func:`agreement` in words."""
    return f"differences within {VISIBLE:g}" if estimated else "predictions within two standard errors"


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
    figure, axes = plt.subplots(2, 2, figsize=(WIDEST, 7.2), sharex="col", squeeze=False)
    arms = list(dict.fromkeys(q.arm for q in points))
    sizes = sorted({q.n for q in points})
    for (left, right), (criterion, (error, label)) in zip(axes, CRITERIA.items(), strict=True):
        at_ridge, dense = (
            [[q for q in part if chosen(q)] for part in (curves, points)]
            for chosen in (lambda q: q.ridge == ridge, lambda q: q.arm == arms[0])
        )
        lines, marks = ({arm: [q for q in part if q.arm == arm] for arm in arms} for part in at_ridge)
        _theory_and_simulation(left, lines, marks, "ratio", error)
        lines, marks = ({f"n = {n}": [q for q in part if q.n == n] for n in sizes} for part in dense)
        _theory_and_simulation(right, lines, marks, "ridge", error)
        for i, n in enumerate(sizes):
            _, place, height = next(b for b in best[criterion] if b[0] == n)
            _mark_best_ridge(right, place, height, [q.ridge for q in points], COLOURS[i % len(COLOURS)])
        left.set(ylabel=label, xlabel="")
        right.set(ylabel="", xlabel="")
    for lower in axes[1]:
        lower.get_legend().remove()
    axes[0, 0].set_title(f"at λ = {ridge:g} τ²", fontsize=10)
    axes[0, 1].set_title("dense; ★: best ridge by theory (◄ ►: off the axis)", fontsize=10)
    axes[1, 0].set_xlabel("training samples by dimension, n/p")
    axes[1, 1].set_xlabel("ridge λ by the kernel's diagonal τ²")
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
    figure, axes = plt.subplots(2, len(panels), figsize=(WIDEST, 6.4), sharex=True, sharey="row", squeeze=False)
    for column, (title, points) in enumerate(panels.items()):
        for row, kind in enumerate(("squared", "wrong")):
            a = axes[row, column]
            lines, marks = ({part: (part_of, f"{part}_{kind}") for part in ("training", "test")}
                            for part_of in (curves[title], points))  # fmt: skip
            _draw_errors(a, lines, marks, "time")
            a.set(xlabel="", ylabel="")
            if row or column:
                a.get_legend().remove()
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("time s by one over the kernel's diagonal, s κ²", fontsize=9)
    axes[0, 0].set_ylabel("mean squared error")
    axes[1, 0].set_ylabel("errors (share)")
    return caption_above(figure, caption)


def _theory_and_simulation(
    axes: Axes,
    curves: Mapping[str, Sequence[Comparison]],
    points: Mapping[str, Sequence[Comparison]],
    across: str,
    error: str,
) -> None:
    """Draw one error against one coordinate, one line of predictions with marks of simulations by name."""
    lines, marks = ({name: (part, error) for name, part in parts.items() if part} for parts in (curves, points))
    _draw_errors(axes, lines, marks, across)


# By name, points and which of their errors is drawn.
Drawn = Mapping[str, tuple[Sequence[Comparison], str]]


def _draw_errors(axes: Axes, lines: Drawn, marks: Drawn, across: str) -> None:
    """Draw predicted errors of some points as lines, and simulated errors of others as marks."""
    predicted = {
        name: {getattr(q, across): np.mean([getattr(e, error) for e in q.predicted]) for q in part}
        for name, (part, error) in lines.items()
    }
    measured = {
        name: {getattr(q, across): [getattr(e, error) for e in q.simulated] for q in part}
        for name, (part, error) in marks.items()
    }
    line_places, mark_places = (sorted({x for one in parts.values() for x in one}) for parts in (predicted, measured))
    hntk.plot.learning_curve(
        line_places,
        {name: [one.get(x, np.nan) for x in line_places] for name, one in predicted.items()},
        {name: [one[x] for x in mark_places] for name, one in measured.items()},
        measured_sizes=mark_places,
        ax=axes,
    )
