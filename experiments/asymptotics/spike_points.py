"""The leading eigenpair at one place of a sweep: predicted, and in every draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from experiments.runner.statistics import mean_and_error


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
