"""What a readout is to predict: labels of classes, or targets of a regression, told apart by their type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hntk._utils.arguments import as_seed, as_share
from hntk._utils.labels import as_labels, is_regression
from hntk._utils.targets import as_targets, r2_score, standardising


@dataclass(frozen=True, eq=False)
class Answers:
    """What is to be predicted.

    Attributes
    ----------
    values : (n,) array of int or (n, K) array of float64
        Class indices, or targets.
    classes : (K,) array or None
        Sorted labels; None for a regression.
    """

    values: np.ndarray
    classes: np.ndarray | None

    @staticmethod
    def of(y: object, n: int, name: str = "y") -> Answers:
        """Check labels, or targets if they are floating-point numbers (:func:`hntk._utils.labels.is_regression`).

        Raises
        ------
        ValueError
            If they are not one a sample, some are missing, only one class occurs, or no target varies.
        """
        if is_regression(y):
            return Answers(as_targets(y, n, name), None)
        classes, index = as_labels(y, n)
        return Answers(index, classes)

    @property
    def outputs(self) -> int:
        """Number K of classes or of targets."""
        return self.values.shape[1] if self.classes is None else self.classes.size

    @property
    def index(self) -> Int[np.ndarray, " n"] | None:
        """Class index of every sample; None for a regression."""
        return None if self.classes is None else self.values

    def scale(self) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
        """Return what targets are standardised by, their means and standard deviations; 0 and 1 for classes.

        Raises
        ------
        ValueError
            If a target overflows.
        """
        return standardising(self.values) if self.classes is None else (np.zeros(self.outputs), np.ones(self.outputs))

    def quality(self, scores: Float[np.ndarray, "m K"], rows: Int[np.ndarray, " m"]) -> float:
        """Return how good the scores of some samples are: the accuracy of classes, R² of targets in their own units."""
        if self.classes is None:
            return r2_score(scores, self.values[rows])
        return float(np.mean(np.argmax(scores, axis=1) == self.values[rows]))

    def draw_validation(
        self, share: Any, seed: Any, remedy: str = "give ridge= instead, or more samples"
    ) -> Bool[np.ndarray, " n"]:
        """Return which samples are for validation: a random share of every class, but never all of one.

        Of a regression they are a share of all samples.

        Raises
        ------
        ValueError
            If a class has one sample; the message ends with the remedy.
        """
        index = np.zeros(len(self.values), int) if self.classes is None else self.values
        return draw_validation(index, share, seed, remedy)


def draw_validation(
    index: Int[np.ndarray, " n"], share: float, seed: int, remedy: str = "give ridge= instead, or more samples"
) -> Bool[np.ndarray, " n"]:
    """Return which samples are for validation: a random share of every class, but never all of one.

    Raises
    ------
    ValueError
        If a class has one sample; the message ends with the remedy.
    """
    share = as_share(share, "validation_share")
    rng = np.random.default_rng(as_seed(seed))
    held = np.zeros(index.size, dtype=bool)
    for a in range(int(index.max()) + 1):
        members = rng.permutation(np.flatnonzero(index == a))
        if members.size < 2:
            raise ValueError(f"validation needs at least 2 samples of every class: {remedy}.")
        held[members[: min(max(1, round(share * members.size)), members.size - 1)]] = True
    return held
