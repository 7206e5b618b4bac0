"""Errors of kernel machines, predicted and simulated, at one point of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from experiments.asymptotics.draws import standard_errors
from experiments.runner.statistics import mean_and_error
from hntk.asymptotics.learning import Learned

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

    def means(self, error: str) -> tuple[float, float, float]:
        """Return the mean prediction, the mean simulation, and the standard error of their difference."""
        predicted = np.array([getattr(e, error) for e in self.predicted])
        simulated = np.array([getattr(e, error) for e in self.simulated])
        return float(predicted.mean()), float(simulated.mean()), mean_and_error(simulated - predicted)[1]

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
    means = [point.means(error) for point in points]
    differences = np.array([abs(predicted - simulated) for predicted, simulated, _ in means])
    scores = np.abs([standard_errors(*m) for m in means])
    known = scores[np.isfinite(scores)]
    close = differences <= VISIBLE if estimated else known <= 2
    within = float(np.mean(close)) if close.size else float("nan")
    return within, close.size, float(differences.max()), float(known.max()) if known.size else None


def judged(estimated: bool) -> str:
    """Return the criterion of :func:`agreement` in words."""
    return f"differences within {VISIBLE:g}" if estimated else "predictions within two standard errors"
